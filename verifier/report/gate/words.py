"""A gate's figures and inputs in words: the same in every format, rounded outwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from verifier.gate.proofs import Proofs
from verifier.gate.verdict import Figure, Judgement, Known, Ruling
from verifier.report.directed_rounding import directed
from verifier.report.norm_signs import NORM_SIGNS

PLACES = 5
"""Decimals of a distance: a hundredth of the default precision."""

RULING_WORDS: Mapping[Ruling, str] = {
    Ruling.PASS: "pass",
    Ruling.FAIL: "FAIL",
    Ruling.UNDECIDED: "undecided",
}


@dataclass(frozen=True, eq=False)
class GateRun:
    """A gate's answer: which file, every verdict, the exit code, how many questions were asked, in how many seconds.

    witnesses: where the pictures of witnesses lie, by the input's key. warned: undecided was allowed. proofs: what of
    the passed requirements is certified; None where that was not asked for.
    """

    path: Path
    judgements: tuple[Judgement, ...]
    ruling: Ruling
    code: int
    asked: int
    seconds: float
    version: str
    reason: str = ""
    witnesses: Mapping[str, Path] = field(default_factory=dict)
    warned: bool = False
    proofs: Proofs | None = None


def heading(judgement: Judgement) -> str:
    """Which model, in which norm, among which inputs."""
    group = judgement.group
    return f"{group.model.name}, {NORM_SIGNS[group.norm]}" + (f", only {group.only}" if group.only else "")


def figure_text(figure: Figure) -> str:
    """What was measured, as a band, against what is required of it.

    >>> figure_text(Figure("certified accuracy at 0.02", 0.9, 0.95, 0.9, share=True))
    'certified accuracy at 0.02: 90.0 % to 95.0 %, required ≥ 90 %'
    """
    if figure.share:
        low, high = (f"{directed(100 * end, up=up, places=1)} %" for end, up in _ends(figure))
        required = f"{100 * figure.threshold:g} %"
    else:
        low, high = (distance(end, up=up) for end, up in _ends(figure))
        required = f"{figure.threshold:g}"
    band = low if low == high else f"{low} to {high}"
    return f"{figure.what}: {band}, required ≥ {required}"


def _ends(figure: Figure) -> tuple[tuple[float, bool], tuple[float, bool]]:
    return (figure.lower, False), (figure.upper, True)


def distance(value: float, *, up: bool) -> str:
    """A distance rounded up or down; one that was written with so few decimals stays as it was written.

    >>> distance(0.03, up=False), distance(0.012345678, up=False), distance(0.012345678, up=True)
    ('0.03000', '0.01234', '0.01235')
    """
    if not math.isfinite(value):
        return "∞"
    written = f"{value:.{PLACES}f}"
    return written if float(written) == value != 0 else directed(value, up=up, places=PLACES, fixed=True)


def bracket_text(one: Known) -> str:
    """An input's bracket and what its lower end rests on."""
    if one.upper == 0.0 or one.wrong:
        return "misclassified as it is"
    ends = f"[{distance(one.lower, up=False)}, {distance(one.upper, up=True)}]"
    return f"{ends}, {one.evidence}" if one.lower > 0.0 else f"{ends}, nothing proved yet"


def deciding(judgement: Judgement, most: int) -> list[tuple[Known, Ruling]]:
    """The inputs that a reader wants to see: those that fail, then those that are undecided, the nearest first."""
    rulings = {one.key: judgement.ruling_of(place) for place, one in enumerate(judgement.inputs)}
    order = (Ruling.FAIL, Ruling.UNDECIDED)
    wanted = order if judgement.ruling is Ruling.FAIL else order[1:] if judgement.ruling is Ruling.UNDECIDED else ()
    if all(radius is None for radius in judgement.thresholds) and wanted:
        return [(one, judgement.ruling) for one in judgement.worst[:most]]
    return [(one, kind) for kind in wanted for one in judgement.worst if rulings[one.key] is kind][:most]


def summary(judgements: Sequence[Judgement]) -> str:
    """How many requirements passed, failed and are open.

    >>> summary([])
    'nothing is known of any requirement'
    """
    counts = {ruling: sum(one.ruling is ruling for one in judgements) for ruling in Ruling}
    parts = [f"{counts[Ruling.PASS]} pass", f"{counts[Ruling.FAIL]} fail", f"{counts[Ruling.UNDECIDED]} undecided"]
    return ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing is known of any requirement"
