"""What certificates say of inputs k/K, against all of them in exact arithmetic; what they do not say is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.errors import InputError
from verifier import Columns
from verifier.certificates import checker
from verifier.certificates.builder import Certified
from verifier.certificates.checker import CheckedGrid, CheckedQuery, Demands, InvalidError
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.verdict import Bracket, Holds

from .parts import taken_apart

NORMS = ("linf", "l1", "l2")
TYPES = {"<f2": 5, "<f4": 255, "<f8": 255}
"""Types of inputs, and a grid that each can tell apart."""


def exactly(values: Any) -> list[Fraction]:
    return [Fraction(float(value)) for value in np.ravel(values)]


def amount(norm: str, moved: list[Fraction] | list[int]) -> Any:
    """A distance; in L2 its square."""
    sizes = [abs(each) for each in moved]
    return {"linf": max, "l1": sum, "l2": lambda every: sum(each * each for each in every)}[norm](sizes)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_nearer_in_steps_lies_in_the_ball_whatever_rounding_does(norm: str, dtype: str) -> None:
    rng, per, bits = np.random.default_rng(5), TYPES[dtype], checker.ON_GRID[dtype]
    power, inside = 2 if norm == "l2" else 1, 0
    for _ in range(60):
        at = rng.integers(0, per + 1, 3)
        centre = (at / per).astype(dtype)
        grid = CheckedGrid(CheckedQuery(norm, 0, None, 0.0, centre.astype(float), np.zeros(3), np.ones(3)), dtype, per)
        numbers = rng.integers(0, per + 1, (40, 3))
        numbers[::2, 0] = at[0]
        for k in numbers:
            # Nearly as far from the centre as rounding may put it.
            off = 0.9 * np.sign(k - at) * (k / per) * 2.0**-bits
            point = np.clip(np.where(k == at, centre, (k / per + off).astype(dtype)), 0, 1).astype(dtype)
            pairs = zip(exactly(point), k.tolist(), strict=True)
            if any(abs(x - Fraction(number, per)) * 2**bits > x for x, number in pairs):
                continue
            assert grid.distance(point.astype(float)) == amount(norm, (k - at).tolist())
            real = amount(norm, [a - b for a, b in zip(exactly(point), exactly(centre), strict=True)])
            steps = grid.distance(point.astype(float))
            for share in (0.5, 1 - 1e-9, 1 + 1e-9, 1.3):
                radius = float(grid.long) * steps ** (1 / power) * share
                if steps < grid.steps(radius):
                    inside += 1
                    assert real < Fraction(radius) ** power
    assert inside > 400


def least_of_all(net: Any, norm: str, label: int, centre: np.ndarray, per: int) -> int | None:
    """The distance in steps of the nearest adversarial point of the whole grid, in exact arithmetic."""
    at, found = np.rint(centre.astype(float) * per).astype(int), []
    for k in itertools.product(range(per + 1), repeat=centre.size):
        point = np.where(np.array(k) == at, centre, (np.array(k) / per).astype(np.float32))
        z = exactly(point)
        for place, (weight, bias) in enumerate(net.layers):
            rows = zip(np.asarray(weight), np.ravel(bias), strict=True)
            z = [sum(w * x for w, x in zip(exactly(row), z, strict=True)) + Fraction(float(b)) for row, b in rows]
            z = z if place + 1 == len(net.layers) else [max(each, Fraction(0)) for each in z]
        if max(each for place, each in enumerate(z) if place != label) >= z[label]:
            found.append(amount(norm, (np.array(k) - at).tolist()))
    return min(found, default=None)


def made(model: Any, x: np.ndarray, norm: str, per: int, bracket: Bracket) -> Certified:
    witness = None if bracket.witness is None else bracket.witness.point
    float32 = bracket.float32 or 0.0
    return verifier.certificate(model, x, bracket.lower, witness, norm=norm, float32=float32, columns=Columns(grid=per))


@pytest.mark.parametrize("norm", NORMS)
def test_claims_about_a_grid_are_those_of_all_its_points(truth: Any, save_net: Callable[[Any], Any], norm: str) -> None:
    rng, whole, certain = np.random.default_rng(2), 0, 0
    for seed in range(8):
        per, net = (3, 6, 7)[seed % 3], truth.net(seed, (3, 6, 3))
        model, x = save_net(net), (rng.integers(0, per + 1, 3) / per).astype(np.float32)
        bracket = verifier.minimal(model, x, norm=norm, columns=Columns(grid=per))
        label = model.predict(x)
        least = least_of_all(net, norm, label, x, per)
        if least == 0:
            continue
        assert bracket.lattice is not None
        known = replace(bracket, lower=min(bracket.lower, bracket.lattice.everywhere))
        found = made(model, x, norm, per, known)
        result = checker.judged(found.content, model.path.read_bytes(), Demands(grid=per)).result
        assert isinstance(result, checker.CheckedResult)
        assert result.grid is not None
        proved = result.grid.steps(result.lower)
        assert proved == found.result.grid.steps(found.result.lower) > 0
        assert result.grid.steps(result.float32) <= proved
        assert least is None or proved <= least
        assert (result.steps is None) == (bracket.witness is None)
        if result.steps is not None:
            assert least is not None
            assert result.steps >= least
        certain += 1
        whole += proved == least or (least is None and np.isinf(proved))
        if np.isfinite(proved):
            # One step more is never granted.
            for power in (1, 2) if norm == "l2" else (1,):
                more = ((proved + 1) / per**power) ** (1 / power)
                reason = checker.judged(found.content, model.path.read_bytes(), Demands(grid=per, radius=more)).reason
                assert reason.startswith("the certificate proves less than the radius")
    assert certain > 4
    assert whole >= certain / 2


@pytest.fixture(scope="module")
def digit() -> tuple[Any, np.ndarray, Certified, bytes]:
    """A certificate about sixteenths, with its model."""
    model = verifier.load(verifier.models.path("digits"))
    with np.load(verifier.models.input_file("digits")) as archive:
        x = archive["x"][3]
    bracket = verifier.minimal(model, x, norm="l1", columns=Columns(grid=16))
    return model, x, made(model, x, "l1", 16, bracket), model.path.read_bytes()


def test_grids_that_a_certificate_is_not_about_are_refused(digit: tuple[Any, np.ndarray, Certified, bytes]) -> None:
    _, _, found, content = digit
    assert found.result.grid is not None
    steps = found.result.grid.steps(found.result.lower)
    assert found.result.steps == steps == 7
    for radius, good in ((f"{steps}/16", True), (f"{steps}.01/16", False), (f"{steps + 1}/16", False)):
        for name in ("radius", "float32"):
            given = dict.fromkeys(checker.OPTIONS) | {"grid": "16", name: radius}
            judged = checker.judged(found.content, content, checker.read_demands(given))
            assert judged.valid is good, (name, radius)
    assert not checker.judged(found.content, content, Demands(radius=steps / 16)).valid  # of the ball alone it is less
    for per in (15, 17, 24):
        reason = checker.judged(found.content, content, Demands(grid=per)).reason
        assert reason == f"the input is not on the grid of multiples of 1/{per}"
    # Every sixteenth is a 32nd; of these rounding may have put those of 12 steps outside the ball.
    finer = checker.judged(found.content, content, Demands(grid=32))
    assert "none closer than 12/32, in float32 12/32; one at 14/32" in str(finer)
    assert "too fine" in checker.judged(found.content, content, Demands(grid=1 << 22)).reason


def test_inputs_and_witnesses_beside_the_grid_are_refused(digit: tuple[Any, np.ndarray, Certified, bytes]) -> None:
    model, x, found, content = digit
    real = verifier.minimal(model, x, norm="l1")
    assert real.witness is not None
    beside = verifier.certificate(model, x, real.lower, real.witness.point, norm="l1")
    reason = checker.judged(beside.content, content, Demands(grid=16)).reason
    assert reason == "the witness is not on the grid of multiples of 1/16"
    moved = x.copy()
    moved[..., 0] += np.float32(0.3 / 16)
    off = verifier.certificate(model, moved, 0.01, norm="l1")
    assert "the input is not on the grid" in checker.judged(off.content, content, Demands(grid=16)).reason
    with pytest.raises(InputError, match="no multiple of 1/16"):
        verifier.certificate(model, moved, 0.01, norm="l1", columns=Columns(grid=16))
    parts = taken_apart(found.content)
    size = parts.header["inputs"]
    witness = np.frombuffer(bytes(parts.floats[-4 * size :]), dtype="<f4").copy()
    place = int(np.flatnonzero((witness == x.reshape(-1)) & (witness > 0))[0])
    witness[place] = np.nextafter(witness[place], np.float32(0))
    parts.floats[-4 * size :] = witness.tobytes()
    assert checker.judged(parts.content(), content).valid  # a point of the ball, and adversarial
    reason = checker.judged(parts.content(), content, Demands(grid=16)).reason
    assert reason == "the witness has an entry that rounding alone moved"


def test_a_radius_one_step_too_high_does_not_follow(digit: tuple[Any, np.ndarray, Certified, bytes]) -> None:
    _, _, found, content = digit
    parts = taken_apart(found.content)
    parts.header["radius"] = (7 / 16 * 1.001).hex()
    assert not checker.judged(parts.content(), content, Demands(grid=16)).valid
    parts = taken_apart(found.content)
    parts.header["float32"] = (7 / 16 * 1.001).hex()
    assert not checker.judged(parts.content(), content, Demands(grid=16)).valid


def test_what_holds_on_the_grid_alone_is_not_certified(truth: Any, save_net: Callable[[Any], Any]) -> None:
    """x₀ = ½ alone is adversarial, a quarter from 1/4: no quarter but that; of thirds none."""
    net = truth.of_layers(
        ([[8.0], [8.0], [8.0]], [-3.0, -4.0, -5.0]), ([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]], [0.5, 0.0])
    )
    model, x = save_net(net), np.float32([1 / 3])
    bracket = verifier.minimal(model, x, columns=Columns(grid=3))
    assert bracket.lower == np.inf
    with pytest.raises(NotCertifiedError):
        made(model, x, "linf", 3, bracket)
    assert bracket.lattice is not None
    lower = made(model, x, "linf", 3, replace(bracket, lower=bracket.lattice.everywhere, float32=None)).result.lower
    assert 0 < lower < 1 / 3


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (Columns(integer=(0,)), "a grid without units"),
        (Columns(one_hot=((0, 1),)), "a grid without units"),
        (Columns(grid=1, units=(0.0, 1.0)), "a grid without units"),
    ],
)
def test_other_columns_are_refused_by_name(
    truth: Any, save_net: Callable[[Any], Any], columns: Columns, said: str
) -> None:
    model = save_net(truth.net(0, (2, 4, 2)))
    with pytest.raises(NotCertifiedError, match=said):
        verifier.certificate(model, np.float32([1, 0]), 0.5, columns=columns)


def test_a_grid_needs_ends_and_a_whole_number(tmp_path: Path) -> None:
    query = CheckedQuery("linf", 0, None, 0.0, np.zeros(1), np.zeros(1), np.array([np.inf]))
    with pytest.raises(InvalidError, match="unbounded"):
        CheckedGrid(query, "<f4", 4)
    for text in ("0", "-1", "x", "1.5", "¹", str(1 << 25), "9" * 50):
        with pytest.raises(ValueError, match="--grid"):
            checker.read_demands(dict.fromkeys(checker.OPTIONS) | {"grid": text})


@pytest.mark.parametrize("norm", NORMS)
def test_radii_whose_steps_overflow_are_told_whole(truth: Any, save_net: Callable[[Any], Any], norm: str) -> None:
    """Of a box that holds no adversarial point any radius is proved, and steps are whole numbers beyond float64."""
    net = truth.of_layers(([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), ([[0.1, 0.2], [0.2, 0.1]], [5.0, 0.0]))
    model, x = save_net(net), np.float32([0.2, 0.4])
    for radius in (1e200, 1e308):
        found = verifier.certificate(model, x, radius, norm=norm, columns=Columns(grid=5))
        judged = checker.judged(found.content, model.path.read_bytes(), Demands(grid=5, radius=radius / 2))
        assert judged.valid
        assert isinstance(judged.result, checker.CheckedResult)
        assert json.loads(judged.to_json())["claim"]["grid"]["lower"] == judged.result.grid.steps(found.result.lower)
        assert f"of inputs k/5 none closer than {'√' * (norm == 'l2')}" in str(judged)
        found_check = verifier.check(model, x, radius, norm=norm, columns=Columns(grid=5))
        assert isinstance(found_check.verdict, Holds)
