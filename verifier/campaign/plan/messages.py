"""What travels between a campaign and its workers: a piece of work, and what becomes of each target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from verifier.campaign.plan.attack_tasks import AttackTask, Finding, Kind
from verifier.campaign.plan.tasks import Target, Task
from verifier.problem.verdict import Bracket


@dataclass(frozen=True)
class Step:
    """A bracket's ends so many seconds after its attempt began."""

    seconds: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """A target's bracket, open or closed, with the steps since the last outcome; or the error that ended its run.

    trees: by goal the packed split trees of its search, where they are kept; the bracket has none.
    """

    task: str
    target: Target
    bracket: Bracket | None
    steps: tuple[Step, ...] = ()
    error: str = ""
    trees: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Before:
    """What is known of other models at an input, such as one that was trained again since: witnesses, the nearest
    first; those of closed brackets; by goal (a class) the packed split tree of a search."""

    witnesses: tuple[npt.NDArray[np.floating], ...] = ()
    minima: tuple[npt.NDArray[np.floating], ...] = ()
    trees: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Channel:
    """Where a campaign listens to its workers, and the key that both need."""

    address: tuple[str, int]
    key: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Work:
    """A claimed task: `seconds` for all open targets together; `known`: these, with witnesses of earlier attempts.

    memory: bytes for its process; None: half of what is free there. whole: the seconds are those of the claim's limit,
    not what the campaign has left. campaign: the number of the process that gives the work out. attack_tasks: what is
    to be done instead of closing brackets. before: what is known of other models at this input, to be tried first;
    given, the search's own trees are kept too.
    """

    claim: Claim
    task: Task
    known: Mapping[Target, npt.NDArray[np.floating] | None]
    seconds: float
    whole: bool = True
    threads: int = 1
    memory: float | None = None
    device: str = "auto"
    seed: int = 0
    channel: Channel | None = None
    campaign: int = 0
    attack_tasks: tuple[AttackTask, ...] = ()
    before: Before | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """The end of a claim: the last outcomes; used_up: the limit was; cut: the line to the campaign ended the work.

    lost: why its worker was lost; empty when it was not.
    """

    claim: Claim
    outcomes: tuple[Outcome | Finding, ...]
    used_up: bool
    cut: bool
    lost: str = ""


@dataclass(frozen=True)
class Claim:
    """The instances (by target) of a task that are to be worked on, each for `limit` seconds on average.

    attack_task: with None their brackets; else what is to be found out about them besides. radius: whether they are
    robust within it is enough to know; None: their whole brackets are wanted. again: what is known of other models at
    this input, which may be this one before it was trained again, is tried first.
    """

    task: str
    targets: tuple[int | None, ...]
    limit: float
    attack_task: tuple[Kind, str] | None = None
    radius: float | None = None
    again: bool = False
