# shellcheck shell=bash disable=SC2154
# Building, and the commands that build and run.

cmake_build=$target/dev/cmake
examples_build=$target/dev/examples
cargo_target=$target
prefix=$target/dev/prefix
examples=(examples-cpp/quickstart examples-cpp/llm benches/reflex-bench)
llm_options=()
linker_flags=''
demo_model=$root/examples-cpp/llm/models/tiny-qwen3-q4_k_m.gguf
demo_prompt='If we have a string slice, we can pass'

cargo_here() { "$root/cmake/cargo.sh" "$@"; }

# configure SOURCE BUILD OPTION...: once for each set of options; CMake itself notices changed lists files.
configure() {
  local source=$1 build=$2
  shift 2
  local options=(-G Ninja -DCMAKE_MAKE_PROGRAM="$venv/bin/ninja" -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_EXE_LINKER_FLAGS="$linker_flags" "$@")
  [ -f "$build/build.ninja" ] || rm -f "$build/.configured"
  unless_done "$build/.configured" "$(printf '%s\n' "$source" "${CC-}" "${CXX-}" "${options[@]}" | sha256)" \
    cmake --fresh -S "$source" -B "$build" "${options[@]}"
}

configure_library() {
  configure "$root" "$cmake_build" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
    -DREFLEX_CARGO_TARGET_DIR="$CARGO_TARGET_DIR" -DREFLEX_CUDA="${REFLEX_CUDA-AUTO}" -DREFLEX_CUDA_ROOT="${REFLEX_CUDA_ROOT-}" \
    -DREFLEX_CUDA_ARCHS="${REFLEX_CUDA_ARCHS-default}"
}

build_library() {
  step "configuring the library" library-configure configure_library \
    && step "building the library" library-build cmake --build "$cmake_build" --target reflex_infer_cargo \
    && step "installing it into ${prefix#"$root/"}" library-install cmake --install "$cmake_build"
}

