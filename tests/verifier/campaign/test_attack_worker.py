"""What a campaign finds out besides brackets: attacks, and restarts of those that miss."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from verifier.attacks.registry import ATTACKS
from verifier.campaign.attack_worker import DIRECTIONS
from verifier.campaign.backends import Backend
from verifier.campaign.plan.attack_tasks import Finding, Kind, StoredFinding, missed
from verifier.campaign.plan.messages import Outcome
from verifier.campaign.plan.plan import Plan, read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.plan.tasks import Wanted
from verifier.campaign.runner import run
from verifier.campaign.store.leases import LOSSES, Limits
from verifier.campaign.store.owner import Owner
from verifier.campaign.store.records import Result
from verifier.campaign.store.store import Store
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Bracket, Witness

ROOT = Path(__file__).resolve().parents[3]
ALONE = Backend(jobs=1)
ASKED = ("fgsm", "pgd")
Audited = tuple[list[Result], list[StoredFinding]]


@pytest.fixture(scope="module")
def asked(plan: Callable[..., Plan]) -> Plan:
    return plan((6,), norms=("linf", "l1"), attacks=ASKED)


@pytest.fixture(scope="module")
def audited(asked: Plan, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """One input of the digits, both norms: first the brackets alone, then the same plan with all that can be asked."""
    with Store(tmp_path_factory.mktemp("audited") / "s.sqlite") as store:
        bare = replace(asked, attacks=())
        key = store.begin(bare, tasks_of(bare))
        run(bare, tasks_of(bare), store, ALONE, Budget())
        before = store.results()
        counts = run(asked, tasks_of(asked), store, ALONE, Budget())
        assert (counts.done, counts.attack_tasks, counts.attack_tasks_failed, counts.at_work) == (True, 0, 0, 0)
        after = store.results(key)
        assert [(one.id, one.lower, one.attempts) for one in after] == [
            (one.id, one.lower, one.attempts) for one in before
        ]
        return after, store.findings(key)


def of_kind(found: list[StoredFinding], kind: Kind) -> dict[tuple[str, str], StoredFinding]:
    return {(one.instance, one.attack): one for one in found if one.kind is kind}


def test_every_attack_is_measured_and_its_point_is_a_witness(audited: Audited) -> None:
    results, found = audited
    attacks = of_kind(found, Kind.ATTACK)
    assert set(attacks) == {(one.id, name) for one in results for name in ASKED}
    session = onnxruntime.InferenceSession(results[0].model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for one in results:
        for attack in ASKED:
            at = attacks[one.id, attack]
            assert at.distance >= one.lower
            if at.witness is not None:
                assert at.distance == at.witness.distance
                assert at.distance >= one.upper
                logits = session.run(None, {name: at.witness.point.reshape(1, -1)})[0][0]
                assert int(np.argmax(logits)) == one.target


def test_what_misses_is_restarted_and_nothing_else(audited: Audited) -> None:
    results, found = audited
    attacks, restarts = of_kind(found, Kind.ATTACK), of_kind(found, Kind.RESTART)
    by_id = {one.id: one for one in results}
    misses = {key for key, at in attacks.items() if missed(at.distance, by_id[key[0]].upper, by_id[key[0]].precision)}
    assert 0 < len(misses) < len(attacks)
    assert set(restarts) == misses
    for (instance, _), one in restarts.items():
        assert len(one.facts["random"]) == DIRECTIONS
        reached = [distance for distance in (*one.facts["towards"], *one.facts["random"]) if distance is not None]
        assert all(distance >= by_id[instance].lower * (1 - 1e-6) for distance in reached)


def test_kill_9_among_the_attack_tasks_and_the_same_command_again(asked: Plan, tmp_path: Path) -> None:
    """What was found stays as it is, and is not sought again."""
    path = tmp_path / "s.sqlite"
    words = ["campaign", "--model", "digits", "--data", asked.data, "--index", "6", "--device", "cpu", "--jobs", "1",
             "--attacks", ",".join(ASKED), "--store", str(path)]  # fmt: skip
    first = subprocess.Popen([sys.executable, "-m", "verifier", *words], cwd=ROOT)
    kept: dict[tuple[str, str, str], float] = {}
    while first.poll() is None and len(kept) < 12:
        time.sleep(0.01)
        kept = written(path)
    first.kill()
    first.wait()
    kept = written(path)
    assert len(kept) >= 12
    assert main(words) == Exit.GOOD
    after = written(path)
    assert kept.items() <= after.items()
    assert sum(kind == "attack" for _, kind, _ in after) == 18
    assert sum(kind == "restart" for _, kind, _ in after) > 0


def written(path: Path) -> dict[tuple[str, str, str], float]:
    """Each finding, and when it was written down; none while there is no table of them."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT instance, kind, attack, updated FROM findings WHERE state = 'done'").fetchall()
    except sqlite3.Error:
        return {}
    return {(instance, kind, attack): updated for instance, kind, attack, updated in rows}


