"""The checker's forms over the input: digits, what is rounded off, and the region's least value, against fractions."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from tests.verifier.certificates.nets import f, model_of, whole
from tests.verifier.certificates.parts import case_proof
from verifier.certificates import checker
from verifier.certificates.checker import HELD_BITS, CheckedQuery, Floored, Limbs, NetworkStep, Region, Weights, held


def integers(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    values = [int(rng.integers(-(1 << 62), 1 << 62)) >> int(rng.integers(0, 62)) for _ in range(math.prod(shape))]
    found = np.empty(shape, dtype=object)
    found.reshape(-1)[:] = [value << int(rng.integers(0, max(1, bits))) for value in values]
    return found


def limbs_of(values: np.ndarray, bits: int, parts: int) -> Limbs:
    """Carries are left on purpose: all parts but the last hold more than `bits` bits."""
    rest, found = values, []
    for _ in range(parts):
        found.append(((rest & ((1 << bits) - 1)) + (3 << bits)).astype(np.int64))
        rest = (rest >> bits) - 3
    return Limbs([*found, rest.astype(np.int64)], bits)


@pytest.mark.parametrize("bits", [18, 21, 26])
def test_limbs_are_rounded_as_the_integers_that_they_are(bits: int) -> None:
    rng = np.random.default_rng(bits)
    values = integers(rng, (12, 7), 40)
    values[0], values[1], values[2, :] = 0, -1, -(1 << 70)
    parts = limbs_of(values, bits, 5)
    whole = parts.whole()
    assert np.array_equal(whole, values)
    own, shift = parts.held()
    other, spare = held(whole)
    assert np.array_equal(own, other)
    assert np.array_equal(shift, spare)
    rest = whole - (own.astype(object) << shift[:, np.newaxis])
    assert np.all(rest >= 0)
    assert np.all(rest < (1 << shift)[:, np.newaxis])
    assert max(int(abs(own).max()), 1).bit_length() <= HELD_BITS + 1
    alone = [held(row[np.newaxis]) for row in whole]
    assert all(np.array_equal(v[0], own[k]) and s[0] == shift[k] for k, (v, s) in enumerate(alone))


def test_products_are_exact_and_may_be_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(2, 3, 4)).astype(np.float32).astype(np.float64)
    rows = integers(rng, (5, 2, 2, 3), 90)
    weights = Weights(stack)
    made = weights.product(rows, back=False).whole()
    exactly = np.array([[Fraction(float(w)) * weights.den for w in row] for row in stack.reshape(-1, 4)], dtype=object)
    for b, g, left, n in product(range(5), range(2), range(2), range(4)):
        wanted = sum(rows[b, g, left, k] * exactly[3 * g + k, n] for k in range(3))
        assert made[b, (g * 2 + left) * 4 + n] == wanted
    rows[0] >>= 60
    made = weights.product(rows, back=False).whole()
    monkeypatch.setattr(checker, "MOST_DIGITS", 300)
    assert np.array_equal(weights.product(rows, back=False).whole(), made)


def query(norm: str, n: int, rng: np.random.Generator) -> CheckedQuery:
    centre = rng.uniform(0, 1, n).astype(np.float32).astype(np.float64)
    return CheckedQuery(norm, 0, 1, 0.0, centre, np.zeros(n), np.where(rng.random(n) < 0.2, centre, 1.0))


def least(query: CheckedQuery, row: list[Fraction], radius: float) -> Fraction:
    """The minimum of row · x over the ball and the box: each entry as far as it may; in L1 the steepest first."""
    centre = [Fraction(c) for c in query.centre.tolist()]
    room = [
        c - Fraction(lo) if g > 0 else Fraction(hi) - c
        for g, c, lo, hi in zip(row, centre, query.lo.tolist(), query.hi.tolist(), strict=True)
    ]
    left, fall = Fraction(radius), Fraction(0)
    for g, space in sorted(zip(row, room, strict=True), key=lambda pair: -abs(pair[0])):
        step = min(space, Fraction(radius) if query.norm == "linf" else left)
        fall, left = fall + abs(g) * step, left - (step if query.norm == "l1" else 0)
    return sum((g * c for g, c in zip(row, centre, strict=True)), Fraction(0)) - fall


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("n", [1, 9, 100])
def test_the_least_value_is_the_minimum_less_what_is_rounded_off(norm: str, n: int) -> None:
    rng = np.random.default_rng(n)
    asked, radius = query(norm, n, rng), 0.07 if norm == "linf" else 1.3
    region = Region(asked, radius)
    rows = integers(rng, (20, n), 60)
    rows[0] = 0
    found, den = region.least(*held(rows), 7)
    for row, value in zip(rows, found, strict=True):
        exactly = least(asked, [Fraction(int(entry), 7) for entry in row], radius)
        lost = exactly - Fraction(int(value), den)
        assert 0 <= lost <= Fraction(4 * n * int(abs(row).max()), 7) / (1 << HELD_BITS - 1)


def test_small_numbers_lose_nothing() -> None:
    asked = CheckedQuery("linf", 0, 1, 0.0, np.array([0.5, 0.25]), np.zeros(2), np.ones(2))
    value, den = Region(asked, 0.125).least(*held(np.array([[3, -1]], dtype=object)), 1)
    assert Fraction(int(value[0]), den) == Fraction(3 * 3 - 3, 8)


def test_what_is_moved_goes_back_to_where_it_came_from() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        size, index = 7, rng.integers(-1, 6, 25)
        step = NetworkStep("move", ("x",), "y", index=index)
        rows = integers(rng, (3, 25), 70)
        wanted = np.zeros((3, size), dtype=object)
        for place, source in enumerate(index):
            if source >= 0:
                wanted[:, source] += rows[:, place]
        assert np.array_equal(checker.scattered(step, size, rows, 1)[0], wanted)
        found = checker.scattered(step, size, limbs_of(rows, 20, 6), 1)[0]
        assert isinstance(found, Limbs)
        assert np.array_equal(found.whole(), wanted)


@pytest.mark.parametrize("bits", [13, 21, 26])
def test_sums_in_limbs_are_those_of_the_integers(bits: int) -> None:
    """Of what products give, in limbs of any length, and of rows in a word; longer sums are of Python integers."""
    rng, kept = np.random.default_rng(bits), 0
    for _ in range(60):
        own, parts = int(rng.integers(13, 27)), int(rng.integers(1, 6))
        word = np.clip(integers(rng, (3, 7), 2) >> int(rng.integers(8, 64)), -(1 << 62), 1 << 62).astype(np.int64)
        values = [limbs_of(integers(rng, (3, 7), 40), bits, 5), word, limbs_of(integers(rng, (3, 7), 9), own, parts)]
        below = [1 << int(rng.integers(0, 120)) for _ in values]
        chosen = [(values[place], below[place]) for place in (0, int(rng.integers(1, 3)))]
        found, den = checker.united(chosen[:: int(rng.choice([-1, 1]))])
        kept += isinstance(found, Limbs)
        wanted, common = checker.total(chosen)
        whole, _ = checker.whole_row((found, den))
        assert den == common
        assert np.array_equal(whole, wanted)
    assert kept > 15
    huge, one = np.full((2, 3), (1 << 62) - 1), limbs_of(np.full((2, 3), 5, dtype=object), bits, 2)
    for given in ([(huge, 1), (one, 1)], [(huge, 1), (huge, 4)], [(one, 1), (one, 3)], [(one, 1), (one, 1 << 600)]):
        found, den = checker.united(given)
        assert not isinstance(found, Limbs)
        assert np.array_equal(found, checker.total(given)[0])
        assert den == checker.total(given)[1]


@pytest.mark.parametrize("name", ["conv", "groups", "batch_norm"])
def test_intervals_of_one_product_are_what_its_rows_are_in_the_box(name: str) -> None:
    """In a ball that is a box they are the rows' exact ends, for float32 less what that is off by."""
    net = checker.read_network(whole(name).SerializeToString(), None)
    rng = np.random.default_rng(2)
    centre = rng.uniform(-1, 1, 72).astype(np.float32).astype(np.float64)
    asked = CheckedQuery("linf", 0, 1, 0.0, centre, centre - 1.0, np.where(rng.random(72) < 0.3, centre, 1.0))
    proof, charged = (checker.Proof(net, asked, 0.125, 20, float32) for float32 in (0.0, 0.125))
    assert checker.Proof(net, replace(asked, norm="l1"), 0.125, 20).interval(0) is None
    found = proof.interval(0)
    assert found is not None
    size = net.size(net.arguments[0])
    every, signs = np.arange(size), np.where(rng.random(size) < 0.5, 1, -1)
    value, den = proof.ends(0, every, signs)
    below, under = charged.ends(0, every, signs)
    assert charged.rounding is not None
    off = charged.rounding.error(net.arguments[0])[0]
    low, high = np.maximum(asked.lo, centre - 0.125), np.minimum(asked.hi, centre + 0.125)
    rows = np.diag(signs).astype(object)
    forms, common, terms = net.backward(net.arguments[0], rows, 1, lambda *_: (None, 1, (np.zeros(size), 1)))
    form, own = checker.whole_row((forms, common)) if forms is not None else (np.zeros((size, 72)), 1)
    constant, below_constant = checker.summed(terms, size)
    for k in range(0, size, 5):
        parts = [
            Fraction(int(g), own) * Fraction(a if g > 0 else b)
            for g, a, b in zip(form[k], low.tolist(), high.tolist(), strict=True)
        ]
        exactly = sum(parts, Fraction(int(constant[k]), below_constant))
        assert Fraction(int(value[k]), den) == exactly
        assert Fraction(int(below[k]), under) == exactly - Fraction(int(off[k]), 1 << checker.ERROR_BITS)


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Identity"])
def test_nothing_behind_an_activation_or_two_products_is_bounded_by_intervals(op: str) -> None:
    rng = np.random.default_rng(4)
    nodes = [
        ("Gemm", ["x", "w"], "a", {}),
        (op, ["a"], "r", {}),
        ("Gemm", ["r", "v"], "b", {}),
        ("Relu", ["b"], "y", {}),
    ]
    net = checker.read_network(
        model_of(nodes, [1, 4], {"w": f(rng, 4, 5), "v": f(rng, 5, 3)}).SerializeToString(), None
    )
    straight = [net.straight(name) is not None for name in net.arguments]
    assert straight == ([False] if op == "Identity" else [True, False])


