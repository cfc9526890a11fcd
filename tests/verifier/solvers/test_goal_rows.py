"""Rows of a goal that always hold: which they are, and that no tree is blinded by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.formulations.to_stages import to_stages
from encoders.network.exact import exact_outputs
from encoders.network.graph import Graph
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Halfspaces, Norm, Query, Targeted, disjuncts
from verifier.problem.rounding import FLOAT32
from verifier.problem.verdict import Holds
from verifier.solvers.branch_and_bound import BranchAndBound, hidden_bounds
from verifier.solvers.goal_rows import deciding_rows, only

INPUTS, PAIRS, CLASSES = 40, 16, 5

ENOUGH = 200
"""Nodes for any of the nets below, which need some 20; trees that split at random were open after 20,000."""


@pytest.fixture(scope="module")
def exclusive(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., verifier.Model]:
    """z₀ = min over pairs of max(relu(a), relu(2c − a)) ≥ c > 0; all other logits are `others`, tied."""

    def made(scale: float = 1.0, others: float = 0.0) -> verifier.Model:
        rows = rng.normal(size=(PAIRS, INPUTS)) * scale
        last = np.zeros((CLASSES, 1))
        last[0] = 1.0
        constants = {
            "w": np.vstack([rows, -rows]),
            "b": np.full(2 * PAIRS, scale / 8),
            "v": last,
            "c": np.append(0.0, np.full(CLASSES - 1, others)),
        }
        nodes = [
            helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1),
            helper.make_node("Relu", ["a"], ["h"]),
            helper.make_node("Split", ["h"], ["p", "q"], axis=1),
            helper.make_node("Max", ["p", "q"], ["m"]),
            helper.make_node("ReduceMin", ["m"], ["n"], axes=[1], keepdims=1),
            helper.make_node("Gemm", ["n", "v", "c"], ["y"], transB=1),
        ]
        stored = [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
            for name, size in (("x", INPUTS), ("y", CLASSES))
        ]
        graph = helper.make_graph(nodes, "exclusive", ends[:1], ends[1:], stored)
        path = folder / f"{scale}_{others}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
        return verifier.load(path)

    folder, rng = tmp_path_factory.mktemp("exclusive"), np.random.default_rng(5)
    return made


def goal_of(target: int, classes: int = CLASSES) -> Halfspaces:
    return disjuncts(Targeted(target), classes)[0][1]


def ball_of(norm: Norm, radius: float, size: int = INPUTS) -> Ball:
    return Ball(norm, np.zeros(size), radius, np.full(size, -1.0), np.full(size, 1.0))


def places(graph: Graph, goal: Halfspaces, ball: Ball, arithmetic: Any = None) -> list[int]:
    stages = to_stages(graph, arithmetic.unit, arithmetic.floors(graph)) if arithmetic else to_stages(graph)
    lower, upper = hidden_bounds(stages, linear_bounds(graph, ball, Budget()))
    return deciding_rows(stages, ball, goal, lower, upper).tolist()


@pytest.mark.parametrize("arithmetic", [None, FLOAT32])
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_ties_are_left_out(exclusive: Any, norm: Norm, arithmetic: Any) -> None:
    """Row 0 compares with the label; the others with classes of the same constant."""
    assert places(exclusive().graph, goal_of(2), ball_of(norm, 0.3), arithmetic) == [0]


@pytest.mark.parametrize("arithmetic", [None, FLOAT32])
def test_duplicate_logits_are_ties(truth: Any, arithmetic: Any) -> None:
    rng = np.random.default_rng(0)
    first, last = (rng.normal(size=(6, 3)), rng.normal(size=6)), (rng.normal(size=(3, 6)), rng.normal(size=3))
    last[0][2], last[1][2] = last[0][1], last[1][1]
    net = truth.of_layers(first, last, lo=-1.0)
    assert places(net.graph, goal_of(1, 3), ball_of(Norm.LINF, 0.5, 3), arithmetic) == [0]


def test_one_row_is_left_where_all_hold(truth: Any) -> None:
    net = truth.of_layers(([[1.0, 0.0]], [0.0]), ([[0.0]] * 3, [2.0, 3.0, 1.0]))
    assert places(net.graph, goal_of(1, 3), ball_of(Norm.L1, 0.5, 2)) == [0]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_a_row_that_is_left_out_holds_everywhere(truth: Any, norm: Norm, seed: int) -> None:
    """At random points of the ball, exactly; weights in eighths, so that many rows are ties."""
    net = truth.net(seed, (3, 4, 4, 3))
    ball = Ball(norm, np.full(3, 0.5), 0.25, net.lo, net.hi)
    rng = np.random.default_rng(seed)
    for target in range(3):
        goal = goal_of(target, 3)
        left = places(net.graph, goal, ball)
        out = [row for row in range(2) if row not in left]
        for _ in range(20 if out else 0):
            step = rng.integers(-64, 65, 3) / 256
            x = 0.5 + (step / 3 if norm is Norm.L1 else step)
            logits = exact_outputs(net.graph, x)
            assert only(goal, np.array(out)).margin_exact(logits) >= -1e-12


@pytest.mark.parametrize("kernels", [None, False])
@pytest.mark.parametrize("others", [0.0, -0.25])
@pytest.mark.parametrize("scale", [1.0, 2.0**-16])
def test_tied_classes_do_not_blind_the_tree(exclusive: Any, scale: float, others: float, kernels: bool | None) -> None:
    graph, decider = exclusive(scale, others * scale).graph, BranchAndBound().having("lp", kernels=kernels)
    query = Query(graph, ball_of(Norm.LINF, 0.9), goal_of(3))
    stages, bounds = to_stages(graph), linear_bounds(graph, query.region, Budget())
    tree = decider.tree(query, stages, bounds, floor=0.0, slack=0.0, tolerance=1e-7)
    while tree.open_nodes and tree.nodes < ENOUGH:
        assert tree.explore(Budget()) is None
    assert not tree.open_nodes
    assert isinstance(decider.decide(query, bounds, Budget()), Holds)


@pytest.mark.long
def test_check_and_minimal_decide_it(exclusive: Any) -> None:
    model = exclusive()
    box = (-1.0, 1.0)
    found = verifier.check(model, np.zeros(INPUTS), 0.9, box=box)
    assert isinstance(found.verdict, Holds)
    assert found.search is not None
    assert found.search.nodes < ENOUGH * CLASSES
    bracket = verifier.minimal(model, np.zeros(INPUTS), box=box)
    assert bracket.lower == math.inf
    assert bracket.search is not None
    assert bracket.search.nodes < ENOUGH * CLASSES


def test_certificates_are_not_blinded_either(truth: Any, save_net: Any) -> None:
    """A net whose other classes are tied has no larger certificate than the net with one other class."""
    sizes, rng = (4, 10, 10), np.random.default_rng(3)
    hidden = [(rng.normal(size=(n, m)), rng.normal(size=n)) for m, n in pairwise(sizes)]
    row, leaves = rng.normal(size=10), []
    for classes in (2, 6):
        last = np.zeros((classes, 10))
        last[0] = row
        offset = np.append(10.0, np.zeros(classes - 1))
        model = save_net(truth.of_layers(*hidden, (last, offset)))
        made = verifier.certificate(model, np.zeros(4), 0.5, target=1, box=(-1.0, 1.0))
        leaves.append(made.leaves)
    assert leaves[1] == leaves[0] > 1
