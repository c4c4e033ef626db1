"""Small models for the tests; and a count of the calls of each function of bnn.h."""
from collections import Counter

import numpy as np
import pytest

import libbnn as bnn
from libbnn._abi import FUNCTIONS
from libbnn._library import raw

calls = Counter()


def counted(name):
    function = getattr(raw, name)

    def call(*args):
        calls[name] += 1
        return function(*args)

    return call


for each in FUNCTIONS:
    setattr(raw, each, counted(each))

SHORT = {"shape": "tiny", "seed": 7, "baseline_iters": 20, "baseline_warmup_iters": 2, "sampler": "baoa", "warmup_steps": 4, "sampling_steps": 20}
SHORT.update(thinning=5, preconditioner_steps=4, batch_size=4)


def pytest_collection_modifyitems(items):
    """What has been called is asked last."""
    items.sort(key=lambda item: "test_reached" in item.nodeid)


@pytest.fixture(scope="session")
def context():
    return bnn.Context(1)


@pytest.fixture(scope="session")
def corpus():
    return bnn.Corpus.embedded()


@pytest.fixture
def options():
    return bnn.Options(**SHORT)


@pytest.fixture
def model(context, corpus, options):
    return bnn.Model(corpus.vocab_size, options, context)


@pytest.fixture
def ensemble(model):
    ensemble = bnn.Ensemble(model)
    for scale in (1.0, 1.3, 1.6):
        ensemble.add(scale * model.params())
    return ensemble


@pytest.fixture
def batch(corpus):
    """Tokens and targets, (4, 16) each."""
    ids = corpus.tokens("train")[: 4 * 16 + 1]
    return ids[:-1].reshape(4, 16), np.ascontiguousarray(ids[1:]).reshape(4, 16)
