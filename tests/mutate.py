#!/usr/bin/env python3
"""Proves that the sampler tests see every factor of every update, and tests/alive.rs and auto_step.rs those of what is read off a chain: doubles one at a
time and expects a test to fail.

    python3 tests/mutate.py [--all] [WORD ...]

With words, only the mutants in whose name one of them begins a word. Works on a copy of the tree in the temporary folder, with a target
folder beside it that later runs use again; the tree that it is run from is only read. About ten minutes on two cores, so it is not
part of the checks that run on every change: run it after a change to an update or to its tests.

In the copy each factor is multiplied by an element of a table that is 1 everywhere but at the mutant which BNN_MUTANT names, so that
all mutants are built at once. First the copy must pass without a mutant. Then for each of them tests/exact.rs runs the tests of the
mutant's methods (all of its tests if these pass), and tests/samplers.rs and tests/machine.rs run; with --all the remaining statistical files too. Of the
mutants whose names begin with "alive" tests/alive.rs and auto_step.rs run alone, of those with "live" tests/live.rs, live_law.rs and live_chain.rs. The table has each mutant's killers; the exit status is 1 if one survived.

Not listed because they are the same mutant: factors of one product (noise, the root of the mass and xi). Not listed because no test can
see them: the lattice walk's clamp at 2 in place of 1, since a probability beyond 0 or 1 acts as 0 or 1; it is halved instead.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(tempfile.gettempdir()) / "bnn-mutate"
COPY = WORK / "copy"

APPLY = "src/backend/vectors/cpu.rs"
PRECONDITIONED = "src/backend/preconditioned/cpu.rs"
SAMPLERS = "src/samplers/"
# (name, file, mark, the text after it with the factor in [[ ]], methods, what it is multiplied with)
MUTANTS = []
# Factors that are f32; the others are f64.
F32 = ["mass.sqrt()", "-0.5", "1.0 / self.delta", "floor + v.sqrt()", "v.sqrt()", "-1.0"]
# Where the loops of a kernel's file are: (mark, line before which the table is copied, so that they remain loops over registers).
LOOPS = {APPLY: [("fn apply(", "match rule {"), ("fn move_chunk(", "let (mut virial"), ("fn kicked_block(", "let mut sums")],
         PRECONDITIONED: [("fn move_chunk(", "let mut virial"), ("fn preconditioned_block(", "let mut sums")]}


def mutants(prefix, file, mark, methods, *places, by=2.0):
    for name, place in places:
        MUTANTS.append((f"{prefix} {name}", file, mark, place, methods, by))


def files(name, updates):
    """The test files that are to kill a mutant."""
    for word, own in [("alive", ["alive", "auto_step"]), ("live", ["live", "live_law", "live_chain"])]:
        if name.startswith(word):
            return own
    return updates


mutants("apply sgld", APPLY, "Rule::Sgld {", ["sgld"],
        ("1/M", "[[inverse]] * (drift"), ("drift", "([[drift]] * g"), ("noise", "[[noise]] * root"))
mutants("apply sglrw", APPLY, "Rule::Sglrw {", ["sglrw"],
        ("1/sqrt M", "[[inverse]] * root"), ("half", "= [[0.5]] +"), ("half of the pull", "+ [[0.5]] * (pull"),
        ("pull", "([[pull]] * over_root"), ("length", "[[length]] * over_root"))
mutants("apply sglrw", APPLY, "Rule::Sglrw {", ["sglrw"],
        ("lower clamp", "clamp([[-1.0]], 1.0)"), ("upper clamp", "clamp(-1.0, [[1.0]])"), by=0.5)
for rule, name, methods in [("Sghmc", "sghmc", ["sghmc", "sgnht_ding"]),
                            ("SghmcEuler", "sghmc_euler", ["sghmc_euler", "sgnht_euler"])]:
    mutants("apply " + name, APPLY, f"Rule::{rule}(", methods,
            ("kick", "[[k.kick]]"), ("friction", "[[k.friction]]"), ("noise", "[[k.noise]]"), ("drift", "[[k.drift]]"))
mutants("apply baoa", APPLY, "Rule::Baoa(k)", ["baoa", "sgnht"],
        ("kick", "[[k.kick]]"), ("first drift", "t + [[k.drift]]"), ("noise", "[[k.noise]]"), ("friction", "[[k.friction]]"),
        ("second drift", "middle + [[k.drift]]"))
mutants("sums", APPLY, "fn move_chunk(", ["sgnht_ding", "sgnht_euler"],
        ("kinetic", "= [[m[i]]] * inverse"), ("virial", "[[(t[i] - c[i])]]"), ("mass", "[[1.0]] / mass[i]"),
        ("root of the mass", "[[mass[i].sqrt()]]"))
mutants("sgld", SAMPLERS + "sgld.rs", "fn rule(", ["sgld"], ("drift", "drift: [[h]]"))
mutants("sgld", SAMPLERS + "sgld.rs", "fn noise(", ["sgld"],
        ("T h", "([[t]] * h * (2.0"), ("2", "([[2.0]] -"), ("beta", "[[c.beta]]"))
mutants("kicked", APPLY, "fn kicked_block(", ["sgnht"],
        ("kick", "+ [[kick]] * (1.0"), ("kinetic", "= [[m]] * inverse"))
mutants("badodab", "src/backend/vectors/mod.rs", "fn coefficients(", ["sgnht"],
        ("follow", "+ [[self.follow]] *"), ("precision", "kicked * [[self.precision]]"), ("T", "- [[self.temperature]])"), ("decay", "= [[self.decay]] * xi"),
        ("2 lost", "-([[-2.0]] * lost)"), ("over 2 lost", "/ ([[2.0]] * lost)"), ("variance", "([[self.variance]] * share)"), ("lost", "-(-[[lost]])"))
mutants("sgnht", SAMPLERS + "sgnht.rs", "fn rule(", ["sgnht"],
        ("kick", "kick: [[h]]"), ("drift", "([[0.5]] * h"), ("follow", "follow: [[0.5]] * h"), ("T", "temperature: [[t]]"), ("decay", "decay: [[h]]"),
        ("variance", "variance: [[h]] * t"), ("2 alpha", "([[2.0]] * c.alpha"), ("beta", "[[c.beta]]"))
mutants("sgnht follow", SAMPLERS + "sgnht.rs", "fn follow(", ["sgnht"],
        ("xi", "[[now.xi]]"), ("T", "= ([[c.temperature]]"), ("h", "[[0.5]] * c.step_size"), ("Q", "/ [[c.thermostat_mass]]"),
        ("kicked", "([[kinetic.kicked]] -"), ("after", "([[kinetic.after]] -"))
mutants("sghmc", SAMPLERS + "sghmc.rs", "fn coefficients(", ["sghmc", "sghmc_euler", "sgnht_ding"],
        ("precision", "[[1.0]] / (c.sigma"), ("kick", "kick: [[h]]"), ("friction", "([[h]] * c.alpha"),
        ("T h", "([[h]] * t * (2.0"), ("2 alpha", "([[2.0]] * c.alpha"), ("beta", "[[c.beta]]"), ("drift", "([[h]] * precision)"))
mutants("baoa", SAMPLERS + "baoa.rs", "fn rule(", ["baoa"],
        ("precision", "[[1.0]] / (c.sigma"), ("decay", "-[[h]] * c.alpha"), ("kick", "kick: [[h]]"),
        ("friction", "-[[decay.exp_m1()]]"), ("T", "([[c.temperature]]"), ("2 decay", "([[2.0]] * decay)"),
        ("half drift", "([[0.5]] * h"))
mutants("baoa", SAMPLERS + "baoa.rs", "noise:", ["baoa"], ("sigma", "[[c.sigma]] as f32"))
mutants("sgnht_ding", SAMPLERS + "sgnht_ding.rs", "fn coefficients(", ["sgnht_ding", "sgnht_euler"], ("friction", "([[h]] * xi"))
for method, kinetic in [("sgnht_ding", "kinetic.after"), ("sgnht_euler", "now.kinetic")]:
    mutants(f"{method} follow", SAMPLERS + method + ".rs", "fn follow(", [method],
            ("xi", "[[now.xi]]"), ("h", "[[h]] * ("), ("kinetic", f"([[{kinetic}]] -"), ("T", "[[c.temperature]]"),
            ("Q", "[[c.thermostat_mass]]"))
mutants("sglrw", SAMPLERS + "sglrw.rs", "fn rule(", ["sglrw"],
        ("pull h", "([[h]] / (2.0"), ("pull 2 T", "([[2.0]] * c.temperature)"), ("length 2 T", "([[2.0]] * c.temperature * h)"))
mutants("sampler", SAMPLERS + "sampler.rs", "fn advance(", ["sgnht", "sgnht_ding", "sgnht_euler"],
        ("sigma^2", "= [[self.config.sigma]] * self.config.sigma"), ("virial", "-[[found.virial]]"))
mutants("sampler", SAMPLERS + "sampler.rs", "fn thermal_momenta(", [],
        ("first momenta", "([[c.temperature.sqrt()]]"), ("their mass", "[[mass.sqrt()]]"))
mutants("sampler", SAMPLERS + "sampler.rs", "\nfn kinetic(", [], ("first kinetic", "/ [[over(i)]]"))

# What is read off a chain. A standard error may be off either way.
mutants("alive temperatures", SAMPLERS + "temperatures.rs", "pub fn read<", [],
        ("kinetic", "[[sums.kinetic]] / d"), ("configurational", "-[[sums.virial]] / d"))
mutants("alive range sums", SAMPLERS + "sampler.rs", "pub fn range_moments(", [],
        ("sigma^2", "[[self.config.sigma]] * self"), ("kinetic", "sums.kinetic /= [[mass_scale]]"), ("force", "sums.force /= [[mass_scale]]"))
for by in [2.0, 0.5]:
    mutants(f"alive {by}", "src/batch_means.rs", "fn std_error(", [], ("variance of the mean", "[[between]] / (b"), by=by)
    mutants(f"alive {by}", "src/batch_means.rs", "pub fn get(", [], ("variance", "[[self.squares[i]]] / (n"), by=by)
    mutants(f"alive curvature {by}", SAMPLERS + "curvature.rs", "pub fn extreme_curvature<", [],
            ("difference", "[[-0.5]] / side"), ("alpha", "= [[vectors.reduce(Reduce::Dot(&u, &w))?]];"), ("beta", "= [[vectors.reduce(Reduce::Dot(&w, &point))?]]"),
            ("residual", "[[betas[betas.len() - 1]]] * last"), by=by)
    mutants(f"alive llc {by}", "src/metrics/llc.rs", "Ok(LocalLearningCoefficient {", [],
            ("value", "value: [[n_beta]]"), ("standard error", "[[n_beta]] * e)"), ("excess loss", "excess_loss: [[m.mean]]"), by=by)
    mutants(f"alive step {by}", SAMPLERS + "auto_step.rs", "fn end_window<", [],
            ("budget", "([[self.tolerance]] / error)"), ("friction", "/ [[friction]];"), by=by)

    mutants(f"alive step {by}", SAMPLERS + "scheme.rs", "fn temperature_error(", [], ("kinetic error", "Some([[heat]].abs()"), by=by)
    mutants(f"alive step {by}", SAMPLERS + "scheme.rs", "fn leapfrog_error(", [], ("force error", "[[c.step_size]] * c.step_size"), by=by)
    mutants(f"alive step {by}", SAMPLERS + "sgld.rs", "fn temperature_error(", [], ("sgld error", "[[h]] * force"), by=by)
    mutants(f"alive step {by}", SAMPLERS + "sghmc.rs", "pub(super) fn expected_kinetic(", [], ("friction step", "- [[0.5]] * (1.0"), by=by)

# A mass that follows the chain.
for by in [2.0, 0.5]:
    mutants(f"live {by} apply", PRECONDITIONED, "fn move_chunk(", [],
            ("virial", "[[(t[i] - c[i])]] * g[i]"), ("keep", "[[k.keep]] *"), ("take", "[[k.take]] *"), ("root", "= [[v[i].sqrt()]];"),
            ("floor", "[[k.floor]] +"), ("1/M", "[[inverse]] * (pull"), ("drift", "[[k.drift]] * g"), ("divergence", "- [[divergence(i, root, inverse)]]"),
            ("noise", "[[k.noise]] * m"), by=by)
    mutants(f"live {by} apply", PRECONDITIONED, "fn preconditioned_block(", [],
            ("share", "[[g[i]]] / root"), ("gamma", "[[rule.gamma]] * share"), ("diagonal over M", "([[h[i]]] * inverse)"), by=by)
    mutants(f"live {by} rule", SAMPLERS + "psgld.rs", "fn rule(", [],
            ("keep", "keep: [[self.decay]]"), ("take", "take: ([[1.0]] - self.decay)"), ("floor", "floor: [[self.floor]]"), ("drift", "drift: [[h]]"),
            ("T in Gamma", "([[c.temperature]] * h"), ("h in Gamma", "c.temperature * [[h]]"), ("1 in Gamma", "h * ([[1.0]] - self.decay)"),
            ("decay in Gamma", "h * (1.0 - [[self.decay]])"), by=by)
    mutants(f"live {by} noise", SAMPLERS + "sgld.rs", "fn noise(", [],
            ("T h", "([[t]] * h * (2.0"), ("2", "([[2.0]] -"), ("beta", "[[c.beta]]"), by=by)
    mutants(f"live {by} mass", SAMPLERS + "psgld.rs", "pub fn mass(", [], ("root", "floor + [[v.sqrt()]])"), by=by)
    mutants(f"live {by} diagonal", SAMPLERS + "psgld.rs", "pub fn displace(", [], ("mean", "[[v.dot(theta, theta)?]] /"), ("size", "[[DISPLACEMENT]] *"), by=by)
    mutants(f"live {by} diagonal", SAMPLERS + "psgld.rs", "pub fn finish(", [], ("minus", "[[-1.0]]"), ("over delta", "[[1.0 / self.delta]]"), by=by)
    mutants(f"live {by} start", SAMPLERS + "preconditioner.rs", "fn live(", [], ("weight", "/ [[self.weight]])"), by=by)

# The table, as the copy's src/mutant.rs.
TABLE = """
use std::sync::OnceLock;
pub fn table() -> &'static [f32; N] {
    static TABLE: OnceLock<[f32; N]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [1.0; N];
        if let Ok(k) = std::env::var("BNN_MUTANT") {
            let k: usize = k.parse().expect("a number");
            table[k] = BY[k];
        }
        table
    })
}
pub fn factor(k: usize) -> f64 {
    table()[k] as f64
}
"""

PROFILE = """
[profile.mutate]
inherits = "release"
opt-level = 2
debug = 0
codegen-units = 16
"""


def plant(sources):
    """Puts the table's elements into the copy."""
    edits = {}
    for k, (name, file, mark, place, _, _) in enumerate(MUTANTS):
        before, factor, after = re.fullmatch(r"(.*)\[\[(.*?)\]\]((?!\]).*)", place, re.S).groups()
        source = sources[file]
        start = source.find(mark)
        at = source.find(before + factor + after, start) if start >= 0 else -1
        if at < 0:
            sys.exit(f"{name}: no '{before + factor + after}' after '{mark}': this script's list is out of date")
        single = "crate::mutant::table()[{}]" if factor in F32 else "crate::mutant::factor({})"
        table = ("mutant[{}]" if file in LOOPS else single).format(k)
        at += len(before)
        edits.setdefault(file, {}).setdefault((at, at + len(factor)), []).append(table)
    for file, places in edits.items():
        for (start, end), tables in sorted(places.items(), reverse=True):
            source = sources[file]
            sources[file] = f"{source[:start]}({' * '.join(tables)} * {source[start:end]}){source[end:]}"
    take = "let mutant = *crate::mutant::table();\n    "
    for file, places in LOOPS.items():
        for mark, line in places:
            at = sources[file].find(line, sources[file].find(mark))
            sources[file] = sources[file][:at] + take + sources[file][at:]


