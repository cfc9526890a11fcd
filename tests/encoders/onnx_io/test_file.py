"""Files as they are found: legal oddities load, and what is no file, lies about itself or is too large is refused."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoders.errors import InputError
from encoders.network.graph import outputs
from encoders.onnx_io import file as onnx_file
from encoders.onnx_io.file import MAX_BYTES, in_order, load_model
from encoders.onnx_io.from_onnx import network_from_model, read_network, survey
from encoders.onnx_io.ops.rules import RULES

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
node = helper.make_node


@pytest.fixture
def model(onnx_model: Any) -> onnx.ModelProto:
    made: onnx.ModelProto = onnx_model([node("MatMul", ["x", "w"], ["y"])], [1, 2], {"w": WEIGHT})
    return made


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_network(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_outputs_need_neither_shape_nor_type(model: onnx.ModelProto, ort_values: Any) -> None:
    for clear in ("shape", "type"):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        value = changed.graph.output[0]
        (value.type.tensor_type if clear == "shape" else value).ClearField(clear)
        before = changed.SerializeToString()
        network = network_from_model(changed)
        assert changed.SerializeToString() == before  # what the checker was shown is taken back
        point = np.array([[1.0, -2.0]], np.float32)
        assert outputs(network.graph, point)[0] == pytest.approx(ort_values(changed, [point])[0]["y"][0])


@pytest.mark.parametrize("among_inputs", [False, True])
@pytest.mark.parametrize("version", [3, 4, 8])
def test_weights_may_be_inputs_or_not_in_each_version(
    version: int, among_inputs: bool, model: onnx.ModelProto, ort_values: Any
) -> None:
    model.ir_version = version
    if among_inputs:
        model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3]))
    network = network_from_model(model)
    assert network.input_shape == (1, 2)
    point = np.array([[1.0, -2.0]], np.float32)
    assert outputs(network.graph, point)[0] == pytest.approx(ort_values(model, [point])[0]["y"][0])
    assert model.ir_version == version


def test_the_order_of_many_nodes_is_found_at_once(onnx_model: Any) -> None:
    count = 30_000  # as many rounds over as many nodes would take hours
    chain = [node("Relu", [f"t{i}" if i else "x"], [f"t{i + 1}" if i + 1 < count else "y"]) for i in range(count)]
    ordered = onnx_model([chain[0]], [1, 2], output=chain[0].output[0])
    ordered.graph.node.extend(chain[1:])
    shuffled = onnx.ModelProto()
    shuffled.CopyFrom(ordered)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(chain[::-1])
    assert [n.output[0] for n in in_order(shuffled).graph.node] == [n.output[0] for n in chain]
    assert in_order(ordered) is ordered


def test_left_out_inputs_and_outputs_tie_no_nodes_together(onnx_model: Any) -> None:
    low = np.array(0.0, np.float32)
    nodes = [node("Clip", ["x", "", "c"], ["t"]), node("Dropout", ["t"], ["y", ""])]
    assert network_from_model(onnx_model(nodes, [1, 2], {"c": low})).graph.output_size == 2


def test_what_is_no_regular_file_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "is no regular file" in refused(tmp_path / "pipe.onnx")
    assert "is no regular file" in refused(Path("/dev/zero"))
    assert "is a directory" in refused(tmp_path)
    assert "cannot be read" in refused(tmp_path / "absent.onnx")
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    assert "cannot be read" in refused(tmp_path / "loop.onnx")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert f"has {MAX_BYTES + 1} bytes; models of up to {MAX_BYTES} can be read" in refused(path)


def external(model: onnx.ModelProto, folder: Path, **entries: str) -> Path:
    """The model with its weights beside it, and other external data entries than were written."""
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(path, load_external_data=False)
    for tensor in stored.graph.initializer:
        kept = {entry.key: entry.value for entry in tensor.external_data}
        del tensor.external_data[:]
        for key, value in {**kept, **entries}.items():
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(stored.SerializeToString())
    return path


def test_external_data_are_read_and_hashed(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = external(model, tmp_path)
    loaded, digest = load_model(path)
    assert np.array_equal(numpy_helper.to_array(loaded.proto.graph.initializer[0]), WEIGHT)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "weights.bin").read_bytes()[::-1])
    assert load_model(path)[1] != digest


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"length": "25"}, "which has 24 bytes"),
        ({"offset": "1"}, "which has 24 bytes"),
        ({"offset": str(2**70)}, "is no offset or length"),
        ({"offset": "-4"}, "is no offset or length"),
        ({"length": "many"}, "is no offset or length"),
    ],
)
def test_external_data_lie_within_their_file(
    entries: dict[str, str], expected: str, model: onnx.ModelProto, tmp_path: Path
) -> None:
    assert expected in refused(external(model, tmp_path, **entries))


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_external_data_are_a_regular_file(make: Callable[[Path], None], model: onnx.ModelProto, tmp_path: Path) -> None:
    path = external(model, tmp_path)
    (tmp_path / "weights.bin").unlink()
    make(tmp_path / "weights.bin")
    refused(path)


def test_large_external_data_are_refused_unread(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = external(model, tmp_path)
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(20 * 2**30)  # sparse: it takes no disk
    assert f"have more than {MAX_BYTES} bytes" in refused(path)
    # Tensors that share one region count as often as they are read.
    (tmp_path / "weights.bin").unlink()
    large = np.ones((1000, 3), np.float32)
    model.graph.initializer.extend([numpy_helper.from_array(large, name) for name in ("u", "v")])
    path = external(model, tmp_path, offset="0", length="12000")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 36_000)
    load_model(path)
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 35_999)
    assert "have more than 35999 bytes" in refused(path)


def test_a_survey_holds_the_network_that_it_read(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    found = survey(path)
    assert found.network is not None
    assert found.network.sha256 == read_network(path).sha256
    model.graph.node[0].op_type = "Erf"
    del model.graph.node[0].input[1:]
    onnx.save(model, path)
    assert survey(path).network is None


def test_a_file_that_finds_no_memory_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(_: bytes) -> None:
        raise ValueError("Error parsing message with type 'onnx.ModelProto': Arena alloc failed")

    path = tmp_path / "large.onnx"
    path.write_bytes(b"x")
    monkeypatch.setattr(onnx, "load_model_from_string", too_large)
    with pytest.raises(MemoryError, match="does not fit into memory"):
        load_model(path)


def test_a_node_that_finds_no_memory_is_not_called_broken(onnx_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any) -> None:
        raise MemoryError("Unable to allocate 977 MiB")

    monkeypatch.setitem(RULES, "Relu", too_large)
    with pytest.raises(MemoryError, match="977"):
        network_from_model(onnx_model((helper.make_node("Relu", ["x"], ["y"]),), [1, 2], {}))


def test_a_file_may_be_packed(model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, packed = tmp_path / "m.onnx", tmp_path / "m.onnx.gz"
    content = model.SerializeToString()
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    (one, digest), (other, same) = load_model(plain), load_model(packed)
    assert digest == same
    assert one.proto == other.proto
    whole = packed.read_bytes()
    for damaged in (whole[:-9], whole[:12] + b"\x00" * 8 + whole[20:], whole[:2], whole[:10] + b"\xff" * 20):
        packed.write_bytes(damaged)
        assert "cannot be unpacked" in refused(packed)
    packed.write_bytes(whole)
    monkeypatch.setattr(onnx_file, "MAX_BYTES", len(content) - 1 if len(whole) < len(content) else len(whole))
    packed.write_bytes(gzip.compress(bytes(10_000)))
    assert "unpacks to more than" in refused(packed)
