# shellcheck shell=bash disable=SC2154
# ./dev gpu-bundle and ./dev gpu-report: tests for a machine that has a GPU and a driver and nothing else.

bundle_limit=$((40 * 1000 * 1000))

# Everything in the bundle's build tree, apart from cargo's folder for the default architectures: it is the usual one.
# shellcheck disable=SC2034 # build.sh reads them
use_bundle_tree() {
  local tree=$target/bundle-$1
  cmake_build=$tree/cmake examples_build=$tree/examples prefix=$tree/prefix
  linker_flags='-static-libstdc++ -static-libgcc' # the GPU machine may lack the first
  if [ "$1" != default ]; then
    export CARGO_TARGET_DIR=$tree/cargo REFLEX_KERNEL_CACHE=$target/kernel-cache
  fi
}

# Builds the GPU tests and copies their program.
copy_gpu_tests() {
  local suites=() program
  # In cargo's usual folder the others are wanted too, and one call for all compiles nothing twice.
  [ "$CARGO_TARGET_DIR" = "$target" ] || suites=(--test gpu)
  program=$(cargo_here test --release --locked --no-run --message-format=json ${suites[@]+"${suites[@]}"} | python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and message["target"]["name"] == "gpu":
        print(message["executable"])')
  [ -n "$program" ] || { echo "cargo built no test program named gpu" && return 1; }
  cp "$program" "$1"
}

# write_golden OUT: what reflex-llm has to print, as files that a shell can read: golden/cases.tsv names for each case
# the model, the number of new tokens, and the files of prompt and text.
write_golden() {
  python3 - "$root/examples-cpp/llm" "$1" <<'EOF'
import json, pathlib, shutil, sys
llm, out = map(pathlib.Path, sys.argv[1:])
golden = out / "golden"
golden.mkdir()
rows = []
def add(model, name, prompt, predict, text):
    (golden / f"{name}.prompt").write_bytes(prompt.encode())
    (golden / f"{name}.text").write_bytes(text)
    rows.append(f"{model}\t{predict}\t{name}\n")
models = sorted(path.name for path in (out / "models").glob("*.gguf"))
for number, case in enumerate(json.loads((llm / "models/golden.json").read_bytes())["cases"], 1):
    for model in models:
        add(model, f"{number:02}", case["prompt"], 96, case["text"].encode())
for case in json.loads((llm / "tests/data/arch_golden.json").read_bytes()):
    shutil.copy(llm / "tests/data" / case["model"], out / "models")
    add(case["model"], pathlib.Path(case["model"]).stem, case["prompt"], case["predict"], bytes.fromhex(case["text_hex"]))
(golden / "cases.tsv").write_text("".join(rows))
EOF
}

# fill_bundle BUNDLE OUT MODELS TESTS. `step` calls this where errexit is off: every command has to say that it may fail.
fill_bundle() {
  local bundle=$1 out=$2 models=$3 tests=$4 programs=$target/dev/programs name resources
  rm -rf "$out" "$programs"
  mkdir -p "$out/models" "$programs/bin" "$programs/lib" \
    && cp -P "$prefix"/lib/libreflex_infer.so* "$programs/lib/" \
    && cp "$prefix/bin/reflex-llm" "$prefix/bin/reflex-bench" "$prefix/bin/reflex-quickstart" "$cmake_build/tests/package/reflex-parity" "$programs/bin/" \
    && cp "$tests" "$programs/bin/reflex-gpu-tests" || return
  for name in "$programs"/bin/* "$programs"/lib/libreflex_infer.so.*.*.*; do strip --strip-unneeded "$name" || return; done
  # What reflex-bench says of registers and spills; of several builds the last one.
  resources=$(find "$CARGO_TARGET_DIR/release/build" -path '*/out/kernel-resources.tsv' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
  [ -z "$resources" ] || cp "$resources" "$programs/lib/" || return
  # Packed: kernel images, of which library and tests each hold a copy, shrink to a quarter.
  tar -C "$programs" -czf "$out/programs.tar.gz" bin lib \
    && cp "$models"/*.gguf "$root/examples-cpp/llm/models/parity.txt" "$root/tools/gpu-bundle/perplexity.tsv" "$out/models/" \
    && write_golden "$out" \
    && cp "$root/tools/gpu-bundle/run.sh" "$out/" || return
  {
    printf 'bundle=%s\n' "$bundle"
    printf 'commit=%s\n' "$(git -C "$root" describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)"
    printf 'tree=%s\n' "$("$root/tools/tree-hash.sh" "$root")"
  } >"$out/bundle.txt"
  # The size without the models that the caller chose, and that the programs find the library from where they now lie.
  local bytes
  bytes=$(find "$out" -path "$out/models" -prune -o -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }')
  echo "$bytes bytes"
  [ "$bytes" -lt "$bundle_limit" ] || { echo "the bundle has more than $bundle_limit bytes" && return 1; }
  "$programs/bin/reflex-parity" --info --backend cpu && "$programs/bin/reflex-gpu-tests" --list && "$programs/bin/reflex-bench" check --backend cpu --op norm
}

cmd_gpu_bundle() {
  local archs=default models=${demo_model%/*} out=$root/dist/gpu
  while [ $# -gt 0 ]; do
    case $1 in
      --archs | --models) [ $# -ge 2 ] || die "$1 needs a value" ;;
    esac
    case $1 in
      --archs) archs=$2 && shift 2 ;;
      --models) models=$2 && shift 2 ;;
      *) die "unexpected argument \`$1\`; see ./dev help" ;;
    esac
  done
  compgen -G "$models/*.gguf" >/dev/null || die "--models $models: no .gguf file there"
  setup
  local name=${archs//[^A-Za-z0-9-]/_}
  if [ "$archs" = default ]; then archs=${REFLEX_CUDA_ARCHS-default}; else out=$out-$name; fi
  export REFLEX_CUDA_ARCHS=$archs
  use_bundle_tree "$name"
  build_library_and_examples
  build_cpp_tests
  step "building the Rust GPU tests" bundle-rust copy_gpu_tests "$target/dev/gpu-tests"
  step "filling ${out#"$root/"}" bundle-fill fill_bundle "$name" "$out" "$models" "$target/dev/gpu-tests"
  printf '         %s: %s; copy it to the GPU machine and run ./run.sh there\n' "${out#"$root/"}" "$(du -sh "$out" | cut -f 1)" >&2
}

# Keeps a summary of a report as benches/results/<gpu>/parity.json, or as parity-<archs>.json from a bundle for other architectures.
cmd_gpu_report() {
  [ $# -eq 1 ] || die "usage: ./dev gpu-report FILE"
  local out
  have python3 || die "needs python3"
  out=$(python3 "$root/tools/parity/summary.py" "$1" --results "$root/benches/results") || exit 1
  printf '%s\n' "${out#"$root/"}"
}
