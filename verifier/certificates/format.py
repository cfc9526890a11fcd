"""The certificate as data, and as the file that `checker.parse` reads: docs/certificate-format.md."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verifier.certificates.checker import (
    ANCHORED_SCHEMA,
    LINED_SCHEMA,
    MAGIC,
    PROPERTY_SCHEMA,
    QUADRATIC_PROPERTY_SCHEMA,
    QUADRATIC_SCHEMA,
    SCHEMA,
    CheckedQuery,
    Layer,
    QuadraticEvidence,
)

STEP = 24
"""Bounds of neurons are multiples of 2⁻²⁴: what rounding them outwards costs is far below what splits decide."""

FINE = 30
"""The multipliers of neuron bounds are multiples of 2⁻³⁰; they follow from a rule, so that they cost no space."""

CHUNK = 1 << 17
"""Numbers that are encoded at a time, which takes five times their memory: 100,000 leaves may have 2 · 10⁷."""

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SplitTree:
    """One target's tree: `tokens` in preorder (0: a leaf, 1 + j: a split of the kept ReLU j, ≤ 0 first), and for each
    leaf a row of `leaves` (L, 1 + rows + kept): q, then λ and what is given for ν in multiples of 2^-q."""

    target: int
    tokens: Sequence[int]
    leaves: Int64Array


@dataclass(frozen=True, eq=False)
class LinedTree:
    """One target's tree, whose leaves may be by lines, as its integers; its goal has so many `rows`, it so many
    `leaves`."""

    target: int
    rows: int
    leaves: int
    integers: Int64Array


@dataclass(frozen=True, eq=False)
class Certificate:
    """All that a proof needs; `radius` is 0 without a lower end, infinite where the box holds no adversarial point,
    and so is `float32`."""

    model_sha256: str
    query: CheckedQuery
    dtype: str
    radius: float
    float32: float
    witness: npt.NDArray[Any] | None
    names: Sequence[tuple[str, int]]
    layers: Sequence[Layer]
    trees: Sequence[SplitTree | LinedTree]
    anchored: bool = False
    """Are its bounds by lines that are anchored at the input?"""
    quadratic: Sequence[Sequence[QuadraticEvidence]] = ()
    """Quadratic evidence for each layer, then for the goals; none for a certificate without such."""
    lined: bool = False
    """Are all its trees `LinedTree`s?"""

    @property
    def leaves(self) -> int:
        return sum(tree.leaves if isinstance(tree, LinedTree) else len(tree.leaves) for tree in self.trees)

    @property
    def schema(self) -> int:
        """Of the file."""
        if self.lined:
            return LINED_SCHEMA
        return QUADRATIC_SCHEMA if self.quadratic else ANCHORED_SCHEMA if self.anchored else SCHEMA

    def encoded(self, look: Callable[[], None] = lambda: None) -> bytes:
        """The file's bytes. look: called now and then."""
        query = self.query
        scalar = all(bool(np.all(end == end[0])) for end in (query.lo, query.hi))
        ends = [end[:1] if scalar else end for end in (query.lo, query.hi)]
        header = {
            "schema": self.schema,
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
            "layers": [list(pair) for pair in self.names],
            "trees": [[tree.target, self._rows(tree)] for tree in self.trees],
            "step": STEP,
            "fine": FINE,
        }
        text = json.dumps(header, separators=(",", ":")).encode()
        floats = [query.centre.astype(self.dtype), *(end.astype("<f8") for end in ends)]
        if self.witness is not None:
            floats.append(self.witness.astype(self.dtype))
        numbers: list[Int64Array] = []
        for place, ((_, size), layer) in enumerate(zip(self.names, self.layers, strict=True)):
            state = np.zeros(size, dtype=np.int64)
            state[layer.kept] = np.where(layer.active, 1, 2)
            numbers += [state, layer.low.astype(np.int64), layer.high[~layer.active].astype(np.int64)]
            numbers += self._evidence(place)
        numbers += self._evidence(len(self.names))
        for tree in self.trees:
            if isinstance(tree, LinedTree):
                numbers.append(tree.integers)
                continue
            tokens = np.array(tree.tokens, dtype=np.int64)
            numbers += [np.array([tokens.size]), tokens, tree.leaves.T.reshape(-1)]
        return _packed([_headed(text), *(values.tobytes() for values in floats)], numbers, look)

    def _evidence(self, place: int) -> list[Int64Array]:
        """That of a layer, or of the goals, which a 0 ends."""
        if not self.quadratic:
            return []
        ball = self.query.norm == "l2" and math.isfinite(self.radius)
        return [*(evidence_integers(each, ball) for each in self.quadratic[place]), np.zeros(1, dtype=np.int64)]

    def _rows(self, tree: SplitTree | LinedTree) -> int:
        if isinstance(tree, LinedTree):
            return tree.rows
        return int(tree.leaves.shape[1]) - 1 - sum(int(layer.kept.size) for layer in self.layers)


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
    *,
    quadratic: bool = False,
) -> bytes:
    """The bytes of a certificate about the property of this text; numbers: its trees, one after the other. float32: is
    it about float32 evaluations as well? quadratic: is there quadratic evidence? look: called now and then."""
    schema = QUADRATIC_PROPERTY_SCHEMA if quadratic else PROPERTY_SCHEMA
    header = {"schema": schema, "model": model_sha256, "property": len(text), "step": STEP, "fine": FINE}
    header["float32"] = float32
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
