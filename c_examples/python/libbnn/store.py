"""Samples of one model in a folder."""
from __future__ import annotations

import ctypes
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Floats, floats
from ._call import call, grown, progress, size
from ._handle import Handle
from .constants import SPLITS, word
from .corpus import Corpus
from .model import Model, Path, Settings
from .options import Options
from .report import Report, reported


class Sample(NamedTuple):
    """Which chain's, after how many steps, and the parameters, (n_params)."""

    chain: int
    step: int
    params: Floats


class Store(Handle):
    """Samples in a folder, which is begun or gone on with; open reads one. One thread at a time. len(store) and store[i] count and read them.

    The model's parameters now are the baseline. options: seed, sample_dtype. Raises BNN_ERR_MISMATCH with the first difference, BNN_ERR_DATA when the folder
    holds something else, BNN_ERR_IO, BNN_ERR_BAD_… for a damaged file.
    """

    _free = "bnn_store_free"

    def __init__(self, path: Path, model: Model, corpus: Corpus | None = None, options: Settings = None) -> None:
        self._own("bnn_store_new", model, corpus, Options.of(options), path)
        self.n_params = model.n_params

    @classmethod
    def open(cls, path: Path, model: Model, corpus: Corpus | None = None) -> Store:
        """Calls bnn_store_open: at least one sample, of this package or of a run's folder `samples`."""
        self = cls._make("bnn_store_open", model, corpus, path)
        self.n_params = model.n_params
        return self

    def __len__(self) -> int:
        """Calls bnn_store_len."""
        return size("bnn_store_len", self)

    def append(self, chain: int, step: int, params: ArrayLike) -> None:
        """Calls bnn_store_append. step: how many were made, one more than Sampler.report's. Raises BNN_ERR_MISMATCH when other parameters are there."""
        call("bnn_store_append", self, chain, step, floats(params))

    def __getitem__(self, index: int) -> Sample:
        """Calls bnn_store_get, checked on the way, in the order of chains, then steps."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sample {index} of {len(self)}")
        chain, step, params = ctypes.c_uint32(), ctypes.c_uint64(), np.empty(self.n_params, np.float32)
        call("bnn_store_get", self, index, ctypes.byref(chain), ctypes.byref(step), params)
        return Sample(chain.value, step.value, params)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def spread(self, n: int = 0) -> NDArray[np.uintp]:
        """Calls bnn_store_spread: indices of n samples, spread evenly over chains and steps; 0 is all."""
        return grown(np.uintp, "bnn_store_spread", self, n)

    def verify(self) -> None:
        """Calls bnn_store_verify: reads and checks every sample."""
        call("bnn_store_verify", self)

    def keep_last(self, n: int) -> int:
        """Calls bnn_store_keep_last: deletes all but the last n samples of each chain. Returns how many files."""
        return size("bnn_store_keep_last", self, n)

    def keep_every(self, k: int) -> int:
        """Calls bnn_store_keep_every: deletes all but every k-th sample of each chain. Returns how many files."""
        return size("bnn_store_keep_every", self, k)

    def movement(self, chain: int, start: ArrayLike) -> Report:
        """Calls bnn_store_movement: how far the samples of a chain lie from its start, (n_params)."""
        return reported("bnn_store_movement", self, chain, floats(start))

    def score(
        self, model: Model, corpus: Corpus, split: str, samples: int = 0, seed: int = 0, on_progress: Callable[[int, int], Any] | None = None
    ) -> Report:
        """Calls bnn_store_score: scores the average on a whole split beside the model's own parameters. on_progress(done, total) may return False."""
        return reported("bnn_store_score", self, model, corpus, word(SPLITS, split), samples, seed, hook=progress(on_progress))


def check_samples(path: Path, repair: bool = False) -> Report:
    """Calls bnn_check_samples: reads every sample of a folder whole, says what is damaged, and mends it on request. Raises BNN_ERR_IO."""
    return reported("bnn_check_samples", path, int(repair))


def check_checkpoint(path: Path, repair: bool = False) -> Report:
    """Calls bnn_check_checkpoint: reads what Sampler.save wrote whole, and lets a chain go on from what is left on request."""
    return reported("bnn_check_checkpoint", path, int(repair))
