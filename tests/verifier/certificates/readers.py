"""One model file, three readers: the checker, the engine and ONNX Runtime; do they read one function?"""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from enum import StrEnum
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

from encoders.errors import InputError
from encoders.network.enclosure import enclosed_outputs
from encoders.network.exact import exact_outputs
from encoders.onnx_io.from_onnx import Network, as_classifier, network_from_model
from verifier.certificates import checker

POINTS = 2
CLOSE = {"<f2": 1e-2, "<f4": 1e-4, "<f8": 1e-4}
"""Relative to the largest number on the way: ONNX Runtime rounds."""
LARGEST = {"<f2": 3e4, "<f4": 1e30, "<f8": 1e30}
"""Beyond that the model's type overflows on the way."""
DIGITS = 50
"""Of σ, which has no rational values."""
BITS = 120
"""The same of the engine's σ, and how near the two are, the maps behind it included."""
NEAR = Fraction(1, 1 << 90)


class Said(StrEnum):
    """What became of a file."""

    REFUSED = "the checker refuses it"
    ALIKE = "all three read one function"
    ENGINE_REFUSES = "the engine refuses it, the other two read one function"
    NOBODY_RUNS = "ONNX Runtime and the engine refuse it"
    RUNTIME_REFUSES = "ONNX Runtime refuses it, the other two read one function"
    NO_KERNEL = "ONNX Runtime does not compute in its type, the other two read one function"
    OVERFLOWS = "numbers overflow"


class DisagreementError(Exception):
    """The checker reads another function than ONNX Runtime, or than the engine."""


def compared(content: bytes) -> Said:
    """What the three make of a model; raises DisagreementError."""
    try:
        with np.errstate(all="ignore"):
            net = checker.read_network(content)
    except Exception:  # noqa: BLE001, as in `checker.checked`: whatever goes wrong is a refusal
        return Said.REFUSED
    engine, session = _engine(content), session_of(content)
    rng = np.random.default_rng(0)
    for _ in range(POINTS):
        x = rng.normal(size=net.size(net.input)).astype(net.dtype)
        exact, size = _exact(net, x)
        if engine is not None and not _same(engine, net, x.astype(np.float64), exact):
            raise DisagreementError("the engine reads another function")
        if session is None:
            continue
        if not size < LARGEST[net.dtype]:
            return Said.OVERFLOWS
        shown, scores = _run(session, net, x), np.array([float(value) for value in exact])
        if shown is None:
            session = None
        elif not any(
            _close(shown, values, size * CLOSE[net.dtype]) for values in _readings(scores[-net.size(net.scores) :])
        ):
            raise DisagreementError(f"ONNX Runtime gives {shown}, the checker {scores}")
    if session is None and engine is not None:
        return Said.RUNTIME_REFUSES if net.dtype == "<f4" else Said.NO_KERNEL
    if session is None:
        return Said.NOBODY_RUNS
    return Said.ALIKE if engine is not None else Said.ENGINE_REFUSES


def sigma(t: Fraction) -> Fraction:
    """σ(t) to DIGITS digits."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = DIGITS, MAX_EMAX, MIN_EMIN
        value = Decimal(t.numerator) / Decimal(t.denominator)
        return Fraction(1 / (1 + (-value).exp()))


def _sigmas(_: checker.NetworkStep, value: np.ndarray, den: int) -> checker.RowValue:
    unit = 10**DIGITS
    found = np.empty(value.shape, dtype=object)
    found[:] = [[round(sigma(Fraction(int(entry), den)) * unit) for entry in row] for row in value]
    return found, unit


FORWARD = checker.FORWARD | {"sigmoid": _sigmas}


def tensors_at(net: checker.CheckedNetwork, point: list[Fraction]) -> dict[str, list[Fraction]]:
    """Every tensor's entries at a point, as the checker reads the file: exact up to the first Sigmoid."""
    den = math.lcm(*(value.denominator for value in point))
    values = {net.input: (np.array([[int(value * den) for value in point]], dtype=object), den)}
    for step in net.steps:
        values[step.out] = checker.total([FORWARD[step.kind](step, *values[name]) for name in step.sources])
    return {name: [Fraction(int(value), under) for value in row[0]] for name, (row, under) in values.items()}


def _exact(net: checker.CheckedNetwork, x: np.ndarray) -> tuple[list[Fraction], float]:
    """(the scores at x, the largest number on the way)."""
    found = tensors_at(net, [Fraction(value) for value in x.tolist()])
    largest = max((max(map(abs, found[step.out])) for step in net.steps), default=Fraction(0))
    return found[net.output], max(1.0, float(largest) if largest < max(LARGEST.values()) else math.inf)


def _same(engine: Network, net: checker.CheckedNetwork, x: np.ndarray, exact: list[Fraction]) -> bool:
    if not net.curves:
        return exact_outputs(engine.graph, x) == exact
    ends = enclosed_outputs(engine.graph, [Fraction(value) for value in x.tolist()], BITS)
    return all(low - NEAR <= value <= high + NEAR for low, value, high in zip(ends[0], exact, ends[1], strict=True))


def _readings(scores: np.ndarray) -> list[np.ndarray]:
    """The scores, and what a last Softmax, LogSoftmax or Sigmoid makes of them."""
    powers = np.exp(scores - scores.max())
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-scores))
    return [scores, powers / powers.sum(), scores - scores.max() - np.log(powers.sum()), sigmoid]


def _close(shown: np.ndarray, values: np.ndarray, error: float) -> bool:
    found = shown.astype(np.float64).reshape(-1)
    return found.shape == values.shape and bool(np.all(np.abs(found - values) <= error))


def _engine(content: bytes) -> Network | None:
    try:
        return as_classifier(network_from_model(onnx.load_model_from_string(content)))
    except (InputError, DecodeError):
        return None


def _run(session: ort.InferenceSession, net: checker.CheckedNetwork, x: np.ndarray) -> np.ndarray | None:
    try:
        return np.asarray(session.run(None, {net.input: x.reshape(net.shapes[net.input])})[0])
    except Exception:  # noqa: BLE001, as below
        return None


def session_of(content: bytes) -> ort.InferenceSession | None:
    """ONNX Runtime's reading of a file, if it takes it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001, each of its errors has a class of its own, of no common base
        return None
