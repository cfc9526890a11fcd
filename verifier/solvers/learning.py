"""A search over phases of ReLUs by propagation over rows, without any LP, that learns a nogood from each contradiction.

For networks with logic in them: where rows are sparse, bounds of inputs and phases imply each other, and few
contradictions teach what a tree would meet again and again (conflict-driven clause learning; Marques-Silva & Sakallah
1999). A contradiction without any decision proves that nothing reaches the goal. Each node's middle, and the corner of
the box next to it, are looked at as points that reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.box_part import Places
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.kernels import cache
from verifier.solvers.propagation.conflict import Learned, learned
from verifier.solvers.propagation.folding import folded
from verifier.solvers.propagation.influence import Influence
from verifier.solvers.propagation.propagate import CROSSED, MORE, implied, propagate
from verifier.solvers.propagation.rows import RowMaker, RowSystem, SignedRow, rows_of
from verifier.solvers.propagation.trail import DECIDED, FIRST_NOGOOD, Nogoods, Trail, no_nogoods, trail_of

PROPAGATION = "propagation"
"""What an answer calls this search."""

ENTRIES = 1 << 17
"""Of all blocks, up to which propagation is tried: waves over more take longer than they say."""

SPARSE = 0.5
"""The largest share of nonzeros in the blocks of a network for which it is tried: dense rows imply little."""

FRUITFUL = 8
"""Decisions a contradiction, at most, of a search that is worth its time: on formulas it takes two to four."""

NARROW = 1e-6
"""The width below 0 or above it from which an open ReLU is decided with the others: rounding leaves smaller ones."""


@dataclass(frozen=True)
class LearningSettings:
    """What the search does; the defaults are what the lab book's table of sat_relu chose."""

    conflicts: int = 20_000
    """Contradictions after which it is given up."""
    idle: int = 128
    """Decisions beyond FRUITFUL a contradiction after which it is given up: lattices of minima are sparse, too."""
    candidates: int = 16
    """Points are looked at until the first contradiction, then at every so-many-th decision."""
    refusals: int = 16
    """Points that the judge has refused after which the search is given up."""
    kernels: bool | None = None
    """By the compiled kernels: None for where they are at hand."""
    numpy_first: int = 192
    """Contradictions before kernels are loaded that are not yet: that takes longer than a short search without them."""


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Of a row λ · goal + Σ ν · definition, ν before it was rounded: what a certificate needs."""

    weights: Array
    nu: Array


@dataclass(frozen=True, eq=False)
class Derivation:
    """Literals that never hold together, none where the steps need none: `reasons` that raise the ends `raised`, one
    after the other, until of literals two ends cross or a row is violated. Reasons and NONE as on a trail."""

    end: Places
    value: Array
    reasons: Places
    raised: Places


class Engine(Protocol):
    """Propagates, and learns from contradictions."""

    def propagate(self, nogoods: Nogoods, heads: Places, clash: Places) -> int: ...
    def learn(self, nogoods: Nogoods, starts: Places, clash: Places) -> Learned: ...


@dataclass(frozen=True, eq=False)
class NumpyEngine:
    """With numpy: slower, and the reference of the kernels."""

    rows: RowSystem
    trail: Trail
    inputs: int

    def propagate(self, nogoods: Nogoods, heads: Places, clash: Places) -> int:
        return propagate(self.rows, nogoods, self.trail, heads, clash)

    def learn(self, nogoods: Nogoods, starts: Places, clash: Places) -> Learned:
        return learned(self.rows, nogoods, self.trail, self.inputs, starts, clash)


def pays(stages: Stages) -> bool:
    """Are the network's rows few and sparse enough?"""
    blocks = [block.matrix for stage in stages.hidden for block in stage.blocks.values()]
    filled = sum(int(np.count_nonzero(m)) if isinstance(m, np.ndarray) else int(m.nnz) for m in blocks)
    size = sum(m.shape[0] * m.shape[1] for m in blocks)
    return bool(0 < filled <= min(ENTRIES, SPARSE * size))


