"""The error that every call raises, and where the library writes its details."""
from __future__ import annotations

import ctypes
import threading

from ._abi import CONSTANTS
from ._library import raw


class Error(RuntimeError):
    """A status other than BNN_OK. The text is the library's message.

    status: the number, such as bnn.ERR_SHAPE; name: its name, such as "BNN_ERR_SHAPE"; message: what was expected, what came, and where.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    @property
    def name(self) -> str:
        """Calls bnn_status_name."""
        return raw.bnn_status_name(self.status).decode()

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def refuse(status: str, message: str) -> Error:
    """Returns the error of a check that is made before the library is called."""
    return Error(CONSTANTS[status], message)


class _Detail(ctypes.Structure):
    """bnn_error of bnn.h."""

    _fields_ = [("code", ctypes.c_int32), ("message", ctypes.c_char * 508)]


class _Thread(threading.local):
    """Room for the details of a thread's last error; a call inside a callback raises its own before the outer call writes."""

    def __init__(self) -> None:
        self.detail = _Detail()
        self.ref = ctypes.byref(self.detail)


thread = _Thread()


def raised(status: int) -> Error:
    """Returns the error of this thread's last call."""
    return Error(status, thread.detail.message.decode("utf-8", "replace"))
