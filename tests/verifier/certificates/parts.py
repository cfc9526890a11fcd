"""A certificate taken apart, and put together again."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from verifier.certificates import checker
from verifier.certificates.format import varints


@dataclass
class Parts:
    """A certificate taken apart, so that any part can be changed and the whole be put together again."""

    header: dict[str, Any]
    floats: bytearray
    numbers: np.ndarray

    def content(self) -> bytes:
        text = json.dumps(self.header).encode()
        body = len(text).to_bytes(4, "little") + text + bytes(self.floats) + varints(self.numbers)
        return checker.MAGIC + zlib.compress(body)

    @property
    def first_tree(self) -> int:
        """Where the number of tokens of the first tree stands."""
        place = 0
        for _, size in self.header["layers"]:
            state = self.numbers[place : place + size]
            place += size + int((state > 0).sum()) + int((state == 2).sum())
        return place

    @property
    def leaves(self) -> slice:
        """The numbers of the first tree's leaves, column by column."""
        place = self.first_tree
        tokens = self.numbers[place + 1 : place + 1 + self.numbers[place]]
        opened = sum(int((column > 0).sum()) for column in self.states())
        start = place + 1 + tokens.size
        return slice(start, start + int((tokens == 0).sum()) * (1 + self.header["trees"][0][1] + opened))

    def states(self) -> list[np.ndarray]:
        place, found = 0, []
        for _, size in self.header["layers"]:
            state = self.numbers[place : place + size]
            found.append(state)
            place += size + int((state > 0).sum()) + int((state == 2).sum())
        return found

    def nodes(self) -> list[tuple[int, slice]]:
        """Of a file whose trees have leaves by lines, and no quadratic evidence: (token, where its integers are) of all
        nodes, in order."""
        place = kept = 0
        for _, size in self.header["layers"]:
            state = self.numbers[place : place + size]
            kept += int((state > 0).sum())
            place += size + int((state > 0).sum()) + int((state == 2).sum()) + 1
        place, found = place + 1, []
        for _, rows in self.header["trees"]:
            depths = [0]
            while depths:
                depth, token = depths.pop(), int(self.numbers[place])
                size = {checker.LEAF: 2 + rows + kept, checker.LINED: 2 + rows + depth}.get(token, 1)
                if token == checker.SLOPES:
                    size = 2 + 2 * int(self.numbers[place + 1])
                depths += [depth] * (token == checker.SLOPES) + [depth + 1] * 2 * (token >= checker.FIRST_RELU)
                found.append((token, slice(place, place + size)))
                place += size
        assert place == self.numbers.size
        return found


def taken_apart(content: bytes) -> Parts:
    data = checker.unpacked(content)
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    claim = checker.parse(content)
    count = header["inputs"] * (2 if header["witness"] else 1)
    size = count * int(header["dtype"][-1]) + 16 * header["box"]
    start = 4 + length
    assert claim.query.centre.size == header["inputs"]
    numbers = checker.Numbers(data[start + size :])
    return Parts(header, bytearray(data[start : start + size]), np.array(numbers.take(numbers.left)))
