"""Results of several numbers, as a dict."""
from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ._abi import CONSTANTS
from ._call import TOO_SMALL, Hook, call, grown, size
from ._error import raised, thread
from ._handle import Handle
from ._library import raw

F64, U64, STR = (CONSTANTS[f"BNN_TYPE_{kind}"] for kind in ("F64", "U64", "STR"))


class _Rows(Handle):
    """A bnn_report while it is read: it has some dozen rows, and each takes three calls, so these go the short way."""

    _free = "bnn_report_free"

    def __init__(self) -> None:
        self._own("bnn_report_new")
        self.kind, self.f64, self.u64, self.needed = ctypes.c_int32(), ctypes.c_double(), ctypes.c_uint64(), ctypes.c_size_t()
        self.outs = [ctypes.byref(one) for one in (self.kind, self.f64, self.u64, self.needed)]
        self.chars = ctypes.create_string_buffer(256)

    def _text(self, function: Any, *args: Any) -> bytes:
        """Calls a function that ends with a buffer for text."""
        status = function(self.at, *args, self.chars, len(self.chars), self.outs[3], thread.ref)
        if status == TOO_SMALL:
            self.chars = ctypes.create_string_buffer(self.needed.value)
            status = function(self.at, *args, self.chars, len(self.chars), self.outs[3], thread.ref)
        if status:
            raise raised(status)
        return self.chars.raw[: self.needed.value]

    def row(self, index: int) -> tuple[str, Any, str]:
        """Returns the name of a row, what it holds, and what it means."""
        name = self._text(raw.bnn_report_name, index)
        n = len(name)
        means = self._text(raw.bnn_report_describe, name, n, self.outs[0]).decode()
        kind = self.kind.value
        status, value = 0, None  # type: int, Any
        if kind == F64:
            status = raw.bnn_report_get_f64(self.at, name, n, self.outs[1], thread.ref)
            value = self.f64.value
        elif kind == U64:
            status = raw.bnn_report_get_u64(self.at, name, n, self.outs[2], thread.ref)
            value = self.u64.value
        elif kind == STR:
            value = self._text(raw.bnn_report_get_str, name, n).decode()
        else:
            value = grown(np.float64, "bnn_report_get_f64s", self, name.decode())
        if status:
            raise raised(status)
        return name.decode(), value, means


class Report(dict):
    """The named rows of one result, in their order: float, int, str, or a numpy array of float64. What is not known is NaN.

    meanings: what each row means, with its unit.
    """

    def __init__(self, rows: _Rows) -> None:
        super().__init__()
        self.meanings: dict[str, str] = {}
        for i in range(size("bnn_report_count", rows)):
            name, value, meaning = rows.row(i)
            self[name], self.meanings[name] = value, meaning

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"there is no row {name!r}; there are {', '.join(self)}")

    def __reduce__(self) -> Any:
        return _again, (dict(self), self.meanings)


def _again(rows: dict[str, Any], meanings: dict[str, str]) -> Report:
    """Returns a report from another process."""
    report = Report.__new__(Report)
    report.update(rows)
    report.meanings = meanings
    return report


def reported(name: str, *args: Any, hook: Hook | None = None) -> Report:
    """Returns the report that a function of bnn.h makes; hook is what that function may call."""
    with _Rows() as rows:
        if hook is not None:
            hook.call(name, *args, hook, rows)
        else:
            call(name, *args, rows)
        return Report(rows)
