"""Branch and bound over ReLU phases with linear bounds for batches of nodes (α, β, λ; Wang et al. 2021), no LP a node.

For networks whose LPs are too dear. A batch of the most promising open nodes is bounded at once: float32 chooses the
multipliers, one float64 pass evaluates them safely, and only that evaluation prunes. A ReLU is split where its triangle
costs the bound most. Children begin with their parent's multipliers. Where no ReLU is left to split, an LP decides, or
the nearest point of the region in L2; of other balls that no LP describes, such a node stays open. `stalling` asks LPs.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import Ascending, BatchedBound, Proposed, Start
from verifier.bounds.lagrangian import Dual, Duals
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.runtime.device import Device
from verifier.solvers.branching import LOSS, BranchingRule, split_each
from verifier.solvers.kernels import cache
from verifier.solvers.node_constants import HIGHEST
from verifier.solvers.tree.batch_packing import BatchPacking, Halved, PackedMultipliers
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.goal_ascent import GoalAscent
from verifier.solvers.tree.kept_stages import kept_stages
from verifier.solvers.tree.onnx_steps import OnnxSteps
from verifier.solvers.tree.polishing import Polisher
from verifier.solvers.tree.primal_heuristics import GradientDescent
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_projection import projected
from verifier.solvers.tree.relaxation import priced
from verifier.solvers.tree.relu_tree import Explored, ReluTree
from verifier.solvers.tree.stalling import HANDED, REST, STALLED, Headway
from verifier.solvers.tree.steps import Evaluating, ascending, evaluating, packing, rooted
from verifier.solvers.tree.threads import ALONE, Threads
from verifier.solvers.tree.tightening import BatchNarrowing, NarrowedBatch, NumpyNarrowing, OneByOne

_Places = npt.NDArray[np.intp]

DENSE = 1 << 19
"""Entries of a network's dense matrices (4 MB) up to which its nodes are narrowed by them, one by one: 4×256 on MNIST,
of 1.9 million, has twice the nodes a second by sparse rows of the kept ReLUs, a batch at a time."""


@dataclass(frozen=True)
class BoundSettings:
    """What a bound tree does; the defaults are what PERFORMANCE.md's ablations chose."""

    batch: int = 32
    """Nodes bounded at once."""
    steps: int = 10
    """Steps of the multipliers at each node."""
    first_steps: int = 60
    """Steps at the root, whose multipliers all others begin with."""
    reduced_costs: bool = True
    """Tighten bounds of ReLU arguments by what a node's dual leaves."""
    half_space: bool = True
    """… and by CROWN within the half-space that it leaves to points that reach the goal."""
    branching: BranchingRule = LOSS
    """One of `branching.RULES`; there is no relaxed point that could be off a ReLU's graph."""
    descend_every: int = 4
    """A gradient descent from the best point of every so-many-th batch; 0 for none."""
    flips: int = 6
    """Tight ReLUs whose phase is tried the other way in polishing; 0 for none."""
    stalled: int = STALLED
    """Generations without headway after which an LP is asked of a node; 0: never."""
    polish_seconds: float = 2.0
    """What one polishing of a point by LPs may take."""
    patches: int = 128
    """Nodes after which what receptive fields attain together is sought; 0: never."""
    device: Device | None = None
    """Where ONNX Runtime takes the steps below the root; None: a kernel does, or numpy."""


@dataclass(frozen=True, eq=False)
class _Means:
    """Who evaluates batches and packs nodes: arrays of both are of the same ReLUs."""

    evaluates: Evaluating
    packing: BatchPacking


@dataclass(frozen=True, eq=False)
class _Batch:
    """Nodes at work: their bounds (nodes, relus), the multipliers that were proposed as best and what these prove: keys
    and values (nodes,), `real` the values over the reals alone. by: who evaluates and packs them."""

    by: _Means
    nodes: list[TreeNode]
    lower: Array
    upper: Array
    best: Start
    duals: Duals
    keys: Array
    values: Array
    real: Array

    def within(self, means: _Means) -> _Batch:
        """The batch as those take it, whose arrays are of no more ReLUs."""
        relus = means.packing.relus
        if self.lower.shape[1] == relus.size:
            return self
        ends = [np.take(part, relus, axis=1) for part in (self.lower, self.upper)]  # [:, relus] is not contiguous
        return replace(self, by=means, lower=ends[0], upper=ends[1], duals=self.duals.within(relus))


