"""Models whose weights lie in other files: certified like others, read from the model's folder only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper

from encoders.network.exact import exact_outputs
from tests.verifier.certificates.nets import whole
from verifier.certificates import checker
from verifier.cli import main
from verifier.cli.exit_codes import Exit
from verifier.runtime.model import load


def saved(folder: Path, name: str = "conv", *, together: bool = True) -> Path:
    """A net with every weight outside the file, in one file as PyTorch's exporter writes them or in many."""
    path = folder / "net.onnx"
    where = {"location": "net.onnx.data"} if together else {}
    onnx.save(
        whole(name), path, save_as_external_data=True, all_tensors_to_one_file=together, size_threshold=0, **where
    )
    return path


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("name", ["conv", "residual"])
def test_the_same_function_and_digest_as_the_engine(tmp_path: Path, name: str, together: bool) -> None:
    path = saved(tmp_path, name, together=together)
    assert len(os.listdir(tmp_path)) == 2 if together else len(os.listdir(tmp_path)) > 3
    model, net = load(path), checker.read_network(path.read_bytes(), tmp_path)
    inside = checker.read_network(whole(name).SerializeToString())
    assert net.digest == model.network.sha256
    x = np.random.default_rng(0).normal(size=72).astype(np.float32)
    values, den = net.forward(*checker.exact(x.tolist()))
    assert [checker.Fraction(int(value), den) for value in values] == exact_outputs(model.network.graph, x)
    assert np.all(inside.forward(*checker.exact(x.tolist()))[0] == values)


def test_such_a_model_is_certified_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, certificate = saved(tmp_path), tmp_path / "c.cert"
    np.save(tmp_path / "x.npy", np.random.default_rng(5).random((1, 2, 6, 6)).astype(np.float32))
    question = [str(path), str(tmp_path / "x.npy"), "--radius", "0.001", "--certificate", str(certificate)]
    assert main.main(["check", *question]) == Exit.GOOD
    capsys.readouterr()
    assert main.main(["certify", str(certificate), str(path), "--radius", "0.001"]) == Exit.GOOD
    said = capsys.readouterr().out
    alone = shutil.copy(checker.__file__, tmp_path / "checker.py")
    arguments = [sys.executable, "-I", str(alone), str(certificate), str(path), "--radius", "0.001"]
    process = subprocess.run(arguments, capture_output=True, text=True, cwd="/", check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, said, "")
    data = bytearray((tmp_path / "net.onnx.data").read_bytes())
    data[5] ^= 1
    (tmp_path / "net.onnx.data").write_bytes(data)
    assert main.main(["certify", str(certificate), str(path)]) == Exit.VIOLATED
    assert capsys.readouterr().out == "INVALID: the certificate is for another model\n"


def test_without_a_folder_such_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(checker.InvalidError, match="no folder is known"):
        checker.read_network(saved(tmp_path).read_bytes())


def test_weights_in_a_folder_beside_the_model_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "net.onnx.data").rename(tmp_path / "data" / "w")
    content = changed(path, lambda tensor: put(tensor, location="data/w"))
    assert checker.read_network(content, tmp_path).digest != checker.read_network(whole("conv").SerializeToString())


def test_a_constant_in_another_file_counts(tmp_path: Path) -> None:
    model = whole("conv")
    tensor = model.graph.initializer.pop(1)
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["b"], value=tensor))
    value = model.graph.node[0].attribute[0].t
    (tmp_path / "b.bin").write_bytes(value.raw_data)
    external_data_helper.set_external_data(value, "b.bin")
    value.ClearField("raw_data")
    onnx.save(model, tmp_path / "net.onnx")
    net = checker.read_network((tmp_path / "net.onnx").read_bytes(), tmp_path)
    assert net.digest == load(tmp_path / "net.onnx").network.sha256
    x = checker.exact(np.ones(72).tolist())
    assert np.all(net.forward(*x)[0] == checker.read_network(whole("conv").SerializeToString()).forward(*x)[0])


