"""The command line around the engine: help, versions, usage errors, defects, and the reports on models and machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner

import verifier
from verifier import models
from verifier.cli import main as cli
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.cli.options import join_box
from verifier.problem import streams

ROOT = str(Path(verifier.__file__).resolve().parents[1])
DIGITS = str(models.path("digits"))
COMMANDS = ("minimal", "check", "attack", "inspect", "doctor", "demo")


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`verifier ARGUMENTS` as a process of its own."""
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from verifier.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r}); from verifier.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'onnx', 'onnxruntime', 'matplotlib', 'pulp', 'z3')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == Exit.GOOD
    assert "minimal" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert re.fullmatch(r"relu-verifier \S+ \(Python 3\S+, numpy \S+, onnx \S+, onnxruntime \S+\)\n", out)
    assert err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["--nothing"],
        ["minimal"],
        ["minimal", DIGITS],
        ["minimal", DIGITS, "x.npy", "--nothing"],
        ["minimal", DIGITS, "x.npy", "surplus"],
        ["minimal", DIGITS, "x.npy", "--precision", "small"],
        ["minimal", DIGITS, "x.npy", "--target", "1.5"],
        ["minimal", DIGITS, "x.npy", "--target", "1", "--all-targets"],
        ["minimal", DIGITS, "x.npy", "--box"],
        ["check", DIGITS, "x.npy"],
        ["attack", DIGITS, "x.npy", "--method", "milp"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("verifier: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given_", "joined"),
    [
        (["--box", "0", "1"], ["--box=0,1"]),
        (["--box", "-inf", "inf", "m.onnx"], ["--box=-inf,inf", "m.onnx"]),
        (["--box", "-1e3", "-.5"], ["--box=-1e3,-.5"]),
        (["--box", "b.npz", "m.onnx", "1"], ["--box=b.npz", "m.onnx", "1"]),
        (["--box=0", "1"], ["--box=0,1"]),
        (["--box=b.npz", "1"], ["--box=b.npz", "1"]),
        (["--box", "0", "m.onnx"], ["--box=0", "m.onnx"]),
        (["--box", "0"], ["--box=0"]),
        (["--box"], ["--box"]),
        (["--", "--box", "0", "1"], ["--", "--box", "0", "1"]),
    ],
)
def test_box_is_joined_to_one_value(given_: list[str], joined: list[str]) -> None:
    assert join_box(given_) == joined


@given(st.lists(st.text().filter(lambda token: not token.startswith("--box"))))
def test_everything_else_passes_through(tokens: list[str]) -> None:
    assert join_box(tokens) == tokens


def test_a_defect_is_one_line_and_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("verifier.cli.inspect_command.run", break_down)
    assert main(["inspect", DIGITS]) == Exit.DEFECT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("verifier: internal error: RuntimeError: two lines; please report it")
    assert err.count("\n") == 1
    monkeypatch.setenv(streams.DEBUG, "1")
    assert main(["inspect", DIGITS]) == Exit.DEFECT
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_outside_the_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("verifier.cli.inspect_command.run", interrupt)
    assert main(["inspect", DIGITS]) == Exit.INTERRUPTED
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err


