"""Branch and bound over the phases of one patch in float32: cases that are proposed, none of which proves anything.

A patch's network keeps the ReLUs that are open; what is active is folded into what reads it. Second-layer ReLUs are
split first: what those of the first layer lose shows only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.adam import AdamMoments
from verifier.bounds.relu_lines import relu_lines

_Floats = npt.NDArray[np.float32]
_Places = npt.NDArray[np.intp]

STEPS = 5
"""Evaluations of a case, with a step of its multipliers between two; eight gain nothing more for the same splits."""

STEP, SHRINKS = 0.3, 0.85
"""The first step of α, and of β in units of the row's mean size; each is so much of the one before."""

STARTS, DESCENTS = 8, 20
"""Points of a patch from which its least value is sought by steps along the gradient's sign, and how many."""

FAINT = 1e-3
"""What a ReLU's lines lose at most counts as so much of what they lose at the relaxation's point: there others pull."""

DESCENT = ((6, 1.0), (12, 0.4), (DESCENTS, 0.15))
"""Until which step of a descent it goes by how much of the box."""


@dataclass(frozen=True, eq=False)
class Patch:
    """ReLUs of the second stage, `rows`, that read the same ones of the first, `columns`, which read `inputs`."""

    rows: _Places
    columns: _Places
    inputs: _Places


class PatchLines(NamedTuple):
    """Bounds of all ReLU arguments, and slopes of their lower lines to begin with, (relu_count,) each."""

    lower: Array
    upper: Array
    alpha: Array


class PatchNetwork:
    """One patch: z₂ = reads h₁ + moves x + constants over its open ReLUs, z₁ = inputs x + offsets, and the form
    own·h₂ + direct·h₁ + slope·x + base that is to be bounded, the pull taken off."""

    def __init__(
        self,
        stages: Stages,
        interval: tuple[Array, Array],
        patch: Patch,
        row: Array,
        relus: PatchLines,
    ) -> None:
        """interval: of the input. row: over the patch's ReLUs of the second stage."""
        at = patch.columns, stages.starts[1] + patch.rows
        low, high, slopes = ([part[places] for places in at] for part in relus)
        self.open = [np.flatnonzero((low[k] < 0) & (high[k] > 0)) for k in (0, 1)]
        active = [low[k] >= 0 for k in (0, 1)]
        self.sizes = patch.columns.size, patch.rows.size
        first = stages.stages[0].blocks[0].matrix[patch.columns][:, patch.inputs].toarray()
        second = stages.stages[1].blocks[1].matrix[patch.rows][:, patch.columns].toarray()
        offset, constant = stages.stages[0].constant[patch.columns], stages.stages[1].constant[patch.rows]
        through = second[:, active[0]]
        moves, constant = through @ first[active[0]], constant + through @ offset[active[0]]
        (one, two), self.row = self.open, row
        reads = second[:, one]
        kept = row * active[1]
        self.inputs, self.offsets = _single(first[one]), _single(offset[one])
        self.reads, self.moves, self.constants = (_single(part[two]) for part in (reads, moves, constant))
        self.own, self.direct, self.base = _single(row[two]), _single(kept @ reads), np.float32(kept @ constant)
        self.middle, self.half = (_single(part[patch.inputs]) for part in _centred(interval))
        self.lines = [_UpperLines.of(low[k][self.open[k]], high[k][self.open[k]]) for k in (0, 1)]
        self.alpha = [_single(slopes[k][self.open[k]])[np.newaxis] for k in (0, 1)]
        self.slope = _single(kept @ moves)
        self.backward = self.inputs.T.copy(), self.reads.T.copy(), self.moves.T.copy()
        # The pull of its own lines: the relaxation's least value does not depend on x then.
        pull = self.sent(CasePhases.whole(self), *self.alpha)[-1][0]
        self.pull = pull.astype(np.float64)
        self.slope = self.slope - pull

    def sent(self, case: CasePhases, alpha: _Floats, beyond: _Floats) -> tuple[_Floats, _Floats, _Floats, _Floats]:
        """What the lines of cases send back: multipliers of z₂ (cases, ·), the pull at h₁, of z₁, and of x."""
        first, second = self.lines
        top = self.own * (np.where(self.own > 0, beyond, second.slope) * case.open[1] + case.active[1])
        top = top - case.beta[1] * case.phase[1]
        at_hidden = self.direct + top @ self.reads
        below = at_hidden * (np.where(at_hidden > 0, alpha, first.slope) * case.open[0] + case.active[0])
        below = below - case.beta[0] * case.phase[0]
        return top, at_hidden, below, self.slope + top @ self.moves + below @ self.inputs

    def value(self, case: CasePhases, sent: tuple[_Floats, _Floats, _Floats, _Floats]) -> _Floats:
        """The bounds of cases, about, (cases,)."""
        top, at_hidden, below, row = sent
        lost = (np.minimum(self.own, 0) * self.lines[1].intercept * case.open[1]).sum(axis=1)
        lost = lost + (np.minimum(at_hidden, 0) * case.open[0]) @ self.lines[0].intercept
        value = self.base + lost + top @ self.constants + below @ self.offsets
        return np.asarray(value + row @ self.middle - np.abs(row) @ self.half)

    def attained(self) -> float:
        """A value that a point of the patch attains, about the least."""
        draws = np.random.default_rng(0).uniform(-1.0, 1.0, (STARTS, self.middle.size)).astype(np.float32)
        draws[0] = 0.0
        points, best = self.middle + self.half * draws, np.inf
        inputs, reads, moves = self.backward
        for step in range(DESCENTS):
            first = points @ inputs + self.offsets
            hidden = np.maximum(first, 0)
            second = hidden @ reads + points @ moves + self.constants
            values = np.maximum(second, 0) @ self.own + hidden @ self.direct + points @ self.slope + self.base
            best = min(best, float(values.min()))
            top = self.own * (second > 0)
            gradient = self.slope + top @ self.moves + ((self.direct + top @ self.reads) * (first > 0)) @ self.inputs
            size = next(share for end, share in DESCENT if step < end)
            points = points - self.half * np.float32(size) * np.sign(gradient)
            points = np.clip(points, self.middle - self.half, self.middle + self.half)
        return best


