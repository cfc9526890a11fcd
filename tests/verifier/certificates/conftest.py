"""Questions with their answers, made by enumeration, and certificates for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from encoders.network.exact import exact_outputs
from verifier.certificates.builder import Certified, certified
from verifier.problem.budget import Budget
from verifier.problem.query import Norm, distance_exact
from verifier.runtime.model import Model
from verifier.search.question import InputRegion, Misclassification, Specification, specify


@dataclass(frozen=True, eq=False)
class Case:
    """A question about a random net, and what enumeration says: no adversarial point is closer than `truth`."""

    net: Any
    model: Model
    asked: Specification

    @cached_property
    def truth(self) -> float:
        ball = self.asked.ball
        return min(float(self.net.nearest(ball.norm, ball.centre, goal)) for _, goal in self.asked.goals)

    @property
    def content(self) -> bytes:
        return self.model.path.read_bytes()

    @cached_property
    def point(self) -> np.ndarray | None:
        """An adversarial point of the box, from a grid; not the nearest one."""
        ball = self.asked.ball
        rng = np.random.default_rng(0)
        points = [rng.integers(0, 65, ball.centre.size) / 64 for _ in range(200)]
        found = [x for x in points if self.reached(x)]
        return min(found, key=lambda x: distance_exact(ball.norm, x, ball.centre), default=None)

    def reached(self, x: np.ndarray) -> bool:
        """Is x adversarial, by the engine's exact evaluation?"""
        logits = exact_outputs(self.model.graph, x)
        return any(goal.margin_exact(logits) >= 0 for _, goal in self.asked.goals)

    def certified(self, radius: float, witness: np.ndarray | None = None, float32: float = 0.0) -> Certified:
        return certified(self.asked, radius, witness, Budget(), float32)


@pytest.fixture(scope="session")
def make_case(truth: Any, save_net: Callable[[Any], Model]) -> Callable[..., Case]:
    """make_case(seed, sizes, norm, targeted): a random net, a centre in eighths, its label and perhaps a target."""

    def make(seed: int, sizes: tuple[int, ...], norm: Norm, targeted: bool) -> Case:
        net = truth.net(seed, sizes)
        model = save_net(net)
        centre = np.random.default_rng(seed).integers(0, 9, sizes[0]) / 8
        scores = [float(z) for z in exact_outputs(model.graph, centre)]
        target = int(np.argsort(scores)[-2]) if targeted else None
        box = net.lo, net.hi
        asked = specify(model, InputRegion(centre, norm, box), Misclassification(target), Budget())
        return Case(net, model, asked)

    return make


SHAPES = ((2, 3, 2), (3, 5, 4, 3), (2, 4, 4, 4, 3))


@pytest.fixture(scope="session")
def cases(make_case: Callable[..., Case]) -> list[Case]:
    """Cases of all norms, targeted and not, whose input is not adversarial itself."""
    found = [make_case(seed, SHAPES[seed % len(SHAPES)], norm, seed % 2 == 0) for seed in range(8) for norm in Norm]
    return [case for case in found if case.truth > 1e-3]


@pytest.fixture(scope="session")
def finite_cases(cases: list[Case]) -> list[Case]:
    """Those that have an adversarial point."""
    return [case for case in cases if math.isfinite(case.truth)]


@pytest.fixture(scope="session")
def valid(finite_cases: list[Case]) -> list[tuple[Case, bytes]]:
    """(case, certificate) with witnesses, trees of several leaves, and ends for float32."""
    found = []
    for case in finite_cases:
        radius = 0.98 * case.truth
        made = case.certified(radius, case.point, radius)
        if made.leaves > 1:
            found.append((case, made.content))
    assert len(found) >= 4
    return found
