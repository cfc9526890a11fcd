"""The figures of an evidence pack: certified accuracy as a band, and what a random draw says beyond them.

A band is what open brackets leave: at least so many inputs are proved robust, at most so many are not refuted. The
interval of Clopper and Pearson (1934) on its ends speaks of the population that the inputs were drawn from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verifier.campaign.plan.data import DIGITS
from verifier.problem.quantities import round_step

CONFIDENCE = 0.95
ROUND = 6
"""About so many radii are taken where nobody names any."""

EndPair = tuple[float, float]
"""An input's proved distance, and the distance of its nearest witness."""


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval for the probability of a success, from independent trials.

    The ends are the shares p for which so many or more, and so few or fewer, successes have probability
    (1 − confidence)/2: quantiles of beta distributions. Clopper and Pearson, Biometrika 26 (1934).
    """
    from scipy.special import betaincinv  # noqa: PLC0415, needed here only

    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1.0 - tail))
    return low, high


@dataclass(frozen=True)
class AccuracyBand:
    """Of so many inputs at least `proved` are robust within the radius, at most `not_refuted`.

    interval: where the population's share lies; None where the inputs are no random draw.
    """

    radius: float
    inputs: int
    proved: int
    not_refuted: int
    interval: tuple[float, float] | None

    @property
    def band(self) -> tuple[float, float]:
        """The shares."""
        return self.proved / self.inputs, self.not_refuted / self.inputs


def accuracy(brackets: Sequence[EndPair], radius: float, *, drawn: bool) -> AccuracyBand:
    """Certified accuracy at a radius. The interval reaches from the lower one of what is proved to the upper one of
    what is not refuted, so that it holds whatever open brackets will come to."""
    count = len(brackets)
    proved = sum(lower >= radius for lower, _ in brackets)
    kept = sum(upper > radius for _, upper in brackets)
    interval = (clopper_pearson(proved, count)[0], clopper_pearson(kept, count)[1]) if drawn else None
    return AccuracyBand(radius, count, proved, kept, interval)


def round_radii(brackets: Sequence[EndPair]) -> tuple[float, ...]:
    """Radii for certified accuracy where nobody names any: multiples of 1, 2 or 5 times a power of ten.

    Round ones, not quantiles of what was found: an interval holds for a radius that the inputs have not chosen.

    >>> round_radii([(0.031, 0.04), (0.02, 0.03)])
    (0.005, 0.01, 0.015, 0.02, 0.025, 0.03)
    """
    most = max((lower for lower, _ in brackets if lower < math.inf), default=0.0)
    if not most > 0:
        return ()
    step = round_step(most / ROUND)
    radii = (float(step * place) for place in range(1, 4 * ROUND))
    return tuple(radius for radius in radii if radius <= most)


@dataclass(frozen=True)
class Sampling:
    """How inputs were selected, in words; drawn: at random, so that they speak of a population; `scope`: of which."""

    words: str
    drawn: bool
    scope: str


HAND_PICKED = "none: the inputs were named one by one, not drawn"


def sampling(plans: Sequence[Mapping[str, Any]]) -> Sampling:
    """How the plans select inputs; several plans' inputs together are no draw."""
    told = {json.dumps(_selection(plan), sort_keys=True) for plan in plans}
    if len(told) != 1:
        return Sampling(f"by {len(told)} plans" if told else "not told", False, "none: the plans do not draw together")
    ((data, select),) = (_selection(plan) for plan in plans[:1])
    correct = ", of those that every model classifies as labelled" if select.get("correct") else ""
    seed, population = select.get("seed"), f"what {data} is a random sample of"
    if select.get("indices"):
        return Sampling(f"named one by one in {data}{correct}", False, HAND_PICKED)
    if per_class := select.get("per_class"):
        words = f"{per_class} of each class of {data}, drawn by seed {seed}{correct}"
        return Sampling(words, True, f"{population}, each class taken equally often{correct}")
    if count := select.get("count"):
        return Sampling(f"{count} of {data}, drawn by seed {seed}{correct}", True, f"{population}{correct}")
    return Sampling(f"all of {data}{correct}", False, "none: nothing was drawn, all inputs were taken")


def _selection(plan: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(data, select) of a plan as the store keeps it; a store may hold anything."""
    select, data, split = plan.get("select"), Path(str(plan.get("data"))), plan.get("split")
    whole = data.suffix or str(data) == DIGITS
    return data.name if whole else f"{data.name} ({split})", select if isinstance(select, dict) else {}
