"""Every key of a gate's plan and every option of `verifier gate` counts, or is refused by name."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from encoders.errors import InputError
from verifier import models
from verifier.campaign import runner
from verifier.campaign.backends import Backend
from verifier.campaign.plan.messages import Report, Work
from verifier.campaign.plan.plan import KEYS, SELECT, Plan
from verifier.cli import gate_command
from verifier.cli.campaign_options import GateOptions, PlanOptions
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.cli.time_limit import Deadline
from verifier.problem.budget import Budget

REQUIRED = "[[require]]\nmin_distortion = 0.01\n"
BASE = {"models": '["digits"]', "data": '"inputs.npz"'}
CHANGED = {
    "models": '["copy.onnx"]',
    "data": '"others.npz"',
    "split": '"train"',
    "norms": '["l1"]',
    "targets": '"all"',
    "method": '"z3"',
    "solver": '"highs"',
    "precision": "0.01",
    "margin": "0.5",
    "box": "[-1, 2]",
    "timeout": '"2s"',
    "memory": '"3GB"',
    "total_budget": '"1s"',
    "threads": "2",
    "device": '"cpu"',
    "attacks": '["fgsm"]',
    "points": '["tool.npz"]',
    "transforms": '"views.toml"',
    "output": '"another"',
    "grid": "16",
    "integer": '"0,8"',
    "one_hot": "[[0, 1]]",
    "units": '"units.npz"',
    "store": '"elsewhere.sqlite"',
    "indices": "[1]",
    "per_class": "1",
    "count": "2",
    "seed": "1",
    "correct": "true",
}
"""A value of each key that makes another question than BASE, where it is not refused."""
REFUSED = {"solver": "solver: ", "output": "output: ", "one_hot": "columns 0, 1 are no one-hot group in the input"}
"""The first goes with methods that a gate refuses, the second names no output; pixels are no categories."""
BESIDE = {"split": {"data": '"."'}, "units": {"grid": "16"}}
"""What a key needs beside it to mean anything."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three inputs, the first one labelled wrongly; idx files of two splits; points, transformations, a copied net."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "TICK", 0.01)
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as held:
        x, y = held["x"][:4], held["y"][:4]
    x, y = x.reshape(4, -1), np.where(np.arange(4) == 0, (y + 1) % 10, y)
    np.savez("inputs.npz", x=x[:3], y=y[:3])
    np.savez("others.npz", x=x[1:], y=y[1:])
    np.savez("tool.npz", points=np.zeros((1, 64)), index=[1])
    np.savez("units.npz", offset=0.0, scale=2.0)
    Path("views.toml").write_text("[[transform]]\nidentity = true\n", encoding="utf-8")
    onnx.save(onnx.load(models.path("digits")), "copy.onnx")
    pixels = (255 * x).astype(np.uint8)
    for name, chosen in (("t10k", slice(2)), ("train", slice(1, 3))):
        images, labels = pixels[chosen], y[chosen].astype(np.uint8)
        Path(f"{name}-images-idx3-ubyte").write_bytes(idx(images.reshape(-1, 8, 8)))
        Path(f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


@dataclass(frozen=True)
class Listening(Backend):
    """Takes every piece of work, and does none of it."""

    jobs: int | None = 1
    taken: list[Work] = field(default_factory=list)

    def run(self, works: Iterator[Work], budget: Budget) -> Iterator[Report]:
        self.taken.extend(works)
        yield from ()


def asked(told: dict[str, str], flags: dict[str, Any] | None = None) -> tuple[Any, ...]:
    """All that a gate gives out to be done, each input's first piece; and the stores that there are then."""
    file = Path("robustness.toml")
    keys = [f"{key} = {value}\n" for key, value in told.items() if key in KEYS]
    select = [f"{key} = {value}\n" for key, value in told.items() if key in SELECT]
    file.write_text("".join([*keys, "[select]\n", *select, REQUIRED]), encoding="utf-8")
    backend = Listening()
    with Deadline(math.inf, time.monotonic(), ends_process=False) as deadline:
        gate_command.gate(file, flags or {}, backend, GateOptions(), deadline)
    works = [
        (work.task.id, work.task.model.name, work.claim, work.whole, work.threads, work.device, work.seed)
        for work in backend.taken
    ]
    assert works
    memory = {work.memory for work in backend.taken if "memory" in told}  # else it is half of what is free just then
    return works, memory, sorted(Path().rglob("*.sqlite"))


def test_the_same_file_asks_the_same(folder: Path) -> None:
    assert asked(BASE) == asked(BASE)


def test_every_key_of_the_plan_is_walked() -> None:
    assert set(CHANGED) == {*KEYS, *SELECT}
    assert {option.name for option in fields(PlanOptions)} == set(CHANGED)
    assert {key.name for key in fields(Plan)} - {"select"} == set(KEYS)


@pytest.mark.parametrize("key", CHANGED)
def test_a_key_changes_what_is_asked_or_is_refused_by_name(folder: Path, key: str) -> None:
    base = {**BASE, **BESIDE.get(key, {})}
    before = asked(base)
    changed = {**base, key: CHANGED[key]}
    if key in REFUSED:
        with pytest.raises(InputError, match=REFUSED[key]):
            asked(changed)
    else:
        assert asked(changed) != before


VERDICTS: dict[str, list[str]] = {
    "junit": ["--junit", "j.xml"],
    "markdown": ["--markdown", "m.md"],
    "sarif": ["--sarif", "s.json"],
    "witnesses": ["--witnesses", "w"],
    "evidence": ["--evidence", "e"],
    "github": ["--github"],
    "undecided": ["--undecided", "warn"],
    "certificates": ["--certificates"],
    "json": ["--json"],
}
"""Options about verdicts: what each does, the tests of `verifier gate` and of evidence packs say."""


def test_every_option_is_walked() -> None:
    assert {option.name for option in fields(GateOptions)} == {*VERDICTS, "update_baseline", "no_cache"}


@pytest.mark.parametrize("words", [*VERDICTS.values()], ids=VERDICTS)
def test_options_about_verdicts_do_not_go_with_a_baseline(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    Path("robustness.toml").write_text('models = ["digits"]\ndata = "inputs.npz"\n' + REQUIRED, encoding="utf-8")
    assert main(["gate", "--update-baseline", "b.json", *words]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert out.count("\n") == out.startswith("::error ") == (words == ["--github"])
    assert f"{words[0]} and --update-baseline exclude each other" in err
    assert not Path("b.json").exists()


def test_a_store_does_not_go_without_the_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("robustness.toml").write_text('models = ["digits"]\ndata = "inputs.npz"\n' + REQUIRED, encoding="utf-8")
    assert main(["gate", "--no-cache", "--store", "s.sqlite"]) == Exit.BAD_INPUT
    assert "--no-cache and --store exclude each other" in capsys.readouterr().err
    assert not Path("s.sqlite").exists()