def test(files, mutant=None, filters=(), limit=300):
    """The failed tests of the files."""
    command = ["cargo", "test", "--quiet", "--no-default-features", "--profile", "mutate", "--no-fail-fast"]
    for file in files:
        command += ["--test", file]
    command += ["--", "--exact", *filters] if filters else []
    env = dict(os.environ, CARGO_TARGET_DIR=str(WORK / "target"), RUST_BACKTRACE="0")
    if mutant is not None:
        env["BNN_MUTANT"] = str(mutant)
    try:
        done = subprocess.run(command, cwd=COPY, env=env, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return ["too slow"]
    failed = set(re.findall(r"^    (\w+)$", done.stdout, re.M))
    if done.returncode and not failed:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return sorted(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="tests/order.rs, regression.rs and calibration.rs too")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    updates = ["exact", "samplers", "machine"] + (["order", "regression", "calibration"] if args.all else [])
    chosen = [k for k, m in enumerate(MUTANTS) if not args.words or any(re.search(rf"\b{word}", m[0]) for word in args.words)]
    files_of = {k: files(MUTANTS[k][0], updates) for k in chosen}

    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for folder in ["src", "tests"]:
        shutil.copytree(ROOT / folder, COPY / folder)
    shutil.copy(ROOT / "Cargo.lock", COPY)
    manifest = (ROOT / "Cargo.toml").read_text()
    # The library alone: neither the C libraries nor the command.
    manifest = re.sub(r"crate-type = .*", 'crate-type = ["rlib"]', manifest)
    (COPY / "Cargo.toml").write_text(manifest + PROFILE)
    sources = {file: (COPY / file).read_text() for file in {m[1] for m in MUTANTS} | {"src/lib.rs"}}
    plant(sources)
    sources["src/lib.rs"] += "\nmod mutant;\n"
    by = ", ".join(str(m[5]) for m in MUTANTS)
    sources["src/mutant.rs"] = f"const N: usize = {len(MUTANTS)};\nconst BY: [f32; N] = [{by}];\n{TABLE}"
    for file, source in sources.items():
        (COPY / file).write_text(source)

    began = time.time()
    if failed := test(sorted({file for files in files_of.values() for file in files}), limit=3600):
        sys.exit(f"without a mutant these fail: {failed}")
    print(f"without a mutant all pass ({time.time() - began:.0f} s)", flush=True)

    survivors = []
    for k in chosen:
        name, _, _, _, methods, _ = MUTANTS[k]
        began, killers = time.time(), {}
        for file in files_of[k]:
            filters = [f"gaussian_{m}" for m in methods] if file == "exact" else []
            killers[file] = (filters and test([file], k, filters)) or test([file], k)
        killed = any(killers.values())
        if not killed:
            survivors.append(name)
        columns = "; ".join(f"{file}: {', '.join(tests) or '-'}" for file, tests in killers.items())
        print(f"{name:28} {'killed' if killed else 'SURVIVED'} | {columns} ({time.time() - began:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {len(survivors)} survived{': ' + ', '.join(survivors) if survivors else ''}")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
