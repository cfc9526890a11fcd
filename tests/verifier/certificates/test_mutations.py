"""Corrupt certificates: each is refused, or says something that is true all the same, by enumeration and exactly."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.network.exact import exact_outputs
from tests.verifier.certificates.parts import Parts, taken_apart
from verifier.certificates import checker
from verifier.problem.query import Norm, Targeted, Untargeted, disjuncts, distance_exact

RANDOM = 100
ROOT = 2.0**-100
"""What two roots of one number may differ by, in L2."""

TOLERANCE = 1e-6
"""Enumeration solves LPs in floats."""
FAR = 1e4
"""A corrupt box may be endless; minima of these nets lie nearer than that."""


def still_true(case, claim: checker.CheckedResult, witness: np.ndarray | None) -> bool:
    """What a certificate that was not refused says, checked by enumeration and by the engine's exact evaluation."""
    query = claim.query
    goal = Targeted(query.target, query.margin) if query.target is not None else Untargeted(query.label, query.margin)
    goals = [found for _, found in disjuncts(goal, case.model.classes)]
    same = np.array_equal(query.lo, case.net.lo) and np.array_equal(query.hi, case.net.hi)
    net = case.net if same else replace(case.net, lo=np.maximum(query.lo, -FAR), hi=np.minimum(query.hi, FAR))
    norm = Norm(query.norm)
    if claim.lower > 0:
        truth = min(float(net.nearest(norm, query.centre, found)) for found in goals)
        if not claim.lower <= truth * (1 + TOLERANCE) + TOLERANCE:
            return False
    if claim.distance is None:
        return True
    logits = exact_outputs(case.model.graph, witness)
    inside = bool(np.all(query.lo <= witness) and np.all(witness <= query.hi))
    reached = any(found.margin_exact(logits) >= 0 for found in goals)
    # Roots are rounded up, by the engine and the checker in units of their own.
    apart = abs(distance_exact(norm, witness, query.centre) - claim.distance)
    return inside and reached and apart <= (ROOT if norm is Norm.L2 else 0)


def refused(case, content: bytes) -> bool:
    """Is it refused? If not, what it says has to be true."""
    try:
        result = checker.checked(content, case.content)
    except checker.InvalidError:
        return True
    witness = checker.parse(content).witness
    assert still_true(case, result, witness), str(result)
    return False


