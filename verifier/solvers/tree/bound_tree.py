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
from verifier.bounds.lagrangian import Dual
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.runtime.device import Device
from verifier.solvers.branching import LOSS, BranchingRule, split_each
from verifier.solvers.kernels import cache
from verifier.solvers.node_constants import HIGHEST
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.onnx_steps import OnnxSteps
from verifier.solvers.tree.polishing import Polisher
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.region_projection import projected
from verifier.solvers.tree.relaxation import priced
from verifier.solvers.tree.relu_tree import Explored, ReluTree
from verifier.solvers.tree.stalling import HANDED, STALLED, Headway
from verifier.solvers.tree.steps import ascending, rooted
from verifier.solvers.tree.threads import ALONE, Threads
from verifier.solvers.tree.tightening import BatchNarrowing, Narrowed, NumpyNarrowing, OneByOne

STEPS_OF_ALPHA = 255
"""α is kept in an open node as a whole number of these: it is only where its children begin."""

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
    device: Device | None = None
    """Where ONNX Runtime takes the steps below the root; None: a kernel does, or numpy."""


@dataclass(frozen=True, eq=False)
class _Multipliers:
    """A node's multipliers, packed: where its children begin. α of the kept ReLUs, β at `places` among them; share: how
    far above the best value steps aim."""

    alpha: npt.NDArray[np.uint8]
    places: npt.NDArray[Any]
    beta: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    share: np.float32
    progress: Headway | None = None


