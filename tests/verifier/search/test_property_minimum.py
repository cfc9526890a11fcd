"""The distance to the nearest point that breaks a property against exact enumeration; witnesses judged anew."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import verifier
from encoders.network.exact import exact_outputs
from tests.verifier.search.test_property_check import holds_at, random_property, satisfied
from verifier import Halfspaces, InputError, Model, PropertyMinimum, Status
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.s_expressions import Text
from verifier.problem.query import Norm, distance_exact
from verifier.search import methods
from verifier.search.property_minimum import minimal_property, nearest_question
from verifier.search.settings import Settings

Saved = Callable[..., Model]

RAMP = (([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0]))
"""y = min(x, 1 − x) on [0, 1]."""


def asked(
    model: Model, x: Any, text: str, norm: str = "linf", method: str = "tree", seconds: float = 60.0, **how: Any
) -> PropertyMinimum:
    sizes = {"X": model.graph.input_size, "Y": model.outputs}
    names = [f"(declare-const {letter}_{k} Real)" for letter, size in sizes.items() for k in range(size)]
    prop = property_of(Text("p", "".join(names) + text))
    budget = Budget(seconds)
    return minimal_property(nearest_question(model, x, prop, budget, norm, **how), Settings(budget, method))


def least(layers: Any, boxes: list[Any], norm: Norm, centre: list[Fraction]) -> Fraction | None:
    """By enumeration of all linear regions of each case's box, in real arithmetic."""
    return min((net._least(part, norm, tuple(centre)) for net, part in satisfied(layers, boxes)), default=None)


def judged(model: Model, answer: PropertyMinimum, x: Any, satisfied: Callable[[Any, Any], bool]) -> None:
    """The witness by a session of our own, by exact arithmetic, and its distance."""
    assert answer.witness is not None
    point = answer.witness.point
    session = onnxruntime.InferenceSession(str(model.path))
    given = session.run(None, {session.get_inputs()[0].name: point.reshape(1, -1)})[0].reshape(-1)
    np.testing.assert_array_equal(answer.witness.outputs, given)
    exact = exact_outputs(model.network.graph, point.astype(float))[-len(given) :]
    entries = [Fraction(entry) for entry in point.tolist()]
    assert satisfied(entries, exact)
    assert satisfied(entries, [Fraction(entry) for entry in given.tolist()])
    assert distance_exact(Norm(answer.norm), point.astype(float), np.asarray(x, float)) <= Fraction(answer.upper)


@pytest.mark.parametrize("norm", list(FLAT_NORMS))
@pytest.mark.parametrize("outputs", [1, 3])
def test_brackets_hold_the_truth(truth: Any, save_net: Saved, norm: Norm, outputs: int) -> None:
    """Several boxes, which hold the input or not, rows over inputs and outputs."""
    seen: Counter[Status] = Counter()
    for seed in range(6):
        rng = np.random.default_rng(1000 * outputs + seed)
        net = truth.net(seed, (2, 4, 4, outputs))
        boxes, text = random_property(rng, outputs)
        x = rng.integers(-8, 9, 2) / 8
        model = save_net(net)
        answer = asked(model, x, text, norm, precision=1e-3)
        seen[answer.status] += 1
        expected = least(net.layers, boxes, norm, [Fraction(entry) for entry in x.tolist()])
        if expected is None:
            assert answer.status is Status.UNREACHABLE, seed
            assert answer.lower == math.inf
            continue
        assert Fraction(answer.lower) <= expected, seed
        assert math.isinf(answer.upper) or expected <= Fraction(answer.upper), seed
        assert answer.float32 is not None
        assert answer.float32 <= answer.lower
        if answer.status is not Status.BRACKETED:
            assert answer.gap <= 1e-3
            judged(model, answer, x, lambda x, y, boxes=boxes: holds_at(boxes, x, y))
    # A box such as X_0 = -0.3 holds no float32, so that there is no witness.
    assert seen[Status.BRACKETED] <= 1, seen
    assert min(seen[Status.UNREACHABLE], seen[Status.MINIMAL]) >= 2, seen


@pytest.mark.parametrize("method", ["milp", "z3"])
def test_other_methods_agree(truth: Any, save_net: Saved, method: str) -> None:
    net = truth.of_layers(*RAMP)
    answer = asked(save_net(net), [0.125], "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.4)))", method=method)
    assert answer.lower <= 0.275 <= answer.upper <= answer.lower + 1e-3
    assert answer.float32 is None or answer.float32 <= answer.lower


def test_an_input_that_satisfies_it_is_at_distance_0(truth: Any, save_net: Saved) -> None:
    model = save_net(truth.of_layers(*RAMP))
    answer = asked(model, [0.5], "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.4)))")
    assert (answer.status, answer.lower, answer.upper) == (Status.ALREADY_ADVERSARIAL, 0.0, 0.0)
    of_inputs = asked(model, [0.5], "(assert (and (>= X_0 0) (<= X_0 1)))")
    assert (of_inputs.status, of_inputs.upper) == (Status.ALREADY_ADVERSARIAL, 0.0)


