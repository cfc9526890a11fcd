"""Pictures of adversarial examples: original, adversarial, difference; or one column a target.

Drawn with matplotlib's object interface on its Agg canvas: no display, no global state. matplotlib is imported when a
picture is drawn, since that takes longer than many a proof.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.files.array_files import AnyArray
from verifier.problem.inputs.image_layout import RGB, ImageLayout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BEFORE, AFTER = "#1b1f24", "#5f6b7a", "#3d4c63", "#c8452f"
DIVERGING = "RdBu_r"
DPI = 160
SIDE = 2.9
"""Inches of the side of a square panel."""
COLUMNS = 5
"""Targets in one band of the grid."""
MOST_CELLS = 24
"""Targets that a grid shows; the nearest come first."""
MOST_MARKS = 120
"""Entries that still get a mark each; longer vectors are drawn as lines."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What all panels share: the input x (n,), its layout (None: no image), and the values that are black and white."""

    original: AnyArray
    layout: ImageLayout | None
    span: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Cell:
    """One target of the grid: its caption, and the adversarial point (n,) or None."""

    caption: str
    point: AnyArray | None


def span_of(lo: AnyArray, hi: AnyArray, *points: AnyArray) -> tuple[float, float]:
    """The values shown as black and white: the box's where it is one finite interval, else the data's."""
    low, high = float(np.min(lo)), float(np.max(hi))
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = (float(edge([edge(point) for point in points])) for edge in (np.min, np.max))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def triptych(scene: Scene, adversarial: AnyArray, title: str, note: str, captions: tuple[str, str]) -> bytes:
    """A PNG: original, adversarial and their difference with its scale; `captions` stand over the first two."""
    if scene.layout is None:
        return _png(_vector_figure(scene, adversarial, title, note, captions))
    wide = scene.layout.width / scene.layout.height
    panel = SIDE * min(max(wide, 0.6), 1.6)
    height = min(SIDE, panel / wide) + 1.4
    figure = _figure(3 * panel + 1.05, height)
    canvas = figure.add_gridspec(
        1, 4, width_ratios=(1, 1, 1, 0.05), left=0.03, right=0.93, top=1 - 1.2 / height, bottom=0.05, wspace=0.1
    )
    change = np.asarray(adversarial, dtype=np.float64) - np.asarray(scene.original, dtype=np.float64)
    limit = _limit(change)
    panels = [figure.add_subplot(canvas[0, place]) for place in range(3)]
    _show(panels[0], scene, scene.original)
    _show(panels[1], scene, adversarial)
    scale = _show_change(panels[2], scene.layout, change, limit)
    changed = int(np.count_nonzero(change))
    for axes, caption in zip(
        panels, (*captions, f"difference\n{changed} of {change.size} entries changed"), strict=True
    ):
        axes.set_title(caption, fontsize=10, color=INK, pad=7)
    _colour_scale(figure, scale, figure.add_subplot(canvas[0, 3]), panels[2])
    _head(figure, title, note)
    return _png(figure)


