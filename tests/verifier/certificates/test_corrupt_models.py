"""Corrupt models under valid certificates: each is refused, or the claim is true of it as ONNX Runtime runs it."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.certificates.parts import taken_apart
from tests.verifier.certificates.readers import Said, compared, session_of
from tests.verifier.certificates.wire import changed
from verifier.certificates import checker

ROUNDED = 1e-5
"""ONNX Runtime computes in float32: so near to a tie it may say either."""
SAMPLES = 200


def points_within(result: checker.CheckedResult, rng: np.random.Generator) -> list[np.ndarray]:
    """Points of the box within the radius that is proved: on its border, and on that of the box."""
    query, n = result.query, result.query.centre.size
    if not 0 < result.lower < math.inf:
        return []
    found = []
    for _ in range(SAMPLES):
        step = rng.choice([-1.0, 1.0], n) * rng.random(n) ** rng.integers(0, 3)
        size = np.abs(step).max() if query.norm == "linf" else np.abs(step).sum()
        found.append(np.clip(query.centre + result.lower * step / max(size, 1e-9), query.lo, query.hi))
    return found


def signed_anew(certificate: bytes, model: bytes) -> bytes:
    """The same certificate with another model's digest."""
    parts = taken_apart(certificate)
    parts.header["model"] = hashlib.sha256(model).hexdigest()
    return parts.content()


def refused_or_true_of(model: bytes, certificate: bytes) -> bool:
    """Is a certificate refused for a model that is not its own? Else ONNX Runtime's values at points agree with it."""
    told = signed_anew(certificate, model)
    try:
        result = checker.checked(told, model)
    except checker.InvalidError:
        return True
    assert compared(model) is not Said.REFUSED
    session, net = session_of(model), checker.read_network(model)
    if session is None:
        return False
    query = result.query
    targets = query.targets(net.size(net.output))
    for x in points_within(result, np.random.default_rng(0)):
        scores = np.ravel(session.run(None, {net.input: x.astype(net.dtype).reshape(net.shapes[net.input])})[0])
        for target in targets:
            others = np.delete(scores, target) + query.margin
            assert scores[target] < others.max() + ROUNDED * np.abs(scores).max(), f"{result}: {x} reaches {target}"
    return False


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.integers(0, 10_000))
def test_models_with_bytes_put_in_are_read_as_they_run_or_refused(valid, content: bytes, place: int) -> None:
    case, whole = valid[0]
    model = case.content[: place % len(case.content)] + content + case.content[place % len(case.content) :]
    refused_or_true_of(model, whole)


def test_corrupt_models_are_refused_or_the_claim_is_true_of_them(valid):
    """The digest stands before everything else; behind it the reader must refuse what it cannot read, and not fall."""
    accepted = 0
    for seed in range(600):
        case, certificate = valid[seed % len(valid)]
        accepted += not refused_or_true_of(changed(np.random.default_rng(seed), case.content), certificate)
    assert accepted > 10
