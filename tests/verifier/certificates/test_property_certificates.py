"""Certificates about properties: what the engine proves is accepted by the lone checker, forged ones are refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from verifier.certificates import checker, property_builder
from verifier.certificates.box_tree import MARGIN, BoxTree
from verifier.certificates.checker import BOUNDS, FIRST_RELU, HALVES, LEAF, LINES
from verifier.certificates.format import property_encoded
from verifier.certificates.property_builder import property_certified
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.verdict import Evidence, Holds

RAMP = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (and (>= X_0 0.1) (<= X_0 1)))"
NEVER, OVER = "(assert (>= Y_0 0.6))", "(assert (>= Y_0 0.4))"
"""y = min(x, 1 − x) is 0.5 at most."""

# The two ReLUs' arguments are x, which is active, and x − 1/2, which is open.
ROOT = [BOUNDS, 1, 2]
BY_BOXES = [*ROOT, HALVES, 0, 7, -4, BOUNDS, 0, LINES, 0, BOUNDS, 2, LINES, 0]
BY_RELUS = [*ROOT, FIRST_RELU + 1, LEAF, 0, 1, 0, 1, LEAF, 0, 1, 0, 1]
MIXED = [*ROOT, HALVES, 0, 5, -3, FIRST_RELU + 1, LEAF, 0, 1, 0, 1, LEAF, 0, 1, 0, 1, BOUNDS, 1, LINES, 0]
"""A box is cut off at 5/8, then a ReLU is split in what is left."""


@pytest.fixture(scope="module")
def ramp(truth: Any, save_net: Callable[..., verifier.Model]) -> verifier.Model:
    """y = min(x, 1 − x) on [0, 1]."""
    return save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))


def reason(model: verifier.Model, numbers: Sequence[int], row: str = NEVER, **changed: Any) -> str:
    """Why the checker refuses a certificate of these numbers; "" where it is valid."""
    text = (RAMP + row).encode()
    content = property_encoded(changed.pop("sha256", model.network.sha256), text, [np.array(numbers, dtype=np.int64)])
    return checker.judged(content, model.path.read_bytes(), checker.Demands(**changed)).reason


@pytest.mark.parametrize("numbers", [BY_BOXES, BY_RELUS, MIXED], ids=["boxes", "relus", "mixed"])
def test_trees_of_boxes_and_of_relus_are_accepted(numbers: list[int], ramp: verifier.Model) -> None:
    assert reason(ramp, numbers) == ""
    assert reason(ramp, numbers, OVER).endswith("does not close")


FORGED = {
    "no tree": ([], "cut off"),
    "a leaf is missing": (BY_BOXES[:-3], "cut off"),
    "a leaf too many": ([*BY_BOXES, LINES, 0], "belong to nothing"),
    "the root alone": ([*ROOT, LINES, 0], "does not close"),
    "no bounds": ([LINES, 0], "before any bounds"),
    "a split that covers nothing else": ([*ROOT, HALVES, 0, 3, 0, LINES, 0, LINES, 0], "outside its box"),
    "a split of another input": ([*ROOT, HALVES, 1, 1, -1, LINES, 0, LINES, 0], "not there"),
    "a split at no float": ([*ROOT, HALVES, 0, 1, 2000, LINES, 0, LINES, 0], "no float64"),
    "a split at a huge number": ([*ROOT, HALVES, 0, 1 << 60, 0, LINES, 0, LINES, 0], "no float64"),
    "an open neuron is claimed to be off": ([BOUNDS, 1, 0, LINES, 0], "does not follow"),
    "an open neuron is claimed to be active": ([BOUNDS, 1, 1, LINES, 0], "does not follow"),
    "sides swapped": ([*BY_BOXES[:7], BOUNDS, 2, LINES, 0, BOUNDS, 0, LINES, 0], "does not follow"),
    "no such state": ([BOUNDS, 1, 3, LINES, 0], "state is malformed"),
    "a row that is not there": ([*BY_BOXES[:-1], 1], "a row that is not there"),
    "a negative row": ([*BY_BOXES[:-1], -1], "a row that is not there"),
    "a split of an active neuron": ([*ROOT, FIRST_RELU, LINES, 0, LINES, 0], "not open"),
    "a neuron that is not there": ([*ROOT, FIRST_RELU + 2, LINES, 0, LINES, 0], "not there"),
    "a neuron split twice": ([*ROOT, FIRST_RELU + 1, FIRST_RELU + 1, *[LINES, 0] * 3], "twice"),
    "a negative weight": ([*ROOT, FIRST_RELU + 1, LEAF, 0, -1, 0, 1, LEAF, 0, 1, 0, 1], "does not close"),
    "a negative multiplier of an active neuron": ([*ROOT, FIRST_RELU + 1, *[LEAF, 0, 1, -1, 1] * 2], "does not close"),
    "a step that is malformed": ([*ROOT, FIRST_RELU + 1, *[LEAF, 61, 1, 0, 1] * 2], "step is malformed"),
    "an unknown node": ([-1], "not there"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_tree_is_refused(name: str, ramp: verifier.Model) -> None:
    numbers, why = FORGED[name]
    assert why in reason(ramp, numbers)


def test_another_model_or_property_is_refused(
    ramp: verifier.Model, truth: Any, save_net: Callable[..., verifier.Model]
) -> None:
    assert reason(ramp, BY_BOXES, sha256="0" * 64) == "the certificate is for another model"
    assert "for another property" in reason(ramp, BY_BOXES, property=(RAMP + OVER).encode())
    assert reason(ramp, BY_BOXES, property=(RAMP + NEVER).encode()) == ""
    assert "which has no radius" in reason(ramp, BY_BOXES, radius=0.1)
    model = save_net(truth.net(3, (3, 5, 4, 3)))
    content = verifier.certificate(model, np.full(3, 0.5), 1e-3).content
    judged = checker.judged(content, model.path.read_bytes(), checker.Demands(property=b""))
    assert judged.reason == "the certificate is about an input, not about a property"


def test_each_case_has_its_tree(ramp: verifier.Model) -> None:
    both = "(assert (or (>= Y_0 0.6) (and (<= X_0 0.25) (>= Y_0 0.5))))"
    assert reason(ramp, [*BY_BOXES, BOUNDS, 1, 0, LINES, 0], both) == ""
    assert "cut off" in reason(ramp, BY_BOXES, both)
    # A case of the same box begins with what is known of it.
    same = "(assert (or (>= Y_0 0.6) (>= Y_0 0.7)))"
    assert reason(ramp, [*BY_BOXES, *BY_BOXES[len(ROOT) :]], same) == ""
    # A case whose box is empty needs none, and one that nothing satisfies no row of the network.
    assert reason(ramp, BY_BOXES, "(assert (or (>= Y_0 0.6) (>= X_0 2)))") == ""
    assert reason(ramp, [*BY_BOXES, LINES, 0], "(assert (or (>= Y_0 0.6) (>= 0 1)))") == ""
    assert "does not close" in reason(ramp, [*BY_BOXES, LINES, 0], "(assert (or (>= Y_0 0.6) (>= 1 0)))")


def test_bounds_behind_a_split_are_not_those_of_the_next_case(ramp: verifier.Model) -> None:
    """Bounds anew twice on the side where the open ReLU is off, where y = x; elsewhere y falls to 0."""
    split = [*ROOT, FIRST_RELU + 1, BOUNDS, BOUNDS, LINES, 0, LINES, 0]
    assert reason(ramp, split, "(assert (>= Y_0 2))") == ""
    assert "does not close" in reason(ramp, [*split, LINES, 0], "(assert (or (>= Y_0 2) (<= Y_0 0.05)))")


def test_a_deep_tree_or_a_long_one_is_refused(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of no width, one in the other; leaves of a small network, and of many rows."""
    monkeypatch.setattr(checker, "MOST_SIGNS", checker.BARE_NODE * 100)
    assert "too deep" in reason(ramp, [*ROOT, *[HALVES, 0, 1, 0] * 101, *[LINES, 0] * 102])
    monkeypatch.setattr(checker, "MOST_WORK", checker.STEP_WORK * 10)
    assert "too many evaluations" in reason(ramp, [*ROOT, *[HALVES, 0, 1, 0] * 10, *[LINES, 0] * 11])
    monkeypatch.undo()
    monkeypatch.setattr(checker, "STEP_WORK", checker.STEP_WORK // 64)
    monkeypatch.setattr(checker, "MOST_WORK", 16 * checker.STEP_WORK)
    assert reason(ramp, BY_BOXES) == ""
    assert "too many evaluations" in reason(ramp, BY_BOXES, NEVER * 700)


def test_random_numbers_prove_no_property_that_is_false(ramp: verifier.Model) -> None:
    """100 changes of valid trees under the text of a false property, 100 of random words."""
    rng = np.random.default_rng(0)
    words = [LEAF, LINES, BOUNDS, HALVES, FIRST_RELU, FIRST_RELU + 1, 0, 1, 2, -1, 3]
    for _ in range(100):
        numbers = [*(BY_BOXES, BY_RELUS, MIXED)[rng.integers(3)]]
        for place in rng.integers(0, len(numbers), 2):
            numbers[place] = int(rng.choice(words))
        assert reason(ramp, numbers, OVER)
        assert reason(ramp, [*ROOT, *rng.choice(words, 12).tolist()], OVER)


def test_a_header_that_is_not_so_is_refused(ramp: verifier.Model) -> None:
    text, model = (RAMP + NEVER).encode(), ramp.path.read_bytes()
    data = checker.unpacked(property_encoded(ramp.network.sha256, text, [np.array(BY_BOXES)]))
    size = int.from_bytes(data[:4], "little")
    header, rest = json.loads(data[4 : 4 + size]), data[4 + size :]
    for changed, why in (
        ({"more": 1}, "other fields"),
        ({"step": 61}, "out of range"),
        ({"fine": -1}, "out of range"),
        ({"property": len(rest) + 1}, "cut off"),
        ({"property": len(text) - 1}, ""),
        ({"property": checker.MOST_TEXT + 1}, "out of range"),
        ({"schema": 5}, "other fields"),
        ({"schema": 3}, "other fields"),
    ):
        told = json.dumps({**header, **changed}).encode()
        content = checker.MAGIC + zlib.compress(len(told).to_bytes(4, "little") + told + rest)
        judged = checker.judged(content, model)
        assert not judged.valid
        assert why in judged.reason


ROWS = {
    "one row": [([[1.0, -1.0, 0.0]], [-40.0])],
    "two rows": [([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], [-20.0, -30.0])],
    "two cases": [([[1.0, 0.0, 0.0]], [-60.0]), ([[0.0, -1.0, 0.0]], [-60.0])],
}


@pytest.mark.parametrize("boxes", [True, False], ids=["boxes", "relus"])
@pytest.mark.parametrize("name", ROWS)
def test_what_holds_of_a_random_net_is_certified(
    name: str, boxes: bool, truth: Any, save_net: Callable[..., verifier.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_builder, "few_inputs", lambda _: boxes)
    for seed in range(2):
        model = save_net(truth.net(seed, (2, 5, 4, 3)))
        # As near to the outputs' range as a grid says, and a little more.
        grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 41)] * 2), axis=-1).reshape(-1, 2)
        values = model.values(grid)
        goals = []
        for matrix, _ in ROWS[name]:
            least = (values @ np.array(matrix).T).min(axis=1).max()
            goals.append(verifier.Halfspaces(np.array(matrix), np.full(len(matrix), -least - 0.1)))
        if not isinstance(verifier.check(model, region=(0.0, 1.0), property=goals).verdict, Holds):
            continue
        found = verifier.property_certificate(model, region=(0.0, 1.0), property=goals)
        judged = checker.judged(found.content, model.path.read_bytes(), checker.Demands(property=found.result.text))
        assert judged.valid
        assert found.result.cases == len(goals)
        assert found.leaves >= len(goals)


