"""A user's model: the graph that is verified and the file that ONNX Runtime runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.from_onnx import Network, read_network
from encoders.graph import Graph
from encoders.lower import lower
from verifier.attacks.session import Replay


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX classifier: `network` as read, `graph` lowered to ReLUs, `replay` the file itself in ONNX Runtime."""

    path: Path
    network: Network
    graph: Graph

    @cached_property
    def replay(self) -> Replay:
        network = self.network
        return Replay(self.path, network.input_name, network.logits_name, network.input_shape, network.input_dtype)

    @property
    def classes(self) -> int:
        """The number of logits."""
        return self.graph.output_size

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self.network.input_dtype

    def __repr__(self) -> str:
        network = self.network
        size, shape = self.graph.input_size, "x".join(str(n) for n in network.input_shape)
        relus = f"{self.graph.relu_count:,} ReLUs"
        return f"<Model {self.path.name}: {size} inputs ({shape} {self.dtype}), {self.classes} classes, {relus}>"

    def vector(self, x: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """One input as a flat vector in the model's dtype; raises InputError when it does not fit or is not finite."""
        try:
            array = np.asarray(x)
        except (TypeError, ValueError) as error:
            raise InputError(f"the input is no array of numbers: {error}") from None
        if array.dtype.kind not in "fiu":
            raise InputError(f"the input has dtype {array.dtype}; numbers are expected")
        if array.size != self.graph.input_size:
            shape = "x".join(str(n) for n in self.network.input_shape)
            raise InputError(f"the input has {array.size} entries; {self.path.name} expects {shape}")
        with np.errstate(over="ignore"):
            flat = array.reshape(-1).astype(self.dtype)
        if not np.all(np.isfinite(flat)):
            raise InputError(
                f"the input is not finite as {self.dtype.name} at entry {int(np.argmin(np.isfinite(flat)))}"
            )
        return flat

    def logits(self, x: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """The logits (K,) that ONNX Runtime computes for one input."""
        result: npt.NDArray[np.floating] = self.replay.logits(self.vector(x)[np.newaxis])[0]
        return result

    def predict(self, x: npt.ArrayLike) -> int:
        """The class that ONNX Runtime predicts: the first largest logit."""
        return int(np.argmax(self.logits(x)))


def load(path: str | Path) -> Model:
    """Read an ONNX file. Raises InputError, one line, when it cannot be verified."""
    network = read_network(path)
    model = Model(Path(path), network, lower(network.graph))
    if model.classes < 2:
        raise InputError(f"{path}: the model has {model.classes} output; a classifier needs at least two")
    return model
