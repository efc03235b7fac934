# shellcheck shell=bash disable=SC2154
# ./dev plot: charts and tables of the result files.

cmd_plot() {
  no_arguments "$@"
  setup
  need_wheels plot "fetching matplotlib"
  "$venv/bin/python" "$root/tools/plot/plot.py" --results "$root/benches/results" --out "$root/docs/images"
  "$venv/bin/python" "$root/tools/plot/tables.py" --results "$root/benches/results" --page "$root/docs/performance.md"
}
