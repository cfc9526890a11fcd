"""The attacks by name, behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import frozen
from encoders.network.norm import Norm
from verifier.attacks.apgd import ApgdSettings, LossName, apgd
from verifier.attacks.autoattack import AutoAttackSettings, autoattack
from verifier.attacks.base.problem import AttackProblem, Candidates, Case
from verifier.attacks.base.search import Surrogate
from verifier.attacks.carlini_wagner import carlini_wagner, carlini_wagner_l2
from verifier.attacks.deepfool import DeepFoolSettings, deepfool, deepfool_l2
from verifier.attacks.fab import FabSettings, fab, fab_l2
from verifier.attacks.gradient import (
    BIM_SETTINGS,
    FGSM_SETTINGS,
    PGD_SETTINGS,
    gradient_attack,
    gradient_attack_l2,
)
from verifier.attacks.jsma import JsmaSettings, jsma
from verifier.attacks.lbfgs import LbfgsSettings, lbfgs, lbfgs_l2
from verifier.attacks.square import SquareSettings, square
from verifier.attacks.transfer import TransferSettings, transfer
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class Attack:
    """A minimum-distance attack: search(surrogate, problem, budget, settings), and the settings that it is run by.

    sees: does it follow the network's gradients? Where these vanish at a start, it searches a second time with ones
    that leak (`Surrogate.leaking`): on a plateau there is no way uphill, and the first search has
    half of the time.
    """

    name: str
    search: Callable[[Surrogate, AttackProblem, Budget, Any], Candidates]
    settings: Any = None
    sees: bool = True

    def __call__(
        self,
        surrogate: Surrogate,
        cases: Sequence[Case],
        norm: Norm,
        lo: npt.ArrayLike,
        hi: npt.ArrayLike,
        *,
        budget: Budget,
        margin: float = 0.0,
        seed: int = 0,
    ) -> Candidates:
        """For each case the nearest adversarial point found in the box lo ≤ x ≤ hi (scalars or shape (n,)).

        The same arguments and seed give the same answer on the CPU. When the budget ends, what has been found so far is
        returned.
        """
        graph = surrogate.graph
        low, high = (frozen(np.broadcast_to(end, (graph.input_size,))) for end in (lo, hi))
        problem = AttackProblem(tuple(cases), graph.output_size, norm, low, high, margin, seed)
        # Weights and boxes near the ends of float32's range overflow on the way: such a point is NaN or infinite, which
        # is nearer than nothing, so that no search keeps it.
        with np.errstate(all="ignore"):
            found = self.search(surrogate, replace(problem, halves=self.sees), budget, self.settings)
            if not self.sees or budget.ended or not found.flat.size:
                return found
            again = replace(problem, cases=tuple(problem.cases[place] for place in found.flat))
            return found.nearer(found.flat, self.search(surrogate.leaking, again, budget, self.settings))


ATTACKS: Mapping[str, Attack] = {
    "fgsm": Attack("fgsm", gradient_attack, FGSM_SETTINGS),
    "fgm-l2": Attack("fgm-l2", gradient_attack_l2, FGSM_SETTINGS),
    "bim": Attack("bim", gradient_attack, BIM_SETTINGS),
    "pgd": Attack("pgd", gradient_attack, PGD_SETTINGS),
    "pgd-l2": Attack("pgd-l2", gradient_attack_l2, PGD_SETTINGS),
    "cw": Attack("cw", carlini_wagner),
    "cw-l2": Attack("cw-l2", carlini_wagner_l2),
    "lbfgs": Attack("lbfgs", lbfgs, LbfgsSettings()),
    "lbfgs-l2": Attack("lbfgs-l2", lbfgs_l2, LbfgsSettings()),
    "deepfool": Attack("deepfool", deepfool, DeepFoolSettings()),
    "deepfool-l2": Attack("deepfool-l2", deepfool_l2, DeepFoolSettings()),
    "jsma": Attack("jsma", jsma, JsmaSettings()),
    "fab": Attack("fab", fab, FabSettings()),
    "fab-l2": Attack("fab-l2", fab_l2, FabSettings()),
    "apgd-ce": Attack("apgd-ce", apgd, ApgdSettings(loss=LossName.CE)),
    "apgd-dlr": Attack("apgd-dlr", apgd, ApgdSettings(loss=LossName.DLR)),
    "square": Attack("square", square, SquareSettings(), sees=False),
    "autoattack": Attack("autoattack", autoattack, AutoAttackSettings()),
    "transfer": Attack("transfer", transfer, TransferSettings(), sees=False),
}


def attack_named(name: str) -> Attack:
    """The attack called `name`. Raises InputError that lists the known ones."""
    if name not in ATTACKS:
        raise InputError(f"unknown attack {name!r}; known attacks: {', '.join(ATTACKS)}")
    return ATTACKS[name]
