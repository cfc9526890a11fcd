"""Outputs over the reals, close enough to decide: exact without Sigmoids, else as near as it takes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from onnx import helper

import verifier
from encoders.network.exact import exact_outputs_of
from tests.encoders.conftest import build_model
from tests.encoders.network.test_sigmoid_enclosure import reference
from verifier import Halfspaces
from verifier.problem.properties.formula import Property, from_arrays
from verifier.runtime.real_outputs import real_outputs

node = helper.make_node


def above(level: Fraction) -> Property:
    """y ≥ level, which is no float: p·y ≥ q."""
    goal = Halfspaces(np.array([[float(level.denominator)]]), np.array([-float(level.numerator)]))
    return from_arrays(np.array([-10.0]), np.array([10.0]), [goal])


def nothing() -> None:
    return


def test_a_sigmoid_is_bounded_until_the_property_is_decided() -> None:
    model = verifier.load(build_model([node("Sigmoid", ["x"], ["s"]), node("Relu", ["s"], ["y"])], [1, 1]))
    x = [Fraction(3, 2)]
    value = Fraction(reference(x[0]))
    for digits in (3, 10, 15):
        near = Fraction(round(value * 10**digits), 10**digits)
        found = real_outputs(model, above(near), x, nothing)
        assert found.satisfied is (value >= near)
        assert found.lower[0] <= value <= found.upper[0]
        told = found.towards_zero()[0]
        assert 0 < value - Fraction(told) < Fraction(1, 2**53)


def test_a_tie_is_not_decided() -> None:
    """σ(x) + σ(−x) = 1, which no enclosure says; but σ(0) = 1/2 is known."""
    nodes = [
        node("Neg", ["x"], ["n"]),
        node("Sigmoid", ["x"], ["s"]),
        node("Sigmoid", ["n"], ["t"]),
        node("Add", ["s", "t"], ["y"]),
    ]
    model = verifier.load(build_model(nodes, [1, 1]))
    assert real_outputs(model, above(Fraction(1)), [Fraction(1)], nothing).satisfied is None
    assert real_outputs(model, above(Fraction(1)), [Fraction(0)], nothing).satisfied is True


def test_negative_outputs_are_rounded_up_and_a_value_around_zero_is_zero() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Sub", ["s", "c"], ["y"])]
    model = verifier.load(build_model(nodes, [1, 1], {"c": np.float32([[0.75]])}))
    found = real_outputs(model, above(Fraction(0)), [Fraction(1)], nothing)
    value = Fraction(reference(Fraction(1))) - Fraction(3, 4)
    assert 0 < Fraction(found.towards_zero()[0]) - value < Fraction(1, 2**53)
    half = verifier.load(build_model(nodes, [1, 1], {"c": np.float32([[0.5]])}))
    assert real_outputs(half, above(Fraction(0)), [Fraction(0)], nothing).towards_zero().tolist() == [0.0]


def test_without_sigmoids_they_are_exact() -> None:
    model = verifier.load(build_model([node("Relu", ["x"], ["s"]), node("Neg", ["s"], ["y"])], [1, 1]))
    found = real_outputs(model, above(Fraction(-1, 3)), [Fraction(1, 3)], nothing)
    exact = exact_outputs_of(model.network.graph, [Fraction(1, 3)])[model.first_output :]
    assert (list(found.lower), found.satisfied) == (exact, True)
    assert found.lower is found.upper
    assert real_outputs(model, above(Fraction(-1, 3)), [Fraction(10**9 + 1, 3 * 10**9)], nothing).satisfied is False
