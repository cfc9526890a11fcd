"""Gates, baselines, evidence packs and assertions about the inputs that can occur."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from encoders.errors import InputError
from tests.verifier.packs import copied, reproved, resealed
from verifier import Columns
from verifier.certificates import checker
from verifier.certificates.builder import certified, covers
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.gate.reprove_claims import ClaimsCheck, ClaimsLog, occurring, steps_within
from verifier.problem.budget import Budget
from verifier.problem.query import Norm
from verifier.search.question import InputRegion, Misclassification, specify
from verifier.testing import NotRobustError, assert_min_distortion, assert_no_less_robust, assert_robust

START = 10
"""Of 255: 18/255 − 10/255 in float32 is more than 8/255. Class 1 is from 17.5/255 on, which 8 steps reach."""
REPROVED = "reproved: 1 of 1 lower ends, 1 of 1 of float32, 1 of 1 witnesses; 0 not certified"
GATE = """
models = ["net.onnx"]
data = "x.npz"
grid = {grid}
[[require]]
name = "steps"
min_distortion = "{radius}"
"""
QUARTERS = "models = ['quarters.onnx']\ndata = 'q.npz'\ngrid = 4\n"


@pytest.fixture
def folder(truth: Any, save_net: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    first = ([[1.0]], [0.0])
    for name, level in (("net", 17.5 / 255), ("quarters", 0.7)):
        net = save_net(truth.of_layers(first, ([[0.0], [1.0]], [level, 0.0])))
        Path(f"{name}.onnx").write_bytes(net.path.read_bytes())
    np.savez("x.npz", x=np.float32([[START / 255]]), y=[0])
    np.savez("q.npz", x=np.float32([[0.5]]), y=[0])
    return tmp_path


def ruled(capsys: pytest.CaptureFixture[str], text: str, *more: str) -> tuple[int, Any]:
    Path("robustness.toml").write_text(text, encoding="utf-8")
    code = main(["gate", "--jobs", "1", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_a_radius_counts_in_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seven steps hold, where all of the box does not; the eighth falls, wherever float32 puts it."""
    for radius, code in (("7/255", Exit.GOOD), ("7.9/255", Exit.GOOD), ("8/255", Exit.VIOLATED)):
        found, told = ruled(capsys, GATE.format(grid=255, radius=radius))
        assert found == code
        assert told["requirements"][0]["only"] == "inputs k/255"
    assert ruled(capsys, GATE.format(grid=255, radius="7.9/255").replace("grid = 255", ""))[0] == Exit.VIOLATED
    assert main(["gate", "--jobs", "1"]) == Exit.VIOLATED
    assert "only inputs" not in capsys.readouterr().out


def test_what_lies_at_the_radius_is_within_it_whatever_was_asked_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The minimum is a quarter, and the lower end of its bracket must not pass for robustness within a quarter."""
    text = QUARTERS + "[[require]]\nname = 'r'\n{kind}\n"
    assert main_baseline(capsys, text.format(kind="min_distortion = 0.25")) == Exit.GOOD
    stored = json.loads(Path("b.json").read_text(encoding="utf-8"))["groups"][0]
    assert (stored["inputs"][0]["lower"], stored["inputs"][0]["upper"]) == (0.2499, 0.25)
    assert stored["certified_accuracy"] == {"0.25": 0.0}
    for kind, code in (
        ("min_distortion = 0.25", Exit.VIOLATED),
        ("min_distortion = 0.2499", Exit.GOOD),
        ("certified_accuracy = 1\nradius = 0.25", Exit.VIOLATED),
        ("quantile = 0.5\nat_least = 0.25", Exit.VIOLATED),
        ("mean = 0.2499", Exit.GOOD),
        ("no_worse_than = 'b.json'", Exit.GOOD),
    ):
        assert ruled(capsys, text.format(kind=kind))[0] == code, kind
        assert ruled(capsys, text.format(kind=kind), "--no-cache")[0] == code, kind


def main_baseline(capsys: pytest.CaptureFixture[str], text: str) -> int:
    Path("robustness.toml").write_text(text, encoding="utf-8")
    code = main(["gate", "--jobs", "1", "--update-baseline", "b.json"])
    capsys.readouterr()
    return code


def test_a_baseline_about_other_inputs_is_refused_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = QUARTERS + "[[require]]\nname = 'r'\nmin_distortion = 0.1\n"
    assert main_baseline(capsys, base) == Exit.GOOD
    compared = QUARTERS + "[[require]]\nname = 'r'\nno_worse_than = 'b.json'\n"
    for other, told in (
        ("grid = 8", "now inputs k/8 are asked about"),
        ("", "now all inputs of the box are asked about"),
    ):
        Path("robustness.toml").write_text(compared.replace("grid = 4", other), encoding="utf-8")
        assert main(["gate", "--jobs", "1"]) == Exit.BAD_INPUT
        err = capsys.readouterr().err
        assert "b.json: it is about inputs k/4, and " + told in err
        assert err.count("\n") == 1
    x = np.float32([[0.5]])
    assert_no_less_robust("quarters.onnx", x, [0], baseline="b.json", columns=Columns(grid=4))
    with pytest.raises(InputError, match="it is about inputs k/4"):
        assert_no_less_robust("quarters.onnx", x, [0], baseline="b.json")


def test_an_evidence_pack_says_which_inputs_and_re_proves_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        QUARTERS
        + "[[require]]\nname = 'near'\nmin_distortion = 0.1\n[[require]]\nname = 'far'\nmin_distortion = 0.25\n"
    )
    assert ruled(capsys, text, "--evidence", "pack")[0] == Exit.VIOLATED
    told = json.loads(Path("pack/evidence.json").read_text(encoding="utf-8"))
    (entry,) = told["inputs"]
    assert entry["columns"] == {
        "told": "inputs k/4",
        "grid": 4,
        "integer": [],
        "one_hot": [],
        "offset": [0],
        "scale": [1],
    }
    assert "that can occur (inputs k/4; of points between them nothing is claimed)" in told["statement"]["Domain"]
    assert {one["only"] for one in (*told["groups"], *told["requirements"])} == {"inputs k/4"}
    assert {one["name"]: one["ruling"] for one in told["requirements"]} == {"near": "pass", "far": "fail"}
    assert "only inputs k/4" in Path("pack/index.html").read_text(encoding="utf-8")
    (claim,) = entry["claims"]
    assert (claim["evidence"], claim["float32_certified"]) == ("certified", claim["lower"])
    found = reproved(folder / "pack", Path(sys.executable))
    assert found.stdout.splitlines()[-1] == REPROVED
    for end in ("lower", "float32_certified"):
        for more, good in ((math.nextafter(0.25, 0.0), True), (0.25, False)):  # at a quarter is one: two steps would be
            changed = resealed(copied(folder / "pack", folder / f"{end}{more}"), partial(claimed, end=end, value=more))
            found = reproved(changed, Path(sys.executable))
            fault = f"the certificate proves less than {more!r}: none closer than 1/4" in found.stdout
            assert fault is not good, (end, more, found.stdout)


def claimed(told: dict[str, Any], end: str, value: float) -> None:
    """Another lower end of the pack's one input."""
    told["inputs"][0]["claims"][0][end] = value
    if end == "lower":
        told["inputs"][0][end] = value


