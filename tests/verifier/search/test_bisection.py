"""The minimum on the shipped digits net: methods agree, witnesses replay, statuses are what they say."""

from __future__ import annotations

import itertools
import math
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from tests.traps.answers import InProcess
from verifier import models
from verifier.attacks.base.problem import Candidates
from verifier.attacks.registry import Attack
from verifier.problem import child
from verifier.problem.budget import Budget
from verifier.problem.query import Norm, distance_exact
from verifier.problem.verdict import Evidence, Holds, Status, Unknown, Violated
from verifier.search import bisection, initial_attack, robustness
from verifier.search.state import LAST_RADIUS

PAIRS = 8
"""The issue asks for at least 20 (input, target) pairs on which two methods agree."""

JOIN = 10.0
"""Seconds in which a thread that has nothing more to listen to ends."""

FINDER = initial_attack._finder
EVIDENCE = {"tree": Evidence.PROVED, "milp": Evidence.SOLVER, "z3": Evidence.EXACT}


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process takes as long to start as some of these questions take."""
    for module in (bisection, robustness):
        monkeypatch.setattr(module, "Worker", InProcess)


@pytest.fixture(scope="module")
def digits() -> verifier.Model:
    return verifier.load(models.path("digits"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.load(models.path("digits").parent / "digits_inputs.npz")["x"]


def pairs() -> list[tuple[int, int, str]]:
    """An input, how far its target is from its class, and a norm, in turn."""
    rng = np.random.default_rng(7)
    return [
        (int(i), int(rng.integers(1, 10)), norm)
        for i, norm in zip(rng.permutation(PAIRS), itertools.cycle(("linf", "l1")), strict=False)
    ]


def replayed(model: verifier.Model, point: np.ndarray) -> np.ndarray:
    """The logits by a session of the test's own."""
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    return session.run(None, {model.network.input_name: point.reshape(1, -1)})[0][0]


def assert_real(model: verifier.Model, x: np.ndarray, bracket: verifier.api.Bracket, norm: str) -> None:
    """The witness is what the bracket says, by ONNX Runtime and by exact arithmetic."""
    witness = bracket.witness
    assert witness is not None
    assert witness.point.dtype == np.float32
    assert np.all((witness.point >= 0) & (witness.point <= 1))
    assert int(np.argmax(replayed(model, witness.point))) == witness.predicted == bracket.target
    exact = exact_outputs(model.graph, witness.point)
    assert max(exact) == exact[witness.predicted]
    assert distance_exact(Norm(norm), witness.point, x) <= bracket.upper
    assert witness.exact_margin >= 0
    assert witness.onnxruntime_margin >= 0


@pytest.mark.parametrize(("index", "step", "norm"), pairs())
def test_methods_agree(digits: verifier.Model, images: np.ndarray, index: int, step: int, norm: str) -> None:
    """The tree and Z3 on every pair, the dearer MILP on a third of them."""
    x = images[index]
    target = (digits.predict(x) + step) % 10
    methods = [method for method in EVIDENCE if method != "milp" or index % 3 == 1]
    found = {method: verifier.minimal(digits, x, target=target, norm=norm, method=method) for method in methods}
    for method, bracket in found.items():
        assert bracket.status is Status.MINIMAL
        assert bracket.upper - bracket.lower <= bracket.precision
        assert_real(digits, x, bracket, norm)
        assert bracket.evidence in (EVIDENCE[method], Evidence.PROVED)
        assert (bracket.search is not None) == (method == "tree")
    uppers = [bracket.upper for bracket in found.values()]
    assert max(uppers) - min(uppers) <= found["z3"].precision
    assert max(bracket.lower for bracket in found.values()) <= min(uppers)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_direct_strategy_agrees(digits: verifier.Model, images: np.ndarray, norm: str) -> None:
    direct = verifier.minimal(digits, images[0], target=9, norm=norm, method="milp-direct")
    exact = verifier.minimal(digits, images[0], target=9, norm=norm, method="z3")
    assert direct.status is Status.MINIMAL
    assert max(direct.lower, exact.lower) <= min(direct.upper, exact.upper)


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_brackets_shrink_and_the_last_is_final(digits: verifier.Model, images: np.ndarray, method: str) -> None:
    seen = list(verifier.brackets(digits, images[3], norm="l1", method=method))
    assert [bracket.final for bracket in seen] == [False] * (len(seen) - 1) + [True]
    for before, after in itertools.pairwise(seen):
        assert before.lower <= after.lower
        assert after.upper <= before.upper


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_untargeted_is_the_least_of_all_targets(digits: verifier.Model, images: np.ndarray, method: str) -> None:
    untargeted = verifier.minimal(digits, images[5], method=method)
    every = verifier.minimal_all_targets(digits, images[5], method=method)
    assert [bracket.target for bracket in every.results] == [t for t in range(10) if t != digits.predict(images[5])]
    assert untargeted.status is every.overall.status is Status.MINIMAL
    assert abs(untargeted.upper - every.overall.upper) <= untargeted.precision
    assert untargeted.lower <= every.overall.upper
    assert every.overall.target == untargeted.target
    assert every.overall.lower == min(bracket.lower for bracket in every.results)


