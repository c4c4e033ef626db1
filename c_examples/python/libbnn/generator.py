"""Texts of the average of samples, with the uncertainty of each token."""
from __future__ import annotations

import ctypes
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ._abi import CONSTANTS
from ._arrays import Doubles, Tokens, tokens
from ._call import Hook, call, grown, progress, status, text, texts
from ._error import raised
from ._handle import Handle
from .constants import SPLITS, word
from .corpus import Corpus
from .ensemble import Ensemble
from .model import Settings
from .options import Options
from .report import Report, reported

DONE = CONSTANTS["BNN_ERR_DONE"]


class Written(NamedTuple):
    """A text with what the averaged prediction was of each of its tokens: (n) each, entropy, mutual information and log-probability in nats.

    text is None where the prompt was tokens. The means are those of the library, nats per token.
    """

    text: str | None
    tokens: Tokens
    entropy: Doubles
    mutual_information: Doubles
    log_probs: Doubles
    mean_entropy: float
    mean_mutual_information: float


class Next(NamedTuple):
    """The next token of every text that was begun, NO_TOKEN and NaN for one that has ended: (n) each."""

    tokens: Tokens
    entropy: Doubles
    mutual_information: Doubles
    log_probs: Doubles


class Prediction(NamedTuple):
    """Of the next token: (V) log-probabilities, nats, entropy and mutual information."""

    log_probs: Doubles
    entropy: float
    mutual_information: float


def _written(chars: str | None, rows: list[tuple[int, float, float, float]], h: float, mi: float) -> Written:
    entropy, information, log_probs = np.array([row[1:] for row in rows], np.float64).reshape(-1, 3).T.copy()
    return Written(chars, np.array([row[0] for row in rows], np.uint32), entropy, information, log_probs, h, mi)


