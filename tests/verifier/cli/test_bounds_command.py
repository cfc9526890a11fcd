"""`verifier bounds` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from verifier.cli.exit_codes import Exit
from verifier.cli.main import main


def test_ranges_in_json_and_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = tmp_path / "box.npz"
    np.savez(box, lo=np.zeros(64), hi=np.full(64, 0.05))
    call = ["bounds", "digits", "--box", str(box), "--entry", "3", "--entry", "8", "--precision", "1/2"]
    assert main([*call, "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert [one["output"] for one in found["ranges"]] == [3, 8]
    assert found["float32"]["holds"] is True
    for one in found["ranges"]:
        assert one["lower"] <= one["least"] <= one["largest"] <= one["upper"]
        assert max(one["least"] - one["lower"], one["upper"] - one["largest"]) <= 0.5
        assert np.shape(one["least_at"]) == (1, 64)
    assert 0 < found["search"]["seconds"] <= found["seconds"]
    assert main(["bounds", "digits", "--box", "0", "0.05"]) == Exit.GOOD
    told = " ".join(capsys.readouterr().out.split())
    assert "outputs of digits.onnx, inputs in [0, 0.05], proved, for every float32 evaluation as well" in told


def test_every_output_of_several_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [helper.make_tensor_value_info(name, 1, [1, 2]) for name in "abyz"]
    nodes = [helper.make_node("Add", ["a", "b"], ["y"]), helper.make_node("Relu", ["a"], ["z"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", given[:2], given[2:]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, tmp_path / "pair.onnx")
    assert main(["bounds", str(tmp_path / "pair.onnx"), "--box", "-1", "1", "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)["ranges"]
    assert [(round(one["least"]), round(one["largest"])) for one in found] == [(-2, 2)] * 2 + [(0, 1)] * 2


def test_ranges_that_stay_wide_are_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    call = ["bounds", "digits", "--box", "0", "1", "--precision", "1e-3", "--timeout", "1", "--json"]
    assert main(call) == Exit.UNDECIDED
    assert "time" in json.loads(capsys.readouterr().out)["reason"]


@pytest.mark.parametrize(
    ("given", "told"), [(["--box", "0", "inf"], "no end"), (["--box", "0", "1", "--entry", "10"], "no output 10")]
)
def test_what_cannot_be_asked_is_one_line(given: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bounds", "digits", *given]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
