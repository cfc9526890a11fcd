"""What an evidence pack states, in the terms of ISO/IEC 24029-2:2023, and what it takes for granted."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from verifier.gate.evidence_pack import EvidencePack, PackedInput
from verifier.problem.verdict import Evidence
from verifier.report.json_result import FLOAT32_ASSUMES
from verifier.report.norm_signs import NORM_SIGNS
from verifier.report.versions import METHOD_PACKAGES, versions

METHOD_WORDS: Mapping[str, str] = {
    "tree": "A search tree (branch and bound) over splits of ReLUs, with bounds by linear relaxations of which every "
    "rounding error is charged",
    "auto": "The same search tree, with points proposed by mixed-integer linear programs and an exact solver of linear "
    "arithmetic (SMT), which count for nothing else",
    "milp": "Binary search over mixed-integer linear programs by a floating-point solver",
    "milp-direct": "One mixed-integer linear program that minimises the distance, by a floating-point solver",
    "z3": "Binary search over an exact solver of linear arithmetic (SMT)",
}

LEVEL_WORDS: Mapping[str, str] = {
    "": "nothing proved",
    Evidence.SOLVER.label: "solver: a floating-point solver's word, within its tolerances",
    Evidence.EXACT.label: "exact: an exact solver's word",
    Evidence.PROVED.label: "proved: by this tool, with every rounding error charged",
    Evidence.CERTIFIED.label: "certified: by a certificate in this pack, which the checker has found valid",
}


@dataclass(frozen=True, eq=False)
class Statement:
    """A pack with what was noted when it was made: when, by which tool, in which environment, checked by what."""

    pack: EvidencePack
    made: datetime
    engine: str
    environment: Mapping[str, str]
    checkers: Mapping[str, str]
    """The sha256 of each file that re-proves the pack."""


@dataclass(frozen=True)
class StandardTerm:
    """A term of the standard, the clause that brings it, and what it is here."""

    name: str
    clause: str
    text: str


def environment() -> dict[str, str]:
    """The libraries' versions, and the machine."""
    packages = tuple(dict.fromkeys(name for names in METHOD_PACKAGES.values() for name in names))
    return {**versions(packages), "system": platform.platform(), "machine": platform.machine()}


def terms(pack: EvidencePack) -> list[StandardTerm]:
    """The pack in the standard's terms."""
    entries = pack.entries
    methods = list(dict.fromkeys(entry.task.method for entry in entries))
    return [
        StandardTerm("Domain", "5.2", _domain(entries)),
        StandardTerm("Stability property", "5.3.1", _property(entries)),
        StandardTerm("Stability criterion", "5.3.2", _criterion(pack)),
        StandardTerm("Formal method", "6.2", ". ".join(METHOD_WORDS.get(method, method) for method in methods) + "."),
        StandardTerm(
            "Complete or incomplete",
            "6.2.1.2",
            "Complete: given time, it decides every question. What the time did not suffice for is told as undecided, "
            "and counts neither as robust nor as refuted. Attacks and linear bounds, which are incomplete, only "
            "propose or shorten.",
        ),
        StandardTerm("Deterministic", "6.2.1.3", "Yes in one thread and without a time limit; these proofs always."),
        StandardTerm("Model aware", "6.2.1.4", "Yes (glass-box): every weight of the model's file is read."),
        StandardTerm("Arithmetic", "6.2.1.5", _arithmetic(pack)),
    ]


def _domain(entries: Sequence[PackedInput]) -> str:
    boxes = dict.fromkeys("a box of its own" if isinstance(one.box, str) else _box(one.box) for one in entries)
    norms = " or ".join(dict.fromkeys(NORM_SIGNS[one.task.norm] for one in entries))
    views = dict.fromkeys("; ".join(one.views) for one in entries if one.views)
    under = f" Examples count where they are adversarial under all of: {' / '.join(views)}." if views else ""
    inputs = "an input" if len(entries) == 1 else f"each of {len(entries)} inputs"
    return (
        f"For {inputs} x0 all points x within {' or '.join(boxes)}{_only(entries)}, over the real numbers, by their "
        f"distance ‖x − x0‖ in {norms}.{under}"
    )


def _only(entries: Sequence[PackedInput]) -> str:
    """Which points of the box can occur, where these are not all."""
    told = [one.task.columns.told for one in entries if one.task.columns is not None]
    return (
        f" that can occur ({' / '.join(dict.fromkeys(told))}; of points between them nothing is claimed)"
        if told
        else ""
    )


def _box(box: tuple[float, float]) -> str:
    return f"the box [{box[0]:g}, {box[1]:g}] in every entry"


def _property(entries: Sequence[PackedInput]) -> str:
    margins = {one.task.margin for one in entries if one.task.margin}
    free = [claim.target is None for one in entries for claim in one.claims]
    kept = "the model gives x the class that x0 is labelled with"
    aimed = "the model gives x none of the target classes that were asked about"
    what = kept if all(free) else aimed if not any(free) else f"{kept}, or {aimed}"
    by = f", an example having to win by a margin of {' or '.join(f'{one:g}' for one in margins)}" if margins else ""
    return f"At radius r: for all x of the domain with ‖x − x0‖ ≤ r {what}{by}. Ties count as adversarial."


def _criterion(pack: EvidencePack) -> str:
    names = dict.fromkeys(one.requirement for one in pack.source.judgements)
    if names:
        return f"The requirements below: {'; '.join(names)}."
    return "None is set: for each input the largest radius that is proved is told, and the least that is refuted."


def _arithmetic(pack: EvidencePack) -> str:
    ends = pack.lower_ends
    both = sum(claim.float32 is not None and claim.float32 >= claim.lower for claim in ends)
    certified = sum(claim.float32_certified >= claim.lower for claim in ends)
    return (
        f"Lower ends are about the network over the real numbers, with the exact weights of the file. {both} of "
        f"{len(ends)} hold for every float32 evaluation as well (computer arithmetic), under the assumptions below: "
        f"{certified} by their certificates, the others on the tool's own word. Witnesses are "
        "adversarial in exact arithmetic and in ONNX Runtime on the computer below."
    )


LIMITS = (
    "A certified lower end rests on checker.py, Python and numpy, and on what the ONNX standard says that the model's "
    "operators mean. It needs no trust in the tool that found it.",
    "A lower end that is not certified rests on the tool itself; beside each stands why it has no certificate.",
    "A model that is run in float32 may differ from real arithmetic near the radius. What is known of float32 is told "
    "beside it, and is re-proved as far as a certificate proves that too.",
    f"Every float32 evaluation means: {FLOAT32_ASSUMES}.",
    "A witness is one file with one input: that it is adversarial is evaluated exactly by checker.py's reader, and "
    "replayed in ONNX Runtime where reprove.sh finds that.",
    "What is said holds for the inputs of this pack, their labels as given, and the domain above: of other inputs, "
    "other perturbations, and of whether the labels are right, it says nothing. The intervals speak of a population, "
    "and only where the inputs were drawn from it at random.",
    "reprove.sh cannot vouch for itself: compare the sha256 of MANIFEST with the one that you were given apart from "
    "this folder, and checker.py with that of a release.",
    "The terms of ISO/IEC 24029-2 are used for orientation; this is no statement of conformity with the standard.",
)
