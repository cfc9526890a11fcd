"""What the commands say of an input that is not taken as its file has it: on stderr, in the JSON, from the API."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from verifier.campaign.plan.plan import read_plan
from verifier.campaign.plan.selection import tasks_of
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.runtime.model import Model


@pytest.fixture(scope="module")
def compare(save_net: Callable[..., Model], truth: Any) -> Model:
    """z = x, over two entries: the first class wins where x_0 > x_1, so that the distance is |x_0 − x_1| / 2."""
    return save_net(truth.of_layers((np.eye(2), np.zeros(2))))


@pytest.fixture
def answer(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str]]:
    def run(*arguments: object) -> tuple[dict[str, Any], str]:
        capfd.readouterr()
        assert main([*map(str, arguments), "--json"]) == Exit.GOOD
        said, complained = capfd.readouterr()
        return json.loads(said), complained

    return run


@pytest.mark.parametrize("command", [["minimal"], ["attack"], ["check", "--radius", "0.01"]], ids=" ".join)
def test_a_header_is_told(answer: Callable[..., Any], compare: Model, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "x.csv"
    path.write_text("0,1\n0.9,0.2\n0.3,0.6\n")
    found, complained = answer(*command, compare.path, path, "--index", 1)
    note = "2 rows of 2 numbers read; line 1 is taken for a header (--header no: for numbers)"
    assert found["input_notes"] == [note]
    assert complained == f"verifier: {path}: {note}\n"
    assert found["label"] == 1
    found, _ = answer(*command, compare.path, path, "--index", 1, "--header", "no")
    assert found["label"] == 0


def test_a_header_of_another_format_is_refused(compare: Model, tmp_path: Path, capfd: Any) -> None:
    np.save(tmp_path / "x.npy", [0.3, 0.6])
    assert main(["minimal", str(compare.path), str(tmp_path / "x.npy"), "--header", "yes"]) == Exit.BAD_INPUT
    assert "--header goes with .csv files" in capfd.readouterr().err


ROUNDED = "entry 0 lies outside the box by rounding to float32; moved to its end"


def test_an_input_beside_the_box_is_moved_and_told(answer: Callable[..., Any], compare: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", [0.3, 0.1])
    found, complained = answer("minimal", compare.path, tmp_path / "x.npy", "--box", 0, 0.3)
    assert found["lower"] <= 0.1 + 1e-6
    assert found["upper"] >= 0.1 - 1e-6
    assert found["input_notes"] == [ROUNDED]
    assert complained == f"verifier: {tmp_path / 'x.npy'}: {ROUNDED}\n"


def test_the_api_warns_of_it(compare: Model) -> None:
    with pytest.warns(UserWarning, match=f"the input: {ROUNDED}") as warned:
        found = verifier.minimal(compare, [0.3, 0.1], box=(0.0, 0.3))
    assert warned[0].filename == __file__
    assert found.lower <= 0.1 + 1e-6
    assert found.witness is not None
    assert np.all(found.witness.point.astype(float) <= 0.3)


def test_a_campaign_tells_each_remark_once(compare: Model, tmp_path: Path, capfd: Any) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([[0.3, 0.1], [0.2, 0.1], [0.3, 0.2]]))
    flags = {"models": [str(compare.path)], "data": str(tmp_path / "d.npz"), "box": "0,0.3", "norms": ["linf", "l1"]}
    remarks: dict[str, dict[str, None]] = {}
    wanted = tasks_of(read_plan(None, flags), remarks)
    assert all(np.all(one.task.point.astype(float) <= 0.3) for one in wanted)
    assert remarks == {ROUNDED: {f"{tmp_path / 'd.npz'}, input {index}": None for index in (0, 2)}}
    told = ["campaign", "--model", str(compare.path), "--data", flags["data"], "--box", "0", "0.3", "--jobs", "1"]
    assert main([*told, "--store", str(tmp_path / "s.sqlite")]) == Exit.GOOD
    assert f"verifier: {tmp_path / 'd.npz'}, input 0 and 1 more: {ROUNDED}\n" in capfd.readouterr().err
