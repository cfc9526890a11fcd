"""The method tree's brackets: against enumeration, against MILP on the shipped net, interrupted, at fine precision."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import verifier
from encoders.network.exact import exact_outputs
from verifier import models
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts, distance_exact
from verifier.problem.verdict import Bracket, Evidence, Holds, Status
from verifier.search.minimum import ON_A_TIE
from verifier.solvers.milp import Milp

TRUTH = 1e-6
"""What enumerated distances and a MILP's verdicts may be off by: their solvers' tolerances."""

FINE = 1e-5
"""A precision that a float32 witness can meet where pixels and distances are about 1."""

NETS = ((0, (3, 5, 3)), (7, (3, 6, 6, 3)), (8, (5, 6, 3)), (8, (4, 6, 5, 3)), (12, (2, 4, 4, 4, 2)), (15, (3, 12, 4)))

INPUTS, RUNNERS_UP = range(4), (2, 4)
"""On the shipped net: inputs, and as targets the classes with the second, third and fourth largest logit."""


class Session:
    """A model in an ONNX Runtime session of the test's own."""

    def __init__(self, model: verifier.Model) -> None:
        self.model = model
        self._session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])

    def logits(self, point: Any) -> Any:
        feed = {self.model.network.input_name: np.asarray(point, np.float32).reshape(self.model.network.input_shape)}
        return self._session.run(None, feed)[0][0]

    def assert_real(self, x: Any, bracket: Bracket, norm: str) -> None:
        """The witness is what the bracket says, in exact arithmetic and by ONNX Runtime."""
        witness = bracket.witness
        assert witness is not None
        assert witness.point.dtype == np.float32
        assert np.all((witness.point >= 0) & (witness.point <= 1))
        assert distance_exact(Norm(norm), witness.point, x) <= bracket.upper
        exact = exact_outputs(self.model.graph, witness.point)
        assert max(exact) == exact[witness.target]
        assert int(np.argmax(self.logits(witness.point))) == witness.predicted == witness.target == bracket.target


@pytest.fixture(scope="module")
def digits() -> Session:
    return Session(verifier.load(models.path("digits")))


@pytest.fixture(scope="module")
def images() -> Any:
    return np.load(models.path("digits").parent / "digits_inputs.npz")["x"]


@pytest.fixture(scope="module")
def small(make_root: Callable[..., Any], save_net: Callable[[Any], verifier.Model]) -> Callable[..., Any]:
    """small(seed, sizes, norm): (the question of `make_root` about the runner-up, the net's session)."""
    sessions: dict[Any, Session] = {}

    def make(seed: int, sizes: tuple[int, ...], norm: Norm) -> tuple[Any, Session]:
        root = make_root(seed, sizes, norm)
        if (seed, sizes) not in sessions:
            sessions[seed, sizes] = Session(save_net(root.net))
        return root, sessions[seed, sizes]

    return make


def assert_honest(bracket: Bracket, truth: float) -> None:
    """The truth is inside; the status is what the ends say, and there is a reason for one that stayed open."""
    assert bracket.lower <= truth + TRUTH
    assert bracket.upper >= truth - TRUTH
    assert bracket.evidence is Evidence.PROVED
    closed = math.isinf(bracket.lower) or bracket.upper - bracket.lower <= bracket.precision
    assert (bracket.status is Status.BRACKETED) == (not closed)
    assert bool(bracket.reason) == (not closed)
    assert (bracket.status is Status.UNREACHABLE) == math.isinf(bracket.lower)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize(("seed", "sizes"), NETS)
def test_brackets_close_around_the_enumerated_distance(
    small: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: str
) -> None:
    """For every target; the untargeted distance is the least of them."""
    root, session = small(seed, sizes, Norm(norm))
    x, model = root.ball.centre, session.model
    options: dict[str, Any] = {"norm": norm, "method": "tree", "precision": FINE}
    truths = []
    for target in set(range(sizes[-1])) - {model.predict(x)}:
        goal = disjuncts(Targeted(target), sizes[-1])[0][1]
        truths.append(root.net.nearest(root.ball.norm, x, goal))
        bracket = verifier.minimal(model, x, target=target, **options)
        assert_honest(bracket, truths[-1])
        assert bracket.status is (Status.UNREACHABLE if math.isinf(truths[-1]) else Status.MINIMAL)
        if math.isfinite(truths[-1]):
            session.assert_real(x, bracket, norm)
    assert_honest(verifier.minimal(model, x, **options), min(truths))


