"""Campaigns over the shipped digits: killed and resumed, two at once, time that grows, failures and lost workers."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from encoders.errors import InputError
from tests.verifier.campaign.store.linearizability import by_task, explained, read
from verifier.campaign.analysis.table1 import TableLine, summary
from verifier.campaign.backends import Backend
from verifier.campaign.plan.messages import Report, Work
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import limits_of, run
from verifier.campaign.store.leases import Limits
from verifier.campaign.store.presence import How
from verifier.campaign.store.records import Counts, Result
from verifier.campaign.store.store import Store
from verifier.campaign.worker import solve
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget

ROOT = Path(__file__).resolve().parents[3]
ALONE = Backend(jobs=1)
PRECISION = 1e-3


@pytest.fixture(scope="module")
def asked(plan: Callable[..., Plan]) -> Plan:
    """Four tasks, 36 brackets, some two seconds; the last nine may close all at once."""
    return plan((6, 7), norms=("linf", "l1"))


@pytest.fixture(scope="module")
def undisturbed(asked: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """The results of a campaign that nothing happens to."""
    with Store(tmp_path_factory.mktemp("undisturbed") / "s.sqlite") as store:
        counts = run(asked, tasks_of(asked), store, ALONE, Budget())
        assert (counts.done, counts.instances, counts.at_work) == (True, 36, 0)
        return store.results()


def command(asked: Plan, store: Path, *more: str) -> list[str]:
    indices = [word for index in asked.select.indices for word in ("--index", str(index))]
    norms = [word for norm in asked.norms for word in ("--norm", norm)]
    data = ["--model", "digits", "--data", asked.data, "--device", "cpu"]
    return [*data, *indices, *norms, "--store", str(store), *more]


def begun(words: Sequence[str], module: Sequence[str] = ("verifier", "campaign")) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", *module, *words]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def when_closed(path: Path, least: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many brackets of a running campaign are closed."""
    while process.poll() is None:
        if path.exists():
            with suppress(Exception), Store(path, readonly=True) as store:  # the tables may not be there yet
                if store.counts().closed >= least:
                    return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def assert_same(found: Sequence[Result], expected: Sequence[Result]) -> None:
    """The same instances, statuses and table; ends that enclose the same minimum."""
    assert [(one.id, one.status) for one in found] == [(one.id, one.status) for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert max(one.lower, other.lower) <= min(one.upper, other.upper)
        assert abs(one.upper - other.upper) <= PRECISION
    assert [table_line(line) for line in summary(found)] == [table_line(line) for line in summary(expected)]


def table_line(line: TableLine) -> tuple[object, ...]:
    """A line of the final table as it is printed, but for what an attack that Ctrl-C cut short may have changed."""
    assert line.means is not None
    return *line.group, line.closed, line.instances, f"{line.means.upper:.4f}"


def test_every_bracket_has_its_witness_evidence_search_and_history(undisturbed: list[Result]) -> None:
    for one in undisturbed:
        assert one.closed
        assert one.upper - one.lower <= PRECISION
        assert one.upper <= one.initial
        assert one.evidence == "proved"
        assert one.witness is not None
        assert one.witness.distance == one.upper
        assert one.witness.target == one.target
        assert one.search is not None
        assert one.attempts == 1


def test_what_is_done_is_not_done_again(asked: Plan, tmp_path: Path) -> None:
    few = replace(asked, norms=("linf",), select=Selection((6,)))
    with Store(tmp_path / "s.sqlite") as store:
        shown: list[Counts] = []
        run(few, tasks_of(few), store, ALONE, Budget(), shown.append)
        assert shown[-1].done
        before = [(one.id, one.updated, one.attempts) for one in store.results()]
        run(few, tasks_of(few), store, ALONE, Budget())
        assert [(one.id, one.updated, one.attempts) for one in store.results()] == before


@pytest.mark.parametrize("closed", [1, 22])
def test_kill_9_and_the_same_command_again(closed: int, asked: Plan, undisturbed: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    first = begun(command(asked, path, "--jobs", "1"))
    when_closed(path, closed, first)
    first.kill()
    first.communicate()
    with Store(path, readonly=True) as store:
        kept = {one.id: one for one in store.results() if one.closed}
    assert closed <= len(kept) < 36
    assert main(["campaign", *command(asked, path, "--jobs", "1")]) == Exit.GOOD
    with Store(path) as store:
        found = store.results()
    assert_same(found, undisturbed)
    for one in found:
        if one.id in kept:
            before = kept[one.id]
            assert (one.lower, one.upper, one.attempts) == (before.lower, before.upper, before.attempts)


def test_ctrl_c_ends_with_code_3_and_the_same_command_goes_on(
    asked: Plan, undisturbed: list[Result], tmp_path: Path
) -> None:
    path = tmp_path / "s.sqlite"
    first = begun(command(asked, path, "--jobs", "1"))
    when_closed(path, 1, first)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate()
    assert (first.returncode, err) == (Exit.UNDECIDED, "verifier: interrupted: the same command goes on from here\n")
    assert "closed" in out
    with Store(path) as store:
        assert store.counts().at_work == 0
        run(asked, tasks_of(asked), store, ALONE, Budget())
        assert_same(store.results(), undisturbed)


def test_a_full_disk_ends_with_one_line_and_with_room_the_same_command_goes_on(
    small_disk: Path, asked: Plan, undisturbed: list[Result]
) -> None:
    path = small_disk / "s.sqlite"
    # A process of its own: what is gone keeps no lease that it could not give back.
    first = begun(command(asked, path, "--jobs", "1"))
    out, err = first.communicate()
    assert (first.returncode, out, err.count("\n")) == (Exit.BAD_INPUT, "", 1)
    assert "the disk is full; what is in the store is safe" in err
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    with Store(path, readonly=True) as store:
        kept = {one.id: (one.lower, one.upper) for one in store.results() if one.closed}
    assert 0 < len(kept) < 36
    assert main(["campaign", *command(asked, path, "--jobs", "1")]) == Exit.GOOD
    with Store(path) as store:
        found = store.results()
    assert_same(found, undisturbed)
    assert kept.items() <= {one.id: (one.lower, one.upper) for one in found}.items()


@pytest.mark.long
def test_two_campaigns_on_one_store_do_nothing_twice(asked: Plan, undisturbed: list[Result], tmp_path: Path) -> None:
    path, logs = tmp_path / "s.sqlite", [tmp_path / "0.log", tmp_path / "1.log"]
    words = command(asked, path, "--jobs", "1")
    runs = [begun([str(log), *words], ["tests.verifier.campaign.recorded"]) for log in logs]
    for process in runs:
        out, err = process.communicate()
        assert (process.returncode, err) == (Exit.GOOD, ""), out
        assert "36 of 36 closed" in out
    with Store(path, readonly=True) as store:
        found = store.results()
    assert_same(found, undisturbed)
    assert {one.attempts for one in found} == {1}
    histories = by_task([operation for log in logs if log.exists() for operation in read(log)])
    assert len(histories) == 4
    assert all(explained(history) for history in histories.values())


def test_open_brackets_go_on_with_more_time(asked: Plan, undisturbed: list[Result], tmp_path: Path) -> None:
    """With next to no time only the attack, or less, is done; with the same time again nothing is."""
    short = replace(asked, timeout=1e-6)
    with Store(tmp_path / "s.sqlite") as store:
        assert not run(short, tasks_of(asked), store, ALONE, Budget()).done
        before = store.results()
        run(short, tasks_of(asked), store, ALONE, Budget())
        assert [one.attempts for one in store.results()] == [1] * 36
        assert run(asked, tasks_of(asked), store, ALONE, Budget()).done
        after = store.results()
    assert_same(after, undisturbed)
    for one, other in zip(before, after, strict=True):
        assert other.lower >= one.lower
        assert other.upper <= one.upper
        assert other.attempts == (1 if one.closed else 2)


def test_a_total_budget_begins_with_a_short_time_for_all(plan: Callable[..., Plan]) -> None:
    counts = Counts(instances=100, closed=20, open=0, failed=0, at_work=0)
    assert limits_of(plan(timeout=60.0), 2, counts) == Limits(60.0, 60.0)
    limits = limits_of(plan(timeout=60.0, total_budget=480.0), 2, counts)
    assert limits == Limits(60.0, 3.0)
    assert [limits.after(tried) for tried in (0.0, 3.0, 12.0, 48.0)] == [3.0, 12.0, 48.0, 60.0]
    assert limits_of(plan(total_budget=480.0), 2, counts).after(1e9) == 4e9
    assert math.isinf(limits_of(plan(), 2, counts).after(0.0))


def test_a_total_budget_ends_a_campaign_with_code_3_and_the_next_one_goes_on(asked: Plan, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    words = command(asked, path, "--jobs", "1", "--total-budget")
    assert main(["campaign", *words, "0.001s"]) == Exit.UNDECIDED
    assert main(["campaign", "--status", str(path)]) == Exit.UNDECIDED
    assert main(["campaign", *words, "1h"]) == Exit.GOOD
    assert main(["campaign", "--status", str(path)]) == Exit.GOOD


def test_an_input_that_is_misclassified_is_at_distance_0(plan: Callable[..., Plan], tmp_path: Path) -> None:
    few = plan((6,), targets=(1, 2))
    wrong = [replace(each, task=replace(each.task, label=9)) for each in tasks_of(few)]
    with Store(tmp_path / "s.sqlite") as store:
        assert run(few, wrong, store, ALONE, Budget()).done
        assert [(one.status, one.upper) for one in store.results()] == [("already-adversarial", 0.0)] * 2


def test_untargeted_and_other_methods(plan: Callable[..., Plan], undisturbed: list[Result], tmp_path: Path) -> None:
    nearest = min(one.upper for one in undisturbed if (one.index, one.norm) == (6, "linf"))
    with Store(tmp_path / "s.sqlite") as store:
        for method in ("tree", "milp"):
            few = plan((6,), targets="untargeted", method=method)
            run(few, tasks_of(few), store, ALONE, Budget())
        found = store.results()
    assert [(one.method, one.target, one.status) for one in found] == [
        ("tree", None, "minimal"),
        ("milp", None, "minimal"),
    ]
    assert all(abs(one.upper - nearest) <= PRECISION for one in found)


def test_a_model_that_has_changed_is_an_error_of_its_instances_only(asked: Plan, tmp_path: Path) -> None:
    wanted = tasks_of(replace(asked, norms=("linf",)))
    gone = replace(wanted[0], task=replace(wanted[0].task, model_sha256="0" * 64))
    with Store(tmp_path / "s.sqlite") as store:
        counts = run(asked, [gone, wanted[1]], store, ALONE, Budget())
        assert (counts.closed, counts.failed) == (9, 9)
        assert "has changed since the campaign began" in store.results()[0].reason


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_that_vanishes_while_it_is_used_is_an_error(replaced: bool, asked: Plan, tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"

    def vanish(_: Counts) -> None:
        path.unlink(missing_ok=True)
        if replaced:
            path.write_bytes(b"")

    with Store(path) as store, pytest.raises(InputError, match="deleted or replaced while it was in use"):
        run(asked, tasks_of(asked), store, ALONE, Budget(), vanish)


def test_a_lost_process_of_this_machine_is_replaced(asked: Plan, undisturbed: list[Result], tmp_path: Path) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("the children of a process are found in /proc, which this system does not have")
    path = tmp_path / "s.sqlite"
    campaign = begun(command(asked, path, "--jobs", "2"))
    when_closed(path, 1, campaign)
    workers = [pid for pid in children(campaign.pid) if "verifier.problem.child" in cmdline(pid)]
    assert workers
    os.kill(workers[-1], signal.SIGKILL)
    out, err = campaign.communicate()
    assert (campaign.returncode, err) == (Exit.GOOD, "")
    assert "36 of 36 closed" in out
    with Store(path, readonly=True) as store:
        assert_same(store.results(), undisturbed)


def test_workers_that_are_lost_for_good_end_with_the_table_of_what_is_known(
    asked: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with a scheduler that is killed: there are some answers, then nothing but errors."""

    def gone(_: Backend, works: Iterator[Work], __: Budget) -> Iterator[Report]:
        with Store(path, readonly=True) as store:
            if store.counts().closed:
                raise InputError("--scheduler there: it does not answer")
        yield solve(next(works))
        next(works)
        raise ConnectionError("the scheduler\nis lost")

    path = tmp_path / "s.sqlite"
    monkeypatch.setattr(Backend, "run", gone)
    assert main(["campaign", *command(asked, path)]) == Exit.UNDECIDED
    out, err = capsys.readouterr()
    assert "9 of 36 closed" in out
    assert "lost 4 times: --scheduler there: it does not answer: the same command goes on from here" in err
    assert err.count("\n") == 1
    with Store(path, readonly=True) as store:
        (ran,) = store.contents().presence.runs
        assert (ran.how, {one.status for one in store.results()}) == (How.FAILED, {"minimal", "pending"})


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text(encoding="utf-8").split()]
    return found


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def test_the_plan_is_in_the_store(asked: Plan) -> None:
    assert json.loads(asked.text)["select"]["indices"] == [6, 7]
