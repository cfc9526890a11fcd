"""A property's cases are the property, as boxes and half-spaces, none of them made before it is asked for."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import count, islice

import numpy as np
import pytest

from benchmarks.harness.mnist import shared
from encoders.errors import InputError
from tests.verifier.problem.properties.formulas import declarations, random_formula
from verifier.problem.properties.cases import Conjunction, cases, parts
from verifier.problem.properties.formula import And, LinearRow, Or, Property
from verifier.problem.properties.from_vnnlib import property_of, read_vnnlib
from verifier.problem.properties.linear import LONGEST
from verifier.problem.properties.s_expressions import Text

PROP_6 = shared("vnncomp/acasxu/vnnlib/prop_6.vnnlib")


def read(text: str, inputs: int = 2, outputs: int = 2) -> Property:
    return property_of(Text("p", declarations(inputs, outputs) + text))


def inside(case: Conjunction, x: list[Fraction], y: list[Fraction], strictly: bool) -> bool:
    """Is the point in the case, or, where not strictly, in its closure?"""
    box = case.box
    ends = all(x[i] >= end for i, end in box.lower.items()) and all(x[i] <= end for i, end in box.upper.items())
    rows = [LinearRow(row.inputs, row.outputs, row.constant, row.strict and strictly) for row in case.rows]
    return ends and all(row.holds(x, y) for row in rows)


@pytest.mark.parametrize("seed", range(50))
def test_the_cases_are_the_property(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    prop = read(f"(assert {random_formula(rng, ('X_0', 'X_1', 'Y_0', 'Y_1'), 4)})")
    found = list(cases(prop))
    for _ in range(40):
        values = [Fraction(int(rng.integers(-4, 5)), int(rng.choice([1, 2, 4]))) for _ in range(4)]
        x, y = values[:2], values[2:]
        if prop.satisfied(x, y):
            assert any(inside(case, x, y, strictly=True) for case in found)
        generic = [value + Fraction(1, 1009 + place) for place, value in enumerate(values)]  # on no border
        x, y = generic[:2], generic[2:]
        assert any(inside(case, x, y, strictly=False) for case in found) is prop.satisfied(x, y)


@pytest.mark.parametrize("seed", range(30))
def test_half_spaces_hold_the_rows(seed: int) -> None:
    rng = np.random.default_rng(2000 + seed)
    prop = read(f"(assert {random_formula(rng, ('X_0', 'X_1', 'Y_0', 'Y_1'), 3)})")
    for case in cases(prop):
        region = case.box.region(2)
        try:
            goal = case.goal(2, 2)
        except InputError:
            continue
        for _ in range(10):
            values = [Fraction(int(rng.integers(-4, 5)), 4) for _ in range(4)]
            x, y = values[:2], values[2:]
            if inside(case, x, y, strictly=False):
                assert np.all(region.lo <= np.array(x, dtype=float))
                assert np.all(np.array(x, dtype=float) <= region.hi)
                assert not case.rows or goal.margin_exact([*y, *x]) >= 0


def test_a_box_that_floats_do_not_hold_is_rounded_outwards() -> None:
    (case,) = cases(read("(assert (and (>= X_0 0.1) (<= X_0 0.3) (>= Y_0 0.1)))"))
    region, goal = case.box.region(2), case.goal(2)
    assert Fraction(region.lo[0]) <= Fraction(1, 10)
    assert Fraction(3, 10) <= Fraction(region.hi[0])
    assert math.isinf(region.hi[1])
    assert Fraction(goal.offset[0]) >= Fraction(-1, 10) > Fraction(math.nextafter(goal.offset[0], -1))


def test_coefficients_get_a_common_unit() -> None:
    (case,) = cases(read("(assert (>= (+ (* 0.1 Y_0) (* 0.3 Y_1)) 0.7))"))
    goal = case.goal(2)
    np.testing.assert_array_equal(goal.matrix, [[1.0, 3.0]])
    assert goal.offset[0] == -7.0


def test_coefficients_without_one_are_refused() -> None:
    (case,) = cases(read("(assert (>= (+ (* 0.1 Y_0) (* 1e-30 Y_1) (/ Y_0 7)) 0))"))
    with pytest.raises(InputError, match="in no common unit"):
        case.goal(2)


def test_choices_that_cannot_be_counted_are_not() -> None:
    rows = [LinearRow((), ((0, Fraction(1)),), Fraction(-k)) for k in range(2)]
    prop = Property(1, 1, And((Or(tuple(rows)),) * 1000))
    assert sum(1 for _ in islice(cases(prop), 10)) == 10


def test_what_the_box_leaves_empty_ends_early() -> None:
    """One of 2^40 cases is not empty, and is found."""
    choices = [f"(assert (or (<= X_0 {k}) (>= X_0 {k + 1})))" for k in range(40)]
    looked: list[None] = []
    (case,) = cases(read("(assert (>= X_0 40)) (assert (<= X_0 40))" + "".join(choices)), lambda: looked.append(None))
    assert case.box.lower[0] == case.box.upper[0] == 40
    assert len(looked) < 200


def test_cases_of_one_box_stand_together() -> None:
    found = list(parts(read("(assert (or (<= Y_0 0) (<= Y_1 0)))(assert (or (<= X_0 0) (>= X_0 1)))")))
    assert [len(part.cases) for part in found] == [2, 2]
    assert all(case.box is part.box for part in found for case in part.cases)


def test_parts_may_be_nothing_or_everything() -> None:
    assert list(cases(read("(assert false)"))) == []
    assert list(cases(read("(assert (> 0 1))"))) == []
    (case,) = cases(read("(assert (or false (<= 0 0)))"))
    assert case.rows == ()


@pytest.mark.skipif(PROP_6 is None, reason="the VNN-COMP files are not in ../shared/data/vnncomp")
def test_disjunctions_over_inputs_are_boxes() -> None:
    assert PROP_6 is not None
    found = list(parts(read_vnnlib(PROP_6)))
    assert [len(part.cases) for part in found] == [4, 4]
    assert {part.box.lower[1] for part in found} == {Fraction("0.11140846"), Fraction("-0.499999896")}


def test_an_input_that_equals_another_has_its_ends() -> None:
    text = "(assert (= X_1 X_0)) (assert (= X_2 (+ X_1 X_0 1))) (assert (and (>= X_0 -1) (<= X_0 2)))"
    (case,) = cases(read(text + "(assert (>= Y_0 0))", inputs=3))
    assert case.box.lower == {0: -1, 1: -1, 2: -1}
    assert case.box.upper == {0: 2, 1: 2, 2: 5}


def test_cases_of_one_box_stay_together_where_it_is_implied() -> None:
    text = "(assert (= X_1 X_0)) (assert (and (>= X_0 -1) (<= X_0 2))) (assert (or (>= Y_0 0) (>= Y_1 0)))"
    (part,) = parts(read(text))
    assert len(part.cases) == 2
    assert part.box.upper == {0: 2, 1: 2}


def test_implied_ends_that_contradict_each_other_leave_no_case() -> None:
    text = "(assert (<= X_1 X_0)) (assert (>= X_1 (+ X_0 9))) (assert (and (>= X_0 -1) (<= X_0 2)))"
    assert not list(cases(read(text)))


@pytest.mark.parametrize("longest", [LONGEST, 2])
@pytest.mark.parametrize("seed", range(60))
def test_implied_ends_lose_no_point(seed: int, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.problem.properties.cases.LONGEST", longest)
    rng = np.random.default_rng(3000 + seed)
    point = [Fraction(int(rng.integers(-9, 10)), 4) for _ in range(4)]
    rows = [LinearRow(((0, Fraction(1)),), (), 3 - point[0]), LinearRow(((0, Fraction(-1)),), (), 3 + point[0])]
    for _ in range(8):
        some = rng.choice(4, size=int(rng.integers(2, 4)), replace=False)
        terms = tuple((int(place), Fraction(int(rng.choice([-3, -2, -1, 1, 2])))) for place in some)
        slack = Fraction(int(rng.integers(0, 3)))
        rows.append(LinearRow(terms, (), slack - sum(factor * point[place] for place, factor in terms)))
    (case,) = cases(Property(4, 1, And(tuple(rows))))
    assert inside(case, point, [Fraction(0)], strictly=True)


def looks(rows: list[LinearRow], inputs: int) -> tuple[Conjunction, int]:
    """The only case of the rows, and how many steps it took."""
    steps = count()
    (case,) = cases(Property(inputs, 1, And(tuple(rows))), lambda: next(steps) and None)
    return case, next(steps)


def test_a_chain_of_inputs_costs_what_reading_it_does() -> None:
    size, one = 300, Fraction(1)
    links = [(((k - 1, -one), (k, one)), ((k - 1, one), (k, -one))) for k in range(size - 1, 0, -1)]
    rows = [LinearRow(terms, (), Fraction(0)) for pair in links for terms in pair]
    case, steps = looks([*rows, LinearRow(((0, one),), (), one), LinearRow(((0, -one),), (), one)], size)
    assert set(case.box.lower.values()) == {-1}
    assert set(case.box.upper.values()) == {1}
    assert len(case.box.lower) == len(case.box.upper) == size
    assert steps < 20 * size


def test_a_row_of_many_inputs_is_added_up_once_and_looks_at_the_time() -> None:
    size = 300
    tops = [LinearRow(((k, Fraction(-1)),), (), Fraction(1, k + 1)) for k in range(size)]
    case, steps = looks([*tops, LinearRow(tuple((k, Fraction(1)) for k in range(size)), (), Fraction(5))], size)
    most = sum(Fraction(1, k + 1) for k in range(size))
    assert case.box.lower == {k: -5 - (most - Fraction(1, k + 1)) for k in range(size)}
    assert size <= steps < 3 * size


def test_implied_ends_of_many_digits_are_rounded_outwards() -> None:
    factor, rows = Fraction(10**2000 + 1, 10**2000), []
    for k in range(1, 40):
        rows += [LinearRow(((k - 1, -factor), (k, Fraction(1))), (), Fraction(0))]
        rows += [LinearRow(((k - 1, factor), (k, Fraction(-1))), (), Fraction(0))]
    rows += [LinearRow(((0, Fraction(1)),), (), Fraction(-1)), LinearRow(((0, Fraction(-1)),), (), Fraction(2))]
    (case,) = cases(Property(40, 1, And(tuple(rows))))
    assert len(case.box.lower) == len(case.box.upper) == 40
    for k in range(40):
        assert case.box.lower[k] <= factor**k
        assert 2 * factor**k <= case.box.upper[k] <= Fraction("2.001")
        assert max(end.denominator.bit_length() for end in (case.box.lower[k], case.box.upper[k])) <= LONGEST
