"""What is known of the inputs, and what that says of a requirement: proved, refuted by witnesses, or undecided.

Each input has a bracket [lower, upper] on its minimal distortion: nothing within `lower` is adversarial, and a witness
lies at `upper`. A requirement is judged by the ends alone, so a verdict that was reached is never taken back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from verifier.problem.inputs.lattice import Lattice


class Ruling(StrEnum):
    """Three verdicts on a requirement; what is undecided never counts as passed."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Group:
    """The inputs that a requirement looks at together: those of one model in one norm. only: which points of the box
    were asked about, in words; "": all."""

    model: Path
    norm: str
    only: str = ""


@dataclass(frozen=True, eq=False)
class Known:
    """One input's bracket. key: the task's identity. reach: the farthest that any point of the box lies from it.

    score: how far the label's logit lies above the others', by which inputs are put in order before anything is known.
    wrong: the file says another class than the label, so that nothing holds of the input. lattice: the points that were
    asked about; None: all of the box.
    """

    key: str
    name: str
    identity: str
    label: int
    lower: float
    upper: float
    evidence: str
    reach: float = math.inf
    score: float = 0.0
    reason: str = ""
    wrong: bool = False
    lattice: Lattice | None = None

    def in_steps(self, radius: float) -> float:
        """A radius as it counts where only some inputs can occur: in their steps (`Lattice.in_steps`)."""
        return radius if self.lattice is None or not radius > 0 else self.lattice.in_steps(radius)

    def holds(self, radius: float) -> bool:
        """Is the input classified as labelled, and is it proved that nothing within the radius is adversarial?"""
        return self.lower >= radius and self.upper > 0.0 and not self.wrong

    def falls(self, radius: float) -> bool:
        """Does a witness lie within the radius? Within 0: is the input itself misclassified?"""
        return self.upper <= radius or (self.wrong and radius <= 0.0)

    def open(self, radius: float) -> bool:
        """Is neither known?"""
        return not self.holds(radius) and not self.falls(radius)

    @property
    def width(self) -> float:
        """How far the ends are apart, where no point of the box is farther than `reach`."""
        return min(self.upper, self.reach) - min(self.lower, self.reach)


@dataclass(frozen=True)
class Wish:
    """A question whose answer would help: is the input `key` robust within `radius`? None: its whole bracket."""

    key: str
    radius: float | None


@dataclass(frozen=True)
class Figure:
    """A band [lower, upper] in which the quantity that is required to reach `threshold` lies.

    share: it is a share of the inputs, not a distance.
    """

    what: str
    lower: float
    upper: float
    threshold: float
    share: bool = False


@dataclass(frozen=True, eq=False)
class Judgement:
    """A requirement's verdict on one group. thresholds: the radius at which each input was looked at, None: none.

    wishes: what is open, what settles most first. worst: the inputs that the verdict rests on, the nearest first.
    need: so many of the inputs have to be robust at their thresholds; None where only their mean counts.
    """

    requirement: str
    group: Group
    ruling: Ruling
    figure: Figure
    inputs: tuple[Known, ...]
    thresholds: tuple[float | None, ...]
    wishes: tuple[Wish, ...] = ()
    note: str = ""
    need: int | None = None

    def ruling_of(self, place: int) -> Ruling:
        """What is known of one input at its own threshold."""
        one, radius = self.inputs[place], self.thresholds[place]
        if radius is None or one.holds(radius):
            return Ruling.PASS
        return Ruling.FAIL if one.falls(radius) else Ruling.UNDECIDED

    @property
    def unknown(self) -> tuple[Wish, ...]:
        """What is not known of the inputs at their own thresholds, whether the verdict needs it or not."""
        pairs = zip(self.inputs, self.thresholds, strict=True)
        return tuple(Wish(one.key, radius) for one, radius in pairs if radius is not None and one.open(radius))

    @property
    def worst(self) -> tuple[Known, ...]:
        """The inputs, those first of which a witness is known nearest, then those of which least is proved."""
        return tuple(sorted(self.inputs, key=lambda one: (one.upper, one.lower, one.name)))


def counted(
    requirement: str,
    group: Group,
    inputs: Sequence[Known],
    radii: Sequence[float],
    need: int,
    figure: Figure,
) -> Judgement:
    """Are at least `need` of the inputs robust, each within its own radius, as it counts there (`Known.in_steps`)?

    Those are asked first that settle most: the weak ones while fewer falls than proofs are missing, else the strong.
    """
    radii = [one.in_steps(radius) for one, radius in zip(inputs, radii, strict=True)]
    pairs = list(zip(inputs, radii, strict=True))
    held = sum(one.holds(radius) for one, radius in pairs)
    fallen = sum(one.falls(radius) for one, radius in pairs)
    ruling = _ruling(held >= need, len(inputs) - fallen < need)
    open_pairs = [(one, radius) for one, radius in pairs if one.open(radius)]
    weak_first = len(inputs) - need + 1 - fallen <= need - held
    open_pairs.sort(key=lambda pair: (min(pair[0].upper, pair[0].reach), pair[0].score), reverse=not weak_first)
    wishes = tuple(Wish(one.key, radius) for one, radius in open_pairs) if ruling is Ruling.UNDECIDED else ()
    return Judgement(requirement, group, ruling, figure, tuple(inputs), tuple(radii), wishes, need=need)


def averaged(requirement: str, group: Group, inputs: Sequence[Known], threshold: float) -> Judgement:
    """Is the mean minimal distortion at least `threshold`? An input without examples counts with the box's `reach`."""
    lower, upper = mean_ends(inputs)
    ruling = _ruling(lower >= threshold, upper < threshold)
    widest = sorted((one for one in inputs if one.width > 0), key=lambda one: (-one.width, one.score))
    wishes = tuple(Wish(one.key, None) for one in widest) if ruling is Ruling.UNDECIDED else ()
    figure = Figure("mean minimal distortion", lower, upper, threshold)
    return Judgement(requirement, group, ruling, figure, tuple(inputs), (None,) * len(inputs), wishes)


def mean_ends(inputs: Sequence[Known]) -> tuple[float, float]:
    """The ends of the mean of the minimal distortions; none counts as farther than its box reaches."""
    pairs = [(min(one.lower, one.reach), min(one.upper, one.reach)) for one in inputs]
    lower, upper = (math.fsum(ends) / len(inputs) for ends in zip(*pairs, strict=True))
    return lower, upper


def _ruling(proved: bool, refuted: bool) -> Ruling:
    return Ruling.PASS if proved else Ruling.FAIL if refuted else Ruling.UNDECIDED


def overall(judgements: Sequence[Judgement]) -> Ruling:
    """Fail where one fails, else undecided where one is, else pass."""
    rulings = {one.ruling for one in judgements}
    return next((one for one in (Ruling.FAIL, Ruling.UNDECIDED) if one in rulings), Ruling.PASS)
