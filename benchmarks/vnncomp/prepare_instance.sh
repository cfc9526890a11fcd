#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 BENCHMARK FILE.onnx FILE.vnnlib. Not timed; exit code 0: the instance can be run.
set -euo pipefail
[ "${1-}" = v1 ] && [ $# -eq 4 ] || { echo "usage: $0 v1 BENCHMARK FILE.onnx FILE.vnnlib" >&2; exit 1; }
for file in "$3" "$4"; do
  [ -r "$file" ] || { echo "$file cannot be read" >&2; exit 1; }
done
command -v verifier > /dev/null || PATH="$(dirname "$(readlink -f "$0")")/../../.venv/bin:$PATH"
echo "compiling the kernels of search trees where that has not been done: minutes, once"
python -m verifier.solvers.compile_kernels || echo "without them trees are slower, and no less right" >&2
echo "$3 can be run"
