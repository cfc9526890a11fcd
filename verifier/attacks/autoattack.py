"""An ensemble without parameters after AutoAttack (Croce and Hein 2020b), for the minimum distance.

FAB first: it looks for the nearest point by itself. Then Auto-PGD on cross-entropy, Auto-PGD on the DLR loss, and
Square, each over radii below what is known already. The four fail for different reasons: what masks gradients from one
of them is seldom hidden from all, and Square needs no gradient at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from verifier.attacks.apgd import ApgdSettings, LossName, apgd_rows
from verifier.attacks.base.problem import AttackProblem, Candidates
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.attacks.base.sweep import RunWithinRadii, SweepSettings, sweep
from verifier.attacks.fab import FabSettings, walk_boundary
from verifier.attacks.square import SquareSettings, square_rows
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class AutoAttackSettings:
    """The members' settings: less effort than alone, since each begins where the others ended."""

    fab: FabSettings = field(default_factory=FabSettings)
    apgd: tuple[ApgdSettings, ...] = (ApgdSettings(loss=LossName.CE), ApgdSettings(loss=LossName.DLR))
    square: SquareSettings = field(default_factory=lambda: SquareSettings(rounds=2))


def autoattack(
    surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: AutoAttackSettings
) -> Candidates:
    """The nearest point of the four attacks in the problem's norm."""
    search = AttackSearch(surrogate, problem, budget)
    walk_boundary(search, settings.fab)
    for one in settings.apgd:
        _closer(search, one, partial(apgd_rows, search, one))
    _closer(search, settings.square, partial(square_rows, search, settings.square))
    return search.finish()


def _closer(search: AttackSearch, settings: SweepSettings, run: RunWithinRadii) -> None:
    """Search below the known points; from afar only while there are none."""
    search.shorten()
    all_known = bool(np.isfinite(search.distances[search.open]).all())
    sweep(search, settings, run, first=1 if all_known else 0)
