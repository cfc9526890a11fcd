"""The claims of an evidence pack, held against its certificates and witnesses: numpy and the pack's checker alone.

A lower end stands where its certificate is valid for just the input, box, norm, label, target, margin and radius that
are claimed; an upper end, where its witness reaches the goal in exact arithmetic at the distance that is claimed, and
in ONNX Runtime where that is installed. Figures and verdicts are counted anew from what is claimed, which has to agree,
and from what stands.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

EVIDENCE = "evidence.json"
REACH = 1e-9
"""Relative: the distance to a box's farthest corner is told rounded up."""

JsonObject = Mapping[str, Any]
"""An object of evidence.json."""


class ClaimsLog(Protocol):
    """Where it is said what stands."""

    def say(self, text: str) -> None: ...
    def fault(self, text: str) -> None: ...


@dataclass
class StandingEnds:
    """What is known of an input: nothing within `lower` is adversarial, and something at `upper` is."""

    lower: float = math.inf
    upper: float = math.inf


@dataclass
class Standing:
    """How many stand, of how many."""

    stand: int = 0
    all: int = 0

    def __str__(self) -> str:
        return f"{self.stand} of {self.all}"


def number(value: Any) -> float:
    """A number of evidence.json, where infinities are texts. Raises ValueError."""
    found = float(value) if isinstance(value, float | int | str) and not isinstance(value, bool) else math.nan
    if math.isnan(found):
        raise ValueError(f"{value!r} is no number")
    return found


def rounded_up(value: Fraction) -> float:
    """The least float64 that is not below `value`."""
    found = float(value)
    return found if Fraction(found) >= value else math.nextafter(found, math.inf)


@dataclass
class ReadModel:
    """A model of the pack: what is told of it, its bytes, the checker's reading, a session where there are some."""

    told: JsonObject
    path: Path
    content: bytes
    net: Any
    session: Any = None


