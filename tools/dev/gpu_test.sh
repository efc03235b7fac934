#!/usr/bin/env bash
# Which kernels `./dev demo` compiles on which machine: the functions of gpu.sh, with stand-ins for nvidia-smi, device tree and NVRTC.
set -euo pipefail

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# machine CAPABILITIES [CHIP...]: a stand-in for nvidia-smi that prints these lines (none: there is no such program), and a device tree
# with these entries (none: there is no such file).
machine() {
  rm -rf "${work:?}/bin" "${work:?}/tree"
  mkdir -p "$work/bin" "$work/tree"
  if [ -n "$1" ]; then
    printf '%s\n' "$1" >"$work/answer"
    cat >"$work/bin/nvidia-smi" <<EOS
#!/bin/sh
[ "\$*" = '--query-gpu=compute_cap --format=csv,noheader' ] || exit 2
cat '$work/answer'
! grep -q failed '$work/answer'
EOS
    chmod +x "$work/bin/nvidia-smi"
  fi
  shift
  [ $# -eq 0 ] || printf '%s\0' "$@" >"$work/tree/compatible"
}

# chosen [VARIABLE=VALUE...]: sets `said` to "REFLEX_CUDA | REFLEX_CUDA_ARCHS", as `./dev demo` hands them to CMake, and `told` to what the
# user is told. NVRTC is the stand-in that compiles 75, 87 and 90.
chosen() {
  local variables=("CUDA_HOME=$work/toolkit" "$@")
  said=$(
    exec 2>"$work/told"
    unset REFLEX_CUDA REFLEX_CUDA_ARCHS REFLEX_CUDA_ROOT CUDA_HOME CUDA_PATH
    export "${variables[@]}"
    # The real nvidia-smi of this machine, if it has one, must not answer.
    have() { if [ "$1" = nvidia-smi ]; then [ -x "$work/bin/$1" ]; else command -v "$1" >/dev/null; fi; }
    die() { printf 'dev: %s\n' "$*" >&2 && exit 1; }
    PATH=$work/bin:$PATH
    # Read by what is sourced.
    # shellcheck disable=SC2030,SC2034
    root=$source_dir cmake_build=$work/build
    # shellcheck source=tools/dev/gpu.sh
    . "$source_dir/tools/dev/gpu.sh"
    find_gpus "$work/tree"
    choose_archs
    printf '%s | %s' "${REFLEX_CUDA-}" "${REFLEX_CUDA_ARCHS-}"
  ) || said=failed
  told=$(cat "$work/told")
}

# expect_chosen SAID [TOLD]
expect_chosen() {
  [ "$said" = "$1" ] || fail "chosen was \"$said\", expected \"$1\": $told"
  case $told in *"${2-}"*) ;; *) fail "the user was not told \"$2\": $told" ;; esac
}

# expect_arch CAPABILITY ARCH: of all that a release is built for.
expect_arch() {
  local arch
  # shellcheck source=tools/dev/gpu.sh
  arch=$(. "$source_dir/tools/dev/gpu.sh" && arch_for "$1" 75 80 86 87 89 90a 100 110 120 121 75-virtual 120-virtual) || arch=none
  [ "$arch" = "$2" ] || fail "for compute capability $1 the entry was $arch, expected $2"
}

test_nearest() {
  local pair
  for pair in 70:none 75:75 80:80 86:86 87:87 88:87-virtual 89:89 90:90a 100:100 101:100-virtual 103:100-virtual 110:110 120:120 121:121 130:121-virtual; do
    expect_arch "${pair%:*}" "${pair#*:}"
  done
}

test_no_gpu() {
  machine ''
  chosen
  expect_chosen 'OFF | ' 'no NVIDIA GPU found: compiling no kernels'
  expect_chosen 'OFF | ' 'REFLEX_CUDA_ARCHS=87 ./dev demo'
  chosen REFLEX_CUDA=AUTO
  expect_chosen 'OFF | ' 'no NVIDIA GPU found'
  # A driver that does not work says so where the answer would be; and a Jetson of before Orin.
  machine 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver 535.54.'
  chosen
  expect_chosen 'OFF | ' 'no NVIDIA GPU found'
  machine '' nvidia,p3737-0000 nvidia,tegra194
  chosen
  expect_chosen 'OFF | ' 'no NVIDIA GPU found'
  machine 6.1
  chosen
  expect_chosen 'OFF | ' 'no GPU of compute capability 7.5 or later found'
}

test_gpu() {
  machine 9.0
  chosen
  expect_chosen ' | 90a' 'REFLEX_CUDA_ARCHS="90a"'
  machine $'9.0\n7.5\n9.0\n6.1'
  chosen
  expect_chosen ' | 75;90a'
  # What this NVRTC does not compile.
  machine $'12.0\n10.3'
  chosen
  expect_chosen ' | 90-virtual'
  machine 8.6
  chosen REFLEX_CUDA=ON
  expect_chosen 'ON | 75-virtual'
}

test_jetson() {
  machine '' nvidia,p3768-0000+p3767-0000 nvidia,p3767-0000 nvidia,tegra234
  chosen
  expect_chosen ' | 87'
  machine '[N/A]' nvidia,tegra234
  chosen
  expect_chosen ' | 87'
  machine '' nvidia,tegra264
  chosen
  expect_chosen ' | 90-virtual' # the stand-in does not compile 110
  machine 8.7 nvidia,tegra234
  chosen
  expect_chosen ' | 87'
}

# What the user has set stays, GPU or not.
test_asked_for() {
  machine 9.0
  chosen REFLEX_CUDA_ARCHS=87
  expect_chosen ' | 87'
  chosen REFLEX_CUDA=OFF
  expect_chosen 'OFF | '
  machine ''
  chosen 'REFLEX_CUDA_ARCHS=87;80-virtual'
  expect_chosen ' | 87;80-virtual'
  chosen REFLEX_CUDA=ON
  expect_chosen 'ON | '
}

mkdir -p "$work/toolkit/lib64" "$work/toolkit/include"
"${CC:-cc}" -shared -fPIC "$source_dir/tests/package/fake_nvrtc.c" -o "$work/toolkit/lib64/libnvrtc.so.13"
: >"$work/toolkit/include/cuda_fp16.h"
for name in nearest no_gpu gpu jetson asked_for; do
  "test_$name"
  printf '%s: ok\n' "$name"
done
