"""Samplers on a model's posterior, stores, ensembles and scores."""
import numpy as np
import pytest

import libbnn as bnn
from conftest import SHORT


def test_three_ways_to_make_one_step(model, corpus, options):
    """On the batch of the step, a gradient and tokens of the caller's give the same bits."""
    a, b, c = (bnn.Sampler(model, corpus, options) for _ in range(3))
    evaluator, grad = bnn.Evaluator(model), np.empty(model.n_params, np.float32)
    for step in range(8):
        x, y = a.batch(step)
        assert x.shape == y.shape == (4, 32)
        loss = evaluator.gradient(x, y, grad, c.params())
        made = a.step()
        assert made == b.step_tokens(x, y) == c.step_loss_gradient(grad, loss.mean)
        assert np.array_equal(a.params(), b.params()) and np.array_equal(a.params(), c.params())
    assert made == (bnn.Phase.SAMPLING, False) and not made.done


def test_a_chain_goes_on_from_its_file(model, corpus, options, tmp_path):
    whole = list(bnn.Sampler(model, corpus, options).samples())
    chain = bnn.Sampler(model, corpus, options)
    for _ in range(11):
        chain.step()
    chain.save(tmp_path / "c.bnn")
    rest = list(bnn.Sampler.load(tmp_path / "c.bnn", model, corpus, options).samples())
    assert len(whole) == 4 and all(np.array_equal(a, b) for a, b in zip(whole, rest, strict=True))
    bad = bytearray((tmp_path / "c.bnn").read_bytes())
    bad[-9] ^= 1
    (tmp_path / "c.bnn").write_bytes(bad)
    with pytest.raises(bnn.Error, match="c.bnn"):
        bnn.Sampler.load(tmp_path / "c.bnn", model, corpus, options)
    assert bnn.check_checkpoint(tmp_path / "c.bnn")["damaged"] == 1


def test_a_chain_is_run_in_one_call(model, corpus, options, tmp_path):
    whole = list(bnn.Sampler(model, corpus, options).samples())
    store, file = bnn.Store(tmp_path / "samples", model, corpus, options), tmp_path / "chain.bnn"
    with pytest.raises(bnn.Error) as ended:
        bnn.Sampler(model, corpus, options).run(file, store, 3, lambda done, total: done < 13)
    assert ended.value.name == "BNN_ERR_INTERRUPTED"
    again = bnn.Sampler.load(file, model, corpus, options)
    again.run(file, store)
    assert again.done and len(store) == 4 and again.missing(store)["missing"] == 0
    assert all(np.array_equal(store[i].params, sample) for i, sample in enumerate(whole))
    assert bnn.Sampler(model, corpus, options).run(tmp_path / "alone.bnn") == 4


def test_what_a_chain_says_of_itself(model, corpus, options):
    options.set(llc_every=1, prior_center="pretrained", temperature_every=1, sampling_steps=60)
    chain = bnn.Sampler(model, corpus, options)
    with pytest.raises(bnn.Error) as e:
        chain.report()
    assert e.value.status == bnn.ERR_STATE
    kept = list(chain.samples())
    assert chain.report()["phase"] == "sampling" and chain.momenta().size == model.n_params and chain.mass().min() > 0
    assert chain.llc()["looks"] == 60 and chain.energy()["potential.mean"] > 0 and chain.temperature(0)["count"] == 60
    assert chain.step_size()["step_size"] > 0
    seen = []
    ends = chain.curvature(4, 2, lambda done, total: seen.append((done, total)))
    assert ends["largest"] > ends["smallest"] and len(seen) > 0 and ends["products"] <= 4
    moved = bnn.movement(len(kept), model.params(), kept[0], kept[-1])
    assert moved["samples"] == len(kept) and moved["rms_move"] == pytest.approx(np.sqrt(np.mean((kept[-1] - model.params()) ** 2)), rel=1e-4)


