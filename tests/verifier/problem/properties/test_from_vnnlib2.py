"""VNN-LIB 2 by the standard's library: the same formulas in both syntaxes mean the same, exactly; refusals by name."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from onnx import helper

from encoders.errors import InputError
from encoders.onnx_io.file import ports_of
from verifier.problem.properties import from_vnnlib2
from verifier.problem.properties.formula import LinearRow
from verifier.problem.properties.from_vnnlib import property_of
from verifier.problem.properties.from_vnnlib2 import is_version_2, network_query
from verifier.problem.properties.network_query import NetworkQuery, TensorKind
from verifier.problem.properties.s_expressions import Text
from verifier.runtime.query_model import property_about

pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)

VERSION = "(vnnlib-version <2.0>)"
ONE = "(declare-network N (declare-input X float32 [2]) (declare-output Y float32 [1,2]))"


def query(assertions: str, networks: str = ONE, version: str = VERSION) -> NetworkQuery:
    return network_query(Text("q", version + networks + assertions))


def random_formula(rng: np.random.Generator, depth: int) -> str:
    """In VNN-LIB 1.0, of what 2.0 has as well."""
    kind = int(rng.integers(3)) if depth else 0
    if kind:
        below = " ".join(random_formula(rng, depth - 1) for _ in range(2))
        return f"({'and' if kind == 1 else 'or'} {below})"
    return f"({rng.choice(['<=', '>=', '<', '>', '='])} {random_term(rng, 2)} {random_term(rng, 2)})"


def random_term(rng: np.random.Generator, depth: int) -> str:
    kind = int(rng.integers(6)) if depth else int(rng.integers(2))
    if kind == 0:
        return str(rng.choice(["0.0", "-1.0", "0.5", "2.25", "-0.1", "0.3"]))
    if kind == 1:
        return str(rng.choice(["X_0", "X_1", "Y_0", "Y_1"]))
    one, other = random_term(rng, depth - 1), random_term(rng, depth - 1)
    return {2: f"(+ {one} {other})", 3: f"(- {one} {other})", 4: f"(* 0.3 {one})", 5: f"(- {one})"}[kind]


def in_2(text: str) -> str:
    return re.sub(r"Y_(\d)", r"Y[0,\1]", re.sub(r"X_(\d)", r"X[\1]", text)).replace("(= ", "(== ")


def test_both_syntaxes_mean_the_same() -> None:
    declared = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    satisfied = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        text = random_formula(rng, 2)
        if not re.search("[XY]_", text):
            continue
        first, second = property_of(Text("p", f"{declared}(assert {text})")), query(f"(assert {in_2(text)})").prop
        assert (second.inputs, second.outputs) == (2, 2)
        for _ in range(20):
            x, y = ([Fraction(int(n), 10) for n in rng.integers(-20, 20, 2)] for _ in "xy")
            assert first.satisfied(x, y) is second.satisfied(x, y), text
            satisfied += first.satisfied(x, y)
    assert satisfied > 200


def test_literals_are_the_numbers_that_are_written() -> None:
    row = query("(assert (>= X[0] 0.1000000000000000000000000000001))").prop.formula.parts[0]  # type: ignore[union-attr]
    assert row == LinearRow(((0, Fraction(1)),), (), -Fraction("0.1000000000000000000000000000001"))
    unequal = query("(assert (!= X[0] 0.5))").prop
    assert unequal.satisfied([Fraction(1), Fraction(0)], [Fraction(0)] * 2)
    assert not unequal.satisfied([Fraction(1, 2), Fraction(0)], [Fraction(0)] * 2)


def test_entries_of_several_networks_stand_one_after_the_other() -> None:
    networks = (
        '(declare-network f (declare-input A real [2,2]) (declare-hidden H real [3] "h") (declare-output B real [2]))'
        '(declare-network g (equal-to f) (declare-input C real [2,2]) (declare-hidden I real [3] "h")'
        " (declare-output D real [2]))"
        '(declare-network s (isomorphic-to f) (declare-input S real [2,2]) (declare-hidden J real [3] "h")'
        " (declare-output T real [2]))"
    )
    found = query("(assert (>= (+ C[1,0] D[1]) H[2]))", networks)
    assert [(tensor.name, tensor.kind, tensor.first, tensor.size) for tensor in found.tensors][:5] == [
        ("A", TensorKind.INPUT, 0, 4), ("H", TensorKind.HIDDEN, 0, 3), ("B", TensorKind.OUTPUT, 3, 2),
        ("C", TensorKind.INPUT, 4, 4),
        ("I", TensorKind.HIDDEN, 5, 3),
    ]  # fmt: skip
    assert [(one.equal_to, one.isomorphic_to) for one in found.networks] == [("", ""), ("f", ""), ("", "f")]
    assert (found.files, found.real) == (("f", "s"), True)
    assert found.networks[0].tensors[1].node == "h"
    assert (found.prop.inputs, found.prop.outputs) == (12, 15)
    row = found.prop.formula.parts[0]  # type: ignore[union-attr]
    assert row == LinearRow(((6, Fraction(1)),), ((2, Fraction(-1)), (9, Fraction(1))), Fraction(0))


@pytest.mark.parametrize(
    ("assertions", "networks", "version", "told"),
    [
        ("(assert (>= (* X[0] X[1]) 1.0))", ONE, VERSION, r"q: a product of two variables is not linear, in \(>= \(\*"),
        ("(assert (>= X[0] 1))", ONE, VERSION, r"q: line 1: Type mismatch.*\('1'\)"),
        ("(assert (>= X[7] 1.0))", ONE, VERSION, "Index 7 is out of bounds"),
        ("(assert (>= Q[0] 1.0))", ONE, VERSION, "Undeclared variable"),
        ("(assert (=> X[0] 1.0))", ONE, VERSION, "syntax error at line 1, column"),
        ("", ONE, VERSION, "syntax error"),
        ("(assert (>= X[0] 1.0))", ONE, "(vnnlib-version <2.7>)", "q is VNN-LIB 2.7; 2.0 to 2.1 are read"),
        ("(assert (>= X[0] 1.0))" + " " * 2**23, ONE, VERSION, "q is larger than 8 MiB"),
        ("(assert (>= X[0] 1.0))", ONE, "(vnnlib-version <3.0>)", "Incompatible VNNLib version"),
        ("(assert (>= X[0] 1.0))", ONE.replace("float32", "Float"), VERSION, "'X' has no element type of the standard"),
        ("(assert (>= X[0] 1.0))", ONE.replace("[2]", "[9999999]"), VERSION, r"more than 1048576 variables"),
        ("(assert (>= X[0] 1.0))", ONE.replace("[2]", "[99999999999999999999]"), VERSION, "^q: "),
        ("(assert " + "(or " * 10**6 + ")" * 10**6, ONE, VERSION, "more than 100 lists within each other"),
        (f"(assert (>= X[0] 0.{'9' * 6000}))", ONE, VERSION, "so many digits"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_line(assertions: str, networks: str, version: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        query(assertions, networks, version)
    assert "\n" not in str(caught.value)


def test_2_1_is_read_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert query("(assert (>= X[0] 1.0))", version="(vnnlib-version <2.1>)").prop.inputs == 2
    assert capfd.readouterr() == ("", "")


def test_the_version_is_told_by_the_beginning() -> None:
    assert is_version_2(Text("q", f"; a comment (\n\n ; ;\n {VERSION}"))
    assert not is_version_2(Text("q", "(declare-const X_0 Real) ; (vnnlib-version <2.0>)"))
    assert not is_version_2(Text("q", "; a ; b ; c " * 10**5))


def test_without_the_library_the_complaint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(from_vnnlib2, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'vnnlib>=1.0.2'"):
        query("(assert (>= X[0] 1.0))")


def test_one_network_is_a_property_of_the_file_that_it_declares() -> None:
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [2]), ("y", [1, 2]))]
    ports = ports_of(helper.make_model(helper.make_graph([], "g", ends[:1], ends[1:])))
    goal = "(assert (>= Y[0,1] X[0]))"
    found = property_about(Text("q", VERSION + ONE + goal), ports)
    assert found.satisfied([Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)])
    hidden = ONE.replace("(declare-output", '(declare-hidden H float32 [2] "h") (declare-output')
    for declared, why in (
        (hidden, r"speaks of 'X', 'H', 'Y'.*verifier verify"),
        (ONE.replace("[1,2]", "[2,2]"), r"'Y' as float32 \[2, 2\], and 'y' of its file has shape 1x2"),
        (ONE.replace("float32", "float64"), "nothing can be proved about 'X' in float64"),
    ):
        with pytest.raises(InputError, match=why):
            property_about(Text("q", VERSION + declared + goal), ports)


def test_reading_ends_when_the_time_does() -> None:
    def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        network_query(Text("q", VERSION + ONE + "(assert (and (>= X[0] 1.0) (<= X[0] 2.0)))"), late)
