"""The networks and questions that every attack is tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pytest

from encoders.network.graph import Array, Graph, GraphBuilder, LeakyRelu, frozen, outputs
from encoders.network.linear_maps import Conv, Dense, identity, readonly, select
from verifier.attacks.base.problem import Case
from verifier.attacks.base.search import Surrogate


def _float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def dense_net(sizes: tuple[int, ...], seed: int) -> Graph:
    """A random ReLU network with float32 weights."""
    rng = np.random.default_rng(seed)
    builder, last = GraphBuilder(sizes[0]), 0
    for layer, (n, m) in enumerate(pairwise(sizes)):
        source = builder.relu(last) if layer else last
        weight = _float32(rng.standard_normal((m, n)) / np.sqrt(n))
        last = builder.affine([(Dense(readonly(weight)), source)], _float32(0.3 * rng.standard_normal(m)))
    return builder.graph(last)


def linear_net(weight: np.ndarray, bias: np.ndarray) -> Graph:
    """z = weight · x + bias."""
    builder = GraphBuilder(weight.shape[1])
    return builder.graph(builder.affine([(Dense(readonly(weight)), 0)], bias))


def conv_net(seed: int) -> Graph:
    """6×6 pixels, a convolution, 2×2 max pooling, leaky ReLU with a skip connection, a dense layer: not lowered."""
    rng = np.random.default_rng(seed)
    weight = readonly(_float32(rng.standard_normal((3, 1, 3, 3)) / 3))
    builder = GraphBuilder(36)
    conv = Conv(weight, (6, 6), (1, 1), (1, 1), (1, 1, 1, 1))
    relu = builder.relu(builder.affine([(conv, 0)], np.repeat(_float32(0.1 * rng.standard_normal(3)), 36)))
    places = np.arange(108).reshape(3, 3, 2, 3, 2)
    corners = [builder.affine([(select(places[:, :, i, :, j], 108), relu)]) for i in (0, 1) for j in (0, 1)]
    pooled = builder.max(corners)
    leaky = builder.add(LeakyRelu(pooled, frozen(np.full(27, 0.1))))
    mixed = builder.affine([(identity(27), leaky), (identity(27), pooled)])
    head = Dense(readonly(_float32(rng.standard_normal((4, 27)) / 3)))
    return builder.graph(builder.affine([(head, mixed)], _float32(rng.standard_normal(4))))


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, three points, a box, and by how much a goal has to be reached."""

    name: str
    build: Callable[[], Graph]
    lo: float
    hi: float
    targeted: bool
    margin: float = 0.0

    @cached_property
    def graph(self) -> Graph:
        return self.build()

    @cached_property
    def surrogate(self) -> Surrogate:
        return Surrogate(self.graph, "cpu", 1)

    @cached_property
    def cases(self) -> list[Case]:
        """Three random points; targeted cases aim at the runner-up, so that there is something near to find."""
        rng = np.random.default_rng(5)
        points: Array = rng.random((3, self.graph.input_size)).astype(np.float32)
        order = np.argsort(-outputs(self.graph, points), axis=1)
        return [
            Case(frozen(x), int(row[0]), int(row[1]) if self.targeted else None)
            for x, row in zip(points, order, strict=True)
        ]


SETTINGS = [
    Setting("tiny targeted", lambda: dense_net((4, 6, 6, 3), 1), 0.0, 1.0, True),
    Setting("tiny untargeted in an odd box", lambda: dense_net((4, 6, 6, 3), 3), -0.1, 1.1, False, margin=0.05),
    Setting("tiny without a box", lambda: dense_net((4, 6, 6, 3), 4), -np.inf, np.inf, True, margin=0.05),
    Setting("digits-like targeted", lambda: dense_net((64, 16, 16, 10), 5), 0.0, 1.0, True),
    Setting("digits-like untargeted", lambda: dense_net((64, 16, 16, 10), 6), 0.0, 1.0, False, margin=0.05),
    Setting("convolutional", lambda: conv_net(7), 0.0, 1.0, True, margin=0.05),
]


@pytest.fixture(scope="session", params=SETTINGS, ids=lambda setting: setting.name)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


@pytest.fixture(scope="session")
def digits_like() -> Setting:
    return next(setting for setting in SETTINGS if setting.name == "digits-like targeted")


@pytest.fixture(scope="session")
def linear() -> Callable[[np.ndarray, np.ndarray], Graph]:
    return linear_net
