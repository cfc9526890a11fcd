"""Files that end in Softmax or LogSoftmax: a witness changes the class of the file's own output, ties included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.network.exact import exact_outputs
from verifier.problem.verdict import Holds, Status, Unknown, Violated

Saved = Callable[..., verifier.Model]

X = np.float32([0.25, 0.5])
TIE = 0.5
"""How far X is from where the logits (or the rows of their differences) are equal."""


@pytest.fixture
def ending(tmp_path: Path) -> Saved:
    """z_first = scale · (3/4 − x₀), the other logit 0, then the op; Identity behind it where asked for."""

    def make(op: str, scale: float, first: int = 0, behind: bool = False) -> verifier.Model:
        weight, bias = np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
        weight[first, 0], bias[first] = -scale, 0.75 * scale
        last = "p" if behind else "y"
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1),
            helper.make_node(op, ["z"], [last], axis=1),
            *([helper.make_node("Identity", ["p"], ["y"])] if behind else []),
        ]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("x", "y")]
        stored = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], stored)
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        return verifier.load(path)

    return make


def told(model: verifier.Model, point: Any) -> int:
    """The class by the file's own output, of a run of the file as it is."""
    session = ort.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": np.asarray(point, np.float32).reshape(1, 2)})
    return int(np.argmax(scores[0]))


ENDS = pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])


@pytest.mark.parametrize(("op", "behind", "norm"), [("Softmax", True, "linf"), ("LogSoftmax", False, "l1")])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e-6])
def test_a_witness_changes_the_class_of_the_file(
    ending: Saved, op: str, norm: str, first: int, behind: bool, scale: float
) -> None:
    """Where class 0 wins every tie, its rival needs a margin that the rounded output shows, beyond the tie."""
    model = ending(op, scale, first, behind)
    assert (model.network.logits_name, model.network.output_name) == ("z", "y")
    assert model.predict(X) == told(model, X) == first
    found = verifier.minimal(model, X, norm=norm)
    assert found.lower <= TIE + 1e-6
    assert found.witness is not None
    point = found.witness.point
    assert told(model, point) == model.predict(point) == found.witness.predicted == 1 - first
    logits = exact_outputs(model.network.graph, point.astype(float))
    assert logits[1 - first] >= logits[first]
    # Nothing that the float32 end excludes changes the file's class, ties of its output included.
    assert found.float32 is not None
    for share in np.linspace(0.0, 1.0, 200):
        nearer = np.float32([X[0] + share * found.float32, X[1]])
        if nearer[0] - X[0] <= found.float32:
            assert told(model, nearer) == first
    if scale < 1e-4 and first == 0:
        # The real logits change places at the tie, the file's output only beyond it: the bracket says both.
        assert found.status is Status.BRACKETED
        assert "rounded" in found.reason
        assert found.upper > TIE + 1e-3
        beside = np.float32([0.75 + 1e-3, 0.5])
        assert told(model, beside) == first
    else:
        assert found.status is Status.MINIMAL


@ENDS
def test_a_check_between_the_tie_and_the_file_s_own_change_is_open(ending: Saved, op: str) -> None:
    model = ending(op, 1e-6)
    assert isinstance(verifier.check(model, X, TIE - 1e-3).verdict, Holds)
    between = verifier.check(model, X, TIE + 1e-3)
    assert isinstance(between.verdict, Unknown)
    assert "rounded" in between.reason
    beyond = verifier.check(model, X, TIE + 0.1)
    assert isinstance(beyond.verdict, Violated)
    assert beyond.witness is not None
    assert told(model, beyond.witness.point) == 1


@ENDS
@pytest.mark.parametrize("attack", ["cw", "pgd", "fgsm", "deepfool"])
def test_attacks_go_beyond_the_tie(ending: Saved, op: str, attack: str) -> None:
    model = ending(op, 1e-5)
    found = verifier.attack(model, X, attack=attack, device="cpu")
    assert found.witness is not None
    assert told(model, found.witness.point) == 1


def test_where_the_file_never_changes_there_is_no_witness(ending: Saved) -> None:
    """Logits of 1e-9: every output is (1/2, 1/2), which means class 0."""
    model = ending("Softmax", 1e-9)
    found = verifier.minimal(model, X)
    assert (found.witness, found.status) == (None, Status.BRACKETED)
    assert found.lower == pytest.approx(TIE, abs=1e-3)


def test_under_transformations_every_copy_s_own_output_counts(ending: Saved, tmp_path: Path) -> None:
    model = ending("Softmax", 1e-6)
    np.savez(tmp_path / "near.npz", matrix=np.array([[0.96875, 0.0], [0.0, 1.0]]))
    views = tmp_path / "views.toml"
    views.write_text('[[transform]]\nidentity = true\n[[transform]]\nmatrix = "near.npz"\n')
    transforms = verifier.load_transforms(model, views)
    for target in (None, 1):
        found = verifier.minimal(model, X, transforms=transforms, target=target)
        assert found.witness is not None
        assert found.witness.classes == (1, 1)
        shown = found.witness.point.astype(float)
        assert {told(model, shown), told(model, shown * [0.96875, 1.0])} == {1}
        assert found.upper > 0.75 / 0.96875 - 0.25 + 1e-3


def test_the_input_itself_is_classified_by_the_file_s_own_output(ending: Saved) -> None:
    """A hair beyond the tie the logits say 1, and the file 0: that is the label."""
    model = ending("Softmax", 1e-6)
    x = np.float32([0.76, 0.5])
    assert np.argmax(model.logits(x)) == 1
    assert model.predict(x) == told(model, x) == 0
    found = verifier.minimal(model, x)
    assert found.status is not Status.ALREADY_ADVERSARIAL
    assert found.lower == 0.0
    assert found.witness is not None
    assert told(model, found.witness.point) == 1
