#!/bin/sh
# Runs cargo for this package. CMake and ./dev both build through here, so that they ask for the same thing and share
# what is compiled, and so that no path of the building machine ends up in the library (panic messages name source files).
#
#   CARGO_TARGET_DIR=... cmake/cargo.sh build --release --lib
set -eu
source_dir=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
: "${CARGO_TARGET_DIR:=$source_dir/target}" "${REFLEX_CUDA:=AUTO}" "${REFLEX_CUDA_ARCHS:=default}"
# One spelling of a list, lest cargo build again for the other.
REFLEX_CUDA_ARCHS=$(printf %s "$REFLEX_CUDA_ARCHS" | tr -s ', ' ';')

# Cargo splits this variable at 0x1f, so that a path may hold spaces.
separator=$(printf '\037')
flags=${CARGO_ENCODED_RUSTFLAGS:-$(printf %s "${RUSTFLAGS:-}" | tr -s ' ' "$separator")}
remap() {
  flags=$flags${flags:+$separator}--remap-path-prefix=$1=$2
}
# rustc takes the last prefix that matches: the outer folders first.
remap "${CARGO_HOME:-$HOME/.cargo}" cargo
remap "${RUSTUP_HOME:-$HOME/.rustup}" rustup
remap "$source_dir" reflex-infer
remap "$CARGO_TARGET_DIR" target
CARGO_ENCODED_RUSTFLAGS=$flags
export CARGO_TARGET_DIR CARGO_ENCODED_RUSTFLAGS REFLEX_CUDA REFLEX_CUDA_ARCHS

cd "$source_dir" # cargo reads its configuration from here up
exec "${CARGO:-cargo}" "$@"
