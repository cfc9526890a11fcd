"""What ONNX Runtime says is passed on without its own source's places, and with what would be right."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, defs, helper

from encoders.errors import one_line
from encoders.onnx_io.file import newest_opset
from encoders.onnx_io.runtime import runtime, runtime_complaint

SAYS = "[ONNXRuntimeError] : 1 : FAIL : Load model from my nets/a.onnx failed:/onnxruntime_src/core/graph/"
SIGNED = (
    "model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const std::unordered_map<std::string, int>&, "
    "std::function<void(int)>, const onnxruntime::ModelOptions&) "
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            f"{SAYS}{SIGNED}Unsupported model IR version: 14, max supported IR version: 13\n",
            "Unsupported model IR version: 14, max supported IR version: 13; "
            "save it with model.ir_version = 13, or a newer onnxruntime helps",
        ),
        (f"{SAYS}model.cc:9 all (or most) is wrong", "all (or most) is wrong"),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.", "Protobuf parsing failed"),
        ("", "RuntimeError"),
    ],
)
def test_its_own_places_are_left_out(said: str, told: str) -> None:
    assert runtime_complaint(RuntimeError(said)) == told


def test_the_end_of_a_long_message_is_kept() -> None:
    told = one_line(ValueError("first " + "and so on " * 100 + "last"))
    assert told.startswith("first ")
    assert told.endswith(" last")
    assert len(told) == 240


def test_an_opset_too_new_is_told_with_one_that_is_read() -> None:
    if (newest := newest_opset()) == defs.onnx_opset_version():
        pytest.skip("this ONNX Runtime reads all that this onnx knows")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx.defs.onnx_opset_version())])
    model.ir_version = 8
    with pytest.raises(Exception, match="opset") as caught:
        runtime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert runtime_complaint(caught.value).endswith(f"; export it with opset {newest} or lower")
