"""The charts of a campaign's report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from verifier.campaign.analysis.attack_quality import Audit
from verifier.campaign.analysis.certified_accuracy import Curve
from verifier.campaign.analysis.defence_comparison import DefenceComparison
from verifier.campaign.analysis.distributions import Distribution
from verifier.campaign.analysis.relu_flips import Switches
from verifier.report.campaign.svg import COLOURS, Chart, colour, steps

ROOM = 1.06
"""How far axes reach beyond the data."""
RATIO_FLOOR = 1.5
"""The axis of ratios reaches at least this far, so that good attacks look good."""
MOST_BARS = 40
LONGEST_AXIS = 1e3
"""The logarithmic axis of distances is no longer than this factor: an end of 1e-9 tells nothing."""
ROW = 40.0
"""Height of one attack's row."""
LANES = 7
"""Places above one another that dots of a row take in turn, so that they do not hide each other."""


def curve_chart(curves: Sequence[Curve], names: Sequence[str], norm: str, places: Mapping[str, int]) -> Markup:
    """The bands of several models under one norm; `places` gives each model its colour."""
    end = ROOM * max((end for curve in curves for end in curve.radii), default=1.0) or 1.0
    most = max(curve.inputs for curve in curves)
    chart = Chart(
        (0, end), (0, most), f"radius ({norm})", "inputs that fall", f"inputs that fall within a radius, {norm}"
    )
    for curve, name in zip(curves, names, strict=True):
        _band(chart, curve.distances, colour(places[curve.group.model]), name)
    return chart.drawn(y_ticks=_whole_ticks(most))


def _band(chart: Chart, distances: Distribution, kind: str, name: str, unit: float = 1.0) -> None:
    """At least and at most how many inputs have their distance within each radius, in parts of `unit`."""
    end = chart.x[1]
    within = [distances.within(radius) for radius in distances.radii]
    least, most = (
        [(x, y / unit) for x, y in steps(distances.radii, [pair[k] for pair in within], end)] for k in (0, 1)
    )
    chart.path([*least, *reversed(most)], f"band {kind}", closed=True)
    chart.path(most, f"line thin {kind}")
    chart.path(least, f"line {kind}")
    chart.parts[-1] = chart.parts[-1].replace("/>", f"><title>{Markup.escape(name)}</title></path>")


def distribution_chart(known: Sequence[tuple[int, Distribution]], names: Sequence[str], norm: str) -> Markup | None:
    """The empirical distributions of several models (place, distances) on a logarithmic axis.

    None where no distance above 0 is known. Ends far below the largest are cut off.
    """
    ends = [end for _, each in known for end in each.radii if end > 0]
    if not ends:
        return None
    high = ROOM * max(ends)
    low = max(min(ends) / ROOM, high / LONGEST_AXIS)
    chart = Chart((low, high), (0, 100), f"minimal distance ({norm})", "inputs, in %",
                  f"distribution of the minimal distances, {norm}", log=True)  # fmt: skip
    for (place, each), name in zip(known, names, strict=True):
        _band(chart, each, colour(place), name, len(each.known) / 100)
    return chart.drawn(y_ticks=[0, 25, 50, 75, 100])


def histogram_chart(distances: Distribution, norm: str, place: int) -> Markup | None:
    """How many inputs have their minimal distance where: closed ones, and above them open ones that may. None: none."""
    bins = distances.bins
    if not bins:
        return None
    most = max(each.closed + each.open for each in bins)
    chart = Chart((0, bins[-1].end), (0, most), f"minimal distance ({norm})", "inputs",
                  f"histogram of the minimal distances, {norm}", height=210)  # fmt: skip
    for each in bins:
        span = f"{each.start:g} to {each.end:g}"
        if each.open:
            told = f"{span}: {each.open} open ones may be here"
            chart.bar((each.start, each.end), each.closed + each.open, f"bar may {colour(place)}", told, each.closed)
        if each.closed:
            chart.bar((each.start, each.end), each.closed, f"bar {colour(place)}", f"{span}: {each.closed}")
    return chart.drawn(y_ticks=_whole_ticks(most))