def test_a_box_that_does_not_hold_the_input_is_reached(truth: Any, save_net: Saved) -> None:
    model = save_net(truth.of_layers(*RAMP))
    answer = asked(model, [0.125], "(assert (and (>= X_0 0.75) (<= X_0 1)))")
    assert answer.lower <= 0.625 <= answer.upper <= answer.lower + 1e-3
    none = asked(model, [0.125], "(assert (and (>= X_0 0.75) (<= X_0 0.7)))")
    assert none.status is Status.UNREACHABLE


def test_exact_ends_are_kept(truth: Any, save_net: Saved) -> None:
    """0.1 is no float32: the nearest one inside is farther."""
    model = save_net(truth.of_layers(([[1.0]], [0.0])))
    answer = asked(model, [0.0], "(assert (and (>= X_0 0.1) (<= X_0 1) (>= Y_0 0)))", precision=1e-6)
    assert answer.witness is not None
    assert Fraction(1, 10) <= Fraction(float(answer.witness.point[0])) <= Fraction(1, 10) + Fraction(1, 10**6)


def test_a_limit_that_is_too_short_says_so(truth: Any, save_net: Saved) -> None:
    answer = asked(save_net(truth.of_layers(*RAMP)), [0.1], "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.4)))")
    assert answer.status is Status.MINIMAL
    late = verifier.minimal(
        save_net(truth.of_layers(*RAMP)), [0.1], property=Halfspaces([[1.0]], [-0.4]), timeout=Budget(0.0)
    )
    assert (late.status, late.lower, late.upper) == (Status.BRACKETED, 0.0, math.inf)
    assert "time limit" in late.reason


def test_the_api_takes_arrays_and_files(truth: Any, save_net: Saved, tmp_path: Path) -> None:
    model = save_net(truth.of_layers(*RAMP))
    goal = Halfspaces([[1.0]], [-0.4])
    answer = verifier.minimal(model, [0.125], property=[goal, Halfspaces([[-1.0]], [-9.0])], precision=1e-4)
    assert answer.lower <= 0.275 <= answer.upper <= answer.lower + 1e-4
    assert repr(answer).startswith("<PropertyMinimum minimal: L∞ distance in [0.27")
    found = answer.to_dict()
    assert (found["status"], found["witness"]["outputs"][0] >= 0.4, found["float32"]["lower"] > 0.27) == (
        "minimal", True, True,
    )  # fmt: skip
    half = verifier.minimal(model, [0.125], property=goal, box=(0.0, 0.25))
    assert half.status is Status.UNREACHABLE
    file = tmp_path / "p.vnnlib"
    file.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= 0 X_0 1))(assert (>= Y_0 0.4))")
    assert verifier.minimal(model, [0.125], property=file).lower == pytest.approx(0.275, abs=1e-3)
    with pytest.raises(InputError, match="leave `box` out"):
        verifier.minimal(model, [0.125], property=file, box=(0.0, 0.5))
    with pytest.raises(InputError, match="target does not go with property"):
        verifier.minimal(model, [0.125], property=goal, target=1)  # type: ignore[call-overload]


def test_what_is_too_much_or_unfit_is_refused(truth: Any, save_net: Saved) -> None:
    model = save_net(truth.of_layers(*RAMP))
    cases = "(or " + " ".join(f"(>= Y_0 {k})" for k in range(40)) + ")"
    with pytest.raises(InputError, match="more than 1024 cases"):
        asked(model, [0.1], f"(assert {cases})(assert {cases})")
    with pytest.raises(InputError, match="the input has 2 entries"):
        asked(model, [0.1, 0.2], "(assert (>= Y_0 0))")
    with pytest.raises(InputError, match="unknown norm"):
        asked(model, [0.1], "(assert (>= Y_0 0))", "l7")
    with pytest.raises(InputError, match="goes with the method tree"):
        asked(model, [0.1], "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 9)))", method="z3", semantics="float32")
    with pytest.raises(InputError, match="norm l2 goes with the method tree; milp takes linf or l1"):
        asked(model, [0.1], "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 9)))", "l2", method="milp")


@pytest.mark.parametrize("row", ["(>= Y_0 0.4)", "(>= (+ Y_0 (* 0.5 X_0)) 0.6)"], ids=["outputs", "inputs too"])
def test_neurons_that_are_multiples_are_merged(
    truth: Any, save_net: Saved, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """min(x, 1 − x) with each ReLU in three: 2 are left, and the distances are those of the two."""
    (first, offset), (second, end) = RAMP
    thrice = np.array(first), np.array(offset), np.array(second)
    parts = [np.concatenate([c * part for c in (1.0, 2.0, 0.5)], axis=0) for part in thrice[:2]]
    back = np.concatenate([c * thrice[2] for c in (0.5, 0.125, 0.5)], axis=1)
    net = save_net(truth.of_layers((parts[0], parts[1]), (back, np.array(end))))
    seen: list[int] = []
    method = methods.METHODS["tree"]
    watched = replace(
        method,
        minimise=lambda problem, *more: (seen.append(problem.graph.relu_count), method.minimise(problem, *more))[1],
    )
    monkeypatch.setitem(methods.METHODS, "tree", watched)
    box = "(assert (and (<= 0 X_0) (<= X_0 1)))"
    found = asked(net, [0.0], f"{box}(assert {row})")
    assert seen == [2]
    assert found.lower <= 0.4 <= found.upper <= 0.4 + found.precision
    assert found.float32 is not None
    assert found.float32 <= found.upper
