"""Clauses in certificates: rows hold exactly, what propagation learns is accepted, what does not follow is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from encoders.formulations.to_stages import to_stages
from tests.verifier.certificates.nets import model_of
from tests.verifier.certificates.parts import case_proof, know_all
from tests.verifier.certificates.test_property_certificates import NEVER, OVER, RAMP, exact_values, reason, skipping
from tests.verifier.solvers.formulas import Formula
from verifier.certificates import checker, clause_tree
from verifier.certificates.aptp_proofs import aptp_proofs
from verifier.certificates.checker import BOUNDS, CLAUSES, FIRST_RELU, LEAF
from verifier.certificates.format import property_encoded
from verifier.certificates.property_builder import property_certified
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.solvers.learning import LearningSearch

SaveNet = Callable[..., verifier.Model]


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: SaveNet) -> verifier.Model:
    """y = min(x, 1 − x) on [0, 1]."""
    return save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))


# Variables: x, z = x, u = x − 1/2; behind them their upper ends. Rows: z ≤ x, z ≥ x, u ≤ …, u ≥ …, the goal's.
X_TOP, Z_TOP, U_TOP, GOAL = 3, 4, 5, 4
ROUND = [3, X_TOP, 0, Z_TOP]  # u ≥ x − 1/2 bounds x, z ≤ x bounds z
SPENT = [GOAL, -1]
ON_HOLDS_NOT = [1, 2, 0, 10, GOAL, U_TOP, *ROUND, GOAL, U_TOP, *ROUND, *SPENT]  # u ≥ 0 leads to a contradiction
ON_HOLDS_NOT[3] = len(ON_HOLDS_NOT) - 4
OFF = [GOAL + 1, *ROUND, *SPENT]  # the clause says that u ≤ 0
LAST = [0, len(OFF), *OFF]
PROOF = [CLAUSES, 24, 0, 2, *ON_HOLDS_NOT, *LAST]


def test_clauses_are_accepted(ramp: verifier.Model) -> None:
    assert reason(ramp, PROOF) == ""
    assert reason(ramp, [BOUNDS, 1, 2, 0, *PROOF]) == ""
    assert reason(ramp, PROOF, OVER) == "case 0: clause 0 does not follow"
    # Two of a case; each keeps what it knows to itself.
    both = "(assert (or (>= Y_0 0.6) (>= Y_0 0.7)))"
    assert reason(ramp, [*PROOF, *PROOF], both) == ""
    assert "a clause that is not there" in reason(ramp, [*PROOF, CLAUSES, 24, 0, 1, *LAST], both)


# The goal's row and u's: z − 2 max(u, 0) − 0.6 + 2 (x − 1/2 − u) ≥ 0.
SUM = [1, 1, 0, 2]
FORGED = {
    "no clause": ([CLAUSES, 24, 0, 0], "the last clause does not follow"),
    "the last one is missing": ([CLAUSES, 24, 0, 1, *ON_HOLDS_NOT], "the last clause does not follow"),
    "the last one alone": ([CLAUSES, 24, 0, 1, *LAST], "a clause that is not there"),
    "without its steps": ([CLAUSES, 24, 0, 2, 1, 2, 0, 0, *LAST], "clause 0 does not follow"),
    "of another literal": (
        [CLAUSES, 24, 0, 2, 1, U_TOP, 0, *ON_HOLDS_NOT[3:], *LAST],
        "the last clause does not follow",
    ),
    "its opposite": ([CLAUSES, 24, 0, 2, *ON_HOLDS_NOT, 0, 3, GOAL + 1, *SPENT], "the last clause does not follow"),
    "itself": ([CLAUSES, 24, 0, 2, 1, 2, 0, 1, GOAL + 1, *LAST], "a clause that is not there"),
    "behind the last": ([CLAUSES, 24, 0, 3, *ON_HOLDS_NOT, *LAST, 0, 0], "clauses behind the last one"),
    "cut off": (PROOF[:-1], "cut off"),
    "more": ([*PROOF, 0], "belong to nothing"),
    "no such row": ([CLAUSES, 24, 0, 1, 0, 2, -1, -1], "a step that is not there"),
    "no such end": ([CLAUSES, 24, 0, 1, 0, 2, 0, 6], "a step that is not there"),
    "no such literal": ([CLAUSES, 24, 0, 2, 1, 6, 0, 0, *LAST], "a variable that is not there"),
    "more literals than ends": ([CLAUSES, 24, 0, 2, 7, *[2, 0] * 7, 0, *LAST], "more literals than there are ends"),
    "a negative number of literals": ([CLAUSES, 24, 0, 1, -1, 0], "cut off"),
    "a negative number of clauses": ([CLAUSES, 24, 0, -1], "the last clause does not follow"),
    "no such step": ([CLAUSES, 61, 0, 1, *LAST], "a step of clauses is malformed"),
    "a negative weight": ([CLAUSES, 24, 1, -1, 0, 0, 1, *LAST], "a negative weight"),
    "behind a split": ([BOUNDS, 1, 2, 0, FIRST_RELU + 1, *PROOF, LEAF, 0, 1, 0, 1], "behind a split"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_clauses_are_refused(name: str, ramp: verifier.Model) -> None:
    numbers, why = FORGED[name]
    assert why in reason(ramp, numbers)


def test_random_numbers_prove_no_property_that_is_false(ramp: verifier.Model) -> None:
    """150 changes of valid clauses, with and without a sum of rows."""
    rng = np.random.default_rng(0)
    words = [*range(-1, 8), 1 << 22, -(1 << 22)]
    summed = [CLAUSES, 24, *SUM, 2, *ON_HOLDS_NOT, 0, len(OFF), GOAL + 2, *OFF[1:]]
    assert reason(ramp, summed) == ""
    for _ in range(150):
        numbers = [*(PROOF, summed)[rng.integers(2)]]
        for place in rng.integers(1, len(numbers), 2):
            numbers[place] = int(rng.choice(words))
        assert reason(ramp, numbers, OVER)


@pytest.mark.parametrize(("state", "least"), [(1, 10), (0, 4)])
def test_ends_that_bounds_leave_open_stay_so(
    state: int, least: int, truth: Any, save_net: SaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """z = x is active, z = −x is off, on [0, 8]: of z ≤ 1, and of z ≥ −1, x + relu(z) would never be so large."""
    monkeypatch.setattr("verifier.certificates.format.STEP", checker.FINEST)
    model = save_net(truth.of_layers(([[1.0 if state else -1.0]], [0.0]), ([[1.0]], [0.0])))
    text = (
        f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0) (<= X_0 8) (>= (+ X_0 Y_0) {least})))"
    ).encode()
    content = model.path.read_bytes()
    read = checker.read_network(content)
    for step in (0, 24):
        numbers = np.array([BOUNDS, state, 0, CLAUSES, step, 0, 1, 0, 4, 0, 2, 2, -1])
        judged = checker.judged(property_encoded(read.digest, text, [numbers]), content)
        assert judged.reason == "case 0: the last clause does not follow"


def test_rows_hold_exactly() -> None:
    """Those of a network whose layers skip, of a row with inputs and thirds, and sums of them: at 30 points."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=shape) for shape in ((7, 3), (5, 7), (5, 3), (2, 5), (2, 7))]
    read = checker.read_network(skipping(weights, rng))
    rows = [{("Y", 0): Fraction(1), ("Y", 1): Fraction(-1, 3), ("X", 2): Fraction(1, 7), ("", 0): Fraction(1, 3)}]
    lo, hi = np.array([-1.0, 0.1, 2.0]), np.array([1.0, 0.1, 2.5])
    proof = case_proof(read, checker.PropertyCase(lo, hi, rows), 24)
    clauses = checker.ClauseProof(proof, [], 24)
    count = 3
    numbers = rng.integers(-40, 40, (count, 1 + 12))
    numbers[:, 0] = abs(numbers[:, 0])
    content = property_encoded("", b"", [np.append(count, numbers.reshape(-1))])
    found = checker.parse(content)
    assert isinstance(found, checker.PropertyCertificate)
    clauses.sums(found.numbers)
    assert len(clauses.rows) == 24 + 1 + count
    for _ in range(30):
        point = [Fraction(float(v)) for v in lo + (hi - lo) * rng.integers(0, 9, 3) / 8]
        arguments = [v for name in read.arguments for v in exact_values(read, name, point)]
        values = [*point, *arguments]
        for end, value in enumerate([*values, *(-v for v in values)]):
            assert Fraction(int(clauses.bound[end]), 1 << 24) <= value
        outputs = exact_values(read, read.scores, point)
        goal = outputs[0] - outputs[1] / 3 + point[2] / 7 + Fraction(1, 3)
        for number, row in enumerate(clauses.rows):
            total = Fraction(row.constant, 1 << 24)
            for variable, above, below in zip(row.variable.tolist(), row.above, row.below, strict=True):
                total += (above if values[variable] > 0 else below) * values[variable]
            # A definition is met exactly; the goal's row, and a sum with a weight, only where the point meets it.
            assert total >= 0 or (number >= 24 and goal < 0)
            assert number >= 24 or total < Fraction(1, 1 << 20)


