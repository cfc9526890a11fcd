"""Models that come without a file: bytes and ModelProtos; PyTorch, Keras and scikit-learn, exported and compared."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.runtime.from_frameworks import Exported, compare

DIGITS = models.path("digits")


@pytest.fixture(scope="module")
def x() -> Any:
    return np.load(DIGITS.with_name("digits_inputs.npz"))["x"][0]


@pytest.mark.parametrize("form", ["bytes", "bytearray", "ModelProto", "str"])
def test_a_model_in_memory_answers_as_its_file(form: str, x: Any) -> None:
    content = DIGITS.read_bytes()
    given = {
        "bytes": content,
        "bytearray": bytearray(content),
        "ModelProto": onnx.load_model_from_string(content),
        "str": str(DIGITS),
    }[form]
    model, same = verifier.load(given), verifier.load(DIGITS)
    assert model.predict(x) == same.predict(x)
    found, expected = verifier.minimal(model, x), verifier.minimal(same, x)
    assert (found.lower, found.upper) == (expected.lower, expected.upper)
    assert verifier.certificate(model, x, found.lower / 2).content


def test_the_file_of_a_model_in_memory_goes_with_it() -> None:
    model = verifier.load(DIGITS.read_bytes())
    folder = model.path.parent
    assert folder.is_dir()
    del model
    gc.collect()
    assert not folder.exists()


@pytest.mark.parametrize("given", [None, 3, object(), {"a": 1}])
def test_other_things_are_no_models(given: Any) -> None:
    with pytest.raises(InputError, match="load takes a path, the bytes of an ONNX file, a ModelProto, or a model of"):
        verifier.load(given)


def test_bytes_that_are_no_model() -> None:
    with pytest.raises(InputError, match="not an ONNX model"):
        verifier.load(b"this is no model")


def test_an_export_that_is_another_function_is_refused() -> None:
    model = verifier.load(DIGITS)
    scores = model.replay.logits
    same = Exported(b"", lambda points: scores(points.reshape(len(points), -1)), "twin")
    other = Exported(b"", lambda points: scores(points.reshape(len(points), -1)) * 1.01, "changeling")
    short = Exported(b"", lambda points: scores(points.reshape(len(points), -1))[:, :9], "stump")
    compare(same, scores, (64,))
    with pytest.raises(InputError, match="the export of changeling is not the original: their scores differ by"):
        compare(other, scores, (64,))
    with pytest.raises(InputError, match="the export of stump gives 10 scores, the original 9"):
        compare(short, scores, (64,))


@pytest.fixture(scope="module")
def data() -> Any:
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    found = pytest.importorskip("sklearn.datasets").load_digits()
    return found.data / 16.0, found.target


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
class TestScikitLearn:
    def test_a_classifier_and_a_pipeline(self, data: Any) -> None:
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 (an extra)
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

        points, labels = data
        network = MLPClassifier((8,), max_iter=40, random_state=0)
        estimator = make_pipeline(StandardScaler(), network).fit(points, labels)
        model = verifier.load(estimator)
        assert [model.predict(x) for x in points[:40]] == estimator.predict(points[:40]).tolist()
        found = verifier.minimal(model, points[0])
        assert estimator.predict([found.witness.point.astype(np.float64)])[0] == found.witness.predicted
        assert found.status == "minimal"

    def test_two_classes(self, data: Any) -> None:
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 (an extra)

        points, labels = data
        estimator = MLPClassifier((6,), max_iter=40, random_state=0).fit(points, labels > 4)
        model = verifier.load(estimator)
        assert model.classes == 2
        assert [model.predict(x) for x in points[:40]] == estimator.predict(points[:40]).astype(int).tolist()

    def test_what_is_not_fitted(self, data: Any) -> None:
        from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 (an extra)

        with pytest.raises(InputError, match="this MLPClassifier has not been fitted yet"):
            verifier.load(MLPClassifier())

    def test_without_the_exporter(self, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from sklearn.linear_model import Perceptron  # noqa: PLC0415 (an extra)

        estimator = Perceptron().fit(*data)
        monkeypatch.setitem(sys.modules, "skl2onnx", None)
        with pytest.raises(InputError, match="pip install skl2onnx"):
            verifier.load(estimator)


class TestTorch:
    def test_a_module(self) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 3, padding=1),
            torch.nn.BatchNorm2d(2),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Dropout(),
            torch.nn.Linear(32, 3),
            torch.nn.Softmax(-1),
        )
        model = verifier.load(module, shape=(1, 8, 8))
        assert module.training
        x = np.random.default_rng(0).random((1, 8, 8)).astype(np.float32)
        assert model.network.input_shape == (1, 1, 8, 8)
        found = verifier.minimal(model, x)
        module.eval()
        with torch.no_grad():
            seen = module(torch.from_numpy(found.witness.point.reshape(1, 1, 8, 8)))
        assert int(seen.argmax()) == found.witness.predicted != model.predict(x)
        with pytest.raises(InputError, match=r"load\(module, shape="):
            verifier.load(module)


class TestKeras:
    def test_a_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
        keras = pytest.importorskip("keras", reason="Keras is not installed")
        layers = keras.layers
        network = keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
        )
        model = verifier.load(network)
        x = np.random.default_rng(0).random((8, 8, 1)).astype(np.float32)
        assert model.predict(x) == int(network.predict(x[np.newaxis], verbose=0).argmax())


def test_nothing_of_the_frameworks_is_imported_for_a_file(tmp_path: Path) -> None:
    code = (
        f"import sys, verifier; verifier.load({str(DIGITS)!r}); "
        "print([name for name in ('torch', 'keras', 'sklearn', 'skl2onnx') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
