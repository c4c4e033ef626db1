"""Texts: whole, several at once, token by token."""
import numpy as np
import pytest

import libbnn as bnn

OPTIONS = {"max_new_tokens": 12, "seed": 3, "generation_temperature": 0.8}


def test_one_text_by_four_ways(ensemble, corpus):
    generator = bnn.Generator(ensemble, corpus)
    one = generator.generate("The ", OPTIONS, 1)
    assert len(one.tokens) == 12 and corpus.decode(one.tokens) == one.text == generator.text(0) and list(generator.tokens(0)) == list(one.tokens)
    assert np.isclose(one.mean_entropy, one.entropy.mean()) and np.isclose(one.mean_mutual_information, one.mutual_information.mean())
    assert np.all(one.mutual_information > 0) and np.all(one.log_probs < 0)
    ids = generator.generate_tokens(corpus.encode("The "), OPTIONS, 1)
    assert ids.text is None and np.array_equal(ids.tokens, one.tokens) and np.array_equal(ids.entropy, one.entropy)
    batch = generator.generate_batch(["A", "The "], OPTIONS, 0)
    assert batch[1].text == one.text and np.array_equal(batch[1].log_probs, one.log_probs) and batch[1].mean_entropy == one.mean_entropy
    for prompts in (["A", "The "], [corpus.encode("A"), list(corpus.encode("The "))]):
        generator.begin(prompts, OPTIONS, 0)
        written = []
        while (next := generator.advance()) is not None:
            written.append(next)
        assert [int(n.tokens[1]) for n in written] == list(one.tokens) and np.array_equal([n.entropy[1] for n in written], one.entropy)
    assert generator.text(0) == batch[0].text
    assert generator.generate_batch([], OPTIONS) == []


def test_tokens_may_be_put_and_texts_stopped(ensemble, corpus):
    generator = bnn.Generator(ensemble, corpus)
    with pytest.raises(bnn.Error) as e:
        generator.advance()
    assert e.value.status == bnn.ERR_STATE
    generator.begin(["A", "The "], OPTIONS)
    seen = generator.predict(0, corpus.vocab_size)
    assert np.isclose(np.exp(seen.log_probs).sum(), 1) and 0 < seen.mutual_information < seen.entropy
    assert np.isclose(seen.entropy, -np.sum(np.exp(seen.log_probs) * seen.log_probs))
    generator.put(0, 7)
    generator.stop(1)
    next = generator.advance()
    assert next.tokens[0] == 7 and next.log_probs[0] == seen.log_probs[7] and next.tokens[1] == bnn.NO_TOKEN and np.isnan(next.entropy[1])
    with pytest.raises(bnn.Error):
        generator.predict(0, 3)


def test_texts_are_scored(ensemble, corpus):
    seen = []
    scores = bnn.Generator(ensemble, corpus).score_texts("val", 3, 8, 10, {"seed": 1}, lambda done, total: seen.append(done))
    assert scores["texts"] == 3 and 0 <= scores["rouge1"] <= 1 and seen
