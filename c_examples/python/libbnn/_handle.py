"""Objects that the library owns: freed by close, the end of a with, or Python's garbage collection."""
from __future__ import annotations

import ctypes
import weakref
from typing import Any, ClassVar

from ._call import made
from ._library import raw


class _Owned(ctypes.c_void_p):
    """A handle of C's, freed when nothing refers to it: a call that runs on another thread, or around this one, still does."""


class Handle:
    """An object of the library's. It may be freed before those that were made from it. After close, calls raise BNN_ERR_NULL."""

    _free: ClassVar[str]

    def _own(self, name: str, *args: Any) -> None:
        """Takes what a constructor makes, whose last parameter but the error is the handle."""
        address = made(name, *args)
        self.at: _Owned | None = _Owned(address)
        weakref.finalize(self.at, getattr(raw, self._free), address)

    @classmethod
    def _make(cls, name: str, *args: Any) -> Any:
        """Returns an object from another constructor than __init__'s."""
        self = cls.__new__(cls)
        self._own(name, *args)
        return self

    def close(self) -> None:
        """Frees the object, or has the call that uses it free it; a second call is fine."""
        self.at = None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(f"{type(self).__name__} is an object of one process: save it to a file, or make it anew")
