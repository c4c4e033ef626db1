# Sourced by tests of other languages: sets `library` to the shared library as it is installed: the file that is named, or one built for it.
library=${1:-}
if [ -z "$library" ]; then
  RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" \
    cargo rustc --profile dist --no-default-features --locked --lib --crate-type cdylib
  library=${CARGO_TARGET_DIR:-target}/dist/libbnn.so
fi
library=$(realpath "$library")