def test_a_miss_is_more_than_the_precision_and_two_percent() -> None:
    assert not missed(0.1009, 0.1, 1e-3)
    assert not missed(5.09, 5.0, 1e-3)
    assert missed(0.1031, 0.1, 1e-3)
    assert missed(float("inf"), 0.1, 1e-3)


@pytest.fixture
def key(store: Store, plan: Callable[..., Plan], wanted: list[Wanted]) -> str:
    return store.begin(plan(attacks=("pgd",)), wanted)


def attack_on(wanted: Wanted, distance: float) -> Finding:
    point = np.full(64, distance, dtype=np.float32)
    witness = Witness(point, distance, wanted.targets[0] or 0, 0.25, 0.5, wanted.targets[0] or 0)
    return Finding(wanted.task.id, wanted.targets[0], Kind.ATTACK, "pgd", distance, witness)


def begun(store: Store, wanted: Wanted, bracket: Bracket) -> None:
    store.save(*(Outcome(wanted.task.id, target, bracket) for target in wanted.targets))


def test_an_attack_that_is_nearer_is_an_upper_end(
    store: Store, key: str, wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    begun(store, wanted[0], bracket(0.1, 0.5))
    assert store.save(attack_on(wanted[0], 0.6)) == ["bracketed"]
    assert store.results(key)[0].upper == 0.5
    assert store.save(attack_on(wanted[0], 0.3)) == ["bracketed"]
    known = store.results(key)[0]
    assert (known.lower, known.upper, known.initial) == (0.1, 0.3, 1.0)
    assert known.witness is not None
    assert known.witness.distance == 0.3


def test_an_attack_below_the_lower_end_is_a_contradiction(
    store: Store, key: str, wanted: list[Wanted], bracket: Callable[..., Bracket]
) -> None:
    begun(store, wanted[0], bracket(0.2, 0.5))
    assert store.save(attack_on(wanted[0], 0.1)) == ["contradiction"]
    assert not store.counts(key).done


def test_brackets_come_first_and_attack_tasks_that_lose_workers_fail(
    store: Store, key: str, wanted: list[Wanted], plan: Callable[..., Plan], bracket: Callable[..., Bracket]
) -> None:
    owner, limits = Owner.here(), Limits(10.0)
    claim = store.claim(key, owner, limits)
    assert claim is not None
    assert claim.attack_task is None
    store.release(owner)
    for each in wanted:
        begun(store, each, bracket(0.5, 0.5))
    for _ in range(LOSSES):
        claims = [store.claim(key, owner, limits), store.claim(key, owner, limits)]
        assert [claim.attack_task if claim else None for claim in claims] == [(Kind.ATTACK, "pgd")] * 2
        assert store.claim(key, owner, limits) is None
        assert store.others_at_work(key, 10.0)
        store.lose(owner, "killed")
    counts = store.counts(key)
    assert (counts.attack_tasks, counts.attack_tasks_failed, counts.failed, counts.done) == (0, 18, 0, False)
    assert store.claim(key, owner, limits) is None
    store.begin(plan(attacks=("pgd",)), wanted)
    again = store.claim(key, owner, limits)
    assert again is not None
    assert [attack_task.kind for attack_task in store.attack_tasks(again)] == [Kind.ATTACK] * 9
    store.begin(plan(), wanted)
    assert store.counts(key).done


def test_names_of_attacks_are_those_of_the_table(plan: Callable[..., Plan], tmp_path: Path) -> None:

    path = tmp_path / "p.toml"
    path.write_text('models = ["digits"]\ndata = "digits"\nattacks = ["pgd", "magic"]\n', encoding="utf-8")
    with pytest.raises(Exception, match=f"attacks.*one of {', '.join(ATTACKS)}"):
        read_plan(path)
    assert plan(attacks=("pgd",)).sha256 == plan().sha256