def put(tensor: TensorProto, **values: str) -> None:
    for entry in tensor.external_data:
        entry.value = values.pop(entry.key, entry.value)
    for key, value in values.items():
        tensor.external_data.add(key=key, value=value)


def changed(path: Path, change: Callable[[TensorProto], Any]) -> bytes:
    """The model with each of its weights changed."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        change(tensor)
    content: bytes = model.SerializeToString()
    return content


PLACES: dict[str, tuple[Callable[[TensorProto], Any], str]] = {
    "above": (lambda tensor: put(tensor, location="../net.onnx.data"), "outside"),
    "above by a detour": (lambda tensor: put(tensor, location="sub/../../net.onnx.data"), "outside"),
    "absolute": (lambda tensor: put(tensor, location="/etc/passwd"), "outside"),
    "of another system": (lambda tensor: put(tensor, location="..\\net.onnx.data"), "outside"),
    "in memory": (lambda tensor: put(tensor, location="*/_ORT_MEM_ADDR_/*"), "outside"),
    "nowhere": (lambda tensor: put(tensor, location=""), "outside"),
    "with a zero byte": (lambda tensor: put(tensor, location="net\0"), "outside"),
    "by a link outwards": (lambda tensor: put(tensor, location="link"), "outside"),
    "a device by a link": (lambda tensor: put(tensor, location="zero"), "outside"),
    "a pipe": (lambda tensor: put(tensor, location="pipe"), "no regular file"),
    "a directory": (lambda tensor: put(tensor, location="sub"), "irectory|regular"),
    "missing": (lambda tensor: put(tensor, location="missing"), "No such file"),
    "a key that is not known": (lambda tensor: put(tensor, checksum="0"), "not read here"),
    "a key twice": (lambda tensor: tensor.external_data.add(key="offset", value="0"), "twice"),
    "no location": (lambda tensor: tensor.external_data.pop(0), "not read here"),
    "a negative offset": (lambda tensor: put(tensor, offset="-1"), "offset"),
    "an offset in words": (lambda tensor: put(tensor, offset="0x10"), "offset"),
    "an offset in other digits": (lambda tensor: put(tensor, offset="٣"), "offset"),
    "a huge offset": (lambda tensor: put(tensor, offset="9" * 5000), "offset"),
    "an offset behind the end": (lambda tensor: put(tensor, offset="99999"), "cut off"),
    "another length": (lambda tensor: put(tensor, length="4"), "another length"),
    "a negative length": (lambda tensor: put(tensor, length="-4"), "length"),
    "data inside too": (lambda tensor: setattr(tensor, "raw_data", b"\0" * 288), "two places"),
}


@pytest.mark.parametrize("name", PLACES)
def test_other_places_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    path = saved(folder)
    shutil.copy(folder / "net.onnx.data", tmp_path)
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(tmp_path / "net.onnx.data")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    change, reason = PLACES[name]
    content = changed(path, change)
    with pytest.raises(checker.InvalidError, match=reason):
        checker.read_network(content, folder)


def test_files_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, together=False)
    size = sum(file.stat().st_size for file in tmp_path.iterdir() if file != path)
    monkeypatch.setattr(checker, "MOST_BYTES", size // 2 + 1)
    assert checker.read_network(path.read_bytes(), tmp_path).layers
    monkeypatch.setattr(checker, "MOST_BYTES", size // 2 - 1)
    with pytest.raises(checker.InvalidError, match="larger than"):
        checker.read_network(path.read_bytes(), tmp_path)


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hashed is what is used, whatever happens to the file meanwhile."""
    path, read = saved(tmp_path), []
    own = checker.file_bytes
    monkeypatch.setattr(checker, "file_bytes", lambda path, most: read.append(path) or own(path, most))
    checker.read_network(path.read_bytes(), tmp_path)
    assert read == [tmp_path / "net.onnx.data"]
