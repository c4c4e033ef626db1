"""The programs of README.md run as they stand, and those of docs/python.md are the same."""
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import libbnn as bnn

HERE = Path(__file__).resolve().parent.parent
PAGE = HERE.parent.parent / "docs" / "python.md"


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.S)


OWN, TORCH, NANOGPT = blocks(HERE / "README.md")


def run(program):
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    return names


def test_the_page_has_the_same_programs():
    assert blocks(PAGE) == [OWN, TORCH, NANOGPT]


def test_a_log_posterior_of_ones_own(capsys):
    names = run(OWN)
    assert names["draws"].draws.shape == (4, 1000, 2) and names["report"]["rhat.worst"] < 1.02
    assert capsys.readouterr().out.startswith("the chains agree")


def test_a_module_of_torch():
    pytest.importorskip("torch")
    names = run(TORCH)
    assert np.shape(names["kept"]) == (1000, 4)
    assert np.allclose(np.mean(names["kept"], 0)[:3], [1.0, -2.0, 0.5], atol=0.1)


def test_nanogpts_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data" / "shakespeare_char"
    os.makedirs(data)
    corpus = bnn.Corpus.embedded()
    letters = corpus.vocabulary()
    meta = {"vocab_size": len(letters), "stoi": {c: i for i, c in enumerate(letters)}, "itos": dict(enumerate(letters))}
    (data / "meta.pkl").write_bytes(pickle.dumps(meta))
    for split in ("train", "val"):
        corpus.tokens(split).astype(np.uint16).tofile(data / f"{split}.bin")
    names = run(NANOGPT)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 100 and len(names["ensemble"]) == 10
    assert names["ensemble"].evaluate(names["corpus"], "val")["loss"] < np.log(len(letters)) - 0.5, "it has learned something"
