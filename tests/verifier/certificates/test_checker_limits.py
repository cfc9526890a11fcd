"""Time and memory of the checker: linear in the certificate and the model, however they are made."""

from __future__ import annotations

import json
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.verifier.certificates.nets import model_of
from tests.verifier.certificates.parts import Open, taken_apart
from tests.verifier.certificates.wire import Field, Part, encoded, varint
from verifier.certificates import checker
from verifier.certificates.format import varints

MEGABYTE = 1 << 20


def peak(call: Callable[[], Any]) -> int:
    """The most bytes that Python and numpy held during the call, which may refuse."""
    tracemalloc.start()
    try:
        call()
    except checker.InvalidError:
        pass
    finally:
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


def of_zeros(size: int) -> bytes:
    """A certificate's header with `size` zeros behind it: packed to a thousandth."""
    header = dict.fromkeys(checker.FIELDS, 0) | {
        "schema": checker.SCHEMA,
        "anchored": False,
        "model": "",
        "norm": "l1",
        "dtype": "<f4",
        "witness": False,
    }
    header |= {"inputs": 1, "box": 1, "label": 0, "target": None, "margin": "0x0p+0", "radius": "0x1p+0"}
    text = json.dumps(header).encode()
    return checker.MAGIC + zlib.compress(len(text).to_bytes(4, "little") + text + bytes(20 + size), 9)


def test_what_unpacks_to_a_thousand_times_its_size_takes_little_memory() -> None:
    """130 KB took 5 GB."""
    content = of_zeros(120 * MEGABYTE)
    assert 100_000 < len(content) < 140_000
    assert peak(lambda: checker.parse(content)) < 64 * MEGABYTE
    small = of_zeros(3 * MEGABYTE)
    assert peak(lambda: checker.parse(small)) < 64 * MEGABYTE


def comb(depth: int) -> np.ndarray:
    """A tree that splits neuron after neuron, on one side only."""
    leaf = [checker.LEAF, 0, 1, 0, *[0] * depth]
    return np.array([*(number for place in range(depth) for number in (checker.FIRST_RELU + place, *leaf)), *leaf])


def lines(call: Callable[[], Any]) -> int:
    """Lines of Python that are run for a call."""
    found = 0

    def count(frame: Any, event: str, argument: Any) -> Any:
        nonlocal found
        found += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(before)
    return found


def deep(depth: int) -> tuple[checker.Proof, checker.CheckedGoal]:
    """A proof over a net of so many ReLUs, all of them open."""
    weights = {"a": np.ones((1, depth), dtype=np.float32), "b": np.ones((depth, 3), dtype=np.float32)}
    nodes = [("MatMul", ["x", "a"], "t", {}), ("Relu", ["t"], "h", {}), ("MatMul", ["h", "b"], "y", {})]
    net = checker.read_network(model_of(nodes, [1, 1], weights).SerializeToString())
    query = checker.box_query(np.array([-1.0]), np.array([1.0]))
    proof = checker.Proof(net, query, np.inf, 24)
    proof.bounded(checker.ReluNode.root([]), Open())
    return proof, checker.against(net, 0, 1.0)