def test_the_start_is_the_attack_and_the_end_is_no_farther(digits: verifier.Model, images: np.ndarray) -> None:
    attacked = verifier.attack(digits, images[7], norm="linf")
    closed = verifier.minimal(digits, images[7], norm="linf")
    assert closed.initial.attack == "cw"
    assert closed.upper <= closed.initial.distance
    assert attacked.lower == 0.0
    assert attacked.upper >= closed.lower
    assert_real(digits, images[7], attacked, "linf")


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_attacking_promising_targets_alone_loses_little(digits: verifier.Model, images: np.ndarray, norm: str) -> None:
    for x in images[:4]:
        thorough = verifier.attack(digits, x, norm=norm)
        first = next(verifier.brackets(digits, x, norm=norm))
        assert first.initial.distance <= 1.02 * thorough.initial.distance


def test_a_finer_precision_is_kept(digits: verifier.Model, images: np.ndarray) -> None:
    fine = verifier.minimal(digits, images[8], precision=1e-6, method="z3")
    assert fine.upper - fine.lower <= 1e-6
    assert fine.status is Status.MINIMAL


def test_a_margin_costs_distance(digits: verifier.Model, images: np.ndarray) -> None:
    plain = verifier.minimal(digits, images[8], target=1)
    firm = verifier.minimal(digits, images[8], target=1, margin=1.0)
    assert firm.lower > plain.upper
    assert firm.witness is not None
    assert sorted(replayed(digits, firm.witness.point))[-1] - sorted(replayed(digits, firm.witness.point))[-2] >= 1.0


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_a_tight_box_is_unreachable(digits: verifier.Model, images: np.ndarray, method: str) -> None:
    x = images[2]
    box = np.maximum(x - 0.01, 0), np.minimum(x + 0.01, 1)
    found = verifier.minimal(digits, x, box=box, method=method)
    assert found.status is Status.UNREACHABLE
    assert math.isinf(found.lower)
    assert found.witness is None


def test_a_foreign_label_is_already_adversarial(digits: verifier.Model, images: np.ndarray) -> None:
    own = digits.predict(images[0])
    found = verifier.minimal(digits, images[0], label=(own + 1) % 10)
    assert found.status is Status.ALREADY_ADVERSARIAL
    assert found.lower == found.upper == 0.0
    assert found.witness is not None
    assert found.witness.predicted == own


def test_a_spent_budget_gives_an_honest_bracket(digits: verifier.Model, images: np.ndarray) -> None:
    budget = Budget()
    budget.cancel()
    found = verifier.minimal(digits, images[0], timeout=budget)
    assert found.final
    assert found.status is Status.BRACKETED
    assert found.lower == 0.0
    assert "interrupted" in found.reason


@pytest.mark.parametrize("method", ["tree", "milp", "z3"])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_check_on_both_sides_of_the_minimum(digits: verifier.Model, images: np.ndarray, method: str, norm: str) -> None:
    closed = verifier.minimal(digits, images[4], norm=norm, method="z3")
    inside = verifier.check(digits, images[4], closed.lower, norm=norm, method=method)
    assert isinstance(inside.verdict, Holds)
    assert inside.evidence in (EVIDENCE[method], Evidence.PROVED)
    assert (inside.search is not None) == (method == "tree")
    outside = verifier.check(digits, images[4], closed.upper + 1e-4, norm=norm, method=method)
    assert isinstance(outside.verdict, Violated)
    assert outside.witness is not None
    assert outside.witness.distance <= closed.upper + 1e-4
    assert int(np.argmax(replayed(digits, outside.witness.point))) != digits.predict(images[4])


