"""A model in training by AdamW."""
from __future__ import annotations

import ctypes
from typing import Any

from numpy.typing import ArrayLike

from ._arrays import Floats, room, sized, tokens
from ._call import call, number
from ._handle import Handle
from .constants import STARTS, word
from .corpus import Corpus
from .model import Model, Path, Settings
from .options import Options
from .report import Report, reported


class Trainer(Handle):
    """Steps of AdamW on a text, or on batches of the caller's where corpus is None. One thread at a time.

    options: baseline_iters, baseline_learning_rate, baseline_warmup_iters, weight_decay, grad_clip, baseline_batch_size, window, seed. start: "fresh", at
    nanoGPT's initial parameters of the seed, or "model", at the model's parameters. The model changes with finish alone. Raises BNN_ERR_INVALID,
    and BNN_ERR_DATA when the text is too short.
    """

    _free = "bnn_trainer_free"

    def __init__(self, model: Model, corpus: Corpus | None = None, options: Settings = None, start: str = "fresh") -> None:
        self._own("bnn_trainer_new", model, corpus, Options.of(options), word(STARTS, start))
        self.n_params = model.n_params

    @classmethod
    def load(cls, path: Path, model: Model, corpus: Corpus | None = None, options: Settings = None) -> Trainer:
        """Calls bnn_trainer_load: goes on from what save wrote, bit for bit. Raises BNN_ERR_IO, BNN_ERR_BAD_…, and BNN_ERR_MISMATCH with what differs."""
        self = cls._make("bnn_trainer_load", model, corpus, Options.of(options), path)
        self.n_params = model.n_params
        return self

    def save(self, path: Path) -> None:
        """Calls bnn_trainer_save: the whole state. Raises BNN_ERR_IO."""
        call("bnn_trainer_save", self, path)

    def step(self) -> float:
        """Calls bnn_trainer_step: the loss of the step's batch before it, nats per token. Raises BNN_ERR_NOT_FINITE."""
        return number(ctypes.c_double, "bnn_trainer_step", self)

    def step_tokens(self, x: ArrayLike, y: ArrayLike) -> float:
        """Calls bnn_trainer_step_tokens. x, y: (B, T) tokens and their targets, T the window, B at most the batch size. Raises BNN_ERR_SHAPE."""
        x, y = tokens(x), tokens(y)
        sized("y", y, x.size)
        return number(ctypes.c_double, "bnn_trainer_step_tokens", self, x.ctypes.data, y)

    def _copied(self, name: str, out: Any) -> Floats:
        to = room(out, self.n_params)
        call(name, self, to)
        return to

    def params(self, out: Floats | None = None) -> Floats:
        """Calls bnn_trainer_get_params: (n_params), those in training."""
        return self._copied("bnn_trainer_get_params", out)

    def keep_best(self, score: float) -> bool:
        """Calls bnn_trainer_keep_best: keeps the parameters where the score is below every one before. Returns whether it is."""
        return bool(number(ctypes.c_int32, "bnn_trainer_keep_best", self, score))

    def best(self, out: Floats | None = None) -> Floats:
        """Calls bnn_trainer_get_best: (n_params). Raises BNN_ERR_STATE where none were kept."""
        return self._copied("bnn_trainer_get_best", out)

    def report(self) -> Report:
        """Calls bnn_trainer_report: steps, iters, learning_rate, loss, recent_loss, best.score, best.steps."""
        return reported("bnn_trainer_report", self)

    def finish(self) -> None:
        """Calls bnn_trainer_finish: the trained parameters become the model's."""
        call("bnn_trainer_finish", self)
