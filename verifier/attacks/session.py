"""ONNX Runtime, as the attacks use it: quiet sessions, and a step loop that stays on the device."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from encoders.graph import Graph
from encoders.onnx_builder import OnnxBuilder
from encoders.runtime import FATAL, runtime
from encoders.to_onnx import forward_onnx, vjp_onnx
from verifier.attacks.device import Device

Float32 = npt.NDArray[np.float32]

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


def session(model: onnx.ModelProto, device: Device = Device.CPU, threads: int = 0, level: Level = Level.ALL) -> Any:
    """An InferenceSession that prints nothing; threads=0 takes all cores that this process may use."""
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
        self._uploaded: list[Float32] = []
        """On the CPU a value is its array's memory, which not every ONNX Runtime keeps alive (1.25 to 1.28 do not)."""
        self._current = 0

    def start(self, constants: Mapping[str, npt.ArrayLike], state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy the constants and the first state to the device. Every array is taken as float32."""
        self._uploaded = []
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
        self._uploaded.append(array)
        return runtime().OrtValue.ortvalue_from_numpy(array, self._device.value, 0)
