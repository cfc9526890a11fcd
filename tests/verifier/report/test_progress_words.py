"""How far a campaign is, in words, for the page and the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.verifier.campaign.analysis.test_progress import BEGAN, NOW, RUN, TALLY, WORK, presence
from verifier.campaign.analysis.progress import progress_of
from verifier.campaign.store.presence import CampaignRun
from verifier.report.progress_words import MOST_WORK, duration, progress_lines


def told(*runs: CampaignRun, work: int = 1, now: float = NOW) -> list[str]:
    return progress_lines(progress_of(presence(*runs, work=(WORK,) * work), TALLY, now), {"a": "net"})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59.99, "59 s"), (60, "1 min 0 s"), (3599.9, "59 min 59 s"), (3600, "1 h 0 min"),
     (86399, "23 h 59 min"), (86400, "1 d 0 h"), (400 * 86400, "400 d 0 h")],
)  # fmt: skip
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_running_campaign() -> None:
    assert told(RUN) == [
        "Running since 1970-01-12 13:46:40 UTC; 12 of 40 brackets closed, 27 open, 1 contradiction",
        "elapsed 1 min 40 s, left ≈ 4 min 40 s (at the pace so far: 10 done in this run, 28 left)",
        "at work: net · input 0 · L∞ · 0 → 1, since 20 s, by w",
    ]
    assert told(replace(RUN, until=BEGAN + 160))[1] == (
        "elapsed 1 min 40 s, left ≤ 1 min 0 s (the rest of the total budget; 10 done in this run, 28 left)"
    )
    assert told(replace(RUN, done_before=12))[1].endswith("left – (no estimate yet: 0 done in this run, 28 left)")
    assert told(RUN, work=MOST_WORK + 3)[-1] == "and 3 more"


def test_an_end() -> None:
    ended = replace(RUN, ended=BEGAN + 95, how="interrupted")
    assert told(ended) == [
        "Interrupted at 1970-01-12 13:48:15 UTC, after 1 min 35 s; 12 of 40 brackets closed, 27 open, 1 contradiction",
        "the same command goes on from here",
    ]
    dead = told(RUN, now=BEGAN + 1000)
    assert dead[0].startswith("Died without a word, last heard of at 1970-01-12 13:48:10 UTC, after 1 min 30 s;")
    failed = told(replace(ended, how="failed", why="the disk is full"))
    assert failed[1] == "the disk is full; the same command goes on from here"
