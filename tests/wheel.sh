#!/usr/bin/env bash
# Builds the wheel of c_examples/python around a built library, installs it where there is neither Rust nor a compiler, runs its tests, and compares its
# examples with those in C: `tests/wheel.sh [libbnn.so]`. Time of one processor: 60 s; the library, where none is named, 230 s more. Needs Python 3.10 or
# later with venv and PyPI, and gcc. Python's tests skip PyTorch where it is not installed; a stand-in takes its place.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
. tests/common/dist_library.sh "$@"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
fail() {
  echo "wheel.sh: $*" >&2
  exit 1
}

echo "== the wheel"
python3 -m venv "$work/venv"
# Built in a copy: nothing is left in the sources.
cp -r c_examples/python "$work/package"
BNN_LIBRARY=$library "$work/venv/bin/pip" wheel -q --no-deps -w "$work/wheel" "$work/package"
wheel=$(echo "$work"/wheel/*.whl)
bytes=$(stat -c %s "$wheel")
echo "$(basename "$wheel"): $bytes bytes, of a library of $(stat -c %s "$library")"
case $(basename "$wheel") in libbnn-*-py3-none-manylinux_2_*.whl) ;; *) fail "the wheel's name does not say which machines it is for" ;; esac
[ "$bytes" -lt 2300000 ] || fail "the wheel has $bytes bytes: what has grown?"
if BNN_LIBRARY= "$work/venv/bin/pip" wheel -q --no-deps -w "$work/none" "$work/package" >"$work/refused" 2>&1; then fail "a wheel without a library"; fi
grep -q "BNN_LIBRARY must name" "$work/refused" || fail "it does not say how to name the library: $(cat "$work/refused")"
# With a command, for which a file stands in.
cp "$(type -P true)" "$work/bnn"
BNN_LIBRARY=$library BNN_COMMAND=$work/bnn "$work/venv/bin/pip" wheel -q --no-deps -w "$work/both" "$work/package"
"$work/venv/bin/python" -m zipfile -l "$work"/both/*.whl | grep "data/scripts/bnn " >/dev/null || fail "BNN_COMMAND is not in the wheel"

echo "== installed"
"$work/venv/bin/pip" install -q "$wheel" pytest arviz==0.23.4 mypy==2.4.1
# A shell of somebody who has neither Rust nor a compiler, away from the sources.
mkdir "$work/away"
stranger() { (cd "$work/away" && env -i PATH="$work/venv/bin" HOME="$work" PYTHONDONTWRITEBYTECODE=1 "$@"); }
for tool in cargo rustc cc gcc; do
  if [ -e "$work/venv/bin/$tool" ]; then fail "there is a $tool beside Python: this test is not what it says"; fi
done
at=$(stranger python -c 'import libbnn; print(libbnn.library_path)')
cmp "$at" "$library"
case $at in "$work/venv/"*) ;; *) fail "the library of $at is not the wheel's" ;; esac
stranger mypy --cache-dir "$work/mypy" -p libbnn
stranger pytest -q -p no:cacheprovider -rs "$root/c_examples/python/tests"

echo "== the examples, beside those in C"
mkdir "$work/lib"
cp "$library" "$work/lib/libbnn.so"
ln -s libbnn.so "$work/lib/libbnn.so.$(sed -n 's/^#define BNN_ABI \([0-9]*\)$/\1/p' include/bnn.h)"
for name in own_model train_sample_generate; do
  gcc -std=c99 -I include "c_examples/$name.c" -L "$work/lib" -lbnn -lm -Wl,-rpath,"$work/lib" -o "$work/$name"
  case $name in own_model) set -- "$work/state.bnn" 2000 ;; *) set -- 60 40 ;; esac
  "$work/$name" "$@" >"$work/c"
  stranger python "$root/c_examples/python/examples/$name.py" "$@" >"$work/python"
  [ -s "$work/c" ] || fail "$name.c prints nothing"
  cmp "$work/c" "$work/python" || fail "$name.py prints something else than $name.c"
  echo "$name: the same $(wc -l <"$work/c") lines"
done
