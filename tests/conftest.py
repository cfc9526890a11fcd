"""Small networks as plain matrices and as files, and the truth about them: every activation pattern, one LP each."""

from __future__ import annotations

import gc
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import helper, numpy_helper
from scipy.optimize import brentq, lsq_linear

from encoders.formulations.highs import quiet
from encoders.network.graph import Array, Graph, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.problem.query import Ball, Halfspaces, Norm
from verifier.runtime.model import Model, load

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
"""No example is too slow: on a busy machine the first of a test may take half a second, and says nothing by it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thin", type=int, default=1, metavar="N",
        help="above 1: of each file's tests run every fifth, and of its cases every N-th, from the first",
    )  # fmt: skip
    parser.addoption("--built", type=Path, metavar="DIR", help="where `make dist` has put the wheel and the sdist")


def pytest_configure() -> None:
    """Collecting makes a million objects that stay: to look through them again and again takes a third of its time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every file, a share of its tests and of their cases: what a library lacks shows in the first of those that are
    not `long`."""
    thin, seen = config.getoption("thin"), Counter[str]()
    tests: dict[str, list[str]] = {}
    kept, left = [], []
    for item in items:
        if thin > 1 and item.get_closest_marker("long"):
            left.append(item)
            continue
        name = item.nodeid.partition("[")[0]
        known = tests.setdefault(name.partition("::")[0], [])
        if not seen[name]:
            known.append(name)
        chosen = seen[name] % thin == 0 and (thin == 1 or known.index(name) % 5 == 0)
        (kept if chosen else left).append(item)
        seen[name] += 1
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


FLAT = 1e-9
"""Pieces in which no ball of this radius fits are left out: their neighbours' closures cover them."""

RIM = 1e-12
"""A point this far outside a round ball counts as one of it: distances are rounded, and that of its centre may be 0."""


@dataclass(frozen=True, eq=False)
class Piece:
    """{x : rows · x ≤ limits}, on which z = slope · x + offset."""

    rows: Array
    limits: Array
    slope: Array
    offset: Array


