"""Answers about properties against the truth by enumeration, in exact numbers; counterexamples judged anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import verifier
from benchmarks.harness.mnist import shared
from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from tests.traps.enumeration import Exact, Form, box_corners, clipped, combined
from tests.verifier.problem.properties.formulas import meant, nested
from verifier import Evidence, Halfspaces, Holds, InputError, Model, PropertyCheck, Unknown, Violated
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.s_expressions import Text
from verifier.runtime.property_judge import ONLY_EXACT
from verifier.search import property_track
from verifier.search.methods import METHODS
from verifier.search.property_attack import EARLY, attack_seconds
from verifier.search.property_check import ANY_OUTPUT, NO_CASE, check_property
from verifier.search.property_question import property_question
from verifier.search.property_track import PropertyTrack
from verifier.search.settings import Settings
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.quadratic_root import GoalBound

Saved = Callable[..., Model]


def asked(
    model: Model, text: str, seconds: float = 60.0, semantics: str = "both", method: str = "tree"
) -> PropertyCheck:
    sizes = {"X": model.graph.input_size, "Y": model.outputs}
    names = [f"(declare-const {letter}_{k} Real)" for letter, size in sizes.items() for k in range(size)]
    prop = property_of(Text("p", "".join(names) + text))
    budget = Budget(seconds)
    return check_property(property_question(model, prop, budget, semantics), Settings(budget, method))


def judged(model: Model, answer: PropertyCheck, satisfied: Callable[[Any, Any], bool]) -> None:
    """The counterexample by a session of our own and by exact arithmetic."""
    assert answer.witness is not None
    x = answer.witness.point
    assert x.dtype == np.float32
    session = onnxruntime.InferenceSession(str(model.path))
    given = session.run(None, {session.get_inputs()[0].name: x.reshape(1, -1)})[0].reshape(-1)
    np.testing.assert_array_equal(answer.witness.outputs, given)
    exact = exact_outputs(model.network.graph, x.astype(float))[-len(given) :]
    point = [Fraction(entry) for entry in x.tolist()]
    assert satisfied(point, exact)
    assert satisfied(point, [Fraction(entry) for entry in given.tolist()])


def random_property(rng: np.random.Generator, outputs: int) -> tuple[list[Any], str]:
    """Boxes, each with conjunctions of rows (over y, over x, constant), and the same as text."""
    boxes, texts = [], []
    for _ in range(int(rng.integers(1, 3))):
        ends = np.sort(rng.integers(-10, 11, (2, 2)), axis=0)
        lo, hi = ([Fraction(int(end), 10) for end in side] for side in ends)
        goals, rows_text = [], []
        for _ in range(int(rng.integers(1, 4))):
            rows, told = [], []
            for _ in range(int(rng.integers(1, 3))):
                of_y = [Fraction(int(c)) for c in rng.integers(-2, 3, outputs)]
                of_x = [Fraction(int(c)) for c in rng.integers(-1, 2, 2)] if rng.random() < 0.3 else [Fraction(0)] * 2
                constant = Fraction(int(rng.integers(-60, 30)), 10)
                rows.append((of_y, of_x, constant))
                terms = [f"(* {c} Y_{k})" for k, c in enumerate(of_y)] + [f"(* {c} X_{k})" for k, c in enumerate(of_x)]
                told.append(f"(>= (+ {' '.join(terms)}) {float(-constant)})")
            goals.append(rows)
            rows_text.append(f"(and {' '.join(told)})")
        boxes.append((lo, hi, goals))
        ranges = " ".join(f"(>= X_{k} {float(lo[k])}) (<= X_{k} {float(hi[k])})" for k in range(2))
        texts.append(f"(and {ranges} (or {' '.join(rows_text)}))")
    return boxes, f"(assert (or {' '.join(texts)}))"


def satisfied(layers: Any, boxes: list[Any]) -> Iterator[tuple[Exact, Any]]:
    """In each linear region of each box, in real arithmetic, where one conjunction holds, and whose region it is."""
    unit: list[Form] = [((Fraction(1), Fraction(0)), Fraction(0)), ((Fraction(0), Fraction(1)), Fraction(0))]
    for lo, hi, goals in boxes:
        net = Exact(layers, tuple(lo), tuple(hi))
        for (part, values), rows in product(net._regions(0, unit, box_corners(net.lo, net.hi)), goals):
            left = part
            for of_y, of_x, constant in rows:
                left = clipped(left, combined([*of_y, *of_x], constant, [*values, *unit])) if left else left
            if left:
                yield net, left


def exists(layers: Any, boxes: list[Any]) -> bool:
    return any(True for _ in satisfied(layers, boxes))


def holds_at(boxes: list[Any], x: Any, y: Any) -> bool:
    return any(
        all(low <= entry <= high for low, entry, high in zip(lo, x, hi, strict=True))
        and any(
            all(
                sum(c * v for c, v in zip(of_y, y, strict=True)) + sum(c * v for c, v in zip(of_x, x, strict=True))
                >= -constant
                for of_y, of_x, constant in rows
            )
            for rows in goals
        )
        for lo, hi, goals in boxes
    )


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_answers_are_the_truth(truth: Any, save_net: Saved, outputs: int) -> None:
    seen: Counter[type] = Counter()
    for seed in range(25):
        rng = np.random.default_rng(100 * outputs + seed)
        net = truth.net(seed, (2, 4, 4, outputs))
        model = save_net(net)
        boxes, text = random_property(rng, outputs)
        answer = asked(model, text)
        seen[type(answer.verdict)] += 1
        if isinstance(answer.verdict, Unknown):
            continue
        assert isinstance(answer.verdict, Violated) is exists(net.layers, boxes), seed
        if isinstance(answer.verdict, Violated):
            judged(model, answer, lambda x, y, boxes=boxes: holds_at(boxes, x, y))
    assert seen[Unknown] <= 1, seen
    assert min(seen[Holds], seen[Violated]) >= 5, seen


def test_quadratic_bounds_exclude_what_holds(truth: Any, save_net: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """By bound trees beside which they are asked from the start: every answer is the truth."""
    said: list[bool] = []
    exclude = PropertyTrack.excluded_by_squares

    def noted(own: PropertyTrack) -> bool:
        said.append(exclude(own))
        return said[-1]

    monkeypatch.setattr(property_track, "LASTING", 0)
    monkeypatch.setattr(PropertyTrack, "excluded_by_squares", noted)
    decider = BranchAndBound("bound")
    monkeypatch.setitem(METHODS, "tree", replace(METHODS["tree"], decider=lambda *_: decider))  # type: ignore[arg-type]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        layers = [(rng.normal(size=(m, n)) * (2.0 / n) ** 0.5, np.zeros(m)) for n, m in pairwise((24, 40, 10, 1))]
        net = truth.of_layers(*layers)
        model, points = save_net(net), 0.3 + 0.4 * rng.integers(0, 2, (5000, 24))
        highest = float(to_stages(net.graph).values(points)[1].max())
        box = " ".join(f"(>= X_{k} 0.3) (<= X_{k} 0.7)" for k in range(24))
        asks = [f"(assert (and {box} (>= Y_0 {highest + far})))" for far in (-0.01, 0.45, 0.6)]
        below, *above = (asked(model, text) for text in asks)
        assert isinstance(below.verdict, Violated)
        assert all(isinstance(answer.verdict, Holds) for answer in above)
    assert said
    # What they exclude is closed, and no node is asked again.
    monkeypatch.setattr(property_track, "quadratic_goals", lambda *_: [GoalBound(1.0, 1.0)])
    closed = asked(model, asks[1])
    assert isinstance(closed.verdict, Holds)
    assert said[-1]
    monkeypatch.setattr(property_track, "quadratic_goals", lambda *_: [GoalBound(1.0, -1.0)])
    assert isinstance(asked(model, asks[1]).verdict, Holds)
    assert not said[-1], "what holds over the reals alone is left to the tree"
    # Where they take too long, one case has asked for all.
    late: list[int] = []

    def too_late(*_: Any) -> Any:
        late.append(len(said))
        raise OutOfTimeError("its part of the time")

    monkeypatch.setattr(property_track, "quadratic_ends", too_late)
    cases = " ".join(f"(>= Y_0 {highest + far})" for far in (0.45, 0.46))
    assert isinstance(asked(model, f"(assert (and {box} (or {cases})))").verdict, Holds)
    assert len(late) == 1


@pytest.mark.parametrize("method", ["milp", "z3"])
def test_other_deciders_say_no_more_than_they_know(truth: Any, save_net: Saved, method: str) -> None:
    evidence = Evidence.SOLVER if method == "milp" else Evidence.EXACT
    found: Counter[Evidence | None] = Counter()
    for seed in range(8):
        net = truth.net(seed, (2, 4, 2))
        boxes, text = random_property(np.random.default_rng(500 + seed), 2)
        answer = asked(save_net(net), text, method=method)
        assert isinstance(answer.verdict, Unknown) is answer.tolerance_only
        assert isinstance(answer.verdict, Holds) is not exists(net.layers, boxes), seed
        assert answer.float32 is None
        found[answer.evidence] += 1
    assert set(found) <= {None, evidence, Evidence.PROVED}
    net = truth.of_layers(*RAMP)
    closed = asked(save_net(net), "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.51)))", method=method)
    assert closed.evidence is evidence


IDENTITY = ([[1.0]], [0.0])
RAMP = (([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0]))
"""y = min(x, 1 − x) on [0, 1]."""


def test_no_tolerance_makes_a_counterexample(truth: Any, save_net: Saved) -> None:
    """x ≤ 0.1 and y = x ≥ 0.1 have one real point, which is no float32: neither sat nor unsat."""
    answer = asked(save_net(truth.of_layers(IDENTITY)), "(assert (and (>= X_0 0) (<= X_0 0.1) (>= Y_0 0.1)))")
    assert isinstance(answer.verdict, Unknown)
    assert answer.witness is None


def test_a_float_beyond_the_decimal_end_is_no_counterexample(truth: Any, save_net: Saved) -> None:
    """float32(0.1) > 0.1: with one more digit below it there is nothing, and that is proved."""
    text = "(assert (and (>= X_0 0) (<= X_0 0.1) (>= Y_0 0.100000001)))"
    assert isinstance(asked(save_net(truth.of_layers(IDENTITY)), text).verdict, Holds)


def test_a_box_without_a_number_of_the_dtype_is_told(truth: Any, save_net: Saved) -> None:
    """x = 0.1 exactly: over the reals the property is satisfied, at no float32, and by ONNX Runtime just beside it."""
    model = save_net(truth.of_layers(IDENTITY))
    answer = asked(model, "(assert (and (>= X_0 0.1) (<= X_0 0.1) (<= Y_0 1)))")
    assert isinstance(answer.verdict, Unknown)
    assert answer.tolerance_only
    assert "no float32 number is a value of X_0" in answer.remark
    assert "ONNX Runtime 1e-09 beside it" in answer.remark
    alone = asked(model, "(assert (and (>= X_0 0.1) (<= X_0 0.1) (<= Y_0 0.1)))")  # float32(0.1) is larger
    assert alone.tolerance_only
    assert "ONNX Runtime" not in alone.remark
    assert isinstance(asked(model, "(assert (and (>= X_0 0.1) (<= X_0 0.1) (>= Y_0 0.2)))").verdict, Holds)


def test_one_box_may_be_torn_and_another_not(truth: Any, save_net: Saved) -> None:
    text = "(assert (or (and (>= X_0 0.1) (<= X_0 0.1)) (and (>= X_0 0) (<= X_0 0.5)))) (assert (>= Y_0 0.1))"
    judged(
        save_net(truth.of_layers(IDENTITY)), asked(save_net(truth.of_layers(IDENTITY)), text), lambda _, y: y[0] >= 0
    )


def test_what_holds_in_exact_arithmetic_alone_is_told(truth: Any, save_net: Saved) -> None:
    """y = (x + 2²⁵) − 2²⁵ over the reals is x; in float32 the sum of 1 and 2²⁵ loses the 1."""
    net = truth.of_layers(([[1.0]], [2.0**25]), ([[1.0]], [-(2.0**25)]))
    answer = asked(save_net(net), "(assert (and (>= X_0 1) (<= X_0 1) (>= Y_0 1)))")
    assert isinstance(answer.verdict, Unknown)
    assert answer.remark == ONLY_EXACT


def test_float32_is_proved_where_it_is_claimed(truth: Any, save_net: Saved) -> None:
    """Over the reals y = x ≥ 0.5 all over the box; in float32 the sum may lose 2."""
    net = truth.of_layers(([[1.0]], [2.0**25]), ([[1.0]], [-(2.0**25)]))
    model, text = save_net(net), "(assert (and (>= X_0 1) (<= X_0 2) (<= Y_0 0.5)))"
    both = asked(model, text)
    assert isinstance(both.verdict, Holds)
    assert both.float32 is None
    assert isinstance(asked(model, text, semantics="float32").verdict, Unknown)
    plain = asked(save_net(truth.of_layers(*RAMP)), "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.6)))")
    assert isinstance(plain.verdict, Holds)
    assert plain.float32 is True


def test_a_float64_model_is_asked_in_float64(truth: Any, save_net: Saved) -> None:
    """x ≤ 0.1 in decimals: float64(0.1) lies above, the float64 below it is the nearest input."""
    model = save_net(truth.of_layers(IDENTITY), np.float64)
    answer = asked(model, "(assert (and (>= X_0 0) (<= X_0 0.1) (>= Y_0 0.09999999999999999)))")
    assert answer.witness is not None
    assert answer.witness.point.dtype == np.float64
    assert Fraction(9999999999999999, 10**17) <= Fraction(answer.witness.point[0]) <= Fraction(1, 10)
    holds = asked(model, "(assert (and (>= X_0 0) (<= X_0 0.1) (>= Y_0 0.11)))")
    assert isinstance(holds.verdict, Holds)
    assert holds.float32 is None


def test_an_end_that_is_missing_is_told(truth: Any, save_net: Saved) -> None:
    answer = asked(save_net(truth.of_layers(*RAMP)), "(assert (and (>= X_0 0) (>= Y_0 0.6)))")
    assert isinstance(answer.verdict, Unknown)
    assert "X_0 without an end" in answer.reason
    wide = asked(save_net(truth.of_layers(*RAMP)), "(assert (and (>= X_0 -1e308) (<= X_0 1e308) (>= Y_0 0.6)))")
    assert "X_0 without an end" in wide.reason


@pytest.mark.parametrize("box", ["(>= X_0 0)", "(<= X_0 1)", "(<= Y_0 9)", "(and (>= X_0 -1e308) (<= X_0 1e308))"])
def test_a_counterexample_is_found_where_an_end_is_missing(truth: Any, save_net: Saved, box: str) -> None:
    model = save_net(truth.of_layers(*RAMP))
    answer = asked(model, f"(assert (and {box} (>= Y_0 0.3)))")
    judged(model, answer, lambda x, y: y[0] >= Fraction(3, 10))


def test_nothing_to_satisfy_holds_and_both_extremes_are_told(truth: Any, save_net: Saved) -> None:
    """A bound that was mistyped leaves an empty box, in which everything holds."""
    model = save_net(truth.of_layers(*RAMP))
    empty = asked(model, "(assert (and (>= X_0 1) (<= X_0 0) (>= Y_0 0.3)))")
    assert isinstance(empty.verdict, Holds)
    assert empty.remark == NO_CASE
    anything = asked(model, "(assert (and (>= X_0 0) (<= X_0 1)))")
    judged(model, anything, lambda x, _: 0 <= x[0] <= 1)
    assert anything.remark == ANY_OUTPUT
    assert asked(model, "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 9)))").remark == ""


def test_the_budget_is_kept(truth: Any, save_net: Saved) -> None:
    answer = asked(save_net(truth.of_layers(*RAMP)), "(assert (and (>= X_0 0) (<= X_0 1) (>= Y_0 0.6)))", 1e-9)
    assert isinstance(answer.verdict, Unknown)
    assert "time limit" in answer.reason
    assert answer.remark == ""


def test_arrays_and_files_ask_the_same(truth: Any, save_net: Saved, tmp_path: Any) -> None:
    model = save_net(truth.of_layers(*RAMP))
    file = tmp_path / "p.vnnlib"
    file.write_text(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0) (<= X_0 1)))(assert (or (>= Y_0 0.5) "
        "(<= Y_0 -1)))"
    )
    for answer in (
        verifier.check(model, property=file),
        verifier.check(model, region=(0, 1), property=[Halfspaces([[1.0]], [-0.5]), Halfspaces([[-1.0]], [-1.0])]),
    ):
        judged(model, answer, lambda x, y: x == [Fraction(1, 2)] and y == [Fraction(1, 2)])
        assert answer.to_dict()["witness"]["point"] == [[0.5]]
        assert "0.5" in repr(answer)


def test_a_file_that_takes_too_long_is_an_answer(truth: Any, save_net: Saved, tmp_path: Any) -> None:
    (tmp_path / "p.vnnlib").write_text("(declare-const X_0 Real)")
    answer = verifier.check(save_net(truth.of_layers(*RAMP)), property=tmp_path / "p.vnnlib", timeout=1e-9)
    assert isinstance(answer.verdict, Unknown)
    assert "time limit" in answer.reason


DATA = shared("vnncomp")
SAT = {
    "test": ("test_sat.onnx", "test_prop.vnnlib"),
    "acasxu": ("ACASXU_run2a_3_7_batch_2000.onnx", "prop_2.vnnlib"),
    "rl_benchmarks": ("lunarlander.onnx", "lunarlander_case_safe_0.vnnlib"),
}


@pytest.mark.skipif(DATA is None, reason="the VNN-COMP files are not in ../shared/data/vnncomp")
@pytest.mark.parametrize("name", SAT)
def test_counterexamples_of_the_competition_satisfy_the_text_itself(name: str) -> None:
    assert DATA is not None
    net, query = (DATA / name / kind / file for kind, file in zip(("onnx", "vnnlib"), SAT[name], strict=True))
    model = verifier.load(net)
    trees = nested("\n".join(line.partition(";")[0] for line in query.read_text().splitlines()))

    def satisfied(x: Any, y: Any) -> bool:
        point = {f"X_{k}": entry for k, entry in enumerate(x)} | {f"Y_{k}": entry for k, entry in enumerate(y)}
        return all(meant(tree[1], point) for tree in trees if tree[0] == "assert")

    answer = verifier.check(model, property=query)
    assert isinstance(answer.verdict, Violated)
    x = [Fraction(entry) for entry in answer.witness.point.tolist()]
    assert satisfied(x, [Fraction(entry) for entry in answer.witness.outputs.tolist()])
    assert satisfied(x, exact_outputs(model.network.graph, answer.witness.point.astype(float)))


@pytest.mark.skipif(DATA is None, reason="the VNN-COMP files are not in ../shared/data/vnncomp")
@pytest.mark.parametrize(("net", "query"), [("1_1", "prop_3"), ("4_4", "prop_1")])
def test_what_only_the_real_network_has_closed_is_gone_on_with(net: str, query: str) -> None:
    assert DATA is not None
    model = verifier.load(DATA / "acasxu" / "onnx" / f"ACASXU_run2a_{net}_batch_2000.onnx")
    answer = verifier.check(model, property=DATA / "acasxu" / "vnnlib" / f"{query}.vnnlib")
    assert isinstance(answer.verdict, Holds)
    assert (answer.float32, answer.search.engine) == (True, "input tree")


def test_what_cannot_be_asked_is_one_line(truth: Any, save_net: Saved) -> None:
    model = save_net(truth.of_layers(*RAMP))
    unsafe = Halfspaces([[1.0]], [0.0])
    for told, call in {
        "speaks of 2 outputs": lambda: verifier.check(model, region=(0, 1), property=Halfspaces([[1.0, 1.0]], [0.0])),
        "need a region": lambda: verifier.check(model, property=unsafe),
        "x, radius do not": lambda: verifier.check(model, [0.5], 0.1, region=(0, 1), property=unsafe),
        "norm does not": lambda: verifier.check(model, region=(0, 1), property=unsafe, norm="l1"),
        "progress, box do not": lambda: verifier.check(
            model, region=(0, 1), property=unsafe, box=(0, 1), progress=print
        ),
        "device cuda does not go with": lambda: verifier.check(model, region=(0, 1), property=unsafe, device="cuda"),
        "an input x and a radius": lambda: verifier.check(model),
        "region goes with property": lambda: verifier.check(model, [0.5], 0.1, region=(0, 1)),
        "not a dict": lambda: verifier.check(model, region=(0, 1), property={}),
        "must be Halfspaces": lambda: verifier.check(model, region=(0, 1), property=[1]),
        "float32 goes with the method tree": lambda: verifier.check(
            model, region=(0, 1), property=unsafe, method="z3", semantics="float32"
        ),
        "empty": lambda: verifier.check(model, region=(1, 0), property=unsafe),
    }.items():
        with pytest.raises(InputError, match=told):
            call()


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax"])
def test_comparisons_behind_an_ending_are_those_before_it(truth: Any, save_net: Saved, ending: str) -> None:
    seen: Counter[type] = Counter()
    for seed in range(6):
        plain = save_net(truth.net(seed, (2, 4, 3)))
        proto = onnx.load(plain.path)
        proto.graph.node.append(onnx.helper.make_node(ending, ["y"], ["p"], axis=1))
        proto.graph.output[0].name = "p"
        model = verifier.load(proto)
        box = "(>= X_0 0) (<= X_0 1) (>= X_1 0) (<= X_1 1)"
        text = f"(assert (and {box} (or (>= Y_0 (+ Y_1 0)) (and (> Y_2 Y_0) (> Y_2 Y_1)))))"
        answer, before = asked(model, text), asked(plain, text)
        assert type(answer.verdict) is type(before.verdict), seed
        assert answer.float32 is None
        seen[type(answer.verdict)] += 1
        if answer.witness is not None:
            given = model.replay.scores(answer.witness.point)[0]
            np.testing.assert_array_equal(answer.witness.outputs, given)
            np.testing.assert_allclose(answer.witness.exact_outputs, given, rtol=1e-5)
            assert given[0] >= given[1] or given[2] > max(given[0], given[1])
    assert seen[Violated] >= 3
    with pytest.raises(InputError, match=f"behind a {ending} is not linear in the scores before it"):
        asked(model, f"(assert (and {box} (>= Y_0 0.5)))")
    with pytest.raises(InputError, match=f"ends with a {ending}, of which nothing is proved in float32"):
        asked(model, text, semantics="float32")


def test_attacks_take_a_smaller_share_of_long_searches() -> None:
    """A fifth at first, and of few inputs for good; what is granted never falls, and grows without an end."""
    times = np.linspace(0.0, 20.0 * EARLY, 200)
    granted = np.array([attack_seconds(float(seconds)) for seconds in times])
    assert granted[0] == 0.0
    assert np.all(np.diff(granted) > 0.0)
    assert attack_seconds(0.5 * EARLY) == pytest.approx(0.1 * EARLY)
    assert attack_seconds(20.0 * EARLY) < 0.06 * 20.0 * EARLY
    assert attack_seconds(20.0 * EARLY, few=True) == pytest.approx(4.0 * EARLY)
