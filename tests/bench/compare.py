"""The parts of bnn beside PyTorch and posteriors, in turn, in one go; prints a table of medians and ratios.

    python3 tests/bench/compare.py PYTHON PEER [rounds]

PYTHON has torch, posteriors and numpy; PEER is the folder with bench_torch.py. Both sides use two threads.
"""
import json
import re
import statistics
import subprocess
import sys
from collections import defaultdict

UNITS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3}
# Our row: (their name, their shape)
ROWS = {
    ("gradient", "cpu"): ("grad", "cpu"),
    ("gradient", "baby"): ("grad", "baby"),
    ("adamw", "cpu"): ("adamw_step", "cpu"),
    ("adamw", "baby"): ("adamw_step", "baby"),
    ("update_baby", "sgld"): ("sgld_update_inplace", "baby"),
    ("update_baby", "sghmc"): ("sghmc_update_inplace", "baby"),
    ("update_baby", "baoa"): ("baoa_update_inplace", "baby"),
    ("generate_100", "cpu 1"): ("generate_1", "cpu"),
    ("generate_100", "cpu 10"): ("generate_bma10", "cpu"),
    ("generate_100", "baby 1"): ("generate_1", "baby"),
}


def ours():
    out = subprocess.run(["cargo", "bench", "--bench", "parts"], check=True, capture_output=True, text=True).stdout
    group, found = None, {}
    for line in out.splitlines():
        cells = line.split("│")
        head = re.match(r"[│├╰─ ]*(.*?)\s{2,}([\d.]+ \S+)?\s*$", line.split(" │ ")[0])
        if not head:
            continue
        name = head.group(1).strip()
        times = re.findall(r"([\d.]+) (ns|µs|ms|s)\b", line)
        if len(times) >= 3 and group:
            found[(group, name)] = float(times[2][0]) * UNITS[times[2][1]]
        elif not times and len(cells) > 1:
            group = name
    return found


def theirs(python, peer):
    out = []
    for shape, only in (("cpu", "grad,adamw,generate,bma"), ("baby", "grad,adamw,sgld,sghmc,baoa,generate")):
        out += subprocess.run([python, "bench_torch.py", "--shapes", shape, "--only", only], cwd=peer, check=True,
                              capture_output=True, text=True).stdout.splitlines()
    return {(d["what"], d["shape"]): d["ms"] for d in map(json.loads, out) if "ms" in d}


def main():
    python, peer = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    a, b = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for k, v in ours().items():
            a[k].append(v)
        for k, v in theirs(python, peer).items():
            b[k].append(v)
    print("| work | PyTorch / posteriors, ms | bnn, ms | ratio |\n|---|---|---|---|")
    for mine, other in ROWS.items():
        if a[mine] and b[other]:
            x, y = statistics.median(b[other]), statistics.median(a[mine])
            print(f"| {' '.join(mine)} | {x:.2f} | {y:.2f} | {x / y:.2f} |")


main()
