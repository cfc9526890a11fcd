"""ONNX Runtime, as the attacks use it: quiet sessions, and a step loop that stays on the device."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Any

from encoders.onnx_io.runtime import FATAL, runtime
from encoders.onnx_io.weights import OnnxModel
from verifier.runtime.device import Device

# TF32 would round every product to 10 bits; exhaustive search would time each convolution shape anew.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
NEXT = "_next"  # the output `s` + NEXT of a step model is the next value of its state input `s`


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Level(StrEnum):
    """How far ONNX Runtime rewrites a model before it runs it; `ALL` is what it does by default."""

    DISABLE_ALL = "DISABLE_ALL"
    BASIC = "BASIC"
    EXTENDED = "EXTENDED"
    ALL = "ALL"


PACKED = 1 << 28
"""Bytes of large weights up to which products that are as fast as may be are worth a second copy of them."""


def session(
    model: OnnxModel,
    device: Device = Device.CPU,
    threads: int = 0,
    level: Level = Level.ALL,
    *,
    packed: bool = True,
) -> Any:
    """An InferenceSession that prints nothing; threads=0 takes all cores that this process may use.

    No number takes more: each thread is made at once, and of 100,000 the making alone takes minutes.

    packed: as ONNX Runtime does by default, which copies weights into the order that its products read; else products
    read them as they are, and may round in another order.
    """
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = {
        Level.DISABLE_ALL: levels.ORT_DISABLE_ALL,
        Level.BASIC: levels.ORT_ENABLE_BASIC,
        Level.EXTENDED: levels.ORT_ENABLE_EXTENDED,
        Level.ALL: levels.ORT_ENABLE_ALL,
    }[level]
    options.log_severity_level = FATAL
    options.intra_op_num_threads = min(threads, cores()) if threads else cores()
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from other processes, and halve our own rate where cores are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if model.weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in model.weights.values()]
        options.add_external_initializers(list(model.weights), values)
    providers: list[Any] = ["CPUExecutionProvider"]
    if device is Device.CUDA:
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    return onnxruntime.InferenceSession(model.proto.SerializeToString(), options, providers=providers)
