"""Errors, handles, arrays, callbacks and threads are as docs/python.md says."""
import gc
import os
import pickle
import signal
import threading
import time
import weakref

import numpy as np
import pytest

import libbnn as bnn
from conftest import SHORT, calls


def test_an_error_has_status_name_and_message():
    with pytest.raises(bnn.Error) as e:
        bnn.Options(step_sise=0.1)
    assert e.value.status == bnn.ERR_INVALID == 1 and e.value.name == "BNN_ERR_INVALID"
    assert "step_size" in e.value.message and str(e.value).startswith("BNN_ERR_INVALID: ")
    again = pickle.loads(pickle.dumps(e.value))
    assert (again.status, again.message) == (e.value.status, e.value.message)


def test_handles_are_freed_once():
    gc.collect()
    before = calls["bnn_options_free"]
    with bnn.Options() as options:
        options.close()
    assert calls["bnn_options_free"] == before + 1
    with pytest.raises(bnn.Error) as e:
        options["step_size"]
    assert e.value.status == bnn.ERR_NULL
    options = bnn.Options()
    gone = weakref.ref(options)
    del options
    gc.collect()
    assert gone() is None and calls["bnn_options_free"] == before + 2
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(bnn.Options())


def test_a_call_outlives_close(corpus, ensemble):
    """Freed memory would be read, by this thread and by another's call."""
    gc.collect()
    before = calls["bnn_ensemble_free"]
    freed = []

    def close(done, total):
        ensemble.close()
        freed.append(calls["bnn_ensemble_free"] - before)

    assert ensemble.evaluate(corpus, "val", close)["samples"] == 3
    assert set(freed) == {0} and calls["bnn_ensemble_free"] == before + 1
    with pytest.raises(bnn.Error) as e:
        len(ensemble)
    assert e.value.status == bnn.ERR_NULL


def test_a_child_keeps_its_parents_alive(corpus):
    ensemble = bnn.Ensemble(bnn.Model(corpus.vocab_size, SHORT, bnn.Context(1)))
    gc.collect()
    ensemble.add(np.zeros(27744, np.float32))
    assert len(ensemble) == 1


@pytest.mark.parametrize("value", [-1, 1 << 64, 1.5, "three"])
def test_numbers_that_c_does_not_hold_are_refused(value):
    with pytest.raises((bnn.Error, TypeError)):
        bnn.Context(value)


def test_tokens_that_c_does_not_hold_are_refused(corpus):
    for ids in ([1 - (1 << 32)], [1 + (1 << 32)], [1.0], ["a"]):  # numpy would make 1 of the first three
        with pytest.raises(bnn.Error) as e:
            corpus.decode(ids)
        assert e.value.status == bnn.ERR_INVALID
    assert corpus.decode(np.array([], float)) == ""
    assert corpus.decode(corpus.encode("Thou").astype(np.int8)) == "Thou"


def test_arrays_that_fit_are_not_copied():
    from libbnn import _arrays

    for make, dtype in ((_arrays.floats, np.float32), (_arrays.doubles, np.float64), (_arrays.tokens, np.uint32)):
        fits = np.ones((3, 2), dtype)
        assert make(fits) is fits
        assert make(fits.T).flags.c_contiguous and not np.shares_memory(make(fits.T), fits)


def test_what_is_written_is_checked(model):
    n = model.n_params
    fits = np.empty(n, np.float32)
    assert model.params(fits) is fits
    frozen = np.empty(n, np.float32)
    frozen.flags.writeable = False
    for out in (np.empty(n), np.empty(n - 1, np.float32), np.empty(2 * n, np.float32)[::2], frozen, [0.0] * n):
        with pytest.raises(bnn.Error):
            model.params(out)


def test_arrays_of_a_step_are_apart():
    chain = bnn.Sampler.with_gradients(np.zeros(4), {"sampler": "baoa", "step_size": 0.1, "sampling_steps": 10})
    both, theta = np.zeros(6, np.float32), np.zeros(4, np.float32)
    chain.step_gradient(both[:4], 0.0, theta)
    for grad, to in ((both[:4], both[2:]), (theta, theta), (np.zeros(3), theta), (both[:4], np.zeros(3, np.float32))):
        with pytest.raises(bnn.Error):
            chain.step_gradient(grad, 0.0, to)
    chain.step_gradient(both[:4], 0.0, theta)


class Mine(Exception):
    pass


def throw(*_):
    raise Mine


