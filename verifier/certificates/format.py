"""The certificate as data, and as the file that `checker.parse` reads: docs/certificate-format.md."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.certificates.checker import MAGIC, PROPERTY_SCHEMA, SCHEMA, CheckedQuery, QuadraticEvidence

STEP = 24
"""Bounds of neurons are multiples of 2⁻²⁴: what rounding them outwards costs is far below what splits decide."""

CHUNK = 1 << 17
"""Numbers that are encoded at a time, which takes five times their memory: 100,000 leaves may have 2 · 10⁷."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Certificate:
    """All that a proof needs; `radius` is 0 without a lower end, infinite where the box holds no adversarial point,
    and so is `float32`. numbers: bounds, evidence for goals, a tree for each target that is left, in ascending order.
    """

    model_sha256: str
    query: CheckedQuery
    dtype: str
    radius: float
    float32: float
    witness: npt.NDArray[Any] | None
    numbers: Sequence[Int64Array]
    anchored: bool = False
    """Are its bounds by lines that are anchored at the input?"""

    def encoded(self, look: Callable[[], None] = lambda: None) -> bytes:
        """The file's bytes. look: called now and then."""
        query = self.query
        scalar = all(bool(np.all(end == end[0])) for end in (query.lo, query.hi))
        ends = [end[:1] if scalar else end for end in (query.lo, query.hi)]
        header = {
            "schema": SCHEMA,
            "model": self.model_sha256,
            "norm": query.norm,
            "label": query.label,
            "target": query.target,
            "margin": query.margin.hex(),
            "radius": float(self.radius).hex(),
            "float32": float(self.float32).hex(),
            "dtype": self.dtype,
            "inputs": int(query.centre.size),
            "box": int(ends[0].size),
            "witness": self.witness is not None,
            "step": STEP,
            "anchored": self.anchored,
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        floats = [query.centre.astype(self.dtype), *(end.astype("<f8") for end in ends)]
        if self.witness is not None:
            floats.append(self.witness.astype(self.dtype))
        return _packed([_headed(text), *(values.tobytes() for values in floats)], self.numbers, look)


def evidence_integers(evidence: QuadraticEvidence, ball: bool = False) -> Int64Array:
    """Quadratic evidence: the lines' multipliers ReLU by ReLU. ball: is it of a ball in L2?"""
    parts = (evidence.codes, evidence.inverse, evidence.kappa, evidence.pi, evidence.t)
    head = [evidence.codes.size, evidence.fine, evidence.shared, evidence.own]
    head += [evidence.ball, evidence.rho] if ball else []
    return np.concatenate([np.array(head), *parts, evidence.lines.swapaxes(1, 2).reshape(-1)]).astype(np.int64)


def property_encoded(
    model_sha256: str,
    text: bytes,
    numbers: Sequence[Int64Array],
    float32: bool = False,
    look: Callable[[], None] = lambda: None,
) -> bytes:
    """The bytes of a certificate about the property of this text; numbers: its trees, one after the other. float32: is
    it about float32 evaluations as well? look: called now and then."""
    header = {"schema": PROPERTY_SCHEMA, "model": model_sha256, "property": len(text), "step": STEP, "float32": float32}
    told = json.dumps(header, separators=(",", ":")).encode()
    return _packed([_headed(told), text], numbers, look)


def _headed(header: bytes) -> bytes:
    return len(header).to_bytes(4, "little") + header


def _packed(parts: Sequence[bytes], numbers: Sequence[Int64Array], look: Callable[[], None]) -> bytes:
    machine = zlib.compressobj(9)
    found = [MAGIC, *(machine.compress(part) for part in parts)]
    for values in numbers:
        for at in range(0, values.size, CHUNK):
            look()
            found.append(machine.compress(varints(values[at : at + CHUNK])))
    return b"".join([*found, machine.flush()])


def varints(values: Int64Array) -> bytes:
    """Signed integers below 2⁶² in size: zigzag, seven bits a byte, the lowest first, the last byte below 128.

    >>> varints(np.array([0, -1, 1, 64])).hex()
    '0001028001'
    """
    rest = ((values << 1) ^ (values >> 63)).astype(np.uint64)
    count = np.ones(values.size, dtype=np.int64)
    for place in range(1, 9):
        count[rest >= np.uint64(1 << 7 * place)] = place + 1
    starts = np.cumsum(count) - count
    result = np.zeros(int(count.sum()), dtype=np.uint8)
    for place in range(9):
        has = count > place
        digit = (rest[has] >> np.uint64(7 * place)) & np.uint64(127)
        result[starts[has] + place] = digit | np.where(count[has] > place + 1, 128, 0).astype(np.uint64)
    return result.tobytes()
