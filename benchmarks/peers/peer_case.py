"""What a foreign solver is given: the network's matrices, the goal, the ball of our attack, our bounds on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

import verifier
from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array
from encoders.network.node_bounds import NodeBounds
from verifier.bounds.alpha_crown import linear_bounds
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces, Norm, Targeted, disjuncts


@dataclass(frozen=True, eq=False)
class Case:
    """The distance from `ball.centre` to `goal`; `ball` reaches to a known witness, `bounds` hold on it."""

    stages: Stages
    ball: Ball
    goal: Halfspaces
    bounds: NodeBounds

    @cached_property
    def moves(self) -> Moves:
        return Moves(self.ball)


@dataclass(frozen=True)
class Found:
    """A solver's word: lower ≤ distance ≤ upper, both infinite where nothing is reachable; why it stopped early."""

    lower: float
    upper: float
    reason: str = ""
    nodes: int | None = None


class Moves:
    """x = centre + matrix · v with 0 ≤ v ≤ room: one v for each direction in which an input entry can move.

    ‖x − centre‖ is Σ v (L1) or max v (L∞) at the least v.
    """

    def __init__(self, ball: Ball) -> None:
        rooms = np.concatenate([ball.hi - ball.centre, ball.centre - ball.lo])
        size, there = ball.centre.size, np.flatnonzero(rooms > 0)
        signs = np.where(there < size, 1.0, -1.0)
        self.room: Array = np.minimum(rooms[there], ball.radius)
        self.matrix: Any = sp.csr_array((signs, (there % size, np.arange(there.size))), shape=(size, there.size))


def case_of(model: verifier.Model, image: Any, target: int, norm: str) -> Case:
    """A targeted question's case over the box [0, 1]; where the attack finds nothing, the ball is the whole box."""
    centre = model.vector(image).astype(np.float64)
    box = np.zeros_like(centre), np.ones_like(centre)
    found = verifier.attack(model, image, target=target, norm=norm, device="cpu")
    whole = Ball(Norm(norm), centre, math.inf, *box)
    ball = whole.with_radius(min(found.upper, whole.reach))
    ((_, goal),) = disjuncts(Targeted(target), model.classes)
    return Case(to_stages(model.graph), ball, goal, linear_bounds(model.graph, ball, Budget()))
