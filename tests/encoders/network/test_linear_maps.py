"""Each linear map against its matrix: apply, adjoint, rows, magnitude, fans; floats and exact integers."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from encoders.network.linear_maps import (
    LINEAR_MAPS,
    Conv,
    Dense,
    Scale,
    Select,
    Sparse,
    identity,
    readonly,
    select,
    sparse,
)

SUM_TOLERANCE = 1e-12  # float64 sums of at most some ten products of numbers of size 1
RNG = np.random.default_rng(11)


def r(*shape: int) -> np.ndarray:
    """Integer weights with some zeros: sums of them are exact, and zeros must not count as entries."""
    return readonly(RNG.integers(-3, 4, shape))


def conv(weight: np.ndarray, spatial: tuple[int, ...], **settings: Any) -> Conv:
    ones = (1,) * len(spatial)
    pads = (0,) * (2 * len(spatial))
    return Conv(weight, **{"spatial": spatial, "strides": ones, "dilations": ones, "pads": pads, **settings})


SPARSE = np.array([[0, 2.5, 0, -1], [0, 0, 0, 0], [3, 0, 0, 0.5], [0, 0, 0, 0], [1, 1, 0, 1]])
"""Rows and a column without entries."""

MAPS = [
    Dense(r(3, 4)),
    Dense(r(1, 4)),
    Dense(r(3, 4), left=2),
    Dense(r(3, 4), right=5),
    Dense(r(2, 3), left=2, right=3),
    conv(r(2, 3, 3), (6,), pads=(1, 2), strides=(2,)),
    conv(r(3, 2, 2, 3), (4, 5)),
    conv(r(4, 1, 3, 2), (5, 4), groups=2, pads=(1, 0, 2, 1), strides=(2, 1), dilations=(1, 2)),
    conv(r(6, 2, 1), (3,), groups=3),
    conv(r(2, 1, 2, 2, 2), (3, 2, 4), pads=(0, 1, 0, 0, 0, 1)),
    select([2, 0, -1, 2, 1], 4),
    select([-1, -1], 3),
    Scale(r(5)),
    Scale(r(5), readonly([3, -1, 2, 0.5, 7])),
    identity(4, -2.0),
    sparse(SPARSE),
    sparse(np.zeros((2, 3))),
]


def dense_matrix(linear: Any) -> np.ndarray:
    """The matrix from the definition of the map, entry by entry, without the map's own methods."""
    match linear:
        case Dense():
            return np.kron(np.eye(linear.left), np.kron(linear.weight, np.eye(linear.right)))
        case Select():
            return np.array([[float(column == place) for column in range(linear.in_size)] for place in linear.index])
        case Scale():
            divisor = np.ones(linear.in_size) if linear.divisor is None else linear.divisor
            return np.diag(linear.factor / divisor)
        case Conv():
            return conv_matrix(linear)
        case Sparse():
            matrix = np.zeros((linear.out_size, linear.in_size))
            for row in range(linear.out_size):
                for entry in range(linear.indptr[row], linear.indptr[row + 1]):
                    matrix[row, linear.indices[entry]] += linear.data[entry]
            return matrix
    raise AssertionError(f"no definition for {type(linear).__name__}")


def conv_matrix(linear: Conv) -> np.ndarray:
    filters, depth, *kernel = linear.weight.shape
    inputs = np.arange(linear.in_size).reshape(linear.channels, *linear.spatial)
    rows = []
    for m, place in itertools.product(range(filters), itertools.product(*(range(k) for k in linear.out_spatial))):
        row = np.zeros(linear.in_size)
        group = m // (filters // linear.groups)
        for channel, tap in itertools.product(range(depth), itertools.product(*(range(k) for k in kernel))):
            at = [
                p * s + t * d - pad
                for p, s, t, d, pad in zip(place, linear.strides, tap, linear.dilations, linear.pads, strict=False)
            ]
            if all(0 <= a < size for a, size in zip(at, linear.spatial, strict=True)):
                row[inputs[(group * depth + channel, *at)]] += linear.weight[(m, channel, *tap)]
        rows.append(row)
    return np.array(rows)


def test_every_map_is_tested() -> None:
    assert {type(linear) for linear in MAPS} == set(LINEAR_MAPS)


