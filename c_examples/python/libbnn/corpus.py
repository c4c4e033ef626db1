"""Tokens in two splits, with the characters that they are where these are known."""
from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Tokens, tokens
from ._call import call, grown, text
from ._handle import Handle
from .constants import SPLITS, word


class Sizes(NamedTuple):
    """How many different tokens, and how many tokens the splits have."""

    vocab_size: int
    n_train: int
    n_val: int


class Corpus(Handle):
    """A text; its first 90 % are the split "train", the rest is "val". Immutable, and may be shared between threads."""

    _free = "bnn_corpus_free"

    def __init__(self, chars: str) -> None:
        """Calls bnn_corpus_from_text. Raises BNN_ERR_DATA when it is empty."""
        self._own("bnn_corpus_from_text", chars)

    @classmethod
    def embedded(cls) -> Corpus:
        """Calls bnn_corpus_embedded: the play in verse that the library carries."""
        return cls._make("bnn_corpus_embedded")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Corpus:
        """Calls bnn_corpus_from_file. Raises BNN_ERR_IO, and BNN_ERR_DATA for a file that is empty or not UTF-8."""
        return cls._make("bnn_corpus_from_file", path)

    @classmethod
    def from_tokens(cls, train: ArrayLike, val: ArrayLike, vocab_size: int) -> Corpus:
        """Calls bnn_corpus_from_tokens: ids of any tokenizer, each below vocab_size, which is 65536 at most."""
        return cls._make("bnn_corpus_from_tokens", tokens(train), tokens(val), vocab_size)

    @classmethod
    def from_nanogpt(cls, path: str | os.PathLike[str], vocab_size: int = 0) -> Corpus:
        """Calls bnn_corpus_from_nanogpt: train.bin, val.bin and meta.pkl of a folder; another vocab_size than 0 does without meta.pkl.

        Raises BNN_ERR_IO, and BNN_ERR_DATA for a file that is empty or damaged and for a token out of range.
        """
        return cls._make("bnn_corpus_from_nanogpt", path, vocab_size)

    def sizes(self) -> Sizes:
        """Calls bnn_corpus_sizes."""
        all = [ctypes.c_size_t() for _ in range(3)]
        call("bnn_corpus_sizes", self, *map(ctypes.byref, all))
        return Sizes(*(one.value for one in all))

    @property
    def vocab_size(self) -> int:
        """How many different tokens there are."""
        return self.sizes().vocab_size

    def vocabulary(self) -> str:
        """Calls bnn_corpus_vocabulary: the characters in the order of their ids; empty where none are known."""
        return text("bnn_corpus_vocabulary", self)

    def tokens(self, split: str) -> Tokens:
        """Calls bnn_corpus_tokens: those of "train" or "val"."""
        return grown(np.uint32, "bnn_corpus_tokens", self, word(SPLITS, split))

    def encode(self, chars: str) -> Tokens:
        """Calls bnn_corpus_encode. Raises BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have."""
        return grown(np.uint32, "bnn_corpus_encode", self, chars)

    def decode(self, ids: ArrayLike) -> str:
        """Calls bnn_corpus_decode. Raises BNN_ERR_INVALID for a token out of range and where no characters are known."""
        return text("bnn_corpus_decode", self, tokens(ids))
