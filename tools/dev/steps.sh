# shellcheck shell=bash disable=SC2154
# What the user sees: one line for each step, the log of a step only when it fails.

logs=$target/dev/log

die() {
  printf 'dev: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

no_arguments() { [ $# -eq 0 ] || die "unexpected argument \`$1\`; see ./dev help"; }

sha256() { python3 -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }

# step TITLE LOG COMMAND...: runs the command with its output in target/dev/log/LOG.log.
step() {
  local title=$1 log=$logs/$2.log from=$SECONDS rc=0
  shift 2
  mkdir -p "$logs"
  printf '[%4d s] %-58s' "$SECONDS" "$title" >&2
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  if [ "$rc" -eq 0 ]; then
    printf ' %4d s\n' $((SECONDS - from)) >&2
    # The build script speaks through cargo's warnings, for instance when it finds no NVRTC.
    sed -n 's/^warning: reflex-infer@[^:]*: /         /p' "$log" >&2
  else
    printf ' FAILED after %d s\n' $((SECONDS - from)) >&2
    tail -n 40 "$log" | sed 's/^/    | /' >&2
    printf '         whole log: %s\n' "$log" >&2
  fi
  return "$rc"
}

# unless_done STAMP KEY COMMAND...: skips a command that has already succeeded with the same key.
unless_done() {
  local stamp=$1 key=$2
  shift 2
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then return 0; fi
  rm -f "$stamp"
  "$@" || return
  mkdir -p "$(dirname "$stamp")"
  printf '%s\n' "$key" >"$stamp"
}

# try_thrice COMMAND...: for what needs the network.
try_thrice() {
  local delay
  for delay in 2 8 0; do
    "$@" && return 0
    [ "$delay" -eq 0 ] || { echo "-- trying again in $delay s" && sleep "$delay"; }
  done
  return 1
}
