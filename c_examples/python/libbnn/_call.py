"""Calls functions of bnn.h: arguments as C takes them, results as Python has them, errors raised."""
from __future__ import annotations

import ctypes
import operator
import os
from typing import Any, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ._abi import CONSTANTS, FUNCTIONS
from ._error import raised, refuse, thread
from ._interrupt import Interrupts
from ._library import HOOKS, NUMBERS, raw

TOO_SMALL = CONSTANTS["BNN_ERR_TOO_SMALL"]


def _whole(kind: str) -> Callable[[Any], int]:
    """Returns the check of an integer: ctypes would wrap one that the type does not hold."""
    bits = 8 * ctypes.sizeof(NUMBERS[kind])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind == "int32_t" else (0, (1 << bits) - 1)

    def check(value: Any) -> int:
        value = operator.index(value)
        if not low <= value <= high:
            raise refuse("BNN_ERR_INVALID", f"{value} is no number from {low} to {high}")
        return value

    return check


def _same(value: Any) -> Any:
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {"double": float, **{kind: _whole(kind) for kind in ("int32_t", "uint32_t", "uint64_t", "size_t")}}
KINDS = {name: [CHECKS.get(kind, _same) for kind, _ in inner] for name, (_, inner) in FUNCTIONS.items()}


def flat(args: Sequence[Any]) -> Iterator[Any]:
    """Yields arguments as C takes them: an object as its handle, a text or an array as its address and length, a callback with its user data."""
    for a in args:
        if isinstance(a, (str, os.PathLike)):
            encoded = os.fspath(a).encode()
            yield encoded
            yield len(encoded)
        elif isinstance(a, np.ndarray):
            yield a.ctypes.data
            yield a.size
        elif isinstance(a, Hook):
            yield a.c
            yield None
        elif hasattr(a, "_free"):
            yield a.at
        else:
            yield a


def status(name: str, *args: Any) -> int:
    """Calls a function whose last parameter is the error, and returns its status."""
    values = [check(a) for check, a in zip(KINDS[name], flat(args), strict=False)]
    return getattr(raw, name)(*values, thread.ref)


def call(name: str, *args: Any) -> None:
    """Calls a function and raises its error."""
    said = status(name, *args)
    if said:
        raise raised(said)


def number(kind: Any, name: str, *args: Any) -> Any:
    """Calls a function whose last parameter but the error is a number that comes out, and returns that."""
    value = kind()
    call(name, *args, ctypes.byref(value))
    return value.value


def made(name: str, *args: Any) -> int:
    """Calls a constructor and returns the handle."""
    return number(ctypes.c_void_p, name, *args)


def size(name: str, *args: Any) -> int:
    """Returns the size_t that a function gives."""
    return number(ctypes.c_size_t, name, *args)


def grown(dtype: Any, name: str, *args: Any, after: Sequence[Any] = ()) -> NDArray[Any]:
    """Calls a function that takes a buffer, its capacity, and where the length needed goes, and returns what it writes."""
    to, needed = np.empty(64, dtype), ctypes.c_size_t()
    said = status(name, *args, to, ctypes.byref(needed), *after)
    if said == TOO_SMALL:
        to = np.empty(needed.value, dtype)
        said = status(name, *args, to, ctypes.byref(needed), *after)
    if said:
        raise raised(said)
    return to[: needed.value].copy()


def text(name: str, *args: Any, after: Sequence[Any] = ()) -> str:
    """Returns the text that such a function writes."""
    return grown(np.uint8, name, *args, after=after).tobytes().decode()


def texts(all: Sequence[str]) -> tuple[Any, Any]:
    """Returns texts as C takes them: their addresses and their lengths."""
    encoded = [one.encode() for one in all]
    return (ctypes.c_char_p * len(encoded))(*encoded), (ctypes.c_size_t * len(encoded))(*map(len, encoded))


class Hook:
    """A function of the caller's that C calls. What it raises ends the call, and comes out of it.

    The function says that it goes on by returning None or something true.
    """

    def __init__(self, kind: str, function: Callable[..., Any]) -> None:
        thrown: list[BaseException] = []
        interrupts = Interrupts()

        def run(_: Any, *args: Any) -> int:
            try:
                interrupts.deliver()
                said = function(*args)
                return 1 if said is None or said else 0
            except BaseException as e:
                thrown.append(e)
                return 0

        self.c, self.thrown, self.interrupts = HOOKS[kind](run), thrown, interrupts

    def rethrow(self) -> None:
        """Raises what the function raised."""
        if self.thrown:
            raise self.thrown.pop()

    def call(self, name: str, *args: Any) -> None:
        """Calls a function of C's that may call this one."""
        with self.interrupts:
            said = status(name, *args)
        self.rethrow()
        if said:
            raise raised(said)


def progress(function: Callable[[int, int], Any] | None) -> Hook:
    """Returns the hook of a long call. Without a function it lets Python look for Ctrl-C."""
    return Hook("bnn_progress_callback", function or (lambda done, total: None))
