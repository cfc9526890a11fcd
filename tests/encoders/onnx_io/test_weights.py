"""Large weights beside the message: the same model for whoever reads, checks or runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from encoders.errors import InputError
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from encoders.network.text import graph_to_text
from encoders.onnx_io import weights as beside
from encoders.onnx_io.file import load_model
from encoders.onnx_io.from_onnx import network_from_model
from encoders.onnx_io.to_onnx import to_onnx
from encoders.onnx_io.weights import LARGE, OnnxModel, apart
from verifier import models
from verifier.runtime.session import Level, session

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(512, LARGE // 2048)).astype(np.float32)
NODES = (
    helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
    helper.make_node("Relu", ["z"], ["r"]),
    helper.make_node("Add", ["r", "r"], ["y"]),
)


@pytest.fixture
def large(onnx_model: Any) -> onnx.ModelProto:
    bias = RNG.normal(size=WEIGHT.shape[1]).astype(np.float32)
    model: onnx.ModelProto = onnx_model(NODES, [1, 512], {"w": WEIGHT, "b": bias, "unread": 2 * WEIGHT})
    return model


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def test_large_floats_that_nodes_read_lie_beside_the_message(large: onnx.ModelProto) -> None:
    large.graph.initializer.append(numpy_helper.from_array(np.zeros(LARGE, np.int64), "whole"))
    large.graph.node.append(helper.make_node("Identity", ["whole"], ["same"]))
    found = apart(copied(large))
    assert (list(found.weights), found.size) == (["w"], WEIGHT.nbytes)
    assert np.array_equal(found.weights["w"], WEIGHT)
    assert found.proto.ByteSize() < large.ByteSize() - WEIGHT.nbytes + 1000
    assert found.whole == large


def test_what_has_no_large_weights_stays_as_it_is(onnx_model: Any) -> None:
    model = onnx_model(NODES[:2], [1, 2], {"w": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}, output="r")
    found = apart(model)
    assert found.proto is model
    assert found.whole is model


@pytest.mark.parametrize("name", ["w" * 3000, "ü/\0", "#", ".."])
def test_names_are_no_paths(large: onnx.ModelProto, name: str, tmp_path: Path) -> None:
    large.graph.node[0].input[1] = large.graph.initializer[0].name = name
    path = tmp_path / "named.onnx"
    path.write_bytes(large.SerializeToString())
    x = RNG.normal(size=(1, 512)).astype(np.float32)
    assert list(load_model(path)[0].weights) == [name]
    assert np.array_equal(
        verifier.load(path).replay.logits(x), session(OnnxModel(large), threads=1).run(None, {"x": x})[0]
    )


@pytest.mark.parametrize("among_inputs", [False, True])
def test_reading_and_running_are_the_same(large: onnx.ModelProto, among_inputs: bool) -> None:
    if among_inputs:  # as files of IR version 3 have them
        large.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    found = apart(copied(large))
    read = network_from_model(found.proto, weights=found.weights)
    assert graph_to_text(read.graph) == graph_to_text(network_from_model(large).graph)
    x = RNG.normal(size=(1, 512)).astype(np.float32)
    for level in Level:
        for packed in (True, False):
            here, there = (session(one, threads=1, level=level, packed=packed) for one in (found, OnnxModel(large)))
            assert np.array_equal(here.run(None, {"x": x})[0], there.run(None, {"x": x})[0])


def test_data_that_do_not_fit_are_told_as_ever(large: onnx.ModelProto, tmp_path: Path) -> None:
    tensor = next(tensor for tensor in large.graph.initializer if tensor.name == "w")
    tensor.raw_data = tensor.raw_data[:-4]
    path = tmp_path / "cut.onnx"
    path.write_bytes(large.SerializeToString())
    with pytest.raises(InputError, match=r"cut\.onnx"):
        verifier.load(path)


@pytest.mark.parametrize("name", ["digits", "mnist_n"])
def test_shipped_nets_are_the_same_with_all_weights_beside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models.path(name)
    usual = verifier.load(path)
    monkeypatch.setattr(beside, "LARGE", 1)
    assert load_model(path)[0].weights
    model = verifier.load(path)
    assert model.network.sha256 == usual.network.sha256
    assert graph_to_text(model.network.graph) == graph_to_text(usual.network.graph)
    assert model.agreement == usual.agreement
    x = RNG.random((3, model.graph.input_size)).astype(np.float32)
    assert np.array_equal(model.replay.logits(x), usual.replay.logits(x))


def test_what_attacks_run_holds_a_large_matrix_once() -> None:
    builder = GraphBuilder(512)
    hidden = builder.relu(builder.affine([(Dense(readonly(WEIGHT.T)), 0)]))
    graph = builder.graph(builder.affine([(Dense(readonly(np.ones((2, WEIGHT.shape[1])))), hidden)]))
    model = to_onnx(graph)
    assert model.size == WEIGHT.nbytes  # forwards and backwards
    onnx.checker.check_model(model.whole, full_check=True)
    names = [tensor.name for tensor in model.proto.graph.initializer if tensor.external_data]
    assert names == list(model.weights)
    given = {"x": np.ones((2, 512), np.float32), "v": np.ones((2, 2), np.float32)}
    here, there = (session(one, threads=1).run(None, given) for one in (model, OnnxModel(model.whole)))
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    assert numpy_helper.to_array(next(t for t in model.whole.graph.initializer if t.name == names[0])).dtype == "f4"
