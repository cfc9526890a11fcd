"""A step as one ONNX model, of an attack or of a tree's multipliers, and a loop over it that stays on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Graph
from encoders.onnx_io.builder import OnnxBuilder
from encoders.onnx_io.runtime import runtime
from encoders.onnx_io.to_onnx import forward_onnx, vjp_onnx
from encoders.onnx_io.weights import OnnxModel
from verifier.problem.norms.geometry import Floats
from verifier.runtime.device import Device
from verifier.runtime.session import NEXT, PACKED, session


@dataclass(frozen=True, eq=False)
class StepModel:
    """One step as an ONNX model.

    Inputs: `constants`, the same at every step, and `state`; for each state s the output s_next has s's shape.
    """

    model: OnnxModel
    constants: tuple[str, ...]
    state: tuple[str, ...]


class StepBuilder(OnnxBuilder):
    """An OnnxBuilder for a graph's step model: it knows the network, and which inputs are constants and state."""

    def __init__(self, graph: Graph, leak: float = 0.0) -> None:
        super().__init__()
        self.graph, self._leak = graph, leak
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
        """cotangentᵀ · ∂logits/∂x, (batch, n); with a leak no gradient, but a direction (`vjp_onnx`)."""
        return vjp_onnx(self, self.graph, values, cotangent, self._leak)

    def step(self, following: Mapping[str, tuple[str, Sequence[int | str]]]) -> StepModel:
        """The step model; following[s] is the tensor and shape of the state s after the step."""
        if set(following) != set(self._state):
            raise ValueError(f"states {sorted(self._state)} need a next value each, there are {sorted(following)}")
        model = self.model({name + NEXT: tensor for name, tensor in following.items()})
        return StepModel(model, tuple(self._constants_in), tuple(self._state))


class StepLoop:
    """Runs a step model again and again; its tensors stay on the device, in two sets that swap roles at each step."""

    def __init__(self, step: StepModel, device: Device, threads: int = 0) -> None:
        self._constants, self._state = step.constants, step.state
        self._device = device
        self._session = session(step.model, device, threads, packed=step.model.size <= PACKED)
        self._values: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._bindings: list[Any] = []
        self._uploaded: list[Floats] = []
        """On the CPU a value is its array's memory, which not every ONNX Runtime keeps alive (1.25 to 1.28 do not)."""
        self._current = 0

    def start(self, constants: Mapping[str, npt.ArrayLike], state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy the constants and the first state to the device. Every array is taken as float32."""
        self._uploaded = []
        fixed = {name: self._upload(constants[name]) for name in self._constants}
        first = {name: self._upload(state[name]) for name in self._state}
        second = {name: self._upload(state[name]) for name in self._state}
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

    def read(self, name: str) -> Floats:
        """A copy of the state `name`, on the host."""
        return np.array(self._values[self._current][name].numpy(), dtype=np.float32)

    def _upload(self, values: npt.ArrayLike) -> Any:
        array = np.array(values, dtype=np.float32, order="C")
        self._uploaded.append(array)
        return runtime().OrtValue.ortvalue_from_numpy(array, self._device.value, 0)
