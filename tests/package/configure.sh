# shellcheck shell=bash disable=SC2154
# What CMake says at configure time about the kernels that a build will have. Part of run.sh.

# The sources alone: nothing that was built or fetched, so that no NVRTC is found by way of it. Prints the folder.
bare_clone() {
  local clone
  clone=$(fresh "$1")/clone
  mkdir -p "$clone/build"
  (
    cd "$REFLEX_SOURCE_DIR" || exit
    cp -r build.rs Cargo.toml Cargo.lock CMakeLists.txt LICENSE-MIT LICENSE-APACHE cmake docs include "$clone/"
    cp build/*.rs "$clone/build/"
  )
  printf '%s' "$clone"
}

# kernels_line CLONE ARGUMENT...: configures with -D options and with VARIABLE=VALUE in an environment that names no toolkit. Sets
# `status`, and `said` to all that CMake says, on one line.
kernels_line() {
  local clone=$1 variables=() options=() argument
  shift
  for argument in "$@"; do
    case $argument in -D*) options+=("$argument") ;; *) variables+=("$argument") ;; esac
  done
  # A new cache; the compilers that CMake found, and the probe, stay.
  rm -f "$clone/out/CMakeCache.txt"
  status=0
  (
    unset REFLEX_CUDA REFLEX_CUDA_ROOT REFLEX_CUDA_ARCHS CUDA_HOME CUDA_PATH
    [ ${#variables[@]} -eq 0 ] || export "${variables[@]}"
    configure "$clone" "$clone/out" -DREFLEX_BUILD_TESTS=OFF ${options[@]+"${options[@]}"}
  ) >"$clone/log.txt" 2>&1 || status=$?
  said=$(tr -s ' \n' ' ' <"$clone/log.txt")
}

# expect_said STATUS TEXT
expect_said() {
  [ "$status" -eq "$1" ] || fail "configure ended with $status, expected $1: $said"
  case $said in *"$2"*) ;; *) fail "configure did not say \"$2\": $said" ;; esac
}

fake_toolkit() {
  mkdir -p "$1/lib64" "$1/include"
  "$CC" -shared -fPIC "$here/fake_nvrtc.c" -o "$1/lib64/libnvrtc.so.13"
  : >"$1/include/cuda_fp16.h"
}

skip_beside_a_toolkit() {
  [ -e /usr/local/cuda ] || return 0
  printf 'skipped: /usr/local/cuda is found\n'
  exit 77
}

configure_off() {
  kernels_line "$clone" -DREFLEX_CUDA=OFF CUDA_HOME=/nonexistent
  expect_said 0 '-- CUDA kernels: none, CPU backend only (REFLEX_CUDA=OFF)'
  kernels_line "$clone" REFLEX_CUDA=OFF
  expect_said 0 '-- CUDA kernels: none, CPU backend only (REFLEX_CUDA=OFF)'
  kernels_line "$clone" -DREFLEX_CUDA=MAYBE
  expect_said 1 'REFLEX_CUDA=MAYBE: expected AUTO, ON or OFF'
}

configure_nothing_found() {
  skip_beside_a_toolkit
  kernels_line "$clone"
  expect_said 0 'CUDA kernels: none, CPU backend only (NVRTC not found: REFLEX_CUDA_ROOT, CUDA_HOME, CUDA_PATH are not set'
}

configure_needed() {
  skip_beside_a_toolkit
  kernels_line "$clone" -DREFLEX_CUDA=ON
  expect_said 1 'REFLEX_CUDA=ON, but NVRTC not found: REFLEX_CUDA_ROOT, CUDA_HOME, CUDA_PATH are not set'
}

configure_wrong_root() {
  local name
  for name in REFLEX_CUDA_ROOT CUDA_HOME CUDA_PATH; do
    kernels_line "$clone" "$name=$clone/include"
    expect_said 1 "$name=$clone/include holds no NVRTC"
  done
  kernels_line "$clone" "-DREFLEX_CUDA_ROOT=$clone/none" -DREFLEX_CUDA=ON
  expect_said 1 "REFLEX_CUDA_ROOT=$clone/none holds no NVRTC"
}

configure_toolkit() {
  fake_toolkit "$clone/my toolkit"
  kernels_line "$clone" "-DREFLEX_CUDA_ROOT=$clone/my toolkit" -DREFLEX_CUDA=ON
  expect_said 0 "-- CUDA kernels: 87;90a from NVRTC 13.9 ($clone/my toolkit/lib64/libnvrtc.so.13); left out, since it cannot compile them: 80-virtual"
  kernels_line "$clone" "CUDA_HOME=$clone/my toolkit" '-DREFLEX_CUDA_ARCHS=75;87-virtual'
  expect_said 0 "-- CUDA kernels: 75;87-virtual from NVRTC 13.9 ($clone/my toolkit/lib64/libnvrtc.so.13) "
}

configure_search_order() {
  local name place
  for name in first second; do fake_toolkit "$clone/$name"; done
  # The wheels' folders of either release; of both the newer one.
  for place in cuda_nvrtc cu13; do
    mkdir -p "$clone/wheels/nvidia/$place" "$clone/wheels/nvidia/cuda_runtime/include"
    cp -r "$clone/first/lib64" "$clone/wheels/nvidia/$place/lib"
    cp -r "$clone/first/include" "$clone/wheels/nvidia/$place/"
    : >"$clone/wheels/nvidia/cuda_runtime/include/cuda_fp16.h"
    for name in wheels/nvidia wheels; do
      kernels_line "$clone" "CUDA_PATH=$clone/$name"
      expect_said 0 "($clone/wheels/nvidia/$place/lib/libnvrtc.so.13)"
    done
  done
  kernels_line "$clone" "CUDA_HOME=$clone/second" "CUDA_PATH=$clone/wheels"
  expect_said 0 "($clone/second/lib64/libnvrtc.so.13)"
  kernels_line "$clone" "REFLEX_CUDA_ROOT=$clone/first" "CUDA_HOME=$clone/second" "CUDA_PATH=$clone/wheels"
  expect_said 0 "($clone/first/lib64/libnvrtc.so.13)"
  # The environment gives the first value of a cache entry; an option goes before it.
  kernels_line "$clone" "REFLEX_CUDA_ROOT=$clone/first" "-DREFLEX_CUDA_ROOT=$clone/second"
  expect_said 0 "($clone/second/lib64/libnvrtc.so.13)"
  # Where ./dev puts its wheels, after everything that was asked for.
  [ ! -e /usr/local/cuda ] || return 0
  mkdir -p "$clone/target/dev/venv/lib/python3.11/site-packages"
  cp -r "$clone/wheels/nvidia" "$clone/target/dev/venv/lib/python3.11/site-packages/"
  kernels_line "$clone"
  expect_said 0 "($clone/target/dev/venv/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13)"
  kernels_line "$clone" "CUDA_PATH=$clone/second"
  expect_said 0 "($clone/second/lib64/libnvrtc.so.13)"
}

configure_unloadable() {
  fake_toolkit "$clone/toolkit"
  printf 'not a library\n' >"$clone/toolkit/lib64/libnvrtc.so.13"
  kernels_line "$clone" "CUDA_HOME=$clone/toolkit"
  expect_said 1 'NVRTC cannot be loaded'
  printf 'int nothing;\n' | "$CC" -x c -shared -fPIC - -o "$clone/toolkit/lib64/libnvrtc.so.13"
  kernels_line "$clone" "CUDA_HOME=$clone/toolkit"
  expect_said 1 'is not a usable NVRTC'
}

configure_architectures() {
  fake_toolkit "$clone/toolkit"
  kernels_line "$clone" "CUDA_HOME=$clone/toolkit" -DREFLEX_CUDA_ARCHS=sm_87
  expect_said 1 "is not an architecture; expected a list such as"
  kernels_line "$clone" "CUDA_HOME=$clone/toolkit" '-DREFLEX_CUDA_ARCHS=110;120'
  expect_said 1 'REFLEX_CUDA_ARCHS=110;120: NVRTC 13.9'
}

case_configure() {
  local clone status said
  clone=$(bare_clone "configure-$1")
  "configure_$1"
}
