"""The input stands behind the output, exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from encoders.network.exact import exact_outputs
from encoders.passes.with_inputs import with_inputs


def test_the_input_stands_behind_the_output(truth: Any) -> None:
    net = truth.net(3, (3, 4, 2))
    both, x = with_inputs(net.graph), np.array([0.1, 0.7, 0.3])
    assert exact_outputs(both, x) == [*exact_outputs(net.graph, x), *(Fraction(entry) for entry in x.tolist())]


def test_a_network_without_layers(truth: Any) -> None:
    net = truth.of_layers(([[2.0, 0.0]], [1.0]))
    assert exact_outputs(with_inputs(net.graph), np.array([0.5, 4.0])) == [2, Fraction(1, 2), 4]