class Generator(Handle):
    """A writer with a cache for each sample that the ensemble has now. One thread at a time.

    corpus: whose characters the model knows; None where prompts are tokens. options: weights. options of a text: max_new_tokens, generation_temperature,
    top_k, mode, context, seed; number tells apart the texts of one seed.
    """

    _free = "bnn_generator_free"

    def __init__(self, ensemble: Ensemble, corpus: Corpus | None = None, options: Settings = None) -> None:
        self._own("bnn_generator_new", ensemble, corpus, Options.of(options))
        self._begun = 0

    def _write(self, name: str, prompt: Any, options: Settings, number: int, on_token: Any, dtype: Any, each: int) -> tuple[Any, ...]:
        """Calls bnn_generator_generate or bnn_generator_generate_tokens, with room for `each` elements per new token, which is always enough."""
        made = Options.of(options) or Options()
        rows: list[tuple[int, float, float, float]] = []

        def keep(*row: Any) -> Any:
            rows.append(row)
            return on_token(*row) if on_token else True

        to, needed = np.empty(each * int(made["max_new_tokens"]), dtype), ctypes.c_size_t()
        h, mi = ctypes.c_double(), ctypes.c_double()
        hook = Hook("bnn_token_callback", keep)
        hook.call(name, self, prompt, made, number, hook, to, *(ctypes.byref(one) for one in (needed, h, mi)))
        return to[: needed.value], rows, h.value, mi.value

    def generate(self, prompt: str, options: Settings = None, number: int = 0, on_token: Callable[..., Any] | None = None) -> Written:
        """Calls bnn_generator_generate: goes on from a text.

        on_token(token, entropy, mutual_information, log_prob) ends the text by returning False.
        """
        chars, rows, h, mi = self._write("bnn_generator_generate", prompt, options, number, on_token, np.uint8, 4)
        return _written(chars.tobytes().decode(), rows, h, mi)

    def generate_tokens(self, prompt: ArrayLike, options: Settings = None, number: int = 0, on_token: Callable[..., Any] | None = None) -> Written:
        """Calls bnn_generator_generate_tokens: goes on from tokens. Raises BNN_ERR_INVALID for one out of range, with its place."""
        _, rows, h, mi = self._write("bnn_generator_generate_tokens", tokens(prompt), options, number, on_token, np.uint32, 1)
        return _written(None, rows, h, mi)

    def generate_batch(
        self, prompts: Sequence[str], options: Settings = None, first: int = 0, on_token: Callable[..., Any] | None = None
    ) -> list[Written]:
        """Calls bnn_generator_generate_batch: text i is number first + i, and the same as generate's.

        on_token(prompt, token, entropy, mutual_information, log_prob) ends the text of that prompt by returning False.
        """
        made = Options.of(options) or Options()
        n = len(prompts)
        rows: list[list[Any]] = [[] for _ in range(n)]

        def keep(prompt: int, *row: Any) -> Any:
            rows[prompt].append(row)
            return on_token(prompt, *row) if on_token else True

        hook, needed = Hook("bnn_batch_token_callback", keep), ctypes.c_size_t()
        chars = np.empty(4 * n * int(made["max_new_tokens"]), np.uint8)
        offsets, h, mi = np.zeros(n + 1, np.uintp), np.empty(n), np.empty(n)
        outs = [chars, ctypes.byref(needed), *(one.ctypes.data for one in (offsets, h, mi))]
        hook.call("bnn_generator_generate_batch", self, *texts(prompts), n, made, first, hook, *outs)
        pieces = [chars[offsets[i] : offsets[i + 1]].tobytes().decode() for i in range(n)]
        return [_written(pieces[i], rows[i], float(h[i]), float(mi[i])) for i in range(n)]

    def score_texts(
        self, split: str, count: int, prompt: int, length: int, options: Settings = None, on_progress: Callable[[int, int], Any] | None = None
    ) -> Report:
        """Calls bnn_generator_score_texts: writes texts from prompts of a split and scores them against what follows: bleu, rouge1, rouge2, rouge_l."""
        args = word(SPLITS, split), count, prompt, length, Options.of(options)
        return reported("bnn_generator_score_texts", self, *args, hook=progress(on_progress))

    def begin(self, prompts: Sequence[Any], options: Settings = None, first: int = 0) -> None:
        """Calls bnn_generator_begin_texts for prompts that are str, and bnn_generator_begin for tokens: texts that advance writes token by token."""
        n, made = len(prompts), Options.of(options)
        if n > 0 and all(isinstance(one, str) for one in prompts):
            call("bnn_generator_begin_texts", self, *texts(prompts), n, made, first)
        else:
            arrays = [tokens(one) for one in prompts]
            at = (ctypes.c_void_p * n)(*(one.ctypes.data for one in arrays))
            lens = (ctypes.c_size_t * n)(*(one.size for one in arrays))
            call("bnn_generator_begin", self, at, lens, n, made, first)
        self._begun = n

    def advance(self) -> Next | None:
        """Calls bnn_generator_advance: the next token of every text; None when every text has ended. Raises BNN_ERR_STATE before begin."""
        n = self._begun
        next = Next(np.empty(n, np.uint32), np.empty(n), np.empty(n), np.empty(n))
        said = status("bnn_generator_advance", self, *(one.ctypes.data for one in next), n)
        if said == DONE:
            return None
        if said:
            raise raised(said)
        return next

    def predict(self, index: int, vocab_size: int) -> Prediction:
        """Calls bnn_generator_predict: of the next token of a text. It changes no text."""
        log_probs, h, mi = np.empty(vocab_size), ctypes.c_double(), ctypes.c_double()
        call("bnn_generator_predict", self, index, log_probs, ctypes.byref(h), ctypes.byref(mi))
        return Prediction(log_probs, h.value, mi.value)

    def put(self, index: int, token: int) -> None:
        """Calls bnn_generator_put: advance writes this token next in that text."""
        call("bnn_generator_put", self, index, token)

    def stop(self, index: int) -> None:
        """Calls bnn_generator_stop: ends a text; the others go on."""
        call("bnn_generator_stop", self, index)

    def tokens(self, index: int) -> Tokens:
        """Calls bnn_generator_tokens: those that a text has by now, without its prompt."""
        return grown(np.uint32, "bnn_generator_tokens", self, index)

    def text(self, index: int) -> str:
        """Calls bnn_generator_text: what a text has by now as characters."""
        return text("bnn_generator_text", self, index)
