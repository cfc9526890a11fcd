"""The paper's set: one image of each class, right under both nets, the same for the same seed; exit codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.harness.instances import Call, Image, Instance, Result, loaded
from benchmarks.harness.mnist import load_mnist
from benchmarks.harness.record import Record
from benchmarks.harness.table_set import (
    CLASSES,
    DECAYED,
    MODELS,
    NORMS,
    PAIRS,
    TableSet,
    one_per_class,
    sample,
    table_set,
)
from benchmarks.paper import table1
from benchmarks.paper.table1 import beside_the_paper, selected, summary

Made = Callable[..., Result]


@pytest.fixture(scope="module")
def whole(mnist_folder: Path) -> TableSet:
    return table_set(mnist_folder, seed=0)


def test_one_image_of_each_class_among_the_right_ones() -> None:
    rng = np.random.default_rng(5)
    labels, right = rng.integers(CLASSES, size=400), rng.random(400) < 0.3
    chosen = one_per_class(labels, right, seed=1)
    assert labels[chosen].tolist() == list(range(CLASSES))
    assert right[chosen].all()
    assert chosen == one_per_class(labels, right, seed=1)
    assert chosen != one_per_class(labels, right, seed=2)


def test_the_set_is_the_papers(whole: TableSet) -> None:
    assert len(set(whole.instances)) == len(whole.instances) == 360
    assert Counter((one.model, one.norm) for one in whole.instances) == dict.fromkeys(
        [(model, norm) for model in MODELS for norm in NORMS], 90
    )
    per_image = Counter((one.index, one.label) for one in whole.instances)
    assert sorted(label for _, label in per_image) == list(range(CLASSES))
    assert set(per_image.values()) == {36}
    assert all(one.target != one.label for one in whole.instances)


def test_both_nets_are_right_about_every_image(whole: TableSet, mnist_folder: Path) -> None:
    labels = load_mnist(mnist_folder).test_labels
    for one in whole.instances:
        assert labels[one.index] == one.label
    for index, label in {(one.index, one.label) for one in whole.instances}:
        assert [loaded(model).predict(whole.images[index]) for model in MODELS] == [label, label]


def test_another_pair_of_nets_is_a_set_of_its_own(mnist_folder: Path) -> None:
    other = table_set(mnist_folder, 0, PAIRS[DECAYED])
    assert Counter(one.model for one in other.instances) == dict.fromkeys(PAIRS[DECAYED], 180)
    for index, label in {(one.index, one.label) for one in other.instances}:
        assert [loaded(model).predict(other.images[index]) for model in PAIRS[DECAYED]] == [label, label]
    assert Counter(one.model for one in sample(other.instances, 4, seed=0)) == dict.fromkeys(PAIRS[DECAYED], 4)


def test_another_pair_stands_beside_the_same_published_figures(result: Made) -> None:
    rows = [result(model="mnist_n_decayed_adversarial", norm="l1", initial=1.0, upper=0.8, lower=0.8)]
    assert summary(rows) == summary([])
    assert summary(rows, PAIRS[DECAYED]).splitlines()[2].startswith("| mnist_n_decayed_adversarial | l1")
    cells = [cell.strip() for cell in beside_the_paper(rows, PAIRS[DECAYED]).splitlines()[2].strip("|").split("|")]
    assert cells[:4] == ["mnist_n_decayed_adversarial", "l1", "64/90", "1/1"]


def test_a_net_of_the_other_pair_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--engine", "--pair", "decayed", "--model", "mnist_n", "--out", str(tmp_path / "record.json")]
    with pytest.raises(SystemExit) as refused:
        table1.main(words)
    assert refused.value.code == 2
    assert "--pair decayed has mnist_n_decayed and mnist_n_decayed_adversarial" in capsys.readouterr().err


def test_the_seed_decides(whole: TableSet, mnist_folder: Path) -> None:
    assert table_set(mnist_folder, seed=0).instances == whole.instances
    assert table_set(mnist_folder, seed=1).instances != whole.instances


def test_warming_up_uses_no_image_of_the_set(whole: TableSet) -> None:
    assert not any(np.array_equal(whole.spare, whole.images[one.index]) for one in whole.instances)


def test_a_part_is_a_sample_of_the_whole(whole: TableSet) -> None:
    arguments = SimpleNamespace(seed=0, model=[MODELS[0]], norm=["l1"], limit=None)
    part = selected(arguments, whole.instances)
    assert set(part) == {one for one in whole.instances if (one.model, one.norm) == (MODELS[0], "l1")}
    arguments.limit = 4
    assert selected(arguments, whole.instances) == part[:4]


@pytest.mark.parametrize("per_norm", [1, 5, 10])
def test_samples_take_the_nets_in_equal_parts(result: Made, per_norm: int) -> None:
    every = [
        result(model=model, norm=norm, target=target).instance
        for model in MODELS
        for norm in NORMS
        for target in range(20)
    ]
    chosen = sample(every, per_norm, seed=3)
    assert len(set(chosen)) == len(chosen) == 2 * per_norm
    counts = Counter((one.norm, one.model) for one in chosen)
    for norm in NORMS:
        assert [counts[norm, model] for model in MODELS] == [(per_norm + 1) // 2, per_norm // 2]
    assert chosen == sample(every, per_norm, seed=3)


def test_the_summary_counts_what_is_closed(result: Made) -> None:
    rows = [
        result(index=1, cpu_seconds=1.0, initial=0.6012),
        result(index=2, cpu_seconds=3.0, status="unreachable", lower=float("inf"), upper=float("inf")),
        result(index=3, cpu_seconds=120.0, status="bracketed", upper=5.0),
    ]
    line = summary(rows).splitlines()[2]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [MODELS[0], "linf", "2/3", "41.33", "3.00", "120.00", "10", "0.5010", "1.2000"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("status", "code"), [("minimal", 0), ("unreachable", 0), ("bracketed", table1.UNDECIDED)])
def test_exit_code_and_only_what_is_open_is_run_again(
    whole: TableSet,
    result: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str,
    code: int,
    threads: int,
) -> None:
    setting = {"method": "tree", "solver": None, "precision": 1e-3, "timeout": 120.0, "seed": 0, "jobs": 2}
    path = tmp_path / "record.json"
    record: Record[Result] = Record(None, setting, Result)  # 360 files are not what is tested
    for instance in whole.instances:
        record.add(result(**asdict(instance)))
    record.add(result(**asdict(whole.instances[0]), status=status, threads=threads))
    record.path = path
    record.add(result(**asdict(whole.instances[1])))
    calls: list[Call] = []

    def solve(instance: Instance, _: Image, call: Call) -> Result:
        calls.append(call)
        return result(**asdict(instance), status=status, threads=call.threads)

    monkeypatch.setattr(table1, "table_set", lambda *_: whole)
    monkeypatch.setattr(table1, "in_processes", lambda _, function, tasks, *rest: (function(*task) for task in tasks))
    monkeypatch.setattr(table1, "solve", solve)
    assert table1.main(["--engine", "--out", str(path)]) == code
    assert f"{360 - (code > 0)} of 360 closed" in capsys.readouterr().out
    assert [call.threads for call in calls] == ([2] if code and threads == 1 else [])
