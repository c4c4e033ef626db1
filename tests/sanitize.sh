#!/usr/bin/env bash
# Looks for what tests alone do not see, with the nightly toolchain: `tests/sanitize.sh [miri|address|thread|fuzz|valgrind]…`; without names, all.
#   miri      undefined behaviour, through the C interface on the portable kernels
#   address   memory errors in the kernels, which are unsafe code, on every instruction set of this machine
#   thread    data races in the thread pool and in what threads share
#   fuzz      memory errors behind the C interface, called in random order: FUZZ_SECONDS, 60 unless set
#   valgrind  leaks and uninitialised memory in C programs; part of the tests, too
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${SANITIZE_TOOLCHAIN-+nightly}
host=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-$PWD/target}
parts=${*:-miri address thread fuzz valgrind}

say() { printf '\n== %s\n' "$*"; }

# Each has a folder of its own, since all flags differ.
tests() { # NAME FLAGS ARGUMENTS…
  local name=$1 flags=$2
  shift 2
  CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_PROFILE_DEV_DEBUG=1 CARGO_TARGET_DIR=$base/$name RUSTFLAGS="$flags" cargo "$toolchain" test --target "$host" "$@"
}

for part in $parts; do
  say "$part"
  SECONDS=0
  case $part in
  miri)
    # Isolation would hide the files that a chain is saved to; and a logarithm that is another one each time is no friction to compare.
    CARGO_TARGET_DIR=$base/miri BNN_ISA=portable MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-deterministic-floats" \
      cargo "$toolchain" miri test --no-default-features --test capi_portable
    ;;
  address)
    tests address "-Zsanitizer=address" --no-default-features --test gemm --test attention --test vectors --test decode --test squares \
      --test kernels_with_weights --test kernels_without_weights --test capi_portable
    ;;
  thread)
    # The standard library is built anew, so that its locks and channels are seen.
    tests thread "-Zsanitizer=thread" -Zbuild-std --no-default-features --test machine --test capi_threads --test read_ahead
    ;;
  fuzz)
    FUZZ_TOOLCHAIN=$toolchain FUZZ_RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=$base/fuzz-address tests/fuzz.sh "${FUZZ_SECONDS:-60}" capi
    ;;
  valgrind)
    BNN_ENSURE=valgrind cargo test --release --test capi valgrind
    ;;
  *)
    echo "unknown part $part" >&2
    exit 2
    ;;
  esac
  echo "$part: $SECONDS s"
done
