"""The signatures are those of the header, and another library is refused."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

import libbnn
from libbnn import _library
from libbnn._abi import CONSTANTS, FUNCTIONS

sys.path.insert(0, str(Path(__file__).parent.parent))
import make_abi

HEADER = make_abi.HEADER.read_text("utf-8")


def test_the_module_is_made_from_the_header():
    installed = Path(libbnn.__file__).with_name("_abi.py").read_text("utf-8")
    assert installed == make_abi.generate(HEADER), "run make_abi.py"


def test_the_reader_of_the_header_misses_nothing():
    code = [line for line in HEADER.splitlines() if not line.lstrip().startswith(("*", "/*", "typedef"))]
    declared = {line.split("(")[0].replace("*", " ").split()[-1] for line in code if " bnn_" in line.replace("*", " ") and "(" in line}
    assert declared == set(FUNCTIONS) and len(FUNCTIONS) > 160
    assert sum(line.startswith("#define BNN_") for line in code) - 1 == len(CONSTANTS)  # but BNN_H
    assert FUNCTIONS["bnn_brier_score"][1][2:4] == [("size_t", "n"), ("size_t", "v")]


def test_another_library_is_refused(monkeypatch):
    with pytest.raises(ImportError, match="cannot be loaded"):
        _library.load("libm.so.6")
    with pytest.raises(ImportError, match="no-such-file"):
        _library.load("/no-such-file.so")
    for name, value in (("ABI", _library.ABI + 1), ("ABI_MINOR", _library.ABI_MINOR + 1)):
        with monkeypatch.context() as m:
            m.setattr(_library, name, value)
            with pytest.raises(ImportError, match="this package needs"):
                _library.load(libbnn.library_path)


def test_the_variable_names_the_library():
    env = {**os.environ, "BNN_LIBRARY": "/no-such-file.so"}
    out = subprocess.run([sys.executable, "-c", "import libbnn"], env=env, capture_output=True, text=True)
    assert out.returncode != 0 and "/no-such-file.so" in out.stderr
    env["BNN_LIBRARY"] = libbnn.library_path
    subprocess.run([sys.executable, "-c", "import libbnn; libbnn.Corpus.embedded()"], env=env, check=True)


def test_versions():
    assert libbnn.version() == libbnn.__version__
    assert libbnn.version_number() == CONSTANTS["BNN_VERSION_MAJOR"] * 10**6 + CONSTANTS["BNN_VERSION_MINOR"] * 1000 + CONSTANTS["BNN_VERSION_PATCH"]
