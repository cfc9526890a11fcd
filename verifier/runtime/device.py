"""Where the attacks run: finds out, without a line on stderr, whether ONNX Runtime can use CUDA here."""

from __future__ import annotations

import ctypes
import sys
from enum import StrEnum
from functools import cache
from types import ModuleType

import numpy as np

from encoders.errors import InputError
from encoders.onnx_io.builder import BATCH, OnnxBuilder
from encoders.onnx_io.runtime import FATAL, captured_stderr, runtime


class Device(StrEnum):
    """What the user may ask for: `auto` takes CUDA where it works and the CPU elsewhere."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def resolve(device: str) -> Device:
    """CPU or CUDA for what was asked for.

    Raises InputError when the name is unknown, and for "cuda" where it cannot work, saying what is missing.
    """
    try:
        asked = Device(device)
    except ValueError:
        known = ", ".join(Device)
        raise InputError(f"unknown device {device!r}; known devices: {known}") from None
    if asked is Device.CPU:
        return asked
    missing = cuda_missing()
    if missing is None:
        return Device.CUDA
    if asked is Device.CUDA:
        raise InputError(f"device cuda cannot be used: {missing}; use --device cpu or auto")
    return Device.CPU


@cache
def cuda_missing() -> str | None:
    """What ONNX Runtime's CUDA provider lacks here, in a few words; None when it works.

    In this order, each step silent: the provider is part of the installed package; the driver loads and sees a GPU; a
    small CUDA session starts once the libraries of NVIDIA's pip packages are loaded.
    """
    onnxruntime = runtime()
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this ONNX Runtime has no CUDA provider (pip install onnxruntime-gpu)"
    return _driver_missing() or _libraries_missing(onnxruntime)


def _driver_missing() -> str | None:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"no NVIDIA driver ({name} cannot be loaded)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver sees no GPU"
    return None


def _libraries_missing(onnxruntime: ModuleType) -> str | None:
    builder = OnnxBuilder()
    doubled = builder.op("MatMul", builder.input("x", (BATCH, 1)), builder.constant([[2.0]]))
    model = builder.model({"y": (doubled, (BATCH, 1))}).proto.SerializeToString()
    with captured_stderr() as said:
        reason = ""
        try:
            if hasattr(onnxruntime, "preload_dlls"):
                onnxruntime.preload_dlls()
            onnxruntime.set_default_logger_severity(3)  # errors name the library that is missing
            session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider"])
            if "CUDAExecutionProvider" in session.get_providers():
                session.run(None, {"x": np.ones((1, 1), dtype=np.float32)})
                return None
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here means: no CUDA
            reason = str(error)
        finally:
            onnxruntime.set_default_logger_severity(FATAL)
        said.seek(0)
        reason = reason or said.read().decode(errors="replace")
    cause = next((line for line in reason.splitlines() if "cannot open" in line or ".so" in line), reason)
    detail = " ".join(cause.split())[-200:]
    return f"its CUDA or cuDNN libraries do not load ({detail or 'no reason given'})"