def test_what_a_callback_raises_comes_out(corpus, model, ensemble, options, tmp_path):
    generator = bnn.Generator(ensemble, corpus)
    sampler = bnn.Sampler(model, corpus, options)
    own = bnn.Sampler.with_gradients(np.zeros(2), {"sampler": "baoa", "step_size": 0.1})
    ways = [
        lambda: ensemble.evaluate(corpus, "val", throw),
        lambda: model.train_once(corpus, options, tmp_path, throw),
        lambda: generator.generate("The ", on_token=throw),
        lambda: generator.generate_tokens([1], on_token=throw),
        lambda: generator.generate_batch(["A", "B"], on_token=throw),
        lambda: generator.score_texts("val", 2, 5, 5, on_progress=throw),
        lambda: own.curvature_with_gradients(1, throw),
        lambda: sampler.curvature(1, 1, throw),
        lambda: bnn.sample(throw, np.zeros(2)),
    ]
    for way in ways:
        with pytest.raises(Mine):
            way()
    sampler.set_schedule(throw)
    with pytest.raises(Mine):
        sampler.step()
    sampler.set_schedule(lambda step: None)
    with pytest.raises(bnn.Error) as e:
        sampler.step()
    assert e.value.status == bnn.ERR_INTERRUPTED
    sampler.set_schedule(None)
    sampler.step()


@pytest.fixture
def ctrl_c():
    """Python's own handler, which a process in the background does not begin with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_long_call(corpus, model, ctrl_c):
    ensemble = bnn.Ensemble(model)
    for _ in range(3):
        ensemble.add(model.params())
    began = time.monotonic()
    ensemble.evaluate(corpus, "train")
    whole = time.monotonic() - began
    timer = threading.Timer(whole / 20, lambda: os.kill(os.getpid(), signal.SIGINT))
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ensemble.evaluate(corpus, "train")
    assert time.monotonic() - began < whole / 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert ensemble.evaluate(corpus, "val")["samples"] == 3


def test_ctrl_c_before_a_step_is_not_lost(corpus, model, options, ctrl_c):
    """Where the schedule is asked: Python would look for the signal as its function begins."""
    sampler = bnn.Sampler(model, corpus, options)
    sampler.set_schedule(lambda step: (1.0, 1.0))
    for _ in range(10):
        timer = threading.Timer(0.0005, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            for _ in range(1000):
                try:
                    sampler.step()
                except bnn.Error as e:
                    assert e.status == bnn.ERR_DONE
                    sampler = bnn.Sampler(model, corpus, options)
                    sampler.set_schedule(lambda step: (1.0, 1.0))


def test_hooks_leave_no_cycles(corpus, ensemble):
    gc.collect()
    gc.disable()
    ensemble.evaluate(corpus, "val", lambda done, total: None)
    gc.enable()
    assert not any(isinstance(one, bnn._call.Hook) for one in gc.get_objects())


def test_a_callback_ends_a_call_by_false(corpus, ensemble):
    seen = []
    with pytest.raises(bnn.Error) as e:
        ensemble.evaluate(corpus, "val", lambda done, total: bool(seen.append((done, total))))
    assert e.value.status == bnn.ERR_INTERRUPTED and len(seen) == 1
    generator = bnn.Generator(ensemble, corpus)
    assert len(generator.generate("The ", {"max_new_tokens": 9}, on_token=lambda *row: False).tokens) == 1
    assert len(generator.generate("The ", {"max_new_tokens": 9}, on_token=lambda *row: None).tokens) == 9


def test_a_call_into_the_same_handle_is_refused(corpus, model, options):
    sampler = bnn.Sampler(model, corpus, options)

    def inside(step):
        with pytest.raises(bnn.Error) as e:
            sampler.step()
        assert e.value.status == bnn.ERR_BUSY
        return 1.0, 1.0

    sampler.set_schedule(inside)
    for _ in range(5):
        sampler.step()


def test_python_runs_while_a_call_does(corpus, model, ensemble):
    """A call that holds the GIL would leave the counting thread where it was."""
    counted, going = [0], threading.Event()

    def count():
        while not going.is_set():
            counted[0] += 1

    other = threading.Thread(target=count)
    other.start()
    evaluator = bnn.Evaluator(model)
    x = np.zeros((256, 32), np.uint32)
    before = counted[0]
    evaluator.logits(x)
    moved = counted[0] - before
    going.set()
    other.join()
    assert moved > 0


def test_chains_on_threads_are_those_of_one(corpus, context):
    model = bnn.Model(corpus.vocab_size, SHORT, context)

    def run(chain, to):
        to[chain] = list(bnn.Sampler(model, corpus, {**SHORT, "chain": chain}).samples())

    apart, together = {}, {}
    for chain in range(3):
        run(chain, apart)
    threads = [threading.Thread(target=run, args=(chain, together)) for chain in range(3)]
    [one.start() for one in threads], [one.join() for one in threads]
    for chain in range(3):
        assert len(apart[chain]) == 4 and all(np.array_equal(a, b) for a, b in zip(apart[chain], together[chain]))
    assert not np.array_equal(apart[0][-1], apart[1][-1])