def test_ends_by_enumeration() -> None:
    """Of 3,000 terms of one variable, against all integers."""
    rng = np.random.default_rng(6)
    for above, below, high, least in rng.integers(-6, 7, (3000, 4)).tolist():
        fits = [v for v in range(-20, high + 1) if (above if v > 0 else below) * v >= least]
        found = checker.falls_to(above, below, high, least)
        assert found <= high
        assert all(v <= found for v in fits)


@pytest.mark.parametrize("float32", [False, True])
def test_formulas_are_certified(float32: bool, truth: Any, save_net: SaveNet) -> None:
    """Such as nothing satisfies, by clauses; others have none, whatever is said of them."""
    rng, certified = np.random.default_rng(1), 0
    for _ in range(4):
        formula = Formula.drawn(rng, 5, 30, 3)
        model = save_net(truth.of_layers(*formula.layers))
        if formula.models:
            continue
        rows = "(assert (and (>= Y_0 1) (<= Y_1 0)))"
        text = declared(5) + rows
        made = property_certified(model, text.encode(), Budget(), worlds=(float32,))
        assert made.result.float32 is float32
        claim = checker.parse(made.content)
        assert isinstance(claim, checker.PropertyCertificate)
        assert CLAUSES in claim.numbers.take(claim.numbers.left)
        judged = checker.judged(made.content, model.path.read_bytes(), checker.Demands(property=text.encode()))
        assert judged.valid
        with pytest.raises(InputError, match="clauses"):
            aptp_proofs(made.content, model.path.read_bytes(), model.path.parent, Budget())
        certified += 1
    assert certified > 0


