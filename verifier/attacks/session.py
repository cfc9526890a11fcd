"""ONNX Runtime, as the attacks use it: quiet sessions, a step loop that stays on the device, and the model's replay."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.errors import InputError
from encoders.graph import Graph
from encoders.onnx_builder import OnnxBuilder
from encoders.onnx_ops.folding import one_line
from encoders.runtime import FATAL, runtime
from encoders.to_onnx import forward_onnx, vjp_onnx
from verifier.attacks.device import Device

Floats = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]

# TF32 would round every product to 10 bits; exhaustive search would time each convolution shape anew.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
NEXT = "_next"  # the output `s` + NEXT of a step model is the next value of its state input `s`


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def session(model: onnx.ModelProto, device: Device = Device.CPU, threads: int = 0) -> Any:
    """An InferenceSession that prints nothing; threads=0 takes all cores that this process may use."""
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from other processes, and halve our own rate where cores are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device is Device.CUDA:
        providers.insert(0, ("CUDAExecutionProvider", CUDA_OPTIONS))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


@dataclass(frozen=True, eq=False)
class StepModel:
    """One attack step as an ONNX model.

    Inputs: `constants`, the same at every step, and `state`; for each state s the output s_next has s's shape.
    """

    model: onnx.ModelProto
    constants: tuple[str, ...]
    state: tuple[str, ...]


class StepBuilder(OnnxBuilder):
    """An OnnxBuilder for a graph's step model: it knows the network, and which inputs are constants and state."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._constants_in: list[str] = []
        self._state: list[str] = []

    def given(self, name: str, *shape: int | str) -> str:
        """A constant input."""
        self._constants_in.append(name)
        return self.input(name, shape)

    def state(self, name: str, *shape: int | str) -> str:
        """A state input."""
        self._state.append(name)
        return self.input(name, shape)

    def logits(self, x: str) -> list[str]:
        """The network's forward pass at x (batch, n): every node's tensor; the logits are at graph.output."""
        return forward_onnx(self, self.graph, x)

    def gradient(self, values: list[str], cotangent: str) -> str:
        """cotangentᵀ · ∂logits/∂x, (batch, n)."""
        return vjp_onnx(self, self.graph, values, cotangent)

    def step(self, following: Mapping[str, tuple[str, Sequence[int | str]]]) -> StepModel:
        """The step model; following[s] is the tensor and shape of the state s after the step."""
        if set(following) != set(self._state):
            raise ValueError(f"states {sorted(self._state)} need a next value each, there are {sorted(following)}")
        model = self.model({name + NEXT: tensor for name, tensor in following.items()})
        return StepModel(model, tuple(self._constants_in), tuple(self._state))


class StepLoop:
    """Runs a step model again and again; its tensors stay on the device, in two sets that swap roles at each step."""

    def __init__(self, step: StepModel, device: Device, threads: int = 0) -> None:
        self._step = step
        self._device = device
        self._session = session(step.model, device, threads)
        self._values: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._bindings: list[Any] = []
        self._current = 0

    def start(self, constants: Mapping[str, npt.ArrayLike], state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy the constants and the first state to the device. Every array is taken as float32."""
        fixed = {name: self._upload(constants[name]) for name in self._step.constants}
        first = {name: self._upload(state[name]) for name in self._step.state}
        second = {name: self._upload(state[name]) for name in self._step.state}
        self._values, self._bindings, self._current = (first, second), [], 0
        for source, target in ((first, second), (second, first)):
            binding = self._session.io_binding()
            for name, value in {**fixed, **source}.items():
                binding.bind_ortvalue_input(name, value)
            for name, value in target.items():
                binding.bind_ortvalue_output(name + NEXT, value)
            self._bindings.append(binding)

    def run(self, steps: int) -> None:
        """Take `steps` steps."""
        for _ in range(steps):
            self._session.run_with_iobinding(self._bindings[self._current])
            self._current ^= 1

    def read(self, name: str) -> Float32:
        """A copy of the state `name`, on the host."""
        return np.array(self._values[self._current][name].numpy(), dtype=np.float32)

    def _upload(self, values: npt.ArrayLike) -> Any:
        array = np.array(values, dtype=np.float32, order="C")
        return runtime().OrtValue.ortvalue_from_numpy(array, self._device.value, 0)


class Replay:
    """The user's own model file in ONNX Runtime on the CPU, with its logits tensor as the only output.

    input_shape is the shape of one input, the batch axis (if any) included as 1. What is deployed is a run of one
    input: `logits` of a single row is exactly that. Several rows run as one batch where the file's first axis is
    dynamic, which may differ from single runs in the last bits.
    """

    def __init__(
        self,
        path: str | Path,
        input_name: str,
        logits_name: str,
        input_shape: Sequence[int],
        input_dtype: npt.DTypeLike = np.float32,
        threads: int = 1,
    ) -> None:
        model = onnx.load(str(path))
        entry = next((item for item in model.graph.input if item.name == input_name), None)
        if entry is None:
            raise InputError(f"{path}: the model has no input named {input_name!r}")
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=logits_name))
        self._path, self._name, self._logits = path, input_name, logits_name
        self._shape, self._dtype = tuple(input_shape), np.dtype(input_dtype)
        first = entry.type.tensor_type.shape.dim[:1]
        self._batched = len(self._shape) > 1 and self._shape[0] == 1 and bool(first) and first[0].dim_value == 0
        try:
            self._session = session(model, Device.CPU, threads)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise InputError(f"{path}: ONNX Runtime cannot load the model: {one_line(error)}") from error

    def logits(self, points: npt.ArrayLike) -> Floats:
        """The logits that ONNX Runtime computes: points (batch, n) → (batch, K), in the model's own dtype."""
        rows = np.atleast_2d(np.asarray(points, dtype=self._dtype))
        if not self._batched or len(rows) == 1:
            return np.concatenate([self._one(row) for row in rows])
        try:
            result = self._run(rows.reshape(len(rows), *self._shape[1:]))
        except Exception:  # noqa: BLE001 - a fixed shape inside the file, though its first axis is dynamic
            result = np.empty(0)
        if result.ndim == 0 or len(result) != len(rows):
            self._batched = False
            return self.logits(rows)
        return result.reshape(len(rows), -1)

    def _one(self, row: Floats) -> Floats:
        try:
            return self._run(row.reshape(self._shape)).reshape(1, -1)
        except Exception as error:  # as when it is loaded
            raise InputError(f"{self._path}: ONNX Runtime cannot run the model: {one_line(error)}") from error

    def _run(self, value: Floats) -> Floats:
        result: Floats = self._session.run([self._logits], {self._name: value})[0]
        return result