@pytest.mark.parametrize("rest", [False, True])
def test_products_of_sparse_maps_are_bounds_as_others_are(rest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random((64, 40)) < 0.02, integers(rng, (64, 40), 30 if rest else 1), 0)
    if not rest:
        values = np.sign(values)
    values[:, 7], values[3, 8] = 0, 5
    rows = rng.integers(-(1 << 20), 1 << 20, (9, 64)).astype(np.float64)
    monkeypatch.setattr(checker, "SPARSE", 4)
    made = Floored.of(values, 3 if rest else 1, 20)
    assert made.sparse is not None
    assert bool(made.rest) == rest
    found = made.product(rows)
    monkeypatch.setattr(checker, "SPARSE", 1 << 20)
    other = Floored.of(values, 3 if rest else 1, 20)
    assert other.sparse is None
    dense = other.product(rows)
    exactly = rows.astype(int).astype(object) @ values * Fraction(2) ** made.power / (3 if rest else 1)
    assert np.all(found <= exactly)
    assert np.all(dense <= found)
    assert np.all(found >= exactly - 64 - 2)
    assert rest or np.array_equal(found, exactly)


def test_what_a_sparse_map_rounds_to_0_is_not_forgotten() -> None:
    """−1 · 2⁻⁹⁰ is below 0, whatever is the size of other entries."""
    values = np.zeros((64, 40), dtype=object)
    values[0, 0], values[1, 1], values[2, 2] = 1 << 90, 1, -1
    made = Floored.of(values, 1 << 90, 20)
    assert made.sparse is not None
    rows = np.zeros((2, 64))
    rows[0, 1], rows[1, 2] = -1.0, 1.0
    found = made.product(rows)
    assert found[0, 1] < 0
    assert found[1, 2] < 0
    assert np.count_nonzero(found) == 2


