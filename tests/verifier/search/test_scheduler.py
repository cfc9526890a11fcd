"""The scheduler of search trees, driven by made-up ones: turns, cuts, stuck trees, inner balls, budget, threads."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.verifier.search.made_up_trees import NODES, PRECISION, Judge, Target, Tree, World, searched
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import LINEAR_BOUNDS
from verifier.search import inner_ball
from verifier.search.scheduler import TreeSearch
from verifier.search.state import INWARDS, SearchState

ONCE = 1 + len(INWARDS)
"""Looks at a point that is offered once: as it is, and on the way to it from where it was polished to."""


def closed(search: TreeSearch) -> Iterator[SearchState]:
    """Run to the end; then say why what is open stays open."""
    yield from search.run()
    search.update()


def numbers(world: World, kind: str) -> list[int]:
    return [number for number, _ in world.of(kind)]


def test_one_bracket_closes_on_the_nearest_of_all_targets() -> None:
    world = World({1: Target(0.5), 2: Target(0.3), 3: Target(0.8), 4: Target()})
    search, (state,) = searched(world)
    before = 0.0, math.inf
    for found in closed(search):
        assert found is state
        assert before[0] <= state.lower <= 0.3 <= state.upper <= before[1]
        before = state.lower, state.upper
    assert state.closed
    assert state.upper - state.lower <= PRECISION
    assert state.witness is not None
    assert (state.witness.target, state.reason) == (2, "")
    assert state.search is not None
    assert (state.search.engine, state.search.nodes) == (Tree.engine, NODES * len(world.of("explore")))
    assert state.search.open_nodes == 0


def test_each_target_has_a_bracket_of_its_own() -> None:
    truths = {1: 0.5, 2: 0.3, 3: math.inf}
    world = World({number: Target(truth) for number, truth in truths.items()})
    search, states = searched(world, each=True)
    for _ in closed(search):
        pass
    for state, truth in zip(states, truths.values(), strict=True):
        assert state.closed
        assert state.lower <= truth <= state.upper
        assert math.isinf(state.lower) == math.isinf(truth)
    assert all(target.float32 <= target.lower for state in states for target in state.targets)


def test_the_target_with_the_least_lower_end_has_its_turn() -> None:
    world = World({1: Target(step=0.3), 2: Target(step=0.1), 3: Target(step=0.2)})
    search, (state,) = searched(world)
    ends = dict.fromkeys(world.targets, 0.0)
    for _ in closed(search):
        number, _ = world.of("explore")[-1]
        assert ends[number] == min(ends.values())
        ends = {target.target: target.lower for target in state.targets}
    assert sorted(set(numbers(world, "explore"))) == [1, 2, 3]


def test_hard_targets_leave_others_a_turn() -> None:
    """Of several brackets that with the fewest nodes is next, wherever its lower end is."""
    world = World({1: Target(step=0.01), 2: Target(step=0.2), 3: Target(step=0.3)})
    search, _ = searched(world, each=True)
    for _ in closed(search):
        pass
    turns = numbers(world, "explore")
    assert turns[:16] == [1, 2, 3] * 4 + [1, 2] * 2
    assert set(turns[16:]) == {1}


@pytest.mark.parametrize("restart", [0.0, 0.98])
def test_trees_are_cut_to_the_incumbent(restart: float) -> None:
    """No tree looks farther than a precision before it; a ball that has shrunk by enough gets a new root."""
    world = World({1: Target(0.3), 2: Target(0.4)}, restart=restart)
    search, (state,) = searched(world)
    upper = math.inf
    for _ in closed(search):
        _, radius = world.of("explore")[-1]
        assert radius <= max(upper - 0.9 * PRECISION, 0.0) or math.isinf(upper)
        upper = state.upper
    roots = world.of("root")
    if restart:
        assert len(roots) > 4
        for own in (1, 2):
            radii = [radius for number, radius in roots if number == own]
            assert all(after < restart * before for before, after in itertools.pairwise(radii))
    else:
        assert numbers(world, "root") == [1, 2]


def test_a_new_root_keeps_what_is_proved_for_both_worlds() -> None:
    world = World({1: Target(0.2, step=0.05)})
    floors: list[float] = []
    make = world.tree

    def noted(*given: Any, floor: float, **options: Any) -> Tree:
        floors.append(floor)
        return make(*given, floor=floor, **options)

    world.tree = noted  # type: ignore[method-assign]
    search, (state,) = searched(world)
    for _ in closed(search):
        assert floors[-1] <= state.float32
    assert floors == sorted(floors)
    assert 0.0 == floors[0] < floors[-1]


def test_a_stuck_target_holds_the_lower_end_and_others_need_no_more_work() -> None:
    world = World({1: Target(stuck=0.2), 2: Target(step=0.05)})
    search, (state,) = searched(world)
    for _ in closed(search):
        pass
    assert (state.lower, state.upper) == (0.2, math.inf)
    assert not state.closed
    assert state.reason == "rounding leaves cases open that no split decides"
    other = next(target for target in state.targets if target.target == 2)
    assert 0.2 < other.lower < 0.2 + 0.05 + 1e-9
    assert state.search is not None
    assert state.search.open_nodes == 6


def test_a_point_that_is_no_witness_is_refused_and_its_region_not_tried_again() -> None:
    """A new root may find it again; the judge is asked once."""
    world = World({1: Target(0.3), 2: Target(0.5)}, refused=frozenset({1}))
    search, (state,) = searched(world)
    for _ in closed(search):
        pass
    assert numbers(world, "root").count(1) > 1
    assert numbers(world, "refuse").count(1) == numbers(world, "root").count(1)
    asked = cast(Judge, state.problem.judge).asked
    assert len([distance for distance in asked if world.known[distance] == 1]) == ONCE
    assert (state.lower, state.upper) == (0.3, pytest.approx(0.5, abs=PRECISION))
    assert state.reason.startswith("the points that are left do not survive rounding to float32")


def test_another_targets_point_is_looked_at_for_every_bracket() -> None:
    """What one tree finds may be a witness of another question."""
    world = World({1: Target(0.4), 2: Target(0.3, finds=3)})
    search, states = searched(world, each=True)
    looked: list[int] = []
    for state in states:
        state.look = lambda point, own=state: looked.append(own.targets[0].target)  # type: ignore
    next(search.run())
    assert looked == [2]


def test_linear_bounds_prune_targets_without_a_tree() -> None:
    world = World({1: Target(0.4), 2: Target()})
    search, (state,) = searched(world, excluded={2: 2.0})
    for _ in closed(search):
        pass
    assert state.closed
    assert set(numbers(world, "root")) == {1}
    alone, (other,) = searched(World({1: Target(), 2: Target()}), excluded={1: 2.0, 2: 2.0})
    assert alone.pruned()
    assert (other.lower, list(alone.run())) == (math.inf, [])
    assert other.search is not None
    assert other.search.engine == LINEAR_BOUNDS
    assert not searched(World({1: Target(), 2: Target()}), excluded={1: 2.0})[0].pruned()


def test_a_witness_is_polished_by_its_targets_tree() -> None:
    world = World({1: Target(0.5), 2: Target(0.3)})
    search, (state,) = searched(world)
    assert list(search.polish()) == []
    state.offer(world.point(2, 0.7), polish=False)
    assert list(search.polish()) == [state]
    assert world.of("root") == [(2, 0.7)]


@pytest.mark.parametrize(("radius", "reached"), [(0.3, True), (0.2, False)])
def test_within_a_radius_it_decides_and_no_more(radius: float, *, reached: bool) -> None:
    world = World({1: Target(0.6), 2: Target(0.25)}, inner_balls=True, alone=0)
    search, (state,) = searched(world, within=radius)
    for _ in closed(search):
        pass
    assert (state.upper <= radius) == reached
    assert (state.lower > radius) == (not reached)
    assert {own for _, own in world.of("root")} == {math.nextafter(radius, 1.0)}


def test_in_a_box_without_ends_radii_double_until_a_point_is_found() -> None:
    world = World({1: Target(3.0, step=10.0)}, reach=math.inf)
    search, (state,) = searched(world)
    for _ in closed(search):
        pass
    assert [radius for _, radius in world.of("root")][:3] == [1.0, 2.0, 4.0]
    assert state.closed
    assert state.lower <= 3.0 <= state.upper


def test_a_search_for_what_is_nowhere_in_such_a_box_ends() -> None:
    search, (state,) = searched(World({1: Target(step=math.inf)}, reach=math.inf))
    for _ in closed(search):
        pass
    assert not state.closed
    assert state.reason.endswith("and the box is unbounded")


def hard_outside(*, inner_balls: bool) -> tuple[World, SearchState]:
    """A target whose trees prove nothing on balls beyond 0.4, until the budget ends."""
    world = World({1: Target(0.38, hard=0.4, finds=1000)}, inner_balls=inner_balls, alone=20 * NODES, ends=400)
    search, (state,) = searched(world)
    with contextlib.suppress(OutOfTimeError):
        for _ in search.run():
            assert state.lower <= 0.38
    search.update()
    return world, state


def test_inner_balls_raise_the_lower_end_of_a_tree_that_does_not_close() -> None:
    world, state = hard_outside(inner_balls=True)
    radii = [radius for _, radius in world.of("root")]
    assert radii[0] > 1.0
    assert radii[1:3] == [pytest.approx(0.5), pytest.approx(0.25)]
    assert 0.25 <= state.lower <= 0.38
    explored = [radius for _, radius in world.of("explore")]
    assert min(explored[:20]) > 1.0, "the tree itself comes first"


@pytest.mark.parametrize("limit", [1e9, math.inf])
def test_no_inner_ball_lies_within_what_other_proofs_exclude_by_then(limit: float) -> None:
    """They come by the clock: without a time limit it is as if there were none."""
    world = World({1: Target(0.38, hard=0.4, finds=1000)}, inner_balls=True, alone=20 * NODES, ends=400)
    world.budget = Budget(limit)
    search, (state,) = searched(world)
    state.targets[0].lower, state.targets[0].float32 = 0.3, 0.2
    with contextlib.suppress(OutOfTimeError):
        for _ in search.run():
            assert state.float32 <= state.lower <= 0.38
    (track,) = search._of(state)
    least = min(radius for _, radius in world.of("root"))
    assert (least > 0.3) == math.isfinite(limit)
    assert track.lower > 0.2


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("crowded", [False, True])
def test_nodes_of_inner_balls_are_a_share_of_those_of_the_tree(
    monkeypatch: pytest.MonkeyPatch, share: float, *, crowded: bool
) -> None:
    """Of those that it has had beyond what it has alone, with what roots count as: no more at any time, nor much less
    at the end. None of these trees closes."""
    monkeypatch.setattr(inner_ball, "CROWDED_SHARE" if crowded else "SHARE", share)
    world = World({1: Target(step=0.0, crowded=crowded)}, inner_balls=True, alone=20 * NODES, ends=2000)
    search, _ = searched(world)
    one = inner_ball.ROOT + NODES
    with contextlib.suppress(OutOfTimeError):
        for _ in search.run():
            inner, own = nodes_inside(world)
            assert inner <= share * max(0.0, own - world.alone) + one
    inner, own = nodes_inside(world)
    assert inner >= share * (own - world.alone - NODES) - one
    assert own > one


def nodes_inside(world: World) -> tuple[int, int]:
    """Nodes of inner balls, with what their roots count as, and of the tree itself, whose ball has the reach."""
    inner = [tree for tree in world.made if tree.root_radius < world.reach]
    own = [tree for tree in world.made if tree.root_radius >= world.reach]
    return sum(tree.nodes + inner_ball.ROOT for tree in inner), sum(tree.nodes for tree in own)


@pytest.mark.parametrize("share", [0.25, 1.0, 16.0])
@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("stuck", [math.inf, 0.0])
def test_a_search_ends_although_its_inner_balls_do_not(
    monkeypatch: pytest.MonkeyPatch, share: float, stuck: float, *, crowded: bool
) -> None:
    """The tree itself closes, in a hundred explorations; its inner balls prove nothing, or are stuck."""
    monkeypatch.setattr(inner_ball, "SHARE", share)
    monkeypatch.setattr(inner_ball, "CROWDED_SHARE", share)
    target = Target(step=0.01, idle=0.99, crowded=crowded)
    world = World({1: target}, inner_balls=True, alone=20 * NODES, ends=5000)
    make = world.tree

    def made(*given: Any, **options: Any) -> Tree:
        tree = make(*given, **options)
        if tree.root_radius < world.reach:
            tree.target = replace(target, stuck=stuck)
        return tree

    world.tree = made  # type: ignore[method-assign]
    search, (state,) = searched(world)
    for _ in closed(search):
        pass
    assert state.lower == math.inf
    inner = [radius for _, radius in world.of("root") if radius < world.reach]
    assert inner, "there were inner balls"
    if stuck == 0.0:
        assert len(inner) == len(set(inner)), "one that was stuck is not begun again"


def test_without_inner_balls_it_stays() -> None:
    world, state = hard_outside(inner_balls=False)
    assert numbers(world, "root") == [1]
    assert state.lower == 0.0


def test_trees_last_where_they_have_had_their_nodes_alone() -> None:
    world = World({1: Target(step=0.01)})
    search, _ = searched(world)
    lasts = [search.lasts for _ in search.run()]
    assert lasts[:3] == [False, True, True]


@pytest.mark.parametrize("threads", [1, 2])
def test_when_the_budget_ends_what_is_proved_is_kept(threads: int) -> None:
    world = World({1: Target(step=0.1), 2: Target(step=0.1)}, ends=5)
    search, (state,) = searched(world, threads=threads)
    with pytest.raises(OutOfTimeError, match="interrupted"):
        for _ in search.run():
            pass
    search.update()
    assert 0.1 < state.lower <= 0.4
    assert state.search is not None
    assert NODES * 4 <= state.search.nodes <= NODES * 6


def test_what_was_under_way_in_a_search_that_is_left_is_taken_over() -> None:
    world = World({1: Target(step=0.1), 2: Target(step=0.1)}, meets=threading.Barrier(2))
    search, (state,) = searched(world, threads=2)
    running = search.run()
    next(running)
    running.close()
    assert sorted(target.lower for target in state.targets) == [0.0, 0.1]
    search.update()
    assert [target.lower for target in state.targets] == [tree.lower_end for tree in world.made] == [0.1, 0.1]


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_trees_of_two_targets_are_explored_at_a_time() -> None:
    """Each exploration waits until another one is under way; it would for ever were there only one."""
    world = World({1: Target(step=0.6), 2: Target(step=0.6)}, meets=threading.Barrier(2))
    search, (state,) = searched(world, threads=2)
    for _ in closed(search):
        pass
    assert state.lower == math.inf
    assert sorted(numbers(world, "explore")) == [1, 1, 2, 2]
    assert {count for _, count, _ in world.handed} == {1}
    assert all(name.startswith("ThreadPoolExecutor") for _, _, name in world.handed)
    assert workers() == []


def test_the_only_tree_with_work_to_do_gets_all_threads() -> None:
    world = World({1: Target(step=0.5), 2: Target(step=0.1)})
    search, (state,) = searched(world, threads=3)
    for _ in closed(search):
        pass
    assert state.lower == math.inf
    counts = [(number, count) for number, count, _ in world.handed]
    assert (2, 3) in counts
    assert all(number == 2 for number, count in counts if count == 3)
    assert any(count == 1 for _, count in counts)


def test_one_thread_is_the_callers_own() -> None:
    world = World({1: Target(0.3), 2: Target(0.4)})
    search, _ = searched(world)
    for _ in closed(search):
        pass
    assert {name for _, _, name in world.handed} == {threading.current_thread().name}


def stop(search: TreeSearch) -> None:
    """As who loses interest in the brackets."""
    running = search.run()
    next(running)
    assert workers()
    running.close()


def fail(search: TreeSearch) -> None:
    """As where a tree fails."""

    def failing(*_: Any) -> None:
        raise ZeroDivisionError

    running = search.run()
    next(running)
    assert workers()
    Tree.explore, whole = failing, Tree.explore  # type: ignore
    try:
        with pytest.raises(ZeroDivisionError):
            list(running)
    finally:
        Tree.explore = whole  # type: ignore[method-assign]


@pytest.mark.parametrize("end", [stop, fail])
def test_no_thread_outlives_a_search_that_is_left(end: Callable[[TreeSearch], None]) -> None:
    world = World({number: Target(step=0.01) for number in range(4)})
    search, _ = searched(world, threads=2)
    end(search)
    assert workers() == []
