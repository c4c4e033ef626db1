"""NUTS on the posteriors of `cargo bench --bench posteriordb`, through the same densities: effective draws per 1000 gradients.

    cargo build --release --bench posteriordb
    python3 tests/bench/nuts.py target/release/deps/posteriordb-HASH [--draws N] [--chains N] [--only NAME] [--low-rank]

It needs `pip install nutpie arviz`. Gradients of the warm-up are counted, as they are in the other table. A chain's densities come from a process of its own.
"""
import argparse
import subprocess

import arviz
import numpy as np
import nutpie
from nutpie.compiled_pyfunc import from_pyfunc


def density(program, name):
    """A function that a process of the bench answers: u in, log density and gradient out."""
    process = subprocess.Popen([program, "--serve", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    n = int.from_bytes(process.stdout.read(8), "little")

    def log_density(u):
        process.stdin.write(np.asarray(u, "<f8").tobytes())
        want, got = 8 * (n + 1), b""
        while len(got) < want:
            got += process.stdout.read(want - len(got))
        found = np.frombuffer(got, "<f8")
        return float(found[0]), found[1:].copy()

    return n, log_density


def sample(program, name, arguments):
    n, _ = density(program, name)
    rng = np.random.default_rng(arguments.seed)
    model = from_pyfunc(
        ndim=n,
        make_logp_fn=lambda: density(program, name)[1],
        make_expand_fn=lambda *_: lambda u: {"u": np.asarray(u)},
        expanded_dtypes=[np.dtype("float64")],
        expanded_shapes=[(n,)],
        expanded_names=["u"],
        make_initial_point_fn=lambda seed: rng.uniform(-2, 2, n),
    )
    trace = nutpie.sample(
        model,
        draws=arguments.draws,
        chains=arguments.chains,
        cores=1,
        seed=arguments.seed,
        progress_bar=False,
        save_warmup=True,
        low_rank_modified_mass_matrix=arguments.low_rank,
    )
    of = lambda group: trace[group]["n_steps"].values.sum()
    gradients = of("sample_stats") + of("warmup_sample_stats")
    u = trace["posterior"]["u"].values
    ess = min(
        min(float(arviz.ess(u[:, :, i], method=method)) for method in ("bulk", "tail")) for i in range(n)
    )
    return n, ess, 1000 * ess / gradients, 1000 * ess / of("sample_stats")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--low-rank", action="store_true", help="a mass matrix that follows correlations")
    arguments = parser.parse_args()
    listed = subprocess.run([arguments.program, "--list"], capture_output=True, text=True, check=True)
    print("| posterior | n | ESS | ESS per 1000 gradients | without the warm-up's |")
    print("|---|---|---|---|---|")
    for name in listed.stdout.split():
        if arguments.only in name:
            n, ess, each, sampling = sample(arguments.program, name, arguments)
            print(f"| {name} | {n} | {ess:.0f} | {each:.1f} | {sampling:.1f} |", flush=True)


if __name__ == "__main__":
    main()
