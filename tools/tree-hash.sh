#!/usr/bin/env bash
# Prints one hash over what a GPU parity report is about: the content of kernels/, src/, cases/ and tests/.
# usage: tools/tree-hash.sh [REPOSITORY]
set -euo pipefail
export LC_ALL=C
cd -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/..}"
find kernels src cases tests -type f ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
