"""The search trees of several targets, each following its incumbent, explored in turn or in threads.

A tree decides at its incumbent − precision. Every better witness shrinks its ball; when it has fallen enough, the root
is bounded anew on the smaller ball. The least radius of an open node is the lower end at any time. A task is one slice
of one tree; incumbents change between tasks, in the caller's thread only, so that threads share nothing that changes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from functools import cached_property, partial

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Array
from verifier.bounds.alpha_crown import Effort
from verifier.problem.phase_tree import seed
from verifier.problem.query import Query
from verifier.problem.verdict import LINEAR_BOUNDS, Search, Semantics
from verifier.search.linear_bisection import BoundsByRadius
from verifier.search.proposals import Posed
from verifier.search.spread import Spreading
from verifier.search.state import FIRST_RADIUS, LAST_RADIUS, SearchState
from verifier.search.track import Slice, Track, explored
from verifier.solvers.tree.bound_tree import BoundTree
from verifier.solvers.tree.patched_tree import hastened, unconstrained
from verifier.solvers.tree.protocol import Tree, TreeMaker
from verifier.solvers.tree.relu_tree import ReluTree
from verifier.solvers.tree.threads import ALONE, Threads

TOLERANCE_SHARE = 1e-3
"""An LP's tolerances as a share of the precision, between HiGHS's limits."""

FINEST, COARSEST = 1e-10, 1e-7

TREE_SLACK = 0.0625
"""The share of the precision by which a tree's polished points lie farther out than need be, to lie deeper."""

QUICK = Effort(goal_iterations=0)
"""What a target's linear bound may cost before its tree is begun: one pass, which prunes most hopeless targets."""

FAR = 0.5
"""Points are drawn nearer while less than this share of the upper end is excluded: later they hardly could be."""

PROGRESS = 0.5
"""The share of the precision by which a point has to lower the upper end, or else its node is split without it."""

UNPOLISHED = 0.01
"""The share of the upper end by which it has to where the LP sees nothing in the point's region: only rounding makes
such points, each next to the last one."""


GROWN = 2.0
"""A tree of so many times the nodes of the earlier one has got no answer from it: the attack has its turn."""

FEW = 64
"""Nodes that an earlier tree is taken to have had where there is none: linear bounds answered then."""


