#!/usr/bin/env bash
# VNN-COMP: install_tool.sh v1. Makes the checkout's environment, which the other two take where no `verifier` is on the path.
set -euo pipefail
[ "${1-}" = v1 ] && [ $# -eq 1 ] || { echo "usage: $0 v1" >&2; exit 1; }
make -C "$(dirname "$(readlink -f "$0")")/../.." .venv/.demo
