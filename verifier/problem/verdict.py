"""The answers: Violated, Holds or Unknown; a Witness; a Bracket; and the Budget under which they are sought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from verifier.problem.answer import Answer, Subject
from verifier.problem.phase_tree import PhaseTree


class Evidence(IntEnum):
    """What a lower end rests on, weakest first."""

    SOLVER = 1
    """A floating-point solver's word, within its tolerances."""
    EXACT = 2
    """An exact solver's word (Z3 over the rationals): no tolerance, but no proof that a stranger can check."""
    PROVED = 3
    """Bounds evaluated by this engine with every rounding error covered."""
    CERTIFIED = 4
    """A certificate that the independent checker, which shares no code with this engine, has found valid."""

    @property
    def label(self) -> str:
        return self.name.lower()


class Semantics(StrEnum):
    """Which network a lower end is about."""

    BOTH = "both"
    """The real one, and what holds for float32 beside it."""
    REAL = "real"
    """The network over the real numbers, with the exact weights of the file."""
    FLOAT32 = "float32"
    """Every float32 evaluation of it, in any order of summation: what is shipped."""


class Status(StrEnum):
    """What a bracket says as a whole."""

    MINIMAL = "minimal"
    """upper − lower ≤ precision."""
    BRACKETED = "bracketed"
    """The budget ended first; lower and upper hold all the same."""
    UNREACHABLE = "unreachable"
    """No point of the box is adversarial."""
    ALREADY_ADVERSARIAL = "already-adversarial"
    """The input itself is adversarial: distance 0."""


@dataclass(frozen=True, eq=False)
class Witness:
    """An input that fools the model.

    point: shape (n,), the model's own dtype, inside the box. distance: ‖point − input‖, rounded up to float64.
    exact_margin: the goal's smallest row in exact arithmetic, rounded down; onnxruntime_margin: the same from the
    logits that ONNX Runtime returned; predicted: the class that it predicts. classes: what it predicts under each
    transformation of the input, where the question is about several; `predicted` is the first of them.
    """

    point: npt.NDArray[np.floating]
    distance: float
    predicted: int
    exact_margin: float
    onnxruntime_margin: float
    target: int
    classes: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Witness at distance {self.distance:.6g}: class {self.predicted}, exact margin {self.exact_margin:.3g}>"
        )


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A point that satisfies what a property says must not be.

    point: shape (n,), the model's own dtype, inside the exact box. outputs (K,): what ONNX Runtime gives there;
    exact_outputs (K,): the network's values over the reals, each rounded towards 0 to a float64.
    exact_point: the point itself where it is no number of the dtype; then `point` is the nearest that is, and `outputs`
    are the file's there. Only questions about the real numbers alone have it.
    """

    point: npt.NDArray[np.floating]
    outputs: npt.NDArray[np.floating]
    exact_outputs: npt.NDArray[np.float64]
    exact_point: tuple[Fraction, ...] | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.6g}" for value in self.outputs[:SHOWN_OUTPUTS])
        return f"<Counterexample with outputs {shown}{', …' if self.outputs.size > SHOWN_OUTPUTS else ''}>"


SHOWN_OUTPUTS = 6
"""Of a counterexample, in its `repr`."""


@dataclass(frozen=True, eq=False)
class Violated:
    """A point of the region reaches the goal. `point` (n,) is the decider's claim: the caller judges it again."""

    point: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Holds:
    """No point of the region reaches the goal; `evidence` says what that rests on."""

    evidence: Evidence


@dataclass(frozen=True)
class Unknown:
    """Undecided, and why."""

    reason: str


Verdict = Violated | Holds | Unknown


@dataclass(frozen=True)
class Initial:
    """Where the search began: the attack that gave the first upper end, and its distance (inf when it found none)."""

    attack: str
    distance: float


@dataclass(frozen=True)
class Search:
    """What a search tree has cost so far: its engine, nodes explored, nodes still open, seconds spent on them.

    `engine` is LINEAR_BOUNDS where these alone decided, so that no tree was begun.
    """

    engine: str
    nodes: int
    open_nodes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Nodes a second; 0 before the first one."""
        return self.nodes / self.seconds if self.nodes and self.seconds > 0 else 0.0


@dataclass(frozen=True)
class OnLattice:
    """What a bracket over the inputs that can occur rests on, where these are points of a lattice.

    everywhere: no adversarial point of the whole box is nearer. lower, upper: the bracket over the rationals that the
    points stand for, squares in L2; None where distances are no multiples of anything, or there is no witness.
    """

    everywhere: float
    lower: Fraction | None
    upper: Fraction | None


LINEAR_BOUNDS = "linear bounds"
"""The engine of a search whose root needed no tree."""


@dataclass(frozen=True, eq=False, repr=False)
class Bracket(Answer):
    """lower ≤ d* ≤ upper for the distance d* to the nearest adversarial point.

    lower: no adversarial point of the box is closer (for what `evidence` is worth). upper: the distance of `witness`,
    infinite without one. `final` marks the last bracket of a search. `search` is None for methods without a tree.
    """

    lower: float
    upper: float
    witness: Witness | None
    evidence: Evidence
    precision: float
    status: Status
    initial: Initial
    target: int | None
    seconds: float
    reason: str = ""
    final: bool = False
    search: Search | None = None
    float32: float | None = None
    """Where it was asked for: no float32 evaluation of the network, in any order of summation, reaches the goal within
    this of the input; proved. `upper` is that of both worlds, since ONNX Runtime confirmed the witness."""
    about: Subject | None = None
    """What was asked; None inside a search."""
    trees: Mapping[int, PhaseTree] = field(default_factory=dict)
    """By target the search's split tree, where it was to be kept: where a search about a retrained network begins."""
    lattice: OnLattice | None = None
    """Where only some inputs can occur: d* is the distance to the nearest of these, and this is known besides."""

    @property
    def gap(self) -> float:
        return self.upper - self.lower