class BoundTree(ReluTree):
    """The search tree that bounds batches of nodes by multipliers."""

    engine = "bound tree"

    def __init__(self, root: TreeRoot, settings: BoundSettings | None = None) -> None:
        super().__init__(root)
        self.settings = settings or BoundSettings()
        self._bound = BatchedBound(root.stages, root.ball, root.goal, root.lower, root.upper)
        self._polisher = Polisher(root, self._lagrangian, self._goal, self.settings.flips, self.settings.polish_seconds)
        self._kept_goal = GoalAscent(kept_stages(root.stages, root.upper), root.ball, root.goal)
        self._descent = GradientDescent(self._kept_goal)
        self._lp_lock = threading.Lock()
        self._narrows: BatchNarrowing | None = None
        self._ascends: Ascending | None = None
        self._means = self._equipped()
        self._batches = 0

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on."""
        if radius < self.radius:
            self.radius = radius
            self._bound.set_radius(radius)
            self._polisher.set_radius(radius)

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """One batch for each thread; a point (n,) that reaches the goal within the radius, as floats see it, ends one.

        When the budget ends, every node that is not closed is open again.
        """
        budget.check()
        with self.whole():
            work = [batch for _ in range(threads.count) if (batch := self.take(self.settings.batch))]
            done = threads.each(lambda one: self._explored(one[1], budget, one[0]), enumerate(work, self._batches))
        self._batches += len(work)
        return self._taken(done, budget)

    def _explored(self, nodes: list[TreeNode], budget: Budget, number: int) -> Explored:
        """Bound a batch, and put back what is still open: split, or as it was when the budget ends."""
        try:
            return self._evaluate(nodes, budget, number)
        except OutOfTimeError:
            self.put(nodes)
            return Explored(0)

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """As `LpTree.polish`; (x, the tree's radius) when LPs take too long or cannot say what the ball is."""
        return self._polisher.improve(x, budget)

    def _evaluate(self, nodes: list[TreeNode], budget: Budget, number: int) -> Explored:
        ascends = self._ascending(len(nodes), budget) if all(node.start is not None for node in nodes) else None
        means = self._means
        lower, upper = means.packing.bounds(nodes)
        proposed = self._proposed(ascends, means.packing, nodes, lower, upper, budget)
        duals = means.evaluates.on_lines(proposed.best, lower, upper)
        values, real, keys = means.evaluates.measured(duals, self.radius)
        keys = np.fmax([node.key for node in nodes], keys)
        batch = _Batch(means, nodes, lower, upper, proposed.best, duals, keys, values, real)
        self._learn(proposed.values, batch.values)
        stay = self._left(batch)
        found = self._candidate(proposed, batch, stay, number)
        if found is not None:
            self.put(nodes[place] for place in stay)
            return Explored(len(nodes), found[0], nodes[found[1]])
        point, source = self._split(batch, *self._headway(batch, stay, budget), budget)
        return Explored(len(nodes), point, source)

    def _proposed(
        self,
        ascends: Ascending | None,
        packing: BatchPacking,
        nodes: list[TreeNode],
        lower: Array,
        upper: Array,
        budget: Budget,
    ) -> Proposed:
        """The batch's multipliers, from those of the parents; the root's from its best row of the goal alone."""
        settings, (low, high) = self.settings, (packing.undecided(end).T for end in (lower, upper))
        if ascends is None:
            return rooted(self._bound, low, high, settings.first_steps, budget)
        return ascends.optimise(low, high, packing.starts([node.start for node in nodes]), settings.steps, budget)

    def _ascending(self, batch: int, budget: Budget) -> Ascending:
        """On the device that is asked for, or by the kernel once batches are large enough and the tree lasts, where it
        can be called at once."""
        device, root = self.settings.device, self.root
        if self._ascends is None and device is not None and root.graph is not None:
            self._ascends = OnnxSteps(self._bound, root.graph, root.stages, root.goal, device)
        elif self._ascends is None:
            self._ascends = ascending(self._bound, self.nodes, batch, budget)
            if self._ascends is not None:
                self._means = self._equipped()
        return self._ascends or self._bound

    def _equipped(self) -> _Means:
        """What suits who takes the steps and who narrows nodes, as far as they are known."""
        ends, undecided = self.root_bounds, self._bound.undecided
        relus = np.arange(ends[0].size) if self._narrows is None else self._narrows.relus
        evaluates = evaluating(self._bound, self._ascends, self._lagrangian, ends, relus)
        return _Means(evaluates, packing(ends, undecided, relus))

    def _learn(self, proposed: npt.NDArray[Any], values: Array) -> None:
        """Where nodes that were proposed as closed are not, more than that is asked for from now on."""
        worst = float((-values[proposed > 0]).max(initial=0.0))
        if 0.0 < worst < math.inf:
            self._bound.margin = min(self._bound.margin + 2.0 * worst, HIGHEST)

    def _left(self, batch: _Batch) -> _Places:
        """The places of the nodes whose duals do not exclude the ball. Those that do so over the reals alone are
        postponed, with their multipliers."""
        open_ = ~self._closes(batch.values, batch.keys)
        real = np.flatnonzero(open_ & self._closes_real(batch.real))
        open_[real] = False
        headway = Headway(-batch.values, np.zeros(len(batch.nodes), dtype=np.int64))
        for place, start in zip(real.tolist(), batch.by.packing.packed(batch.best, real, headway), strict=True):
            self.postpone(replace(batch.nodes[place], key=float(batch.keys[place]), start=start))
        return np.flatnonzero(open_)

    def _closes(self, values: Any, keys: Any) -> Any:
        """Do bounds exclude the whole ball, of nodes that hold nothing within `keys`?"""
        return (values > 0.0) | ((keys >= self.radius) & (self.radius > 0.0))

    def _closes_real(self, values: Any) -> Any:
        """The same over the reals alone, where that counts."""
        return (values > 0.0) & (not self._charged_alone)

    def _candidate(self, proposed: Proposed, batch: _Batch, stay: _Places, number: int) -> tuple[Array, int] | None:
        """A point that reaches the goal, of the batch's or by a descent from the best of them, and its place."""
        places = np.array([place for place in stay.tolist() if not batch.nodes[place].refused], dtype=np.intp)
        if not places.size:
            return None
        place = int(places[np.argmax(batch.by.evaluates.margins(proposed.points, places))])
        # In float32 the point may lie a little outside the ball.
        point = self._lagrangian.geometry.farthest(batch.duals.row[place], self.radius)
        if self._kept_goal.margin(point) >= 0:
            return point, place
        every = self.settings.descend_every
        if every and number % every == 0:
            point, margin = self._descent.search(point, self.radius)
            if margin >= 0:
                return point, place
        return None

    def _headway(self, batch: _Batch, stay: _Places, budget: Budget) -> tuple[_Places, Headway]:
        """Which of the nodes at `stay` stay open, and how far all have come. Where steps have stalled an LP is asked,
        whose multipliers take the place of theirs where they are better."""
        starts = [node.start for node in batch.nodes]
        before = [(math.nan, 0) if start is None else (start.lack, start.stalled) for start in starts]
        lack, stalled = (np.array(part) for part in zip(*before, strict=True))
        now, open_ = Headway(lack, stalled).child(-batch.values), np.ones(len(starts), dtype=bool)
        if not (self.settings.stalled > 0 and self._polisher.able and self.root.unstable <= HANDED):
            return stay, now
        for place in stay[now.stalled[stay] >= self.settings.stalled].tolist():
            now.stalled[place] = -REST
            try:
                _, dual = self._least(*self._whole(batch.lower[place], batch.upper[place]), budget)
            except OutOfTimeError:  # `_split` sees that too, and puts all back
                break
            if dual is None:
                continue
            value, key = dual.value(self.radius), max(float(batch.keys[place]), dual.radius(self.radius))
            batch.keys[place] = key
            if self._closes(value, key):
                open_[place] = False
            elif self._closes_real(dual.real_value(self.radius)):
                self.postpone(replace(batch.nodes[place], key=key))
                open_[place] = False
            elif value > batch.values[place]:
                batch.duals.replace(place, dual, batch.by.packing.relus)
        return stay[open_[stay]], now

    def _split(
        self, batch: _Batch, stay: _Places, headway: Headway, budget: Budget
    ) -> tuple[Array | None, TreeNode | None]:
        """Put the children of the nodes at `stay` on the frontier; where nothing is left to split, an LP decides: its
        point, with the node.

        What is not done when the budget ends, or where a point ends it, is put back as it was.
        """
        nodes, left = batch.nodes, dict.fromkeys(stay.tolist())
        try:
            narrowing = self._narrowing(budget)
            batch = batch.within(self._means)
            starts = dict(zip(left, batch.by.packing.packed(batch.best, stay, headway), strict=True))
            while stay.size:
                budget.check()
                part, stay = stay[: narrowing.together], stay[narrowing.together :]
                whole = part.size == len(nodes)
                found = narrowing.narrow_batch(
                    batch.duals if whole else batch.duals.at(part),
                    batch.best.weights[:, part].T.astype(np.float64),
                    self.radius,
                    *(end if whole else end[part] for end in (batch.lower, batch.upper)),
                    reduced=self.settings.reduced_costs,
                )
                keys = np.fmax(batch.keys[part], found.keys)
                own = [nodes[place] for place in part.tolist()]
                regions = self._halved(batch.by.packing, own, keys, found, [starts[place] for place in part.tolist()])
                for place in np.delete(part, regions).tolist():
                    del left[place]
                for row in regions.tolist():
                    ends = self._whole(found.lower[row], found.upper[row])
                    point = self._by_region(own[row], float(keys[row]), *ends, budget)
                    if point is not None:
                        return point, own[row]
                    del left[int(part[row])]
        except OutOfTimeError:
            pass
        finally:
            self.put(nodes[place] for place in left)
        return None, None

    def _halved(
        self,
        packing: BatchPacking,
        nodes: list[TreeNode],
        keys: Array,
        found: NarrowedBatch,
        starts: list[PackedMultipliers],
    ) -> _Places:
        """Put the children of narrowed nodes on the frontier; those that are left have no ReLU to split."""
        opened = np.flatnonzero(found.keys != np.inf)
        lower, upper, shares = (packing.undecided(part) for part in (found.lower, found.upper, found.shares))
        parts = (shares, lower, upper) if opened.size == len(nodes) else (shares[opened], lower[opened], upper[opened])
        columns = split_each(self.settings.branching, *parts)
        split = columns >= 0
        rows = opened[split]
        at = rows.tolist()
        refused = [nodes[row].refused and self.inherited for row in at]
        halved = Halved(keys[rows].tolist(), [starts[row] for row in at], refused, rows, lower, upper, columns[split])
        self.put(packing.halves(halved))
        return opened[~split]

    def _whole(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Bounds (relu_count,) of a node at work."""
        ends, relus = tuple(end.copy() for end in self.root_bounds), self._means.packing.relus
        if lower.size == ends[0].size:
            return lower, upper
        ends[0][relus], ends[1][relus] = lower, upper
        return ends[0], ends[1]

    def _narrowing(self, budget: Budget) -> BatchNarrowing:
        """By the kernel where it can be called at once, dense where the network is small enough for that."""
        if self._narrows is None:
            self._narrows = self._new_narrowing(budget)
            self._means = self._equipped()
        return self._narrows

    def _new_narrowing(self, budget: Budget) -> BatchNarrowing:
        stages, lagrangian, every = self.root.stages, self._lagrangian, np.arange(self.root.lower.size)
        if not self.settings.half_space:
            return OneByOne(None, every)
        if not lagrangian.geometry.has_kernels or not cache.at_once(budget.remaining):
            return OneByOne(NumpyNarrowing(stages, lagrangian), every)
        if stages.relu_count * (stages.relu_count + stages.input_size) <= DENSE:
            from verifier.solvers.tree.compiled_node import CompiledNarrowing  # noqa: PLC0415 (imports numba)

            return OneByOne(CompiledNarrowing(stages, lagrangian), every)
        from verifier.solvers.tree.sparse_narrowing import SparseNarrowing  # noqa: PLC0415 (imports numba)

        return SparseNarrowing(stages, lagrangian, self.root.lower, self.root.upper)

    def _by_region(self, node: TreeNode, key: float, lower: Array, upper: Array, budget: Budget) -> Array | None:
        """Close a linear region by its LP, or return its point; where neither does, nothing more can be done."""
        point, dual = self._least(lower, upper, budget)
        if dual is not None:
            key = max(key, dual.radius(self.radius))
            if self._closes(dual.value(self.radius), key):
                return None
            if self._closes_real(dual.real_value(self.radius)):
                self.note(key)
                return None
        if point is not None and not node.refused and self._goal.margin(point) >= -self.root.tolerance:
            return point
        self.put_stuck(self.child(node, key, lower, upper, node.start))
        return None

    def _least(self, lower: Array, upper: Array, budget: Budget) -> tuple[Array | None, Dual | None]:
        """The point of a linear region that its LP, or its nearest point, gives, and the multipliers' evaluation."""
        if self.root.ball.geometry.is_euclidean:
            found = projected(self.root, self._lagrangian, lower, upper, self.radius, budget)
            return found.point, found.dual
        if not self._polisher.able:
            return None, None
        with self._lp_lock:
            solved, dual = priced(self._polisher.lp, self._lagrangian, self.radius, lower, upper, budget)
        return solved.point if solved.optimum is not None else None, dual
