"""A GPT with its parameters."""
from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Mapping, NamedTuple

from numpy.typing import ArrayLike

from ._arrays import Floats, floats, room
from ._call import Hook, call, number, size, text
from ._handle import Handle
from .constants import SPLITS, word
from .context import Context, context_of
from .corpus import Corpus
from .options import Options, Value
from .report import Report, reported

Settings = Options | Mapping[str, Value] | None
Path = str | os.PathLike[str]


class Tensor(NamedTuple):
    """A named tensor's shape, (out, in) for a matrix, and its place in the parameters, row by row."""

    name: str
    shape: tuple[int, ...]
    offset: int
    len: int


class Model(Handle):
    """A GPT at nanoGPT's initial parameters. It may be used by several threads at once.

    options: shape, n_layer, n_head, n_embd, block_size, bias, dropout, gelu, tie_weights, precision, seed. Raises BNN_ERR_INVALID for a shape that cannot
    be built, and BNN_ERR_NO_MEMORY.
    """

    _free = "bnn_model_free"

    def __init__(self, vocab_size: int, options: Settings = None, context: Context | None = None) -> None:
        self._own("bnn_model_new", context_of(context), Options.of(options), vocab_size)

    @classmethod
    def load(cls, path: Path, options: Settings = None, context: Context | None = None) -> Model:
        """Calls bnn_model_load: shape, parameters and characters are the file's. Raises BNN_ERR_IO, BNN_ERR_BAD_…, BNN_ERR_MISMATCH."""
        return cls._make("bnn_model_load", context_of(context), Options.of(options), path)

    def untie(self) -> Model:
        """Calls bnn_model_untie: the model with a head of its own. Raises BNN_ERR_INVALID for one that is not tied."""
        return Model._make("bnn_model_untie", self)

    def copy(self) -> Model:
        """Calls bnn_model_copy: a model of the same shape with the parameters that this one has now."""
        return Model._make("bnn_model_copy", self)

    def _sizes(self) -> tuple[int, int]:
        n, block = ctypes.c_size_t(), ctypes.c_size_t()
        call("bnn_model_sizes", self, ctypes.byref(n), ctypes.byref(block))
        return n.value, block.value

    @property
    def n_params(self) -> int:
        """Calls bnn_model_sizes: the length of the parameter vector."""
        return self._sizes()[0]

    @property
    def block_size(self) -> int:
        """Calls bnn_model_sizes: the longest context."""
        return self._sizes()[1]

    def params(self, out: Floats | None = None) -> Floats:
        """Calls bnn_model_get_params: (n_params), copied into out where it is given."""
        to = room(out, self.n_params)
        call("bnn_model_get_params", self, to)
        return to

    def set_params(self, params: ArrayLike) -> None:
        """Calls bnn_model_set_params. Raises BNN_ERR_SHAPE, and BNN_ERR_INVALID for one that is not finite."""
        call("bnn_model_set_params", self, floats(params))

    def tensor(self, index: int) -> Tensor:
        """Calls bnn_model_tensor, in nanoGPT's order. Raises BNN_ERR_INVALID past the last."""
        dims, rows, columns, offset, length = all = [ctypes.c_size_t() for _ in range(5)]
        name = text("bnn_model_tensor", self, index, after=[ctypes.byref(one) for one in all])
        shape = (rows.value, columns.value)[: dims.value]
        return Tensor(name, shape, offset.value, length.value)

    def tensors(self) -> list[Tensor]:
        """Calls bnn_model_tensor for each: params[t.offset : t.offset + t.len].reshape(t.shape) is tensor t."""
        return [self.tensor(i) for i in range(self.info()["tensors"])]

    def find_tensor(self, name: str) -> int:
        """Calls bnn_model_find_tensor: the index of a name. Raises BNN_ERR_INVALID for an unknown one, with the nearest."""
        return size("bnn_model_find_tensor", self, name)

    def info(self) -> Report:
        """Calls bnn_model_info: the shape, the number of parameters and of tensors, and the precision of matrix products."""
        return reported("bnn_model_info", self)

    def loss(self, corpus: Corpus, split: str) -> float:
        """Calls bnn_model_loss: over a whole split, nats per token. Raises BNN_ERR_DATA when the split is shorter than a window."""
        return number(ctypes.c_double, "bnn_model_loss", self, corpus, word(SPLITS, split))

    def save(self, path: Path, corpus: Corpus | None = None, steps: int = 0) -> None:
        """Calls bnn_model_save: a file that the command takes for a baseline. steps: of training, for the record. Raises BNN_ERR_IO."""
        call("bnn_model_save", self, corpus, steps, path)

    def save_safetensors(self, path: Path) -> None:
        """Calls bnn_model_save_safetensors: the parameters by nanoGPT's names. Raises BNN_ERR_IO."""
        call("bnn_model_save_safetensors", self, path)

    def read_safetensors(self, path: Path) -> None:
        """Calls bnn_model_read_safetensors: every tensor by nanoGPT's name, in F32 or BF16. Raises BNN_ERR_IO, BNN_ERR_BAD_HEADER, BNN_ERR_DATA."""
        call("bnn_model_read_safetensors", self, path)

    def train_once(self, corpus: Corpus, options: Settings, folder: Path, on_step: Callable[[int, float], Any] | None = None) -> Report:
        """Calls bnn_model_train_once: trains the model, or takes what an earlier call kept in the folder; one that was ended goes on bit for bit.

        on_step(steps, loss) is called after each step, the loss in nats per token; it ends the training by returning False (BNN_ERR_INTERRUPTED).
        Returns kept, path, steps, train_loss, val_loss and seconds.
        """
        hook = Hook("bnn_step_callback", on_step or (lambda steps, loss: None))
        return reported("bnn_model_train_once", self, corpus, Options.of(options), folder, hook=hook)
