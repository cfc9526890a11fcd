"""What an attack is asked (`Case`, `AttackProblem`) and what it answers (`Candidates`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, frozen
from encoders.network.norm import Norm
from verifier.problem.rounding import down_to_single, up_to_single

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

LOWEST = np.float32(-3.4e38)  # stands for −∞ among float32 logits; a true infinity would turn 0 · ∞ into NaN


class Metric(StrEnum):
    """How an attack ranks its points: the norms of a problem, and L2 for the attacks that are defined by it."""

    LINF = "linf"
    L1 = "l1"
    L2 = "l2"


LENGTH: Mapping[Metric, Callable[[Array], Array]] = {
    Metric.LINF: lambda delta: np.abs(delta).max(axis=1),
    Metric.L1: lambda delta: np.abs(delta).sum(axis=1),
    Metric.L2: lambda delta: np.sqrt((delta**2).sum(axis=1)),
}
DUAL: Mapping[Metric, Metric] = {Metric.LINF: Metric.L1, Metric.L1: Metric.LINF, Metric.L2: Metric.L2}


@dataclass(frozen=True, eq=False)
class Case:
    """One question: the input x0, shape (n,), its label, and the target class (None: any class but the label).

    start: where the search begins, (n,); x0 where it is None. Distances are from x0 all the same.
    """

    x0: Array
    label: int
    target: int | None = None
    start: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x0", frozen(self.x0))
        if self.start is not None:
            object.__setattr__(self, "start", frozen(self.start))


@dataclass(frozen=True, eq=False)
class AttackProblem:
    """Several cases over one network, one norm and one box lo ≤ x ≤ hi (each (n,), infinite ends allowed).

    A targeted case asks for z_t ≥ z_i + margin for every i ≠ t, an untargeted one for z_i ≥ z_label + margin for some
    i ≠ label. Ties count, as everywhere in this engine. halves: where the gradient vanishes at every start half of the
    time is left, to a search that follows ones that leak; less where it does at some.
    """

    cases: tuple[Case, ...]
    classes: int
    norm: Norm
    lo: Array
    hi: Array
    margin: float = 0.0
    seed: int = 0
    halves: bool = False

    def __post_init__(self) -> None:
        for name in ("lo", "hi"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def size(self) -> int:
        return self.lo.size

    @cached_property
    def low32(self) -> Float32:
        """The smallest float32 vector that is ≥ lo."""
        return up_to_single(self.lo)

    @cached_property
    def high32(self) -> Float32:
        """The largest float32 vector that is ≤ hi."""
        return down_to_single(self.hi)

    @property
    def empty(self) -> bool:
        """True when no float32 point lies in the box."""
        return bool((self.low32 > self.high32).any())

    @cached_property
    def centres(self) -> Array:
        """Every x0 in float64: (cases, n)."""
        return np.array([case.x0 for case in self.cases]).reshape(len(self.cases), self.size)

    @cached_property
    def origins(self) -> Float32:
        """Every x0, rounded to float32 and clipped to the box: (cases, n)."""
        return self.clipped(self.centres)

    @cached_property
    def starts(self) -> Float32:
        """Where every search begins, rounded to float32 and clipped to the box: (cases, n)."""
        if all(case.start is None for case in self.cases):
            return self.origins
        begun = [case.x0 if case.start is None else case.start for case in self.cases]
        return self.clipped(np.array(begun).reshape(len(self.cases), self.size))

    @cached_property
    def own(self) -> Float32:
        """One-hot rows (cases, classes): the target of a targeted case, the label of an untargeted one."""
        chosen = [case.label if case.target is None else case.target for case in self.cases]
        return np.eye(self.classes, dtype=np.float32)[chosen]

    @cached_property
    def sign(self) -> Float32:
        """+1 for targeted cases, −1 for untargeted ones: (cases, 1)."""
        return np.array([[-1.0 if case.target is None else 1.0] for case in self.cases], dtype=np.float32)

    def clipped(self, points: npt.ArrayLike) -> Float32:
        """Points (batch, n) as float32 inside the box, the rounding included."""
        with np.errstate(over="ignore"):
            rounded = np.asarray(points).astype(np.float32)
        return np.minimum(np.maximum(rounded, self.low32), self.high32)

    def gap(self, cases: Indices, logits: npt.NDArray[Any]) -> Array:
        """f(x) = sign · (max_{i≠own} z_i − z_own) + margin, which is ≤ 0 exactly on the goal: (batch,).

        Row j of `logits` (batch, classes) belongs to case cases[j].
        """
        own = self.own[cases] > 0
        rival = np.where(own, -np.inf, logits).max(axis=1)
        value = np.where(own, logits, 0.0).sum(axis=1)
        return np.asarray(self.sign[cases, 0] * (rival - value) + self.margin, dtype=np.float64)

    @property
    def metric(self) -> Metric:
        """The problem's norm as a metric."""
        return Metric(self.norm.value)

    def length(self, metric: Metric, cases: Indices, points: Float32) -> Array:
        """‖points[j] − x0 of case cases[j]‖ in `metric`, in float64: (batch,)."""
        return LENGTH[metric](points.astype(np.float64) - self.centres[cases])


@dataclass(frozen=True, eq=False)
class Candidates:
    """An attack's answer, one entry per case; a claim, to be judged again by whoever asked.

    points: (n,) float32 inside the box, or None where nothing was found. distances: (cases,), ‖point − x0‖, infinite
    for None. evaluations: the number of gradients (rows of a batch) that were computed.
    flat: the open cases at whose starts the gradient vanishes, or all of them where none was computed.
    """

    points: tuple[Float32 | None, ...]
    distances: Array
    evaluations: int
    flat: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    @property
    def found(self) -> int:
        """The number of cases with a point."""
        return sum(point is not None for point in self.points)

    def nearer(self, places: Indices, others: Candidates) -> Candidates:
        """For each case the nearer point, where others[j] belongs to case places[j]."""
        points, distances = list(self.points), self.distances.copy()
        for place, point, distance in zip(places.tolist(), others.points, others.distances.tolist(), strict=True):
            if distance < distances[place]:
                points[place], distances[place] = point, distance
        evaluations = self.evaluations + others.evaluations
        return replace(self, points=tuple(points), distances=distances, evaluations=evaluations)
