"""bnn beside PyTorch and posteriors, in turn, in one go; writes the table of docs/performance.md.

    cargo build --release && python3 tests/bench/compare.py PYTHON PEER [--data TEXT] [--rounds N] [--only NAME,...]

With --data the compared job runs, too: 1,200 BAOA steps at batch (16, 64) on shape `cpu`, a sample every 10, then the whole validation split with
the last 10 samples; each side starts from its own baseline of 2,000 iterations, whose training is not counted.
PYTHON has torch, posteriors and numpy; PEER is the folder with bench_torch.py. Both sides use two threads; each piece of work is run by
one side and at once by the other, and a ratio is of the medians of the rounds.
"""
import argparse
import json
import math
import pathlib
import platform
import re
import statistics
import subprocess
import tempfile
from collections import defaultdict

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# (their work, ours): what is run in turn
WORK = [("gemm", "gemm"), ("grad,grad_compile,grad_bf16", "grad"), ("adamw", "adamw"), ("sgld", "sgld"), ("sghmc", "sghmc"),
        ("baoa", "baoa"), ("generate,bma", "generate,bma"), ("per_sample", "per_sample")]
# (title, our row, their rows of which the fastest counts, scale to the same work)
ROWS = [
    ("gradient", "grad", ["grad", "grad_compile"]),
    ("gradient, `high` beside the faster of f32 and bf16 autocast", "grad_high", ["grad", "grad_compile", "grad_bf16"]),
    ("gradient, `medium` beside bf16 autocast", "grad_medium", ["grad_bf16"]),
    ("AdamW step", "adamw_step", ["adamw_step"]),
    ("SGLD update", "sgld_update_inplace", ["sgld_update_inplace"]),
    ("SGHMC update", "sghmc_update_inplace", ["sghmc_update_inplace"]),
    ("BAOA update", "baoa_update_inplace", ["baoa_update_inplace"]),
    ("100 tokens, one model", "generate_1", ["generate_1"]),
    ("the same, bf16 weights", "generate_1_bf16", ["generate_1"]),
    ("100 tokens, average of ten", "generate_bma10", ["generate_bma10"]),
    ("the same, bf16 weights", "generate_bma10_bf16", ["generate_bma10"]),
    ("the same for 8 prompts at once (a prompt)", "generate_bma10_prompts8", ["generate_bma10"]),
    ("and with bf16 weights (a prompt)", "generate_bma10_prompts8_bf16", ["generate_bma10"]),
    ("diagonal Fisher of 4 sequences", "per_sample_fisher_B4", ["per_sample_fisher_jacrev_B4"]),
]


def rows(command, cwd=None):
    out = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def timed(command, cwd=None):
    """Its last line as JSON, and its peak memory in MB."""
    out = subprocess.run(["/usr/bin/time", "-f", "%M", *command], cwd=cwd, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1]), int(out.stderr.splitlines()[-1]) * 1024e-6


