#!/usr/bin/env bash
# Runs the bundle's tests on this machine's GPU and writes report.json. Needs bash, tar, gzip and a driver.
#
#   ./run.sh [--report FILE] [--tier smoke|full] [--sanitizer]
#
# --tier smoke runs a part of the tests that takes about half a minute: every kernel and the sharp edges, no models.
# --sanitizer also runs a reduced set under compute-sanitizer (memcheck and racecheck) where that tool is on PATH.
# Cut off by SIGTERM or SIGINT it still writes the report, with one failure more.
# Exit status: 0 all passed, 1 something failed, 2 wrong usage, 3 no usable GPU.
set -uo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
report=$here/report.json
sanitizer=0
tier=full
while [ $# -gt 0 ]; do
  case $1 in
    --report) report=${2:?--report needs a value} && shift 2 ;;
    --tier) tier=${2:?--tier needs a value} && shift 2 ;;
    --sanitizer) sanitizer=1 && shift ;;
    *) echo "run.sh: unexpected argument $1" >&2 && exit 2 ;;
  esac
done
case $tier in smoke | full) ;; *) echo "run.sh: --tier $tier: expected smoke or full" >&2 && exit 2 ;; esac

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bin=$work/bin
tar -C "$work" -xzf "$here/programs.tar.gz" || exit 1
results=$work/results.tsv # suite, test, ok | failed | skipped
: >"$results"

info() { sed -n "s/^$1=//p" "$work/info" | head -n 1; }

# record SUITE TEST STATUS [WHY]
record() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$results"
  [ "$3" = ok ] || printf '  %-8s %s: %s %s\n' "$3" "$1" "$2" "${4-}"
}

# check SUITE TEST COMMAND...: by its exit status, 77 meaning skipped.
check() {
  local suite=$1 test=$2 rc=0
  shift 2
  "$@" >"$work/out" 2>&1 </dev/null || rc=$?
  case $rc in
    0) record "$suite" "$test" ok ;;
    77) record "$suite" "$test" skipped "$(tail -n 1 "$work/out")" ;;
    *)
      record "$suite" "$test" failed "(status $rc)"
      tail -n 8 "$work/out" | cut -c 1-300 | sed 's/^/    | /'
      ;;
  esac
}

# A program that prints one line `test NAME ... ok|FAILED|ignored` for each of its tests, as Rust's harnesses do.
check_listed() {
  local suite=$1 rc=0 before
  shift
  before=$(grep -c $'\tfailed$' "$results")
  "$@" >"$work/listed" 2>&1 </dev/null || rc=$?
  # Names have spaces.
  while IFS=$'\t' read -r test status; do
    case $status in
      ok) record "$suite" "$test" ok ;;
      ignored*) record "$suite" "$test" skipped ;;
      *) record "$suite" "$test" failed ;;
    esac
  done < <(sed -nE 's/^test (.*[^ ]) +\.\.\. ([A-Za-z]+).*/\1\t\2/p' "$work/listed")
  # Killed before it could say which.
  if [ $rc -ne 0 ] && [ "$before" -eq "$(grep -c $'\tfailed$' "$results")" ]; then record "$suite" "whole program" failed "(status $rc)"; fi
  if [ $rc -ne 0 ]; then tail -n 60 "$work/listed" | sed 's/^/    | /'; fi
}

golden_text() {
  local model=$1 predict=$2 case=$here/golden/$3
  shift 3
  "$bin/reflex-llm" --model "$here/models/$model" --file "$case.prompt" --n-predict "$predict" --temp 0 \
    --backend cuda "$@" >"$work/text" 2>"$work/text.log" </dev/null || { cat "$work/text.log" && return 1; }
  cmp "$work/text" "$case.text" && return 0
  printf 'got: %s\n' "$(tr '\n' ' ' <"$work/text")"
  return 1
}

# perplexity MODEL EXPECTED TOLERANCE OPTION...
perplexity() {
  local model=$1 expected=$2 tolerance=$3 got
  shift 3
  "$bin/reflex-llm" --model "$model" --perplexity "$here/models/parity.txt" --backend cuda "$@" >"$work/ppl" 2>"$work/ppl.log" </dev/null \
    || { cat "$work/ppl.log" && return 1; }
  got=$(grep -oE '[0-9]+\.[0-9]+' "$work/ppl" | tail -n 1)
  echo "perplexity $got, llama.cpp has $expected"
  awk -v a="${got:-0}" -v b="$expected" -v t="$tolerance" 'BEGIN { d = a / b - 1; exit !(d < t && d > -t) }'
}

sanitized() {
  local tool=$1 rc=0
  shift
  compute-sanitizer --tool "$tool" --error-exitcode 66 "$@" >"$work/sanitized" 2>&1 </dev/null || rc=$?
  cat "$work/sanitized"
  # It does not know every GPU and sandbox; then it has checked nothing.
  if grep -q 'Device not supported' "$work/sanitized"; then echo "compute-sanitizer does not support this device" && return 77; fi
  grep -q 'ERROR SUMMARY: 0 errors\|RACECHECK SUMMARY: 0 hazards' "$work/sanitized" || return 1
  return $rc
}

text() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | tr -d '\000-\037'; }