class TreeSearch:
    """Closes the brackets of `states`, which are about one input; `within`: decides at that radius instead."""

    def __init__(self, states: Sequence[SearchState], trees: TreeMaker, within: float | None = None) -> None:
        first = states[0]
        self._states, self._maker, self._within = states, trees, within
        self._budget, self._threads = first.budget, first.problem.threads
        self.bounds = BoundsByRadius(first.problem, first.budget)
        self.lent = 0
        """Threads that work for somebody else meanwhile."""
        self._tracks = {
            id(state): [Track(state, target, lower=target.lower, float32=target.float32) for target in state.targets]
            for state in states
        }

    @cached_property
    def _stages(self) -> Stages:
        """Those of the bounds: a large network is held once. Raises OutOfTimeError."""
        return replace(self.bounds.stages, both=self._states[0].problem.semantics is Semantics.BOTH)

    def polish(self) -> Iterator[SearchState]:
        """Move each first witness to the nearest point around it, by its target's tree."""
        for state in self._states:
            if state.witness is None:
                continue
            self._budget.check()
            track = next(entry for entry in self._of(state) if entry.target.target == state.witness.target)
            with track.clocked():
                tree = track.tree = self._rooted(track, state.upper)
                self._take(track, tree, state.witness.point.astype(float))
            self._raise(track, track.lower, track.float32)
            yield state

    def pruned(self) -> bool:
        """Do linear bounds alone close every state? The first target that they leave open ends it.

        What they prove is kept. Raises OutOfTimeError.
        """
        for state in self._states:
            while (track := self._least(state, ())) is not None:
                self._budget.check()
                with track.clocked():
                    if not self._prunes(track):
                        return False
        return True

    def followed(self) -> bool:
        """Do earlier trees, and not many nodes more, settle every state? Raises OutOfTimeError."""
        earlier = self._states[0].problem.earlier or {}
        for state in self._states:
            while (track := self._least(state, ())) is not None:
                known = earlier.get(track.target.target)
                most = GROWN * (FEW if known is None else known.nodes)
                tree = self._prepared(track)
                if tree is None:
                    continue
                if not tree.follows and tree.nodes > most:
                    return False
                self._finish(track, explored(tree, self._budget, ALONE))
                self._budget.check()
            if not self._done(state):
                return False
        return True

    def run(self) -> Generator[SearchState, None, None]:
        """Explore until every state is closed or stuck; yields the state that has just been worked on.

        Who leaves early closes it: its threads end then. Raises OutOfTimeError, after what was under way has been taken
        over.
        """
        workers, trees_kept = self._states[0].problem.workers, self._states[0].problem.earlier is not None
        spread = None if workers is None or trees_kept else Spreading(workers)
        with Threads(self._threads) as threads:
            working: dict[Future[Slice], Track] = {}
            while True:
                count = max(1, threads.count - self.lent)
                while self._budget.remaining > 0 and len(working) < count:
                    track = self._next(working.values())
                    if track is None:
                        break
                    tree = self._inside(track) or self._prepared(track)
                    if tree is None:
                        yield track.state
                        continue
                    if spread is not None and isinstance(tree, ReluTree) and spread.pays(tree, track.seconds):
                        for done in spread.round(tree, self._budget):
                            self._finish(track, Slice(tree, done.point, done.nodes, done.seconds))
                            tree.cut(self._radius(track.state))
                            yield track.state
                    elif not working and self._next([track]) is None:
                        # A tree that is the only one with work to do gets all threads.
                        self._finish(track, explored(tree, self._budget, threads))
                        yield track.state
                    else:
                        working[threads.submit(explored, tree, self._budget, ALONE)] = track
                if not working:
                    self._budget.check()
                    return
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    track = working.pop(future)
                    self._finish(track, future.result())
                    yield track.state

    @property
    def lasts(self) -> bool:
        """Have a state's trees had as many nodes as trees have before inner balls are searched?"""
        found = [state.search for state in self._states if state.search is not None]
        return any(search.nodes >= self._maker.nodes_alone(search.engine) for search in found)

    @property
    def goes_inside(self) -> bool:
        """Are inner balls searched beside trees that do not close?"""
        return self._maker.inner_balls and self._within is None

    def follows(self, state: SearchState) -> bool:
        """Is one of a state's trees still where an earlier tree was?"""
        return any(track.tree is not None and track.tree.follows for track in self._of(state))

    def posed(self) -> list[Posed]:
        """What trees have open: is there a point within the radius at which they decide? The nearest targets first."""
        found = []
        for state in self._states:
            if self._done(state) or self._endless(state):
                continue
            problem, radius = state.problem, self._radius(state)
            region, bounds = problem.ball.with_radius(radius), partial(self.bounds.at, radius)
            for track in sorted(self._of(state), key=lambda entry: entry.lower):
                if track.lower < radius:
                    key = id(state), track.target.target, radius
                    found.append(Posed(key, Query(problem.graph, region, track.target.goal), bounds))
        return found

    def update(self) -> None:
        """Take over what trees that were interrupted have proved; say why states stay open."""
        for state in self._states:
            for track in self._of(state):
                for tree in (track.tree, track.inner.tree):
                    if tree is not None:
                        self._raise(track, tree.lower_end, tree.float32_end)
                if track.tree is not None:
                    track.target.tree = track.tree.grown() or track.target.tree
            if not state.reason and not self._done(state):
                state.reason = self._obstacle(state)

    def _of(self, state: SearchState) -> list[Track]:
        return self._tracks[id(state)]

    def _radius(self, state: SearchState) -> float:
        """Where a state's trees decide: a little above upper − precision, so that closing there closes the bracket."""
        if self._within is not None:
            return math.nextafter(self._within, math.inf)
        if math.isfinite(state.upper):
            return max(0.0, state.closing)
        reach = state.problem.ball.reach
        return reach if math.isfinite(reach) else max(FIRST_RADIUS, 2.0 * min(entry.lower for entry in self._of(state)))

    def _endless(self, state: SearchState) -> bool:
        """True when no witness is known in an unbounded box, and no wider ball will be searched."""
        return math.isinf(state.upper) and math.isinf(state.problem.ball.reach) and self._radius(state) > LAST_RADIUS

    def _done(self, state: SearchState) -> bool:
        if self._within is None:
            return state.closed
        return (
            state.upper <= self._within
            or state.enough
            or all(track.lower >= self._radius(state) for track in self._of(state))
        )

    def _next(self, working: Collection[Track]) -> Track | None:
        """Of the state with the fewest nodes, the target with the least lower end: hard ones leave others a turn."""
        found = [track for state in self._states if (track := self._least(state, working)) is not None]
        return min(found, key=lambda track: sum(entry.nodes for entry in self._of(track.state)), default=None)

    def _least(self, state: SearchState, working: Collection[Track]) -> Track | None:
        if self._done(state) or self._endless(state):
            return None
        radius = self._radius(state)
        idle = [track for track in self._of(state) if track.lower < radius and track not in working]
        # A stuck target keeps the lower end where it is: those that are above it need no work any more.
        end = min((track.lower for track in idle if self._stuck(track, radius)), default=math.inf)
        useful = [track for track in idle if track.lower <= end and not self._stuck(track, radius)]
        # Of equal ones that of the nearest point is the hardest: where it fails the others need not try.
        return min(useful, key=lambda track: (track.lower, track.target.target != state.target), default=None)

    def _fits(self, tree: Tree, radius: float) -> bool:
        """True while the tree's root is good for this radius."""
        return self._maker.restart * tree.root_radius <= radius <= tree.root_radius

    def _stuck(self, track: Track, radius: float) -> bool:
        return track.tree is not None and track.tree.stuck and self._fits(track.tree, radius)

    def _prepared(self, track: Track) -> Tree | None:
        """The track's tree at its state's radius; None when linear bounds exclude its goal there."""
        radius, tree = self._radius(track.state), track.tree
        with track.clocked():
            if tree is None or not self._fits(tree, radius):
                if self._prunes(track):
                    return None
                tree = track.tree = self._rooted(track, radius)
            tree.cut(radius)
        return tree

    def _prunes(self, track: Track) -> bool:
        """Do linear bounds exclude the track's goal at its state's radius? Then it needs no tree there."""
        radius = self._radius(track.state)
        if not self.bounds.exclude(track.target.goal, radius, self.bounds.near(radius, self._maker.restart), QUICK):
            return False
        track.tree = None
        self._raise(track, radius, radius)
        return True

    def _inside(self, track: Track) -> Tree | None:
        """The tree of the track's inner ball, when it is its turn."""
        inner, radius = track.inner, self._radius(track.state)
        if not self.goes_inside:
            return None
        if track.tree is None or not self._fits(track.tree, radius):
            return None
        with track.clocked():
            if isinstance(track.tree, BoundTree) and track.nodes >= self._maker.nodes_alone(BoundTree.engine):
                step = track.squares.step
                self._raise(track, *step(track.target.goal, self.bounds, track.lower, radius, self._budget))
            if inner.tree is not None and not track.lower < inner.tree.radius < radius:
                inner.tree = None
            alone = self._maker.nodes_alone(track.tree.engine)
            early = not self.bounds.squares(radius)
            others = [other.inner for other in self._of(track.state) if other is not track]
            crowded = early and any(ball.crowded for ball in others)
            while inner.due(track.own, alone, track.tree, track.lower, radius, early=early, others=crowded):
                if inner.tree is not None:
                    return inner.tree
                aim = inner.aim(track.lower, radius, others)
                tree = inner.resting(aim)
                if tree is None:
                    known = self._known(track, aim)
                    if known or self.bounds.exclude(track.target.goal, aim, self.bounds.at(aim), QUICK):
                        self._raise(track, aim, min(aim, track.target.float32) if known else aim)
                        if self._least(track.state, ()) is not track:
                            return None
                        continue
                    tree = self._rooted(track, aim, inner=True)
                inner.begin(tree, self._maker.nodes_alone(tree.engine))
                return tree
        return None

    def _known(self, track: Track, radius: float) -> bool:
        """Has another proof excluded the track's goal within the radius? These come by the clock: where no time is set
        nobody asks, so that one thread always does the same."""
        return track.target.lower >= radius and math.isfinite(self._budget.remaining)

    def _rooted(self, track: Track, radius: float, *, inner: bool = False) -> Tree:
        """A root for the track on the ball of this radius; earlier trees are about the outer ones."""
        problem = track.state.problem
        known = None if inner else problem.earlier
        tree = self._maker.tree(
            Query(problem.graph, problem.ball.with_radius(radius), track.target.goal),
            self._stages,
            self.bounds.near(radius, self._maker.restart),
            earlier=None if known is None else known.get(track.target.target) or seed(self._stages.relu_count),
            floor=min(track.float32, radius),
            slack=TREE_SLACK * problem.precision,
            tolerance=min(COARSEST, max(FINEST, TOLERANCE_SHARE * problem.precision)),
            memory=self._budget.memory,
        )
        if inner:
            return hastened(tree) if track.inner.crowded else tree
        return tree if self._within is not None else unconstrained(tree)

    def _finish(self, track: Track, done: Slice) -> None:
        track.nodes += done.nodes
        track.seconds += done.seconds
        with track.clocked():
            if done.found is not None:
                region = done.tree.pattern(done.found).tobytes()
                if region in track.barren or not self._take(track, done.tree, done.found):
                    track.barren.add(region)
                    done.tree.refuse()
        self._raise(track, done.tree.lower_end, done.tree.float32_end)
        if done.tree is track.inner.tree:
            track.inner.explored(done.nodes)

    def _take(self, track: Track, tree: Tree, point: Array) -> bool:
        """Draw a point nearer, polish it in the tree's LP, offer it; True when that has brought the upper end down.

        Where an earlier tree is followed the point was nearest before: drawing it takes longer than it gains.
        """
        state, before = track.state, track.state.upper
        drawn = point
        if track.lower < FAR * before and not tree.follows:
            drawn = tree.draw(point, state.length(point), self._budget)
        nearer, radius = tree.polish(drawn, self._budget)
        for candidate, last in ((nearer, None), (drawn, nearer), (point, drawn)):
            if candidate is last:
                continue
            for other in self._states:
                if other is not state:
                    other.look(candidate)
            if state.offer(candidate, polish=False):
                break
            if last is None and math.isfinite(radius) and state.look_between(nearer, drawn):
                break
        wanted = PROGRESS * state.problem.precision
        if math.isinf(radius):
            wanted = max(wanted, UNPOLISHED * before)
        return state.upper < before and state.upper <= before - wanted

    def _raise(self, track: Track, lower: float, float32: float) -> None:
        """Note what a track has proved and cost; its tree is not being explored."""
        state = track.state
        track.lower, track.float32 = max(track.lower, lower), max(track.float32, float32)
        if math.isinf(state.upper):
            reach = state.problem.ball.reach
            track.lower = math.inf if track.lower >= reach else track.lower
            track.float32 = math.inf if track.float32 >= reach else track.float32
        track.target.lower = max(track.target.lower, track.lower)
        track.target.float32 = max(track.target.float32, track.float32)
        track.open_nodes = 0 if track.tree is None or track.lower >= self._radius(state) else track.tree.open_nodes
        tracks = self._of(state)
        engine = next((entry.tree.engine for entry in tracks if entry.tree is not None), LINEAR_BOUNDS)
        nodes, open_nodes = sum(entry.nodes for entry in tracks), sum(entry.open_nodes for entry in tracks)
        state.search = Search(engine, nodes, open_nodes, sum(entry.seconds for entry in tracks))

    def _obstacle(self, state: SearchState) -> str:
        """Why a state stays open although there is time."""
        if self._endless(state):
            return f"no adversarial point within {state.lower:g}, and the box is unbounded"
        if any(track.barren for track in self._of(state)):
            judge = state.problem.judge
            if judge.runtime.rounds:
                return "where the goal is reached nearer, the file's own output, which is rounded, still says otherwise"
            return (
                f"the points that are left do not survive rounding to {judge.dtype.name}: its grid is too coarse for "
                "this precision"
            )
        return "rounding leaves cases open that no split decides"