def test_maps_that_halve_boxes_are_refused_where_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    net = checker.read_network(whole("conv").SerializeToString(), None)
    text = "".join(f"(declare-const X_{i} Real)" for i in range(72)) + "".join(
        f"(declare-const Y_{i} Real)" for i in range(3)
    )
    text += "(assert (>= Y_0 1))" + "".join(f"(assert (<= X_{i} 1))(assert (>= X_{i} 0))" for i in range(72))
    (case,) = checker.property_cases(checker.PropertyText(text.encode()))
    wide = max(net.size(name) for name in net.shapes)
    for most, fits in ((wide * 72, True), (wide * 72 - 1, False)):
        monkeypatch.setattr(checker, "MOST_DENSE", most)
        proof = case_proof(net, case, 40)
        if fits:
            proof.in_boxes()
            assert proof.work >= 72 * net.entries
        else:
            with pytest.raises(checker.InvalidError, match="smaller networks"):
                proof.in_boxes()


def relus_on_the_input(count: int) -> checker.CheckedNetwork:
    """`count` layers that read all of the input, and their sum."""
    rng = np.random.default_rng(6)
    net = checker.CheckedNetwork(input="x", shapes={"x": (4,)})
    made = [net.multiply("x", f"t{k}", f(rng, 1, 4, 4).astype(float), (4,)) for k in range(count)]
    net.output = net.scores = net.sum([net.relu(name, f"r{k}") for k, name in enumerate(made)], "y")
    return net


