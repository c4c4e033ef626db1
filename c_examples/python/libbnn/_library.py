"""Finds and loads the shared library, and gives its functions the types that bnn.h declares."""
from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ._abi import CALLBACKS, CONSTANTS, FUNCTIONS

ABI, ABI_MINOR = CONSTANTS["BNN_ABI"], CONSTANTS["BNN_ABI_MINOR"]
NUMBERS: dict[str, Any] = {
    "double": ctypes.c_double,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "bnn_status": ctypes.c_int32,
}
RESULTS: dict[str, Any] = {**NUMBERS, "void": None, "const char *": ctypes.c_char_p}
FILE = {"darwin": "libbnn.dylib", "win32": "bnn.dll"}.get(sys.platform, "libbnn.so")


def _callback_type(kind: str) -> Any:
    """Returns the type of a parameter of a callback."""
    if kind in NUMBERS:
        return NUMBERS[kind]
    of = {"const float *": ctypes.c_float, "float *": ctypes.c_float, "double *": ctypes.c_double}.get(kind)
    return ctypes.POINTER(of) if of else ctypes.c_void_p


HOOKS = {name: ctypes.CFUNCTYPE(ctypes.c_int32, *(_callback_type(kind) for kind, _ in inner)) for name, inner in CALLBACKS.items()}


def find() -> str:
    """Returns the path of the library: the variable BNN_LIBRARY, the file in this package, or what the system's loader finds."""
    named = os.environ.get("BNN_LIBRARY")
    if named:
        return named
    beside = Path(__file__).with_name(FILE)
    if beside.exists():
        return str(beside)
    found = ctypes.util.find_library("bnn")
    if found is None:
        raise ImportError(f"there is no {FILE} in {beside.parent}, and the system has none: install a wheel, or name the library in BNN_LIBRARY")
    return found


def load(path: str) -> SimpleNamespace:
    """Returns the functions of the library at a path. Raises ImportError where it is no such library, or one of another ABI."""
    try:
        library = ctypes.CDLL(path)
        library.bnn_abi.restype = library.bnn_abi_minor.restype = ctypes.c_uint32
        has, minor = library.bnn_abi(), library.bnn_abi_minor()
    except (OSError, AttributeError) as e:
        raise ImportError(f"{path} cannot be loaded as bnn's library: {e}") from e
    if has != ABI or minor < ABI_MINOR:
        raise ImportError(f"{path} has ABI {has}.{minor}; this package needs {ABI}.{ABI_MINOR} or a later {ABI}.x")
    functions = SimpleNamespace()
    for name, (result, inner) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = RESULTS[result]
        function.argtypes = [NUMBERS.get(kind, ctypes.c_void_p) for kind, _ in inner]
        setattr(functions, name, function)
    return functions


PATH = find()
raw = load(PATH)
