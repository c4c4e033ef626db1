#!/usr/bin/env python3
"""Prints the samples' average beside its controls, over seeds and texts, as a Markdown table.

    python3 tests/bench/controls.py --seeds 1 2 3                       # the embedded play
    python3 tests/bench/controls.py --seeds 1 2 3 --data FILE.txt -- --baseline-iters 10000
    python3 tests/bench/controls.py --runs RUN ...                      # runs that are there

It needs the command (`cargo build --release`). Each run is one `bnn train --eval`, as a user would type it; what follows `--` goes to it. Runs are
grouped by their text. Losses are on the half of the validation split that chose nothing, each prediction at the temperature that the other half fits.
The error of a gain has two parts: the text's (the paired block bootstrap's, which more seeds on the same text do not lower, so that the mean of the
seeds' is taken) and the seeds' (their standard deviation over the root of their number).
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def train(bnn, seed, data, more):
    """Runs the command once; returns the run's folder."""
    args = [bnn, "train", "--eval", "--eval-splits", "val", "--json", "--seed", str(seed)]
    args += ["--data", data] if data else []
    out = subprocess.run(args + more, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Path(json.loads(out)["run_dir"])


def read(run):
    """Returns the metrics of a run whose controls are trained."""
    (path,) = run.glob("*_metrics.json")
    metrics = json.loads(path.read_text())
    held_out = metrics["results"]["val"]["held_out"]
    if not held_out["controls"]:
        sys.exit(f"{run}: there are no controls in it; was it trained with --eval?")
    return metrics


def best(held_out):
    """Returns the control that the choosing half names."""
    return min(held_out["controls"], key=lambda control: control["loss_choosing_scaled"])


def error(gains, errors):
    """Returns the standard error of the mean of several seeds' gains."""
    of_text = statistics.mean(errors)
    of_seeds = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return math.hypot(of_text, of_seeds)


def spread(values):
    """Returns a mean, with the standard deviation over seeds where there are several."""
    mean = statistics.mean(values)
    return f"{mean:.4f}" + (f" (sd {statistics.stdev(values):.4f})" if len(values) > 1 else "")


def row(name, models, losses, aurocs, gains, errors):
    """Returns a line of the table."""
    gain = ""
    if gains:
        mean, se = statistics.mean(gains), error(gains, errors)
        gain = f"{mean:+.4f} +- {se:.4f}, z {mean / se:+.1f}"
    auroc = f"{statistics.mean(aurocs):.4f}" if all(a is not None for a in aurocs) else ""
    count = "-".join(str(n) for n in sorted({min(models), max(models)}))
    return f"| {name} | {count} | {spread(losses)} | {auroc} | {gain} |"


def gain(control):
    """Returns how much less the average loses than a control, and its standard error over the text."""
    against = control["average_against_scaled"]
    return -against["difference"], max(against["std_error"], against["std_error_other_block"] or 0)


def table(runs):
    """Returns the lines of one text's table."""
    parts = [run["results"]["val"]["held_out"] for run in runs]
    seeds = ", ".join(str(run["config"]["seed"]) for run in runs)
    yield f"Seeds {seeds}; {parts[0]['choosing_tokens']} tokens to choose by, {parts[0]['reporting_tokens']} to report on."
    yield ""
    yield "| | models | loss | AUROC | gain of the average |"
    yield "|---|---|---|---|---|"
    of = lambda key: [part[key] for part in parts]
    yield row("**averaged prediction**", of("models"), of("loss_scaled"), of("shuffled_auroc"), [], [])
    names = [control["name"] for control in parts[0]["controls"]]
    for name in names:
        found = [c for part in parts for c in part["controls"] if c["name"] == name]
        label = name.replace("_", " ")
        yield from_controls(label, found)
    yield from_controls("**the control that the choosing half names**", [best(part) for part in parts])


def from_controls(label, controls):
    """Returns the line of one control, over seeds."""
    of = lambda key: [control[key] for control in controls]
    gains, errors = zip(*map(gain, controls))
    return row(label, of("models"), of("loss_scaled"), of("shuffled_auroc"), gains, errors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bnn", default=str(ROOT / "target/release/bnn"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--data")
    parser.add_argument("--runs", type=Path, nargs="+")
    parser.add_argument("more", nargs="*", help="flags of bnn train, after --")
    a = parser.parse_args()
    folders = a.runs or [train(a.bnn, seed, a.data, a.more) for seed in a.seeds]
    texts = {}
    for metrics in map(read, folders):
        texts.setdefault(metrics["config"].get("data") or "the embedded play", []).append(metrics)
    for text, runs in texts.items():
        print(f"**{Path(text).name}**\n")
        print("\n".join(table(runs)), end="\n\n")


main()
