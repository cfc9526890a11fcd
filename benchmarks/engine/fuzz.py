"""Random small networks against exact enumeration: `minimal` and `check` may not contradict it, once.

`python -m benchmarks.engine.fuzz` asks about 10,000 networks of one to four inputs (dense layers and convolutions,
pools, ReLU, LeakyReLU, Abs, Clip, Max; integer weights, under which ties are met exactly; dead, constant and
duplicate neurons; boxes with and without ends), in both norms. The truth is `exact_minimum`'s, in integers. Real
lower end ≤ truth ≤ upper end; closed means within the precision; `check` answers rightly just below and just above
the truth; no float32 point that ONNX Runtime sends to the goal lies within a float32 end. Every fourth network is
attacked as usual; the trees find every point of the others themselves. Exit code: 0: no contradiction; 1: there is
one.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx

import verifier
from benchmarks.engine.exact_minimum import Question, nearest
from benchmarks.engine.fuzz_nets import Fuzzed, random_question
from benchmarks.harness.arguments import above_zero, count
from benchmarks.harness.instances import compile_kernels, in_processes
from benchmarks.harness.record import RESULTS, Record, table
from encoders.errors import InputError
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Norm, distance_exact
from verifier.problem.verdict import Bracket, Holds, Status, Unknown, Violated
from verifier.search import initial_attack

SETTING = ("nets", "timeout", "block")
NOTE = (
    "A row: a block of networks in one norm. `contradictions` names the seed and what is wrong; `seconds` are wall "
    "seconds of the engine, `truth_seconds` of the enumeration; `points`: float32 points evaluated by ONNX Runtime."
)

PRECISIONS = (1e-3, 1e-3, 1e-4, 1e-5)

BESIDE = (0.0, 1e-9, 1e-6, 1e-3)
"""How far below and above the truth radii are checked, relatively; 0.0: the nearest floats."""

ATTACKED = 4
"""Every so-many-th network is attacked as usual."""

RANDOM = 16
"""Random float32 points of the box that are evaluated beside those next to the nearest one."""

WIDE = 4.0
"""How far random points go to a side on which the box is open."""


@dataclass(frozen=True)
class Row:
    """What a block of networks gave."""

    norm: str
    first: int
    nets: int
    closed: int
    unreachable: int
    already: int
    open: int
    held: int
    violated: int
    unknown: int
    points: int
    seconds: float
    truth_seconds: float
    contradictions: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    """Why brackets and checks stayed open, each once."""

    @property
    def key(self) -> tuple[Any, ...]:
        return self.norm, self.first


class Case:
    """One network in one norm: what the engine says, and what contradicts the truth."""

    def __init__(self, seed: int, norm: Norm, fuzzed: Fuzzed, model: verifier.Model, timeout: float) -> None:
        self.seed, self.norm, self.fuzzed, self.model = seed, norm, fuzzed, model
        self.question: Question = fuzzed.labelled(model.predict(fuzzed.centre))
        begun = time.perf_counter()
        self.truth = nearest(self.question, norm)
        self.truth_seconds = time.perf_counter() - begun
        self.wrong: list[str] = []
        self.reasons: set[str] = set()
        self.points = 0
        self._asked: dict[str, Any] = {
            "norm": norm.value,
            "box": fuzzed.box,
            "label": self.question.label,
            "target": self.question.target,
            "timeout": timeout,
        }

    @property
    def distance(self) -> Fraction | None:
        return None if self.truth is None else self.truth.distance

    def minimal(self) -> Bracket:
        """The bracket, compared with the truth."""
        precision = PRECISIONS[self.seed % len(PRECISIONS)]
        bracket: Bracket = verifier.minimal(self.model, self.fuzzed.centre, precision=precision, **self._asked)
        self.wrong += bracket_faults(bracket, self.distance)
        if bracket.witness is not None:
            self.wrong += self._witness_faults(bracket)
        if bracket.reason:
            self.reasons.add(bracket.reason)
        if bracket.float32:
            self._outside(bracket.float32, "the float32 end", strict=False)
        return bracket

    def checks(self) -> list[Any]:
        """The verdicts just below and just above the truth."""
        return [self._check(radius) for radius in radii(self.distance, BESIDE[self.seed // 4 % len(BESIDE)])]

    def _check(self, radius: float) -> Any:
        found = verifier.check(self.model, self.fuzzed.centre, radius, **self._asked)
        within = self.distance is not None and self.distance <= Fraction(radius)
        if isinstance(found.verdict, Holds) and within:
            self.wrong.append(f"check at {radius!r} holds, the truth is {float(self.distance or 0)!r}")
        if isinstance(found.verdict, Violated) and not within:
            self.wrong.append(f"check at {radius!r} is violated, the truth is {self.distance}")
        if isinstance(found.verdict, Unknown):
            self.reasons.add(found.reason)
        if found.float32:
            self._outside(radius, "a check for float32", strict=True)
        return found.verdict

    def _witness_faults(self, bracket: Bracket) -> Iterator[str]:
        witness = bracket.witness
        assert witness is not None
        exact = distance_exact(self.norm, witness.point, self.fuzzed.centre)
        if exact > Fraction(bracket.upper):
            yield f"the witness is farther than {bracket.upper!r}"
        if self.distance is None or exact < self.distance:
            yield f"a witness at {float(exact)!r} where the truth is {self.distance}"

    def _outside(self, radius: float, what: str, *, strict: bool) -> None:
        """No float32 point that ONNX Runtime sends to the goal may be nearer than this, or if strict as near."""
        points = np.unique(np.array(list(self._float32_points())), axis=0)
        logits = self.model.replay.logits(points)
        self.points += len(points)
        for point, values in zip(points, logits, strict=True):
            if max(values[self.question.targets]) < max(values):
                continue
            length = distance_exact(self.norm, point, self.fuzzed.centre)
            if math.isinf(radius) or length < Fraction(radius) or (strict and length == Fraction(radius)):
                self.wrong.append(f"{what} of {radius!r}, and ONNX Runtime reaches the goal at {float(length)!r}")

    def _float32_points(self) -> Iterator[npt.NDArray[np.float32]]:
        """Float32 points of the box beside the nearest adversarial point, and others drawn at random."""
        centre, (lo, hi) = self.fuzzed.centre, self.fuzzed.box
        rng = np.random.default_rng(self.seed)
        least, most = np.maximum(lo, centre - WIDE), np.minimum(hi, centre + WIDE)
        for _ in range(RANDOM):
            yield inside(rng.uniform(least, most), lo, hi)
        if self.truth is None:
            return
        exact = np.array([float(x) for x in self.truth.point])
        for step in (-1, 0, 1, 2):
            sides = [{float(np.float32(x)), float(beside(x, step))} for x in exact]
            for corner in itertools.product(*sides):
                yield inside(np.array(corner), lo, hi)


def beside(x: float, steps: int) -> np.float32:
    """The float32 so many steps from x, away from 0."""
    near = np.float32(x)
    return np.float32(near + steps * np.spacing(near))


def inside(x: npt.NDArray[np.float64], lo: Any, hi: Any) -> npt.NDArray[np.float32]:
    """The point in float32, in the box, whose finite ends are float32."""
    return np.clip(x, lo, hi).astype(np.float32)


def bracket_faults(bracket: Bracket, truth: Fraction | None) -> list[str]:
    """What in a bracket contradicts the least distance; None: there is no adversarial point."""
    wrong = []
    if math.isinf(bracket.lower) or (bracket.status is Status.UNREACHABLE):
        if truth is not None:
            wrong.append(f"unreachable, the truth is {float(truth)!r}")
    elif truth is not None and Fraction(bracket.lower) > truth:
        wrong.append(f"lower {bracket.lower!r} > {float(truth)!r}")
    if math.isfinite(bracket.upper) and (truth is None or Fraction(bracket.upper) < truth):
        wrong.append(f"upper {bracket.upper!r} < {truth}")
    if bracket.status is Status.MINIMAL and not bracket.gap <= bracket.precision:
        wrong.append(f"closed with a gap of {bracket.gap!r}")
    if bracket.status is Status.ALREADY_ADVERSARIAL and truth != 0:
        wrong.append(f"already adversarial, the truth is {truth}")
    return wrong


def radii(truth: Fraction | None, share: float) -> list[float]:
    """A radius on either side of the truth; one that holds all where there is none."""
    if truth is None:
        return [4.0]
    at, step = float(truth), share * float(truth)
    below, above = at - step, at + step
    while Fraction(below) >= truth and below > 0.0:
        below = math.nextafter(below, 0.0)
    while Fraction(above) < truth or above <= 0.0:
        above = math.nextafter(above, math.inf) if above > 0.0 else 1e-6
    return [radius for radius in (below, above) if radius > 0.0]


@contextmanager
def unattacked(wanted: bool) -> Iterator[None]:
    """The time in which attacks find nothing, where that is wanted."""

    def without(asked: Any, *_: Any, **__: Any) -> Any:
        return lambda _: [None] * len(asked.goals)

    if wanted:
        with patch.object(initial_attack, "attacker", without):
            yield
    else:
        yield


def block(first: int, nets: int, norm: Norm, timeout: float) -> Row:
    """Ask about the networks of seeds first … first + nets − 1."""
    with tempfile.TemporaryDirectory() as folder:
        return _block(first, nets, norm, timeout, Path(folder))


def _block(first: int, nets: int, norm: Norm, timeout: float, folder: Path) -> Row:
    brackets: list[Bracket] = []
    verdicts: list[Any] = []
    wrong: list[str] = []
    reasons: set[str] = set()
    points, truth_seconds, begun = 0, 0.0, time.perf_counter()
    for seed in range(first, first + nets):
        fuzzed, path = random_question(seed), folder / "net.onnx"
        onnx.save(fuzzed.model, path)
        with unattacked(seed % ATTACKED != 0):
            case = Case(seed, norm, fuzzed, verifier.load(path), timeout)
            brackets.append(case.minimal())
            verdicts += case.checks()
        wrong += [f"seed {seed}: {fault}" for fault in case.wrong]
        reasons |= case.reasons
        points, truth_seconds = points + case.points, truth_seconds + case.truth_seconds
    status = [bracket.status for bracket in brackets]
    kinds = [type(verdict) for verdict in verdicts]
    return Row(
        norm=norm.value,
        first=first,
        nets=nets,
        closed=status.count(Status.MINIMAL),
        unreachable=status.count(Status.UNREACHABLE),
        already=status.count(Status.ALREADY_ADVERSARIAL),
        open=status.count(Status.BRACKETED),
        held=kinds.count(Holds),
        violated=kinds.count(Violated),
        unknown=kinds.count(Unknown),
        points=points,
        seconds=time.perf_counter() - begun - truth_seconds,
        truth_seconds=truth_seconds,
        contradictions=tuple(wrong),
        reasons=tuple(sorted(reasons)),
    )


COUNTED = ("nets", "closed", "unreachable", "already", "open", "held", "violated", "unknown", "points")


def summary(rows: Sequence[Row]) -> str:
    """A line a norm."""
    lines = []
    for norm in FLAT_NORMS:
        chosen = [row for row in rows if row.norm == norm.value]
        counts = [str(sum(getattr(row, name) for row in chosen)) for name in COUNTED]
        seconds = [f"{math.fsum(getattr(row, name) for row in chosen):.0f}" for name in ("seconds", "truth_seconds")]
        lines.append((norm.value, *counts, *seconds, str(sum(len(row.contradictions) for row in chosen))))
    return table(("norm", *COUNTED, "engine s", "truth s", "contradictions"), lines)


def run(arguments: argparse.Namespace) -> list[Row]:
    """The rows; blocks that the record holds already are not run again."""
    record: Record[Row] = Record.of(arguments, SETTING, Row, note=NOTE)
    known = {row.key for row in record.rows}
    firsts = range(0, arguments.nets, arguments.block)
    todo = [
        (first, min(arguments.block, arguments.nets - first), norm, arguments.timeout)
        for first, norm in itertools.product(firsts, FLAT_NORMS)
        if (norm.value, first) not in known
    ]
    for row in in_processes(arguments.jobs, block, todo):
        record.add(row)
        print(f"{row.norm} {row.first}: {row.seconds:.1f} s", *row.contradictions, sep="\n  ", flush=True)
    return record.rows


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=count, default=10_000, help="networks (default: %(default)d)")
    parser.add_argument("--block", type=count, default=100, help="networks a row (default: %(default)d)")
    parser.add_argument("--timeout", type=above_zero, default=5.0, help="seconds a question (default: %(default)g)")
    parser.add_argument("--jobs", type=count, default=1, help="blocks at a time, each on one core")
    parser.add_argument("--out", type=Path, default=RESULTS / "fuzz.json", help="the JSON record, which is continued")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    arguments = parser.parse_args(words)
    try:
        compile_kernels()
        rows = run(arguments)
    except InputError as error:
        print(f"fuzz: error: {error}", file=sys.stderr)
        return 2
    print(summary(rows))
    return 1 if any(row.contradictions for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
