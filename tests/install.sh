#!/usr/bin/env bash
# Installs the library as docs/c-api.md says, and uses it as a stranger does: `tests/install.sh [COPY]`, where COPY is what a copy of the shared library is
# left as. Time of one processor: the library 140 s, the examples 60 s, and cargo-c 400 s, once: it is kept in ~/.cache/bnn (BNN_CACHE). Needs Rust, gcc,
# g++, binutils, pkg-config, make and cmake.
set -euo pipefail
copy=${1:+$(realpath -m "$1")}
cd "$(dirname "$0")/.."
root=$PWD
page=$root/docs/c-api.md

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PREFIX=$work/prefix
fail() {
  echo "install.sh: $*" >&2
  exit 1
}

# The indented lines below a heading of the page; and what stands in a fence there.
lines() { awk -v h="### $1" '$0 == h { on = 1; next } /^##/ { on = 0 } on && /^    / { print substr($0, 5) } on && !/^    / { print "" }' "$page" | cat -s; }
fence() { awk -v h="### $1" '$0 == h { on = 1; next } /^##/ { on = 0 } /^```/ { inside = !inside; next } on && inside' "$page"; }
typed() { lines "$1" | grep -F -- "$2" || fail "docs/c-api.md has no line of $2"; }

echo "== cargo-c"
get=$(typed "Build and install" "cargo install cargo-c")
version=$(sed -n 's/.*--version \([^ ]*\).*/\1/p' <<<"$get")
tools=${BNN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bnn}/cargo-c-$version
if [ ! -x "$tools/bin/cargo-cinstall" ]; then
  # As fast as it can be built: it runs for seconds.
  export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  (time bash -ec "$get --quiet --root '$tools'")
  unset CARGO_PROFILE_RELEASE_OPT_LEVEL CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_DEBUG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
fi

echo "== the library"
(time PATH="$tools/bin:$PATH" bash -ec "$(typed "Build and install" "cargo cinstall")")
abi=$(sed -n 's/^#define BNN_ABI \([0-9]*\)$/\1/p' include/bnn.h)
so=$PREFIX/lib/libbnn.so.$abi
cmp include/bnn.h "$PREFIX/include/bnn.h"
cmp include/bnn.hpp "$PREFIX/include/bnn.hpp"
[ "$(readlink -f "$PREFIX/lib/libbnn.so")" = "$(readlink -f "$so")" ] || fail "libbnn.so is no link to libbnn.so.$abi"
readelf -d "$so" | grep -q "SONAME.*\[libbnn\.so\.$abi\]" || fail "the SONAME is not libbnn.so.$abi"
more=$(readelf -d "$so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|libm|libgcc_s|ld-linux[a-z0-9_-]*)\.so' || true)
[ -z "$more" ] || fail "the library needs $more"
if readelf -S "$so" | grep -qE '\.symtab|\.debug_'; then fail "the library is not stripped"; fi
other=$(nm -D --defined-only "$so" | awk '{ print $3 }' | grep -v '^bnn_' || true)
[ -z "$other" ] || fail "the library exports $other"

bash -ec "$(lines "Static library with bnn_* alone")"
other=$(nm --defined-only --extern-only "$PREFIX/lib/libbnn.a" | awk 'NF == 3 { print $3 }' | grep -v '^bnn_' || true)
[ -z "$other" ] || fail "the static library exports $other"
for built in "$so" "$PREFIX/lib/libbnn.a"; do
  for path in "$root/" "$HOME/" "${CARGO_HOME:-$HOME/.cargo}/"; do
    if grep -qaF "$path" "$built"; then fail "$built holds the path $path"; fi
  done
done
echo "shared $(stat -Lc %s "$so") bytes, static $(stat -c %s "$PREFIX/lib/libbnn.a") bytes"

# A shell of somebody who has no Rust, away from the sources.
stranger() {
  (cd "$1" && env -i PATH=/usr/bin:/bin HOME="$work" PREFIX="$PREFIX" PKG_CONFIG_PATH="$PREFIX/lib/pkgconfig" bash -ec "$2")
}
mkdir "$work/data"
stranger "$work" '! command -v cargo && ! command -v rustc' >/dev/null || fail "there is a Rust in /usr/bin: this test is not what it says"

# A run's model and samples, for the example that reads such.
mkdir "$work/keep"
cp tests/capi/{keep.c,check.h,files.h} "$work/keep"
stranger "$work/keep" 'cc -std=c99 keep.c $(pkg-config --cflags --libs bnn) -Wl,-rpath,$(pkg-config --variable=libdir bnn) -lm -o keep && ./keep ../data' >/dev/null

# What the examples are called with: short.
arguments() {
  case $1 in
  own_model) echo state.bnn 200 ;;
  train_sample_generate) echo 20 20 ;;
  own_training) echo 20 ;;
  generate) echo ../data/model.bnn ../data/samples 20 ;;
  chains_on_threads) echo 100 ;;
  loaded) echo "$so" ;;
  esac
}

# Each block of the page, for each example: built and run, and all say the same.
mapfile -d '' blocks < <(lines "Programs with pkg-config" | awk 'BEGIN { RS = ""; ORS = "\0" } 1')
[ ${#blocks[@]} -eq 3 ] || fail "docs/c-api.md has ${#blocks[@]} ways with pkg-config, expected 3"
blocks+=("$(lines "Programs with CMake")")
built=0
for source in c_examples/*.c c_examples/cpp/*.cpp; do
  name=$(basename "${source%.*}")
  kind=${source##*.}
  first=
  for block in "${blocks[@]}"; do
    dir=$work/app$built
    built=$((built + 1))
    mkdir "$dir"
    cp "$source" "$dir/app.$kind"
    fence "Programs with CMake" >"$dir/CMakeLists.txt"
    if [ "$kind" = cpp ]; then
      block=${block//cc -std=c99 app.c/c++ -std=c++17 app.cpp}
      sed -i 's/app\.c)/app.cpp)/' "$dir/CMakeLists.txt"
    fi
    # The last line runs the program.
    stranger "$dir" "$block $(arguments "$name")" >"$dir/out" 2>&1 || fail "$source: $block: $(cat "$dir/out")"
    stranger "$dir" 'for app in app build/app; do if [ -x $app ]; then ldd $app; fi; done' >"$dir/needs"
    case $block in
    *libbnn.a*) if grep -q libbnn "$dir/needs"; then fail "$source: not linked with libbnn.a"; fi ;;
    *) [ "$name" = loaded ] || grep -q "libbnn\.so\.$abi" "$dir/needs" || fail "$source: not linked with libbnn.so.$abi" ;;
    esac
    # CMake's own lines are not the program's.
    sed -i -E '/^(-- |\[ *[0-9]+%\])/d' "$dir/out"
    [ -s "$dir/out" ] || fail "$source: it prints nothing"
    if [ -z "$first" ]; then first=$dir/out; else cmp "$first" "$dir/out" || fail "$source: $block: another output"; fi
  done
  echo "$source: ${#blocks[@]} ways"
done
if [ -n "$copy" ]; then cp "$so" "$copy"; fi
echo "install.sh: $built programs, all the same"
