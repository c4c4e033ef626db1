#!/usr/bin/env bash
# Fuzzes everything that reads a file, and the C interface: `tests/fuzz.sh [SECONDS_PER_TARGET] [TARGET…]`. Prints executions per target and the sum.
# `tests/fuzz.sh seeds` makes the seeds anew; `tests/fuzz.sh one TARGET FILE` runs one input. Needs the stable toolchain and g++.
set -euo pipefail
cd "$(dirname "$0")/fuzz"
here=$PWD

host=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-$PWD/target}
all="container chain samples baseline verify meta config text run trace capi"

# libFuzzer's instrumentation, as cargo-fuzz asks for it; every toolchain has these options. With --target, build scripts go without.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares ${FUZZ_RUSTFLAGS-}"
build() {
  # shellcheck disable=SC2086 # no toolchain is no argument
  CARGO_TARGET_DIR=$base cargo ${FUZZ_TOOLCHAIN-} build --quiet --locked --release --target "$host" "$@"
}
bin=$base/$host/release

case ${1-} in
seeds)
  # What the targets include must be there before they are built.
  build --bin seeds
  "$bin/seeds"
  du -sb seeds
  exit
  ;;
one)
  build --bin "$2"
  exec "$bin/$2" "$3"
  ;;
esac

seconds=${1:-10}
shift || true
targets=${*:-$all}
flags=()
for target in $targets; do flags+=(--bin "$target"); done
build "${flags[@]}"

# Where the targets' files lie: libFuzzer ends a process without cleaning up.
if [ -d /dev/shm ]; then TMPDIR=$(mktemp -d -p /dev/shm bnn-fuzz.XXXXXX); else TMPDIR=$(mktemp -d); fi
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# What was found lies in artifacts/TARGET/; the inputs that reached new code in corpus/TARGET/, for the next time.
sum=0
failed=
for target in $targets; do
  mkdir -p "corpus/$target" "artifacts/$target"
  out=$(mktemp)
  seeds=()
  if [ -d "seeds/$target" ]; then seeds=("$here/seeds/$target"); fi
  max=16384
  # A model's reference takes as long as the model; a text pair as long as the product of both.
  case $target in capi | meta | config) max=4096 ;; esac
  if ! "$bin/$target" "$here/corpus/$target" "${seeds[@]}" -max_total_time="$seconds" -max_len=$max -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$here/artifacts/$target/" >"$out" 2>&1; then
    failed="$failed $target"
    grep -A 2 -E 'panicked at|ERROR: libFuzzer|Test unit written' "$out" | tail -n 20
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out" | tail -n 1)
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$out" | tail -n 1)
  covered=$(grep -oE 'cov: [0-9]+' "$out" | tail -n 1 || true)
  printf '%-10s %10s executions, %6s a second, %s\n' "$target" "${runs:-0}" "${rate:-0}" "$covered"
  sum=$((sum + ${runs:-0}))
  rm -f "$out"
done
printf '%-10s %10s executions\n' sum "$sum"
if [ -n "$failed" ]; then
  echo "failed:$failed (inputs in tests/fuzz/artifacts)"
  exit 1
fi