@dataclass
class ClaimsCheck:
    """checker: the module of the pack's own checker; runtime: onnxruntime, None where it is not installed."""

    folder: Path
    checker: Any
    log: ClaimsLog
    runtime: Any
    models: Mapping[str, JsonObject]
    stands: dict[str, StandingEnds] = field(default_factory=dict)
    lowers: Standing = field(default_factory=Standing)
    float32: Standing = field(default_factory=Standing)
    witnesses: Standing = field(default_factory=Standing)
    uncertified: int = 0
    replayed: int = 0
    _read: dict[str, ReadModel] = field(default_factory=dict)

    def entry(self, told: JsonObject) -> None:
        """Check the claims of one input."""
        ends = self.stands[told["id"]] = StandingEnds()
        query = self._query(told)
        rooms = np.maximum(query.centre - query.lo, query.hi - query.centre)
        reach = float(rooms.max()) if query.norm == "linf" else math.fsum(rooms)
        if query.norm == "l2":
            reach = math.hypot(*rooms.tolist())
        self._agree(told, "reach", reach, within=REACH)
        for end in ("lower", "upper"):
            self._agree(told, end, min(number(claim[end]) for claim in told["claims"]))
        for claim in told["claims"]:
            target = claim["target"]
            place = f"{told['id']} {told['name']}" + ("" if target is None else f" → {target}")
            about, asked = self.models[told["model"]], replace(query, target=target)
            columns = told.get("columns")
            ends.lower = min(ends.lower, self._lower(place, about, asked, claim, grid_of(columns)))
            ends.upper = min(ends.upper, self._upper(place, about, asked, claim, columns))

    def _agree(self, told: JsonObject, name: str, found: float, within: float = 0.0) -> None:
        if not (number(told[name]) == found or abs(number(told[name]) - found) <= within * found):
            self.log.fault(f"{EVIDENCE}: input {told['id']}: its {name} is {found!r}, not {told[name]!r}")

    def _query(self, told: JsonObject) -> Any:
        """The question about any target. Raises OSError, ValueError, KeyError for arrays that are none."""
        centre = np.load(self.folder / told["file"], allow_pickle=False).ravel().astype(np.float64)
        if isinstance(told["box"], str):
            with np.load(self.folder / told["box"], allow_pickle=False) as box:
                ends = [box["lo"], box["hi"]]
        else:
            ends = [np.float64(number(end)) for end in told["box"]]
        lo, hi = (np.broadcast_to(np.asarray(end, dtype=np.float64), centre.shape) for end in ends)
        return self.checker.CheckedQuery(told["norm"], told["label"], None, number(told["margin"]), centre, lo, hi)

    def _model(self, told: JsonObject) -> ReadModel:
        """A model as the checker reads it, once. Raises InvalidError where it is not the one that is told of."""
        if told["id"] not in self._read:
            path = self.folder / told["file"]
            content = path.read_bytes()
            net = self.checker.read_network(content, path.parent)
            same = (net.digest, net.scores) == (told["sha256"], told["scores"])
            self.checker.need(same, f"{told['file']} is another model than the pack is about")
            self._read[told["id"]] = ReadModel(told, path, content, net)
        return self._read[told["id"]]

    def _lower(self, place: str, about: JsonObject, query: Any, claim: JsonObject, grid: int | None) -> float:
        """The lower end that its certificate proves, of a grid in steps: 0 without one."""
        lower = number(claim["lower"])
        if not lower > 0:
            return 0.0
        self.lowers.all += 1
        if claim["certificate"] is None:
            self.uncertified += 1
            self.log.say(f"{place}: lower end {lower!r} not certified: {claim['uncertified']}")
            return 0.0
        float32 = None if claim["float32_certified"] is None else number(claim["float32_certified"])
        self.float32.all += float32 is not None
        demands = self.checker.Demands(
            input=query.centre,
            box=(query.lo, query.hi),
            norm=query.norm,
            label=query.label,
            target="any" if query.target is None else query.target,
            margin=query.margin,
            radius=lower if grid is None else None,
            float32=float32 if grid is None else None,
            grid=grid,
        )
        try:
            model = self._model(about)
            content = (self.folder / claim["certificate"]).read_bytes()
            judged = self.checker.judged(content, model.content, demands, model.path.parent)
            reason = judged.reason
            if grid is not None and not reason:
                self._beyond(judged.result, lower, judged.result.lower)
                self._beyond(judged.result, float32 or 0.0, judged.result.float32)
        except (OSError, self.checker.InvalidError) as error:
            reason = str(error)
        if reason:
            self.log.fault(f"{place}: {claim['certificate']}: {reason}")
            return 0.0
        self.lowers.stand += 1
        self.float32.stand += float32 is not None
        rounded = "" if float32 is None else f", in float32 within {float32!r}"
        self.log.say(f"{place}: nothing within {lower!r} is adversarial{rounded}: {claim['certificate']}")
        return lower

    def _beyond(self, result: Any, lower: float, proved: float) -> None:
        """Raise InvalidError unless a ball's proof says that nothing of the grid lies within a lower end: by its steps,
        or in L2, whose steps' squares lie so close that rounding moves points past the next one, by the ball itself."""
        steps, grid = result.grid.steps(proved), result.grid
        enough = steps == lower if math.isinf(lower) else steps > steps_within(lower, grid.per, grid.power)
        reason = f"the certificate proves less than {lower!r}: none closer than {grid.told(steps)}"
        self.checker.need(not lower > 0 or enough or (grid.power > 1 and proved > lower), reason)

    def _upper(self, place: str, about: JsonObject, query: Any, claim: JsonObject, columns: JsonObject | None) -> float:
        """The upper end that its witness, which can occur, shows: inf without one."""
        told, upper = claim["witness"], number(claim["upper"])
        if told is None:
            if math.isfinite(upper):
                self.log.fault(f"{place}: an upper end without a witness")
            return math.inf
        self.witnesses.all += 1
        if told["unchecked"]:
            self.log.say(f"{place}: {told['file']} is not evaluated: {told['unchecked']}")
            return math.inf
        try:
            point = np.load(self.folder / told["file"], allow_pickle=False)
            occurs = columns is None or occurring(point.ravel(), query.centre, columns)
            self.checker.need(occurs, f"it is none of the inputs that can occur: {columns and columns['told']}")
            self._evaluate(self._model(about), query, point, upper)
        except (OSError, ValueError, self.checker.InvalidError) as error:
            self.log.fault(f"{place}: {told['file']}: {error}")
            return math.inf
        self.witnesses.stand += 1
        self.log.say(f"{place}: adversarial at {upper!r}: {told['file']}")
        return upper

    def _evaluate(self, model: ReadModel, query: Any, point: Any, upper: float) -> None:
        """Raise InvalidError unless the point is adversarial at that distance."""
        need, net = self.checker.need, model.net
        need(point.dtype == np.dtype(net.dtype) and point.size == net.size(net.input), "it is of another type or size")
        with np.errstate(all="ignore"):
            targets = query.targets(net.size(net.output))
            distance = self.checker.witnessed(net, query, point.ravel().astype(np.float64), targets)
        need(rounded_up(distance) == upper, f"its distance is {rounded_up(distance)!r}, not {upper!r}")
        if self.runtime is None:
            return
        if model.session is None:
            model.session = self.runtime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
        scores = model.session.run([model.told["output"]], {net.input: point})[0].ravel()
        found = int(scores[0] >= model.told["threshold"]) if scores.size == 1 else int(scores.argmax())
        reached = found != query.label if query.target is None else found == query.target
        need(reached, f"ONNX Runtime {self.runtime.__version__} predicts class {found} there")
        self.replayed += 1


def grid_of(columns: JsonObject | None) -> int | None:
    """The K of inputs k/K in the network's own units, which certificates are about; None: they are about a ball."""
    if columns is None or columns["grid"] is None:
        return None
    own = all(number(one) == unit for name, unit in (("offset", 0), ("scale", 1)) for one in columns[name])
    return int(columns["grid"]) if own else None


def steps_within(radius: float, grid: int, power: int) -> int:
    """The most steps of 1/grid within a radius, its end included, in L2 their square: what is k/grid, as near as
    float64 has it, counts as k."""
    count = Fraction(radius) * grid
    told = Fraction(round(count))
    return math.floor((told if float(told / grid) == radius else count) ** power)


