"""The nearest point as one MILP in Gurobi: big-M over our bounds (Tjeng, Xiao, Tedrake 2019), the ball of our attack.

Written for the size-limited licence that gurobipy brings, 2000 variables and 2000 rows: input entries that cannot move
have no variable, neither do stable ReLUs have a binary.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from benchmarks.peers.peer_case import Case, Found
from verifier.problem.query import Norm


def minimise(case: Case, precision: float, seconds: float) -> Found:
    """min ‖x − x0‖ over the ball with z(x) in the goal, to the absolute gap `precision`, on one thread.

    Raises ImportError without gurobipy, gurobipy.GurobiError where the licence is too small.
    """
    gurobi: Any = importlib.import_module("gurobipy")
    options = {"OutputFlag": 0, "Threads": 1, "TimeLimit": seconds, "MIPGap": 0.0, "MIPGapAbs": precision}
    with gurobi.Env(params=options) as environment, gurobi.Model(env=environment) as model:
        moves = model.addMVar(case.moves.room.size, ub=case.moves.room)
        _network(gurobi, model, case, moves)
        _distance(model, case, moves)
        model.optimize()
        return _answer(gurobi, model)


def _distance(model: Any, case: Case, moves: Any) -> None:
    radius = case.ball.radius
    if case.ball.norm is Norm.L1:
        model.addConstr(moves.sum() <= radius)
        model.setObjective(moves.sum())
    else:
        largest = model.addMVar(1, ub=radius)
        model.addConstr(moves <= largest)
        model.setObjective(largest.sum())


def _network(gurobi: Any, model: Any, case: Case, moves: Any) -> None:
    """The rows of all stages, and of the goal over the last one."""
    stages, free = case.stages, -gurobi.GRB.INFINITY
    outputs = {0: moves}
    for number, stage in enumerate(stages.stages, start=1):
        constant, total = stage.constant, 0.0
        for source, block in stage.blocks.items():
            matrix = block.matrix
            if source == 0:
                constant = constant + matrix @ case.ball.centre
                matrix = matrix @ case.moves.matrix
            total = total + matrix @ outputs[source]
        if number == len(stages.stages):
            logits = model.addMVar(stage.size, lb=free)
            model.addConstr(logits == total + constant)
            model.addConstr(case.goal.matrix @ logits >= -case.goal.offset)
            return
        node = stages.nodes[number - 1]
        low, high = case.bounds.lower[node], case.bounds.upper[node]
        argument = model.addMVar(stage.size, lb=low, ub=high)
        model.addConstr(argument == total + constant)
        outputs[number] = _relu(gurobi, model, argument, low, high)


def _relu(gurobi: Any, model: Any, argument: Any, low: Any, high: Any) -> Any:
    output = model.addMVar(low.size, ub=np.maximum(high, 0.0))
    active = np.flatnonzero(low >= 0)
    if active.size:
        model.addConstr(output[active] == argument[active])
    unstable = np.flatnonzero((low < 0) & (high > 0))
    if unstable.size:
        on = model.addMVar(unstable.size, vtype=gurobi.GRB.BINARY)
        model.addConstr(output[unstable] >= argument[unstable])
        model.addConstr(output[unstable] <= argument[unstable] - low[unstable] * (1 - on))
        model.addConstr(output[unstable] <= high[unstable] * on)
    return output


def _answer(gurobi: Any, model: Any) -> Found:
    codes, nodes = gurobi.GRB.Status, int(model.NodeCount)
    if model.Status in (codes.INFEASIBLE, codes.INF_OR_UNBD):
        return Found(math.inf, math.inf, nodes=nodes)
    upper = float(model.ObjVal) if model.SolCount else math.inf
    reason = "" if model.Status == codes.OPTIMAL else "the time limit was reached"
    if model.Status not in (codes.OPTIMAL, codes.TIME_LIMIT):
        reason = f"Gurobi stopped with status {model.Status}"
    return Found(max(0.0, float(model.ObjBound)), upper, reason, nodes)
