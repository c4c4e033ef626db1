"""Log posteriors of one's own: closed forms, and the same bits by every way."""
import numpy as np
import pytest

import libbnn as bnn

MEAN = np.array([3.0, -1.0, 0.0])
FACTOR = np.array([[2.0, 0.0, 0.0], [1.5, 0.5, 0.0], [0.0, 0.0, 10.0]])
PRECISION = np.linalg.inv(FACTOR @ FACTOR.T)


def normal(theta):
    off = theta - MEAN
    return -0.5 * off @ PRECISION @ off, -PRECISION @ off


@pytest.mark.parametrize("adapt", ["dense", "diagonal"])
def test_moments_of_a_normal(adapt):
    """Six standard errors each of six numbers in two runs: a false alarm in 40 million. A deviation that is off by 10 % is some 7 away."""
    starts = np.random.default_rng(1).uniform(-2, 2, (4, 3))
    draws = bnn.sample(normal, starts, draws=1500, thinning=10, seed=3, adapt=adapt)
    assert draws.draws.shape == (4, 1500, 3) and draws.gradients >= 4 * (2000 + 15000)
    report = draws.report()
    assert report["rhat.worst"] < 1.02 and report["chains"] == 4
    for i, one in enumerate(draws.each()):
        sd = np.sqrt((FACTOR @ FACTOR.T)[i, i])
        assert abs(one["mean"] - MEAN[i]) < 6 * one["mcse_mean"]
        # The deviation's standard error, of a normal.
        assert abs(one["sd"] / sd - 1) < 6 / np.sqrt(2 * min(one["ess_bulk"], one["ess_tail"])), (one, sd)
    scale = draws.mass.mean(0) * np.diag(FACTOR @ FACTOR.T)
    assert np.all((scale > 0.5) & (scale < 2)), "the warm-up's mass is one over the variance"
    want = [normal(theta)[0] for theta in draws.draws.reshape(-1, 3)]
    assert np.array_equal(draws.log_post.ravel(), want)


