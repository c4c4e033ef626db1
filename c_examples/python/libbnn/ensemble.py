"""Parameter vectors of one model, whose predictions are averaged; and tokens that are scored again and again."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Doubles, floats, tokens
from ._call import call, progress, size
from ._handle import Handle
from .constants import SPLITS, word
from .corpus import Corpus
from .model import Model, Path
from .report import Report, reported


class Scores(NamedTuple):
    """Of each token after the first, nats: (n - 1) each, entry i of token i + 1."""

    log_probs: Doubles
    entropy: Doubles
    mutual_information: Doubles


class Ensemble(Handle):
    """Samples of a model, held or read from their files when they are used. One thread at a time. len(ensemble) counts them."""

    _free = "bnn_ensemble_free"

    def __init__(self, model: Model) -> None:
        self._own("bnn_ensemble_new", model)

    def add(self, params: ArrayLike) -> None:
        """Calls bnn_ensemble_add: (n_params), copied. Raises BNN_ERR_SHAPE, and BNN_ERR_INVALID for one that is not finite."""
        call("bnn_ensemble_add", self, floats(params))

    def __len__(self) -> int:
        """Calls bnn_ensemble_len."""
        return size("bnn_ensemble_len", self)

    def add_stored(self, path: Path, samples: int = 0, memory: int = 0) -> int:
        """Calls bnn_ensemble_add_stored: samples of a folder, 0 for all; memory: bytes of parameters that are kept. Returns how many were added."""
        return size("bnn_ensemble_add_stored", self, path, samples, memory)

    def evaluate(self, corpus: Corpus, split: str, on_progress: Callable[[int, int], Any] | None = None) -> Report:
        """Calls bnn_ensemble_evaluate: loss, entropy, mutual information, calibration and accuracy of the average on a split, nats per token.

        on_progress(done, total) ends it by returning False (BNN_ERR_INTERRUPTED).
        """
        return reported("bnn_ensemble_evaluate", self, corpus, word(SPLITS, split), hook=progress(on_progress))

    def score(self, ids: ArrayLike) -> Scores:
        """Calls bnn_ensemble_score: what the average says of a text of (n) tokens, token by token."""
        ids = tokens(ids)
        scores = Scores(*(np.empty(max(ids.size - 1, 0)) for _ in range(3)))
        call("bnn_ensemble_score", self, ids, *(one.ctypes.data for one in scores))
        return scores


class Probe(Handle):
    """Tokens of a split, in windows spread evenly over it. One thread at a time. len(probe) counts them."""

    _free = "bnn_probe_free"

    def __init__(self, model: Model, corpus: Corpus, split: str, count: int) -> None:
        self._own("bnn_probe_new", model, corpus, word(SPLITS, split), count)

    def __len__(self) -> int:
        """Calls bnn_probe_len."""
        return size("bnn_probe_len", self)

    def log_probs(self, params: ArrayLike) -> Doubles:
        """Calls bnn_probe_log_probs: of each token given those before it in its window, nats, at parameters (n_params)."""
        to = np.empty(len(self))
        call("bnn_probe_log_probs", self, floats(params), to, None)
        return to