def random_change(rng: np.random.Generator, content: bytes) -> bytes:
    kind = rng.integers(5)
    if kind == 0:  # a byte of the file
        data = bytearray(content)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        return bytes(data)
    if kind == 1:  # a byte of what is packed
        data = bytearray(checker.unpacked(content))
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        return checker.MAGIC + zlib.compress(bytes(data))
    parts = taken_apart(content)
    if kind == 2:  # a byte of the floats
        parts.floats[rng.integers(len(parts.floats))] ^= 1 << int(rng.integers(8))
    elif kind == 3:  # a field of the header
        name = str(rng.choice([k for k in parts.header if k != "model"]))
        value = parts.header[name]
        changed = {"norm": "l1" if value == "linf" else "linf", "witness": not value}
        if name in ("margin", "radius", "float32"):
            changed[name] = (float.fromhex(value) * float(rng.choice([-1, 0.5, 1.01, 2])) + rng.choice([0, 0.01])).hex()
        elif isinstance(value, int) or value is None:
            changed[name] = int(value or 0) + int(rng.choice([-1, 1, 2]))
        parts.header[name] = changed.get(name)
    else:  # a number
        place = rng.integers(parts.numbers.size)
        value = int(parts.numbers[place])
        parts.numbers[place] = rng.choice([-value, value + 1, value - 1, 2 * value, value // 2, 0, value ^ (1 << 20)])
    return parts.content()


def test_random_corruptions_are_refused_or_say_something_true(valid):
    rng = np.random.default_rng(0)
    count = 0
    for place in range(RANDOM):
        case, content = valid[place % len(valid)]
        changed = random_change(rng, content)
        if changed != content:
            count += refused(case, changed)
    assert count > 5 * RANDOM / 8


Change = Callable[[Parts], object]


def header(name: str, value: Any) -> Change:
    return lambda parts: parts.header.__setitem__(name, value)


def radius(change: Callable[[float], float]) -> Change:
    return lambda parts: header("radius", change(float.fromhex(parts.header["radius"])).hex())(parts)


def set_state(old: int, new: int) -> Change:
    def change(parts: Parts) -> None:
        places = np.flatnonzero(parts.states()[0] == old)
        if places.size == 0:
            raise LookupError
        parts.numbers[places[0]] = new

    return change


def drop_leaf(parts: Parts) -> None:
    parts.numbers = np.delete(parts.numbers, parts.leaf)


def split_leaf(parts: Parts) -> None:
    parts.numbers[parts.leaf.start] = checker.FIRST_RELU


def token(value: int) -> Change:
    return lambda parts: parts.numbers.__setitem__(parts.first_tree, value)


def leaf_numbers(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Changes all numbers of the first leaf."""

    def apply(parts: Parts) -> None:
        own = slice(parts.leaf.start + 1, parts.leaf.stop)
        parts.numbers[own] = change(parts.numbers[own])

    return apply


def weights(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Changes λ of the first leaf."""

    def apply(parts: Parts) -> None:
        first = parts.leaf.start + 2
        parts.numbers[first : first + parts.rows] = change(parts.numbers[first : first + parts.rows])

    return apply


def first_tree(change: Callable[[np.ndarray], list[np.ndarray]]) -> Change:
    """Changes the first tree, of several trees or of one."""

    def apply(parts: Parts) -> None:
        left, at = 1, parts.first_tree
        for kind, own in parts.nodes():
            left += -1 if kind in (checker.LEAF, checker.LINED) else kind >= checker.FIRST_RELU
            if not left:
                at = own.stop
                break
        before, tree, after = np.split(parts.numbers, [parts.first_tree, at])
        parts.numbers = np.concatenate([before, *change(tree), after])

    return apply


def floats(place: int, value: float) -> Change:
    def change(parts: Parts) -> None:
        dtype = parts.header["dtype"]
        size = int(dtype[-1])
        at = place * size if place >= 0 else len(parts.floats) + place * size
        parts.floats[at : at + size] = np.array(value, dtype=dtype).tobytes()

    return change


def cut(count: int) -> Change:
    return lambda parts: setattr(parts, "numbers", parts.numbers[:-count])


FALSE: dict[str, Change] = {
    "another model": header("model", "0" * 64),
    "no model": header("model", ""),
    "schema 1": header("schema", 1),
    "schema as text": header("schema", "1"),
    "unknown norm": header("norm", "l3"),
    "radius enlarged": radius(lambda r: 1.05 * r),
    "radius much enlarged": radius(lambda r: 10 * r),
    "radius infinite": header("radius", "inf"),
    "radius NaN": header("radius", "nan"),
    "radius negative": radius(lambda r: -r),
    "radius as a number": header("radius", 0.5),
    "float32 beyond the radius": lambda parts: header("float32", (1.001 * float.fromhex(parts.header["radius"])).hex())(
        parts
    ),
    "float32 infinite": header("float32", "inf"),
    "float32 NaN": header("float32", "nan"),
    "float32 negative": header("float32", "-0x1p-9"),
    "schema 10": header("schema", 10),
    "the schema of properties": header("schema", checker.PROPERTY_SCHEMA),
    "schema 13": header("schema", 13),
    "no schema": lambda parts: parts.header.pop("schema"),
    "anchored as a number": header("anchored", 1),
    "margin NaN": header("margin", "nan"),
    "margin negative": header("margin", "-0x1p+0"),
    "margin infinite": header("margin", "inf"),
    "a label that is no class": header("label", 7),
    "the target as label": lambda parts: (
        header("label", parts.header["target"] or parts.header["label"])(parts)
        or header("target", parts.header["label"])(parts)
    ),
    "neither label nor target": lambda parts: header("label", None)(parts) or header("target", None)(parts),
    "fewer inputs": lambda parts: header("inputs", parts.header["inputs"] - 1)(parts),
    "more inputs": lambda parts: header("inputs", parts.header["inputs"] + 1)(parts),
    "no inputs": header("inputs", 0),
    "another dtype": header("dtype", "<f8"),
    "an unknown dtype": header("dtype", "O"),
    "a negative step": header("step", -1),
    "a huge step": header("step", 10**9),
    "a field missing": lambda parts: parts.header.pop("margin"),
    "a field too many": header("trust", True),
    "no tree": first_tree(lambda _: []),
    "a tree twice": first_tree(lambda tree: [tree, tree]),
    "no bounds": lambda parts: setattr(parts, "numbers", parts.numbers[parts.first_tree - 1 :]),
    "evidence that is not there": lambda parts: parts.numbers.__setitem__(parts.first_tree - 1, 1),
    "open neuron said inactive": set_state(2, 0),
    "open neuron said active": set_state(2, 1),
    "state 3": set_state(2, 3),
    "a leaf missing": drop_leaf,
    "a leaf split without children": split_leaf,
    "a split of no neuron": token(10**6),
    "a negative split": token(-9),
    "multipliers of zero": leaf_numbers(lambda v: v * 0),
    "a negative weight": weights(lambda v: -v),
    "weights of zero": weights(lambda v: v * 0),
    "a negative exponent": leaf_numbers(lambda v: -v),
    "one number missing": cut(1),
    "many numbers missing": cut(5),
    "a number too many": lambda parts: setattr(parts, "numbers", np.append(parts.numbers, 7)),
    "an input NaN": floats(0, math.nan),
    "an input infinite": floats(0, math.inf),
    "an input outside the box": floats(0, 7.0),
    "a witness NaN": floats(-1, math.nan),
    "a witness outside the box": floats(-1, 3.0),
    "a witness infinite": floats(-1, -math.inf),
}


@pytest.mark.parametrize("name", FALSE)
def test_designed_corruptions_are_refused(valid, name):
    tried = 0
    for case, content in valid:
        parts = taken_apart(content, case.content)
        try:
            FALSE[name](parts)
        except LookupError:
            continue
        if "witness" in name and not parts.header["witness"]:
            continue
        tried += 1
        assert refused(case, parts.content()), name
    assert tried


WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "only the magic word": lambda content: content[:8],
    "another magic word": lambda content: b"X" + content[1:],
    "cut in half": lambda content: content[: len(content) // 2],
    "the last byte missing": lambda content: content[:-1],
    "something behind it": lambda content: content + b"\0",
    "twice": lambda content: content + content,
    "not packed": lambda content: checker.MAGIC + checker.unpacked(content),
    "a zip bomb": lambda _: checker.MAGIC + zlib.compress(bytes(checker.MOST_BYTES + 1), 9),
    "zeros": lambda _: checker.MAGIC + zlib.compress(bytes(1000)),
    "a header of nested lists": lambda _: packed(b"[" * 100_000),
    "a header with a NaN": lambda _: packed(b'{"schema": NaN}'),
    "a header that gives a field twice": lambda _: packed(b'{"schema": 1, "schema": 1}'),
    "a header longer than the file": lambda _: checker.MAGIC + zlib.compress(b"\xff\xff\xff\x7f{}"),
    "a header that is a list": lambda _: packed(b"[1, 2]"),
    "a header of another encoding": lambda _: packed(b"\xff\xfe\xfd"),
    "a header with a huge number": lambda _: packed(b'{"schema": ' + b"9" * 5000 + b"}"),
}


def packed(text: bytes) -> bytes:
    return checker.MAGIC + zlib.compress(len(text).to_bytes(4, "little") + text)


@pytest.mark.parametrize("name", WHOLE)
def test_files_that_are_no_certificates_are_refused(valid, name):
    case, content = valid[0]
    assert refused(case, WHOLE[name](content))


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(content: bytes) -> None:
    header = json.dumps(dict.fromkeys(checker.FIELDS, 1)).encode()
    told = len(header).to_bytes(4, "little") + header + content
    for data in (content, checker.MAGIC + content, *(checker.MAGIC + zlib.compress(each) for each in (content, told))):
        with pytest.raises(checker.InvalidError):
            checker.checked(data, content)


def test_a_certificate_for_another_net_is_refused(valid):
    content = valid[0][1]
    other = next(case for case, _ in valid if case.content != valid[0][0].content)
    with pytest.raises(checker.InvalidError, match="another model"):
        checker.checked(content, other.content)