def test_samples_in_a_folder(model, corpus, options, tmp_path):
    start = model.params()
    chain = bnn.Sampler(model, corpus, options)
    store = bnn.Store(tmp_path / "samples", model, corpus, options)
    kept = []
    while not chain.done:
        if chain.step().sample_due:
            kept.append(chain.params())
            store.append(0, chain.report()["step"] + 1, kept[-1])
    assert chain.missing(store)["missing"] == 0
    again = bnn.Store.open(tmp_path / "samples", model, corpus)
    again.verify()
    assert len(again) == 4 and [one.step for one in again] == [13, 18, 23, 28] and all(np.array_equal(a.params, b) for a, b in zip(again, kept))
    assert list(again.spread(2))[-1] == 3 and len(again.spread()) == 4
    with pytest.raises(IndexError):
        again[4]
    with pytest.raises(bnn.Error) as e:
        store.append(0, 13, start)
    assert e.value.status == bnn.ERR_MISMATCH
    assert again.movement(0, start)["samples"] == 4

    ensemble, read = bnn.Ensemble(model), bnn.Ensemble(model)
    for params in kept:
        ensemble.add(params)
    assert read.add_stored(tmp_path / "samples", memory=0) == 4 == len(read)
    some = bnn.Ensemble(model)
    assert some.add_stored(tmp_path / "samples", samples=2, memory=1 << 20) == 2 == len(some)
    mine = ensemble.evaluate(corpus, "val")
    assert read.evaluate(corpus, "val")["loss"] == mine["loss"] and mine["loss_of_each"].shape == (4,)
    seen = []
    score = again.score(model, corpus, "val", 4, 1, lambda done, total: seen.append(done))
    assert score["loss"] == mine["loss"] and seen and score["baseline.loss"] == pytest.approx(model.loss(corpus, "val"), rel=1e-9)

    assert bnn.check_samples(tmp_path / "samples")["whole"] == 1
    assert store.keep_every(2) == 2 and store.keep_last(1) == 1 and len(store) == 1
    (one,) = (tmp_path / "samples").glob("*.bnn")
    one.write_bytes(one.read_bytes()[:-5])
    assert bnn.check_samples(tmp_path / "samples")["damaged"] == 1
    assert bnn.check_samples(tmp_path / "samples", repair=True)["repaired"]
    assert (tmp_path / "damaged").exists()


def test_scores_token_by_token(model, ensemble, corpus, batch):
    ids = corpus.tokens("val")[: model.block_size + 1]
    scores = ensemble.score(ids)
    evaluator = bnn.Evaluator(model)
    each = [evaluator.log_probs(ids[:-1], ids[1:], scale * model.params()) for scale in (1.0, 1.3, 1.6)]
    assert np.allclose(scores.log_probs, np.log(np.mean(np.exp(each), 0)), atol=1e-5)
    assert np.all(scores.entropy > scores.mutual_information) and np.all(scores.mutual_information > -1e-9)
    probe = bnn.Probe(model, corpus, "val", 20)
    assert probe.log_probs(model.params()).shape == (len(probe),) == (20,)
    with pytest.raises(bnn.Error):
        bnn.Ensemble(model).evaluate(corpus, "val")


def test_measures_of_anything():
    assert bnn.bleu(["a b c d e"], ["a b c d e"]) == 1.0 and bnn.bleu(["abcd"], ["abxd"], "char", 1) == 0.75
    assert bnn.rouge(["a b"], ["a c"])["rouge1"] == 0.5
    with pytest.raises(bnn.Error):
        bnn.bleu(["a"], ["a", "b"])
    with pytest.raises(bnn.Error):
        bnn.bleu(["a"], ["a"], "line")
    assert bnn.brier_score([[0.5, 0.5], [0.0, 1.0]], [0, 1]) == 0.25
    with pytest.raises(bnn.Error) as e:
        bnn.brier_score([0.5, 0.5], [0])
    assert e.value.status == bnn.ERR_SHAPE
    assert bnn.calibration_error([0.75, 0.75, 0.75, 0.75], [True, True, True, False]) == 0.0
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 600))
    apart = bnn.paired_bootstrap(a + 1, b, 20, 200, 3)
    assert apart["mean"] == pytest.approx(np.mean(a + 1 - b)) and apart["low"] < apart["mean"] < apart["high"] and apart["z"] > 10
    series = rng.standard_normal(400)
    band = bnn.temperature_band(1 + 0.01 * series, 1.0, 50)
    assert band["mean"] == pytest.approx(1, abs=0.01) and band["off"] == 0 and bnn.temperature_band(2 + 0.01 * series, 1.0, 50)["off"] == 1
    energy = bnn.energy(series - 5, np.ones(400), 10, 2.0)
    assert energy["potential.mean"] == pytest.approx(-np.mean(series - 5) / 2) and energy["kinetic.mean"] == pytest.approx(2.5)
    assert np.isnan(bnn.energy(series, None, 10, 2.0)["kinetic.mean"])
    draws = rng.standard_normal((4, 200, 3))
    assert bnn.agreement(draws, 800)["quantities"] == 3 and bnn.chain_diagnostics(draws[:, :, 0])["mean"] == pytest.approx(draws[:, :, 0].mean())
    for wrong in (draws[0], draws[0, :, 0]):
        with pytest.raises(bnn.Error) as e:
            bnn.agreement(wrong, 800)
        assert e.value.status == bnn.ERR_SHAPE
    said = bnn.verdict({"temperature": 0.1, "chains": 1, "samples": 25, "rhat": 1.5, "ess": 3.0}, sampler="baoa")
    assert said["text"] and said["passes"] == 0
