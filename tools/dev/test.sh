# shellcheck shell=bash disable=SC2154
# ./dev test: every runner, then one line that sums them up.

passed=0 failed=0 skipped=0

# count NAME PASSED FAILED SKIPPED STATUS: adds a runner's figures. One that fails and names no failure has crashed.
count() {
  local f=$3
  if [ "$5" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  printf '         %-24s %4d passed, %d failed, %d skipped\n' "$1" "$2" "$f" "$4" >&2
  passed=$((passed + $2)) failed=$((failed + f)) skipped=$((skipped + $4))
}

# One cargo call for all suites: a narrower one asks for other code generation and compiles the crates again.
run_cargo_tests() {
  local rc=0 suite p f s log=$logs/test-rust.log
  step "cargo test" test-rust cargo_here test --release --locked --no-fail-fast || rc=$?
  cargo_figures "$log" >"$log.figures"
  while read -r p f s suite; do
    count "$suite" "$p" "$f" "$s" 0
  done <"$log.figures"
  sed -n 's/^test \(.*[^ ]\) *\.\.\. FAILED$/         failed: \1/p' "$log" >&2
  # For instance a test that does not compile.
  if [ $rc -ne 0 ] && ! awk '$2 > 0 { found = 1 } END { exit !found }' "$log.figures"; then count cargo 0 1 0 $rc; fi
}

# One line for each suite: passed, failed, skipped, name. A suite that ends without a result has crashed.
cargo_figures() {
  awk '
    function finish() { if (suite != "") print p, f + (results == 0), s, suite; p = f = s = results = 0 }
    /^ +Running / { finish(); suite = $2 == "unittests" ? "units" : $2; sub(/^tests\//, "", suite); sub(/\/main\.rs$/, "", suite) }
    /^ +Doc-tests / { finish(); suite = "documentation" }
    /^test result: / { p += $4; f += $6; s += $8; results++ }
    END { finish() }' "$1"
}

# run_ctest NAME BUILD
run_ctest() {
  local name=$1 build=$2 rc=0 report=$target/dev/junit/$1.xml
  mkdir -p "${report%/*}"
  rm -f "$report"
  step "ctest: $name" "ctest-$name" ctest --test-dir "$build" --output-on-failure --no-tests=error -j 2 --output-junit "$report" || rc=$?
  # shellcheck disable=SC2046
  count "ctest $name" $(junit_figures "$report") $rc
}

junit_figures() {
  [ -f "$1" ] || { echo 0 0 0 && return; }
  python3 - "$1" <<'EOF'
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot().attrib
total, failed = int(suite["tests"]), int(suite["failures"])
skipped = int(suite["skipped"]) + int(suite["disabled"])
print(total - failed - skipped, failed, skipped)
EOF
}

# The kernels must also compile, and spill nothing, with the other NVRTC releases: JetPack's and the newest. Images are cached by content,
# so that a second run compiles none.
compile_with() {
  CARGO_TARGET_DIR="$target/compile-check" REFLEX_KERNEL_CACHE="${REFLEX_KERNEL_CACHE-$target/kernel-cache}" REFLEX_KERNEL_SPILLS=error REFLEX_CUDA=ON \
    REFLEX_CUDA_ROOT="$target/dev/$1/nvidia" REFLEX_CUDA_ARCHS='87;90a' "$root/cmake/cargo.sh" check --release --locked --lib
}

# The GPU does not run here: say so when the latest report from one is not about these sources.
compare_gpu_reports() {
  local report hash any=0
  hash=$("$root/tools/tree-hash.sh" "$root")
  for report in "$root"/benches/results/*/parity*.json; do
    [ -f "$report" ] || continue
    any=1
    if [ "$(sed -n 's/^ *"tree": "\([0-9a-f]*\)".*/\1/p' "$report")" = "$hash" ]; then
      printf '         %s is about these sources\n' "${report#"$root/"}" >&2
    else
      printf '\n*** %s IS NOT ABOUT THESE SOURCES: run ./dev gpu-bundle on that GPU ***\n\n' "${report#"$root/"}" >&2
    fi
  done
  [ $any -eq 1 ] || printf '\n*** NO GPU PARITY REPORT UNDER benches/results/: run ./dev gpu-bundle on a GPU ***\n\n' >&2
}

# Draws all charts, with the pinned matplotlib, which is not for older Pythons.
test_charts() {
  local rc=0
  if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "         skipped: plot_test.py (needs Python 3.11 or later)" >&2
    count plot_test.py 0 0 1 0
    return
  fi
  need_wheels plot "fetching matplotlib" \
    && step "testing tools/plot/plot_test.py" test-plot "$venv/bin/python" "$root/tools/plot/plot_test.py" || rc=$?
  count plot_test.py $((rc == 0)) $((rc != 0)) 0 0
}

# What ./dev demo compiles on which machine.
test_choice_of_archs() {
  local rc=0
  step "testing tools/dev/gpu_test.sh" test-gpu-choice bash "$root/tools/dev/gpu_test.sh" || rc=$?
  count gpu_test.sh $((rc == 0)) $((rc != 0)) 0 0
}

# Published figures say how they were measured. What checks and makes them is tested too.
check_result_files() {
  local rc folder=$root/benches/results name
  for name in tools/plot/check_results_test.py tools/plot/tables_test.py tools/parity/summary_test.py tools/docs/links_test.py tools/docs/ops_test.py tools/sass/check_test.py tools/kernels/summary_test.py benches/peers/peers_test.py; do
    rc=0
    step "testing $name" "test-${name##*/}" python3 "$root/$name" || rc=$?
    count "${name##*/}" $((rc == 0)) $((rc != 0)) 0 0
  done
  test_charts
  [ -d "$folder" ] || return 0
  rc=0
  step "checking the result files" check-results python3 "$root/tools/plot/check_results.py" "$folder" || rc=$?
  count 'result files' $((rc == 0)) $((rc != 0)) 0 0
}

# The machine code of the default build holds nothing that nobody listed: emulated instructions, local memory, double precision and the like.
check_machine_code() {
  local rc=0 folder
  folder=$(newest_out_dir)
  if [ -z "$folder" ] || ! grep -q 'ptx: false' "$folder/kernel_images.rs"; then
    echo "         skipped: machine code (this build has no kernels)" >&2
    count 'machine code' 0 0 1 0
    return
  fi
  need_wheels sass "fetching nvdisasm" \
    && step "checking the machine code" check-sass python3 "$root/tools/sass/check.py" "$folder" --nvdisasm \
      "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13/bin/nvdisasm" || rc=$?
  count 'machine code' $((rc == 0)) $((rc != 0)) 0 0
}

run_all_tests() {
  local rc name
  export REFLEX_PYTHON=$venv/bin/python REFLEX_SMOLLM2=$smollm2
  if ! build_library_and_examples || ! build_cpp_tests; then
    count build 0 1 0 1
    return
  fi
  if step "compiling the Rust tests" test-compile cargo_here test --release --locked --no-run; then
    run_cargo_tests
  else
    count 'Rust tests' 0 1 0 1
  fi
  run_ctest package "$cmake_build"
  for name in quickstart llm reflex-bench; do
    run_ctest "$name" "$examples_build/$name"
  done
  test_choice_of_archs
  check_result_files
  check_machine_code
  for name in "${other_nvrtc[@]}"; do
    rc=0
    step "compiling the kernels with NVRTC $(nvrtc_release "$name")" "nvrtc-$name" compile_with "$name" || rc=$?
    count "NVRTC $(nvrtc_release "$name"), 87 90a" $((rc == 0)) $((rc != 0)) 0 0
  done
}

cmd_test() {
  no_arguments "$@"
  setup_tests
  run_all_tests
  compare_gpu_reports
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
}
