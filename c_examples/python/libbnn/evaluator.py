"""A model's losses, gradients and predictions at any parameters."""
from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import Doubles, Floats, Tokens, floats, tokens, written
from ._call import call
from ._error import refuse
from ._handle import Handle
from .model import Model


class Losses(NamedTuple):
    """Nats: per position that counts, and over all of them."""

    mean: float
    total: float


def batch(x: ArrayLike, y: ArrayLike | None) -> tuple[Tokens, Tokens, int, int]:
    """Returns tokens, targets, B and T; one sequence may come as (T)."""
    x = tokens(x)
    y = x if y is None else tokens(y)
    if x.ndim not in (1, 2) or y.shape != x.shape:
        raise refuse("BNN_ERR_SHAPE", f"x is {x.shape} and y is {y.shape}, expected (B, T) of both")
    b, t = x.shape if x.ndim == 2 else (1, x.size)
    return x, y, b, t


class Evaluator(Handle):
    """Computes at any parameters, and leaves the model's alone; None takes the model's as they are now. One thread at a time, any number of evaluators at once.

    x, y: (B, T) tokens and their targets, T at most block_size. last_only counts the last position of each sequence alone. Raises BNN_ERR_INVALID for a
    token out of range, with its place, and BNN_ERR_SHAPE. A loss that is not finite is given as it is.
    """

    _free = "bnn_evaluator_free"

    def __init__(self, model: Model) -> None:
        self._own("bnn_evaluator_new", model)
        self.n_params = model.n_params
        self.vocab_size = model.info()["vocab_size"]

    def _params(self, params: ArrayLike | None) -> tuple[Any, ...]:
        return (None, 0) if params is None else (floats(params),)

    def _losses(self, name: str, params: tuple[Any, ...], x: ArrayLike, y: ArrayLike, last_only: bool, *outs: NDArray[Any]) -> Losses:
        x, y, b, t = batch(x, y)
        mean, total = ctypes.c_double(), ctypes.c_double()
        to = [out.ctypes.data for out in outs]
        call(name, self, *params, x.ctypes.data, y.ctypes.data, b, t, bool(last_only), ctypes.byref(mean), ctypes.byref(total), *to)
        return Losses(mean.value, total.value)

    def loss(self, x: ArrayLike, y: ArrayLike, params: ArrayLike | None = None, last_only: bool = False) -> Losses:
        """Calls bnn_evaluator_loss."""
        return self._losses("bnn_evaluator_loss", self._params(params), x, y, last_only)

    def gradient(self, x: ArrayLike, y: ArrayLike, grad: Floats, params: ArrayLike | None = None, last_only: bool = False) -> Losses:
        """Calls bnn_evaluator_gradient. grad: (n_params), written: the gradient of the mean loss."""
        at = self._params(params)
        written("grad", grad, np.float32, self.n_params, *(a for a in at if isinstance(a, np.ndarray)))
        return self._losses("bnn_evaluator_gradient", at, x, y, last_only, grad)

    def squares(self, x: ArrayLike, y: ArrayLike, grad: Floats, squares: Floats, params: ArrayLike | None = None, last_only: bool = False) -> Losses:
        """Calls bnn_evaluator_squares. grad, squares: (n_params) each, written; squares: summed over the sequences, of their log likelihoods' gradients."""
        at = self._params(params)
        arrays = [a for a in at if isinstance(a, np.ndarray)]
        written("grad", grad, np.float32, self.n_params, *arrays)
        written("squares", squares, np.float32, self.n_params, grad, *arrays)
        return self._losses("bnn_evaluator_squares", at, x, y, last_only, grad, squares)

    def log_probs(self, x: ArrayLike, y: ArrayLike, params: ArrayLike | None = None) -> Doubles:
        """Calls bnn_evaluator_log_probs: the log-probability of each target, nats, in the shape of y."""
        x, y, b, t = batch(x, y)
        to = np.empty(y.shape, np.float64)
        call("bnn_evaluator_log_probs", self, *self._params(params), x.ctypes.data, y.ctypes.data, b, t, to.ctypes.data)
        return to

    def logits(self, x: ArrayLike, params: ArrayLike | None = None, out: Floats | None = None) -> Floats:
        """Calls bnn_evaluator_logits: (B, T, V), after each token of x; their softmax is the prediction of the token that follows."""
        x, _, b, t = batch(x, None)
        to = np.empty((*x.shape, self.vocab_size), np.float32) if out is None else out
        written("out", to, np.float32, b * t * self.vocab_size)
        call("bnn_evaluator_logits", self, *self._params(params), x.ctypes.data, b, t, to)
        return to