@pytest.mark.parametrize("float32", [False, True])
def test_clauses_that_do_not_follow_are_sought_with_what_the_checker_knows(
    float32: bool, truth: Any, save_net: SaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds over the reals are tighter than those of float32 evaluations: what follows from them may not follow."""
    follow, asked = clause_tree._follow, iter((False,))
    monkeypatch.setattr(clause_tree, "_follow", lambda exact, made: next(asked, follow(exact, made)))
    begun: list[tuple[Any, Any]] = []

    class Begun(LearningSearch):
        def __init__(self, stages: Any, ball: Any, goal: Any, lower: Any, upper: Any, **rest: Any) -> None:
            begun.append((lower, upper))
            super().__init__(stages, ball, goal, lower, upper, **rest)

    monkeypatch.setattr(clause_tree, "LearningSearch", Begun)
    formula = Formula.drawn(np.random.default_rng(1), 6, 60, 3)
    model = save_net(truth.of_layers(*formula.layers))
    text = (declared(6) + "(assert (and (>= Y_0 1) (<= Y_1 0)))").encode()
    made = property_certified(model, text, Budget(), worlds=(float32,))
    claim = checker.parse(made.content)
    assert isinstance(claim, checker.PropertyCertificate)
    read = checker.read_network(model.path.read_bytes())
    (case,) = checker.property_cases(checker.PropertyText(claim.text))
    proof = case_proof(read, case, claim.step, float32)
    if float32:
        know_all(proof)
    exact = checker.ClauseProof(proof, proof.rooted, 24)
    _, (lower, upper) = begun
    arguments = slice(exact.variables - exact.relus, exact.variables)
    ends = np.concatenate([lower, -upper]) * 2.0**24
    assert np.all(ends <= np.concatenate([exact.bound[arguments], exact.bound[exact.variables :][arguments]]))


def test_no_clauses_are_sought_of_layers_whose_rows_take_gigabytes(
    truth: Any, save_net: SaveNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_net(truth.of_layers(*Formula.drawn(np.random.default_rng(1), 3, 24, 3).layers))
    root: Any = SimpleNamespace(stages=to_stages(model.graph))
    sought: list[int] = []
    monkeypatch.setattr(clause_tree, "pays", lambda _: True)
    monkeypatch.setattr(clause_tree, "_searched", lambda *_: sought.append(clause_tree.MOST))
    for most in (30**2 - 1, 30**2):
        monkeypatch.setattr(clause_tree, "MOST", most)
        nothing: Any = None
        assert clause_tree.clauses_of(root, nothing, Budget()) is None
    assert sought == [30**2]


def followed(model: verifier.Model, numbers: list[int], budget: Budget) -> clause_tree.FollowedClauses:
    """The ramp's clauses, read with looks at a budget."""
    text = (RAMP + NEVER).encode()
    (case,) = checker.property_cases(checker.PropertyText(text))
    proof = case_proof(checker.read_network(model.path.read_bytes()), case, 24)
    found = clause_tree.FollowedClauses(proof, [], 24, budget)
    content = property_encoded("", text, [np.array(numbers)])
    claim = checker.parse(content)
    assert isinstance(claim, checker.PropertyCertificate)
    found.refuted(claim.numbers)
    return found


def test_one_long_clause_is_followed_within_the_time(ramp: verifier.Model) -> None:
    """Rows, and each step of a clause, are looked at with the time in view: one clause may have a million steps."""
    looks: list[int] = []
    budget: Any = SimpleNamespace(check=lambda: looks.append(1))
    numbers = [0, 1, 0, 2 * 500, *ROUND[:2] * 500]
    with pytest.raises(checker.InvalidError, match="does not follow"):
        followed(ramp, numbers, budget)
    assert len(looks) > 500
    budget = Budget()
    budget.cancel()
    with pytest.raises(OutOfTimeError):
        followed(ramp, numbers, budget)


@pytest.mark.parametrize(
    "numbers",
    [
        [CLAUSES, 24, 0, 1, 0, 2 * 3000, *ROUND[:2] * 3000],  # steps
        [CLAUSES, 24, 0, 2, 6, *[1, 0] * 5, 1, 1 << 60, 0, 0, 400, *[GOAL + 1] * 400],  # literals looked at
        [CLAUSES, 24, 3000, *[1, 1, 1] * 3000, 0],  # sums
    ],
    ids=["steps", "literals", "sums"],
)
def test_clauses_that_take_too_long_are_refused(
    numbers: list[int], ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "follow" in reason(ramp, numbers)
    monkeypatch.setattr(checker, "STEP_WORK", 1)
    monkeypatch.setattr(checker, "MOST_WORK", 100_000)
    assert "asks for too many evaluations" in reason(ramp, numbers)


def test_what_long_rows_and_clauses_cost_counts(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(checker.ClauseProof, "_count", lambda _, work: counted.append(work))
    budget: Any = SimpleNamespace(check=lambda: None)
    with pytest.raises(checker.InvalidError):
        followed(ramp, [0, 1, 0, 2, 0, Z_TOP], budget)
    assert counted[-1] == (1 << checker.CLAUSE_BITS) + 2  # z ≤ x, of two variables
    with pytest.raises(checker.InvalidError):
        followed(ramp, [0, 2, *ON_HOLDS_NOT, 0, 1, GOAL + 1], budget)
    assert counted[-1] == (1 << checker.CLAUSE_BITS) + (1 << checker.LONG_BITS)  # a clause of one literal


def test_rows_of_huge_sparse_layers_and_too_many_sums_are_refused(
    ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer of 30,000 ReLUs, each of one input, has 30,000² entries in rows that the checker would make at once."""
    size = 30_000
    nodes = [("Relu", ["x"], "h", {}), ("MatMul", ["h", "w"], "y", {})]
    model = model_of(nodes, [1, size], {"w": np.ones((size, 3), dtype=np.float32)})
    net = checker.read_network(model.SerializeToString())
    lo, hi = np.zeros(size), np.ones(size)
    proof = case_proof(net, checker.PropertyCase(lo, hi, [{("Y", 0): Fraction(1)}]), 24)
    before = proof.work
    with pytest.raises(checker.InvalidError, match=checker.DENSE):
        checker.ClauseProof(proof, [], 24)
    assert proof.work == before
    monkeypatch.setattr(checker, "MOST_DENSE", 40)
    assert checker.DENSE in reason(ramp, [CLAUSES, 24, 20, *[1, 1, 1] * 20, 0])
    # Sums that are 0 have no entries, but take memory.
    monkeypatch.setattr(checker, "MOST_DENSE", 40 * checker.BARE_NODE)
    assert "follow" in reason(ramp, [CLAUSES, 24, 30, *[0, 0, 0] * 30, 0])
    assert checker.DENSE in reason(ramp, [CLAUSES, 24, 50, *[0, 0, 0] * 50, 0])
    # So do clauses' literals.
    monkeypatch.setattr(checker, "MOST_DENSE", 40)
    assert "a clause that is not there" in reason(ramp, [CLAUSES, 24, 0, 2, *ON_HOLDS_NOT, 0, 1, 6])
    assert checker.DENSE in reason(ramp, [CLAUSES, 24, 0, 20, *ON_HOLDS_NOT * 20])


def declared(inputs: int) -> str:
    """Declarations of a formula's network on [0, 1]ⁿ."""
    names = "".join(f"(declare-const {name} Real)" for name in (*(f"X_{i}" for i in range(inputs)), "Y_0", "Y_1"))
    return names + "".join(f"(assert (and (>= X_{i} 0) (<= X_{i} 1)))" for i in range(inputs))
