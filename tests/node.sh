#!/usr/bin/env bash
# Runs the example in Node, through koffi, and compares what it prints with the example in C: `tests/node.sh [libbnn.so]`. Time of one processor: 5 s; the
# library, where none is named, 230 s more. Needs node and npm with its registry, and gcc; where there is no node or npm it says so and ends.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "node.sh: there is no node with npm: the example in Node did not run"
  exit 0
fi
. tests/common/dist_library.sh "$@"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp c_examples/node/* "$work"
lines=$(wc -l <c_examples/node/own_model.js)
[ "$lines" -lt 150 ] || { echo "node.sh: own_model.js has $lines lines" >&2; exit 1; }
(cd "$work" && npm install --silent --no-audit --no-fund --ignore-scripts)
cp "$library" "$work/libbnn.so"
ln -s libbnn.so "$work/libbnn.so.$(sed -n 's/^#define BNN_ABI \([0-9]*\)$/\1/p' include/bnn.h)"
gcc -std=c99 -I include c_examples/own_model.c -L "$work" -lbnn -lm -Wl,-rpath,"$work" -o "$work/own_model"
"$work/own_model" "$work/state.bnn" 2000 >"$work/c"
(cd "$work" && node own_model.js "$work/libbnn.so" "$work/state.bnn" 2000) >"$work/node"
[ -s "$work/c" ]
cmp "$work/c" "$work/node" || { echo "node.sh: own_model.js prints something else than own_model.c" >&2; exit 1; }
echo "node.sh: the same $(wc -l <"$work/c") lines"
