"""Attacks at the ends of float32's range: weights that overflow, subnormal inputs, boxes of one point or of all."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

from encoders.network.graph import Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.network.norm import Norm
from verifier.attacks.base.problem import Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.base.sweep import LARGEST, LEAST, geometric
from verifier.attacks.registry import ATTACKS
from verifier.problem.budget import Budget

SIZE = 2
TINY = float(np.float32(1e-45))
STEP = float(np.nextafter(np.float32(0.5), np.float32(1)))
INPUTS: dict[str, tuple[float, float, float]] = {
    "subnormal": (TINY, 0.0, 1.0),
    "a box of subnormal width": (TINY, 0.0, TINY),
    "a box of one point": (0.5, 0.5, 0.5),
    "a box of one step": (0.5, 0.5, STEP),
    "no box": (0.0, -np.inf, np.inf),
    "half a box": (1e-40, 0.0, np.inf),
    "large": (1e38, -3e38, 3e38),
    "a box beyond float32": (0.5, -1e300, 1e300),
    "large without a box": (1e38, -np.inf, np.inf),
}
SCALES = {"subnormal weights": 1e-40, "huge weights": 1e30, "largest weights": 3e38}


class Looks(Budget):
    """A budget that ends when it has been looked at so often."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    @property
    def remaining(self) -> float:
        self.left -= 1
        return float(max(0, self.left))


def graph(scale: float, bias: float) -> Graph:
    random, builder, last = np.random.default_rng(1), GraphBuilder(SIZE), 0
    for place, (n, m) in enumerate(((SIZE, 4), (4, 3))):
        with np.errstate(over="ignore"):
            weight = (random.standard_normal((m, n)).clip(-1, 1) * scale).astype(np.float32).astype(float)
        source = builder.relu(last) if place else last
        last = builder.affine([(Dense(readonly(weight)), source)], random.standard_normal(m) * bias)
    return builder.graph(last)


@pytest.fixture(scope="module", params=SCALES)
def surrogates(request: Any) -> list[Surrogate]:
    return [Surrogate(graph(SCALES[request.param], bias), "cpu", 1) for bias in (0.0, 1e-40)]


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_breaks(surrogates: list[Surrogate], name: str, norm: Norm) -> None:
    for surrogate, (value, lo, hi) in itertools.product(surrogates, INPUTS.values()):
        cases = [Case(np.full(SIZE, value), 0, target) for target in (None, 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = ATTACKS[name](surrogate, cases, norm, lo, hi, budget=Looks(25))
        for point, distance in zip(found.points, found.distances, strict=True):
            if point is None:
                assert np.isinf(distance)
            else:
                assert np.isfinite(point).all()
                exact = point.astype(np.float64)
                assert ((exact >= lo) & (exact <= hi)).all()
                assert distance >= 0


def test_radii_are_positive_numbers_of_float32_whatever_is_estimated() -> None:
    ends = np.array([0.0, 0.0, 5e-324, 1.0, 1e300, np.inf]), np.array([0.0, 1.0, 1e-300, 2.0, np.inf, np.inf])
    radii = geometric(*ends, 5)
    assert radii.shape == (6, 5)
    assert ((radii >= LEAST * (1 - 1e-9)) & (radii <= LARGEST * (1 + 1e-9))).all()
    assert (np.diff(radii, axis=1) >= -1e-9 * radii[:, 1:]).all()
    np.testing.assert_allclose(radii[3], 2.0 ** np.linspace(0, 1, 5))