class _UpperLines(NamedTuple):
    """The upper lines of open ReLUs: slopes and intercepts (·,)."""

    slope: _Floats
    intercept: _Floats

    @classmethod
    def of(cls, lower: Array, upper: Array) -> _UpperLines:
        lines = relu_lines(lower, upper)
        return cls(_single(lines.slope), _single(lines.intercept))


class CasePhases(NamedTuple):
    """Cases of a patch: for the open ReLUs of each layer, (cases, ·) the `phase`, 1 active, −1 inactive, 0 open; which
    are open and which active; and β."""

    phase: tuple[_Floats, _Floats]
    open: tuple[_Floats, _Floats]
    active: tuple[_Floats, _Floats]
    beta: tuple[_Floats, _Floats]

    @classmethod
    def of(cls, phases: tuple[_Floats, _Floats], beta: tuple[_Floats, _Floats]) -> CasePhases:
        first, second = phases
        return cls(phases, (_flags(first == 0), _flags(second == 0)), (_flags(first > 0), _flags(second > 0)), beta)

    @classmethod
    def whole(cls, network: PatchNetwork) -> CasePhases:
        nothing = tuple(np.zeros((1, places.size), np.float32) for places in network.open)
        return cls.of((nothing[0], nothing[1]), (nothing[0], nothing[1]))


