"""Models of PyTorch, Keras and scikit-learn, exported to ONNX behind the scenes and compared with the original.

None of these libraries is imported unless a model of it is given. The export is the model that is verified; that it is
the original is checked at random points, within what float32 rounding plausibly does.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from encoders.errors import InputError, one_line
from encoders.files.temporary import temporary_folder
from verifier.problem.arguments import whole
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
                raise InputError(f"this {library} model cannot be exported to ONNX: {_cause(error)}") from error
    return None


def _cause(error: BaseException) -> str:
    """What is behind an error, in one line: exporters wrap it in their own, which say what to report to whom."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {one_line(error)}"


_NEEDED = {
    "torch": "pip install onnx onnxscript",
    "keras": "pip install tf2onnx, or onnxscript for the torch backend",
    "sklearn": "pip install skl2onnx",
}


def compare(exported: Exported, scores: Callable[[FloatArray], FloatArray], shape: Sequence[int]) -> None:
    """Raise InputError where `scores` of the export, (batch, K), are not those of the original at random points."""
    rng = np.random.default_rng(SEED)
    points = rng.random((POINTS, *shape)).astype(np.float32)
    try:
        with _quiet():
            expected = np.asarray(exported.original(points), dtype=np.float64).reshape(POINTS, -1)
    except InputError:
        raise
    except Exception as error:  # whatever the user's own code raises is told
        raise InputError(f"{exported.name} itself fails at random inputs: {_cause(error)}") from error
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
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Where torch.compile and what spreads batches keep the module that they wrap: the same function."""


def _from_torch(module: Any, shape: Sequence[int] | None) -> Exported:
    import torch  # noqa: PLC0415 (only where a module is given)

    if shape is None:
        raise InputError("a PyTorch module does not tell the shape of its input: load(module, shape=(1, 28, 28))")
    while type(module).__name__ in WRAPPERS:
        module = getattr(module, WRAPPERS[type(module).__name__])
    name = type(module).__name__
    if not _on_cpu(module):
        module = copy.deepcopy(module).cpu()
    dtype = next((part.dtype for part in module.parameters() if part.is_floating_point()), torch.float32)

    def scores(points: Any) -> Any:
        try:
            with torch.no_grad():
                found = module(points)
        except Exception as error:
            size = "x".join(str(n) for n in points.shape)
            raise InputError(f"{name}'s forward fails at a batch of shape {size}: {_cause(error)}") from error
        if not isinstance(found, torch.Tensor):
            raise InputError(
                f"{name}'s forward gives {_told(found)}; one tensor is needed, the scores (batch, classes): load a "
                "module whose forward picks them"
            )
        return found

    with _evaluated(module):
        # Two rows: an exporter takes an axis of size 1 for one that is always 1.
        example = torch.zeros((2, *_sizes(shape)), dtype=dtype)
        scores(example)
        batch = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.onnx.export(module, (example,), dynamo=True, dynamic_shapes=batch, verbose=False)
        content = program.model_proto.SerializeToString()

    def original(points: FloatArray) -> FloatArray:
        with _evaluated(module):
            result: FloatArray = scores(torch.from_numpy(points).to(dtype)).numpy()
        return result

    return Exported(content, original, name)


def _on_cpu(module: Any) -> bool:
    """Does all that the module computes with lie in the host's memory?"""
    return all(part.device.type == "cpu" for held in (module.parameters, module.buffers) for part in held())


@contextmanager
def _evaluated(module: Any) -> Iterator[None]:
    """The module in evaluation mode; each part of it in its own again afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _sizes(shape: Sequence[int]) -> list[int]:
    try:
        sizes = [whole(size, "shape") for size in shape]
    except (TypeError, InputError):
        sizes = [0]
    if min(sizes, default=1) < 1:
        raise InputError(f"the shape of an input must be whole numbers ≥ 1, such as (1, 28, 28), not {shape!r}")
    return sizes


def _told(found: Any) -> str:
    """What a forward gives, in words."""
    kind = type(found).__name__
    if isinstance(found, Mapping):
        return f"a {kind} of {', '.join(repr(key) for key in found)}"
    if isinstance(found, list | tuple):
        return f"a {kind} of {len(found)}"
    return "None" if found is None else f"an object {kind}"


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