class BoundTree(ReluTree):
    """The search tree that bounds batches of nodes by multipliers."""

    engine = "bound tree"

    def __init__(self, root: TreeRoot, settings: BoundSettings | None = None) -> None:
        super().__init__(root)
        self.settings = settings or BoundSettings()
        self._bound = BatchedBound(root.stages, root.ball, root.goal, root.lower, root.upper)
        self._polisher = Polisher(root, self._lagrangian, self._goal, self.settings.flips, self.settings.polish_seconds)
        self._lp_lock = threading.Lock()
        self._narrows: BatchNarrowing | None = None
        self._undecided = np.flatnonzero((root.lower < 0) & (root.upper > 0)).astype(np.int32)
        self._ascends: Ascending | None = None
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
        lower, upper = (np.stack(ends, axis=1) for ends in zip(*(self.unpacked(node) for node in nodes), strict=True))
        proposed = self._proposed(nodes, lower, upper, budget)
        duals = self._evaluated(proposed, lower, upper)
        keys = [max(node.key, dual.radius(self.radius)) for node, dual in zip(nodes, duals, strict=True)]
        self._learn(proposed, duals)
        stay = self._left(nodes, keys, duals, proposed.best)
        found = self._candidate(proposed, duals, [place for place in stay if not nodes[place].refused], number)
        if found is not None:
            self.put(nodes[place] for place in stay)
            return Explored(len(nodes), found[0], nodes[found[1]])
        progress = self._headway(nodes, stay, keys, duals, (lower.T, upper.T), budget)
        point, source = self._split(nodes, progress, keys, duals, (lower.T, upper.T), proposed.best, budget)
        return Explored(len(nodes), point, source)

    def _proposed(self, nodes: list[TreeNode], lower: Array, upper: Array, budget: Budget) -> Proposed:
        """The batch's multipliers, from those of the parents; the root's from its best row of the goal alone."""
        bound, settings, kept = self._bound, self.settings, self._bound.kept
        low, high = lower[kept], upper[kept]
        if all(node.start is not None for node in nodes):
            ascends = self._ascending(len(nodes), budget)
            return ascends.optimise(low, high, self._unpacked_starts(nodes), settings.steps, budget)
        return rooted(bound, low, high, settings.first_steps, budget)

    def _ascending(self, batch: int, budget: Budget) -> Ascending:
        """On the device that is asked for, or by the kernel once batches are large enough and the tree lasts, where it
        can be called at once."""
        device, root = self.settings.device, self.root
        if self._ascends is None and device is not None and root.graph is not None:
            self._ascends = OnnxSteps(self._bound, root.graph, root.stages, root.goal, device)
        elif self._ascends is None:
            self._ascends = ascending(self._bound, self.nodes, batch, budget)
        return self._ascends or self._bound

    def _evaluated(self, proposed: Proposed, lower: Array, upper: Array) -> list[Dual]:
        """The safe evaluation of proposed multipliers."""
        best, kept = proposed.best, self._bound.kept
        alpha, beta = np.zeros_like(lower), np.zeros_like(lower)
        alpha[kept], beta[kept] = best.alpha, best.beta
        return self._lagrangian.on_lines(best.weights.astype(np.float64), alpha, beta, lower, upper)

    def _learn(self, proposed: Proposed, duals: list[Dual]) -> None:
        """Where nodes that were proposed as closed are not, more than that is asked for from now on."""
        lacking = [-dual.value(self.radius) for dual, value in zip(duals, proposed.values, strict=True) if value > 0]
        worst = max(lacking, default=0.0)
        if 0.0 < worst < math.inf:
            self._bound.margin = min(self._bound.margin + 2.0 * worst, HIGHEST)

    def _left(self, nodes: list[TreeNode], keys: list[float], duals: list[Dual], best: Start) -> list[int]:
        """The places of the nodes whose duals do not exclude the ball. Those that do so over the reals alone are
        postponed, with their multipliers."""
        left: list[int] = []
        real: list[int] = []
        for place, dual in enumerate(duals):
            if not self._closes(dual, keys[place]):
                (real if self._closes_real(dual) else left).append(place)
        starts = self._packed_starts(best, {}) if real else []
        for place in real:
            self.postpone(replace(nodes[place], key=keys[place], start=starts[place]))
        return left

    def _closes(self, dual: Dual, key: float) -> bool:
        """Does the dual of a node that holds nothing within `key` exclude the whole ball?"""
        return key >= self.radius > 0 or dual.value(self.radius) > 0

    def _closes_real(self, dual: Dual) -> bool:
        """The same over the reals alone, where that counts."""
        return not self._charged_alone and dual.real_value(self.radius) > 0

    def _candidate(
        self, proposed: Proposed, duals: list[Dual], places: list[int], number: int
    ) -> tuple[Array, int] | None:
        """A point that reaches the goal, of the batch's or by a descent from the best of them, and its place."""
        if not places:
            return None
        margins = self.root.goal.margin(self.root.stages.values(proposed.points.T[places].astype(np.float64))[1])
        place = places[int(np.argmax(margins))]
        # In float32 the point may lie a little outside the ball.
        point = self._lagrangian.geometry.farthest(duals[place].row, self.radius)
        if self._goal.margin(point) >= 0:
            return point, place
        every = self.settings.descend_every
        if every and number % every == 0:
            point, margin = self._descent.search(point, self.radius)
            if margin >= 0:
                return point, place
        return None

    def _headway(
        self,
        nodes: list[TreeNode],
        stay: list[int],
        keys: list[float],
        duals: list[Dual],
        bounds: tuple[Array, Array],
        budget: Budget,
    ) -> dict[int, Headway]:
        """How far the nodes at `stay` have come, by place. Where steps have stalled an LP is asked, whose multipliers
        take the place of theirs where they are better: without the nodes that it closes, or postpones."""
        found: dict[int, Headway] = {}
        asks = self.settings.stalled > 0 and self._polisher.able and self.root.unstable <= HANDED
        for place in stay:
            lack, before = -duals[place].value(self.radius), nodes[place].start and nodes[place].start.progress
            found[place] = now = before.child(lack) if before else Headway(lack)
            if not asks or now.stalled < self.settings.stalled:
                continue
            found[place] = now.rested()
            try:
                _, dual = self._least(bounds[0][place], bounds[1][place], budget)
            except OutOfTimeError:  # `_split` sees that too, and puts all back
                asks, dual = False, None
            if dual is None:
                continue
            keys[place] = max(keys[place], dual.radius(self.radius))
            if self._closes(dual, keys[place]):
                del found[place]
            elif self._closes_real(dual):
                self.postpone(replace(nodes[place], key=keys[place]))
                del found[place]
            elif dual.value(self.radius) > -lack:
                duals[place] = dual
        return found

    def _split(
        self,
        nodes: list[TreeNode],
        progress: dict[int, Headway],
        keys: list[float],
        duals: list[Dual],
        bounds: tuple[Array, Array],
        best: Start,
        budget: Budget,
    ) -> tuple[Array | None, TreeNode | None]:
        """Put the children of the nodes of this `progress`, of bounds (nodes, relu_count), on the frontier; where
        nothing is left to split, an LP decides: its point, with the node.

        What is not done when the budget ends, or where a point ends it, is put back as it was.
        """
        left, stay = {place: nodes[place] for place in progress}, list(progress)
        try:
            narrowing, starts = self._narrowing(budget), self._packed_starts(best, progress)
            while stay:
                budget.check()
                part, stay = stay[: narrowing.together], stay[narrowing.together :]
                found = narrowing.narrow_batch(
                    [duals[place] for place in part],
                    best.weights[:, part].T.astype(np.float64),
                    self.radius,
                    bounds[0][part],
                    bounds[1][part],
                    reduced=self.settings.reduced_costs,
                )
                opened = {place: one for place, one in zip(part, found, strict=True) if one is not None}
                for place in part:
                    if place not in opened:
                        del left[place]
                for place in self._halved(left, opened, keys, starts):
                    del left[place]
                for place in opened.keys() & left.keys():
                    key = max(keys[place], opened[place].key)
                    point = self._by_region(left[place], key, opened[place].lower, opened[place].upper, budget)
                    if point is not None:
                        return point, left[place]
                    del left[place]
        except OutOfTimeError:
            pass
        finally:
            self.put(left.values())
        return None, None

    def _halved(
        self, nodes: dict[int, TreeNode], opened: dict[int, Narrowed], keys: list[float], starts: list[_Multipliers]
    ) -> list[int]:
        """Put the children of narrowed nodes on the frontier; of those that have a ReLU to split."""
        if not opened:
            return []
        own = self._undecided
        lower, upper, shares = (
            np.stack([getattr(one, name)[own] for one in opened.values()]) for name in ("lower", "upper", "shares")
        )
        places = split_each(self.settings.branching, shares, lower, upper)
        rows = np.flatnonzero(places >= 0)
        split = [list(opened)[row] for row in rows]
        parents = [
            self.child(nodes[at], max(keys[at], opened[at].key), nodes[at].lower, nodes[at].upper, starts[at])
            for at in split
        ]
        for halves in self.halves_at(parents, lower[rows], upper[rows], own, places[rows]):
            self.put(halves)
        return split

    def _narrowing(self, budget: Budget) -> BatchNarrowing:
        """By the kernel where it can be called at once, dense where the network is small enough for that."""
        if self._narrows is None:
            stages, lagrangian = self.root.stages, self._lagrangian
            small = stages.relu_count * (stages.relu_count + stages.input_size) <= DENSE
            if not self.settings.half_space:
                self._narrows = OneByOne(None)
            elif not self._lagrangian.geometry.has_kernels or not cache.at_once(budget.remaining):
                self._narrows = OneByOne(NumpyNarrowing(stages, lagrangian))
            elif small:
                from verifier.solvers.tree.compiled_node import CompiledNarrowing  # noqa: PLC0415 (imports numba)

                self._narrows = OneByOne(CompiledNarrowing(stages, lagrangian))
            else:
                from verifier.solvers.tree.sparse_narrowing import SparseNarrowing  # noqa: PLC0415 (imports numba)

                self._narrows = SparseNarrowing(stages, lagrangian, self.root.lower, self.root.upper)
        return self._narrows

    def _by_region(self, node: TreeNode, key: float, lower: Array, upper: Array, budget: Budget) -> Array | None:
        """Close a linear region by its LP, or return its point; where neither does, nothing more can be done."""
        point, dual = self._least(lower, upper, budget)
        if dual is not None:
            key = max(key, dual.radius(self.radius))
            if self._closes(dual, key):
                return None
            if self._closes_real(dual):
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

    def _packed_starts(self, best: Start, progress: dict[int, Headway]) -> list[_Multipliers]:
        """Where children of each node of a batch begin; progress: of some of them."""
        alpha = np.ascontiguousarray(np.rint(best.alpha.T * STEPS_OF_ALPHA).astype(np.uint8))
        beta, weights = np.ascontiguousarray(best.beta.T), np.ascontiguousarray(best.weights.T)
        places = [np.flatnonzero(own).astype(np.int32) for own in beta]
        return [
            _Multipliers(alpha[node].copy(), at, beta[node, at], weights[node].copy(), share, progress.get(node))
            for node, (at, share) in enumerate(zip(places, best.shares, strict=True))
        ]

    def _unpacked_starts(self, nodes: list[TreeNode]) -> Start:
        starts: list[_Multipliers] = [node.start for node in nodes]
        alpha = np.stack([start.alpha for start in starts], axis=1).astype(np.float32) / np.float32(STEPS_OF_ALPHA)
        beta = np.zeros_like(alpha)
        for column, start in enumerate(starts):
            beta[start.places, column] = start.beta
        shares = np.array([start.share for start in starts])
        return Start(alpha, beta, np.stack([start.weights for start in starts], axis=1), shares)
