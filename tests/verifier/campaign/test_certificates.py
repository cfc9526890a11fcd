"""Certificates of a campaign: each closed bracket's, checked as it lies on the disk; made again where it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from verifier.campaign.backends import Backend
from verifier.campaign.certificates import certify
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.certificates import checker
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget
from verifier.problem.verdict import Evidence

TARGETS = (1, 2)
ASKED = ["--model", "digits", "--data", "digits", "--index", "6", "--targets", "1,2", "--jobs", "1"]


@pytest.fixture
def closed(tmp_path: Path, plan: Callable[..., Plan]) -> tuple[Store, Plan]:
    """A store with two closed brackets that are not certified, by a method that leaves its solver's word."""
    asked = plan((6,), targets=TARGETS, method="z3")
    store = Store(tmp_path / "s.sqlite")
    run(asked, tasks_of(asked), store, Backend(jobs=1), Budget())
    return store, asked


def test_what_is_closed_is_certified_once(closed: tuple[Store, Plan], tmp_path: Path) -> None:
    store, asked = closed
    folder = tmp_path / "deep" / "certificates"
    made = certify(store, store.results(asked.sha256), folder, 1, Budget(), 60.0)
    assert [done.error for done in made] == ["", ""]
    for result in store.results():
        assert result.evidence == Evidence.CERTIFIED.label
        found = checker.checked(Path(result.certificate).read_bytes(), result.model.read_bytes())
        assert (found.lower, found.query.target) == (result.lower, result.target)
        assert found.distance is not None
    assert certify(store, store.results(asked.sha256), folder, 1, Budget(), 60.0) == []
    kept, damaged = sorted(folder.iterdir())
    before = kept.read_bytes()
    damaged.unlink()
    again = certify(store, store.results(asked.sha256), folder, 1, Budget(), 60.0)
    assert [(done.job.path, done.error) for done in again] == [(damaged.resolve(), "")]
    assert kept.read_bytes() == before
    store.close()


def test_a_file_that_proves_less_or_something_else_is_made_again(closed: tuple[Store, Plan], tmp_path: Path) -> None:
    store, asked = closed
    certify(store, store.results(asked.sha256), tmp_path / "one", 1, Budget(), 60.0)
    one, other = sorted((tmp_path / "one").iterdir())
    moved = tmp_path / "two"
    moved.mkdir()
    (moved / one.name).write_bytes(other.read_bytes())
    (moved / other.name).write_bytes(other.read_bytes()[:-3])
    for result in store.results():
        Path(result.certificate).unlink()
    assert [done.error for done in certify(store, store.results(asked.sha256), moved, 1, Budget(), 60.0)] == ["", ""]
    for result in store.results():
        assert checker.checked(Path(result.certificate).read_bytes(), result.model.read_bytes()).lower == result.lower
    store.close()


def test_without_time_there_is_no_certificate(closed: tuple[Store, Plan], tmp_path: Path) -> None:
    store, asked = closed
    made = certify(store, store.results(asked.sha256), tmp_path / "c", 1, Budget(), 1e-6)
    assert len(made) == 2
    assert all("time" in done.error for done in made)
    cancelled = Budget()
    cancelled.cancel()
    assert certify(store, store.results(asked.sha256), tmp_path / "c", 1, cancelled, 60.0) == []
    assert {result.evidence for result in store.results()} == {Evidence.EXACT.label}
    assert not list((tmp_path / "c").iterdir())
    store.close()


def test_a_better_lower_end_has_no_certificate_yet(closed: tuple[Store, Plan], tmp_path: Path) -> None:
    store, _ = closed
    first = store.results()[0]
    store.certified(first.id, 0.5 * first.lower, tmp_path / "half.cert")
    assert store.results()[0].evidence == Evidence.EXACT.label
    store.close()


def test_the_command_certifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["campaign", *ASKED, "--store", str(tmp_path / "s.sqlite"), "--certificates", str(tmp_path / "c")]
    assert main(words) == Exit.GOOD
    assert "2 of 2 closed brackets certified" in capsys.readouterr().out
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = ["campaign", *ASKED, "--store", str(tmp_path / "s.sqlite"), "--certificates", str(tmp_path / "file" / "c")]
    assert main(words) == Exit.BAD_INPUT
