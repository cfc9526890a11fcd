"""A gate's file: a campaign's plan, and `[[require]]` tables that say what its inputs have to keep.

    models = ["net.onnx"]
    data = "digits"
    select = { count = 20 }

    [[require]]
    name = "every digit keeps 0.02"
    min_distortion = 0.02

A radius may be a quotient such as "8/255"; it is rounded up, since more is then required.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

from encoders.errors import InputError, there_are
from encoders.files.toml_file import read_toml
from verifier.campaign.plan.plan import Plan, belongs, plan_of
from verifier.gate.baseline import Baseline, read_baseline
from verifier.gate.verdict import Figure, Group, Judgement, Known, Ruling, averaged, counted
from verifier.problem.budget import Budget
from verifier.problem.quantities import at_least
from verifier.problem.query import Norm
from verifier.problem.verdict import Evidence
from verifier.search.settings import Settings

DISTRIBUTION = "relu-verifier"

OVER = ("inputs", "mean", "certified_accuracy")
"""What `no_worse_than` compares: each input, their mean, and certified accuracy at the baseline's radii."""


class Requirement(Protocol):
    """What is required of every group whose norm is `norm` (None: of each).

    of_correct: where the file selects with `correct = true`, it looks only at inputs that are classified as labelled;
    for the others what is misclassified counts as wrong all the same.
    """

    of_correct: ClassVar[bool]

    @property
    def name(self) -> str: ...

    @property
    def norm(self) -> str | None: ...

    @property
    def radii(self) -> tuple[float, ...]:
        """Where a baseline is to tell the certified accuracy."""
        ...

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        """The verdicts on one group of at least one input."""
        ...


@dataclass(frozen=True)
class MinDistortion:
    """Every input's minimal distortion exceeds `radius`: nothing within it is adversarial."""

    of_correct: ClassVar[bool] = True
    name: str
    radius: float
    norm: str | None = None

    @property
    def radii(self) -> tuple[float, ...]:
        return (self.radius,)

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        least = (min(one.lower for one in inputs), min(one.upper for one in inputs))
        figure = Figure("least minimal distortion", *least, self.radius)
        return [counted(self.name, group, inputs, [self.radius] * len(inputs), len(inputs), figure)]


@dataclass(frozen=True)
class Quantile:
    """The q-quantile of the minimal distortions, the ⌈q·n⌉-th smallest, exceeds `radius`."""

    of_correct: ClassVar[bool] = True
    name: str
    share: Fraction
    radius: float
    norm: str | None = None

    @property
    def radii(self) -> tuple[float, ...]:
        return (self.radius,)

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        place = max(1, math.ceil(self.share * len(inputs)))
        ends = [sorted(end)[place - 1] for end in ([one.lower for one in inputs], [one.upper for one in inputs])]
        figure = Figure(f"{float(self.share):g}-quantile of minimal distortion", ends[0], ends[1], self.radius)
        need = len(inputs) - place + 1
        return [counted(self.name, group, inputs, [self.radius] * len(inputs), need, figure)]


@dataclass(frozen=True)
class CertifiedAccuracy:
    """At least the share `least` of all inputs is classified as labelled, and robust within `radius`."""

    of_correct: ClassVar[bool] = False
    name: str
    least: Fraction
    radius: float
    norm: str | None = None

    @property
    def radii(self) -> tuple[float, ...]:
        return (self.radius,)

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        count = len(inputs)
        held = sum(one.holds(one.in_steps(self.radius)) for one in inputs)
        fallen = sum(one.falls(one.in_steps(self.radius)) for one in inputs)
        what = f"certified accuracy at {self.radius:g}"
        figure = Figure(what, held / count, (count - fallen) / count, float(self.least), share=True)
        need = math.ceil(self.least * count)
        return [counted(self.name, group, inputs, [self.radius] * count, need, figure)]


