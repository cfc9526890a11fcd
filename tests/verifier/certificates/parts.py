"""A certificate taken apart, and put together again; the checker's proofs as tests begin them."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from verifier.certificates import checker
from verifier.certificates.format import varints


@dataclass
class Parts:
    """A certificate about a ball taken apart, so that any part can be changed and the whole be put together again.

    sizes: those of the model's ReLU layers; rows: of a goal. What is said of nodes is so without quadratic evidence.
    """

    header: dict[str, Any]
    floats: bytearray
    numbers: np.ndarray
    sizes: list[int] = field(default_factory=list)
    rows: int = 0

    def content(self) -> bytes:
        text = json.dumps(self.header).encode()
        body = len(text).to_bytes(4, "little") + text + bytes(self.floats) + varints(self.numbers)
        return checker.MAGIC + zlib.compress(body)

    def states(self) -> list[np.ndarray]:
        """Those that are claimed of each layer."""
        starts = np.cumsum([0, *(size + 1 for size in self.sizes)])
        return [self.numbers[start : start + size] for start, size in zip(starts, self.sizes, strict=False)]

    @property
    def kept(self) -> int:
        return sum(int((state > 0).sum()) for state in self.states())

    @property
    def first_tree(self) -> int:
        """Where it begins."""
        return sum(size + 1 for size in self.sizes) + 1

    def nodes(self) -> list[tuple[int, slice]]:
        """(token, where its integers are) of the nodes of all trees, in order."""
        place, found = self.first_tree, []
        while place < self.numbers.size:
            depths = [0]
            while depths:
                depth, token = depths.pop(), int(self.numbers[place])
                size = {checker.LEAF: 2 + self.rows + self.kept, checker.LINED: 2 + self.rows + depth}.get(token, 1)
                if token == checker.SLOPES:
                    size = 2 + 2 * int(self.numbers[place + 1])
                depths += [depth] * (token == checker.SLOPES) + [depth + 1] * 2 * (token >= checker.FIRST_RELU)
                found.append((token, slice(place, place + size)))
                place += size
        assert place == self.numbers.size
        return found

    @property
    def leaf(self) -> slice:
        """The first leaf, its token included."""
        return next(own for token, own in self.nodes() if token in (checker.LEAF, checker.LINED))


def taken_apart(content: bytes, model: bytes | None = None) -> Parts:
    data = checker.unpacked(content)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    claim = checker.parse(content)
    count = header["inputs"] * (2 if header["witness"] else 1)
    size = count * int(header["dtype"][-1]) + 16 * header["box"]
    start = 4 + length
    assert claim.query.centre.size == header["inputs"]
    numbers = checker.Numbers(data[start + size :])
    found = Parts(header, bytearray(data[start : start + size]), np.array(numbers.take(numbers.left)))
    if model is not None:
        net = checker.read_network(model)
        found.sizes, found.rows = [size for _, size in net.layers], net.size(net.output) - 1
    return found


def case_proof(
    net: checker.CheckedNetwork, case: checker.PropertyCase, step: int, float32: bool = False
) -> checker.Proof:
    """The checker's proof over the box of a property's case, whose rows are the goal."""
    goal, query = checker.goal_of(net, case), checker.box_query(case.lo, case.hi)
    found = checker.Proof(net, query, math.inf, step, math.inf if float32 else 0.0)
    found.goal = goal
    return found


def know_all(proof: checker.Proof) -> None:
    """Bounds of all of the region, both ends of every neuron, with no claims."""
    proof.layers = []
    for place, (_, size) in enumerate(proof.net.layers):
        every = np.arange(size)
        low, high = (sign * proof.least(place, every, np.full(size, sign)) for sign in (1, -1))
        proof.add(proof.layer_of(place, np.where(low >= 0, 1, np.where(high <= 0, 0, 2)), low, high))
    proof.rooted = proof.layers


class Open(checker.Numbers):
    """Claims that every neuron is open, without end."""

    def __init__(self) -> None:
        super().__init__(memoryview(b""))

    def take(self, count: int) -> np.ndarray:
        return np.full(count, 2)

    def one(self) -> int:
        return 0
