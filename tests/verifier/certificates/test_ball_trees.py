"""Trees of a ball whose leaves are by lines: what is true is certified, whatever is changed in them proves no more."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.formulations.to_stages import to_stages
from tests.verifier.certificates.parts import Parts, taken_apart
from verifier.certificates import bound_proof, case_trees, checker
from verifier.certificates.ball_proof import checked_query
from verifier.certificates.bound_proof import proof_tree
from verifier.certificates.case_trees import ReluCase
from verifier.certificates.checker import FIRST_RELU, LEAF, LINED, SLOPES, InvalidError
from verifier.certificates.claimed_bounds import ClaimingProof, known_ends
from verifier.certificates.format import STEP, varints
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces, Norm
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.protocol import TreeRoot


@pytest.fixture(autouse=True)
def lined(monkeypatch: pytest.MonkeyPatch) -> None:
    """No LP is small."""
    monkeypatch.setattr(bound_proof, "small_lps", lambda _: False)


@pytest.fixture(scope="module")
def larger(make_case: Callable[..., Any]) -> list[Any]:
    """Cases whose trees have some leaves, of every norm."""
    shapes = ((0, (2, 6, 6, 2), Norm.LINF), (0, (2, 6, 6, 2), Norm.L1), (0, (2, 6, 6, 2), Norm.L2))
    return [make_case(seed, sizes, norm, True) for seed, sizes, norm in (*shapes, (4, (3, 6, 5, 3), Norm.LINF))]


@pytest.fixture(scope="module")
def files(larger: list[Any]) -> list[tuple[Any, bytes]]:
    """Certificates with several leaves, and slopes, for float32 too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bound_proof, "small_lps", lambda _: False)
        made = [(case, case.certified(0.99 * case.truth, float32=0.9 * case.truth)) for case in larger]
    assert all(each.leaves > 1 for _, each in made)
    return [(case, each.content) for case, each in made]


def numbers_of(given: Any) -> checker.Numbers:
    return checker.Numbers(memoryview(varints(np.array(given, dtype=np.int64))))


def place_of(parts: Parts, wanted: Callable[[int], bool]) -> slice:
    """The last node with such a token."""
    found = [own for token, own in parts.nodes() if wanted(token)]
    if not found:
        raise LookupError
    return found[-1]


def put(kind: int, place: int, value: int) -> Callable[[Parts], None]:
    """A number of the last node of a kind."""

    def change(parts: Parts) -> None:
        own = place_of(parts, lambda token: token == kind)
        if own.start + place >= own.stop:
            raise LookupError
        parts.numbers[own.start + place] = value

    return change


def last_split(change: Callable[[Parts, int], None]) -> Callable[[Parts], None]:
    return lambda parts: change(parts, place_of(parts, lambda token: token >= FIRST_RELU).start)


def without(kind: int) -> Callable[[Parts], None]:
    """All nodes of a kind are left out."""

    def change(parts: Parts) -> None:
        left = np.ones(parts.numbers.size, dtype=bool)
        for token, own in parts.nodes():
            left[own] &= token != kind
        if left.all():
            raise LookupError
        parts.numbers = parts.numbers[left]

    return change


def twice(parts: Parts, at: int) -> None:
    """A node below a split is the same split."""
    parts.numbers = np.insert(parts.numbers, at + 1, parts.numbers[at])


def first_gap(value: int) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        own = next((own for token, own in parts.nodes() if token == SLOPES and own.stop > own.start + 2), None)
        if own is None:
            raise LookupError
        parts.numbers[own.start + 2] = value

    return change


