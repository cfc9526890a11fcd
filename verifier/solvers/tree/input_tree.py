"""Branch and bound over the input for regions of few dimensions: boxes, each bounded anew by CROWN of every stage.

A node is a box. It is split in the middle of one entry: of those that the rules propose, the one whose halves have the
better bounds (theory, section 10: either rule alone left a tenth of ACAS Xu open). What a box's forms leave of it to
points that reach the goal is a smaller box. Where few ReLUs are open, or no entry can be halved any more, an LP tree of
the box's own splits at ReLUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.box_crown import Bounded, BoxCrown
from verifier.bounds.box_part import BoxPart, Places
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball
from verifier.solvers.branching import SMEAR, WIDTH, InputRule
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.lp_tree import NUMPY_FIRST, LpSettings, LpTree
from verifier.solvers.tree.polishing import Polisher
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.relu_tree import Explored, ReluTree
from verifier.solvers.tree.stalling import crawls
from verifier.solvers.tree.threads import ALONE, Threads

Flags = npt.NDArray[np.bool_]


NARROWEST = 2.0**-20
"""The share of the root's width below which an entry is not halved: what such a box leaves open is not its width's."""


TRIED = 16
"""Entries that may move, up to which every one may be tried."""

ENTRIES = 1 << 22
"""Coefficients of a batch's forms at one stage, 32 MiB, about: nodes are fewer where stages are wide."""


@dataclass(frozen=True)
class InputSettings:
    """What an input tree does; the defaults are what PERFORMANCE.md's table of trees chose."""

    batch: int = 8
    """Nodes split at once: two halves each for every rule that proposes another entry."""
    slice: int = 64
    """Nodes split below one open node before the nearest one is looked for again."""
    rules: tuple[InputRule, ...] = (SMEAR, WIDTH)
    """Who proposes the entry to halve."""
    every: float = 2.0**-10
    """The share of the root's volume from which every entry is tried: what is halved first decides most."""
    clips: int = 3
    """Times that a box is cut down by each of its forms; 0 for never."""
    relus: int = 8
    """Open ReLUs up to which a box is left to an LP tree."""
    crawling: int = 48
    """The same where boxes crawl, which is seen after `look` nodes."""
    look: int = 1024
    crowd: int = 20_000
    """Open nodes beyond which the newest is next, not the nearest: that keeps their number."""
    descend_every: int = 4
    """A gradient descent from the best point of every so-many-th batch; 0 for none."""
    flips: int = 6
    """Tight ReLUs whose phase is tried the other way in polishing; 0 for none."""
    polish_seconds: float = 2.0
    """What one polishing of a point by LPs may take."""


@dataclass(slots=True)
class _Box:
    """A node's box where it differs from the root's: entries `places`, their ends. splits: the entries that were
    proposed to be halved; none: ReLUs are split, in `tree`."""

    places: Places
    low: Array
    high: Array
    splits: tuple[int, ...]
    tree: LpTree | None = None


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Boxes to be bounded, parts of some nodes: piece k is one half of node `owner[k]` by its proposal `rule[k]`.

    lower, upper (pieces, relu_count): what is known of ReLU arguments there.
    """

    part: BoxPart
    lower: Array
    upper: Array
    owner: Places
    rule: Places


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What was found of pieces: the `open` ones neither close nor are cut away, `real` ones close over the reals alone.

    bounded: the goal's rows, `goal_rows` of them, and one that they are weighted to where they are several. keys
    (pieces,): nothing of a piece is nearer; values (pieces,): its best row's bound; low, high (pieces, n): the box that
    is left.
    """

    bounded: Bounded
    goal_rows: int
    open: Flags
    real: Flags
    keys: Array
    values: Array
    low: Array
    high: Array

    @property
    def best_rows(self) -> Array:
        """The form of each piece's best row of the goal at the input: (pieces, n)."""
        best = np.nan_to_num(self.bounded.values[:, : self.goal_rows], nan=-np.inf).argmax(axis=1)
        rows: Array = self.bounded.rows[np.arange(best.size), best]
        return rows


