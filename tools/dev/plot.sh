# shellcheck shell=bash disable=SC2154
# ./dev plot: charts of the result files.

cmd_plot() {
  no_arguments "$@"
  setup
  need_wheels plot "fetching matplotlib"
  "$venv/bin/python" "$root/tools/plot/plot.py" --results "$root/benches/results" --out "$root/docs/images"
}
