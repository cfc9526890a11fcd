"""Ranges of outputs against the exact ones by enumeration: proved ends outside, attained values inside."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import verifier
from encoders.network.exact import exact_outputs
from tests.traps.enumeration import Exact, Form, box_corners
from verifier import InputError, Model, OutputRange, OutputRanges
from verifier.problem.budget import Budget
from verifier.search import output_ranges
from verifier.search.settings import Settings

Saved = Callable[..., Model]


def exact_range(layers: Any, lo: list[Fraction], hi: list[Fraction], output: int) -> tuple[Fraction, Fraction]:
    """min and max over the box: affine on each polygon, so at corners of polygons."""
    size = len(lo)
    unit: list[Form] = [(tuple(Fraction(i == j) for j in range(size)), Fraction(0)) for i in range(size)]
    net = Exact(layers, tuple(lo), tuple(hi))
    values = [
        sum((a * b for a, b in zip(forms[output][0], corner, strict=True)), forms[output][1])
        for part, forms in net._regions(0, unit, box_corners(net.lo, net.hi))
        for corner in part
    ]
    return min(values), max(values)


def judged(model: Model, found: OutputRange, truth: tuple[Fraction, Fraction]) -> None:
    """Ends outside, attained values exactly what the network has at their points."""
    assert found.lower <= truth[0] <= Fraction(found.least)
    assert Fraction(found.largest) <= truth[1] <= found.upper
    for point, value, outwards in ((found.least_at, found.least, 1), (found.largest_at, found.largest, -1)):
        assert point.dtype == np.float32
        place = found.output + model.graph.output_size - model.outputs
        exact = exact_outputs(model.network.graph, point.astype(float))[place]
        assert abs(exact - Fraction(value)) <= abs(exact) * Fraction(1, 2**52)
        assert (Fraction(value) - exact) * outwards >= 0


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("precision", [None, 1e-2])
def test_ranges_hold_the_truth(truth: Any, save_net: Saved, inputs: int, outputs: int, precision: float | None) -> None:
    for seed in range(6):
        net, rng = truth.net(seed, (inputs, 5, 4, outputs)), np.random.default_rng(seed)
        ends = np.sort(rng.integers(-8, 9, (2, inputs)), axis=0) / 8
        model = save_net(net)
        answer = verifier.output_ranges(model, (ends[0], ends[1]), precision=precision, seed=seed)
        assert [found.output for found in answer.ranges] == list(range(outputs))
        lo, hi = ([Fraction(end) for end in side] for side in ends.tolist())
        for found in answer.ranges:
            judged(model, found, exact_range(net.layers, lo, hi, found.output))
            assert precision is None or found.gap <= precision
        assert answer.reason == ""
        assert answer.float32


def test_some_outputs_of_a_box_without_a_float32(truth: Any, save_net: Saved) -> None:
    """0.1 in float64 is no float32: what is attained is attained there over the reals."""
    model = save_net(truth.of_layers(([[1.0], [2.0]], [0.0, 0.0])))
    answer = verifier.output_ranges(model, ([0.1], [0.1]), outputs=[1])
    (found,) = answer.ranges
    assert found.output == 1
    assert found.least == found.largest == 0.2
    assert found.lower <= 0.2 <= found.upper
    assert answer.to_dict()["ranges"][0]["least_at"] == [[0.1]]
    assert repr(answer).startswith("<OutputRanges y_1 in [0.19")


def test_float32_is_charged_where_it_is_asked_for(truth: Any, save_net: Saved) -> None:
    """Over the reals y = x; in float32 the sum with 2²⁵ may lose 2."""
    net = truth.of_layers(([[1.0]], [2.0**25]), ([[1.0]], [-(2.0**25)]))
    real, both = (
        verifier.output_ranges(save_net(net), (0.0, 1.0), semantics=semantics).ranges[0]
        for semantics in ("real", "both")
    )
    assert real.upper < 1.1
    assert both.upper >= 2.0


def test_time_that_ends_leaves_what_is_proved(truth: Any, save_net: Saved) -> None:
    net = truth.net(1, (2, 6, 6, 2))
    answer = verifier.output_ranges(save_net(net), (0.0, 1.0), precision=1e-3, timeout=1e-9)
    assert "time limit" in answer.reason
    lo, hi = [Fraction(0)] * 2, [Fraction(1)] * 2
    for found in answer.ranges:
        least, largest = exact_range(net.layers, lo, hi, found.output)
        assert found.lower <= least
        assert largest <= found.upper


@pytest.mark.parametrize("precision", [None, 1e-2])
def test_what_is_known_on_the_way_is_true(
    truth: Any, save_net: Saved, precision: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread is told it when the time is up while the search is stuck."""
    net = truth.net(1, (2, 5, 4, 2))
    model, told, known = save_net(net), list[Callable[[], OutputRanges]](), list[OutputRanges]()
    climbs = output_ranges.uphill

    def stuck(*given: Any) -> Any:
        known.append(told[0]())
        return climbs(*given)

    monkeypatch.setattr(output_ranges, "uphill", stuck)
    output_ranges.output_ranges(model, (0.0, 1.0), Settings(Budget()), None, precision, begun=told.append)
    closed = precision is not None and all(found.gap <= precision for found in known[0].ranges)
    assert ("time limit" in known[0].reason) == (not closed)
    for found in (one for answer in known for one in answer.ranges):
        least, largest = exact_range(net.layers, [Fraction(0)] * 2, [Fraction(1)] * 2, found.output)
        assert found.lower <= least
        assert largest <= found.upper
        assert found.least is None or least <= found.least
        assert (found.least is None) == (found.least_at is None)
    assert known[-1].ranges[0].least is not None


@pytest.mark.parametrize(
    ("told", "given"),
    [
        ("no output 2", {"outputs": [2]}),
        ("no end at entry 1", {"region": ([0, 0], [1, np.inf])}),
        ("empty", {"region": (1, 0)}),
        ("precision", {"precision": 0.0}),
        ("semantics", {"semantics": "exact"}),
    ],
)
def test_what_cannot_be_asked_is_one_line(truth: Any, save_net: Saved, told: str, given: dict[str, Any]) -> None:
    model = save_net(truth.net(1, (2, 3, 2)))
    with pytest.raises(InputError, match=told):
        verifier.output_ranges(model, **{"region": (0.0, 1.0), **given})