def steps(depth: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Lines that are run for a comb of this depth."""
    proof, goal = deep(depth)
    monkeypatch.setattr(proof, "leaves_closed", lambda goal, leaves, *_, **__: np.ones(len(leaves), dtype=bool))
    numbers = checker.Numbers(memoryview(varints(comb(depth))))
    return lines(lambda: proof.refute(goal, numbers))


def test_a_deep_tree_takes_time_in_proportion_to_its_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps(200, monkeypatch) < 2.1 * steps(100, monkeypatch)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([3, 3], "twice"),
        ([3, 0, 0, 1, 0, 0, 0], "cut off"),
        ([5], "not open"),
        ([], "cut off"),
    ],
)
def test_trees_that_are_none_are_refused(numbers: list[int], reason: str) -> None:
    proof, goal = deep(2)
    with pytest.raises(checker.InvalidError, match=reason):
        proof.refute(goal, checker.Numbers(memoryview(varints(np.array(numbers, dtype=np.int64)))))


def test_signs_are_those_of_the_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    #       0
    #     1   leaf
    # leaf 2
    proof, goal = deep(3)
    seen: list[np.ndarray] = []

    def noted(goal: Any, leaves: Any, active: Any, off: Any, on: Any, slopes: Any = None) -> Any:
        seen.extend([off, on])
        return np.ones(len(leaves), dtype=bool)

    monkeypatch.setattr(proof, "leaves_closed", noted)
    leaf = [0, 0, 1, 0, 0, 0, 0]
    proof.refute(goal, checker.Numbers(memoryview(varints(np.array([3, 4, *leaf, 5, *leaf, *leaf, *leaf])))))
    assert seen[0].astype(int).tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert seen[1].astype(int).tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_a_long_header_is_refused() -> None:
    text = b'{"schema": [' + b"1," * checker.MOST_HEADER + b"1]}"
    content = checker.MAGIC + zlib.compress(len(text).to_bytes(4, "little") + text)
    with pytest.raises(checker.InvalidError, match="header is too long"):
        checker.parse(content)


def test_a_file_of_very_many_fields_is_refused() -> None:
    names = encoded(Field(1, 2, b"")) * (checker.MOST_FIELDS + 1)
    with pytest.raises(checker.InvalidError, match="too many fields"):
        checker.ProtoMessage(memoryview(names), checker.NODE, checker.Files(None))


def test_packed_numbers_take_memory_in_proportion() -> None:
    """Of eight bytes each, and a mask."""
    content = Part("tensor", [Field(2, 0, 7), Field(8, 2, b"w"), Field(7, 2, bytes(8 * MEGABYTE))]).content()

    def read() -> None:
        message = checker.ProtoMessage(memoryview(content), checker.TENSOR, checker.Files(None))
        assert message.integers("int64_data").size == 8 * MEGABYTE

    assert peak(read) < 200 * MEGABYTE


def test_weights_take_memory_in_proportion() -> None:
    def of(size: int) -> bytes:
        weights = np.random.default_rng(0).normal(size=(size, 3)).astype(np.float32)
        content: bytes = model_of([("Gemm", ["x", "w"], "y", {})], [1, size], {"w": weights}).SerializeToString()
        return content

    one, two = (of(size) for size in (40_000, 80_000))
    assert peak(lambda: checker.read_network(two)) < 2.2 * peak(lambda: checker.read_network(one))
    assert peak(lambda: checker.read_network(two)) < 200 * 3 * 80_000


def test_numbers_that_grow_without_end_are_refused() -> None:
    """Quotients by many numbers have a long common denominator; products of many large ones are long."""
    size = 4000
    divisors = np.random.default_rng(0).random(size).astype(np.float32) + 1
    net = model_of([("Div", ["x", "w"], "y", {})], [1, size], {"w": divisors})
    net.graph.ClearField("output")
    net.graph.output.append(helper.make_tensor_value_info("y", 1, None))
    with pytest.raises(checker.InvalidError, match="too long"):
        checker.read_network(net.SerializeToString())
    factors = [("Mul", [f"h{place}" if place else "x", "w"], f"h{place + 1}", {}) for place in range(400)]
    read = checker.read_network(model_of(factors, [1, 3], {"w": np.float32(1e38)}).SerializeToString())
    with pytest.raises(checker.InvalidError, match="too long"):
        read.forward(*checker.exact([1.0, 2.0, 3.0]))


def test_work_has_an_end(valid, monkeypatch: pytest.MonkeyPatch) -> None:
    case, content = valid[0]
    spent: list[int] = []
    with monkeypatch.context() as patch:
        count = checker.Proof.count
        patch.setattr(checker.Proof, "count", lambda proof, work: spent.append(work) or count(proof, work))
        checker.checked(content, case.content)
    monkeypatch.setattr(checker, "MOST_WORK", sum(spent))
    assert checker.checked(content, case.content).lower > 0
    monkeypatch.setattr(checker, "MOST_WORK", sum(spent) - 1)
    with pytest.raises(checker.InvalidError, match="too many evaluations"):
        checker.checked(content, case.content)


def test_a_leaf_that_does_not_close_ends_the_check(valid, monkeypatch: pytest.MonkeyPatch) -> None:
    case, content = valid[0]
    parts = taken_apart(content, case.content)
    parts.numbers[parts.leaf] = 0
    monkeypatch.setattr(checker, "ROWS", 1)
    looked_at: list[int] = []
    closed = checker.Proof.leaves_closed
    monkeypatch.setattr(
        checker.Proof, "leaves_closed", lambda *given, **more: looked_at.append(1) or closed(*given, **more)
    )
    with pytest.raises(checker.InvalidError, match="leaf 0 does not close"):
        checker.checked(parts.content(), case.content)
    assert looked_at == [1]


@pytest.mark.parametrize("most", [10, 9])
def test_numbers_of_seven_bits_a_byte(most: int) -> None:
    values = [0, 1, 127, 128, 2**32, 2**62, *([2**64 - 1] if most == 10 else [])]
    data = b"".join(varint(value) for value in values) * 10_000
    assert len(data) > checker.CHUNK
    assert checker.varints(data, most, "it").tolist() == values * 10_000


@pytest.mark.parametrize(
    ("data", "most", "reason"),
    [
        (b"\x80", 10, "cut off"),
        (b"\x01\xff", 10, "cut off"),
        (b"\x80\x00", 10, "written too long"),
        (b"\xff" * 9 + b"\x01", 9, "too long"),
        (b"\xff" * 10 + b"\x01", 10, "too long"),
        (b"\xff" * 9 + b"\x02", 10, "too large"),
        (b"\xff" * (checker.CHUNK + 5) + b"\x01", 10, "too long"),
    ],
)
def test_malformed_numbers_are_refused(data: bytes, most: int, reason: str) -> None:
    with pytest.raises(checker.InvalidError, match=reason):
        checker.varints(data, most, "it")


@pytest.mark.parametrize("scale", [1.0, 1e-40, 1e38, 2.0**-149])
def test_weights_are_exact_digits(scale: float) -> None:
    """Digits over the denominator give the weights back, whatever their sizes."""
    rng = np.random.default_rng(0)
    stack = (rng.normal(size=(2, 5, 3)) * scale * 2.0 ** rng.integers(-20, 1, (2, 5, 3))).astype(np.float32)
    stack[0, 0] = 0
    stack = stack.astype(np.float64)
    weights = checker.Weights(stack)
    whole = sum(digit.astype(object) * (1 << place * weights.bits) for place, digit in enumerate(weights.digits))
    expected = [checker.Fraction(value) for value in stack.reshape(-1).tolist()]
    assert [checker.Fraction(int(value), weights.den) for value in whole.reshape(-1)] == expected
    assert weights.den == max(value.denominator for value in expected)
    assert all(np.abs(digit).max() < 1 << weights.bits for digit in weights.digits)


def test_a_name_cannot_write_to_the_terminal() -> None:
    tensor = numpy_helper.from_array(np.zeros(3, dtype=np.float32), "w\x1b[31m\n")
    model = model_of([("Identity", ["x"], "y", {})], [1, 3], {})
    model.graph.initializer.extend([tensor, tensor])
    found = checker.judged(checker.MAGIC, model.SerializeToString())
    assert found.reason.isprintable()
    with pytest.raises(checker.InvalidError) as error:
        checker.read_network(model.SerializeToString())
    assert checker.printable(str(error.value)) == str(error.value).replace("\x1b", r"\x1b").replace("\n", r"\n")