def test_rows_over_inputs_and_outputs(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """y ≤ x, and y ≤ 1 − x."""
    for boxes in (True, False):
        monkeypatch.setattr(property_builder, "few_inputs", lambda _, boxes=boxes: boxes)
        for row in ("(>= Y_0 (+ X_0 0.05))", "(>= (+ Y_0 (* 2 X_0)) (+ 1.05 (/ X_0 1)))"):
            text = f"{RAMP}(assert {row})".encode()
            made = property_certified(ramp, text, Budget())
            assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
    with pytest.raises(NotCertifiedError):
        property_certified(ramp, f"{RAMP}(assert (>= Y_0 X_0))".encode(), Budget(5))


def test_what_is_not_covered_is_refused_by_name(ramp: verifier.Model, tmp_path: Path) -> None:
    for text, why in (
        (RAMP, "asks nothing of outputs"),
        (RAMP + "(assert (not (>= Y_0 0.4)))", "a formula that is not read here: not"),
        ("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= Y_0 3))", "without an end"),
        (RAMP.replace("X_0 Real", "X_0 Real)(declare-const X_1 Real"), "another number of inputs"),
    ):
        with pytest.raises(NotCertifiedError, match=why.replace("(", r"\(")):
            property_certified(ramp, text.encode(), Budget())
    file = tmp_path / "two.vnnlib"
    file.write_text("(vnnlib-version <2.0>)(declare-network f (declare-input X real [1]) (declare-output Y real [1]))")
    with pytest.raises(NotCertifiedError, match="VNN-LIB 2"):
        verifier.property_certificate(ramp, property=file)
    with pytest.raises(OutOfTimeError):
        property_certified(ramp, (RAMP + NEVER).encode(), Budget(0))


def test_a_softmax_keeps_the_order_of_two_outputs_only(tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415

    from tests.verifier.certificates.nets import with_end  # noqa: PLC0415

    path = tmp_path / "soft.onnx"
    onnx.save(with_end("Softmax", 3), path)
    model = verifier.load(path)
    values = model.values(np.full((1, 4), 0.5))[0]
    above, below = int(values.argmax()), int(values.argmin())
    names = "".join(f"(declare-const {kind} Real)" for kind in ("X_0", "X_1", "X_2", "X_3", "Y_0", "Y_1", "Y_2"))
    box = "".join(f"(assert (>= X_{i} 0.49))(assert (<= X_{i} 0.51))" for i in range(4))
    text = f"{names}{box}(assert (>= Y_{below} Y_{above}))".encode()
    made = property_certified(model, text, Budget())
    assert "before a final Softmax" in made.result.scores
    with pytest.raises(NotCertifiedError, match="before a final Softmax"):
        property_certified(model, f"{names}{box}(assert (>= Y_{below} 0.9))".encode(), Budget())


def test_certified_is_said_of_evidence_only_by_the_terminal(ramp: verifier.Model) -> None:
    goal = verifier.Halfspaces(np.array([[1.0]]), np.array([-0.6]))
    assert verifier.check(ramp, region=(0.0, 1.0), property=goal).evidence is not Evidence.CERTIFIED
    assert verifier.property_certificate(ramp, region=(0.0, 1.0), property=goal).result.outputs == 1


def test_a_layer_without_open_or_active_neurons(truth: Any, save_net: Callable[..., verifier.Model]) -> None:
    """All of the first layer is off, so the second one is constant."""
    net = truth.of_layers(([[1.0]], [-2.0]), ([[1.0], [1.0]], [0.5, -0.5]), ([[1.0, 1.0]], [0.0]))
    model = save_net(net)
    for row, good in (("(>= Y_0 0.6)", True), ("(>= Y_0 0.5)", False)):
        assert (reason(model, [BOUNDS, 0, 1, 0, LINES, 0], f"(assert {row})") == "") is good


def test_signs_that_do_not_follow_are_claimed_no_more(ramp: verifier.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    loosened = []

    class Bold(BoxTree):
        """Claims that every neuron is active."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._claimed = -2.0

        def loosen(self) -> None:
            loosened.append(self._claimed)
            self._claimed = MARGIN

    monkeypatch.setattr(property_builder, "few_inputs", lambda _: True)
    monkeypatch.setattr(property_builder, "BoxTree", Bold)
    text = (RAMP + NEVER).encode()
    made = property_certified(ramp, text, Budget())
    assert loosened == [-2.0]
    assert checker.judged(made.content, ramp.path.read_bytes(), checker.Demands(property=text)).valid
