"""The store: brackets that only get better, claims, readers, older schemas, foreign files, a full disk."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from verifier.campaign.plan.attack_tasks import Finding, Kind
from verifier.campaign.plan.messages import Outcome, Report, Step
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.store.database import StoreError
from verifier.campaign.store.leases import LOSSES, Limits
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.schema import APPLICATION, MIGRATIONS, SCHEMA
from verifier.campaign.store.store import Store
from verifier.problem.verdict import Bracket, Evidence

Brackets = Callable[..., Bracket]
LIMITS = Limits(10.0)


@pytest.fixture
def key(store: Store, plan: Callable[..., Plan], wanted: list[Wanted]) -> str:
    return store.begin(plan(), wanted)


def outcome(wanted: Wanted, found: Bracket | None, place: int = 0, **more: object) -> Outcome:
    return Outcome(wanted.task.id, wanted.targets[place], found, **more)  # type: ignore[arg-type]


def test_a_task_comes_back_as_it_was_entered(store: Store, key: str, wanted: list[Wanted]) -> None:
    assert key
    for each in wanted:
        read = store.task(each.task.id)
        assert read.id == each.task.id
        assert np.array_equal(read.point, each.task.point)
        assert np.array_equal(read.hi, each.task.hi)
    results = store.results(key)
    assert [one.id for one in results] == [each.task.instance(target) for each in wanted for target in each.targets]
    assert {one.status for one in results} == {"pending"}


def test_ends_only_get_better(store: Store, key: str, wanted: list[Wanted], bracket: Brackets) -> None:
    first = wanted[0]
    for lower, upper in ((0.1, 0.5), (0.2, 0.6), (0.05, 0.4), (0.15, 0.45)):
        store.save(outcome(first, bracket(lower, upper)))
    known = store.results(key)[0]
    assert (known.lower, known.upper, known.initial, known.status) == (0.2, 0.4, 1.0, "bracketed")
    assert known.witness is not None
    assert known.witness.distance == 0.4
    assert np.all(known.witness.point == np.float32(0.4))
    assert store.save(outcome(first, bracket(0.3995, 0.6))) == ["minimal"]
    assert store.save(outcome(first, bracket(0.1, 0.6))) == ["minimal"]


def test_evidence_is_that_of_the_lower_end(store: Store, key: str, wanted: list[Wanted], bracket: Brackets) -> None:
    store.save(outcome(wanted[0], bracket(0.1, 0.5, Evidence.PROVED)))
    store.save(outcome(wanted[0], bracket(0.05, 0.4, Evidence.SOLVER)))
    assert store.results(key)[0].evidence == "proved"
    store.save(outcome(wanted[0], bracket(0.2, 0.4, Evidence.SOLVER)))
    assert store.results(key)[0].evidence == "solver"


def test_a_contradiction_is_told_and_not_merged(
    store: Store, key: str, wanted: list[Wanted], bracket: Brackets
) -> None:
    store.save(outcome(wanted[0], bracket(0.3, 0.5)))
    assert store.save(outcome(wanted[0], bracket(0.1, 0.2))) == ["contradiction"]
    known = store.results(key)[0]
    assert (known.lower, known.upper) == (0.3, 0.5)
    assert known.reason == "one run says lower 0.3, another upper 0.2"
    assert not store.counts(key).done


def test_history_keeps_every_step_once(store: Store, key: str, wanted: list[Wanted], bracket: Brackets) -> None:
    steps = (Step(0.1, 0.0, 0.5), Step(0.2, 0.1, 0.4))
    for taken in (steps[:1], steps):
        store.save(outcome(wanted[0], bracket(0.1, 0.4), steps=taken))
    assert [step for _, step in store.history(store.results(key)[0].id)] == list(steps)


def test_a_task_has_one_owner_until_it_is_finished(store: Store, key: str, bracket: Brackets) -> None:
    one, other = Owner.here(), Owner.here()
    first, second = store.claim(key, one, LIMITS), store.claim(key, other, LIMITS)
    assert first is not None
    assert second is not None
    assert first.task != second.task
    assert (len(first.targets), first.limit) == (9, 10.0)
    assert store.claim(key, other, LIMITS) is None
    assert store.others_at_work(key, 10.0)
    last = tuple(Outcome(first.task, target, bracket(0.1, 0.5)) for target in first.targets)
    store.finish(one, Report(first, last, used_up=True, cut=False))
    assert store.claim(key, other, LIMITS) is None  # its limit is used up
    again = store.claim(key, other, Limits(20.0))
    assert again is not None
    assert (again.task, again.limit) == (first.task, 20.0)


@pytest.mark.parametrize("given_up", ["run out", "released", "dead"])
def test_what_others_give_up_between_two_looks_is_still_to_be_done(store: Store, key: str, given_up: str) -> None:
    """A campaign looks for something to claim, then whether to wait: it must not end in between."""
    other = Owner(f"{platform.node()}/{os.getpid()}/1/n") if given_up == "dead" else Owner("elsewhere/1/2/n")
    claims = [store.claim(key, Owner.here() if given_up == "dead" else other, LIMITS) for _ in range(2)]
    assert None not in claims
    assert store.claim(key, Owner.here(), LIMITS) is None
    if given_up == "released":
        store.release(other)
    else:
        with sqlite3.connect(store.path) as connection:
            ends = {"run out": "expires = 0", "dead": f"owner = '{other.text}'"}[given_up]
            connection.execute(f"UPDATE leases SET {ends}")
        connection.close()
    assert store.others_at_work(key, LIMITS.most)
    assert store.claim(key, Owner.here(), LIMITS) is not None


def test_closed_targets_are_not_claimed_again(store: Store, key: str, wanted: list[Wanted], bracket: Brackets) -> None:
    store.save(outcome(wanted[0], bracket(0.4, 0.4), 2))
    claim = store.claim(key, Owner.here(), LIMITS)
    assert claim is not None
    assert claim.targets == (*wanted[0].targets[:2], *wanted[0].targets[3:])


def test_the_least_tried_come_first_then_the_largest_gap(
    store: Store, key: str, wanted: list[Wanted], bracket: Brackets
) -> None:
    limits = Limits(64.0, 1.0)
    owner = Owner.here()
    for each, lower in zip(wanted, (0.4, 0.1), strict=True):
        claim = store.claim(key, owner, limits)
        assert claim is not None
        assert (claim.task, claim.limit) == (each.task.id, 1.0)
        last = tuple(Outcome(claim.task, target, bracket(lower, 0.5)) for target in claim.targets)
        store.finish(owner, Report(claim, last, used_up=True, cut=False))
    widest = store.claim(key, owner, limits)
    assert widest is not None
    assert (widest.task, widest.limit) == (wanted[1].task.id, 4.0)


def test_the_claims_of_a_dead_process_are_free_at_once(store: Store, key: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from verifier.campaign.store.store import Store\n"
        "from verifier.campaign.store.owner import Owner; from verifier.campaign.store.leases import Limits\n"
        "store = Store(Path(sys.argv[1])); owner = Owner.here()\n"
        "assert store.claim(sys.argv[2], owner, Limits(1.0)) and store.claim(sys.argv[2], owner, Limits(1.0))\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.path), key], check=False, cwd=ROOT)
    assert done.returncode == -9
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not tell when a process began: claims end after their lease")
    assert store.claim(key, Owner.here(), LIMITS) is not None


ROOT = Path(__file__).resolve().parents[4]


def test_what_loses_its_worker_again_and_again_has_failed_until_the_next_command(
    store: Store, key: str, plan: Callable[..., Plan], wanted: list[Wanted]
) -> None:
    owner = Owner.here()
    for _ in range(LOSSES):
        while store.claim(key, owner, LIMITS):
            pass
        store.lose(owner, "killed")
    counts = store.counts(key)
    assert counts.failed == counts.instances
    assert store.claim(key, owner, LIMITS) is None
    assert {one.reason for one in store.results(key)} == {"killed"}
    store.begin(plan(), wanted)
    assert store.claim(key, owner, LIMITS) is not None


def test_an_error_leaves_the_bracket(store: Store, key: str, wanted: list[Wanted], bracket: Brackets) -> None:
    store.save(outcome(wanted[0], bracket(0.1, 0.5)))
    assert store.save(outcome(wanted[0], None, error="ValueError: x")) == ["error"]
    known = store.results(key)[0]
    assert (known.lower, known.upper, known.reason) == (0.1, 0.5, "ValueError: x")


def test_what_is_read_tells_no_folder(store: Store, key: str, wanted: list[Wanted]) -> None:
    """Stores are reported, and reports handed on; older ones hold paths of whole machines."""
    task = wanted[0].task
    store.save(outcome(wanted[0], None, error=f"{task.model}: no such file; see /srv/private/log.txt"))
    failed = Finding(task.id, wanted[0].targets[0], Kind.ATTACK, "pgd", error=f"{task.model.parent}/w.bin: damaged")
    store.save(failed)
    known, (found,) = store.results(key)[0], store.findings()
    assert known.reason == f"{task.model.name}: no such file; see …/log.txt"
    assert found.reason == "…/w.bin: damaged"


def test_readers_see_whole_transactions_while_others_write(
    store: Store, key: str, wanted: list[Wanted], bracket: Brackets
) -> None:
    """Each finish raises all nine lower ends together: a reader never sees some of them."""
    owner = Owner.here()
    claim = store.claim(key, owner, LIMITS)
    assert claim is not None
    ended, seen = threading.Event(), []

    def watch() -> None:
        with Store(store.path, readonly=True) as reader:
            while not ended.is_set():
                seen.append({one.lower for one in reader.results() if one.task == claim.task})

    watching = threading.Thread(target=watch)
    watching.start()
    for step in range(40):
        last = tuple(Outcome(claim.task, target, bracket(step / 100, 0.5)) for target in claim.targets)
        store.finish(owner, Report(claim, last, used_up=False, cut=False))
    ended.set()
    watching.join()
    assert all(len(lowers) == 1 for lowers in seen)
    ordered = [lowers.pop() for lowers in seen]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) > 1


def test_a_reader_cannot_write(store: Store, key: str, plan: Callable[..., Plan], wanted: list[Wanted]) -> None:
    with Store(store.path, readonly=True) as reader, pytest.raises(StoreError, match="cannot be written to"):
        reader.begin(plan(), wanted)
    assert store.results(key)


TASK = "id, model, input, box, label, norm, margin, precision, method, solver, source, source_index"
"""The columns of a task in the first schema."""


@pytest.mark.parametrize("old", range(1, SCHEMA))
def test_a_store_of_an_older_schema_keeps_its_results(
    old: int, tmp_path: Path, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Brackets
) -> None:
    path, made = tmp_path / "old.sqlite", sqlite3.connect(tmp_path / "old.sqlite")
    for script in MIGRATIONS[:old]:
        made.executescript(script)
    made.executescript(f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {old}")
    first = wanted[0].task
    made.execute("INSERT INTO models VALUES (?, ?)", (first.model_sha256, str(first.model)))
    made.execute("INSERT INTO inputs VALUES (?, '<f4', '[1, 64]', ?)", (first.input_sha256, first.point.tobytes()))
    made.execute("INSERT INTO boxes VALUES (?, ?, ?)", (first.box_sha256, first.lo[:1].tobytes(), first.hi.tobytes()))
    asked = (first.id, first.model_sha256, first.input_sha256, first.box_sha256, first.label)
    made.execute(f"INSERT INTO tasks ({TASK}) VALUES (?, ?, ?, ?, ?, 'linf', 0, 1e-3, 'tree', NULL, 'x', 6)", asked)
    target = wanted[0].targets[0]
    made.execute(
        "INSERT INTO instances (id, task, target, status, lower, upper, attack, initial, evidence) "
        "VALUES (?, ?, ?, 'bracketed', 0.125, 0.5, 'cw', 0.75, 'proved')",
        (first.instance(target), first.id, target),
    )
    made.commit()
    made.close()
    with Store(path) as store:
        key = store.begin(plan(), wanted)
        store.save(outcome(wanted[0], bracket(0.1, 0.4), steps=(Step(1.0, 0.1, 0.4),)))
        known = store.results(key)[0]
        assert (known.lower, known.upper, known.initial) == (0.125, 0.4, 0.75)
        assert len(store.history(known.id)) == 1


def test_a_store_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    with Store(path):
        pass
    made = sqlite3.connect(path)
    made.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    made.close()
    with pytest.raises(Exception, match=f"has schema {SCHEMA + 1}; this version of verifier knows {SCHEMA}"):
        Store(path)


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("no database" * 100, encoding="utf-8")
    with pytest.raises(StoreError, match="not a store"):
        Store(path)
    assert path.read_text(encoding="utf-8") == "no database" * 100
    foreign = tmp_path / "foreign.sqlite"
    made = sqlite3.connect(foreign)
    made.execute("CREATE TABLE cats (name)")
    made.close()
    with pytest.raises(Exception, match="a database of another program"):
        Store(foreign)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "none" / "s.sqlite")


def test_a_full_disk_is_told_and_what_was_saved_is_there(
    small_disk: Path, plan: Callable[..., Plan], wanted: list[Wanted], bracket: Brackets
) -> None:
    path, ballast = small_disk / "s.sqlite", small_disk / "ballast"
    saved: list[float] = []
    with Store(path) as store:
        key = store.begin(plan(), wanted)
        ballast.write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 100_000))

        def fill() -> None:
            for step in range(1000):
                steps = tuple(Step(float(place + 50 * step), 0.0, 1.0) for place in range(50))
                store.save(outcome(wanted[0], bracket(step / 10_000, 0.5), steps=steps))
                saved.append(step / 10_000)

        with pytest.raises(StoreError, match="disk is full") as raised:
            fill()
        assert "\n" not in str(raised.value)
        assert store.results(key)[0].lower == saved[-1]
        ballast.unlink()
        store.save(outcome(wanted[0], bracket(0.3, 0.5)))
    with Store(path) as store:
        assert store.results(key)[0].lower == 0.3
        assert len(store.history(store.results(key)[0].id)) == 50 * len(saved)


def test_a_replaced_target_is_no_loss(store: Store, key: str, wanted: list[Wanted], plan: Callable[..., Plan]) -> None:
    """A plan that asks for less leaves what it no longer asks for in the store."""
    few = [replace(each, targets=each.targets[:1]) for each in wanted]
    assert store.begin(plan(), few) == key
    assert (len(store.results(key)), len(store.results())) == (2, 18)
