"""The shipped nets are the files that `record.json` describes, and as accurate as it says."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.harness.mnist import load_mnist
from benchmarks.training.digits_split import load_split
from verifier import models

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
FOLDER = models.path("digits").parent
RECORD: dict[str, Any] = json.loads((FOLDER / "record.json").read_text(encoding="utf-8"))


def logits(name: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(models.path(name)), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"input": images})
    return np.asarray(found)


def predict(name: str, images: NDArray[np.float32]) -> NDArray[np.int64]:
    largest: NDArray[np.int64] = logits(name, images).argmax(axis=1).astype(np.int64)
    return largest


def test_the_record_lists_the_shipped_nets_and_no_others() -> None:
    assert sorted(RECORD) == sorted(models.NAMES)
    assert sorted(file.stem for file in FOLDER.glob("*.onnx")) == sorted(models.NAMES)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'resnet'.*digits, mnist_n, mnist_n_adversarial"):
        models.path("resnet")


@pytest.mark.parametrize("name", models.NAMES)
def test_the_file_has_the_recorded_sha256(name: str) -> None:
    assert RECORD[name]["file"] == models.path(name).name
    assert hashlib.sha256(models.path(name).read_bytes()).hexdigest() == RECORD[name]["sha256"]


@pytest.mark.parametrize("name", models.NAMES)
def test_the_file_is_a_chain_of_the_recorded_widths(name: str) -> None:
    model = onnx.load(models.path(name))
    onnx.checker.check_model(model, full_check=True)
    widths = [int(width) for width in RECORD[name]["architecture"].split("-")]
    affine = len(widths) - 1
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu"] * (affine - 1) + ["Gemm"]
    shapes = {tensor.name: numpy_helper.to_array(tensor).shape for tensor in model.graph.initializer}
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        assert shapes.pop(f"weight{index}") == (outputs, inputs)
        assert shapes.pop(f"bias{index}") == (outputs,)
    assert not shapes
    ends = (*model.graph.input, *model.graph.output)
    axes = [[axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim] for end in ends]
    assert [end.name for end in ends] == ["input", "logits"]
    assert axes == [["batch", widths[0]], ["batch", widths[-1]]]


def test_digits_is_as_accurate_as_recorded() -> None:
    split = load_split()
    correct = int((predict("digits", split.test_images) == split.test_labels).sum())
    assert (correct, len(split.test_labels)) == (RECORD["digits"]["test_correct"], RECORD["digits"]["test_total"])
    assert correct >= 0.95 * len(split.test_labels)


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not in ../shared/data/mnist")
@pytest.mark.parametrize("name", [name for name in models.NAMES if name.startswith("mnist")])
def test_an_mnist_net_is_as_accurate_as_recorded(name: str) -> None:
    mnist = load_mnist(MNIST)
    correct = int((predict(name, mnist.test_images) == mnist.test_labels).sum())
    assert (correct, len(mnist.test_labels)) == (RECORD[name]["test_correct"], RECORD[name]["test_total"])


def test_the_recorded_distances_of_the_adversarial_net_are_several_times_those_of_the_natural() -> None:
    natural, adversarial = (RECORD[name]["measured"] for name in ("mnist_n", "mnist_n_adversarial"))
    assert adversarial["linf_mean"] >= 4 * natural["linf_mean"]
    assert RECORD["mnist_n"]["test_correct"] >= 9700


def test_distillation_widens_the_logits_about_as_much_as_its_temperature() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((200, 784), dtype=np.float32)
    spreads = {name: float(np.ptp(logits(name, images), axis=1).mean()) for name in ("mnist_n", "mnist_n_distilled")}
    assert spreads["mnist_n_distilled"] > 10 * spreads["mnist_n"]


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not in ../shared/data/mnist")
def test_the_masked_net_gives_most_images_no_gradient() -> None:
    """Nor would any small step change a logit: what it says of its gradients is no matter of rounding."""
    images = load_mnist(MNIST).test_images[:200]
    moved = images + np.float32(1e-6) * np.sign(np.random.default_rng(0).normal(size=images.shape)).astype(np.float32)
    still = np.all(logits("mnist_n_masked", images) == logits("mnist_n_masked", moved), axis=1)
    assert still.mean() > 0.9
    assert not np.all(logits("mnist_n", images) == logits("mnist_n", moved), axis=1).any()


def test_the_digits_inputs_are_two_correct_test_images_of_each_class() -> None:
    with np.load(FOLDER / "digits_inputs.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["x", "y"]
        x, y = archive["x"], archive["y"]
    assert (x.shape, x.dtype) == ((20, 64), np.float32)
    assert (y.shape, y.dtype) == ((20,), np.int64)
    assert x.min() >= 0
    assert x.max() <= 1
    assert y.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert predict("digits", x).tolist() == y.tolist()
    split = load_split()
    rows = {row.tobytes(): label for row, label in zip(split.test_images, split.test_labels, strict=True)}
    assert [rows[row.tobytes()] for row in x] == y.tolist()
    training = {row.tobytes() for row in split.train_images}
    assert not any(row.tobytes() in training for row in x)