def test_check_that_has_no_time_is_unknown(digits: verifier.Model, images: np.ndarray) -> None:
    budget = Budget()
    budget.cancel()
    found = verifier.check(digits, images[0], 0.01, timeout=budget)
    assert isinstance(found.verdict, Unknown)
    assert found.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l3"}, "norm"),
        ({"precision": 0.0}, "precision"),
        ({"precision": math.nan}, "precision"),
        ({"target": 10}, "target"),
        ({"label": -1}, "label"),
        ({"margin": -1.0}, "margin"),
        ({"timeout": 0.0}, "timeout"),
        ({"method": "guess"}, "method"),
        ({"method": "milp", "solver": "guess"}, "unknown solver"),
        ({"solver": "highs"}, "method tree has no solver to choose"),
        ({"method": "z3", "solver": "highs"}, "method z3 has no solver to choose"),
        ({"threads": 0}, "threads"),
        ({"box": (0.5, 1.0)}, "outside the box"),
        ({"box": (math.nan, 1.0)}, "NaN"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_bad_arguments_are_one_clear_line(
    digits: verifier.Model, images: np.ndarray, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        verifier.minimal(digits, images[0], **options)
    assert "\n" not in str(caught.value)


def test_a_check_ends_with_the_quick_attack_where_that_finds_a_point(
    digits: verifier.Model, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    found: list[float] = []

    def noted(*arguments: Any) -> initial_attack.Finder:
        find = FINDER(*arguments)

        def run(attack: Attack, *rest: Any) -> Candidates:
            candidates = find(attack, *rest)
            asked.append(attack.name)
            found.append(float(candidates.distances.min()))
            return candidates

        return run

    monkeypatch.setattr(initial_attack, "_finder", noted)
    monkeypatch.setattr(robustness, "BOUNDS_FIRST", 0)  # else nothing is attacked where linear bounds answer
    assert isinstance(verifier.check(digits, images[0], 0.5).verdict, Violated)
    assert asked == ["pgd"]
    assert isinstance(verifier.check(digits, images[0], 0.001).verdict, Holds)
    assert asked == ["pgd", "pgd", "cw"]
    # On the border, where rounding may take the quick attack's point out of the ball, the other one runs too.
    assert isinstance(verifier.check(digits, images[0], found[0]).verdict, Violated)
    assert asked == ["pgd", "pgd", "cw", "pgd", "cw"]


@pytest.mark.parametrize("ask", [verifier.minimal, verifier.attack, partial(verifier.check, radius=0.1)])
def test_a_path_for_a_model_is_refused_with_what_to_do(ask: Callable[..., Any], images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"the model must be one that verifier\.load has read, not a str"):
        ask("digits.onnx", images[0])


def test_a_target_that_is_the_label_is_refused(digits: verifier.Model, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="label itself"):
        verifier.minimal(digits, images[0], target=digits.predict(images[0]))


def test_names_of_the_package_are_the_functions() -> None:
    assert callable(verifier.minimal)
    assert callable(verifier.check)
    assert callable(verifier.attack)


def constant_target_model(path: str) -> None:
    """Logits (x, 1 − x, −1) over one input: class 2 has no point anywhere; 0 and 1 tie at x = 0.5."""
    weight = numpy_helper.from_array(np.array([[1.0], [-1.0], [0.0]], np.float32), "w")
    bias = numpy_helper.from_array(np.array([0.0, 1.0, -1.0], np.float32), "b")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [weight, bias],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.parametrize("method", ["tree", "milp", "milp-direct", "z3"])
def test_a_tie_at_the_exact_distance_and_a_target_without_a_point(tmp_path: object, method: str) -> None:
    path = f"{tmp_path}/line.onnx"
    constant_target_model(path)
    model = verifier.load(path)
    tie = verifier.minimal(model, [0.75], target=1, method=method, precision=1e-5)
    assert tie.lower <= 0.25 <= tie.upper
    assert tie.status is Status.MINIMAL
    nowhere = verifier.minimal(model, [0.75], target=2, method=method)
    assert nowhere.status is Status.UNREACHABLE


@pytest.mark.parametrize("method", ["tree", "z3"])
def test_an_unbounded_box_is_searched_to_a_limit(tmp_path: object, method: str) -> None:
    path = f"{tmp_path}/line.onnx"
    constant_target_model(path)
    model = verifier.load(path)
    nowhere = verifier.minimal(model, [0.75], target=2, method=method, box=(-math.inf, math.inf))
    assert (nowhere.status, nowhere.lower) == (Status.BRACKETED, LAST_RADIUS)
    assert "unbounded" in nowhere.reason
    tie = verifier.minimal(model, [0.75], target=1, method=method, box=(-math.inf, math.inf))
    assert tie.status is Status.MINIMAL


@pytest.mark.parametrize("method", ["milp", "milp-direct", "z3"])
@pytest.mark.parametrize("seen", [1, 4])
def test_a_search_that_is_left_leaves_no_process_and_no_thread(
    digits: verifier.Model, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, method: str, seen: int
) -> None:
    """Whoever takes no more brackets has the solver's process killed, and the thread that listens to it ends."""
    monkeypatch.undo()
    made: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen

    def begun(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        made.append(begin(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(child.subprocess, "Popen", begun)
    before = set(threading.enumerate())
    brackets = verifier.brackets(digits, images[0], target=9, method=method, precision=1e-6)
    for _ in range(seen):
        assert not next(brackets).final
    listening = set(threading.enumerate()) - before
    assert made
    assert listening
    brackets.close()
    assert all(process.poll() is not None for process in made)
    for thread in listening:
        thread.join(JOIN)
        assert not thread.is_alive()
