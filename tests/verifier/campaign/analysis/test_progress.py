"""What a store's record of its campaigns means at a moment: made-up runs, a clock that tests turn."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from tests.verifier.campaign.made_up import result
from verifier.campaign.analysis.progress import LEAST_STEPS, CampaignState, Left, Tally, progress_of
from verifier.campaign.store.leases import LEASE
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.presence import CampaignRun, ClaimedTask, How, Presence, Steps

BEGAN = 1_000_000.0
ELSEWHERE = Owner("elsewhere/1/2/n")
HERE = Owner.here()
DEAD = Owner(f"{platform.node()}/{os.getpid()}/1/n")
"""A process of that number began at another time."""

RUN = CampaignRun(HERE, "plan", BEGAN, math.inf, BEGAN + 90, None, "", "", Steps(12, 28), done_before=2)
WORK = ClaimedTask(HERE, BEGAN + 200, BEGAN + 80, "w", "", "", Path("a.onnx"), "a", "input 0", "linf", 0, (1,))
TALLY = Tally(closed=12, open=27, failed=0, contradictions=1)
NOW = BEGAN + 100


def presence(*runs: CampaignRun, work: tuple[ClaimedTask, ...] = (WORK,)) -> Presence:
    return Presence(runs, work, BEGAN - 5, BEGAN + 95)


def left(run: CampaignRun, now: float = NOW) -> Left:
    found = progress_of(presence(run), TALLY, now).left
    assert found is not None
    return found


def test_a_running_campaign_says_since_when_and_at_what() -> None:
    found = progress_of(presence(RUN), TALLY, NOW)
    assert (found.state, found.began, found.ended, found.seconds) == (CampaignState.RUNNING, BEGAN, None, 100.0)
    assert found.work == (WORK,)


def test_the_time_left_goes_by_the_pace_of_this_run_or_the_total_budget() -> None:
    by_pace = left(RUN)  # 10 of 38 in 100 s: what earlier runs did does not count
    assert (by_pace.done, by_pace.left, by_pace.by_pace) == (10, 28, True)
    assert by_pace.seconds == pytest.approx(280.0)
    budget = left(replace(RUN, until=BEGAN + 160))
    assert (budget.seconds, budget.by_pace) == (60.0, False)
    assert left(replace(RUN, until=BEGAN + 1000)).seconds == pytest.approx(280.0)
    assert left(replace(RUN, until=BEGAN + 99)).seconds == 0.0


def test_too_few_steps_have_no_pace() -> None:
    few = replace(RUN, done_before=12 - LEAST_STEPS + 1)
    assert left(few).seconds is None
    assert left(replace(few, until=BEGAN + 160)).seconds == 60.0
    assert left(replace(few, done_before=12 - LEAST_STEPS)).seconds is not None


@pytest.mark.parametrize(
    ("how", "state"),
    [(How.DONE, CampaignState.FINISHED), (How.TIME_UP, CampaignState.TIME_UP),
     (How.INTERRUPTED, CampaignState.INTERRUPTED), (How.FAILED, CampaignState.FAILED)],
)  # fmt: skip
def test_an_end_shows_when_it_came_and_how_long_it_took(how: How, state: CampaignState) -> None:
    over = replace(RUN, ended=BEGAN + 95, how=how.value, why="so")
    found = progress_of(presence(over, work=()), TALLY, NOW + 5000)
    assert (found.state, found.ended, found.seconds, found.left) == (state, BEGAN + 95, 95.0, None)
    assert found.why == "so"
    if how is not How.FAILED:
        closed = replace(over, steps=Steps(40, 0))
        assert progress_of(presence(closed, work=()), TALLY, NOW).state is CampaignState.FINISHED


def test_a_dead_campaign_does_not_run_for_ever() -> None:
    """One of this host at once; one of another host when its claims have run out; its work is nobody's."""
    dead = progress_of(presence(replace(RUN, owner=DEAD), work=(replace(WORK, owner=DEAD),)), TALLY, NOW)
    assert (dead.state, dead.ended, dead.seconds, dead.work) == (CampaignState.DIED, RUN.seen, 90.0, ())
    far = presence(replace(RUN, owner=ELSEWHERE), work=(replace(WORK, owner=ELSEWHERE),))
    assert progress_of(far, TALLY, RUN.seen + LEASE).state is CampaignState.RUNNING
    gone = progress_of(far, TALLY, RUN.seen + LEASE + 1)
    assert (gone.state, gone.ended, gone.work) == (CampaignState.DIED, RUN.seen, ())


def test_a_command_that_its_limit_ended_did_not_die() -> None:
    late = replace(RUN, owner=DEAD, until=RUN.seen + 10)
    assert progress_of(presence(late), TALLY, NOW).state is CampaignState.TIME_UP
    assert progress_of(presence(replace(late, until=RUN.seen + 1000)), TALLY, NOW).state is CampaignState.DIED


def test_earlier_runs_are_counted_and_the_last_to_end_tells_the_end() -> None:
    first = replace(RUN, began=BEGAN - 50, ended=BEGAN - 20, how="interrupted")
    found = progress_of(presence(first, RUN), TALLY, NOW)
    assert (found.state, found.began, found.earlier, found.earlier_seconds) == (CampaignState.RUNNING, BEGAN, 1, 30.0)
    over = replace(RUN, began=BEGAN - 40, ended=BEGAN - 30, how="failed")
    found = progress_of(presence(first, over), TALLY, NOW)
    assert (found.state, found.ended, found.earlier) == (CampaignState.INTERRUPTED, BEGAN - 20, 1)


def test_of_several_campaigns_the_longest_is_waited_for() -> None:
    other = replace(RUN, plan="other", steps=Steps(12, 100))
    found = progress_of(presence(RUN, other), TALLY, NOW).left
    assert found is not None
    assert found.seconds == pytest.approx(1000.0)
    unknown = replace(other, done_before=12)
    found = progress_of(presence(RUN, unknown), TALLY, NOW).left
    assert found is not None
    assert found.seconds is None


def test_a_store_of_an_earlier_version_has_claims_and_brackets_only() -> None:
    running = progress_of(presence(), TALLY, NOW)
    assert (running.state, running.left) == (CampaignState.RUNNING, None)
    idle = progress_of(presence(work=()), TALLY, NOW)
    assert (idle.state, idle.ended) == (CampaignState.IDLE, BEGAN + 95)
    done = progress_of(presence(work=()), Tally(3, 0, 0, 0), NOW)
    assert (done.state, done.ended, done.seconds) == (CampaignState.FINISHED, BEGAN + 95, 100.0)
    fresh = progress_of(Presence((), (), BEGAN, 0.0), Tally(0, 3, 0, 0), NOW)
    assert (fresh.state, fresh.began, fresh.ended) == (CampaignState.IDLE, None, None)


def test_a_tally_counts_each_bracket_once() -> None:
    found = Tally.of([result(0.1, 0.1), result(0.1, 0.5), result(0, math.inf, status="pending"),
                      result(0, math.inf, status="error"), result(0.1, 0.5, status="contradiction")])  # fmt: skip
    assert (found, found.all) == (Tally(1, 2, 1, 1), 5)