def test_ctrl_c_while_the_command_is_imported(tmp_path: Path) -> None:
    """The first tenth of a second: `verifier.cli.main` is not there yet to catch it."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", "verifier", "inspect", DIGITS],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), ROOT))},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, "", "verifier: interrupted\n")


def test_inspect_tells_what_the_model_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", DIGITS]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    assert all(word in out for word in ("1,482", "3 Gemm", "2 Relu", "float32", "sha256"))
    assert main(["inspect", DIGITS, "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert (found["readable"], found["relus"], found["parameters"], found["classes"]) == (True, 32, 1482, 10)
    assert found["input"]["shape"][1:] == [64]
    agreement = found["agreement"]
    assert agreement["levels"] == ["DISABLE_ALL", "BASIC", "EXTENDED", "ALL"]
    assert agreement["complete"]
    assert 0 < agreement["difference"] <= agreement["bound"] < 1e-2
    assert f"at {agreement['points']} points" in " ".join(out.split())


def unreadable_model(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Sin", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_inspect_of_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unreadable_model(tmp_path / "sin.onnx")
    assert main(["inspect", str(path)]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert "Sin" in out
    assert err.count("Sin node") == 1
    assert err.count("\n") == 1
    assert main(["inspect", str(path), "--json"]) == Exit.BAD_INPUT
    found = json.loads(capsys.readouterr().out)
    assert not found["readable"]
    assert found["unsupported"]


def test_inspect_of_several_inputs_says_who_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.onnx"
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "z", "y")]
    for op, told in (("Add", " as a classifier"), ("Mul", "")):  # no property is asked of a product of inputs
        graph = helper.make_graph([helper.make_node(op, ["x", "z"], ["y"])], "g", ports[:2], ports[2:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        assert main(["inspect", str(path)]) == Exit.BAD_INPUT
        out, err = capsys.readouterr()
        assert f"{path} cannot be verified{told}: model: the model must have one input, but has 2" in err
        assert ("all inputs and outputs together" in out, "cannot be read" in out) == (bool(told), not told)


@pytest.mark.parametrize(
    ("declared", "told"),
    [(("N", 1), "the file declares its output as ?x1, and gives 4 numbers"), ((1, 4), ""), (("N", "M"), "")],
)
def test_inspect_of_an_output_that_is_declared_otherwise(
    declared: tuple[int | str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"]), helper.make_node("Reshape", ["z", "s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, declared)],
        [helper.make_tensor("s", TensorProto.INT64, [2], [-1, 4])],
    )
    path = tmp_path / "declared.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert main(["inspect", str(path), "--json"]) == Exit.GOOD
    assert json.loads(capsys.readouterr().out)["notes"] == ([told] if told else [])


def test_inspect_of_a_shape_that_the_file_does_not_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is not to have no axes, and not an axis of unknown size."""
    path = unreadable_model(tmp_path / "sin.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, path)
    assert main(["inspect", str(path)]) == Exit.BAD_INPUT
    out = capsys.readouterr().out
    assert "x  (shape unknown)" in out
    assert "y  ?x4" in out
    assert main(["inspect", str(path), "--json"]) == Exit.BAD_INPUT
    found = json.loads(capsys.readouterr().out)
    assert (found["input"]["shape"], found["output"]["shape"]) == (None, [None, 4])
    model.graph.input[0].type.tensor_type.shape.SetInParent()
    onnx.save(model, path)
    assert main(["inspect", str(path)]) == Exit.BAD_INPUT
    assert "x  (no axes)" in capsys.readouterr().out


def test_inspect_of_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    for path in (tmp_path / "x.npy", tmp_path / "missing.onnx", tmp_path):
        assert main(["inspect", str(path)]) == Exit.BAD_INPUT
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == Exit.GOOD
    out, err = capsys.readouterr()
    assert err == ""
    assert "CPUExecutionProvider" in out
    assert main(["doctor", "--json"]) == Exit.GOOD
    found = json.loads(capsys.readouterr().out)
    assert "highs" in found["solvers"]["milp"]
    assert found["cores"]["usable"] >= 1
    assert set(found["kernels"]) == {"numba", "ready", "where", "why", "remedy"}
    assert found["kernels"]["ready"] == (found["kernels"]["why"] is None)
    assert found["onnxruntime"]["cuda"] == (found["onnxruntime"]["cuda_missing"] is None)


def test_as_a_process_a_report_is_all_there_is() -> None:
    done = command("inspect", DIGITS, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["readable"]
    done = command("inspect", "missing.onnx")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_as_a_module() -> None:
    code = f"import sys, runpy; sys.path.insert(0, {ROOT!r}); sys.argv = ['verifier', '--version'];"
    code += "runpy.run_module('verifier', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "relu-verifier" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="pipes break differently elsewhere")
def test_a_reader_that_goes_away_is_no_verdict() -> None:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from verifier.cli.main import main; sys.exit(main())"
    asked = [sys.executable, "-c", code, "inspect", DIGITS, "--json"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == Exit.BROKEN_PIPE
