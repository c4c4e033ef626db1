"""Corpora, options and contexts."""
import os
import pickle

import numpy as np
import pytest

import libbnn as bnn


def test_a_text_and_its_tokens(tmp_path):
    chars = "naïve ✓ text. " * 40
    (tmp_path / "a.txt").write_text(chars, "utf-8")
    for corpus in (bnn.Corpus(chars), bnn.Corpus.from_file(tmp_path / "a.txt")):
        assert corpus.vocabulary() == "".join(sorted(set(chars)))
        assert corpus.decode(corpus.encode("✓ naïve")) == "✓ naïve"
        sizes = corpus.sizes()
        assert sizes == (len(set(chars)), sizes.n_train, len(chars) - sizes.n_train) and corpus.vocab_size == sizes.vocab_size
        both = np.concatenate([corpus.tokens("train"), corpus.tokens("val")])
        assert both.dtype == np.uint32 and corpus.decode(both) == chars
    with pytest.raises(bnn.Error) as e:
        corpus.encode("Z")
    assert e.value.status in (bnn.ERR_DATA, bnn.ERR_INVALID)
    with pytest.raises(bnn.Error):
        corpus.tokens("test")
    with pytest.raises(bnn.Error) as e:
        bnn.Corpus.from_file(tmp_path / "none.txt")
    assert e.value.status == bnn.ERR_IO


def test_tokens_of_other_tokenizers():
    corpus = bnn.Corpus.from_tokens([1, 2, 3], np.array([5], np.int64), 6)
    assert corpus.sizes() == (6, 3, 1) and corpus.vocabulary() == "" and list(corpus.tokens("val")) == [5]
    with pytest.raises(bnn.Error) as e:
        bnn.Corpus.from_tokens([1], [6], 6)
    assert e.value.status == bnn.ERR_INVALID


def test_nanogpts_folder(tmp_path):
    chars = "to be or not to be " * 10
    letters = sorted(set(chars))
    ids = {letter: i for i, letter in enumerate(letters)}
    meta = {"vocab_size": len(letters), "stoi": ids, "itos": dict(enumerate(letters))}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    for name, part in (("train", chars[:-30]), ("val", chars[-30:])):
        np.array([ids[c] for c in part], np.uint16).tofile(tmp_path / f"{name}.bin")
    corpus = bnn.Corpus.from_nanogpt(tmp_path)
    assert corpus.vocabulary() == "".join(letters) and corpus.decode(corpus.tokens("val")) == chars[-30:]
    assert bnn.Corpus.from_nanogpt(tmp_path, 100).sizes() == (100, len(chars) - 30, 30)


def test_options_by_type_and_as_data():
    options = bnn.Options(sampler="baoa", step_size=1, thinning=np.int64(3), bias=True, dropout=np.float32(0.5))
    assert [options[name] for name in ("sampler", "step_size", "thinning", "bias", "dropout")] == ["baoa", 1.0, 3, 1, 0.5]
    copy = options.copy()
    options.unset("thinning").set_text("bias", "false")
    options["step_size"] = 0.25
    assert options["bias"] == 0 and options["thinning"] != 3 and options["step_size"] == 0.25
    assert copy["thinning"] == 3 and copy["step_size"] == 1.0
    unread = copy.unread("model")
    assert "thinning" in unread and unread.meanings["thinning"]
    with pytest.raises(KeyError, match="thinning"):
        unread["thining"]
    for name, value in (("step_size", "large"), ("thinning", 0), ("sampler", "hmc"), ("bias", 2)):
        with pytest.raises(bnn.Error) as e:
            options[name] = value
        assert e.value.status == bnn.ERR_INVALID, name
    rows = bnn.all_options()
    assert {row["type"] for row in rows} == {"f64", "u64", "str"} and all(row["name"] and row["help"] for row in rows)
    aliased = next(row for row in rows if row["aliases"])
    alias = aliased["aliases"].split(", ")[0]
    assert bnn.Options._types[alias] == aliased["type"]


def test_a_forked_process_makes_its_own_context():
    """Nothing of pytest's may run in the child: it ends with the number of what went wrong."""
    mine = bnn.Context(2)
    bnn.Model(10, {"shape": "tiny"})
    child = os.fork()
    if child == 0:
        wrong = 1
        try:
            bnn.Model(10, {"shape": "tiny"})
            wrong = 2
            bnn.Model(10, {"shape": "tiny"}, mine)
        except bnn.Error as e:
            wrong = 0 if wrong == 2 and e.status == bnn.ERR_UNSUPPORTED else wrong
        finally:
            os._exit(wrong)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_context_says_what_computes():
    with bnn.Context(2) as context:
        assert context.threads == 2
        info = context.info()
        again = pickle.loads(pickle.dumps(info))
        assert again == info and again.meanings == info.meanings and all(info.meanings.values())
        assert info["threads"] == 2 and info["version"] == bnn.version() and info["profile"] in ("release", "dist")
    with pytest.raises(bnn.Error):
        bnn.Context(2000)
