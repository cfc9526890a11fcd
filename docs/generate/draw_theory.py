"""The figures of docs/theory, computed by the engine itself: `make figures` writes them.

The last one needs MNIST (the folder of `benchmarks.harness.mnist`). Needs matplotlib and scikit-learn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.patches import Polygon, Rectangle
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier

import verifier
from benchmarks.harness.mnist import load_mnist
from verifier.bounds.half_space import HalfSpace, least
from verifier.bounds.relu_lines import relu_lines
from verifier.problem.norms.linf import LInf

INK = "#808895"
"""Legible on white and on black: the site has both."""
ONE, OTHER, THIRD = "#0f9d8a", "#e0772c", "#5b7fd6"

STYLE = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "relu-verifier",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def the_question() -> None:
    """A net of two inputs: its regions, its boundary, an input, and its nearest adversarial example in both norms."""
    points, classes = make_moons(200, noise=0.12, random_state=3)
    points = ((points - points.min(0)) / np.ptp(points, axis=0)).astype(np.float32)
    net = MLPClassifier((8, 8), solver="lbfgs", alpha=0.02, max_iter=4000, random_state=4).fit(points, classes)
    model, x = verifier.load(net), np.array([0.45, 0.22], dtype=np.float32)
    _, ax = plt.subplots(figsize=(7.4, 4.6))
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 320), np.linspace(0, 1, 320)), -1)
    signs, hidden = np.zeros(grid.shape[:2]), grid
    for place, (weight, bias) in enumerate(zip(net.coefs_[:-1], net.intercepts_[:-1], strict=True)):
        argument = hidden @ weight + bias
        signs += (argument > 0) @ 2.0 ** np.arange(8 * place, 8 * place + 8)
        hidden = np.maximum(argument, 0)
    scores = (hidden @ net.coefs_[-1] + net.intercepts_[-1])[..., 0]
    edges = (np.diff(signs, axis=0)[:, :-1] != 0) | (np.diff(signs, axis=1)[:-1] != 0)
    ax.contour(grid[:-1, :-1, 0], grid[:-1, :-1, 1], edges, [0.5], colors=INK, linewidths=0.5, alpha=0.7)
    ax.contourf(*np.moveaxis(grid, -1, 0), scores, [-1e9, 0, 1e9], colors=[ONE, OTHER], alpha=0.16)
    ax.contour(*np.moveaxis(grid, -1, 0), scores, [0], colors=INK, linewidths=1.6)
    for norm, name, colour in (("linf", "L∞", THIRD), ("l1", "L1", OTHER)):
        found = verifier.minimal(model, x, norm=norm, precision=1e-5)
        r = found.upper
        corners = [(-r, -r), (r, -r), (r, r), (-r, r)] if norm == "linf" else [(-r, 0), (0, -r), (r, 0), (0, r)]
        ax.add_patch(Polygon(x + np.array(corners), closed=True, fill=False, edgecolor=colour, linewidth=1.6))
        ax.plot(*found.witness.point.reshape(-1), "o", color=colour, label=f"nearest in {name}: {r:.4f}")
    ax.plot(*x, "*", color=ONE, markersize=13, label="the input")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="first entry", ylabel="second entry")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def relaxation() -> None:
    """A ReLU between its lines, for bounds that lean to either side, and once its sign is known."""
    _, axes = plt.subplots(1, 3, figsize=(8.6, 3.0), sharey=True)
    for ax, (low, high) in zip(axes, ((-1.0, 2.0), (-2.0, 1.0), (0.0, 2.0)), strict=True):
        lines = relu_lines(np.array([low]), np.array([high]))
        ends = np.array([low, high])
        upper, lower = lines.slope * ends + lines.intercept, lines.alpha * ends
        if low < 0:
            ax.fill([low, 0, high], [0, 0, high], color=ONE, alpha=0.18, label="triangle")
            ax.plot(ends, lower, "--", color=OTHER, label="lower line, α")
            ax.plot(ends, upper, color=THIRD, label="upper line")
        a = np.linspace(-2.2, 2.2, 101)
        ax.plot(a, np.maximum(a, 0), color=INK, linewidth=1, alpha=0.5)
        inside = np.array([low, 0, high])
        ax.plot(inside, np.maximum(inside, 0), color=INK, linewidth=2.2, label="the ReLU")
        ax.set(xlim=(-2.2, 2.2), ylim=(-1.2, 2.2), xlabel="argument", title=f"[{low:g}, {high:g}]")
        ax.title.set_color(INK)
    axes[0].legend(loc="upper left", fontsize=8.5)


def half_space() -> None:
    """How low a form gets in the ball, and in the part of it where the goal may lie."""
    row, cut, radius = np.array([[1.0, 0.55]]), HalfSpace(np.array([0.5, -1.0]), -0.55), 1.0
    geometry = LInf(np.zeros(2), np.full(2, -2.0), np.full(2, 2.0), radius)
    before = -float(geometry.falls(row, radius)[0])
    after = float(least(geometry, row, radius, cut)[0])
    _, ax = plt.subplots(figsize=(7.6, 3.8))
    ax.add_patch(Rectangle((-1, -1), 2, 2, fill=False, edgecolor=INK, linewidth=1.6, label="ball, L∞"))
    side = np.linspace(-1, 1, 201)
    steps = np.stack(np.meshgrid(side, side), -1)
    ax.contourf(side, side, steps @ cut.row - cut.amount, [-1e9, 0], colors=[ONE], alpha=0.22)
    ax.plot([], [], color=ONE, linewidth=8, alpha=0.3, label="g·δ ≤ −K: where the goal may lie")
    across = np.array([-1.5, 1.5])
    for value, colour, words in ((before, OTHER, "the ball"), (after, THIRD, "both")):
        ax.plot(across, (value - row[0, 0] * across) / row[0, 1], color=colour, label=f"least in {words}: {value:.2f}")
    ax.set(xlim=(-1.5, 1.5), ylim=(-1.4, 1.4), aspect="equal", xlabel="δ₁", ylabel="δ₂")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def bracket() -> None:
    """The bracket of an image over the nodes of the tree, until it is closed."""
    image = load_mnist().test_images[0]
    found = list(verifier.brackets(verifier.load("mnist_n"), image, precision=1e-4))
    nodes = [0 if one.search is None else one.search.nodes for one in found]
    _, ax = plt.subplots(figsize=(6.4, 3.6))
    lower, upper = [one.lower for one in found], [one.upper for one in found]
    ax.fill_between(nodes, lower, upper, step="post", color=ONE, alpha=0.16)
    ax.step(nodes, upper, where="post", color=OTHER, label="upper: the nearest witness so far")
    ax.step(nodes, lower, where="post", color=THIRD, label="lower: proved so far")
    ax.set(xlabel="nodes of the tree", ylabel="distance, L∞", ylim=(0, 1.15 * max(upper)))
    ax.legend(loc="lower right")


FIGURES: dict[str, Callable[[], Any]] = {
    "question": the_question,
    "relaxation": relaxation,
    "half-space": half_space,
    "bracket": bracket,
}


def draw(name: str, folder: Path) -> Path:
    """Write one figure as an SVG without a background, the same bytes each time."""
    with plt.rc_context(STYLE):
        FIGURES[name]()
        path = folder / f"{name}.svg"
        plt.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None})
        plt.close("all")
    return path


if __name__ == "__main__":
    for figure in sys.argv[2:] or FIGURES:
        print(draw(figure, Path(sys.argv[1])))
