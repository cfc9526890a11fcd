"""The rooms and what they import, drawn from the code: `make imports` writes docs/imports.svg.

Rooms stand on a staircase in the order of import-linter's layers (pyproject.toml). A room's line goes down to the rooms
that it imports, and arrows lead into these; the number on a crossing is that of imports, counted by pairs of modules.
What went up would be red. Needs grimp (which comes with import-linter) and matplotlib.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import grimp
import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("verifier", "encoders")
STEP, HALF = 0.62, 0.2
"""In inches: from one room to the next, and half the side of a box."""

RIGHT = 8.2
"""Inches beside the last box for its words."""

INK, LINE, UPWARDS = "#1f2a36", "#8fa1b3", "#c0392b"
FILL = {"verifier": "#dbe9f6", "encoders": "#e6f2df"}
ARROW = {"arrowstyle": "-|>", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
CROSSING = {"s": 270, "facecolor": "white", "edgecolor": LINE, "linewidth": 0.8}
LEGEND = "in a box: modules of the room\non a crossing: imports by the room above of the room at the arrow"


@dataclass(frozen=True)
class Room:
    """A folder or file of a package: its name with dots, how many modules it has, and what its docstring says."""

    name: str
    modules: int
    words: str


def order() -> list[str]:
    """The rooms from the top, by the layers of each package."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if "containers" in contract}
    return [f"{root}.{name}" for root in PACKAGES for line in layers[root] for name in re.findall(r"\w+", line)]


def room(name: str, graph: grimp.ImportGraph) -> Room:
    path = ROOT / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    modules = [one for one in graph.find_descendants(name) if not graph.find_children(one)]
    return Room(name, max(1, len(modules)), text.split("\n", maxsplit=1)[0])


def imports(names: list[str], graph: grimp.ImportGraph) -> Counter[tuple[int, int]]:
    """How many modules of one room import a module of another, counted by pairs; rooms by their places."""
    found: Counter[tuple[int, int]] = Counter()
    owner = {one: place for place, name in enumerate(names) for one in (name, *graph.find_descendants(name))}
    for importer, place in owner.items():
        for imported in graph.find_modules_directly_imported_by(importer):
            if imported in owner and owner[imported] != place:
                found[place, owner[imported]] += 1
    return Counter(dict(sorted(found.items())))  # the same picture every time


def draw(rooms: list[Room], counts: Counter[tuple[int, int]], out: Path) -> None:
    """The staircase, from the upper left to the lower right."""
    side = STEP * len(rooms)
    figure, axes = plt.subplots(figsize=(side + RIGHT, side + STEP))
    axes.set_xlim(-STEP, side + RIGHT - STEP)
    axes.set_ylim(-side, STEP)
    axes.axis("off")
    for place, each in enumerate(rooms):
        x, y = STEP * place, -STEP * place
        reached = [other for one, other in counts if one == place]
        if reached:
            axes.plot([x, x], [y, -STEP * max(reached)], color=LINE, linewidth=1.1, zorder=1)
            axes.plot([x, x], [y, -STEP * min(place, *reached)], color=UPWARDS, linewidth=1.1, zorder=1)
        box = FancyBboxPatch((x - HALF, y - HALF), 2 * HALF, 2 * HALF, boxstyle="round,pad=0,rounding_size=0.06",
                             facecolor=FILL[each.name.split(".", maxsplit=1)[0]], edgecolor=INK, zorder=3)  # fmt: skip
        axes.add_patch(box)
        axes.text(x, y, str(each.modules), ha="center", va="center", fontsize=10, color=INK, zorder=4)
        axes.text(x + HALF + 0.12, y + 0.09, each.name, va="center", fontsize=12, weight="bold", color=INK, zorder=4)
        axes.text(x + HALF + 0.12, y - 0.12, each.words, va="center", fontsize=8.5, color=INK, zorder=4)
    for imported in sorted({imported for _, imported in counts}):
        for start, sign, color in ((min, -1, LINE), (max, 1, UPWARDS)):
            importers = [one for one, other in counts if other == imported and (one - imported) * sign > 0]
            if importers:
                ends = (STEP * imported + sign * HALF, -STEP * imported), (STEP * start(importers), -STEP * imported)
                axes.annotate("", *ends, arrowprops={**ARROW, "color": color}, zorder=1)
    axes.scatter(*zip(*((STEP * one, -STEP * other) for one, other in counts), strict=True), **CROSSING, zorder=2)
    for (one, other), count in counts.items():
        axes.text(STEP * one, -STEP * other, str(count), ha="center", va="center", fontsize=9, color=INK, zorder=4)
    axes.text(side + RIGHT - STEP, 0.0, LEGEND, ha="right", va="center", fontsize=10, color=INK, linespacing=1.5)
    figure.savefig(out, format=out.suffix[1:], metadata={"Date": None} if out.suffix == ".svg" else None,
                   facecolor="white", bbox_inches="tight", pad_inches=0.15)  # fmt: skip


def main() -> int:
    """Draw the picture into the file that is named."""
    out = Path(sys.argv[1])
    sys.path.insert(0, str(ROOT))
    mpl.rcParams.update({"svg.hashsalt": "imports", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]})
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    names = order()
    draw([room(name, graph) for name in names], imports(names, graph), out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
