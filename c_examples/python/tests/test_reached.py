"""Every function of bnn.h is called by the package, and by these tests."""
import ast
from pathlib import Path

import pytest

import libbnn
from conftest import calls
from libbnn._abi import FUNCTIONS

# Called once when the package is imported, before the tests count.
AT_IMPORT = {"bnn_abi", "bnn_abi_minor"}


def test_the_package_calls_every_function():
    found = set()
    for path in Path(libbnn.__file__).parent.glob("*.py"):
        if path.name == "_abi.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found.add(getattr(node, "attr", None) if isinstance(node, ast.Attribute) else getattr(node, "value", None) if isinstance(node, ast.Constant) else None)
    assert set(FUNCTIONS) - found == set()


def test_every_function_was_called(request):
    if len({item.fspath for item in request.session.items}) < 5:
        pytest.skip("only some of the tests run")
    assert set(FUNCTIONS) - set(calls) == AT_IMPORT
