"""Proofs in APTP as they are written: what is read again is the same, and rows are of the format's own shapes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from verifier.problem.properties.from_aptp import pattern_proof
from verifier.problem.properties.linear import CONSTANT, Linear
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_aptp import boxes_to_aptp, relus_to_aptp

X, Y0, Y1 = ("X", 0), ("Y", 0), ("Y", 1)
LOW: Linear = {X: Fraction(2), CONSTANT: Fraction(-1, 5)}
HIGH: Linear = {X: Fraction(-1), CONSTANT: Fraction(1, 3)}
OVER: Linear = {Y0: Fraction(3), Y1: Fraction(-3)}
MIXED: Linear = {Y0: Fraction(1), Y1: Fraction(-2), CONSTANT: Fraction(1, 2)}


def test_a_tree_of_relus_is_read_again() -> None:
    leaves = [((4, False),), ((4, True), (0, False)), ((4, True), (0, True))]
    text = relus_to_aptp(1, 2, [LOW, HIGH, OVER, MIXED], leaves)
    proof = pattern_proof(Text("p", text))
    assert proof.leaves == tuple(map(dict, leaves))
    assert proof.prop.satisfied([Fraction(1, 10)], [Fraction(1, 2), Fraction(1, 2)])
    assert not proof.prop.satisfied([Fraction(1, 10)], [Fraction(2, 3), Fraction(2, 3)])
    assert not proof.prop.satisfied([Fraction(1, 3) + Fraction(1, 10**9)], [Fraction(1, 2), Fraction(1, 2)])
    assert not proof.prop.satisfied([Fraction(1, 10)], [Fraction(1, 4), Fraction(1, 2)])
    assert "(declare-pwl N_5 ReLU)" in text
    assert "N_6" not in text


def test_the_root_alone_is_read_again() -> None:
    assert pattern_proof(Text("p", relus_to_aptp(1, 2, [LOW, HIGH, OVER], [()]))).leaves == ({},)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (LOW, "(assert (>= X_0 0.1))"),
        (HIGH, "(assert (<= X_0 (/ 1 3)))"),
        (OVER, "(assert (<= Y_1 Y_0))"),
        ({Y0: Fraction(-1, 2), CONSTANT: Fraction(-7)}, "(assert (<= Y_0 -14.0))"),
        ({Y0: Fraction(1), Y1: Fraction(1)}, "(assert (>= (+ (* 1.0 Y_0) (* 1.0 Y_1)) 0.0))"),
        ({CONSTANT: Fraction(-1)}, "(assert (>= 0 1.0))"),
    ],
)
def test_rows_are_comparisons(row: Linear, told: str) -> None:
    assert told in relus_to_aptp(1, 2, [row], [()])


def test_boxes_are_read_again_without_those_of_the_whole() -> None:
    half = Fraction(1, 5)
    text = boxes_to_aptp(1, 2, [LOW, HIGH, OVER], [[(Fraction(1, 10), half)], [(half, Fraction(1, 3))]])
    proof = pattern_proof(Text("p", text))
    assert proof.leaves is None
    assert proof.prop.satisfied([half], [1, 1])
    assert not proof.prop.satisfied([Fraction(1, 2)], [1, 1])
    assert "(and (>= X_0 0.1) (<= X_0 0.2))" in text
    assert "(assert (>= X_0" not in text
