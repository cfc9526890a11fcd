"""Proof trees in APTP: files of other verifiers are read, hostile and malformed ones refused in one line."""

from __future__ import annotations

import pytest

from encoders.errors import InputError
from verifier.problem.properties.from_aptp import PatternProof, pattern_proof
from verifier.problem.properties.s_expressions import Text

HEADER = """; inputs and outputs
(declare-const X_0 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(declare-pwl N_1 ReLU)
(declare-pwl N_2 ReLU)
(declare-pwl N_3 ReLU)
(assert (>= X_0 -2.0)) (assert (<= X_0  2.0))
(assert (<= Y_0 Y_1))
"""
TREE = "(assert (or (and (<  N_2 0)) (and (>= N_2 0) (>= N_1 0)) (and (< N_1 0.0) (> N_2 0))))"


def read(text: str) -> PatternProof:
    return pattern_proof(Text("p.aptp", text))


def test_a_tree_of_neurons() -> None:
    proof = read(HEADER + TREE)
    assert proof.leaves == ({1: False}, {1: True, 0: True}, {0: False, 1: True})
    assert (proof.prop.inputs, proof.prop.outputs) == (1, 2)
    assert proof.prop.satisfied([2], [1, 1])
    assert not proof.prop.satisfied([2], [1, 0])
    assert not proof.prop.satisfied([3], [1, 1])


def test_several_names_in_a_declaration() -> None:
    text = HEADER.replace("(declare-const Y_0 Real)\n(declare-const Y_1 Real)", "(declare-const Y_0 Y_1 Real)")
    text = text.replace("(declare-pwl N_1 ReLU)\n(declare-pwl N_2 ReLU)", "(declare-pwl N_1 N_2 relu)")
    assert read(text + TREE).leaves == read(HEADER + TREE).leaves
    assert read(text + TREE).prop.outputs == 2


def test_a_tree_of_boxes_is_a_property_as_it_stands() -> None:
    boxes = "(assert (or (and (>= X_0 0) (<= X_0 1)) (and (>= X_0 1) (<= X_0 2))))"
    proof = read(f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= Y_0 3)){boxes}")
    assert proof.leaves is None
    assert proof.prop.satisfied([2], [3])
    assert not proof.prop.satisfied([-1], [3])


def test_a_root_alone_is_one_leaf() -> None:
    assert read(HEADER).leaves == ({},)
    assert read(HEADER + "(assert (or (and (< N_1 0)) (and)))").leaves == ({0: False}, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("(assert (or (and (< N_9 0))))", "line 10, column 21: 'N_9' is not declared"),
        ("(assert (or (and (< N_1 0) (< X_0 1))))", "'X_0' is no neuron"),
        ("(assert (or (and (< N_1 0.5))))", "ReLUs are split at 0, not at '0.5'"),
        ("(assert (or (and (< N_1 1e-400))))", "ReLUs are split at 0, not at '1e-400'"),
        ("(assert (or (and (= N_1 0))))", "a leaf's parts are"),
        ("(assert (or (and (< N_1 0) (>= N_1 0))))", "N_1 is on both sides in one leaf"),
        ("(assert (or (< N_1 0) (>= N_1 0)))", "a leaf is (and (< N_1 0) …), not a list that begins with '<'"),
        ("(assert (and (< N_1 0)))", "an assertion about neurons is (or"),
        ("(assert (< N_1 0))", "an assertion about neurons is (or"),
        (TREE + TREE, "a second assertion about neurons"),
        ("(assert (or (and (>= X_0 0) (< N_1 0))))", "'N_1' is neither a number nor a declared variable"),
        ("(declare-pwl N_1 ReLU)", "N_1 is declared twice"),
        ("(declare-pwl N_4 Sigmoid)", "only ReLUs are read"),
        ("(declare-pwl N_0 ReLU)", "'N_0' is no neuron: they are N_1, N_2, …"),
        ("(declare-pwl N_99999999 ReLU)", "'N_99999999' is no neuron"),
        ("(declare-pwl (N_4) ReLU)", "a list that begins with 'N_4' is no neuron"),
        ("(declare-pwl)", "a neuron's declaration is (declare-pwl N_1 ReLU)"),
        ("(declare-pwl ReLU)", "a neuron's declaration is (declare-pwl N_1 ReLU)"),
        ("(assert (or (and (< N_1 0", "this '(' is not closed"),
        ("(" * 200, "more than 100 lists within each other"),
    ],
)
def test_what_is_not_read_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read(HEADER + text)
    assert told in str(caught.value)
    assert str(caught.value).startswith("p.aptp: line ")
    assert "\n" not in str(caught.value)


def test_reading_looks_at_the_budget() -> None:
    looks = []
    pattern_proof(Text("p", HEADER + "(assert (or" + "(and (< N_1 0))" * 40_000 + "))"), lambda: looks.append(0))
    assert len(looks) > 40_000