# build_example FOLDER: against the installed package, as a user of the library would.
build_example() {
  local build=$examples_build/${1##*/} options=()
  [ "$1" != examples-cpp/llm ] || options=(${llm_options[@]+"${llm_options[@]}"})
  # shellcheck disable=SC2016 # $ORIGIN is for the dynamic linker
  configure "$root/$1" "$build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_INSTALL_PREFIX="$prefix" \
    '-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib' ${options[@]+"${options[@]}"} && cmake --build "$build" && cmake --install "$build"
}

build_examples() {
  local name
  for name in "${examples[@]}"; do
    step "building $name with find_package" "example-${name##*/}" build_example "$name" || return
  done
}

build_library_and_examples() {
  build_library && build_examples
}

build_cpp_tests() {
  step "building the C++ tests" cpp-tests cmake --build "$cmake_build"
}

# arguments_after_dashes ARGS...: sets `arguments`; anything before `--` is a mistake.
arguments_after_dashes() {
  arguments=()
  [ $# -gt 0 ] || return 0
  [ "$1" = -- ] || die "unexpected argument \`$1\`; arguments for reflex-llm go after --"
  shift
  arguments=("$@")
}

# The demo compiles what it runs: kernels for the GPUs here, two of the examples, no tests. Its build tree is its own, so that it and
# ./dev test, which compiles the default list, do not compile everything anew after one another; the cache of kernels is shared.
# shellcheck disable=SC2034 # setup.sh reads them
use_demo_tree() {
  local tree=$target/dev/demo argument chat=OFF
  cmake_build=$tree/cmake examples_build=$tree/examples cargo_target=$tree/cargo prefix=$target/demo
  export REFLEX_KERNEL_CACHE=${REFLEX_KERNEL_CACHE-$target/kernel-cache}
  examples=(examples-cpp/quickstart examples-cpp/llm)
  # The template engine is for --chat alone. Once it was built, it stays, lest options that change compile reflex-llm anew.
  for argument in ${arguments[@]+"${arguments[@]}"}; do
    [ "$argument" != --chat ] || chat=AUTO
  done
  [ ! -d "$examples_build/llm/chat-template" ] || chat=AUTO
  [ $chat = AUTO ] || crates=(Cargo.toml)
  llm_options=(-DREFLEX_LLM_TESTS=OFF "-DREFLEX_LLM_CHAT=$chat")
}

# A kernel may spill on an architecture for which CI compiles nothing. It is right all the same, so that a demo need not fail for it.
build_for_this_machine() {
  export REFLEX_KERNEL_SPILLS=${REFLEX_KERNEL_SPILLS-warn}
  find_gpus
  use_demo_tree
  setup
  choose_archs
  build_library_and_examples
}

run_llm() { "$prefix/bin/reflex-llm" --model "$demo_model" "$@"; }

cmd_demo() {
  arguments_after_dashes "$@"
  build_for_this_machine
  printf '[%4d s] reflex-quickstart\n' "$SECONDS" >&2
  "$prefix/bin/reflex-quickstart"
  [ ${#arguments[@]} -gt 0 ] || arguments=(--prompt "$demo_prompt" --n-predict 96)
  printf '[%4d s] reflex-llm --model %s %s\n' "$SECONDS" "${demo_model#"$root/"}" "${arguments[*]@Q}" >&2
  run_llm "${arguments[@]}"
}

cmd_bench() {
  arguments_after_dashes "$@"
  build_for_this_machine
  run_llm --bench ${arguments[@]+"${arguments[@]}"}
}

# The build script's folder of the last release build: cargo keeps those of earlier ones. Nothing where there was none.
newest_out_dir() {
  find "$CARGO_TARGET_DIR/release/build" -path '*/reflex-infer-*/out/kernel_images.rs' -printf '%T@ %h\n' 2>/dev/null \
    | sort -rn | head -n 1 | cut -d ' ' -f 2-
}

cmd_kernels() {
  case "$*" in
    '' | --kernels) ;;
    *) die "unexpected argument in \`$*\`; see ./dev help" ;;
  esac
  setup
  step "building the library" kernels-build cargo_here build --release --locked --lib || return
  python3 "$root/tools/kernels/summary.py" "$(newest_out_dir)" "$@"
}

# The tests that compare these files with the sources write them instead. That no test of these names ran would go unnoticed.
write_header() {
  local output
  output=$(REFLEX_UPDATE_HEADER=1 cargo_here test --release --locked --test abi -- --exact \
    header::header_matches_the_sources exports::library_header_and_list_agree)
  printf '%s\n' "$output"
  [[ $output == *' 2 passed;'* ]]
}

cmd_header() {
  no_arguments "$@"
  setup
  step "writing infer.h, api.json and what else follows from src/" header write_header
}

c_sources() {
  find "$root/kernels" "$root/include" "$root/tests" "$root/examples-cpp" "$root/benches" -type f \
    \( -name '*.cu' -o -name '*.cuh' -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' \) \
    ! -path '*/include/reflex/infer.h' -print0
}

shell_sources() {
  printf '%s\0' "$root/dev" "$root/.ci/run"
  find "$root/tools" "$root/cmake" "$root/tests" -name '*.sh' -print0
}

cmd_fmt() {
  no_arguments "$@"
  setup
  need_wheels lint "fetching clang-format and shellcheck"
  step "formatting Rust" fmt-rust format_rust
  step "formatting C, C++ and CUDA" fmt-c format_c
}

cmd_lint() {
  no_arguments "$@"
  local failed=0
  setup
  need_wheels lint "fetching clang-format and shellcheck"
  if cargo fmt --version >/dev/null 2>&1; then
    step "Rust formatting" lint-fmt format_rust --check || failed=1
  else
    echo "         skipped: Rust formatting (rustup component add rustfmt)" >&2
  fi
  if cargo clippy --version >/dev/null 2>&1; then
    step "clippy" lint-clippy check_rust || failed=1
  else
    echo "         skipped: clippy (rustup component add clippy)" >&2
  fi
  step "C, C++ and CUDA formatting" lint-c check_c_format || failed=1
  if have shellcheck; then
    step "shell scripts" lint-shell check_shell || failed=1
  else
    echo "         skipped: shellcheck (not available for this machine)" >&2
  fi
  [ $failed -eq 0 ] || die "lint found something; ./dev fmt mends formatting"
}

# CMake's probe is a package of its own.
probe=(--manifest-path "$root/cmake/probe/Cargo.toml")
# By file: the ops' modules are named in a macro, where cargo fmt does not see them.
format_rust() { git ls-files -zco --exclude-standard '*.rs' | xargs -0 rustfmt --edition 2024 "$@"; }
check_rust() {
  cargo_here clippy --release --locked --all-targets -- -D warnings \
    && cargo_here clippy --release --locked "${probe[@]}" -- -D warnings
}
check_c_format() {
  local files
  files=$(c_sources | xargs -0 clang-format --dry-run 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning: code should be clang-formatted.*//p' | sort -u) || return
  [ -z "$files" ] || { printf 'not formatted:\n%s\n' "$files" && return 1; }
}
format_c() { c_sources | xargs -0 clang-format -i; }
check_shell() { shell_sources | xargs -0 shellcheck; }