@dataclass(frozen=True, eq=False)
class Net:
    """z = W_k relu(… relu(W_1 x + b_1) …) + b_k over the box lo ≤ x ≤ hi (no verifier code in the truth about it)."""

    layers: tuple[tuple[Array, Array], ...]
    lo: Array
    hi: Array

    @cached_property
    def graph(self) -> Graph:
        builder, last = GraphBuilder(self.lo.size), 0
        for number, (weight, bias) in enumerate(self.layers):
            source = builder.relu(last) if number else last
            last = builder.affine([(Dense(readonly(weight)), source)], bias)
        return builder.graph(last)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The activation regions that have an inside."""
        size = self.lo.size
        box = np.vstack([np.eye(size), -np.eye(size)]), np.concatenate([self.hi, -self.lo])
        return tuple(self._pieces(0, np.eye(size), np.zeros(size), *box))

    def _pieces(self, layer: int, slope: Array, offset: Array, rows: Array, limits: Array) -> list[Piece]:
        weight, bias = self.layers[layer]
        slope, offset = weight @ slope, weight @ offset + bias
        if layer + 1 == len(self.layers):
            return [Piece(rows, limits, slope, offset)]
        parts = [(np.zeros(0), rows, limits)]
        for row, constant in zip(slope, offset, strict=True):
            grown = []
            for active, normals, ends in parts:
                for on in (True, False):
                    if not np.any(row):
                        if on == (constant > 0):
                            grown.append((np.append(active, on), normals, ends))
                        continue
                    cut = (np.vstack([normals, -row if on else row]), np.append(ends, constant if on else -constant))
                    if roomy(*cut):
                        grown.append((np.append(active, on), *cut))
            parts = grown
        found = []
        for active, normals, ends in parts:
            found += self._pieces(layer + 1, active[:, np.newaxis] * slope, active * offset, normals, ends)
        return found

    def nearest(self, norm: Norm, centre: Array, goal: Halfspaces) -> float:
        """min {‖x − centre‖ : x in the box, matrix · z(x) + offset ≥ 0}, infinite when there is no such x."""
        asked = norm, centre.tobytes(), goal.matrix.tobytes(), goal.offset.tobytes()
        if asked not in self._distances:
            distances = (self._nearest(piece, norm, centre, goal) for piece in self.pieces)
            self._distances[asked] = min(distances, default=math.inf)
        return self._distances[asked]

    @cached_property
    def _distances(self) -> dict[object, float]:
        return {}

    @staticmethod
    def _nearest(piece: Piece, norm: Norm, centre: Array, goal: Halfspaces) -> float:
        n = centre.size
        if norm is Norm.L2:
            reads = np.vstack([piece.rows, -goal.matrix @ piece.slope])
            limits = np.concatenate([piece.limits, goal.matrix @ piece.offset + goal.offset])
            return least_distance(reads, limits, centre)
        extra = np.eye(n) if norm is Norm.L1 else np.ones((n, 1))
        width = extra.shape[1]
        matrix = np.vstack(
            [
                np.hstack([piece.rows, np.zeros((len(piece.rows), width))]),
                np.hstack([-goal.matrix @ piece.slope, np.zeros((len(goal.matrix), width))]),
                np.hstack([np.eye(n), -extra]),
                np.hstack([-np.eye(n), -extra]),
            ]
        )
        limits = np.concatenate([piece.limits, goal.matrix @ piece.offset + goal.offset, centre, -centre])
        cost = np.concatenate([np.zeros(n), np.ones(width)])
        return least_cost(cost, matrix, limits)

    def largest_margin(self, region: Ball, goal: Halfspaces) -> float:
        """max over the region (inside the net's box) of the goal's smallest row; −infinite when there is no x."""
        return max(self._margin(piece, region, goal) for piece in self.pieces)

    @staticmethod
    def _margin_in_round_ball(piece: Piece, region: Ball, goal: Halfspaces) -> float:
        """The margin that lies as far away as the radius."""

        def beyond(margin: float) -> float:
            box = np.vstack([np.eye(region.centre.size), -np.eye(region.centre.size)])
            reads = np.vstack([piece.rows, -goal.matrix @ piece.slope, box])
            ends = goal.matrix @ piece.offset + goal.offset - margin
            limits = np.concatenate([piece.limits, ends, region.hi, -region.lo])
            kept = np.isfinite(limits)
            distance = least_distance(reads[kept], limits[kept], region.centre)
            return min(distance, region.radius + 1.0) - region.radius - RIM

        return float(brentq(beyond, -1e3, 1e3, xtol=RIM)) if beyond(-1e3) < 0.0 else -math.inf

    @staticmethod
    def _margin(piece: Piece, region: Ball, goal: Halfspaces) -> float:
        n = region.centre.size
        if region.norm is Norm.L2:
            return Net._margin_in_round_ball(piece, region, goal)
        rows, limits = ball_rows(region)
        padded = np.hstack([piece.rows, np.zeros((len(piece.rows), rows.shape[1] - n))])
        body = np.vstack([rows, padded])
        reads = np.hstack([-goal.matrix @ piece.slope, np.zeros((len(goal.matrix), rows.shape[1] - n))])
        matrix = np.vstack(
            [
                np.hstack([body, np.zeros((len(body), 1))]),
                np.hstack([reads, np.ones((len(reads), 1))]),
            ]
        )
        ends = np.concatenate([limits, piece.limits, goal.matrix @ piece.offset + goal.offset])
        cost = np.append(np.zeros(rows.shape[1]), -1.0)
        return -least_cost(cost, matrix, ends)


def least_distance(rows: Array, limits: Array, centre: Array) -> float:
    """min {‖x − centre‖₂ : rows · x ≤ limits} by non-negative least squares (Lawson & Hanson 1974, chapter 23).

    Not by scipy.optimize.nnls, which in SciPy 1.13 turns in circles where no such x exists.
    """
    wanted, target = np.vstack([-rows.T, rows @ centre - limits]), np.append(np.zeros(centre.size), 1.0)
    solved = lsq_linear(wanted, target, (0.0, np.inf), method="bvls", tol=1e-14, max_iter=100 * len(rows))
    assert solved.status > 0, solved.message
    missed = math.sqrt(2 * solved.cost)
    return math.sqrt(max(0.0, 1.0 / missed**2 - 1.0)) if missed > FLAT else math.inf


def least_cost(cost: Array, rows: Array, limits: Array) -> float:
    """min {cost · x : rows · x ≤ limits} by HiGHS, infinite where there is no such x."""
    lp, (height, width) = highspy.HighsLp(), rows.shape
    lp.num_col_, lp.num_row_, lp.col_cost_ = width, height, cost
    lp.col_lower_, lp.col_upper_ = np.full(width, -np.inf), np.full(width, np.inf)
    lp.row_lower_, lp.row_upper_ = np.full(height, -np.inf), limits
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    filled = rows != 0.0
    lp.a_matrix_.start_ = np.append(0, np.cumsum(filled.sum(axis=1)))
    lp.a_matrix_.index_, lp.a_matrix_.value_ = np.nonzero(filled)[1], rows[filled]
    highs = solver()
    highs.passModel(lp)
    highs.run()
    solved = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value) if solved else math.inf


@cache
def solver() -> highspy.Highs:
    """One for all LPs of the process: scipy.optimize.linprog takes ten times as long, most of it around its own."""
    return quiet()


def roomy(rows: Array, limits: Array) -> bool:
    """Does a ball fit into {x : rows · x ≤ limits}?"""
    lengths = np.linalg.norm(rows, axis=1)
    cost = np.append(np.zeros(rows.shape[1]), -1.0)
    matrix = np.vstack([np.hstack([rows, lengths[:, np.newaxis]]), -cost])
    return -least_cost(cost, matrix, np.append(limits, 1.0)) > FLAT


def ball_rows(region: Ball) -> tuple[Array, Array]:
    """(rows, limits) of ball ∩ box in the variables (x, deviations); infinite ends have no row."""
    n = region.centre.size
    eye, none = np.eye(n), np.zeros((n, n))
    blocks = [(np.hstack([eye, none]), region.hi), (np.hstack([-eye, none]), -region.lo)]
    if math.isfinite(region.radius):
        blocks += [(np.hstack([eye, -eye]), region.centre), (np.hstack([-eye, -eye]), -region.centre)]
        total = np.concatenate([np.zeros(n), np.ones(n)])[np.newaxis]
        blocks.append(
            (total, np.array([region.radius]))
            if region.norm is Norm.L1
            else (np.hstack([none, eye]), np.full(n, region.radius))
        )
    rows, limits = np.vstack([rows for rows, _ in blocks]), np.concatenate([limits for _, limits in blocks])
    finite = np.isfinite(limits)
    return rows[finite], limits[finite]


class Truth:
    """What the tests of several folders share: makers of networks and the LP form of a region."""

    @staticmethod
    @cache
    def net(seed: int, sizes: tuple[int, ...]) -> Net:
        """A random network with weights in eighths over the box [0, 1]ⁿ: one object, whose pieces are found once."""
        rng = np.random.default_rng(seed)
        layers = tuple((rng.integers(-12, 13, (m, n)) / 8, rng.integers(-8, 9, m) / 8) for n, m in pairwise(sizes))
        return Net(layers, np.zeros(sizes[0]), np.ones(sizes[0]))

    @staticmethod
    def of_layers(*layers: tuple[object, object], lo: float = 0.0, hi: float = 1.0) -> Net:
        """The network of the given (weight, bias) pairs over the box [lo, hi]ⁿ."""
        pairs = tuple((np.asarray(w, dtype=np.float64), np.asarray(b, dtype=np.float64)) for w, b in layers)
        size = pairs[0][0].shape[1]
        return Net(pairs, np.full(size, lo), np.full(size, hi))

    ball_rows = staticmethod(ball_rows)


@pytest.fixture(scope="session")
def truth() -> Truth:
    return Truth()


@pytest.fixture(scope="session")
def save_net(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Model]:
    """The (weight, bias) pairs of `net.layers` as an ONNX file, read again; ReLUs stand between."""
    folder = tmp_path_factory.mktemp("nets")
    numbers = itertools.count()

    def save(net: Any, dtype: Any = np.float32) -> Model:
        nodes, constants, last = [], [], "x"
        for place, (weight, bias) in enumerate(net.layers):
            final = place + 1 == len(net.layers)
            constants += [numpy_helper.from_array(np.asarray(weight, dtype), f"w{place}")]
            constants += [numpy_helper.from_array(np.asarray(bias, dtype), f"b{place}")]
            result = "y" if final else f"z{place}"
            nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [result], transB=1))
            last = f"h{place}"
            if not final:
                nodes.append(helper.make_node("Relu", [result], [last]))
        ends = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [1, size])
            for name, size in (("x", np.shape(net.layers[0][0])[1]), ("y", len(net.layers[-1][1])))
        ]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
        path = folder / f"{next(numbers)}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        return load(path)

    return save
