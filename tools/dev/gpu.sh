# shellcheck shell=bash disable=SC2154
# Which kernels ./dev demo compiles: those for the GPUs of this machine, and none where there is no GPU. A REFLEX_CUDA_ARCHS that the user
# has set is taken as it is.

# gpu_capabilities [DEVICE_TREE]: the compute capabilities of this machine's GPUs, each once, one a line, as `87` for 8.7. The driver knows
# them. A Jetson may lack nvidia-smi, or one that answers: its device tree names the chip.
gpu_capabilities() {
  local tree=${1-/proc/device-tree} found=''
  if have nvidia-smi; then
    # On a machine without a working driver, nvidia-smi prints its error message to standard output.
    found=$({ nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null || true; } \
      | sed -n 's/^ *\([0-9][0-9]*\)\.\([0-9]\) *$/\1\2/p' | sort -nu)
  fi
  if [ -z "$found" ] && [ -r "$tree/compatible" ]; then
    # Strings that end with a zero byte each. Orin is 8.7, Thor 11.0.
    found=$(tr '\0' '\n' <"$tree/compatible" | sed -n 's/^nvidia,tegra234$/87/p; s/^nvidia,tegra264$/110/p' | sort -nu)
  fi
  [ -z "$found" ] || printf '%s\n' "$found"
}

# arch_for CAPABILITY ENTRY...: the entry with the machine code of this capability. Where there is none, PTX for the nearest older one,
# which the driver compiles. Fails where all entries are newer.
arch_for() {
  local capability=$1 entry sm nearest=0
  shift
  for entry in "$@"; do
    [[ $entry != *-virtual ]] || continue
    sm=${entry%%[a-z]*}
    if [ "$sm" -eq "$capability" ]; then
      printf '%s\n' "$entry"
      return
    fi
    if [ "$sm" -lt "$capability" ] && [ "$sm" -gt "$nearest" ]; then nearest=$sm; fi
  done
  [ "$nearest" -gt 0 ] && printf '%s-virtual\n' "$nearest"
}

# What the NVRTC at hand compiles of the list `release`: entries separated by spaces, or nothing where there is no NVRTC. CMake runs the
# same program in the same folder.
compiled_archs() {
  local said
  said=$(env -u CARGO_BUILD_TARGET -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS REFLEX_CUDA_ARCHS=release CARGO_TARGET_DIR="$cmake_build/probe" \
    "$root/cmake/cargo.sh" run --quiet --offline --locked --manifest-path cmake/probe/Cargo.toml) || return
  printf '%s\n' "$said" | sed -n 's/^CUDA kernels: \([^ ]*\) from NVRTC.*/\1/p' | tr ';' ' '
}

# find_gpus [DEVICE_TREE]: sets `capabilities` where the GPUs of this machine decide what is compiled. Without a GPU it exports
# REFLEX_CUDA=OFF, so that setup fetches no NVRTC, and says so.
find_gpus() {
  capabilities=()
  if [ "${REFLEX_CUDA-AUTO}" = OFF ] || [ -n "${REFLEX_CUDA_ARCHS-}" ]; then return 0; fi
  local capability all=()
  mapfile -t all < <(gpu_capabilities "$@")
  for capability in ${all[@]+"${all[@]}"}; do
    # What the library needs at least.
    [ "$capability" -lt 75 ] || capabilities+=("$capability")
  done
  # Who sets ON wants kernels, GPU or not: the default list.
  if [ ${#capabilities[@]} -gt 0 ] || [ "${REFLEX_CUDA-AUTO}" = ON ]; then return 0; fi
  export REFLEX_CUDA=OFF
  local why='no NVIDIA GPU found'
  [ ${#all[@]} -eq 0 ] || why='no GPU of compute capability 7.5 or later found'
  printf '         %s: compiling no kernels, CPU backend only (to compile some: REFLEX_CUDA_ARCHS=87 ./dev demo)\n' "$why" >&2
}

# Exports REFLEX_CUDA_ARCHS for the GPUs that find_gpus has found, once setup has provided NVRTC.
choose_archs() {
  [ ${#capabilities[@]} -gt 0 ] || return 0
  local capability arch known chosen=()
  known=$(compiled_archs) || die "cannot find out what NVRTC compiles"
  # No NVRTC after all: CMake says where it was looked for.
  [ -n "$known" ] || return 0
  for capability in "${capabilities[@]}"; do
    # shellcheck disable=SC2086 # a list of words
    arch=$(arch_for "$capability" $known) || die "this NVRTC compiles nothing for compute capability ${capability%?}.${capability: -1}"
    # Two GPUs may share one PTX.
    [[ " ${chosen[*]-} " == *" $arch "* ]] || chosen+=("$arch")
  done
  REFLEX_CUDA_ARCHS=$(IFS=';' && printf '%s' "${chosen[*]}")
  export REFLEX_CUDA_ARCHS
  printf '         compiling kernels for the GPU of this machine alone: REFLEX_CUDA_ARCHS="%s"\n' "$REFLEX_CUDA_ARCHS" >&2
}
