"""Devices and the step loop."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from encoders.errors import InputError
from encoders.network.graph import GraphBuilder
from encoders.onnx_io.builder import BATCH
from encoders.onnx_io.runtime import captured_stderr, runtime
from encoders.onnx_io.to_onnx import to_onnx
from verifier.runtime import device as device_module
from verifier.runtime import session as session_module
from verifier.runtime.device import Device, cuda_missing, resolve
from verifier.runtime.session import cores, session
from verifier.runtime.step_model import StepBuilder, StepLoop

without_cuda = pytest.mark.skipif(cuda_missing() is None, reason="CUDA works here")
with_cuda = pytest.mark.skipif(cuda_missing() is not None, reason="no CUDA here")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="unknown device 'tpu'; known devices: auto, cpu, cuda"):
        resolve("tpu")


@pytest.mark.parametrize(("asked", "taken"), [(0, 3), (1, 1), (3, 3), (100_000, 3)])
def test_a_session_takes_no_more_threads_than_cores(asked: int, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = runtime()
    fake = SimpleNamespace(
        SessionOptions=real.SessionOptions,
        GraphOptimizationLevel=real.GraphOptimizationLevel,
        InferenceSession=lambda _, options, **__: options,
    )
    monkeypatch.setattr(session_module, "runtime", lambda: fake)
    monkeypatch.setattr(session_module, "cores", lambda: 3)
    builder = GraphBuilder(1)
    model = to_onnx(builder.graph(builder.relu(0)))
    assert session(model, Device.CPU, asked).intra_op_num_threads == taken


def test_cpu_is_always_there() -> None:
    assert resolve("cpu") is Device.CPU
    assert cores() >= 1


@without_cuda
def test_without_cuda_auto_is_the_cpu_and_cuda_says_what_is_missing() -> None:
    assert resolve("auto") is Device.CPU
    with pytest.raises(InputError) as refusal:
        resolve("cuda")
    message = str(refusal.value)
    assert message.startswith("device cuda cannot be used: ")
    assert "\n" not in message


@with_cuda
def test_with_cuda_auto_takes_it() -> None:
    assert resolve("auto") is resolve("cuda") is Device.CUDA


def test_a_package_without_the_provider_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(device_module, "runtime", Plain)
    reason = cuda_missing.__wrapped__()
    assert reason is not None
    assert "pip install onnxruntime-gpu" in reason


@without_cuda
def test_libraries_that_do_not_load_are_named_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    reason = device_module._libraries_missing(runtime())
    assert reason is not None
    assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


def test_captured_stderr_catches_native_output(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as said:
        os.write(2, b"noise")
        said.seek(0)
        assert said.read() == b"noise"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_threads_that_capture_stderr_at_once_give_back_what_was_there_before(capfd: pytest.CaptureFixture[str]) -> None:
    """The second one begins within the first one's time, and ends after it."""
    before, (begun, within, over) = sys.stdout, (threading.Event() for _ in range(3))

    def first() -> None:
        with captured_stderr():
            begun.set()
            within.wait(60)

    def second() -> None:
        begun.wait(60)
        with captured_stderr():
            within.set()
            over.wait(60)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        over.set()
        other.result()
    assert sys.stdout is before
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def _doubling() -> StepBuilder:
    return StepBuilder(GraphBuilder(2).graph(0))


def test_the_step_loop_feeds_each_result_back() -> None:
    b = _doubling()
    x, rate = b.state("x", BATCH, 2), b.given("rate", 1, 1)
    loop = StepLoop(b.step({"x": (b.op("Mul", x, rate), (BATCH, 2))}), Device.CPU, 1)
    start = np.array([[1.0, 2.0], [3.0, 4.0]])
    for rate_value in (2.0, 3.0):
        loop.start({"rate": [[rate_value]]}, {"x": start})
        np.testing.assert_array_equal(loop.read("x"), start)
        for steps in (1, 3, 1):
            loop.run(steps)
        np.testing.assert_array_equal(loop.read("x"), start * rate_value**5)


def test_a_state_without_a_next_value_is_refused() -> None:
    b = _doubling()
    b.state("x", BATCH, 2)
    with pytest.raises(ValueError, match="need a next value"):
        b.step({})
