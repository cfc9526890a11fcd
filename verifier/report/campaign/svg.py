"""Charts as inline SVG: axes, bands, dots, bars. Colours are classes (s0 … s5), so that the page's style decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from verifier.problem.quantities import round_step

WIDTH, HEIGHT = 460.0, 270.0
"""Of a chart, in units that are about a pixel: small enough that a phone shows its text legibly."""
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 14.0, 40.0
MARGIN = 8.0
"""Around a chart that is a file of its own."""
COLOURS = 6
NARROW = 2.0
"""A logarithmic axis whose ends are less than this factor apart looks like a linear one, and gets its ticks."""

Point = tuple[float, float]


def colour(place: int) -> str:
    """The class of the series at that place; they repeat."""
    return f"s{place % COLOURS}"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) within [low, high], about so many.

    >>> ticks(0.0, 0.11)
    [0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    """
    if not high > low:
        return [low]
    step = float(round_step((high - low) / about))
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: some of each decade, evenly spaced ones in much less than a decade."""
    if high / low < NARROW:
        return [tick for tick in ticks(low, high) if tick >= low]
    factors = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if high / low < 10 else (1.0, 2.0, 5.0)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]


def _share(value: float, ends: tuple[float, float], log: bool) -> float:
    """How far along an axis a value is, within its ends: 0 to 1."""
    low, high = ends
    value = min(max(value, low), high)
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


@dataclass
class Chart:
    """A frame with two axes; what is drawn comes in data coordinates. label: what a screen reader says.

    log, log_y: whether the axes are logarithmic.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    x_title: str
    y_title: str
    label: str
    log: bool = False
    height: float = HEIGHT
    left: float = LEFT
    log_y: bool = False
    parts: list[str] = field(default_factory=list)

    def across(self, value: float) -> float:
        """The place of an x value, within the frame."""
        return self.left + _share(value, self.x, self.log) * (WIDTH - self.left - RIGHT)

    def up(self, value: float) -> float:
        """The place of a y value."""
        return self.height - BOTTOM - _share(value, self.y, self.log_y) * (self.height - BOTTOM - TOP)

    def path(self, points: Iterable[Point], kind: str, *, closed: bool = False) -> None:
        """A line, or with `closed` an area."""
        places = [f"{self.across(x):.1f} {self.up(y):.1f}" for x, y in points]
        if places:
            self.parts.append(f'<path class="{kind}" d="M{"L".join(places)}{"Z" if closed else ""}"/>')

    def dot(self, point: Point, kind: str, title: str = "", radius: float = 3.0) -> None:
        """A point with a title that shows on hover."""
        inside = f"<title>{escape(title)}</title>" if title else ""
        place = f'cx="{self.across(point[0]):.1f}" cy="{self.up(point[1]):.1f}"'
        self.parts.append(f'<circle class="{kind}" {place} r="{radius:g}">{inside}</circle>')

    def bar(self, x: tuple[float, float], top: float, kind: str, title: str = "", base: float | None = None) -> None:
        """A bar from the axis, or from `base`, up to `top`."""
        left, right, high = self.across(x[0]), self.across(x[1]), self.up(top)
        low = self.up(self.y[0] if base is None else base)
        size = f'width="{max(0.5, right - left - 1):.1f}" height="{low - high:.1f}"'
        self.parts.append(
            f'<rect class="{kind}" x="{left + 0.5:.1f}" y="{high:.1f}" {size}><title>{escape(title)}</title></rect>'
        )

    def text(self, point: Point, words: str, kind: str = "", *, anchor: str = "start", shift: Point = (0, 0)) -> None:
        """Words at a point, moved by `shift` units."""
        place = f'x="{self.across(point[0]) + shift[0]:.1f}" y="{self.up(point[1]) + shift[1]:.1f}"'
        self.parts.append(f'<text class="{kind}" {place} text-anchor="{anchor}">{escape(words)}</text>')

    def drawn(
        self,
        x_text: Callable[[float], str] = "{:g}".format,
        y_ticks: Sequence[float] | None = None,
        x_ticks: Sequence[float] | None = None,
    ) -> Markup:
        """The whole as an <svg> element."""
        base, end = self.height - BOTTOM, WIDTH - RIGHT
        frame = []
        across = x_ticks if x_ticks is not None else (log_ticks if self.log else ticks)(*self.x)
        for tick in across:
            place = self.across(tick)
            frame.append(f'<path class="tick" d="M{place:.1f} {base}v4"/>')
            frame.append(f'<text x="{place:.1f}" y="{base + 16}" text-anchor="middle">{escape(x_text(tick))}</text>')
        up = y_ticks if y_ticks is not None else log_ticks(*self.y) if self.log_y else ticks(*self.y, about=4)
        for tick in up:
            place = self.up(tick)
            frame.append(f'<path class="rule" d="M{self.left} {place:.1f}H{end}"/>')
            frame.append(f'<text x="{self.left - 6}" y="{place + 4:.1f}" text-anchor="end">{tick:g}</text>')
        frame.append(f'<path class="axis" d="M{self.left} {base}H{end}"/>')
        middle = (self.left + end) / 2
        frame.append(
            f'<text class="name" x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(self.x_title)}</text>'
        )
        if self.y_title:
            turned = f'transform="translate(11 {(TOP + base) / 2}) rotate(-90)"'
            frame.append(f'<text class="name" {turned} text-anchor="middle">{escape(self.y_title)}</text>')
        head = (
            f'<svg class="chart" viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" aria-label="{escape(self.label)}">'
        )
        return Markup(head + "".join(frame) + "".join(self.parts) + "</svg>")


def alone(chart: Markup, style: str) -> str:
    """A chart as a file of its own, on paper, in the colours of a page's style."""
    head, _, rest = str(chart).partition(">")
    height = float(head.partition('viewBox="0 0 ')[2].partition('"')[0].split()[1])
    wide, high = WIDTH + 2 * MARGIN, height + 2 * MARGIN
    head = head.replace(f"0 0 {WIDTH:g} {height:g}", f"{-MARGIN:g} {-MARGIN:g} {wide:g} {high:g}")
    size = f'xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{high:g}"'
    return f"{head} {size}><style><![CDATA[{style}svg {{ background: var(--paper); }}]]></style>{rest}"


def steps(radii: Sequence[float], counts: Sequence[int], end: float) -> list[Point]:
    """A step function that takes counts[k] from radii[k] on, up to `end`, as a line from (0, 0)."""
    line, last = [(0.0, 0.0)], 0
    for radius, count in zip(radii, counts, strict=True):
        line += [(radius, float(last)), (radius, float(count))]
        last = count
    return [*line, (end, float(last))]