@pytest.mark.parametrize("power", [1, 2])
def test_a_radius_holds_the_steps_that_are_as_near(power: int) -> None:
    for per in (3, 4, 10, 255):
        for k in range(1, 2 * per):
            radius, root = k / per, Fraction(k, per)
            assert steps_within(radius, per, power) == k**power, "8/255 are eight steps, as float64 has it"
            assert steps_within(math.nextafter(radius, 0.0), per, power) <= k**power - (Fraction(radius) <= root)
            assert steps_within((k + 0.5) / per, per, power) == math.floor((k + 0.5) ** power)


def test_in_l2_a_ball_holds_more_than_its_steps(truth: Any, save_net: Callable[..., Any]) -> None:
    """What is certified of a lower end far out is re-proved: a point of so many steps may be nearer there, or not."""
    model = save_net(truth.of_layers(([[1.0] * 4], [0.0]), ([[0.0], [1.0]], [5.0, 0.0])))
    region = InputRegion(np.zeros(4), Norm.L2, (0.0, 1.0), Columns(grid=255))
    asked = specify(model, region, Misclassification(None), Budget())
    check = ClaimsCheck(Path(), checker, cast("ClaimsLog", None), None, {})
    fewer = 0
    for lower in np.random.default_rng(0).uniform(0.8, 1.9, 20).tolist():
        assert asked.lattice is not None
        end = asked.lattice.ball_around(lower)
        found = certified(asked, end, None, Budget()).result
        assert found.grid is not None
        assert covers(asked, found, found.lower, end)
        fewer += found.grid.steps(found.lower) <= steps_within(lower, 255, 2)
        check._beyond(found, lower, found.lower)
        with pytest.raises(checker.InvalidError, match="proves less than"):
            check._beyond(found, found.lower, found.lower)
    assert fewer


@pytest.mark.parametrize(
    ("point", "fits"),
    [
        ([0.4, 3.0, 1.0, 0.0], True),
        ([0.4, 3.5, 1.0, 0.0], False),
        ([0.4, 2.25, 1.0, 0.0], True),
        ([0.4, 3.0, 1.0, 1.0], False),
        ([0.4, 3.0, 0.0, 0.0], False),
    ],
)
def test_the_pack_looks_whether_a_witness_can_occur(point: list[float], fits: bool) -> None:
    """The second entry is a whole number, or the input's own; the last two are a category; the first is any number."""
    columns = {"grid": None, "integer": [1], "one_hot": [[2, 3]], "offset": [0], "scale": [1]}
    assert occurring(np.float32(point), np.array([0.3, 2.25, 0.0, 1.0]), columns) == fits
    bytes_ = {"grid": 255, "integer": [], "one_hot": [], "offset": [0.5, 0.0], "scale": [2.0, 1.0]}
    x = np.float32([(7 / 255 - 0.5) / 2, 9 / 255])
    assert occurring(x, np.zeros(2), bytes_)
    assert not occurring(np.nextafter(x, np.float32(1)), np.zeros(2), bytes_)


def test_assertions_about_inputs_that_can_occur(folder: Path) -> None:
    x, grid = np.float32([[START / 255]]), Columns(grid=255)
    assert_robust("net.onnx", x, [0], linf="7.9/255", columns=grid)
    assert_min_distortion("net.onnx", x, at_least=7.9 / 255, columns=grid)
    with pytest.raises(NotRobustError, match="in L∞ among inputs k/255"):
        assert_robust("net.onnx", x, [0], linf="8/255", columns=grid)
    with pytest.raises(NotRobustError, match="in L∞\n"):
        assert_robust("net.onnx", x, [0], linf="7.9/255")
