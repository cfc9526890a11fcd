"""Questions about models with one score, labels, zipmaps and several outputs, against closed forms and ONNX Runtime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import InputError
from verifier.cli.main import main

node = helper.make_node
W = np.array([[1.0], [-2.0], [0.5]], np.float32)
BIAS = 0.25
OUTPUTS = {
    "score": [],
    "sigmoid": [node("Sigmoid", ["z"], ["p"])],
    "complement": [
        node("Sigmoid", ["z"], ["s"]),
        node("Sub", ["one", "s"], ["t"]),
        node("Concat", ["t", "s"], ["p"], axis=1),
    ],
}


def binary(ending: str) -> onnx.ModelProto:
    """z = W·x + 0.25 behind a ReLU that never bends in the box, and an ending."""
    nodes = [node("Relu", ["x"], ["r"]), node("Gemm", ["r", "w", "b"], ["z"]), *OUTPUTS[ending]]
    output = "p" if OUTPUTS[ending] else "z"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "k"])],
        [
            numpy_helper.from_array(W, "w"),
            numpy_helper.from_array(np.array([BIAS], np.float32), "b"),
            numpy_helper.from_array(np.array([1], np.float32), "one"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("ending", OUTPUTS)
@pytest.mark.parametrize("x", [(0.5, 0.25, 0.5), (0.25, 0.5, 0.5)], ids=["class 1", "class 0"])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_distance_of_one_score(ending: str, x: tuple[float, ...], norm: str) -> None:
    proto = binary(ending)
    model = verifier.load(proto)
    z = float(np.dot(x, W[:, 0])) + BIAS
    distance = abs(z) / (np.abs(W).sum() if norm == "linf" else np.abs(W).max())
    label = int(z >= 0)
    assert model.predict(x) == label
    found = verifier.minimal(model, x, norm=norm)
    assert found.status == "minimal"
    assert found.lower <= distance <= found.upper <= distance + 1e-3
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (scores,) = session.run(None, {"x": found.witness.point.reshape(1, 3)})
    flat = scores.reshape(-1)
    predicted = int(np.argmax(flat)) if flat.size == 2 else int(flat[0] >= (0.5 if ending == "sigmoid" else 0.0))
    assert predicted == found.witness.predicted == 1 - label
    held = verifier.check(model, x, 0.99 * distance, norm=norm)
    assert type(held.verdict).__name__ == "Holds"


def test_a_tie_of_one_score_is_class_1() -> None:
    model = verifier.load(binary("score"))
    assert model.predict((0.25, 0.25, 0.0)) == 1
    model = verifier.load(binary("sigmoid"))
    assert model.predict((0.25, 0.25, 0.0)) == 1


@pytest.mark.parametrize("ending", ["score", "sigmoid"])
def test_one_output_is_told_as_one(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be a regressor's: two classes are there only for who asks for a class."""
    assert "(1x3 float32), 1 output (as a classifier, 2 classes), " in repr(verifier.load(binary(ending)))
    onnx.save(binary(ending), tmp_path / "one.onnx")
    assert main(["inspect", str(tmp_path / "one.onnx"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outputs"], found["classes"]) == (1, 2)
    assert main(["inspect", str(tmp_path / "one.onnx")]) == 0
    assert "1 output (as a classifier, 2 classes)" in capsys.readouterr().out
    np.save(tmp_path / "x.npy", np.zeros(3, np.float32))
    main(["attack", str(tmp_path / "one.onnx"), str(tmp_path / "x.npy")])
    classes = {"score": "class 1 is where it is ≥ 0)", "sigmoid": "class 1 is where it is ≥ 0.5)"}
    assert classes[ending] in " ".join(capsys.readouterr().out.split())


def test_large_scores_that_a_sigmoid_shows_as_equal() -> None:
    """Scores of 40 and 30 are both 1 as probabilities: no float32 end; a witness is one in the file's own output."""
    proto = binary("sigmoid")
    weights = np.array([[100.0, 0.0], [0.0, 100.0], [0.0, 0.0]], np.float32)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros(2, np.float32), "b"))
    model, x = verifier.load(proto), np.array([0.5, 0.3, 0.0], np.float32)
    found = verifier.minimal(model, x, timeout=2)  # rounding leaves it open
    assert found.float32 is None
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    if found.witness is not None:
        (scores,) = session.run(None, {"x": found.witness.point.reshape(1, 3)})
        assert int(np.argmax(scores)) == 1
    assert found.lower <= 0.1 + 1e-6
    with pytest.raises(InputError, match="shows scores as equal that are far apart"):
        verifier.minimal(model, x, semantics="float32")


def test_a_sigmoid_of_a_sigmoid_of_one_score() -> None:
    proto = binary("sigmoid")
    proto.graph.node.append(node("Sigmoid", ["p"], ["q"]))
    proto.graph.output[0].name = "q"
    with pytest.raises(InputError, match="the sigmoid of a sigmoid of one score"):
        verifier.load(proto)


@pytest.fixture
def two_heads(tmp_path: Path) -> Path:
    """Two heads of three classes: `near` prefers another class close by, `far` does not."""
    near = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    graph = helper.make_graph(
        [
            node("Relu", ["x"], ["r"]),
            node("Gemm", ["r", "w"], ["near"]),
            node("Gemm", ["r", "w", "b"], ["far"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("near", "far")],
        [numpy_helper.from_array(near, "w"), numpy_helper.from_array(np.array([0.3, 0, 0], np.float32), "b")],
    )
    path = tmp_path / "heads.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.save(tmp_path / "x.npy", np.array([[0.6, 0.4, 0.2]], np.float32))
    return path


def test_the_command_takes_an_output(two_heads: Path, capsys: Any) -> None:
    x = str(two_heads.parent / "x.npy")
    assert main(["minimal", str(two_heads), x]) == 2
    message = capsys.readouterr().err
    assert "2 outputs that may be the scores of the classes; choose one with --output NAME" in message
    assert "'near' (float32 1x3), 'far' (float32 1x3)" in message
    uppers = {}
    for name in ("near", "far"):
        assert main(["minimal", str(two_heads), x, "--output", name, "--json"]) == 0
        uppers[name] = json.loads(capsys.readouterr().out)["upper"]
        assert main(["inspect", str(two_heads), "--output", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["output"]["name"] == name
    assert uppers["near"] == pytest.approx(0.1, abs=1e-3)
    assert uppers["far"] == pytest.approx(0.25, abs=1e-3)
    assert main(["inspect", str(two_heads), "--output", "other"]) == 2
    assert "'other' is not an output of the model" in capsys.readouterr().err
