"""Models of PyTorch, Keras and scikit-learn, exported to ONNX behind the scenes and compared with the original.

None of these libraries is imported unless a model of it is given. The export is the model that is verified; that it is
the original is checked at random points, within what float32 rounding plausibly does.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from encoders.errors import InputError, one_line
from encoders.files.temporary import temporary_folder
from verifier.runtime.replay import FloatArray

POINTS, SEED = 4, 0
"""Random inputs at which an export is compared with the original."""

RELATIVE = 1e-3
"""Of the largest score: the framework sums in another order, in float32 or float64. An export that is wrong differs by
far more; one that differs less is as good a model, and the one that is verified."""


@dataclass(frozen=True)
class Exported:
    """A model as ONNX: its bytes, the original as a function of points (batch, *shape), and the name to show."""

    content: bytes
    original: Callable[[FloatArray], FloatArray]
    name: str


def exported(model: Any, shape: Sequence[int] | None) -> Exported | None:
    """The model as ONNX, None for an object of no framework that is known here.

    shape: of one input, without the batch; PyTorch modules do not know theirs. Raises InputError.
    """
    for library, kind, export in (
        ("keras", "Model", _from_keras),  # before torch, which may be what is underneath
        ("torch", "Module", _from_torch),
        ("sklearn", "BaseEstimator", _from_sklearn),
    ):
        if _is_a(model, library, kind):
            try:
                with _quiet():
                    return export(model, shape)
            except InputError:
                raise
            except ImportError as error:
                raise InputError(
                    f"this {library} model cannot be exported: {one_line(error)}; {_NEEDED[library]}"
                ) from error
            except Exception as error:  # whatever an exporter raises is told
                raise InputError(f"this {library} model cannot be exported to ONNX: {one_line(error)}") from error
    return None


_NEEDED = {
    "torch": "pip install onnx onnxscript",
    "keras": "pip install tf2onnx, or onnxscript for the torch backend",
    "sklearn": "pip install skl2onnx",
}


def compare(exported: Exported, scores: Callable[[FloatArray], FloatArray], shape: Sequence[int]) -> None:
    """Raise InputError where `scores` of the export, (batch, K), are not those of the original at random points."""
    rng = np.random.default_rng(SEED)
    points = rng.random((POINTS, *shape)).astype(np.float32)
    with _quiet():
        expected = np.asarray(exported.original(points), dtype=np.float64).reshape(POINTS, -1)
    found = scores(points).astype(np.float64)
    if expected.shape != found.shape:
        raise InputError(
            f"the export of {exported.name} gives {found.shape[1]} scores, the original {expected.shape[1]}"
        )
    apart = float(np.max(np.abs(found - expected)))
    if not apart <= RELATIVE * max(1.0, float(np.max(np.abs(expected)))):
        raise InputError(
            f"the export of {exported.name} is not the original: their scores differ by {apart:.3g} at random inputs"
        )


def _is_a(model: Any, library: str, kind: str) -> bool:
    return any(
        base.__name__ == kind and base.__module__.partition(".")[0].removeprefix("tf_") == library
        for base in type(model).__mro__
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print and warn; what goes wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _from_torch(module: Any, shape: Sequence[int] | None) -> Exported:
    import torch  # noqa: PLC0415 (only where a module is given)

    if shape is None:
        raise InputError("a PyTorch module does not tell the shape of its input: load(module, shape=(1, 28, 28))")
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        # Two rows: an exporter takes an axis of size 1 for one that is always 1.
        example = torch.zeros((2, *shape), dtype=next(module.parameters(), torch.zeros(1)).dtype)
        batch = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.onnx.export(module, (example,), dynamo=True, dynamic_shapes=batch, verbose=False)
        content = program.model_proto.SerializeToString()
    finally:
        for part in training:
            part.training = True

    def original(points: FloatArray) -> FloatArray:
        was = [part for part in module.modules() if part.training]
        module.eval()
        try:
            with torch.no_grad():
                result: FloatArray = module(torch.from_numpy(points).to(example.dtype)).numpy()
        finally:
            for part in was:
                part.training = True
        return result

    return Exported(content, original, type(module).__name__)


def _from_keras(model: Any, shape: Sequence[int] | None) -> Exported:
    model(np.zeros((1, *(shape or model.input_shape[1:])), dtype=np.float32))  # one that was never called has no export
    with temporary_folder() as folder:
        path = Path(folder) / "model.onnx"
        model.export(str(path), format="onnx", verbose=False)
        proto = onnx.load(str(path))
    return Exported(proto.SerializeToString(), lambda points: np.asarray(model.predict(points, verbose=0)), model.name)


def _from_sklearn(estimator: Any, shape: Sequence[int] | None) -> Exported:
    from skl2onnx import to_onnx  # noqa: PLC0415 (only where an estimator is given)
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    size = getattr(estimator, "n_features_in_", None)
    if size is None:
        raise InputError(f"this {type(estimator).__name__} has not been fitted yet")
    del shape
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    proto = to_onnx(estimator, initial_types=[("x", FloatTensorType([None, size]))], options=options)
    scores = next(
        getattr(estimator, name)
        for name in ("predict_proba", "decision_function", "predict")
        if hasattr(estimator, name)
    )
    return Exported(proto.SerializeToString(), scores, type(estimator).__name__)