def test_maps_of_the_input_count_where_maps_may_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    net, case = relus_on_the_input(4), checker.PropertyCase(np.zeros(4), np.ones(4), [{("Y", 0): Fraction(1)}])
    for most, fits in ((64, True), (63, False)):
        monkeypatch.setattr(checker, "MOST_DENSE", most)
        proof = case_proof(net, case, 40)
        if fits:
            proof.in_boxes()
        else:
            with pytest.raises(checker.InvalidError, match="smaller networks only"):
                proof.in_boxes()


def test_whether_a_layer_has_intervals_is_found_without_a_walk_through_all_steps() -> None:
    """A token that asks for no bound has that found of each layer: of 1,000 it took 0.1 s, and was counted as 1 ms."""
    net = checker.CheckedNetwork(input="x", shapes={"x": (1,)})
    last = "x"
    for place in range(300):
        last = net.relu(net.scale(last, f"s{place}", 2.0), f"r{place}")
    steps, read = net.steps, []

    class Noted(list):  # type: ignore[type-arg]
        def __iter__(self):  # type: ignore[no-untyped-def]
            read.append(len(self))
            return super().__iter__()

    net.steps = Noted(steps)
    found = [net.straight(name) for name in net.arguments]
    assert found == [steps[:1], *[None] * 299]
    assert read == [600]


def test_a_sparse_map_with_a_full_column_is_multiplied_as_dense_ones_are() -> None:
    """Entry by entry it takes a round for each of that column's: 2,048 took as long as seven dense products."""
    values = np.zeros((64, 64), dtype=object)
    values[:16, 0] = 1
    assert Floored.of(values, 1, 20).sparse is not None
    values[16, 0] = 1
    assert Floored.of(values, 1, 20).sparse is None
