"""Each command that takes VNN-LIB 2 refuses, in one line, what declares other tensors than the file has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import verifier
from encoders.onnx_io import file
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main


def of(
    given: str = "float32 [1,4]",
    gives: str = "float32 [1,2]",
    x: str = "X[0,{}]",
    y: str = "Y[0,1]",
    limit: str = "100.0",
) -> str:
    """A box, and an output that is not reached in it."""
    declared = f"(declare-input X {given})(declare-output Y {gives})"
    box = "".join(f"(assert (>= {x.format(i)} 0.0))(assert (<= {x.format(i)} 1.0))" for i in range(4))
    return f"(vnnlib-version <2.0>)(declare-network N {declared}){box}(assert (>= {y} {limit}))"


HOSTILE = {
    "fewer axes": (of("float32 [4]", x="X[{}]"), "'X' as float32 [4], and 'x' of its file has shape 1x4"),
    "axes swapped": (of("float32 [4,1]", x="X[{},0]"), "'X' as float32 [4, 1], and 'x' of its file has shape 1x4"),
    "an output of fewer": (of(gives="float32 [2]", y="Y[1]"), "'Y' as float32 [2], and 'y' of its file has shape 1x2"),
    "another type": (of(gives="int64 [1,2]", limit="100"), "'Y' as int64 [1, 2], and 'y' of its file is float32"),
    "an unproved type": (of("float64 [1,4]", "float64 [1,2]"), "nothing can be proved about 'X' in float64"),
    "one for two": (of(), "declares 1 inputs, and its file has 2 ('a', 'b')"),
}
ONE_FOR_TWO = "one for two"


@pytest.fixture(scope="module")
def files(truth: Any, save_net: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A net of one input, one of two, and a certificate of each."""
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("files")
    given = [helper.make_tensor_value_info(name, 1, [1, 2]) for name in "aby"]
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    pair = helper.make_model(
        helper.make_graph(nodes, "g", given[:2], given[2:]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(pair, folder / "pair.onnx")
    found = {"one": save_net(truth.net(1, (4, 3, 2))).path, "two": folder / "pair.onnx", "x": folder / "x.npy"}
    np.save(found["x"], np.zeros(4, np.float32))
    far = verifier.Halfspaces([[0.0, 1.0]], [-100.0])
    for name in ("one", "two"):
        made = verifier.property_certificate(verifier.load(found[name], output="*"), region=(0.0, 1.0), property=far)
        found[f"{name} proof"] = folder / f"{name}.cert"
        found[f"{name} proof"].write_bytes(made.content)
    return found


@pytest.mark.parametrize("hostile", HOSTILE)
def test_other_tensors_than_the_files_are_refused(
    files: dict[str, Path], hostile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = HOSTILE[hostile]
    query, kept = tmp_path / "q.vnnlib", tmp_path / "kept.cert"
    query.write_text(text)
    net = "two" if hostile == ONE_FOR_TWO else "one"
    path, proof = str(files[net]), str(files[f"{net} proof"])
    for call in (
        ["verify", str(query), "--network", path],
        ["verify", str(query), "--network", path, "--certificate", str(kept)],
        ["check", path, "--property", str(query)],
        ["minimal", path, str(files["x"]), "--property", str(query)],
        ["certify", proof, path, "--property", str(query)],
    ):
        assert main(call) == Exit.BAD_INPUT, call
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), kept.exists()) == ("", 1, False)
        assert told in err
    with pytest.raises(verifier.InputError, match=r"its file|nothing can be proved"):
        verifier.check(verifier.load(path, output="*"), property=query)


@pytest.mark.parametrize("net", ["one", "two"])
def test_the_file_is_read_once(
    files: dict[str, Path], net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, path, read = tmp_path / "q.vnnlib", files[net], list[Path]()
    text = of()
    if net == "two":
        text = (
            text.replace("X[0,2]", "Z[0,0]")
            .replace("X[0,3]", "Z[0,1]")
            .replace("1,4]", "1,2])(declare-input Z float32 [1,2]")
        )
    query.write_text(text)
    bytes_of = file.model_bytes
    monkeypatch.setattr(file, "model_bytes", lambda path: (read.append(path), bytes_of(path))[1])
    for call in (["verify", str(query), "--network", str(path)], ["check", str(path), "--property", str(query)]):
        assert main([*call, "--certificate", str(tmp_path / "kept.cert")]) == Exit.GOOD
        assert read.count(path) == 1
        read.clear()