@dataclass(frozen=True)
class MeanDistortion:
    """The mean of the minimal distortions is at least `least`."""

    of_correct: ClassVar[bool] = True
    radii: ClassVar[tuple[float, ...]] = ()
    name: str
    least: float
    norm: str | None = None

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        return [averaged(self.name, group, inputs, self.least)]


@dataclass(frozen=True)
class NoWorse:
    """Nothing in `over` lies more than `by` below what the baseline has proved.

    What is misclassified now, and was not then, has got worse whatever `by` says. Inputs that the baseline lacks do not
    count; those that it has and nobody asks about any more leave undecided what does not fail.
    """

    of_correct: ClassVar[bool] = False
    radii: ClassVar[tuple[float, ...]] = ()
    name: str
    baseline: Baseline
    by: float
    over: tuple[str, ...] = OVER
    norm: str | None = None

    def judge(self, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        """Raises InputError where the baseline has none of the inputs."""
        proved = self.baseline.of(group)
        pairs = [(one, proved[one.identity]) for one in inputs if one.identity in proved]
        if not pairs:
            raise InputError(
                f"{self.baseline.path}: it has none of the inputs of {group.model.name} in {group.norm}: "
                "write a new one with --update-baseline"
            )
        shared = [one for one, _ in pairs]
        missing = len(inputs) - len(shared)
        lost = proved.keys() - {one.identity for one in shared}
        notes = [f"{missing} inputs are not in the baseline"] if missing else []
        if lost:
            names = named(self.baseline.called(group)[each] for each in lost)
            notes.append(f"inputs of the baseline that are not asked about any more: {names}")
        found = []
        if "inputs" in self.over:
            low = min(_change(one.lower, before, self.by) for one, before in pairs)
            high = min(_change(one.upper, before, self.by) for one, before in pairs)
            figure = Figure("least change of an input's minimal distortion", low, high, 0.0 - self.by)
            # What was at distance 0 cannot get worse; what is now has, if `by` is larger than the distance was or not.
            kept = [(one, before if one.wrong else max(0.0, before - self.by)) for one, before in pairs if before > 0.0]
            radii = [radius for _, radius in kept]
            each = f"{self.name}: each input"
            found.append(counted(each, group, [one for one, _ in kept], radii, len(kept), figure))
        if "mean" in self.over:
            mean = math.fsum(min(before, one.reach) for one, before in pairs) / len(pairs)
            found.append(averaged(f"{self.name}: mean", group, shared, max(0.0, mean - self.by)))
        less = f" less {self.by:g}" if self.by else ""
        if "certified_accuracy" in self.over:
            for radius in self.baseline.radii(group):
                at = max(0.0, radius - self.by)
                robust = sum(one.in_steps(before) >= one.in_steps(radius) for one, before in pairs)
                share = CertifiedAccuracy(
                    f"{self.name}: accuracy at {radius:g}{less}", Fraction(robust, len(pairs)), at
                )
                found += share.judge(group, shared)
        found = [replace(one, note="; ".join(notes)) for one in found]
        return [_undecided(one) if lost and one.ruling is Ruling.PASS else one for one in found]


def _undecided(one: Judgement) -> Judgement:
    return replace(one, ruling=Ruling.UNDECIDED, wishes=())


def _change(now: float, before: float, by: float) -> float:
    """now − before, 0 where neither has an end; rounding puts nothing below −by that lies at before − by and passes."""
    change = 0.0 if now == before else now - before
    return max(change, -by) if now >= before - by else change


@dataclass(frozen=True)
class Gate:
    """What is asked, and what is required of the answers. path: the file. certificates: are proofs certified?

    correct: the file says `correct = true` in its selection. The plan does not: which inputs are asked about must not
    depend on the model, or one that gets more of them wrong would be judged by easier ones.
    """

    path: Path
    plan: Plan
    requirements: tuple[Requirement, ...]
    correct: bool = False
    certificates: bool = True

    def judge(self, known: Mapping[Group, Sequence[Known]]) -> list[Judgement]:
        """Every requirement's verdict on every group that it looks at, in the file's order."""
        return [
            judgement
            for requirement in self.requirements
            for group, inputs in known.items()
            if requirement.norm in (None, group.norm)
            for judgement in self._judged(requirement, group, inputs)
        ]

    def _judged(self, requirement: Requirement, group: Group, inputs: Sequence[Known]) -> list[Judgement]:
        right = [one for one in inputs if not one.wrong]
        if not self.correct or not requirement.of_correct or not right or len(right) == len(inputs):
            return requirement.judge(group, inputs)
        names = named(one.name for one in inputs if one.wrong)
        note = f"correct = true: left out, since they are misclassified: {names}"
        return [replace(one, note=note) for one in requirement.judge(group, right)]


NAMED = 10
"""Inputs that a note names: the rest is counted."""


def named(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    known = sorted(names, key=lambda name: (len(name), name))
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return ", ".join(known[:NAMED]) + more


def read_gate(path: Path, flags: Mapping[str, Any] | None = None, *, baselines: bool = True) -> Gate:
    """The gate of a file, in whose plan `flags` replace keys. Raises InputError: file, key, and what would be right.

    baselines: False leaves out what compares with a baseline, which is about to be written.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file: {FILE_FORM}")
    told, _ = read_toml(path)
    tables = told.pop("require", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: require: tables are expected, each headed [[require]]")
    certificates = told.pop("certificates", True)
    if not isinstance(certificates, bool):
        raise InputError(f"{path}: certificates: {certificates!r}: true or false is expected")
    told = {"targets": "untargeted", "store": str(STORE / f"gate-{version(DISTRIBUTION)}.sqlite"), **told}
    plan = plan_of(told, path, flags or {}, ("require", "certificates"))
    _told_apart(path, "models are named", [model.name for model in plan.models])  # folders differ between checkouts
    if Settings(Budget(0.0), plan.method, plan.solver, plan.threads).decider.evidence is Evidence.SOLVER:
        raise InputError(
            f"{path}: method: what {plan.method} proves is a floating-point solver's word, within its tolerances, "
            "and a gate needs proofs: choose tree or z3"
        )
    named = [(f"{path}: [[require]] {place}", table) for place, table in enumerate(tables, 1)]
    requirements = [_requirement(where, table, path.parent, plan, baselines) for where, table in named]
    found = tuple(one for one in requirements if one is not None)
    if not found and baselines:
        raise InputError(f'{path}: it requires nothing: [[require]] with name = "…" and min_distortion = 0.02, say')
    _told_apart(path, "requirements are named", [one.name for one in found])
    for one in found:
        if isinstance(one, NoWorse):
            one.baseline.must_be_about(plan.columns)
    select = plan.select
    return Gate(path, replace(plan, select=replace(select, correct=False)), found, select.correct, certificates)


def _told_apart(path: Path, what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two {what} {name!r}: reports and baselines tell them apart by their names")


FILE_FORM = (
    'a plan with requirements is expected, such as models = ["net.onnx"], data = "inputs.npz", [[require]], '
    "min_distortion = 0.02 (docs/how-to/gate.md)"
)

STORE = Path(".verifier")
"""The folder beside the gate's file where answers are kept, in a store for each version of the engine."""

Maker = Callable[[str, str, dict[str, Any], Path, str | None], Requirement]


def _requirement(where: str, table: dict[str, Any], folder: Path, plan: Plan, baselines: bool) -> Requirement | None:
    """One table's requirement; None for one that compares with a baseline where these are left out."""
    kinds = [key for key in KINDS if key in table]
    _no_other_keys(where, table, tuple(OF_A_REQUIREMENT))
    if len(kinds) != 1:
        raise InputError(f"{where}: one of {', '.join(KINDS)} is expected, not {' and '.join(kinds) or 'none'}")
    kind = kinds[0]
    needed, allowed, make = KINDS[kind]
    _no_other_keys(where, table, ("name", "norm", kind, *needed, *allowed), f" beside {kind}")
    for key in needed:
        if key not in table:
            raise InputError(f"{where}: {key} is missing: it goes with {kind}")
    norm = table.get("norm")
    if norm is not None and norm not in plan.norms:
        raise InputError(f"{where}: norm: {norm!r}: the file's norms are {', '.join(plan.norms)}")
    if norm is None and len(plan.norms) > 1 and kind != "no_worse_than":
        raise InputError(f"{where}: norm is missing: one of {', '.join(plan.norms)}, which measure differently")
    name = table.get("name", f"{kind} = {table[kind]}")
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name: a text is expected")
    if kind == "no_worse_than" and not baselines:
        return None
    return make(where, " ".join(name.split()), table, folder, Norm(norm).value if norm is not None else None)


def _no_other_keys(where: str, table: Mapping[str, Any], known: Sequence[str], beside: str = "") -> None:
    for key in table:
        if key not in known:
            raise InputError(f"{where}: {key}: no such key{beside}; {belongs(key) or there_are(known, key)}")


def _distance(where: str, table: Mapping[str, Any], key: str, *, zero: bool = False) -> float:
    value = table[key]
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        number = at_least(value, f"{where}: {key}").value
        if math.isfinite(number) and (number > 0 or (zero and number == 0)):
            return number
    raise InputError(f'{where}: {key}: {value!r}: a distance {"≥" if zero else ">"} 0 is expected: 0.02, or "8/255"')


def _share(where: str, table: Mapping[str, Any], key: str) -> Fraction:
    value = table[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return Fraction(str(value))
    raise InputError(
        f"{where}: {key}: {value!r}: a share of the inputs, above 0 and at most 1, is expected: 0.9 for 90 %"
    )


def _min_distortion(where: str, name: str, table: dict[str, Any], _: Path, norm: str | None) -> Requirement:
    return MinDistortion(name, _distance(where, table, "min_distortion"), norm)


def _mean(where: str, name: str, table: dict[str, Any], _: Path, norm: str | None) -> Requirement:
    return MeanDistortion(name, _distance(where, table, "mean"), norm)


def _quantile(where: str, name: str, table: dict[str, Any], _: Path, norm: str | None) -> Requirement:
    return Quantile(name, _share(where, table, "quantile"), _distance(where, table, "at_least"), norm)


def _certified_accuracy(where: str, name: str, table: dict[str, Any], _: Path, norm: str | None) -> Requirement:
    share, radius = _share(where, table, "certified_accuracy"), _distance(where, table, "radius")
    return CertifiedAccuracy(name, share, radius, norm)


def _no_worse(where: str, name: str, table: dict[str, Any], folder: Path, norm: str | None) -> Requirement:
    given = table["no_worse_than"]
    if not isinstance(given, str) or not given:
        raise InputError(f"{where}: no_worse_than: {given!r}: the file of a baseline is expected")
    over = table.get("over", list(OVER))
    if not isinstance(over, list) or not over or any(one not in OVER for one in over):
        raise InputError(f"{where}: over: {over!r}: a list of {', '.join(OVER)} is expected")
    by = _distance(where, table, "by", zero=True) if "by" in table else 0.0
    return NoWorse(name, read_baseline(folder / given), by, tuple(over), norm)


KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Maker]] = {
    "min_distortion": ((), (), _min_distortion),
    "mean": ((), (), _mean),
    "quantile": (("at_least",), (), _quantile),
    "certified_accuracy": (("radius",), (), _certified_accuracy),
    "no_worse_than": ((), ("by", "over"), _no_worse),
}
"""The kinds of requirement: the keys that each needs, those that it may have, and what makes it."""
OF_A_REQUIREMENT = dict.fromkeys(
    ("name", *KINDS, "norm", *(key for needed, allowed, _ in KINDS.values() for key in (*needed, *allowed)))
)
"""Every key that some kind of requirement has."""
