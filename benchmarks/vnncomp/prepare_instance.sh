#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 BENCHMARK FILE.onnx FILE.vnnlib. Not timed; exit code 0: the instance can be run.
set -euo pipefail
[ "${1-}" = v1 ] && [ $# -eq 4 ] || { echo "usage: $0 v1 BENCHMARK FILE.onnx FILE.vnnlib" >&2; exit 1; }
echo "compiling the kernels of search trees where that has not been done: minutes, once"
python -m verifier.solvers.compile_kernels || echo "without them trees are slower, and no less right" >&2
verifier inspect "$3" > /dev/null
echo "$3 can be run"