class PatchCases:
    """The cases of a patch so far: together they are all of it."""

    def __init__(self, network: PatchNetwork) -> None:
        self.network = network
        self._unit = np.float32(np.abs(network.own).mean() if network.own.size else 1.0)
        whole = CasePhases.whole(network)
        self._found = self._bounded(whole.phase, [*network.alpha, *whole.beta], 1)
        self.first = self.value
        self._target = network.attained()

    def __len__(self) -> int:
        return len(self._found["value"])

    @property
    def value(self) -> float:
        """The least of the cases, about."""
        return float(self._found["value"].min())

    @property
    def gain(self) -> float:
        """What cases have gained on lines, about."""
        return self.value - self.first

    @property
    def gap(self) -> float:
        """How much more they could, about."""
        return self._target - self.value

    @property
    def splittable(self) -> bool:
        """Is there an open ReLU in the worst case?"""
        return bool(self._candidates(1).size)

    def _candidates(self, most: int) -> _Places:
        """The worst cases, that are below what a point attains and have something to split."""
        found = self._found
        worst = np.argsort(found["value"], kind="stable")[:most]
        able = (found["value"][worst] < self._target) & (found["scores"][worst].max(axis=1, initial=0.0) > 0.0)
        return np.asarray(worst[able])

    def split(self, most: int) -> int:
        """Split up to `most` of the worst cases; how many it were."""
        chosen = self._candidates(most)
        if not chosen.size:
            return 0
        found, count = self._found, chosen.size
        places = found["scores"][chosen].argmax(axis=1)
        phases = np.concatenate([found["phases"][chosen]] * 2)
        phases[np.arange(count), places], phases[count + np.arange(count), places] = 1.0, -1.0
        starts = [np.concatenate([found[name][chosen]] * 2) for name in _MULTIPLIERS]
        width = self.network.open[0].size
        self._carry(starts, places, width)
        made = self._bounded((phases[:, :width], phases[:, width:]), starts, STEPS)
        parents = {name: np.concatenate([found[name][chosen]] * 2) for name in _PROOF}
        worse = made["value"] < parents["value"]
        for name, part in parents.items():
            made[name][worse] = part[worse]
        rest = np.delete(np.arange(len(self)), chosen)
        self._found = {name: np.concatenate([part[rest], made[name]]) for name, part in found.items()}
        return count

    def _carry(self, starts: list[_Floats], places: _Places, width: int) -> None:
        """Let β of ReLUs that are split begin where their lower lines were: what is sent back stays as it was."""
        count, own = places.size, self.network.own
        rows = np.flatnonzero(places >= width)
        columns = places[rows] - width
        weights, slopes = np.maximum(own[columns], 0), starts[1][rows, columns]
        starts[3][rows, columns] = weights * (1 - slopes)
        starts[3][count + rows, columns] = weights * slopes

    def multipliers(self, cases: slice) -> tuple[Array, Array, Array]:
        """Phases, α and what β adds to ν, that bound some cases, (ReLUs, cases): the patch's first stage before its
        second. A case may be bounded as a part of a larger one."""
        network, found = self.network, self._found
        width, sizes = network.open[0].size, network.sizes
        places = np.concatenate([network.open[0], sizes[0] + network.open[1]])
        phases, alpha, beta = (np.zeros((sum(sizes), len(found["value"][cases]))) for _ in range(3))
        kept = found["proved"][cases]
        phases[places] = kept.T
        for part, slopes, multipliers in (
            (slice(0, width), "alpha1", "beta1"),
            (slice(width, None), "alpha2", "beta2"),
        ):
            alpha[places[part]] = found[slopes][cases].T
            beta[places[part]] = -(found[multipliers][cases] * kept[:, part]).T
        return phases, alpha, beta

    def _bounded(self, phases: tuple[_Floats, _Floats], starts: list[_Floats], steps: int) -> dict[str, Any]:
        """Cases with these phases by Adam's steps from these multipliers: the best of each."""
        network, now = self.network, list(starts)
        moves = [AdamMoments() for _ in now]
        best = np.full(len(phases[0]), -np.inf, np.float32)
        kept: list[_Floats] = []
        case = CasePhases.of(phases, (now[2], now[3]))
        for step in range(steps):
            case = case._replace(beta=(now[2], now[3]))
            sent = network.sent(case, now[0], now[1])
            value = network.value(case, sent)
            point = network.middle - network.half * np.sign(sent[-1])
            first, second = self._relaxed(case, now, sent[1], point)
            better = value > best
            current = [*now, first, second, sent[1]]
            if not kept:
                kept = [part.copy() for part in current]
            for old, new in zip(kept, current, strict=True):
                old[better] = new[better]
            best = np.maximum(best, value)
            if step + 1 < steps:
                gains = (
                    np.maximum(sent[1], 0) * first * case.open[0],
                    np.maximum(network.own, 0) * second * case.open[1],
                    -phases[0] * first,
                    -phases[1] * second,
                )
                size = np.float32(STEP * SHRINKS**step)
                moved = [
                    part + size * unit * move.step(gain)
                    for part, gain, move, unit in zip(
                        now, gains, moves, (np.float32(1), np.float32(1), self._unit, self._unit), strict=True
                    )
                ]
                now = [*(np.clip(alpha, 0, 1) for alpha in moved[:2]), *(np.maximum(beta, 0) for beta in moved[2:])]
        alpha, beyond, beta, further, first, second, at_hidden = kept
        scores = self._scores(case, alpha, beyond, first, second, at_hidden)
        return {
            "value": best,
            "phases": np.concatenate(phases, axis=1),
            "proved": np.concatenate(phases, axis=1),
            "scores": scores,
            **dict(zip(_MULTIPLIERS, (alpha, beyond, beta, further), strict=True)),
        }

    def _relaxed(
        self, case: CasePhases, now: list[_Floats], at_hidden: _Floats, point: _Floats
    ) -> tuple[_Floats, _Floats]:
        """The arguments of both layers at the relaxation's points."""
        network, lines = self.network, self.network.lines[0]
        inputs, reads, moves = network.backward
        first = point @ inputs + network.offsets
        line = np.where(at_hidden > 0, now[0] * first, lines.slope * first + lines.intercept)
        hidden = line * case.open[0] + first * case.active[0]
        return first, hidden @ reads + point @ moves + network.constants

    def _scores(
        self, case: CasePhases, alpha: _Floats, beyond: _Floats, first: _Floats, second: _Floats, at_hidden: _Floats
    ) -> _Floats:
        """How much each open ReLU (cases, ·) is worth splitting: what its lines lose at the relaxation's point; of the
        first layer only where none of the second is open."""
        network = self.network
        below, above = network.lines
        lost = _loss(at_hidden, first, alpha, below) * case.open[0]
        later = _loss(network.own, second, beyond, above) * case.open[1]
        lost *= case.open[1].sum(axis=1, keepdims=True) == 0
        return np.concatenate([lost, later], axis=1)


_MULTIPLIERS = "alpha1", "alpha2", "beta1", "beta2"

_PROOF = "value", "proved", *_MULTIPLIERS
"""What bounds a case: its value, about, and the phases and multipliers that give it."""


def _loss(weight: _Floats, argument: _Floats, alpha: _Floats, lines: _UpperLines) -> _Floats:
    value = np.maximum(argument, 0)
    lost = np.where(
        weight > 0, weight * (value - alpha * argument), -weight * (lines.slope * argument + lines.intercept - value)
    )
    return np.asarray(np.maximum(lost, 0) + np.float32(FAINT) * np.abs(weight) * lines.intercept)


def _centred(interval: tuple[Array, Array]) -> tuple[Array, Array]:
    lower, upper = interval
    return 0.5 * lower + 0.5 * upper, 0.5 * upper - 0.5 * lower


def _single(values: Array) -> _Floats:
    return np.ascontiguousarray(values, np.float32)


def _flags(which: npt.NDArray[np.bool_]) -> _Floats:
    return which.astype(np.float32)
