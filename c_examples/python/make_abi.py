"""Writes libbnn/_abi.py from include/bnn.h: python3 make_abi.py; with --check it only says whether they agree."""
from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "bnn.h"
OUTPUT = HERE / "libbnn" / "_abi.py"

CONSTANT = re.compile(r"^#define (BNN_[A-Z0-9_]+) (\d+|UINT32_MAX)$", re.M)
CALLBACK = re.compile(r"^typedef int32_t \(\*(bnn_\w+)\)\(([^)]*)\);", re.M)
FUNCTION = re.compile(r"^(bnn_status|void|size_t|uint32_t|const char \*)\s*(bnn_\w+)\(([^)]*)\);", re.M)


def parameters(text: str) -> list[tuple[str, str]]:
    """Returns the type and the name of each parameter of a declaration."""
    found = []
    for part in " ".join(text.split()).split(", "):
        if part != "void":
            kind, name = re.fullmatch(r"(.*?[ *])(\w+)", part).groups()
            found.append((kind.strip(), name))
    return found


def generate(header: str) -> str:
    """Returns the module for the text of a header."""
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    constants = {name: 0xFFFFFFFF if value == "UINT32_MAX" else int(value) for name, value in CONSTANT.findall(code)}
    version = ".".join(str(constants[f"BNN_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
    lines = ['"""What bnn.h declares. Made by make_abi.py; do not edit."""', "", f'VERSION = "{version}"', "", "CONSTANTS = {"]
    lines += [f'    "{name}": {value},' for name, value in constants.items()]
    lines += ["}", "", "# Each parameter's C type and name.", "CALLBACKS = {"]
    for name, inner in CALLBACK.findall(code):
        lines.append(f'    "{name}": {parameters(inner)!r},')
    lines += ["}", "", "# What it returns, and each parameter's C type and name.", "FUNCTIONS = {"]
    for result, name, inner in FUNCTION.findall(code):
        lines.append(f'    "{name}": ({result!r}, {parameters(inner)!r}),')
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    made = generate(HEADER.read_text("utf-8"))
    if "--check" not in sys.argv:
        OUTPUT.write_text(made, "utf-8")
    elif OUTPUT.read_text("utf-8") != made:
        raise SystemExit(f"{OUTPUT} is not that of {HEADER}: python3 {__file__} writes it anew")