def claims_chart(curve: Curve, norm: str, place: int) -> tuple[Markup, list[str]]:
    """What attacks alone make believe, over the band of the same inputs; the attacks in the lines' order."""
    claimed = {name: [end for end in ends if math.isfinite(end)] for name, ends in curve.attacks.items()}
    end = ROOM * max((*curve.radii, *(end for ends in claimed.values() for end in ends[:1])), default=1.0) or 1.0
    end = max(end, ROOM * max((_at(ends, 0.9) for ends in claimed.values()), default=0.0))
    chart = Chart(
        (0, end), (0, curve.inputs), f"radius ({norm})", "inputs that fall", "inputs that fall, by each attack"
    )
    fallen = [curve.fallen(radius) for radius in curve.radii]
    least, most = (steps(curve.radii, [pair[k] for pair in fallen], end) for k in (0, 1))
    chart.path([*least, *reversed(most)], f"band {colour(place)}", closed=True)
    chart.path(least, f"line {colour(place)}")
    for order, ends in enumerate(claimed.values()):
        shown = [end_ for end_ in ends if end_ <= end]
        chart.path(steps(shown, range(1, len(shown) + 1), end), f"claim {line_kind(order)}")
    return chart.drawn(y_ticks=_whole_ticks(curve.inputs)), list(claimed)


def line_kind(order: int) -> str:
    """The class of an attack's line: colour and dashes, by its place; they repeat."""
    return f"d{order % COLOURS}"


def _at(ends: Sequence[float], share: float) -> float:
    return sorted(ends)[int(share * (len(ends) - 1))] if ends else 0.0


def _whole_ticks(most: int) -> list[float]:
    step = max(1, math.ceil(most / 5))
    return [float(tick) for tick in range(0, most + 1, step)]


def ratio_chart(audits: Sequence[Audit]) -> Markup:
    """Every attack's distance over the minimum, a dot for each instance; a tick at the median."""
    largest = max((ratio for audit in audits for ratio in audit.ratios), default=1.0)
    high = max(RATIO_FLOOR, largest * ROOM)
    height = ROW * len(audits) + 60
    left = 8.0 + 7.2 * max(len(audit.attack) for audit in audits)
    label = "distance of each attack over the minimum"
    chart = Chart(
        (1.0, high), (0, len(audits)), "attack's distance ÷ minimum", "", label, True, height, max(40.0, left)
    )
    for row, audit in enumerate(reversed(audits)):
        chart.text((1.0, row + 0.5), audit.attack, "name", anchor="end", shift=(-10, 4))
        for place, one in enumerate(audit.measured):
            if math.isfinite(one.ratio):
                at = (one.ratio, row + 0.22 + 0.56 * (place % LANES) / (LANES - 1))
                kind = "dot s1" if one.missed else "dot s0"
                target = "any" if one.result.target is None else one.result.target
                chart.dot(at, kind, f"{one.result.input_name}, {one.result.label} → {target}: × {one.ratio:.3f}", 2.6)
        if audit.median is not None:
            chart.path([(audit.median, row + 0.08), (audit.median, row + 0.92)], "median")
    return chart.drawn(x_text=lambda tick: f"×{tick:g}", y_ticks=[])


def scatter_chart(comparison: DefenceComparison, names: tuple[str, str], norm: str) -> Markup:
    """Each question's two minima: the undefended model across, the defended one up; on the diagonal nothing changed."""
    across = ROOM * max(pair.first.upper for pair in comparison.pairs)
    up = ROOM * max(pair.second.upper for pair in comparison.pairs)
    chart = Chart((0, across), (0, up), f"{names[0]} ({norm})", names[1], "minimal distances on two models")
    reach = min(across, up)
    chart.path([(0, 0), (reach, reach)], "diagonal")
    for pair in comparison.pairs:
        kind = "dot s1" if pair.worse else "dot s0" if pair.better else "dot quiet"
        one = pair.first
        target = "any" if one.target is None else one.target
        chart.dot((one.upper, pair.second.upper), kind, f"{one.input_name}, {one.label} → {target}")
    return chart.drawn()


def switch_chart(switches: Switches, place: int) -> Markup:
    """How many instances have how many switched ReLUs."""
    counts = Counter(switches.totals)
    largest = max(counts)
    width = max(1, math.ceil((largest + 1) / MOST_BARS))
    bins: Counter[int] = Counter()
    for total, number in counts.items():
        bins[total // width] += number
    most = max(bins.values())
    end = width * (largest // width + 1)
    chart = Chart((0, end), (0, most), "ReLUs that switch", "instances", "how many ReLUs switch", height=210)
    for each, number in sorted(bins.items()):
        span = f"{each * width}" if width == 1 else f"{each * width} to {(each + 1) * width - 1}"
        chart.bar((each * width, (each + 1) * width), number, f"bar {colour(place)}", f"{span}: {number}")
    middle = [(tick + 0.5) for tick in range(0, end, max(1, end // 6))] if width == 1 else None
    return chart.drawn(
        x_text=lambda tick: f"{int(tick)}" if width == 1 else f"{tick:g}", x_ticks=middle, y_ticks=_whole_ticks(most)
    )