CORRUPT: dict[str, tuple[Callable[[Parts], object], str]] = {
    "a leaf's step below 0": (put(LINED, 1, -1), "step is malformed"),
    "a leaf's step too fine": (put(LINED, 1, 61), "step is malformed"),
    "a weight below 0": (put(LINED, 2, -1), "does not close"),
    "a β below 0": (put(LINED, -1 + 5, -1), "does not close|malformed|node|cut off|not open|missing|nothing"),
    "slopes above 1": (put(SLOPES, 3, 257), "malformed|slope|cut off"),
    "no slopes": (without(SLOPES), "before any slopes"),
    "no leaves": (without(LINED), "."),
    "more slopes than ReLUs": (put(SLOPES, 1, 10**6), "slopes are malformed"),
    "a number of slopes below 0": (put(SLOPES, 1, -1), "slopes are malformed"),
    "slopes of one ReLU twice": (first_gap(0), "slopes are malformed"),
    "slopes of a ReLU that is not there": (first_gap(10**6), "slopes are malformed"),
    "gaps that overflow": (first_gap(2**61), "slopes are malformed"),
    "a split twice": (last_split(twice), "twice"),
    "a split of no ReLU": (last_split(lambda parts, at: parts.numbers.__setitem__(at, 10**6)), "not open"),
    "clauses": (last_split(lambda parts, at: parts.numbers.__setitem__(at, checker.CLAUSES)), "."),
    "bounds anew": (last_split(lambda parts, at: parts.numbers.__setitem__(at, checker.BOUNDS)), "."),
    "boxes": (last_split(lambda parts, at: parts.numbers.__setitem__(at, checker.BOXES)), "."),
    "boxes of a ball": (lambda parts: parts.numbers.__setitem__(parts.first_tree, checker.BOXES), "about a ball"),
    "clauses of a ball": (lambda parts: parts.numbers.__setitem__(parts.first_tree, checker.CLAUSES), "about a ball"),
    "quadratic bounds": (last_split(lambda parts, at: parts.numbers.__setitem__(at, checker.QUADRATIC)), "."),
    "a node that is not there": (last_split(lambda parts, at: parts.numbers.__setitem__(at, -5)), "not there"),
    "a number too many": (lambda parts: setattr(parts, "numbers", np.append(parts.numbers, 0)), "belong to nothing"),
    "a number missing": (lambda parts: setattr(parts, "numbers", parts.numbers[:-1]), "cut off"),
    "no trees": (lambda parts: setattr(parts, "numbers", parts.numbers[: parts.first_tree]), "cut off"),
    "anchored": (lambda parts: parts.header.__setitem__("anchored", True), "."),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_trees_are_refused(files: list[tuple[Any, bytes]], name: str) -> None:
    change, reason = CORRUPT[name]
    tried = 0
    for case, content in files:
        parts = taken_apart(content, case.content)
        try:
            change(parts)
        except LookupError:
            continue
        tried += 1
        with pytest.raises(InvalidError, match=reason):
            checker.checked(parts.content(), case.content)
    assert tried


def test_a_tree_of_nothing_is_refused(files: list[tuple[Any, bytes]]) -> None:
    """Where no lower end is claimed."""
    case = next(case for case, _ in files if case.point is not None)
    parts = taken_apart(case.certified(0.0, case.point).content)
    assert not parts.numbers.size
    assert checker.judged(parts.content(), case.content).valid
    parts.header["anchored"] = True
    assert "no radius" in checker.judged(parts.content(), case.content).reason
    parts.header["anchored"] = False
    parts.numbers = np.zeros(1, dtype=np.int64)
    assert "belong to nothing" in checker.judged(parts.content(), case.content).reason


def reached(case: Any, radius: float) -> dict[int, Halfspaces]:
    """The goals that are reached within the radius, by enumeration."""
    ball = case.asked.ball
    return {
        target: goal
        for target, goal in case.asked.goals
        if float(case.net.nearest(ball.norm, ball.centre, goal)) < 0.99 * radius
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_tree_excludes_what_is_reached(finite_cases: list[Any], larger: list[Any]) -> None:
    """Trees that exclude a goal a little farther off, and these changed at random: the goal itself stays."""
    rng, tried, whole = np.random.default_rng(0), 0, 0
    for number, case in enumerate([*larger, *finite_cases[:2]]):
        radius = 1.03 * case.truth
        goals = reached(case, radius)
        ball = case.asked.ball.with_radius(radius).finite
        stages = to_stages(case.model.graph)
        net = checker.read_network(case.content)
        float32 = radius if number % 2 else 0.0
        proof = ClaimingProof(net, checked_query(case.asked), radius, STEP, float32, budget=Budget())
        ends = hidden_bounds(stages, root_bounds(case.model.graph, ball, Budget()))
        proof.claimed(ends)
        lower, upper = known_ends(proof, ends, proof.rooted)
        for target, goal in goals.items():
            farther = Halfspaces(goal.matrix, goal.offset - 0.05 * np.abs(goal.matrix).sum())
            root, none = TreeRoot(stages, ball, farther, lower, upper), np.zeros(0, dtype=np.int64)
            try:
                integers = ReluCase(none, root, proof.rooted, None, most=100).numbers(Budget())
            except NotCertifiedError:
                continue
            own = checker.against(net, target, case.asked.margin)
            proof.refute(own, numbers_of(integers))
            assert proof.failed[-1]
            whole += 1
            for _ in range(12):
                changed = copy.copy(integers)
                at = rng.integers(changed.size, size=rng.integers(1, 4))
                changed[at] = rng.choice([0, 1, 2, 256, 1 << 14, 1 << 20], at.size) + rng.integers(-2, 3, at.size)
                tried += 1
                numbers = numbers_of(changed)
                try:
                    proof.refute(own, numbers)
                except InvalidError:
                    # What waits belongs to the tree that was refused.
                    proof._pending = {False: [], True: []}
                    continue
                assert proof.failed[-1]
    assert whole >= 4
    assert tried >= 40


def test_leaves_that_do_not_close_exactly_are_mended(finite_cases: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree grows anew, and no other does."""
    grown = []

    def noted(*given: Any) -> Any:
        grown.append(proof_tree(*given))
        if len(grown) == 1:
            told = grown[0].integers

            def corrupt(budget: Budget) -> Any:
                parts = told(budget)
                for part in parts:
                    if part[0] == LINED:
                        part[2:] = 0
                return parts

            monkeypatch.setattr(grown[0], "integers", corrupt)
        return grown[-1]

    monkeypatch.setattr(case_trees, "proof_tree", noted)
    case = next(case for case in finite_cases if len(case.asked.goals) > 1)
    made = case.certified(0.9 * case.truth)
    assert made.result.lower == 0.9 * case.truth
    assert len(grown) == len(case.asked.goals) + 1
    assert grown[-1].lined_margin == case_trees.COARSER * grown[0].lined_margin


def test_numbers_are_decoded_as_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "CHUNK", 16)
    values = np.random.default_rng(0).integers(-(2**40), 2**40, 300) >> np.arange(300) % 40
    for step in (1, 7, 300):
        numbers = numbers_of(values)
        found = np.concatenate([numbers.take(min(step, numbers.left)) for _ in range(0, 300, step)])
        np.testing.assert_array_equal(found, values)
        assert numbers.left == 0
        with pytest.raises(InvalidError, match="cut off"):
            numbers.one()
    bad = checker.Numbers(memoryview(b"\x01" * 40 + b"\x80\x00" + b"\x01"))
    bad.take(15)
    with pytest.raises(InvalidError, match="too long"):
        bad.take(bad.left)


def test_kinds_of_leaves_wait_apart(files: list[tuple[Any, bytes]]) -> None:
    """A leaf with multipliers between leaves by lines: the whole is read all the same, and none of it is lost."""
    case, content = files[0]
    parts = taken_apart(content, case.content)
    own = next(own for token, own in parts.nodes() if token == LINED)
    # All multipliers are 0: such a leaf does not close.
    leaf = np.append(np.array([LEAF, 10]), np.zeros(parts.rows + parts.kept, dtype=np.int64))
    parts.numbers = np.concatenate([parts.numbers[: own.start], leaf, parts.numbers[own.stop :]])
    with pytest.raises(InvalidError, match="leaf 0 does not close"):
        checker.checked(parts.content(), case.content)


def test_leaves_that_wait_take_no_more_memory_than_what_is_evaluated(
    files: list[tuple[Any, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaf by lines is short in the file, and long in memory: 4 kB took 1.8 GB of a net of many small layers."""
    evaluate, waiting = checker.Proof._evaluate, list[int]()

    def noted(proof: checker.Proof, lined: bool) -> None:
        waiting.append(len(proof._pending[lined]))
        evaluate(proof, lined)

    monkeypatch.setattr(checker.Proof, "_evaluate", noted)
    for case, content in files:
        kept = taken_apart(content, case.content).kept
        monkeypatch.setattr(checker, "MOST_TOGETHER", 1 << 20)
        checker.checked(content, case.content)
        most, found = max(waiting), sum(waiting)
        waiting.clear()
        monkeypatch.setattr(checker, "MOST_TOGETHER", 2 * kept)
        checker.checked(content, case.content)
        assert max(waiting) == min(most, 2)
        assert sum(waiting) == found
        waiting.clear()


def test_slopes_anew_count_all_of_them(files: list[tuple[Any, bytes]]) -> None:
    """However few change: all are copied."""
    case, content = files[0]
    claim = checker.parse(content)
    assert isinstance(claim, checker.CheckedCertificate)
    proof = checker.Proof(checker.read_network(case.content), claim.query, claim.radius, STEP)
    node, before = proof.bounded(checker.ReluNode.root([]), claim.numbers), proof.work
    proof._sloped(node, numbers_of([0]))
    assert proof.work == before + checker.STEP_WORK + node.off.size


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_lines_are_below_the_relu_at_every_argument(seed: int, flat: bool) -> None:
    """Of bounds, and of leaves whose slopes and β are any: exactly, at every argument where the least can be."""
    rng, size, rows = np.random.default_rng(seed), 9, 5
    kept, active = np.sort(rng.choice(size, 7, replace=False)), rng.random(7) < 0.3
    bits = int(rng.choice([3, 24, 60]))
    low, high = (rng.integers(1, 1 << bits, 7).astype(object) for _ in range(2))
    layer = checker.Layer(kept, active, np.where(active, low - 1, -low), np.where(active, 0, high), 24)
    mu = rng.integers(-(1 << 50), 1 << 50, (rows, size)) >> rng.integers(0, 50, (rows, size))
    den = int(rng.choice([1, 1 << 40, 3**30]))
    side = rng.integers(-1, 2, (rows, 7)) * ~active
    off, on = side < 0, side > 0
    beta = np.where(side != 0, rng.integers(0, 1 << int(rng.choice([4, 61])), (rows, 7)), 0)
    slopes = rng.choice([0, 100, 256], (rows, 7))
    leaves = None if flat else checker.LinedLeaves(off, on, slopes, beta, int(rng.integers(0, 61)))
    nu, below, (share, under) = layer.on_lines(mu.astype(object), den, leaves, flat=flat)
    assert not np.delete(nu, kept, axis=1).any()
    for row in range(rows):
        least = Fraction(0)
        for place, neuron in enumerate(kept.tolist()):
            ends = [layer.low[place], 0, layer.high[place]]
            if active[place]:
                ends = [layer.low[place], layer.low[place] + (1 << 62)]
            elif not flat:
                ends = ends[: 2 if off[row, place] else 3][1 if on[row, place] else 0 :]
            own, sent = Fraction(int(mu[row, neuron]), den), Fraction(int(nu[row, neuron]), below)
            least += min(own * max(t, 0) - sent * t for t in (Fraction(int(end), 1 << 24) for end in ends))
        assert Fraction(int(share[row]), under) <= least
