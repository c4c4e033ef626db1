"""Opens an exported run with ArviZ and compares what ArviZ says of the draws with what bnn says: arviz_opens.py FILE.nc DIAGNOSIS.json"""
import json
import sys
import warnings

warnings.simplefilter("ignore")
import arviz
import numpy as np

run = arviz.from_netcdf(sys.argv[1])
said = json.load(open(sys.argv[2]))
assert set(run.groups()) == {"posterior", "sample_stats"}, run.groups()
posterior, stats = run.posterior, run.sample_stats
assert posterior.log_prob.dims == ("chain", "draw", "token")
assert posterior.projection.dims == ("chain", "draw", "direction")
shape = (said["chains"], said["draws"])
assert posterior.log_prob.shape[:2] == shape, posterior.log_prob.shape
for name in ("log_lik", "log_prior", "kinetic_temperature", "configurational_temperature"):
    values = stats[name]
    assert values.dims == ("chain", "draw") and values.shape == shape, name
    assert np.isfinite(values).all() and values.std() > 0, name
assert posterior.attrs["inference_library"] == "bnn"

seen = 0
for name in ("log_prob", "projection"):
    # f64 first: ArviZ would work in the draws' own f32.
    draws = arviz.convert_to_dataset({name: posterior[name].values.astype(np.float64)})
    theirs = {
        "rhat": arviz.rhat(draws),
        "ess_bulk": arviz.ess(draws, method="bulk"),
        "ess_tail": arviz.ess(draws, method="tail"),
        "ess_mean": arviz.ess(draws, method="mean"),
        "mcse_mean": arviz.mcse(draws, method="mean"),
    }
    for what, values in theirs.items():
        want = values[name].values
        got = np.array([each[what] for each in said["each"][name]])
        off = np.abs(got / want - 1).max()
        assert got.shape == want.shape and off < 1e-6, (name, what, off)
        seen += len(got)
print(f"ArviZ {arviz.__version__} opens the run and agrees on {seen} numbers, to 1e-6")
