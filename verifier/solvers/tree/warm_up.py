"""A tiny query that calls every kernel with the types that they are compiled for."""

from __future__ import annotations

import numpy as np

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.bounds.alpha_beta_crown import FEW, BatchedBound, Start
from verifier.bounds.alpha_crown import linear_bounds
from verifier.bounds.kernels.block_bounds import BlockBounds
from verifier.bounds.kernels.compiled_bound import CompiledBound
from verifier.bounds.kernels.compiled_lines import CompiledLines
from verifier.bounds.lagrangian import Lagrangian
from verifier.problem.budget import Budget
from verifier.problem.norms.table import GEOMETRIES
from verifier.problem.phase_tree import seed
from verifier.problem.query import Ball, Halfspaces
from verifier.solvers.compiled_learning import CompiledEngine
from verifier.solvers.learning import LearningSearch
from verifier.solvers.propagation.trail import NONE
from verifier.solvers.tree.batch_packing import Halved
from verifier.solvers.tree.compiled_node import CompiledNarrowing
from verifier.solvers.tree.compiled_packing import CompiledPacking
from verifier.solvers.tree.lp_tree import LpSettings, LpTree
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.sparse_narrowing import SparseNarrowing
from verifier.solvers.tree.stalling import Headway

LONGEST = 3600.0
"""Seconds after which compiling is given up: it takes one or two minutes on a slow machine."""


def solve_sample() -> None:
    """Decide small queries by the compiled evaluation of nodes, in every norm that has kernels, and polish a point."""
    weight = np.array([[1.0, -1.0], [1.0, 1.0], [-1.0, 0.5]])
    builder = GraphBuilder(2)
    hidden = builder.relu(builder.affine([(Dense(readonly(weight)), 0)], np.array([0.1, -0.2, 0.0])))
    hidden = builder.relu(builder.affine([(Dense(readonly(weight @ weight.T)), hidden)], np.array([-0.3, 0.1, 0.2])))
    graph = builder.graph(builder.affine([(Dense(readonly(np.ones((2, 3)))), hidden)], np.zeros(2)))
    stages = to_stages(graph)
    goal = Halfspaces(np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([-0.5, 0.4]))
    for norm in (norm for norm, kind in GEOMETRIES.items() if kind.has_kernels):
        ball = Ball(norm, np.array([0.4, 0.5]), 0.5, np.zeros(2), np.ones(2))
        ends = np.full(stages.relu_count, 50.0)
        root = TreeRoot(stages, ball, goal, -ends, ends, earlier=seed(stages.relu_count))
        tree = LpTree(root, LpSettings(kernels=True))
        tree.polish(ball.centre, Budget(LONGEST))
        tree.evaluator.descent.search(ball.centre, ball.radius)
        tree.evaluator.evaluate(-ends, ends, None, Budget(LONGEST))
        tree.evaluator.grow([(-ends, ends, None)], 8, Budget(LONGEST))
        linear_bounds(graph, ball, Budget(LONGEST), by=BlockBounds(stages, ball))
        lagrangian, weights = Lagrangian(stages, ball, goal, -ends, ends), np.ones(len(goal.offset))
        dual = lagrangian.crown(weights, -ends, ends)
        for narrowing in (CompiledNarrowing(stages, lagrangian), SparseNarrowing(stages, lagrangian, -ends, ends)):
            narrowing.narrow(dual, weights, ball.radius, -ends, ends)
        for _ in range(3):
            tree.explore(Budget(LONGEST))
    for norm in GEOMETRIES:
        ball = Ball(norm, np.array([0.4, 0.5]), 0.5, np.zeros(2), np.ones(2))
        ends = np.full(stages.relu_count, 50.0)
        bound = BatchedBound(stages, ball, goal, -ends, ends)
        batch = np.tile(ends[:, np.newaxis], FEW)
        start = bound.first().columns(np.zeros(FEW, dtype=np.int64))
        steps = CompiledBound(bound)
        proposed = steps.optimise(-batch, batch, start, 2, Budget(LONGEST))
        lines = CompiledLines(steps, bound, Lagrangian(stages, ball, goal, -ends, ends), bound.undecided)
        duals = lines.on_lines(proposed.best, -batch.T, batch.T)
        lines.measured(duals, ball.radius)
        lines.margins(proposed.points, np.arange(FEW))
        _pack(CompiledPacking((-ends, ends), bound.undecided, bound.undecided), proposed.best, -batch.T, batch.T)
    _learn(stages, goal)


def _pack(packing: CompiledPacking, best: Start, lower: Array, upper: Array) -> None:
    every = np.arange(FEW)
    starts = packing.packed(best, every, Headway(np.zeros(FEW), every))
    made = packing.halves(Halved(FEW * [0.0], starts, FEW * [False], every, lower, upper, every))
    packing.bounds(list(made))
    packing.starts(starts)


def _learn(stages: Stages, goal: Halfspaces) -> None:
    """Propagate, and learn from a contradiction, whatever the sample says."""
    ends = np.full(stages.relu_count, 50.0)
    search = LearningSearch(stages, Ball.of_box(np.zeros(2), np.ones(2)), goal, -ends, ends)
    engine, heads = CompiledEngine(search.rows, search.trail, search.inputs), np.full(2, -1, dtype=np.int64)
    engine.propagate(search.nogoods, heads, np.zeros(2, dtype=np.int64))
    engine.learn(search.nogoods, np.zeros(1, dtype=np.int64), np.array([0, NONE]))
