"""Counts instructions of the portable path under callgrind and compares them with tests/data/instructions.json.

    python3 tests/bench/instructions.py [--bless]

More than 3 % above the recorded count fails, and so does more than 3 % below: then record anew, with --bless. Counts belong to a compiler:
with another release of rustc than the recorded one the bound is 15 %.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KEPT = ROOT / "tests/data/instructions.json"
WORK = {"gradient": 2, "gradient_and_squares": 2, "baoa_update": 2, "generation": 2}


def count(program, work, times):
    out = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, work, str(times)],
                         capture_output=True, text=True, check=True).stderr
    return int(re.search(r"Collected : (\d+)", out).group(1))


def main():
    # In one unit: how code is spread over several, and what is inlined with it, would depend on names and paths.
    built = subprocess.run(["cargo", "bench", "--bench", "instructions", "--no-run", "--message-format=json", "--config",
                            "profile.bench.codegen-units=1", "--config", "profile.bench.debug=0"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout
    program = next(m["executable"] for m in map(json.loads, built.splitlines()) if m.get("executable") and m["target"]["name"] == "instructions")
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    # The difference of two runs is the work alone, without start and set-up.
    now = {work: (count(program, work, 1 + n) - count(program, work, 1)) // n for work, n in WORK.items()}
    if "--bless" in sys.argv:
        KEPT.write_text(json.dumps({"rustc": rustc, "instructions": now}, indent=2) + "\n")
        return
    kept = json.loads(KEPT.read_text())
    bound = 0.03 if kept["rustc"] == rustc else 0.15
    if kept["rustc"] != rustc:
        print(f"recorded with {kept['rustc']}, this is {rustc}: the bound is {bound:.0%}")
    failed = False
    for work, n in now.items():
        change = n / kept["instructions"][work] - 1
        failed |= abs(change) > bound
        print(f"{work}: {n} instructions, {change:+.2%} of the recorded {kept['instructions'][work]}")
    if failed:
        sys.exit(f"beyond {bound:.0%}: mend it, or record it with --bless and say why")


main()
