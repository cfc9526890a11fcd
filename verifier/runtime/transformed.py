"""A question about several transformations of the input at once: copies f(T_k x) of the network that share x.

A point is adversarial when it is so under every T_k (expectation over transformation, Athalye et al. 2018, as a
conjunction over a finite set). For a target t that is z_kt ≥ z_kj for every copy k and class j: half-spaces over all
copies' logits. Untargeted, the label has to be lost in every copy, to any class of its own: with c the label,
u_k = max_j z_kj − z_kc ≥ 0, the maxima as nodes of the graph. Either way one polyhedron: every method answers as ever.

T_k x is real arithmetic in what is proved and in the exact part of what is judged. ONNX Runtime gets T_k x evaluated in
float64 and rounded to the model's dtype, as would anyone who transforms the picture and runs the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph
from encoders.passes.from_transforms import Transforms, read_transforms
from encoders.passes.lower import lower
from encoders.passes.stacked_copies import copies, with_rivals
from verifier.problem.inputs.image_layout import image_layout
from verifier.problem.query import ELSEWHERE, Halfspaces, Targeted, disjuncts
from verifier.runtime.model import Model
from verifier.runtime.replay import FloatArray


def load_transforms(model: Model, path: str | Path) -> Transforms:
    """Read a file of transformations of the model's input. Raises InputError, one line."""
    from encoders.passes.image_maps import Grid  # noqa: PLC0415, most questions are about the input as it is

    layout = image_layout(model.network.input_shape)
    grid = None if layout is None else Grid(layout.height, layout.width, layout.channels, layout.channels_first)
    return read_transforms(Path(path), model.graph.input_size, grid)


Goals = tuple[tuple[int, Halfspaces], ...]


@dataclass(frozen=True, eq=False)
class Copies:
    """The copies of a model as one network. `rivals`: after all logits comes u_k for each copy, about `label`."""

    model: Model
    transforms: Transforms
    label: int
    rivals: bool

    @property
    def count(self) -> int:
        return len(self.transforms.maps)

    @cached_property
    def graph(self) -> Graph:
        """The copies as read: Max and other nodes are still there."""
        graph = copies(self.model.network.graph, self.transforms.maps)
        return with_rivals(graph, self.count, self.label) if self.rivals else graph

    @cached_property
    def lowered(self) -> Graph:
        return lower(self.graph)

    def goals(self, targets: Sequence[int], margin: float) -> Goals:
        """The half-spaces for each target that all copies are to share; with rivals, the one goal ELSEWHERE."""
        classes = self.model.classes
        if self.rivals:
            rows: Array = np.eye(self.count, self.count * (classes + 1), self.count * classes)
            return ((ELSEWHERE, Halfspaces(rows, np.full(self.count, -margin))),)
        each = [(target, disjuncts(Targeted(target, margin), classes)[0][1]) for target in targets]
        eye: Array = np.eye(self.count)
        return tuple(
            (target, Halfspaces(np.kron(eye, goal.matrix).astype(np.float64), np.tile(goal.offset, self.count)))
            for target, goal in each
        )

    def logits(self, points: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """What ONNX Runtime computes for points (B, n): each copy's logits, one run each, then u_k where asked for."""
        found = []
        for point in np.atleast_2d(np.asarray(points)):
            each = _each(self.model.replay.logits, self.model, self.transforms, point)
            others = np.delete(each, self.label, axis=1).astype(np.float64)
            rivals = others.max(axis=1) - each[:, self.label] if self.rivals else np.zeros(0)
            found.append(np.concatenate([each.reshape(-1).astype(np.float64), rivals]))
        return np.array(found)

    def outputs(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The logits, and the file's own output for each copy, one after the other."""
        logits = self.logits(points)
        if not self.rounds:
            return logits, logits[:, : self.count * self.model.classes]
        rows = np.atleast_2d(np.asarray(points))
        each = [_each(self.model.replay.scores, self.model, self.transforms, point).reshape(-1) for point in rows]
        return logits, np.array(each)

    @property
    def rounds(self) -> bool:
        """Does the file's own output round different logits to the same?"""
        return self.model.replay.rounds

    def classes(self, scores: FloatArray) -> tuple[int, ...]:
        """The class that each copy predicts, by the file's own output for it."""
        return tuple(self.model.replay.classes(each)[0] for each in scores.reshape(self.count, -1))


def views(model: Model, transforms: Transforms, x: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """T_k x for each k, (count, n): evaluated in float64, rounded to the model's dtype."""
    point = np.asarray(x, dtype=np.float64).reshape(1, -1)
    with np.errstate(over="ignore"):
        return np.concatenate([linear.apply(point) for linear in transforms.maps]).astype(model.dtype)


def predictions(model: Model, transforms: Transforms, x: npt.ArrayLike) -> tuple[int, ...]:
    """The class that ONNX Runtime predicts for each T_k x."""
    return tuple(model.replay.classes(scores)[0] for scores in _each(model.replay.scores, model, transforms, x))


def _each(
    run: Callable[[FloatArray], FloatArray], model: Model, transforms: Transforms, x: npt.ArrayLike
) -> FloatArray:
    """What `run` gives for each T_k x, (count, m): runs of single inputs, since a batch may differ in the last bits."""
    return np.concatenate([run(view[np.newaxis]) for view in views(model, transforms, x)])