@pytest.mark.parametrize("linear", MAPS)
def test_map_is_its_matrix(linear: Any) -> None:
    matrix = dense_matrix(linear)
    assert matrix.shape == (linear.out_size, linear.in_size)
    x, y = RNG.normal(size=(3, linear.in_size)), RNG.normal(size=(2, linear.out_size))
    np.testing.assert_allclose(linear.apply(x), x @ matrix.T, rtol=SUM_TOLERANCE, atol=SUM_TOLERANCE)
    np.testing.assert_allclose(linear.adjoint(y), y @ matrix, rtol=SUM_TOLERANCE, atol=SUM_TOLERANCE)
    rows = linear.rows()
    assert (rows.format, rows.dtype) == ("csr", np.float64)
    np.testing.assert_array_equal(rows.toarray(), matrix)
    magnitude = linear.magnitude()
    assert (magnitude.in_size, magnitude.out_size) == (linear.in_size, linear.out_size)
    np.testing.assert_array_equal(magnitude.rows().toarray(), np.abs(matrix))


@pytest.mark.parametrize("linear", MAPS)
def test_fans_bound_the_entries(linear: Any) -> None:
    """They are upper bounds: a Dense or Conv counts its zeros, and a stride or the padding is not taken off."""
    matrix = dense_matrix(linear)
    assert (matrix != 0).sum(axis=1).max() <= linear.fan_in
    assert (matrix != 0).sum(axis=0).max() <= linear.fan_out


@pytest.mark.parametrize("linear", [Dense(readonly(np.ones((3, 4))), 2, 2), MAPS[10], identity(3)])
def test_fans_are_tight_without_zeros(linear: Any) -> None:
    matrix = dense_matrix(linear)
    assert (matrix != 0).sum(axis=1).max() == linear.fan_in
    assert (matrix != 0).sum(axis=0).max() == linear.fan_out


def test_fans_of_a_convolution_inside() -> None:
    linear = conv(readonly(np.ones((4, 3, 2, 3))), (6, 7), pads=(1, 1, 1, 1))
    matrix = dense_matrix(linear)
    assert (matrix != 0).sum(axis=1).max() == linear.fan_in == 18
    assert (matrix != 0).sum(axis=0).max() == linear.fan_out == 24


def integers(linear: Any) -> Any:
    """The map with Python integers as weights, as exact evaluation makes it."""
    match linear:
        case Dense() | Conv():
            return type(linear)(**{**vars_of(linear), "weight": objects(linear.weight)})
        case Scale():
            return Scale(objects(linear.factor))
        case Sparse():
            return Sparse(objects(linear.data), linear.indices, linear.indptr, linear.in_size)
    return linear


def vars_of(linear: Any) -> dict[str, Any]:
    return {name: getattr(linear, name) for name in linear.__dataclass_fields__}


def objects(values: np.ndarray) -> np.ndarray:
    array = np.empty(values.size, dtype=object)
    array[:] = [int(value) for value in values.reshape(-1)]
    return array.reshape(values.shape)


@pytest.mark.parametrize(
    "linear", [linear for linear in MAPS if not (isinstance(linear, Scale) and linear.divisor is not None)]
)
def test_python_integers_stay_exact(linear: Any) -> None:
    exact = integers(linear)
    matrix = dense_matrix(linear)
    for method, size, entries in (("apply", linear.in_size, matrix.T), ("adjoint", linear.out_size, matrix)):
        # Beyond 2⁵³ a float would round, and a 64-bit integer would overflow.
        vector = [3**50 + place for place in range(size)]
        given = np.empty((1, size), dtype=object)
        given[0, :] = vector
        result = getattr(exact, method)(given)
        assert result.dtype == object
        expected = [sum(int(e) * v for e, v in zip(column, vector, strict=True)) for column in entries.T]
        assert list(result[0]) == expected
        assert all(isinstance(value, int) for value in result[0])


def test_fractions_pass_through_a_select() -> None:
    given = np.array([[Fraction(1, 3), Fraction(2, 7)]], dtype=object)
    assert list(select([1, -1, 0], 2).apply(given)[0]) == [Fraction(2, 7), 0, Fraction(1, 3)]


def test_weights_are_private_and_readonly() -> None:
    source = np.ones(3)
    copy = readonly(source)
    source[0] = 5.0
    assert copy[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        copy[0] = 2.0


def test_quotient_is_rounded_once() -> None:
    assert Scale(readonly([1.0]), readonly([3.0])).quotient[0] == 1.0 / 3.0