class LearningSearch:
    """The search for one goal in one box; lower, upper (relu_count,) are proved there.

    closed: nothing reaches the goal. stuck: it was given up. A proof consists of the nogoods, in the order in which
    they were learned, and of the rows behind the definitions: `about_goal` has their multipliers, None for a row of the
    goal itself. look: called while rows are made, which takes seconds of many ReLUs; what it raises ends that. notes:
    keep how each nogood was come to, and what holds without any decision (`derivations`).
    """

    def __init__(
        self,
        stages: Stages,
        ball: Ball,
        goal: Halfspaces,
        lower: Array,
        upper: Array,
        settings: LearningSettings | None = None,
        look: Callable[[], None] = lambda: None,
        notes: bool = False,
    ) -> None:
        self.derivations: list[Derivation] = []
        self._notes = notes
        self.stages, self.ball, self.goal, self.settings = stages, ball, goal, settings or LearningSettings()
        self.inputs, self.relus = stages.input_size, stages.relu_count
        self.variables = self.inputs + self.relus
        self.about_goal: list[Multipliers | None] = []
        low, high = ball.interval
        self.trail = trail_of(np.concatenate([low, lower]), np.concatenate([high, upper]))
        self.closed, self.stuck = False, not bool(np.all(np.isfinite(self.trail.bound)))
        self.rows = self._made(lower, upper, look)
        self.nogoods = no_nogoods()
        self.conflicts = self.decisions = 0
        self._heads, self._clash = np.full(2, -1, dtype=np.int64), np.zeros(2, dtype=np.int64)
        self._starts: list[int] = []
        self._saved = np.zeros(self.relus, dtype=np.int8)
        self._refused: set[bytes] = set()
        self._offered = b""
        self._folded = False
        self._numpy = NumpyEngine(self.rows, self.trail, self.inputs)
        self._compiled: Engine | None = None

    @property
    def nodes(self) -> int:
        """Decisions, and contradictions that began another branch."""
        return self.decisions + self.conflicts

    def _made(self, lower: Array, upper: Array, look: Callable[[], None]) -> RowSystem:
        """Definitions first, then the goal's rows, and what CROWN's multipliers make of these and their sum."""
        lagrangian = Lagrangian(self.stages, self.ball, self.goal, lower, upper)
        self._little = NARROW + 2.0 * float(
            (lagrangian.rate * lagrangian.goal_size + lagrangian.slack).max(initial=0.0)
        )
        maker, count = RowMaker(self.stages, lagrangian), len(self.goal.offset)
        made = maker.definitions(look)
        about_goal: list[tuple[SignedRow, Multipliers | None]] = [(row, None) for row in maker.goal_rows()]
        for weights in [*np.eye(count), *([np.full(count, 1.0 / count)] if count > 1 else [])]:
            nu = lagrangian.crown(weights, lower, upper).nu
            about_goal.append((maker.aggregated(weights, nu), Multipliers(weights, nu)))
        for row, multipliers in about_goal:
            if row.variable.size:
                self.about_goal.append(multipliers)
                made.append(row)
            elif row.constant < 0:
                self.closed = True
        return rows_of(made, self.variables)

    def refuse(self) -> None:
        """The point that was found last is no witness."""
        self._refused.add(self._offered)
        self.stuck = self.stuck or len(self._refused) >= self.settings.refusals

    def explore(self, budget: Budget) -> Array | None:
        """A point (n,) that reaches the goal, as floats see it; None: the search is closed or stuck.

        Raises OutOfTimeError; the search can be gone on with.
        """
        while not (self.closed or self.stuck):
            budget.check()
            done = self._engine(budget).propagate(self.nogoods, self._heads, self._clash)
            if done == MORE:
                continue
            if done == CROSSED:
                self._contradicted(budget)
                continue
            if not self._starts:
                if self._settles():
                    continue
                self._commit()
            relu = self._chosen()
            if relu < 0 or not self.conflicts or self.decisions % self.settings.candidates == 0:
                point = self._candidate()
                if point is not None:
                    return point
            self._decide(relu)
        return None

    def _engine(self, budget: Budget) -> Engine:
        if self._compiled is None and self.settings.kernels is not False and self._kernels_pay(budget):
            from verifier.solvers.compiled_learning import CompiledEngine  # noqa: PLC0415 (imports numba: half a second)

            self._compiled = CompiledEngine(self.rows, self.trail, self.inputs)
        return self._compiled or self._numpy

    def _kernels_pay(self, budget: Budget) -> bool:
        if self.settings.kernels:
            return True
        if cache.loaded():
            return True
        return self.conflicts >= self.settings.numpy_first and cache.at_once(budget.remaining)

    def _commit(self) -> None:
        """What is on the trail holds without any decision, and rows are what it leaves of them."""
        if self._folded and not self.trail.length[0]:
            return
        self._note(np.zeros(0, dtype=np.int64), np.zeros(0))
        self.trail.commit()
        self._heads[:] = 0
        self.rows, self._folded = folded(self.rows, self.trail.known, self.inputs, self._little), True
        self._influence = Influence(self.rows, self.inputs, self.relus)
        self._numpy, self._compiled = NumpyEngine(self.rows, self.trail, self.inputs), None

    def _settles(self) -> bool:
        """Take over what settles phases but for a little before the first decision, which waves pass over where ranges
        are wide; is there anything?"""
        if self._folded:
            return False
        rows, trail, before = self.rows, self.trail, int(self.trail.length[0])
        ends, values, reasons = implied(rows, np.arange(rows.constant.size), trail, np.zeros(2, dtype=np.int64))
        phases = ends % self.variables >= self.inputs
        for place in np.flatnonzero(phases & (trail.bound[ends] < -self._little) & (values >= -self._little)):
            trail.push(int(ends[place]), float(values[place]), int(reasons[place]))
        return int(trail.length[0]) > before

    def _contradicted(self, budget: Budget) -> None:
        """Learn from a contradiction, and go back to where what it teaches implies a phase."""
        self.conflicts += 1
        if not self._starts:
            self._note(np.zeros(0, dtype=np.int64), np.zeros(0), clash=self._clash)
            self.closed = True
            return
        starts = np.array(self._starts, dtype=np.int64)
        found = self._engine(budget).learn(self.nogoods, starts, self._clash)
        self._note(found.end, found.value, found.seen, self._clash)
        if not found.end.size:
            self.closed = True
            return
        self._back(found.level)
        number = int(self.nogoods.used[0])
        self.nogoods = self.nogoods.having(found.end, found.value)
        opposite = (int(found.end[0]) + self.variables) % (2 * self.variables)
        self.trail.push(opposite, -float(found.value[0]), FIRST_NOGOOD - number)
        self.stuck = self.conflicts >= self.settings.conflicts

    def _note(self, end: Places, value: Array, seen: Places | None = None, clash: Places | None = None) -> None:
        """Keep how these literals, or none, lead to what is on the trail of the ends `seen`, and to a clash."""
        count = int(self.trail.length[0])
        if not self._notes or not (count or clash is not None):
            return
        reasons, raised = self.trail.reason[:count], self.trail.end[:count]
        chosen = reasons != DECIDED if seen is None else (reasons != DECIDED) & np.isin(raised, seen)
        last = np.zeros((2, 0), dtype=np.int64) if clash is None else clash.reshape(2, 1)
        steps = np.hstack([np.stack([reasons[chosen], raised[chosen]]), last])
        self.derivations.append(Derivation(end, value, *steps))

    def _back(self, level: int) -> None:
        """Take back all decisions but the first `level`; which phases were settled is remembered."""
        if level >= len(self._starts):
            return
        trail, first = self.trail, self._starts[level]
        part = slice(first, int(trail.length[0]))
        ends = trail.end[part]
        settled = ends[(trail.old[part] < 0) & (trail.bound[ends] >= 0) & (ends % self.variables >= self.inputs)]
        self._saved[settled % self.variables - self.inputs] = np.where(settled < self.variables, 1, -1)
        trail.back(first)
        del self._starts[level:]
        self._heads[:] = np.minimum(self._heads, first)

    def _candidate(self) -> Array | None:
        """The node's middle, or the corner of the box next to it, where that reaches the goal as floats see it."""
        bound, count = self.trail.bound, self.inputs
        middle = 0.5 * (bound[:count] - bound[self.variables : self.variables + count])
        lo, hi = self.ball.interval
        points = np.stack([middle, np.where(middle - lo <= hi - middle, lo, hi)])
        margins = self.goal.margin(self.stages.values(points)[1])
        for place in np.argsort(-margins, kind="stable"):
            self._offered = points[place].tobytes()
            if margins[place] >= 0 and self._offered not in self._refused:
                found: Array = points[place]
                return found
        return None

    def _chosen(self) -> int:
        """The open ReLU that rows would feel most; −1: none is open."""
        bound = self.trail.bound
        lower, upper = bound[self.inputs : self.variables], -bound[self.variables + self.inputs :]
        open_ = np.flatnonzero((lower < 0) & (upper > 0))
        wide = open_[np.minimum(-lower[open_], upper[open_]) > NARROW]
        open_ = wide if wide.size else open_
        return int(open_[np.argmax(self._influence.at(bound)[open_])]) if open_.size else -1

    def _decide(self, relu: int) -> None:
        """Decide the phase of a ReLU as it was last; the search is stuck without one, or where few contradict."""
        if relu < 0 or self.decisions >= self.settings.idle + FRUITFUL * self.conflicts:
            self.stuck = True
            return
        self.decisions += 1
        bound = self.trail.bound
        lower, upper = bound[self.inputs + relu], -bound[self.variables + self.inputs + relu]
        up = self._saved[relu] > 0 if self._saved[relu] else lower + upper > 0
        self._starts.append(int(self.trail.length[0]))
        self.trail.push(self.inputs + relu + (0 if up else self.variables), 0.0, DECIDED)
