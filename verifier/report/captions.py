"""The words on pictures."""

from __future__ import annotations

from collections.abc import Sequence

from verifier.problem.verdict import Bracket, Status, Witness
from verifier.report.directed_rounding import directed, ends
from verifier.report.json_result import RunRecord
from verifier.report.norm_signs import NORM_SIGNS
from verifier.report.pictures import Cell


def bracket_words(run: RunRecord, bracket: Bracket) -> tuple[str, str]:
    """Title and note for one adversarial example."""
    norm = NORM_SIGNS[run.norm]
    lower, upper = ends(bracket.lower, bracket.upper, bracket.precision)
    if bracket.status is Status.ALREADY_ADVERSARIAL:
        return "Already adversarial: distance 0", f"the model does not prefer class {run.label} on the input itself"
    if bracket.status is Status.MINIMAL:
        only, such = (f" among {run.columns.told}", "such ") if run.columns is not None else ("", "")
        title = f"Minimal adversarial example{only}: {norm} distance {upper}"
        return title, f"no {such}adversarial example is closer than {lower} (evidence: {bracket.evidence.label})"
    if run.command == "attack":
        return f"Adversarial example: {norm} distance {upper}", "found by attack; nearer ones may exist"
    title = f"Adversarial example: {norm} distance {upper}"
    return title, f"not closed: the nearest one lies between {lower} and {upper} (evidence: {bracket.evidence.label})"


def check_words(run: RunRecord, witness: Witness) -> tuple[str, str]:
    """Title and note for the counterexample of a check."""
    distance = directed(witness.distance, up=True)
    return (
        f"Not robust within {run.radius_told}",
        f"an adversarial example at {NORM_SIGNS[run.norm]} distance {distance}",
    )


def panel_words(run: RunRecord, predicted: int, witness: Witness) -> tuple[str, str]:
    """What stands over the original and over the adversarial panel."""
    truth = f"predicted {predicted}" if predicted == run.label else f"label {run.label}, predicted {predicted}"
    if run.transforms is not None:
        before, after = (", ".join(map(str, classes)) for classes in (run.transforms.predicted, witness.classes))
        return f"original\nunder each: {before}", f"adversarial\nunder each: {after}"
    return f"original\n{truth}", f"adversarial\npredicted {witness.predicted}"


def grid_words(run: RunRecord, overall: Bracket) -> tuple[str, str]:
    """Title and note for the grid of all targets."""
    title = f"Nearest adversarial example for every target, {NORM_SIGNS[run.norm]}"
    if overall.witness is None:
        return title, f"class {run.label}: none found"
    lower, upper = ends(overall.lower, overall.upper, overall.precision)
    return (
        title,
        f"class {run.label}: the nearest is target {overall.witness.target} at {upper}; none closer than {lower}",
    )


def grid_cells(results: Sequence[Bracket]) -> list[Cell]:
    """One cell a target, the nearest first, those without an example last."""
    return [
        Cell(_cell_words(bracket), bracket.witness.point if bracket.witness else None)
        for bracket in sorted(results, key=lambda bracket: (bracket.upper, bracket.target or 0))
    ]


def _cell_words(bracket: Bracket) -> str:
    if bracket.witness is None:
        found = "unreachable" if bracket.status is Status.UNREACHABLE else "none found"
    else:
        found = ends(bracket.lower, bracket.upper, bracket.precision)[1]
        found = found if bracket.status is not Status.BRACKETED else f"at most {found}"
    return f"target {bracket.target}\n{found}"