# The counts of a suite, or of all with no name: "passed": .., "failed": .., "skipped": ..
counts() {
  awk -F '\t' -v suite="${1-}" '
    suite == "" || $1 == suite { n[$3]++ }
    END { printf "\"passed\": %d, \"failed\": %d, \"skipped\": %d", n["ok"], n["failed"], n["skipped"] }' "$results"
}

write_report() {
  local suite separator
  {
    printf '{\n  "gpu": "%s",\n' "$(info device | text)"
    printf '  "driver": "%s",\n' "$(driver | text)"
    printf '  "compute_capability": "%s",\n' "$(info compute_capability)"
    printf '  "bundle": "%s",\n  "version": "%s",\n  "archs": "%s",\n  "nvrtc": "%s",\n' "$(info bundle)" "$(info version)" "$(info cuda_archs)" "$(info nvrtc_version)"
    printf '  "tier": "%s",\n' "$tier"
    printf '  "commit": "%s",\n  "tree": "%s",\n' "$(info commit)" "$(info tree)"
    printf '  "time": "%s",\n  "seconds": %d,\n  %s,\n  "suites": [' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$SECONDS" "$(counts)"
    separator=''
    while read -r suite; do
      printf '%s\n    {\n      "name": "%s", %s,\n      "tests": {' "$separator" "$suite" "$(counts "$suite")"
      awk -F '\t' -v suite="$suite" '$1 == suite { printf "%s\n        \"%s\": \"%s\"", comma, $2, $3; comma = "," }' "$results"
      printf '\n      }\n    }'
      separator=,
    done < <(cut -f 1 "$results" | awk '!seen[$0]++')
    printf '\n  ]\n}\n'
  } >"$report"
}

driver() {
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1
  elif [ -r /proc/driver/nvidia/version ]; then
    sed -n 's/^NVRM version: .*  \([0-9][0-9.]*\)  .*/\1/p' /proc/driver/nvidia/version
  fi
}

{ cat "$here/bundle.txt" && "$bin/reflex-parity" --info --backend cuda; } >"$work/info" 2>&1 || {
  sed 's/^/  /' "$work/info"
  echo "no usable GPU: nothing was tested"
  exit 3
}
printf '%s, compute capability %s; reflex-infer %s for %s\n' "$(info device)" "$(info compute_capability)" "$(info version)" "$(info cuda_archs)"

# What ran is kept also where the rest is cut off.
cut_off() {
  record run 'to the end' failed '(cut off by a signal)'
  write_report
  echo "   $report"
  exit 1
}
trap cut_off TERM INT

echo "== Rust GPU tests"
check_listed gpu "$bin/reflex-gpu-tests" --tier "$tier"
echo "== C++ parity"
check_listed parity "$bin/reflex-parity" --backend cuda
check_listed cases "$bin/reflex-bench" check --tier "$tier"
check examples reflex-quickstart "$bin/reflex-quickstart"
[ "$tier" = smoke ] || echo "== golden text"
while IFS=$'\t' read -r model predict case; do
  check golden "$model $case graph" golden_text "$model" "$predict" "$case"
  check golden "$model $case no graph" golden_text "$model" "$predict" "$case" --no-graph
  check golden "$model $case exact" golden_text "$model" "$predict" "$case" --compute exact
done < <([ "$tier" = smoke ] || cat "$here/golden/cases.tsv")
[ "$tier" = smoke ] || echo "== perplexity"
while IFS=$'\t' read -r name expected; do
  [ -f "$here/models/$name" ] || continue
  check perplexity "$name exact" perplexity "$here/models/$name" "$expected" 0.005 --compute exact
  check perplexity "$name int8" perplexity "$here/models/$name" "$expected" 0.01 --compute int8
  # What kernels of up to 64 rows have for themselves, and those of native weights.
  check perplexity "$name int8 64 rows" perplexity "$here/models/$name" "$expected" 0.01 --compute int8 --batch 64
  check perplexity "$name int8 native" perplexity "$here/models/$name" "$expected" 0.01 --compute int8 --batch 64 --weights copied
done < <([ "$tier" = smoke ] || grep -v '^#' "$here/models/perplexity.tsv")
if [ $sanitizer -eq 1 ]; then
  echo "== compute-sanitizer"
  model=$(ls "$here"/models/*q4_k_m.gguf)
  for tool in memcheck racecheck; do
    if ! command -v compute-sanitizer >/dev/null; then
      record sanitizer "$tool" skipped "(compute-sanitizer is not on PATH)"
      continue
    fi
    check sanitizer "$tool parity" sanitized "$tool" "$bin/reflex-parity" --backend cuda
    # Of one format the kernels of integer products, one test after the other: what goes wrong is then that test's.
    check sanitizer "$tool matmul" sanitized "$tool" "$bin/reflex-gpu-tests" --test-threads 1 'matmul weight=q4_k rows=16 '
    for graph in '' --no-graph; do
      check sanitizer "$tool llm ${graph:-graph}" sanitized "$tool" "$bin/reflex-llm" --model "$model" \
        --prompt 'When the vector gets dropped,' --n-predict 8 --temp 0 --backend cuda $graph
    done
  done
fi

write_report
counts | tr -d '"' | sed 's/^/== /; s/$/\n/'
echo "   $report"
! grep -q $'\tfailed$' "$results"
