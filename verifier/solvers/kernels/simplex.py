"""A dual simplex for the triangle relaxation of small networks, compiled: dense inverse, triangles kept implicit.

The LP of `lp_layout`: minimise s subject to F·t + H·a − p + … = b and, for every open ReLU j, the triangle
w_j + a_j/u_j + p_j/|l_j| = 1 with w_j ≥ 0. One of w_j, a_j, p_j is the triangle's *key*: it is basic and eliminated, so
that only a square of the other rows is inverted (generalised upper bounding; Dantzig & Van Slyke 1967). Every variable
but s has two finite bounds, so that any basis is dual feasible, and a node may start from any other's. Steps pass all
breakpoints that still raise the dual value (bound flipping; Fourer 1994); rows are chosen by dual steepest edge with
exact weights. The result is a proposal: multipliers that are evaluated safely elsewhere.

The LP is in `simplex_program`, a basis in `simplex_basis`, a pivot in `simplex_steps`.
"""

from __future__ import annotations

import numpy as np

from encoders.network.graph import Array
from verifier.bounds.kernels.jit import Integers, compiled, inner
from verifier.solvers.kernels.simplex_basis import factor, place, refresh
from verifier.solvers.kernels.simplex_program import (
    ACTIVE,
    INACTIVE,
    KEY,
    SLACK,
    UPPER,
    Program,
    SimplexState,
    begin,
    of_key,
)
from verifier.solvers.kernels.simplex_steps import aim, breakpoints, enter, flip, leaving, swap, walk

OPTIMAL, EXCLUDED, STOPPED, TIED = 0, 1, 2, 3
"""How a run ends: at the LP's optimum; above the cutoff; with neither (pivots used up, or numbers too bad); where ties
let nothing more be gained: the multipliers may do, but the values are no point of the LP."""

REFRESH = 64
"""Pivots after which the inverse is formed anew."""

STALLED = 20
"""Steps in a row without gain after which a and p get costs of their own; as many once these are gone end the run."""

PERTURBED = 1e-6
"""These costs times what a and p can be, at most, in logits: they break ties, and are taken away at the end."""


@compiled
def crash(program: Program, low: Array, high: Array, basic: Integers, key: Integers) -> None:
    """The basis that every node may start from: the likelier phase of each ReLU, s, and slacks."""
    relus, goals = program.relus, program.goals
    base = 2 * program.moves.shape[1]
    for j in range(relus):
        basic[j] = base + j + (ACTIVE if low[j] + high[j] > 0.0 else INACTIVE) * relus
        key[j] = SLACK
    basic[relus] = base + 3 * relus + goals
    for g in range(1, goals):
        basic[relus + g] = base + 3 * relus + g
    if program.split:
        basic[relus + goals] = base + 3 * relus + goals + 1


@compiled
def solve(
    program: Program,
    low: Array,
    high: Array,
    basic: Integers,
    key: Integers,
    limit: int,
    cutoff: float,
    y: Array,
    point: Array,
    off: Array,
) -> tuple[int, float, int]:
    """Solve at a node's bounds low, high (relus,) from a basis (basic (rows,), key (relus,)), replaced by the last one.

    Ends after `limit` pivots or when the dual value exceeds `cutoff`. Where ties keep that from rising, a and p get
    small costs of their own until the optimum with them is reached (phase 1), and lose them again (phase 2). y (rows,)
    receives the multipliers; where the optimum was reached, point (n,) the moves and off (relus,) the distances
    min(a, p) from the ReLUs' graphs. Returns (how it ended, dual value, pivots).
    """
    state = begin(program, low, high, basic, key, y)
    matrix = np.empty_like(state.inverse)
    place(program, low, high, state)
    if not factor(program, state, matrix):
        crash(program, low, high, basic, key)
        place(program, low, high, state)
        if not factor(program, state, matrix):
            return STOPPED, -np.inf, 0
    refresh(program, state)
    end, pivots, age, idle, phase = STOPPED, 0, 0, 0, 0
    free = state.where[2 * program.moves.shape[1] + 3 * program.relus + program.goals]
    while pivots < limit:
        if state.x[free] > cutoff:
            end = EXCLUDED
            break
        if age >= REFRESH:
            if not factor(program, state, matrix):
                break
            refresh(program, state)
            age = 0
        row, triangle = leaving(program, state)
        if row < 0 and phase == 1:
            phase, idle = 2, 0
            state.extra[:] = 0.0
            refresh(program, state)
            continue
        if row < 0:
            end = OPTIMAL
            break
        if idle > STALLED and phase == 2:
            end = TIED
            break
        if idle > STALLED and phase == 0:
            phase = 1
            _perturb(program, state)
            refresh(program, state)
            continue
        if triangle >= 0:
            swap(program, state, triangle, row)
        amount, below = aim(program, state, row)
        size = breakpoints(program, state, row)
        chosen, step, value, gained = walk(program, state, size, amount, state.x[free], cutoff)
        if value > cutoff:
            for k in range(y.size):
                y[k] += step * state.direction[k]
            end = EXCLUDED
            break
        if chosen < 0:
            break
        idle = idle + 1 if step <= 0.0 else 0
        flip(program, state, gained)
        if enter(program, state, row, chosen, below, step):
            age += 1
        elif age == 0:
            break
        else:
            age = REFRESH
        pivots += 1
    if end == OPTIMAL:
        _solution(program, state, point, off)
    return end, state.x[free], pivots


@inner
def _perturb(program: Program, state: SimplexState) -> None:
    """Give a and p of each ReLU costs that differ: the golden ratio's multiples spread evenly."""
    relus, hi = program.relus, state.hi
    for kind in range(ACTIVE, INACTIVE + 1):
        for j in range(relus):
            share = (0.6180339887498949 * (2 * j + kind)) % 1.0
            most = hi[program.room.size + kind * relus + j]
            state.extra[kind, j] = PERTURBED * (0.5 + 0.5 * share) / most if most > 0.0 else 0.0


@inner
def _solution(program: Program, state: SimplexState, point: Array, off: Array) -> None:
    """The moves of the input, and how far the ReLUs are off their graphs."""
    n, relus, base, room = program.moves.shape[1], program.relus, program.room.size, program.room
    where, key, reach, x, lo, hi = state.where, state.key, state.reach, state.x, state.lo, state.hi
    for c in range(2 * n if program.split else n):
        place = where[c]
        value = x[place] if place >= 0 else room[c] if place == UPPER else 0.0
        if c < n:
            point[c] = value
        else:
            point[c - n] -= value
    for j in range(relus):
        off[j] = 0.0
        if state.paired[j]:
            keyed, _, _ = of_key(relus, base, j, where, key, reach, x, hi)
            nearest = np.inf
            for kind in range(ACTIVE, INACTIVE + 1):
                c = base + kind * relus + j
                place = where[c]
                value = x[place] if place >= 0 else keyed if place == KEY else hi[c] if place == UPPER else lo[c]
                nearest = min(nearest, value)
            off[j] = max(0.0, nearest)
