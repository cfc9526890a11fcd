#!/usr/bin/env bash
# VNN-COMP: run_instance.sh v1 BENCHMARK FILE.onnx FILE.vnnlib RESULTS SECONDS. RESULTS gets sat and the assignment,
# unsat, unknown, timeout, or error.
set -uo pipefail
[ "${1-}" = v1 ] && [ $# -eq 6 ] || { echo "usage: $0 v1 BENCHMARK FILE.onnx FILE.vnnlib RESULTS SECONDS" >&2; exit 1; }
command -v verifier > /dev/null || PATH="$(dirname "$(readlink -f "$0")")/../../.venv/bin:$PATH"
rm -f "$5" || exit 1
# An engine that outlives a script that was killed writes where nobody looks, not into the results of the next instance.
part=$5.$$.part
verifier verify "$4" --network "f=$3" --results "$part" --timeout "$6" &
engine=$!
trap 'kill "$engine"; rm -f "$part"; exit 143' TERM INT
wait "$engine"
case $? in
  0 | 1) mv "$part" "$5" ;;
  3) if [ -e "$part" ]; then mv "$part" "$5"; else echo timeout > "$5"; fi ;;
  *) rm -f "$part"; echo error > "$5"; exit 1 ;;
esac
