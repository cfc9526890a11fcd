#!/usr/bin/env bash
# VNN-COMP: run_instance.sh v1 BENCHMARK FILE.onnx FILE.vnnlib RESULTS SECONDS. RESULTS gets sat and the assignment,
# unsat, unknown, timeout, or error.
set -uo pipefail
[ "${1-}" = v1 ] && [ $# -eq 6 ] || { echo "usage: $0 v1 BENCHMARK FILE.onnx FILE.vnnlib RESULTS SECONDS" >&2; exit 1; }
rm -f "$5"
verifier verify "$4" --network "f=$3" --results "$5" --timeout "$6"
case $? in
  0 | 1) exit 0 ;;
  3) [ -e "$5" ] || echo timeout > "$5"; exit 0 ;;
  *) echo error > "$5"; exit 1 ;;
esac