def grid(scene: Scene, cells: Sequence[Cell], title: str, note: str) -> bytes:
    """A PNG with one column a target: its adversarial example over the difference, on one common colour scale."""
    shown = cells[:MOST_CELLS]
    if len(cells) > len(shown):
        note = f"{note}; the first {len(shown)} of {len(cells)} targets"
    if scene.layout is None:
        return _png(_vector_grid(scene, shown, title, note))
    points = [cell.point for cell in shown if cell.point is not None]
    limit = max((_limit(point - scene.original) for point in points), default=1.0)
    columns = min(COLUMNS, len(shown) + 1)
    bands = math.ceil((len(shown) + 1) / columns)
    height = bands * 3.95 + 0.95
    figure = _figure(columns * 1.75 + 0.9, height)
    outer = figure.add_gridspec(
        bands, 1, left=0.02, right=1 - 0.85 / (columns * 1.75 + 0.9), top=1 - 1.35 / height, bottom=0.02, hspace=0.2
    )
    scale = None
    for place in range(len(shown) + 1):
        inner = outer[place // columns].subgridspec(2, columns, hspace=0.05, wspace=0.08)
        above, below = (figure.add_subplot(inner[row, place % columns]) for row in range(2))
        _bare(below)
        if place == 0:
            _show(above, scene, scene.original)
            above.set_title("original", fontsize=9, color=INK)
            below.text(0.5, 0.5, "difference to\nthe original", ha="center", va="center", fontsize=8.5, color=QUIET)
            continue
        cell = shown[place - 1]
        above.set_title(cell.caption, fontsize=9, color=INK)
        if cell.point is None:
            _bare(above)
            above.text(0.5, 0.5, "none", ha="center", va="center", fontsize=11, color=QUIET)
            continue
        _show(above, scene, cell.point)
        scale = _show_change(below, scene.layout, cell.point - scene.original, limit)
    if scale is not None:
        width = columns * 1.75 + 0.9
        _colour_scale(figure, scale, figure.add_axes((1 - 0.72 / width, 0.12, 0.14 / width, 0.6)), None)
    _head(figure, title, note)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its font cache must not speak on stderr
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415, slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _head(figure: Figure, title: str, note: str) -> None:
    inch = 1 / figure.get_figheight()
    left = 0.25 / figure.get_figwidth()
    figure.text(left, 1 - 0.3 * inch, title, fontsize=13, fontweight="bold", color=INK, va="center")
    figure.text(left, 1 - 0.6 * inch, note, fontsize=9.5, color=QUIET, va="center")


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _framed(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#c9d1d9")
        spine.set_linewidth(0.8)


def _limit(change: AnyArray) -> float:
    """The largest change, never 0: the end of the diverging scale."""
    return float(np.abs(change).max(initial=0.0)) or 1.0


def _show(axes: Axes, scene: Scene, point: AnyArray) -> None:
    assert scene.layout is not None
    image = scene.layout.to_image(np.asarray(point, dtype=np.float64))
    low, high = scene.span
    if scene.layout.channels == RGB:
        axes.imshow(np.clip((image - low) / (high - low), 0, 1), interpolation="nearest")
    else:
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    _framed(axes)


def _show_change(axes: Axes, layout: ImageLayout, change: AnyArray, limit: float) -> Any:
    """The signed change; of three channels the one that changes most at each pixel. Returns what a scale is made of."""
    image = layout.to_image(change)
    if layout.channels == RGB:
        strongest = np.abs(image).argmax(axis=-1)[..., None]
        image = np.take_along_axis(image, strongest, axis=-1)[..., 0]
    shown = axes.imshow(image, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    _framed(axes)
    return shown


def _colour_scale(figure: Figure, shown: Any, place: Axes, beside: Axes | None) -> None:
    """The scale of the differences in `place`, made as tall as the panel `beside` it."""
    if beside is not None:
        figure.draw_without_rendering()
        panel, own = beside.get_position(), place.get_position()
        place.set_position((panel.x1 + 0.012, panel.y0, own.width, panel.height))
    limit = float(shown.norm.vmax)
    bar = figure.colorbar(shown, cax=place, ticks=[-limit, -limit / 2, 0, limit / 2, limit])
    bar.ax.set_yticklabels([f"{tick:+.2g}" if tick else "0" for tick in (-limit, -limit / 2, 0, limit / 2, limit)])
    bar.ax.tick_params(labelsize=8, color=QUIET, labelcolor=INK, length=2.5)
    bar.outline.set_edgecolor("#c9d1d9")


def _vector_figure(scene: Scene, adversarial: AnyArray, title: str, note: str, captions: tuple[str, str]) -> Figure:
    figure = _figure(max(7.0, min(12.0, 0.12 * scene.original.size + 4)), 5.2)
    canvas = figure.add_gridspec(2, 1, height_ratios=(3, 2), left=0.1, right=0.975, top=0.75, bottom=0.1, hspace=0.12)
    values, changes = figure.add_subplot(canvas[0]), figure.add_subplot(canvas[1])
    entries = np.arange(scene.original.size)
    marked = entries.size <= MOST_MARKS
    for point, caption, colour, mark in (
        (scene.original, captions[0], BEFORE, "o"),
        (adversarial, captions[1], AFTER, "D"),
    ):
        name = caption.replace("\n", ", ")
        if marked:
            values.plot(entries, point, mark, color=colour, markersize=5, alpha=0.85, label=name, linestyle="none")
        else:
            values.plot(entries, point, color=colour, linewidth=0.9, alpha=0.85, label=name)
    if marked:
        values.vlines(entries, scene.original, adversarial, color=QUIET, linewidth=1, zorder=0)
    values.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    values.set_ylabel("value", color=INK, fontsize=9)
    values.tick_params(labelbottom=False)
    _bars(changes, adversarial - scene.original, _limit(adversarial - scene.original))
    changes.set_ylabel("difference", color=INK, fontsize=9)
    changes.set_xlabel("input entry", color=INK, fontsize=9)
    for axes in (values, changes):
        _plain(axes, entries.size)
    figure.align_ylabels()
    _head(figure, title, note)
    return figure


def _bars(axes: Axes, change: AnyArray, limit: float) -> None:
    colours = [AFTER if value > 0 else "#2f6fb3" for value in change]
    axes.bar(np.arange(change.size), change, color=colours, width=0.8)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.set_ylim(-1.12 * limit, 1.12 * limit)


def _plain(axes: Axes, size: int) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415, slow to import

    axes.set_xlim(-0.8, size - 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8, color=QUIET, labelcolor=INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color("#c9d1d9")


def _vector_grid(scene: Scene, cells: Sequence[Cell], title: str, note: str) -> Figure:
    height = 1.25 * len(cells) + 1.4
    figure = _figure(8.0, height)
    canvas = figure.add_gridspec(
        len(cells), 1, left=0.24, right=0.975, top=1 - 0.9 / height, bottom=0.45 / height, hspace=0.25
    )
    limit = max((_limit(cell.point - scene.original) for cell in cells if cell.point is not None), default=1.0)
    for place, cell in enumerate(cells):
        axes = figure.add_subplot(canvas[place])
        change = np.zeros(scene.original.size) if cell.point is None else cell.point - scene.original
        _bars(axes, change, limit)
        _plain(axes, change.size)
        axes.tick_params(labelbottom=place == len(cells) - 1)
        axes.set_ylabel(cell.caption, rotation=0, ha="right", va="center", labelpad=38, fontsize=9, color=INK)
        if cell.point is None:
            axes.text(0.5, 0.75, "none", transform=axes.transAxes, ha="center", color=QUIET, fontsize=9)
    _head(figure, title, note)
    return figure
