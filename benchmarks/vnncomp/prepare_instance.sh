#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 BENCHMARK FILE.onnx FILE.vnnlib. Not timed; exit code 0: the instance can be run.
set -euo pipefail
[ "${1-}" = v1 ] && [ $# -eq 4 ] || { echo "usage: $0 v1 BENCHMARK FILE.onnx FILE.vnnlib" >&2; exit 1; }
python -m verifier.solvers.compile_kernels > /dev/null
verifier inspect "$3" > /dev/null
