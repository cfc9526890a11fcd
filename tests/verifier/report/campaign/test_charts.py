"""Charts show what their numbers say: read back from the SVG."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from verifier.campaign.analysis.distributions import DistanceEnds, Distribution
from verifier.report.campaign.charts import distribution_chart, histogram_chart

KNOWN = Distribution(
    tuple(
        DistanceEnds.of(*one, 1e-3)
        for one in ((0.0, 0.0), (0.02, 0.02), (0.021, 0.021), (0.05, 0.08), (0.04, math.inf))
    )
)


def test_a_histogram_has_its_bins_as_bars() -> None:
    chart = histogram_chart(KNOWN, "L∞", 0)
    assert chart is not None
    bars = ElementTree.fromstring(chart).findall("rect")
    told = [bar[0].text for bar in bars]
    for each in KNOWN.bins:
        span = f"{each.start:g} to {each.end:g}: "
        assert (f"{span}{each.closed}" in told) == (each.closed > 0)
        assert (f"{span}{each.open} open ones may be here" in told) == (each.open > 0)
    for solid, light in ((one, other) for one in bars for other in bars if one.get("x") == other.get("x")):
        if solid is not light and "may" in str(light.get("class")):  # one stands on the other
            top = float(solid.get("y") or 0)
            assert math.isclose(float(light.get("y") or 0) + float(light.get("height") or 0), top, abs_tol=0.11)


def test_a_distribution_ends_at_the_shares_that_are_known() -> None:
    chart = distribution_chart([(0, KNOWN)], ["a <model>"], "L∞")
    assert chart is not None
    root = ElementTree.fromstring(chart)
    lines = [path for path in root.findall("path") if str(path.get("class")).startswith("line")]
    heights = [re.findall(r"[\d.]+ ([\d.]+)", str(path.get("d"))) for path in lines]
    top, base = 14.0, 230.0
    most, least = ((base - float(found[-1])) / (base - top) for found in heights)
    assert (round(least, 2), round(most, 2)) == (4 / 5, 1.0)
    assert "a &lt;model&gt;" in chart


def test_no_distance_no_chart() -> None:
    nothing = Distribution((DistanceEnds.of(0.0, math.inf, 1e-3), DistanceEnds.of(0.0, 0.0, 1e-3)))
    assert histogram_chart(nothing, "L1", 0) is None
    assert distribution_chart([(0, nothing)], ["a"], "L1") is None
