"""The pictures of PERFORMANCE.md: cost by number of ReLUs, from the record of `benchmarks.engine.growth`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.engine import growth
from benchmarks.performance.provenance import measured, rows_of
from verifier.report.campaign.svg import Chart, alone, colour, log_ticks

STYLE = """
:root { --paper: #fff; }
svg.chart { font: 12px sans-serif; fill: #626b79; }
.name { fill: #1c232e; }
.axis, .tick { stroke: #626b79; fill: none; }
.rule { stroke: #e1ded7; fill: none; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.conv { stroke-dasharray: 4 4; }
.dot, .key { fill: currentColor; }
.s0 { color: #0072b2; } .s1 { color: #d55e00; } .s2 { color: #00805f; } .s3 { color: #a8588a; }
"""
"""On white, in the colours of the reports, without variables, which not every viewer of SVG knows."""

ASIDE, KEY = 1.25, 3.0
"""How far beyond the least and the largest value an axis goes; upwards, where the key stands."""

LEAST_SECONDS = 0.01
"""What takes less is drawn there."""

PICTURES: dict[str, tuple[str, Callable[[growth.Row], float]]] = {
    "growth_seconds.svg": ("CPU seconds", lambda row: max(row.cpu_seconds, LEAST_SECONDS)),
    "growth_memory.svg": ("peak memory, GiB", lambda row: row.peak_mib / 1024),
}
"""By file name: what goes up, and its value of a step."""


def pictures() -> dict[str, str]:
    """The content of each picture, by file name beside the records; none without the record."""
    record = measured("growth")
    return (
        {} if record is None else {name: _drawn(rows_of(growth.Row, record), *each) for name, each in PICTURES.items()}
    )


def _drawn(rows: Sequence[growth.Row], title: str, value: Callable[[growth.Row], float]) -> str:
    """A line for each step over dense networks, a dashed one over convolutional ones; both axes are logarithmic."""
    values = [value(row) for row in rows]
    relus = [row.relus for row in rows]
    chart = Chart(
        (min(relus) / ASIDE, max(relus) * ASIDE),
        (min(values) / ASIDE, max(values) * KEY),
        "ReLUs (solid: dense; dashed: convolutional)",
        title,
        f"{title} of each step by the number of ReLUs",
        log=True,
        log_y=True,
    )
    left, top = chart.x[0], chart.y[1]
    for place, step in enumerate(growth.STEPS):
        kind = colour(place)
        for dense in (True, False):
            line = [(row.relus, value(row)) for row in rows if row.step == step and row.dense == dense]
            chart.path(line, f"line {kind}{'' if dense else ' conv'}")
            for point in line:
                chart.dot(point, f"dot {kind}", f"{step}, {point[0]:,} ReLUs: {point[1]:,.3g}", 2.6)
        chart.text((left, top), step, f"key {kind}", shift=(10 + 62 * place, -2))
    return alone(chart.drawn("{:,.0f}".format, _decades(chart.y), _decades(chart.x)), STYLE) + "\n"


def _decades(ends: tuple[float, float]) -> list[float]:
    """Powers of ten within an axis; its own ticks where these are too few."""
    ticks = log_ticks(*ends)
    tens = [tick for tick in ticks if f"{tick:e}".startswith("1.000000")]
    return tens if len(tens) > 1 else ticks


SHOWN = " ".join(f"![{title}](benchmarks/results/{name})" for name, (title, _) in PICTURES.items())
"""The pictures on the page."""
