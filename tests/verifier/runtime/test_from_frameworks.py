"""Models that come without a file: bytes and ModelProtos; PyTorch, Keras and scikit-learn, exported and compared."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.runtime import from_frameworks
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

    @pytest.mark.parametrize(
        ("forward", "said"),
        [
            (lambda scores: {"logits": scores}, "Net's forward gives a dict of 'logits'; one tensor is needed"),
            (lambda scores: SimpleNamespace(logits=scores), "gives an object SimpleNamespace; one tensor"),
            (lambda _: None, "Net's forward gives None; one tensor"),
            (lambda scores: (scores, scores), "gives a tuple of 2; one tensor"),
            (lambda scores: scores @ scores, r"Net's forward fails at a batch of shape 2x6: RuntimeError: mat1 and"),
            (lambda scores: scores.svd().S, r"exported to ONNX: [^\x1b?]*No ONNX function found for [^\x1b]*$"),
        ],
    )
    def test_what_cannot_be_exported_is_one_line(
        self, forward: Callable[[Any], Any], said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")

        class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.linear = torch.nn.Linear(6, 3)

            def forward(self, points: Any) -> Any:
                return forward(self.linear(points))

        with pytest.raises(InputError, match=said):
            verifier.load(Net(), shape=(6,))
        assert capfd.readouterr() == ("", "")

    def test_wrapped_modules_and_one_that_is_not_on_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        inner = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Dropout(), torch.nn.Linear(4, 3))
        inner[1].eval()
        x = torch.rand(6, requires_grad=True)
        wrapped = torch.nn.DataParallel(torch.compile(inner))
        monkeypatch.setattr(from_frameworks, "_on_cpu", lambda _: False)  # so that a copy is exported
        moved: list[Any] = []
        monkeypatch.setattr(torch.nn.Sequential, "cpu", lambda copied: moved.append(copied) or copied, raising=False)
        model = verifier.load(wrapped, shape=(6,))
        assert len(moved) == 1
        assert moved[0] is not inner
        assert [part.training for part in inner.modules()] == [True, True, False, True]
        inner.eval()
        assert model.predict(x) == int(inner(x).argmax())


def test_a_module_lies_where_its_parameters_and_buffers_do() -> None:
    def module(*devices: str) -> Any:
        parts = [SimpleNamespace(device=SimpleNamespace(type=name)) for name in devices]
        return SimpleNamespace(parameters=lambda: iter(parts[:1]), buffers=lambda: iter(parts[1:]))

    assert [from_frameworks._on_cpu(module(*at)) for at in (("cpu", "cpu"), ("cuda", "cpu"), ("cpu", "cuda"))] == [
        True,
        False,
        False,
    ]


def test_an_exporter_s_error_is_told_by_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(model: Any, shape: Any) -> Any:
        raise RuntimeError("step 1/3: report it with a stack trace") from ValueError("\x1b[96mno rule\x1b[0m for\nthis")

    monkeypatch.setattr(from_frameworks, "_from_torch", export)
    kind = type("Module", (), {"__module__": "torch.nn.modules"})
    with pytest.raises(
        InputError, match=r"^this torch model cannot be exported to ONNX: ValueError: no rule for this$"
    ):
        verifier.load(kind())


def test_an_original_that_fails_is_one_line() -> None:
    def original(_: Any) -> Any:
        raise KeyError("nokey")

    with pytest.raises(InputError, match=r"^net itself fails at random inputs: KeyError: 'nokey'$"):
        compare(Exported(b"", original, "net"), lambda points: points, (6,))


@pytest.mark.parametrize("shape", [6, (6.5,), "abc", (-1,)])
def test_a_shape_that_is_none(shape: Any) -> None:
    with pytest.raises(
        InputError, match=r"the shape of an input must be whole numbers ≥ 1, such as \(1, 28, 28\), not"
    ):
        from_frameworks._sizes(shape)


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
