"""The parameters of a PyTorch module as one vector, without copies between the two."""
from __future__ import annotations

from typing import Any, Callable, Iterable

import numpy as np

from ._arrays import Floats
from ._error import refuse


def flatten(parameters: Iterable[Any], from_numpy: Callable[[Any], Any] | None = None) -> tuple[Floats, Floats]:
    """Moves parameters and their gradients into two vectors, (d) in float32 each, and returns these.

    From then on the module computes with what stands in the first, and backward adds to the second: set it to 0 before each call. parameters: such as
    module.parameters(), of float32 on the CPU. from_numpy: torch.from_numpy where None. Raises BNN_ERR_INVALID for parameters of another type.
    """
    all = list(parameters)
    if from_numpy is None:
        import torch  # type: ignore[import-not-found, unused-ignore]

        from_numpy = torch.from_numpy
    values = [one.detach().numpy() for one in all]
    if not values or any(value.dtype != np.float32 for value in values):
        raise refuse("BNN_ERR_INVALID", f"the parameters are {sorted({str(value.dtype) for value in values})}, expected float32")
    theta = np.concatenate([value.reshape(-1) for value in values])
    grad = np.zeros_like(theta)
    at = 0
    for one, value in zip(all, values):
        end = at + value.size
        one.data = from_numpy(theta[at:end].reshape(value.shape))
        one.grad = from_numpy(grad[at:end].reshape(value.shape))
        at = end
    return theta, grad