def test_a_run_repeats_and_other_seeds_differ():
    a, b, c = (bnn.sample(normal, np.zeros(3), draws=20, chains=2, warmup_steps=200, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.draws, b.draws) and not np.array_equal(a.draws, c.draws)
    assert not np.array_equal(a.draws[0], a.draws[1])


@pytest.mark.parametrize("d, adapt", [(3, "dense"), (100, "dense"), (101, "diagonal")])
def test_the_mass_that_the_warm_up_finds(d, adapt):
    def density(theta):
        return -0.5 * theta @ theta - 0.4 * theta.sum() ** 2 / d, -theta - 0.8 * theta.sum() / d

    usual, named = (bnn.sample(density, np.zeros(d), draws=2, chains=1, warmup_steps=200, **options) for options in ({}, {"adapt": adapt}))
    other = bnn.sample(density, np.zeros(d), draws=2, chains=1, warmup_steps=200, adapt="diagonal" if adapt == "dense" else "dense")
    assert np.array_equal(usual.draws, named.draws) and not np.array_equal(usual.draws, other.draws)


def test_each_chain_has_its_start():
    starts = np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    draws = bnn.sample(normal, starts, draws=1, thinning=1, chains=2, adapt="none", sampler="sgld", step_size=1e-9, warmup_steps=0)
    assert np.allclose(draws.draws[:, 0], starts, atol=1e-3)


def test_options_pass_through():
    seen = []
    draws = bnn.sample(normal, np.zeros(3), draws=10, chains=2, thinning=2, sampler="sgld", adapt="none", step_size=0.125, warmup_steps=0, on_chain=seen.append)
    assert seen == [0, 1] and draws.gradients == 2 * (20 + 1) and np.all(draws.step_size == 0.125) and np.all(draws.mass == 1)
    with pytest.raises(bnn.Error, match="step_size"):
        bnn.sample(normal, np.zeros(3), step_sise=1)


def test_chains_have_numbers():
    two = bnn.sample(normal, np.zeros(3), draws=8, chains=2, warmup_steps=200)
    second = bnn.sample(normal, np.zeros(3), draws=8, chains=1, warmup_steps=200, chain=1)
    assert np.array_equal(two.draws[1:], second.draws)


@pytest.mark.parametrize("options", [{"sampler": "vi", "adapt": "none"}, {"sampling_steps": 10}, {"draws": 0}, {"chains": 0}, {"thinning": 0}])
def test_what_gives_no_draws_is_refused(options):
    with pytest.raises(bnn.Error) as e:
        bnn.sample(normal, np.zeros(3), **{"draws": 5, "chains": 1, **options})
    assert e.value.status == bnn.ERR_INVALID


@pytest.mark.parametrize("x0", [np.zeros((3, 3)), np.zeros((2, 2, 2)), [], 1.0])
def test_starts_of_another_shape_are_refused(x0):
    with pytest.raises(bnn.Error) as e:
        bnn.sample(normal, x0)
    assert e.value.status == bnn.ERR_SHAPE


def test_bad_densities_are_errors():
    for bad in (lambda t: (np.nan, -t), lambda t: (0.0, t * np.nan)):
        with pytest.raises(bnn.Error) as e:
            bnn.sample(bad, np.ones(2))
        assert e.value.status == bnn.ERR_NOT_FINITE
    with pytest.raises(bnn.Error) as e:
        bnn.sample(lambda t: (0.0, np.zeros(3)), np.ones(2))
    assert e.value.status == bnn.ERR_SHAPE
    with pytest.raises(ValueError, match="read-only"):

        def moves(theta):
            theta += 1
            return 0.0, theta

        bnn.sample(moves, np.ones(2))


def test_arviz_reads_the_draws():
    arviz = pytest.importorskip("arviz")
    draws = bnn.sample(normal, np.zeros(3), draws=100, chains=3, seed=1)
    data = arviz.from_dict(**draws.to_arviz()) if arviz.__version__.startswith("0.") else arviz.from_dict(draws.to_arviz())
    assert data.posterior["theta"].shape == (3, 100, 3) and data.sample_stats["lp"].shape == (3, 100)
    theirs = arviz.rhat(data.posterior)["theta"].values
    assert np.allclose(theirs, [one["rhat"] for one in draws.each()], rtol=1e-6)


def chain_of(theta0, **options):
    return bnn.Sampler.with_gradients(theta0, {"sampler": "baoa", "step_size": 0.25, "alpha": 0.5, "sampling_steps": 60, "warmup_steps": 40, **options})


def test_float_and_double_are_the_same_steps():
    narrow, wide = np.zeros(3, np.float32), np.zeros(3)
    a, b = chain_of(narrow), chain_of(wide)
    for _ in range(50):
        value, grad = normal(wide)
        a.step_gradient(grad.astype(np.float32), value, narrow)
        b.step_gradient(grad, value, wide)
    assert np.array_equal(narrow, wide) and narrow[0] != 0


def test_a_chain_goes_on_from_its_file(tmp_path):
    whole, broken = np.zeros(3), np.zeros(3)
    a, b = chain_of(whole), chain_of(broken)
    for _ in range(30):
        a.step_gradient(normal(whole)[1], normal(whole)[0], whole)
        b.step_gradient(normal(broken)[1], normal(broken)[0], broken)
    b.save(tmp_path / "state.bnn")
    b = bnn.Sampler.load_with_gradients(tmp_path / "state.bnn", 3, {"sampler": "baoa", "step_size": 0.25, "alpha": 0.5, "sampling_steps": 80, "warmup_steps": 40})
    b.extend(60)
    broken = b.params().astype(np.float64)
    while not b.done:
        a.step_gradient(normal(whole)[1], normal(whole)[0], whole)
        b.step_gradient(normal(broken)[1], normal(broken)[0], broken)
    assert a.done and np.array_equal(whole, broken)
    with pytest.raises(bnn.Error) as e:
        b.step_gradient(np.zeros(3), 0.0, broken)
    assert e.value.status == bnn.ERR_DONE
    assert bnn.check_checkpoint(tmp_path / "state.bnn")["whole"] == 1


def test_masses_noise_schedules_and_ranges():
    theta = np.zeros(3, np.float32)
    chain = chain_of(theta)
    chain.set_mass([1.0, 4.0, 0.25])
    assert np.array_equal(chain.mass(), [1.0, 4.0, 0.25])
    assert np.allclose(np.diag(chain.mass_cholesky()), [1.0, 0.5, 2.0])
    chain.set_gradient_noise([0.01, 0.01, 0.01])
    chain.watch(1, [0, 1], [1, 2])
    asked = []
    chain.set_schedule(lambda step: asked.append(step) or (1.0, 1.0))
    while not chain.done:
        value, grad = normal(theta)
        chain.step_gradient(grad, value, theta)
    assert asked == list(range(100))
    assert chain.temperature(1)["count"] == 60 and chain.momenta().shape == (3,)
    assert chain.gradient_noise()["noise_per_mass"] > 0 and chain.report()["step"] == 99
    assert chain.forecast()["physical_time"] > 0 and chain.free_diffusion(50, 90)["rms"] > 0
    assert chain.step_size()["step_size"] == 0.25 and "before any schedule" in chain.step_size().meanings["step_size"]
    ends = chain.curvature_with_gradients(3, lambda theta: normal(theta.astype(float))[1])
    assert ends["largest"] > 0
    dense = chain_of(theta)
    dense.set_mass_cholesky(FACTOR)
    assert np.allclose(dense.mass_cholesky(), FACTOR)


def test_a_schedule_scales_the_step():
    """Without noise and friction, a step of half the size goes a quarter of the way from rest."""
    moved = []
    for factor in (1.0, 0.5):
        theta = np.zeros(1)
        chain = bnn.Sampler.with_gradients(theta, {"sampler": "sgld", "step_size": 0.5, "temperature": 0, "warmup_steps": 0, "sampling_steps": 1})
        chain.set_schedule(lambda step: (factor, 1.0))
        chain.step_gradient([1.0], 0.0, theta)
        moved.append(theta[0])
    assert moved[1] == moved[0] / 2 > 0, "sgld's step is linear in its size"


def test_normals_are_fitted():
    theta = np.zeros(3, np.float32)
    fit = bnn.Sampler.with_gradients(theta, {"sampler": "vi", "step_size": 0.05, "sampling_steps": 4000, "seed": 2})
    fit.params(theta)
    while not fit.done:
        value, grad = normal(theta)
        fit.step_gradient(grad, value, theta)
    mean, sd = fit.normals()
    # Independent normals nearest in KL have the conditional deviations.
    assert np.allclose(mean, MEAN, atol=0.6) and np.allclose(sd, np.diag(PRECISION) ** -0.5, rtol=0.3), (mean, sd)
    assert not np.array_equal(fit.draw(0), fit.draw(1)) and np.array_equal(fit.draw(1), fit.draw(1))


def test_laplace_takes_squares():
    """Of n observations of variance 1 around theta, at their mean: the precision is n + prior_std^-2, for one of prior_std 1."""
    n, theta = 50, np.ones(1, np.float32)
    fit = bnn.Sampler.with_gradients(theta, {"sampler": "laplace", "sampling_steps": 10, "num_data": n, "prior_std": 1.0, "laplace_fit_prior": 1})
    while not fit.done:
        fit.step_squares([0.0], [1.0], -0.5, theta)
    _, sd = fit.normals()
    fitted = fit.prior_fit()
    assert 0 < sd[0] < 1 and fitted["precision"] > 0
    assert np.isclose(sd[0] ** -2, n + fitted["precision"], rtol=1e-3), (sd, fitted)
