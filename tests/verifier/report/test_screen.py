"""Whatever a file calls itself and its tensors, no control character of it reaches the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from rich.table import Table
from rich.text import Text

from verifier.cli.complaint import complain
from verifier.cli.main import main
from verifier.report import json_result
from verifier.report.screen import Screen

HOSTILE = "a\x1b[2J\x07\r\x9b31m\x7f\u202eb"
"""Clears the screen, rings, returns, colours (by a C1 code), deletes, and turns the writing round."""


def control_characters(text: str) -> list[str]:
    return [sign for sign in text if not sign.isprintable() and sign != "\n"]


@pytest.mark.parametrize("content", [HOSTILE, Text(HOSTILE), Text(f"line\n{HOSTILE}")])
def test_text_is_printable(content: str | Text) -> None:
    file = io.StringIO()
    table = Table()
    table.add_column(HOSTILE)
    table.add_row(content)
    screen = Screen(file, 60)
    screen.print(content)
    screen.print(table)
    assert control_characters(file.getvalue()) == []
    assert "a?[2J" in file.getvalue()


def test_styles_still_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    Screen(file, 60).print(Text(HOSTILE, style="bold"))
    assert file.getvalue().startswith("\x1b[1m")
    assert "\x1b[2J" not in file.getvalue()


def test_complaints_and_json_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    complain(f"one\n{HOSTILE}")
    assert control_characters(capsys.readouterr().err) == []
    text = json_result.dumps({HOSTILE: HOSTILE})
    assert control_characters(text) == []
    assert json.loads(text) == {HOSTILE: HOSTILE}


@pytest.mark.parametrize("op", ["Relu", "Erf"])
def test_names_of_a_file_are_printable(op: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ends = [
        helper.make_tensor_value_info(HOSTILE + name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", 4), ("y", 3))
    ]
    nodes = [
        helper.make_node("MatMul", [HOSTILE + "x", HOSTILE + "w"], [HOSTILE + "m"], name=HOSTILE),
        helper.make_node(op, [HOSTILE + "m"], [HOSTILE + "y"], name=HOSTILE),
    ]
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), HOSTILE + "w")
    graph = helper.make_graph(nodes, HOSTILE, ends[:1], ends[1:], [weight])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.save(tmp_path / "x.npy", np.zeros(4, np.float32))
    for arguments in (["inspect"], ["inspect", "--json"], ["check", str(tmp_path / "x.npy"), "--radius", "0.1"]):
        main([arguments[0], str(path), *arguments[1:]])
        said = capfd.readouterr()
        assert control_characters(said.out + said.err) == []
        assert said.out + said.err