def occurring(point: Any, centre: Any, columns: JsonObject) -> bool:
    """Is every entry that has steps the number of the point's dtype for a whole number of them, or the input's own, and
    of each group one 1, the others 0? Entry x is offset + scale·x in the units of the steps, 1/grid or 1."""
    steps = columns["grid"] or 1
    offset, scale = (np.array([number(one) for one in columns[name]]) * steps for name in ("offset", "scale"))
    groups = [np.array(group, dtype=np.intp) for group in columns["one_hot"]]
    whole = np.zeros(point.size, dtype=bool)
    whole[[*columns["integer"], *(column for group in groups for column in group)]] = True
    x = point.astype(np.float64)
    counts = np.rint(offset + scale * x)
    stands = ((counts - offset) / scale).astype(point.dtype) == point
    free = ~whole if columns["grid"] is None else np.zeros(point.size, dtype=bool)
    grouped = all(sorted(counts[group].tolist()) == [0.0] * (group.size - 1) + [1.0] for group in groups)
    return bool(np.all(free | stands | (x == centre))) and grouped


# ---------------------------------------------------------------------------------------------------------- verdicts


def robust(ends: Iterable[StandingEnds], radii: Iterable[float]) -> tuple[int, int]:
    """How many are proved robust, each within its radius, and how many are not refuted."""
    pairs = list(zip(ends, radii, strict=True))
    return sum(one.lower >= r for one, r in pairs), sum(one.upper > r for one, r in pairs)


def ruling(told: JsonObject, ends: Mapping[str, StandingEnds], reaches: Mapping[str, float]) -> str:
    """The verdict on a requirement: pass, fail or undecided. Of a mean, inputs count with what their box allows."""
    keys = [one["id"] for one in told["inputs"]]
    if told["need"] is not None:
        radii = [number(one["radius"]) for one in told["inputs"]]
        least, most = map(float, robust((ends[key] for key in keys), radii))
        needed = float(told["need"])
    else:
        least = math.fsum(min(ends[key].lower, reaches[key]) for key in keys) / len(keys)
        most = math.fsum(min(ends[key].upper, reaches[key]) for key in keys) / len(keys)
        needed = number(told["required"])
    return "pass" if least >= needed else "fail" if most < needed else "undecided"


def count(evidence: JsonObject, stands: Mapping[str, StandingEnds], log: ClaimsLog) -> None:
    """Count every figure and verdict from the ends that are claimed and from those that stand."""
    claimed = {one["id"]: StandingEnds(number(one["lower"]), number(one["upper"])) for one in evidence["inputs"]}
    reaches = {one["id"]: number(one["reach"]) for one in evidence["inputs"]}
    for group in evidence["groups"]:
        for one in group["accuracy"]:
            radii = [number(one["radius"])] * len(group["inputs"])
            told, found = (robust((ends[key] for key in group["inputs"]), radii) for ends in (claimed, stands))
            what = f"certified accuracy of {group['name']} in {group['norm']} at {radii[0]!r}"
            if told != (one["proved"], one["not_refuted"]):
                log.fault(f"{what}: its inputs say {told[0]} to {told[1]}, not {one['proved']} to {one['not_refuted']}")
            log.say(f"{what}: {told[0]} to {told[1]} of {len(radii)}; re-proved {found[0]} to {found[1]}")
    for one in evidence["requirements"]:
        told_ruling, found_ruling = (ruling(one, ends, reaches) for ends in (claimed, stands))
        what = f"requirement '{one['name']}' of {one['model']} in {one['norm']}"
        if told_ruling != one["ruling"]:
            log.fault(f"{what}: its inputs say {told_ruling}, not {one['ruling']}")
        log.say(f"{what}: {one['ruling']}; re-proved: {found_ruling}")


def checked(folder: Path, checker: Any, log: ClaimsLog) -> str:
    """Check all claims of a pack; the line that says what stands."""
    evidence: JsonObject = json.loads((folder / EVIDENCE).read_bytes())
    runtime = _onnxruntime()
    log.say(f"Python {sys.version.split()[0]}, numpy {np.__version__}, {sys.platform}")
    claims = ClaimsCheck(folder, checker, log, runtime, {one["id"]: one for one in evidence["models"]})
    for told in evidence["inputs"]:
        claims.entry(told)
    count(evidence, claims.stands, log)
    if runtime is None:
        log.say("ONNX Runtime is not installed here: witnesses were evaluated exactly, and not replayed in it")
    else:
        log.say(f"ONNX Runtime {runtime.__version__}: witnesses replayed: {claims.replayed}")
    return (
        f"reproved: {claims.lowers} lower ends, {claims.float32} of float32, {claims.witnesses} witnesses; "
        f"{claims.uncertified} not certified"
    )


def _onnxruntime() -> Any:
    with contextlib.suppress(Exception):  # whatever it raises where it does not work
        import onnxruntime  # noqa: PLC0415, it need not be there

        onnxruntime.set_default_logger_severity(4)
        return onnxruntime
    return None