@pytest.mark.parametrize("place", RUNNERS_UP)
@pytest.mark.parametrize("index", INPUTS)
def test_milp_finds_nothing_below_the_bracket(digits: Session, images: Any, index: int, place: int) -> None:
    """12 instances, in turn in one norm and the other: closed, a real witness at the upper end, and to a MILP no point
    within the lower end."""
    x, model, norm = images[index], digits.model, ("linf", "l1")[(index + place) % 2]
    target = int(np.argsort(digits.logits(x))[-place])
    bracket = verifier.minimal(model, x, target=target, norm=norm, method="tree")
    assert bracket.status is Status.MINIMAL
    assert bracket.gap <= bracket.precision
    digits.assert_real(x, bracket, norm)
    ball = Ball(Norm(norm), x.astype(float), bracket.lower * (1.0 - FINE), np.zeros(64), np.ones(64))
    query = Query(model.graph, ball, disjuncts(Targeted(target), 10)[0][1])
    assert isinstance(Milp("highs").decide(query, linear_bounds(model.graph, ball, Budget()), Budget()), Holds)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("index", [2])
def test_the_method_milp_gives_the_same(digits: Session, images: Any, index: int, norm: str) -> None:
    x = images[index]
    target = int(np.argsort(digits.logits(x))[-2])
    tree, milp = (
        verifier.minimal(digits.model, x, target=target, norm=norm, method=method) for method in ("tree", "milp")
    )
    assert tree.status is milp.status is Status.MINIMAL
    assert max(tree.lower, milp.lower) <= min(tree.upper, milp.upper) + TRUTH


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_brackets_shrink_and_the_last_is_final(digits: Session, images: Any, norm: str) -> None:
    seen = list(verifier.brackets(digits.model, images[1], norm=norm, method="tree", precision=1e-6))
    assert len(seen) >= 2
    assert [bracket.final for bracket in seen] == [False] * (len(seen) - 1) + [True]
    for before, after in itertools.pairwise(seen):
        assert before.lower <= after.lower <= after.upper <= before.upper


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_untargeted_is_the_least_of_all_targets(digits: Session, images: Any, norm: str) -> None:
    for index in (5, 12):
        untargeted = verifier.minimal(digits.model, images[index], norm=norm, method="tree")
        every = verifier.minimal_all_targets(digits.model, images[index], norm=norm, method="tree")
        assert len(every.results) == 9
        assert untargeted.status is every.overall.status is Status.MINIMAL
        assert untargeted.lower <= every.overall.upper
        assert every.overall.lower <= untargeted.upper
        assert every.overall.target == untargeted.target
        digits.assert_real(images[index], untargeted, norm)


@pytest.mark.parametrize("precision", [1e-6, 1e-9])
@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize(("seed", "sizes"), NETS)
def test_any_precision_is_honest(
    small: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: str, precision: float
) -> None:
    """Where float32 pixels or LP tolerances do not allow it the bracket stays open, says so, and holds all the same."""
    root, session = small(seed, sizes, Norm(norm))
    x, target = root.ball.centre, int(np.argmax(root.goal.matrix[0]))
    bracket = verifier.minimal(session.model, x, target=target, precision=precision, norm=norm, method="tree")
    assert_honest(bracket, root.nearest)
    assert bracket.gap <= FINE or math.isinf(bracket.lower)
    if bracket.witness is not None:
        session.assert_real(x, bracket, norm)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("index", [0, 8])
def test_a_finer_precision_gives_no_wider_bracket(digits: Session, images: Any, index: int, norm: str) -> None:
    coarse, fine = (
        verifier.minimal(digits.model, images[index], precision=precision, norm=norm, method="tree")
        for precision in (1e-6, 1e-9)
    )
    assert coarse.status is Status.MINIMAL
    assert max(coarse.lower, fine.lower) <= min(coarse.upper, fine.upper)
    assert fine.gap <= coarse.gap
    digits.assert_real(images[index], fine, norm)


