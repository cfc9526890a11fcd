"""Protobuf messages as lists of fields, and changes of them that another reader may take for something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor"},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
}
"""Which fields of which messages are messages again."""


@dataclass
class Field:
    """One field: its payload is a number, bytes, or a message; `pad`: bytes too many in each of its varints."""

    number: int
    wire: int
    payload: Any
    pad: int = 0


@dataclass
class Part:
    """A message of some kind."""

    kind: str
    fields: list[Field]

    def content(self) -> bytes:
        return b"".join(encoded(entry) for entry in self.fields)

    def everywhere(self) -> list[Part]:
        """This message and all inside it."""
        inner = [entry.payload for entry in self.fields if isinstance(entry.payload, Part)]
        return [self, *(part for each in inner for part in each.everywhere())]


def varint(value: int, pad: int = 0) -> bytes:
    value %= 1 << 64
    digits = []
    while value or not digits:
        digits.append(value & 127)
        value >>= 7
    digits += [0] * pad
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


def encoded(entry: Field) -> bytes:
    tag = varint(entry.number << 3 | entry.wire, entry.pad)
    payload = entry.payload.content() if isinstance(entry.payload, Part) else entry.payload
    if isinstance(payload, int):
        return tag + varint(payload, entry.pad)
    return tag + (varint(len(payload), entry.pad) if entry.wire == 2 else b"") + payload


def parsed(data: bytes, kind: str = "model") -> Part:
    """A message that protobuf itself has written."""
    at = 0

    def number() -> int:
        nonlocal at
        value = place = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << place
            place += 7
            if byte < 128:
                return value

    fields = []
    while at < len(data):
        tag = number()
        wire = tag & 7
        if wire == 0:
            fields.append(Field(tag >> 3, 0, number()))
            continue
        size = {1: 8, 5: 4}.get(wire) or number()
        content, at = data[at : at + size], at + size
        inner = NESTED.get(kind, {}).get(tag >> 3)
        fields.append(Field(tag >> 3, wire, parsed(content, inner) if inner else content))
    return Part(kind, fields)


Change = Callable[[np.random.Generator, Part], None]
NUMBERS = (0, 1, 2, 3, 7, 10, 20, -1, 127, 128, 2**31, 2**32, 2**63)
WORDS = (b"", b"x", b"y", b"ai.onnx", b"ai.onnx.ml", b"Identity", b"Relu", b"Neg", b"Softmax", b"axis", b"alpha")


def some(rng: np.random.Generator, part: Part) -> tuple[Part, int]:
    """A message with fields, and the place of one of them."""
    parts = [each for each in part.everywhere() if each.fields]
    chosen = parts[rng.integers(len(parts))]
    return chosen, int(rng.integers(len(chosen.fields)))


def drop(rng: np.random.Generator, root: Part) -> None:
    part, place = some(rng, root)
    del part.fields[place]


def repeat(rng: np.random.Generator, root: Part) -> None:
    part, place = some(rng, root)
    part.fields.insert(int(rng.integers(len(part.fields) + 1)), part.fields[place])


def reorder(rng: np.random.Generator, root: Part) -> None:
    part, place = some(rng, root)
    entry = part.fields.pop(place)
    part.fields.insert(int(rng.integers(len(part.fields) + 1)), entry)


def exchange(rng: np.random.Generator, root: Part) -> None:
    """Two payloads of one message change places."""
    part, place = some(rng, root)
    one, other = part.fields[place], part.fields[rng.integers(len(part.fields))]
    one.payload, other.payload = other.payload, one.payload
    one.wire, other.wire = other.wire, one.wire


def copy(rng: np.random.Generator, root: Part) -> None:
    """A field of a message into another of its kind, at the end or instead of one."""
    part, place = some(rng, root)
    alike = [each for each in root.everywhere() if each.kind == part.kind]
    target = alike[rng.integers(len(alike))]
    at = int(rng.integers(len(target.fields) + 1))
    target.fields[at : at + int(rng.integers(2))] = [part.fields[place]]


def renumber(rng: np.random.Generator, root: Part) -> None:
    part, place = some(rng, root)
    part.fields[place].number = int(rng.integers(0, 28))


def rewire(rng: np.random.Generator, root: Part) -> None:
    """The same field in another wire type."""
    part, place = some(rng, root)
    entry = part.fields[place]
    wire = int(rng.integers(0, 6))
    payload = entry.payload.content() if isinstance(entry.payload, Part) else entry.payload
    if wire == 0:
        entry.payload = payload if isinstance(payload, int) else int(rng.choice([0, 1, len(payload), 12]))
    else:
        data = varint(payload) if isinstance(payload, int) else payload
        entry.payload = {1: data.ljust(8, b"\0")[:8], 5: data.ljust(4, b"\0")[:4], 3: data, 4: b""}.get(wire, data)
    entry.wire = wire


def number(rng: np.random.Generator, root: Part) -> None:
    places = [entry for part in root.everywhere() for entry in part.fields if isinstance(entry.payload, int)]
    entry = places[rng.integers(len(places))]
    value = int(NUMBERS[rng.integers(len(NUMBERS))])
    entry.payload = value if rng.integers(2) else entry.payload + value


def word(rng: np.random.Generator, root: Part) -> None:
    """A string becomes another of the file, or a word that means something."""
    places = [entry for part in root.everywhere() for entry in part.fields if isinstance(entry.payload, bytes)]
    entry, other = (places[rng.integers(len(places))] for _ in range(2))
    entry.payload = other.payload if rng.integers(3) else WORDS[rng.integers(len(WORDS))]


def bits(rng: np.random.Generator, root: Part) -> None:
    """Bytes of a payload are changed, cut or added."""
    places = [entry for part in root.everywhere() for entry in part.fields if isinstance(entry.payload, bytes)]
    entry = places[rng.integers(len(places))]
    data = bytearray(entry.payload)
    at = int(rng.integers(len(data) + 1))
    how = rng.integers(3)
    if how == 0 and at < len(data):
        data[at] ^= 1 << int(rng.integers(8))
    elif how == 1:
        del data[at : at + int(rng.integers(1, 9))]
    else:
        data[at:at] = bytes(rng.integers(0, 256, rng.integers(1, 9), dtype=np.uint8))
    entry.payload = bytes(data)


def pad(rng: np.random.Generator, root: Part) -> None:
    part, place = some(rng, root)
    part.fields[place].pad = int(rng.integers(1, 4))


def divide(rng: np.random.Generator, root: Part) -> None:
    """What is packed, or a message, in two pieces; protobuf joins them."""
    part, place = some(rng, root)
    entry = part.fields[place]
    if isinstance(entry.payload, Part):
        at = int(rng.integers(len(entry.payload.fields) + 1))
        pieces: list[Any] = [Part(entry.payload.kind, half) for half in halves(entry.payload.fields, at)]
    elif isinstance(entry.payload, bytes):
        pieces = halves(entry.payload, 4 * int(rng.integers(len(entry.payload) // 4 + 1)))
    else:
        pieces = [entry.payload, entry.payload]
    part.fields[place : place + 1] = [Field(entry.number, entry.wire, piece) for piece in pieces]


def halves(whole: Any, at: int) -> list[Any]:
    return [whole[:at], whole[at:]]


def foreign(rng: np.random.Generator, root: Part) -> None:
    """A field that the message does not have, or has in another form."""
    part, place = some(rng, root)
    payload: Any = [int(rng.integers(300)), bytes(8), b"abc", b"", b"", bytes(4)]
    wire = int(rng.integers(6))
    part.fields.insert(place, Field(int(rng.integers(0, 40)), wire, payload[wire]))


CHANGES: tuple[Change, ...] = (
    *(drop, repeat, reorder, exchange, copy, renumber, rewire, number, word, bits, pad, divide, foreign),
)


def changed(rng: np.random.Generator, content: bytes) -> bytes:
    """A model with one to three changes: of its messages, or of its bytes."""
    if rng.integers(12) == 0:
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        return bytes(data)
    root = parsed(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        CHANGES[rng.integers(len(CHANGES))](rng, root)
        root = root if any(part.fields for part in root.everywhere()) else parsed(content)
    return root.content()