def main_job(python, peer, data):
    """Rows of the compared job: seconds of sampling and of evaluation, peak memory."""
    with tempfile.TemporaryDirectory() as work:
        bnn, base = str(ROOT / "target/release/bnn"), f"{work}/base.pt"
        rows([python, "train_torch.py", "--data", data, "--save", base], peer)
        them, their_mb = timed([python, "bayes_torch.py", "--ckpt", base, "--data", data, "--sampler", "baoa"], peer)
        theirs = (them["sampling_seconds"], them["eval_seconds"])
        lines = []
        for precision in ("highest", "medium"):
            common = ["--data", data, "--save-dir", work, "--precision", precision, "--threads", "2", "--json"]
            kept = json.loads(subprocess.run([bnn, "baseline", *common], check=True, capture_output=True, text=True).stdout)
            job = ["--model-path", kept["path"], "--batch-size", "16", "--thinning", "10", "--eval", "--eval-splits", "val",
                   "--eval-num-posterior-samples", "10", "--eval-num-text-samples", "0", "--eval-control=false"]
            us, our_mb = timed([bnn, "train", "--sampler", "baoa", *common, *job])
            report = next(pathlib.Path(us["run_dir"]).glob("bayesian_eval_*.json"))
            ours = (us["sampling_seconds"], json.loads(report.read_text())["results"]["val"]["elapsed_seconds"])
            for name, x, y in (("1,200 steps", theirs[0], ours[0]), ("evaluation", theirs[1], ours[1]), ("both", sum(theirs), sum(ours))):
                lines.append(f"| {name}, `{precision}` | {x:.1f} s | {y:.1f} s | {x / y:.2f} |")
            lines.append(f"| peak memory, `{precision}` | {their_mb:.0f} MB | {our_mb:.0f} MB | {their_mb / our_mb:.1f} |")
        return ["The compared job (1,200 BAOA steps of 16 by 64 tokens and an evaluation with 10 samples; see the script's first lines):", "", "| part | PyTorch / posteriors | bnn | ratio |", "|---|---|---|---|", *lines, ""]


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", text).group(1)
    family = "family {}, model {}".format(re.search(r"cpu family\s*: (\d+)", text).group(1), re.search(r"model\s*: (\d+)", text).group(1))
    wide = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{f}\b", text)]
    return f"{name} ({family}; {', '.join(wide)})"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("python")
    a.add_argument("peer")
    a.add_argument("--data")
    a.add_argument("--rounds", type=int, default=1)
    a.add_argument("--only", default=",".join(ours for _, ours in WORK))
    a.add_argument("--seconds", type=float, default=2.0)
    a = a.parse_args()
    bnn = [str(ROOT / "target/release/bnn"), "bench", "--json", "--threads", "2", "--seconds", str(a.seconds)]
    mine, theirs, rate = defaultdict(list), defaultdict(list), {}
    limits = {(r["what"], r["shape"]): r for r in rows(bnn + ["--only", "limits"])}
    asked = a.only.split(",")
    for _ in range(a.rounds):
        for other, ours in WORK:
            if not any(w in asked for w in ours.split(",")):
                continue
            for shape in ["cpu"] if ours == "gemm" else ["cpu", "baby"]:
                for r in rows(bnn + ["--shapes", shape, "--only", ours]):
                    mine[r["what"], r["shape"]].append(r["ms"])
                    # what a run makes or moves, in rate x milliseconds
                    rate[r["what"], r["shape"]] = {k: r[k] * r["ms"] for k in ("gflops", "gb_per_s") if k in r}
                if ours == "gemm":
                    them = rows([a.python, str(HERE / "torch_gemm.py"), str(a.seconds)])
                else:
                    them = rows([a.python, "bench_torch.py", "--shapes", shape, "--only", other], a.peer)
                for r in them:
                    if "ms" in r:
                        theirs[r["what"], r["shape"]].append(r["ms"])
    flops = limits["limit_f32", "1e9 multiply-adds"]["gflops"]
    memory = limits["limit_memory", "10745088"]["gb_per_s"]
    lines = []
    for shape in ("cpu", "baby"):
        for title, ours, other in ROWS:
            rivals = [statistics.median(theirs[o, shape]) for o in other if theirs[o, shape]]
            if not rivals or not mine[ours, shape]:
                continue
            x, y = min(rivals), statistics.median(mine[ours, shape])
            per = 8 if "prompts8" in ours else 1
            r = rate[ours, shape]
            share = f"{r['gflops'] / y / flops:.0%} of f32" if "gflops" in r else \
                f"{r['gb_per_s'] / y / memory:.0%} of memory" if "gb_per_s" in r and shape == "baby" else ""
            lines.append(f"| {title} | `{shape}` | {x:.4g} | {y / per:.4g} | {x * per / y:.2f} | {share} |")
    ratios = defaultdict(list)
    for (what, shape), times in mine.items():
        if what.startswith("gemm_") and theirs[what, shape]:
            m = int(shape.split(",")[0])
            ratios[what, m].append(statistics.median(theirs[what, shape]) / statistics.median(times))
    products = [f"| {what[5:].replace('_', ' ')} | {m} | {math.exp(statistics.fmean(map(math.log, r))):.2f} | {min(r):.2f} to {max(r):.2f} |"
                for (what, m), r in sorted(ratios.items(), key=lambda x: (x[0][1], x[0][0]))]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    text = [f"{cpu_name()}, two threads, Linux {platform.release()}, commit {commit}; {a.rounds} round(s), medians. In registers the machine "
            f"makes {flops:.0f} GFLOP/s of f32; a pass over three vectors of 10.7 M that writes two moves {memory:.0f} GB/s.", ""]
    if lines:
        text += ["| work | shape | PyTorch / posteriors, ms | bnn, ms | ratio | share of the limit |", "|---|---|---|---|---|---|", *lines, ""]
    if products:
        text += ["f32 products of the shapes that occur, MKL's (oneDNN's) time over bnn's, five shapes each:", "",
                 "| product | rows | geometric mean | range |", "|---|---|---|---|", *products, ""]
    if a.data:
        text += main_job(a.python, a.peer, str(pathlib.Path(a.data).resolve()))
    page = ROOT / "docs/performance.md"
    old = page.read_text()
    begin, end = "<!-- written by tests/bench/compare.py -->\n", "<!-- until here -->"
    head, rest = old.split(begin)
    # A part is printed alone: it must not take the place of the whole.
    if a.data and set(asked) == {ours for _, work in WORK for ours in work.split(",")}:
        page.write_text(head + begin + "\n" + "\n".join(text) + "\n" + end + rest.split(end)[1])
    print("\n".join(text))


main()