class Countdown(Budget):
    """A budget that ends after so many looks at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def remaining(self) -> float:
        self.looks -= 1
        return 1.0 if self.looks >= 0 else 0.0


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize(("seed", "sizes"), NETS)
def test_interrupted_at_any_moment_the_bracket_holds(
    small: Callable[..., Any], seed: int, sizes: tuple[int, ...], norm: str
) -> None:
    """The budget ends after 0, 1, 4, 16, 64 … looks, until it lasts."""
    root, session = small(seed, sizes, Norm(norm))
    truth, target, seen = root.nearest, int(np.argmax(root.goal.matrix[0])), []
    for looks in (0, *(4**power for power in range(10))):
        options: dict[str, Any] = {"norm": norm, "target": target, "method": "tree", "timeout": Countdown(looks)}
        *_, last = verifier.brackets(session.model, root.ball.centre, **options)
        assert last.final
        assert_honest(last, truth)
        if last.witness is not None:
            session.assert_real(root.ball.centre, last, norm)
        seen.append(last.status)
        if last.status is not Status.BRACKETED:
            break
    assert len(seen) >= 3
    assert seen[-1] is not Status.BRACKETED


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_spent_or_cancelled_budget(digits: Session, images: Any, norm: str) -> None:
    closed = verifier.minimal(digits.model, images[0], norm=norm, method="tree")
    cancelled = Budget()
    cancelled.cancel()
    for budget, reason in ((1e-9, "the time limit of 1e-09 s was reached"), (cancelled, "interrupted")):
        found = verifier.minimal(digits.model, images[0], norm=norm, method="tree", timeout=budget)
        assert (found.final, found.status, found.reason) == (True, Status.BRACKETED, reason)
        assert found.lower <= closed.upper
        assert found.upper >= closed.lower


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_cancelled_between_two_brackets(digits: Session, images: Any, norm: str) -> None:
    budget = Budget()
    search = verifier.brackets(digits.model, images[0], norm=norm, method="tree", precision=1e-6, timeout=budget)
    first = next(search)
    budget.cancel()
    *_, last = search
    closed = verifier.minimal(digits.model, images[0], norm=norm, method="tree", precision=1e-6)
    assert (first.status, last.status) == (Status.BRACKETED, Status.BRACKETED)
    assert last.final
    assert "interrupted" in last.reason
    assert max(first.lower, last.lower) <= closed.upper
    assert min(first.upper, last.upper) >= closed.lower


LINE = (([[1.0], [-1.0], [0.0]], [0.0, 1.0, -1.0]),)
"""Logits (x, 1 − x, −1): classes 0 and 1 tie at x = 1/2, class 2 is nowhere."""

FAR = (([[-1.0]], [-1e6]), ([[0.0], [2.0]], [1.0, 0.0]))
"""Logits (1, 2·relu(−x − 10⁶)): class 1 from x = −10⁶ − 1/2 on, where no attack from 0 gets a gradient."""


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_network_without_relus(truth: Any, save_net: Callable[[Any], verifier.Model], norm: str) -> None:
    model = save_net(truth.of_layers(*LINE))
    tie = verifier.minimal(model, [0.75], target=1, precision=FINE, norm=norm, method="tree")
    assert_honest(tie, 0.25)
    assert tie.status is Status.MINIMAL
    assert verifier.minimal(model, [0.75], target=2, norm=norm, method="tree").status is Status.UNREACHABLE


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("box", [(-math.inf, math.inf), (-math.inf, 1.0), (-1e7, 1e7)])
def test_wide_and_endless_boxes(
    truth: Any, save_net: Callable[[Any], verifier.Model], norm: str, box: tuple[float, float]
) -> None:
    """A far point that the attack may miss is not denied, a near one not lost, and "nowhere" said only when proved."""
    line, far = save_net(truth.of_layers(*LINE)), save_net(truth.of_layers(*FAR))
    options: dict[str, Any] = {"norm": norm, "method": "tree", "box": box}
    found = verifier.minimal(far, [0.0], target=1, precision=1.0, **options)
    assert found.lower <= 1e6 + 0.5 + TRUTH
    assert found.upper >= 1e6 + 0.5 - TRUTH
    near = verifier.minimal(line, [0.75], target=1, precision=FINE, **options)
    assert near.status is Status.MINIMAL
    assert_honest(near, 0.25)
    nowhere = verifier.minimal(line, [0.75], target=2, **options)
    assert nowhere.witness is None
    assert nowhere.status is (Status.UNREACHABLE if math.isfinite(box[0]) else Status.BRACKETED)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_tight_box_is_unreachable(digits: Session, images: Any, norm: str) -> None:
    """… and so is one that holds the input alone."""
    x = images[2]
    for width in (0.01, 0.0):
        box = np.maximum(x - width, 0), np.minimum(x + width, 1)
        found = verifier.minimal(digits.model, x, box=box, norm=norm, method="tree")
        assert (found.status, found.lower, found.witness) == (Status.UNREACHABLE, math.inf, None)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_check_on_both_sides_of_the_minimum(digits: Session, images: Any, norm: str) -> None:
    closed = verifier.minimal(digits.model, images[4], norm=norm, method="tree")
    inside = verifier.check(digits.model, images[4], closed.lower, norm=norm, method="tree")
    outside = verifier.check(digits.model, images[4], closed.upper + 1e-4, norm=norm, method="tree")
    assert inside.verdict == Holds(Evidence.PROVED)
    assert outside.witness is not None
    assert outside.witness.distance <= closed.upper + 1e-4


def test_an_input_on_a_tie_says_why_its_lower_end_stays_0(
    truth: Any, save_net: Callable[[Any], verifier.Model]
) -> None:
    """z = x, where class 1 is reached at distance 0 over the reals; class 2, or an input off it, tells of no tie."""
    model = save_net(truth.of_layers((np.eye(3), np.zeros(3)), (np.eye(3), np.zeros(3))))
    x = np.array([0.5, 0.5, 0.125])
    found = verifier.minimal(model, x, precision=1e-9)
    assert (found.status, found.lower) == (Status.BRACKETED, 0.0)
    assert found.reason.endswith(ON_A_TIE)
    every = verifier.minimal_all_targets(model, x, precision=1e-9)
    assert every.overall.reason.endswith(ON_A_TIE)
    assert [bracket.target for bracket in every.results if bracket.reason.endswith(ON_A_TIE)] == [1]
    off = verifier.minimal(model, np.array([0.5, 0.499999, 0.125]), precision=1e-12)
    assert ON_A_TIE not in off.reason