class InputTree(ReluTree):
    """The search tree that halves boxes of the input."""

    engine = "input tree"

    def __init__(self, root: TreeRoot, settings: InputSettings | None = None) -> None:
        self.settings = settings or InputSettings()
        super().__init__(root, self.settings.crowd)
        self._ends = root.ball.interval
        self._widths = self._ends[1] - self._ends[0]
        self._crown = BoxCrown(root.stages, self._lagrangian)
        self._polisher = Polisher(root, self._lagrangian, self._goal, self.settings.flips, self.settings.polish_seconds)
        self._slices = 0
        self._relus, self._looked = self.settings.relus, False
        widest = max((stage.size for stage in root.stages.hidden), default=1)
        self._batch = max(1, min(self.settings.batch, ENTRIES // (4 * TRIED * widest**2)))

    def cut(self, radius: float) -> None:
        """Only points within this smaller radius matter from now on."""
        if radius < self.radius:
            self.radius = radius
            self._polisher.set_radius(radius)

    def refuse(self) -> None:
        """The point that was found last is no witness: the node that it came from is split without it."""
        super().refuse()
        source = self._source
        tree = source.start.tree if source is not None and source.start is not None else None
        if tree is not None:
            tree.refuse()
            if self.inherited:
                tree.silence()

    def polish(self, x: Array, budget: Budget) -> tuple[Array, float]:
        """As `LpTree.polish`; (x, the tree's radius) when LPs take too long or cannot say what the ball is."""
        return self._polisher.improve(x, budget)

    def explore(self, budget: Budget, threads: Threads = ALONE) -> Array | None:
        """A slice for each thread; a point (n,) that reaches the goal within the radius, as floats see it, ends one.

        When the budget ends, every node that is not closed is open again.
        """
        budget.check()
        if not self._looked and self.nodes >= self.settings.look:
            self._looked = True
            boxes = np.reshape([self._box(node) for node in self._waiting], (-1, 2, self._widths.size))
            if crawls(self.nodes, self._shares(boxes[:, 1] - boxes[:, 0])):
                self._relus = self.settings.crawling
        numbers = range(self._slices, self._slices + threads.count)
        self._slices += threads.count
        with self.whole():
            done = threads.each(partial(self._slice, budget), numbers)
        return self._taken(done, budget)

    def _slice(self, budget: Budget, number: int) -> Explored:
        """Split below one open node, and some others where those are too few for a batch."""
        settings, stack = self.settings, list[TreeNode]()
        nodes, batches = 0, number
        try:
            while nodes < settings.slice:
                stack = stack or self.take(self._batch)
                if not stack:
                    break
                batch = [node for node in stack[-self._batch :] if not self.beyond(node)]
                del stack[-self._batch :]
                try:
                    done = self._evaluate(batch, stack, batches, budget)
                except OutOfTimeError:
                    stack += batch
                    raise
                nodes, batches = nodes + done.nodes, batches + 1
                if done.point is not None:
                    return Explored(nodes, done.point, done.source)
        except OutOfTimeError:
            pass
        finally:
            self.put(stack)
        return Explored(nodes)

    def _evaluate(self, nodes: list[TreeNode], stack: list[TreeNode], number: int, budget: Budget) -> Explored:
        """Put what stays open of some nodes on the stack; all of them as they were where a point is found.

        Raises OutOfTimeError; then the stack is as it was.
        """
        whole = next((node for node in nodes if node.start is not None and not node.start.splits), None)
        if whole is not None:
            # A slice of its LP tree is a batch's work.
            found = self._by_relus(whole, budget)
            stack += [node for node in nodes if node is not whole or found.source is node]
            return found
        if not nodes:
            return Explored(0)
        pieces = self._pieces(nodes)
        outcome = self._bounded(nodes, pieces, budget)
        if self._charged_alone:
            stack += self._children(nodes, pieces, outcome)
            return Explored(len(nodes))
        offered = np.array([not node.refused for node in nodes])[pieces.owner] & outcome.open
        point, place = self._candidate(pieces, outcome, np.flatnonzero(offered), number)
        if point is not None:
            stack += nodes
            return Explored(len(nodes), point, nodes[pieces.owner[place]])
        stack += self._children(nodes, pieces, outcome)
        return Explored(len(nodes))

    def _pieces(self, nodes: Sequence[TreeNode]) -> _Pieces:
        """Both halves of each node by each of its proposals; the root, which is not bounded yet, as a whole."""
        low, high, owner, rule = [], [], [], []
        for number, node in enumerate(nodes):
            bottom, top = self._box(node)
            halves = [(0, bottom, top)]
            if node.start is not None:
                halves = [
                    piece for k, entry in enumerate(node.start.splits) for piece in _halves(k, entry, bottom, top)
                ]
            rule += [proposal for proposal, _, _ in halves]
            low += [ends for _, ends, _ in halves]
            high += [ends for _, _, ends in halves]
            owner += [number] * len(halves)
        bounds = [self.unpacked(node) for node in nodes]
        part = BoxPart(self.root.ball, self.radius, np.array(low), np.array(high))
        lower, upper = (np.stack([bounds[number][end] for number in owner]) for end in (0, 1))
        return _Pieces(part, lower, upper, np.array(owner), np.array(rule))

    def _bounded(self, nodes: Sequence[TreeNode], pieces: _Pieces, budget: Budget) -> _Outcome:
        """What the pieces' bounds say. Raises OutOfTimeError."""
        part = pieces.part
        found = self._crown.bound(part, pieces.lower, pieces.upper, budget)
        goal_rows = found.values.shape[1]
        if goal_rows > 1:
            found = _with_weighted(found, part)
        low, high = part.clipped(found.constants, found.rows, self.settings.clips)
        keys = np.maximum(part.distance, np.array([node.key for node in nodes])[pieces.owner])
        closed = np.any(found.values > 0, axis=1) | np.any(found.lower > found.upper, axis=1)
        closed |= np.any(low > high, axis=1)
        if self.radius > 0:
            closed |= keys >= self.radius
        real = ~closed & np.any(found.real_values > 0, axis=1) & (not self._charged_alone)
        values = np.nan_to_num(found.values, nan=-np.inf).max(axis=1)
        return _Outcome(found, goal_rows, ~closed & ~real, real, keys, values, low, high)

    def _candidate(self, pieces: _Pieces, outcome: _Outcome, places: Places, number: int) -> tuple[Array | None, int]:
        """A point that reaches the goal in one of these pieces, and its place: where forms are least, in the middle, or
        where a descent from the best of those ends."""
        if not places.size:
            return None, -1
        part = pieces.part
        points = np.concatenate([part.deepest(outcome.best_rows)[places], part.base[places]])
        margins = self.root.goal.margin(self.root.stages.values(points)[1])
        best = int(np.argmax(margins))
        point, place, every = points[best], int(places[best % places.size]), self.settings.descend_every
        if margins[best] >= 0:
            return point, place
        if every and number % every == 0:
            point, margin = self._descent.search(point, self.radius)
            if margin >= 0:
                return point, place
        return None, -1

    def _children(self, nodes: Sequence[TreeNode], pieces: _Pieces, outcome: _Outcome) -> list[TreeNode]:
        """The open pieces of each node's better proposal, those last whose bounds are farthest from closing.

        Its pieces that close over the reals alone are postponed: what the other proposals' are is no matter.
        """
        totals = np.full((len(nodes), int(pieces.rule.max()) + 1), -np.inf)
        totals[pieces.owner, pieces.rule] = 0.0
        np.add.at(totals, (pieces.owner, pieces.rule), np.where(outcome.open, outcome.values, 0.0))
        kept = (outcome.open | outcome.real) & (totals.argmax(axis=1)[pieces.owner] == pieces.rule)
        splits = self._proposals(outcome)
        lower, upper = outcome.bounded.lower, outcome.bounded.upper
        unstable = np.count_nonzero((lower < 0) & (upper > 0), axis=1)
        children = []
        for place in sorted(np.flatnonzero(kept).tolist(), key=lambda place: -outcome.values[place]):
            owner = nodes[pieces.owner[place]]
            # Where points reach the goal and none is taken, halving comes to no end.
            refused = owner.refused and self.inherited
            by_relus = refused or (self._polisher.able and unstable[place] <= self._relus)
            low, high = outcome.low[place], outcome.high[place]
            places = np.flatnonzero((low != self._ends[0]) | (high != self._ends[1]))
            chosen = () if by_relus else splits[place]
            box = _Box(places, low[places], high[places], chosen)
            child = self.child(owner, float(outcome.keys[place]), lower[place], upper[place], box)
            if outcome.real[place]:
                self.postpone(child)
            else:
                children.append(child)
        return children

    def _proposals(self, outcome: _Outcome) -> list[tuple[int, ...]]:
        """The entries of each piece that the rules propose to halve; none where floats leave none to halve."""
        low, high = outcome.low, outcome.high
        middle = 0.5 * (low + high)
        rows, widths = outcome.best_rows, high - low
        halvable = (low < middle) & (middle < high) & (widths > NARROWEST * self._widths)
        with np.errstate(over="ignore"):  # widths of the least floats
            scores = [np.nan_to_num(rule.score(rows, widths, self._widths)) for rule in self.settings.rules]
        chosen = [np.where(halvable, score, -1.0).argmax(axis=1) for score in scores]
        proposals = []
        for able, share, *entries in zip(halvable, self._shares(widths), *chosen, strict=True):
            known = np.flatnonzero(able).tolist()
            every = share >= self.settings.every and np.count_nonzero(self._widths) <= TRIED
            proposals.append(tuple(known if every else dict.fromkeys(int(entry) for entry in entries)) if known else ())
        return proposals

    def _shares(self, widths: Array) -> Array:
        """Of the root's volume, those of boxes of such widths (boxes, n)."""
        free = self._widths > 0
        with np.errstate(over="ignore", invalid="ignore"):
            found: Array = (widths[:, free] / self._widths[free]).prod(axis=1)
        return found

    def _box(self, node: TreeNode) -> tuple[Array, Array]:
        low, high = self._ends[0].copy(), self._ends[1].copy()
        if node.start is not None:
            low[node.start.places], high[node.start.places] = node.start.low, node.start.high
        return low, high

    def _by_relus(self, node: TreeNode, budget: Budget) -> Explored:
        """A slice of the node's LP tree; its source is the node while that is open. Raises OutOfTimeError."""
        part = BoxPart(self.root.ball, self.radius, *(end[np.newaxis] for end in self._box(node)))
        if part.crossed[0]:
            return Explored(0)
        if not self._polisher.able:
            self.put_stuck(node)
            return Explored(0)
        tree, ball = node.start.tree, part.ball(0)
        if tree is None or not _same(ball, tree.root.ball):
            lower, upper = self.unpacked(node)
            stages = replace(self.root.stages, both=False) if self._charged_alone else self.root.stages
            root = replace(self.root, ball=ball, stages=stages, lower=lower, upper=upper, floor=0.0, earlier=None)
            tree = node.start.tree = LpTree(root, LpSettings(numpy_first=NUMPY_FIRST))
            if self._charged_alone or (node.refused and self.inherited):
                tree.silence()
        before, point = tree.nodes, None
        if tree.open_nodes and not tree.stuck:
            point = tree.explore(budget)
        nodes = tree.nodes - before
        if point is None and not tree.open_nodes:
            if tree.float32_end < tree.radius:
                node.start.tree = None
                self.postpone(node)
            return Explored(nodes)
        if point is None and tree.stuck:
            self.put_stuck(node)
            return Explored(nodes)
        return Explored(nodes, point, node)


def _with_weighted(found: Bounded, part: BoxPart) -> Bounded:
    """The same with one more row: where no row of a goal keeps a box from it, several together may.

    It is charged for evaluations, over the reals too.
    """
    constants, rows = part.weighted(found.constants, found.rows)
    with np.errstate(invalid="ignore", over="ignore"):
        values = constants - part.falls(rows, np.arange(len(rows)))
    return replace(
        found,
        rows=np.concatenate([found.rows, rows[:, np.newaxis]], axis=1),
        constants=np.column_stack([found.constants, constants]),
        values=np.column_stack([found.values, values]),
        real_values=np.column_stack([found.real_values, values]),
    )


def _halves(proposal: int, entry: int, low: Array, high: Array) -> tuple[tuple[int, Array, Array], ...]:
    """(proposal, low, high) of the two boxes that meet in the middle of an entry."""
    bottom, top = low.copy(), high.copy()
    bottom[entry] = top[entry] = 0.5 * (low[entry] + high[entry])
    return (proposal, low, top), (proposal, bottom, high)


def _same(ball: Ball, other: Ball) -> bool:
    return ball.radius == other.radius and np.array_equal(ball.lo, other.lo) and np.array_equal(ball.hi, other.hi)
