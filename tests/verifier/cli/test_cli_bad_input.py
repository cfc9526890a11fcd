"""Bad input: exit 2, one line on stderr, nothing on stdout, nothing written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from verifier import models
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

DIGITS = models.path("digits")
INPUTS = DIGITS.with_name("digits_inputs.npz")
X = np.load(INPUTS)["x"][6]


def save_model(path: Path, nodes: list[onnx.NodeProto], inputs: tuple[str, ...], weights: np.ndarray) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in inputs],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def truncated_model(path: Path) -> None:
    path.write_bytes(DIGITS.read_bytes()[:1000])


def model_with_sine(path: Path) -> None:
    nodes = [helper.make_node("Sin", ["x"], ["s"]), helper.make_node("MatMul", ["s", "w"], ["z"])]
    save_model(path, nodes, ("x",), np.ones((64, 10)))


def model_with_two_inputs(path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "x2"], ["s"]), helper.make_node("MatMul", ["s", "w"], ["z"])]
    save_model(path, nodes, ("x", "x2"), np.ones((64, 10)))


def model_with_nan(path: Path) -> None:
    save_model(path, [helper.make_node("MatMul", ["x", "w"], ["z"])], ("x",), np.full((64, 10), np.nan))


def model_with_infinity(path: Path) -> None:
    save_model(path, [helper.make_node("MatMul", ["x", "w"], ["z"])], ("x",), np.full((64, 10), np.inf))


MODELS: list[Callable[[Path], None]] = [
    truncated_model,
    model_with_sine,
    model_with_two_inputs,
    model_with_nan,
    model_with_infinity,
    lambda path: path.write_bytes(b"") and None,
    lambda path: path.write_text("not a model") and None,
    Path.mkdir,
    lambda _: None,
]

ARRAYS: list[np.ndarray] = [
    X[:63],
    np.where(np.arange(64) == 5, np.nan, X),
    np.where(np.arange(64) == 5, np.inf, X),
    np.where(np.arange(64) == 5, 1.5, X),
    (X * 255).astype(np.uint8),
]

OPTIONS: list[list[str]] = [
    ["--index", "20"],
    ["--index", "-1"],
    ["--label", "10"],
    ["--label", "-1"],
    ["--target", "10"],
    ["--target", "-1"],
    ["--target", "3"],
    ["--target", "3", "--label", "3"],
    ["--precision", "0"],
    ["--precision", "-1"],
    ["--precision", "nan"],
    ["--precision", "inf"],
    ["--margin", "nan"],
    ["--margin", "-1"],
    ["--margin", "inf"],
    ["--seed", "-1"],
    ["--norm", "l3"],
    ["--norm", "l2", "--method", "z3"],
    ["--method", "guess"],
    ["--method", "milp", "--solver", "nothing"],
    ["--solver", "highs"],
    ["--threads", "0"],
    ["--device", "tpu"],
    ["--timeout", "0"],
    ["--timeout", "-1"],
    ["--timeout", "nan"],
    ["--timeout", "inf"],
    ["--box", "1", "0"],
    ["--box", "0", "0.1"],
    ["--box", "0"],
    ["--box", "nan", "1"],
    ["--box", "missing.npz"],
    ["--box", "zero"],
]

RADII = ["0", "-1", "nan", "inf", "wide"]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused, with --out in an empty folder that must stay empty; its line."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(command: str, *arguments: str, out: str = "out") -> str:
        capfd.readouterr()
        code = main([command, *arguments, *(["--out", out] if out else [])])
        said, complained = capfd.readouterr()
        assert said == ""
        assert complained.startswith("verifier: error: ")
        assert complained.count("\n") == 1
        assert code == Exit.BAD_INPUT
        assert list(work.iterdir()) == []
        return complained

    return run


@pytest.mark.parametrize("place", range(len(MODELS)))
@pytest.mark.parametrize("command", ["minimal", "attack"])
def test_models(place: int, command: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.onnx"
    MODELS[place](path)
    assert "model.onnx" in refused(command, str(path), str(INPUTS), "--index", "6")


@pytest.mark.parametrize("place", range(len(ARRAYS)))
def test_arrays(place: int, tmp_path: Path, refused: Callable[..., str]) -> None:
    np.save(tmp_path / "x.npy", ARRAYS[place])
    assert "x.npy" in refused("minimal", str(DIGITS), str(tmp_path / "x.npy"))


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options(options: list[str], refused: Callable[..., str]) -> None:
    index = [] if "--index" in options else ["--index", "6"]
    refused("minimal", str(DIGITS), str(INPUTS), *index, *options)


@pytest.mark.parametrize("radius", RADII)
def test_radii(radius: str, refused: Callable[..., str]) -> None:
    refused("check", str(DIGITS), str(INPUTS), "--index", "6", "--radius", radius)


def test_an_unknown_attack(refused: Callable[..., str]) -> None:
    assert "guess" in refused("attack", str(DIGITS), str(INPUTS), "--index", "6", "--attack", "guess")


def test_an_unknown_solver_is_told_which_there_are(refused: Callable[..., str]) -> None:
    line = refused("minimal", str(DIGITS), str(INPUTS), "--index", "6", "--method", "milp", "--solver", "nothing")
    assert "nothing" in line
    assert "highs" in line


def test_inputs_that_need_an_index(refused: Callable[..., str]) -> None:
    assert "20 inputs" in refused("minimal", str(DIGITS), str(INPUTS))


def test_missing_input(refused: Callable[..., str]) -> None:
    assert "no such file" in refused("minimal", str(DIGITS), "missing.npy")


@pytest.mark.parametrize("deeper", ["", "/deeper"])
def test_an_output_that_cannot_be_written(deeper: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "file").write_text("mine")
    out = f"{tmp_path / 'file'}{deeper}"
    assert "--out" in refused("minimal", str(DIGITS), str(INPUTS), "--index", "6", out=out)
    assert (tmp_path / "file").read_text() == "mine"
