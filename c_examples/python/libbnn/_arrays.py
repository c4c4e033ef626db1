"""numpy's arrays as the library takes them: C-contiguous, and of its types. An array that fits is passed as it is, without a copy."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._error import refuse

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Tokens = NDArray[np.uint32]


def floats(a: ArrayLike) -> Floats:
    """Returns an array in float32."""
    return np.asarray(a, dtype=np.float32, order="C")


def doubles(a: ArrayLike) -> Doubles:
    """Returns an array in float64."""
    return np.asarray(a, dtype=np.float64, order="C")


def _integers(a: ArrayLike, dtype: Any, what: str) -> NDArray[Any]:
    """Returns an array of integers; numbers that the type does not hold are refused, where numpy would wrap them."""
    given = np.asarray(a)
    if given.dtype != dtype and given.size > 0:
        bounds = np.iinfo(dtype)
        if given.dtype.kind not in "iub":
            raise refuse("BNN_ERR_INVALID", f"{what} are {given.dtype}, expected integers")
        if int(given.min()) < bounds.min or int(given.max()) > bounds.max:
            raise refuse("BNN_ERR_INVALID", f"{what} are {given.min()} to {given.max()}, expected {bounds.min} to {bounds.max}")
    return np.asarray(given, dtype=dtype, order="C")


def tokens(a: ArrayLike) -> Tokens:
    """Returns an array in uint32."""
    return _integers(a, np.uint32, "tokens")


def sizes(a: ArrayLike) -> NDArray[np.uintp]:
    """Returns an array of size_t."""
    return _integers(a, np.uintp, "sizes")


def switches(a: ArrayLike) -> NDArray[np.int32]:
    """Returns an array in int32."""
    return _integers(a, np.int32, "flags")


def sized(what: str, array: NDArray[Any], size: int) -> None:
    """Raises BNN_ERR_SHAPE for another number of elements."""
    if array.size != size:
        raise refuse("BNN_ERR_SHAPE", f"{what} has {array.size} elements, expected {size}")


def written(what: str, array: Any, dtype: Any, size: int, *others: NDArray[Any]) -> NDArray[Any]:
    """Checks an array of the caller's that a call writes into, and that it shares no memory with the call's other arrays."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not array.flags.carray:
        raise refuse("BNN_ERR_INVALID", f"{what} is to be written: it must be a writable C-contiguous numpy array of {np.dtype(dtype)}")
    sized(what, array, size)
    if any(np.may_share_memory(array, other) for other in others):
        raise refuse("BNN_ERR_INVALID", f"{what} shares memory with another array of the call")
    return array


def room(out: Any, size: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Returns the caller's array, or a new one."""
    return np.empty(size, dtype) if out is None else written("out", out, dtype, size)
