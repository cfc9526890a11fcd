"""The attack that a question begins with, and goes back to while there is time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array, Graph
from verifier.attacks import registry as attacks
from verifier.attacks.base.problem import Candidates, Case, Metric
from verifier.attacks.base.search import Surrogate
from verifier.attacks.carlini_wagner import BRIEF, carlini_wagner
from verifier.attacks.goal_attack import GoalAttack
from verifier.problem.arguments import word
from verifier.problem.budget import Budget
from verifier.problem.query import Ball
from verifier.search.question import Specification
from verifier.search.settings import Settings
from verifier.search.state import Attacker

ATTACK_SHARE = 0.3
"""Part of a finite time limit that the attack may use: the rest belongs to the proof."""


ATTACK_ALONE = 0.9
"""The same where nothing is to be proved: the rest secures and polishes the witness."""


DEFAULT_ATTACK = "cw"

EVERY_CORE = 0
"""Threads of an attack that runs alone."""


def attacker(
    asked: Specification,
    settings: Settings,
    name: str = DEFAULT_ATTACK,
    *,
    radius: float = math.inf,
    nearest: bool = False,
    share: float = ATTACK_SHARE,
    brief: float = 0,
    alone: bool = False,
) -> Attacker:
    """The named attack on the goals as a function of a budget; raises InputError for an unknown name.

    radius: points that are much farther away are left out. nearest: only the nearest target matters, so that the named
    attack takes up the promising ones and a quick one is enough for the others, and for all where it finds a point well
    within the radius. share: of a finite time limit. brief: a tree follows, which on a network of at most so many ReLUs
    finds more than a longer attack would. alone: nothing follows, and it runs on every core.
    """
    attack = attacks.attack_named(word(name, "the attack"))
    attack = briefly(attack, asked.graph, asked.ball, brief)
    ball, seed = asked.ball, settings.seed
    share = ATTACK_ALONE if alone else share
    find = _finder(asked, settings.device, EVERY_CORE if alone else settings.threads)

    def run(budget: Budget) -> Sequence[Array | None]:
        limit = budget.share(1.0 / share)
        points: dict[int, Array] = {}
        places: Sequence[int] = range(len(asked.goals))
        bounded = math.isfinite(radius)
        if nearest and (bounded or len(places) > PROMISING):
            quick = find(attacks.attack_named(QUICK), places, limit, seed)
            points = _known(places, quick)
            found = bounded and quick.distances.min() <= WELL_WITHIN * radius
            places = () if found else np.argsort(quick.distances, kind="stable")[:PROMISING].tolist()
        if places:
            points |= _known(places, find(attack, places, limit, seed))
        return [
            point if (point := points.get(k)) is not None and _near(ball, point, radius) else None
            for k in range(len(asked.goals))
        ]

    return run


def briefly(attack: attacks.Attack, graph: Graph, ball: Ball, most: float) -> attacks.Attack:
    """The attack before a tree that polishes what it finds: shorter where it is Carlini–Wagner, on a network of at most
    so many ReLUs."""
    if attack.search is carlini_wagner and graph.relu_count <= most:
        return replace(attack, settings=BRIEF[Metric(ball.norm.value)])
    return attack


Finder = Callable[[attacks.Attack, Sequence[int], Budget, int], Candidates]
"""Runs an attack on the goals at some places within a budget, by a seed: one candidate for each."""


def _finder(asked: Specification, device: str, threads: int) -> Finder:
    ball = asked.ball
    goals = asked.attacked
    if asked.attacked_graph is not None:
        return GoalAttack(asked.attacked_graph, ball, goals, device, threads)
    surrogate = Surrogate(asked.model.network.graph, device, threads)
    cases = [Case(ball.centre, asked.label, target) for target, _ in goals]
    margin = -float(goals[0][1].offset[0])

    def find(by: attacks.Attack, places: Sequence[int], budget: Budget, seed: int) -> Candidates:
        chosen = [cases[place] for place in places]
        return by(surrogate, chosen, ball.norm, ball.lo, ball.hi, margin=margin, budget=budget, seed=seed)

    return find


def going_on(
    asked: Specification, known: Mapping[int, npt.ArrayLike], attack: Callable[[Specification], Attacker]
) -> Attacker:
    """An attack that gives the known points of targets, and attacks the others only."""
    points = {target: asked.model.vector(point).astype(np.float64) for target, point in known.items()}
    unknown = [target for target, _ in asked.goals if target not in points]
    rest = attack(asked.only(unknown)) if unknown else None

    def run(budget: Budget) -> Sequence[Array | None]:
        found = dict(zip(unknown, rest(budget), strict=True)) if rest is not None else {}
        return [points.get(target, found.get(target)) for target, _ in asked.goals]

    return run


ANY = math.inf
"""ReLUs of the largest network at which a brief attack is enough to begin with, where a longer one may follow."""


PROMISING = 3
"""Targets that are attacked with all effort when only the nearest one matters."""


WELL_WITHIN = 0.999
"""The share of a radius within which the quick attack's point is enough: rounding may take its witness farther out."""


QUICK = "pgd"
"""The attack that tells which targets are promising."""


def _known(places: Sequence[int], found: Candidates) -> dict[int, Array]:
    pairs = zip(places, found.points, strict=True)
    return {place: point.astype(np.float64) for place, point in pairs if point is not None}


def _near(ball: Ball, point: Array, radius: float) -> bool:
    return float(ball.length(point)) <= radius * 1.5
