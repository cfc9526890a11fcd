"""Small files that ask for much, or for what is no network: each by a few lines, about 150 of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
Write = Callable[[Path], None]

BIG = 2**12
"""A vector of so many entries makes 2**24 by one outer product, and 2**36 by two."""


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def model(
    nodes: list[onnx.NodeProto], constants: Mapping[str, Any], shape: list[int], opset: int = 17, output: str = "y"
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "m"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written(made: onnx.ModelProto) -> Write:
    return lambda path: path.write_bytes(made.SerializeToString()) and None


def folded(nodes: list[onnx.NodeProto], constants: Mapping[str, Any], opset: int = 17) -> Write:
    """A network that adds the mean of the constant 'c', which `nodes` compute."""
    ending = [
        node("Cast", ["c"], ["cf"], to=TensorProto.FLOAT),
        node("ReduceMean", ["cf"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["a"]),
        node("MatMul", ["a", "w"], ["y"]),
    ]
    return written(model([*nodes, *ending], {"w": floats(4, 3), **constants}, [1, 4], opset))


def of_x(nodes: list[onnx.NodeProto], constants: Mapping[str, Any], opset: int = 17) -> Write:
    """A network of `nodes` from 'x' of shape (1, 4) to 'v', whose maximum is added to x."""
    ending = [
        node("ReduceMax", ["v"], ["r"], keepdims=0),
        node("Add", ["x", "r"], ["a"]),
        node("MatMul", ["a", "w"], ["y"]),
    ]
    return written(model([*nodes, *ending], {"w": floats(4, 3), **constants}, [1, 4], opset))


def filled(*shape: int) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A constant 'k' of that shape from a few bytes."""
    return [node("ConstantOfShape", ["shape"], ["k"])], {"shape": ints(*shape)}


def doubling(op: str, first: str, rounds: int, **attributes: Any) -> list[onnx.NodeProto]:
    names = [first, *(f"d{i}" for i in range(rounds))]
    return [node(op, [a, a], [b], **attributes) for a, b in itertools.pairwise(names)]


def constants_that_grow() -> dict[str, Write]:
    made: dict[str, Write] = {}
    column, row = floats(BIG, 1), floats(1, BIG)
    pair = {"k": np.tile(column, (2, 1)), "l": np.tile(row, (1, 2))}
    for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Equal", "Greater", "PRelu"):
        made[f"outer-{op}"] = folded([node(op, ["k", "l"], ["c"])], pair)
    cube = {"k": floats(256, 1, 1), "l": floats(1, 512, 1), "m": floats(1, 1, 1024)}
    for op in ("Sum", "Max", "Mean"):
        made[f"outer-three-{op}"] = folded([node(op, ["k", "l", "m"], ["c"])], cube)
    made["outer-Where"] = folded([node("Where", ["b", "k", "l"], ["c"])], {**pair, "b": np.array(True)})
    made["outer-MatMul"] = folded([node("MatMul", ["k", "l"], ["c"])], pair)
    made["outer-Gemm"] = folded([node("Gemm", ["k", "l"], ["c"])], pair)
    made["outer-Einsum"] = folded([node("Einsum", ["k", "l"], ["c"], equation="ab,cd->abcd")], pair)
    made["sum-Einsum"] = folded([node("Einsum", ["k", "l"], ["c"], equation="ab,cd->")], pair)
    nodes, given = filled(2**11, 2**12)
    made["square-MatMul"] = folded([*nodes, node("Transpose", ["k"], ["t"]), node("MatMul", ["t", "k"], ["c"])], given)
    for rounds in (12, 24, 60):
        made[f"doubling-Concat-{rounds}"] = folded(
            [*doubling("Concat", "k", rounds, axis=0), node("Identity", [f"d{rounds - 1}"], ["c"])], {"k": floats(16)}
        )
    made["growing-MatMul"] = folded(
        [*doubling("MatMul", "k", 40), node("Identity", ["d39"], ["c"])], {"k": floats(300, 300)}
    )
    image = {"k": floats(1, 1, 8, 8)}
    for opset, scales in ((9, 1e4), (9, 1e30), (9, float("nan")), (9, -1.0), (7, 1e4)):
        given = dict(image) if opset == 7 else {**image, "s": np.array([1, 1, scales, scales], np.float32)}
        odd = {"scales": [1.0, 1.0, scales, scales]} if opset == 7 else {}
        inputs = ["k"] if opset == 7 else ["k", "s"]
        made[f"Upsample-{opset}-{scales:g}"] = folded([node("Upsample", inputs, ["c"], **odd)], given, opset)
    for mode in ("nearest", "linear", "cubic"):
        sizes = {**image, "s": ints(1, 1, 2**16, 2**16)}
        made[f"Resize-{mode}"] = folded([node("Resize", ["k", "", "", "s"], ["c"], mode=mode)], sizes)
    made["Tile"] = folded([node("Tile", ["k", "s"], ["c"])], {"k": floats(1, 8), "s": ints(2**20, 2**20)})
    made["Tile-negative"] = folded([node("Tile", ["k", "s"], ["c"])], {"k": floats(1, 8), "s": ints(-1, 2)})
    made["Expand"] = folded([node("Expand", ["k", "s"], ["c"])], {"k": floats(1), "s": ints(2**31, 2**31)})
    made["Pad"] = folded([node("Pad", ["k", "s"], ["c"])], {"k": floats(1), "s": ints(2**40, 2**40)})
    made["Pad-negative"] = folded([node("Pad", ["k", "s"], ["c"])], {"k": floats(1), "s": ints(-(2**40), 1)})
    for size in (2**24, 2**40, -1):
        made[f"ConstantOfShape-{size}"] = folded([node("ConstantOfShape", ["s"], ["c"])], {"s": ints(size)})
    made["ConstantOfShape-ranks"] = folded([node("ConstantOfShape", ["s"], ["c"])], {"s": ints(*[1] * 5000)})
    for limit, delta in ((1e30, 1.0), (1e9, 1e-9), (float("nan"), 1.0), (5.0, 0.0), (float("inf"), 1.0)):
        ends = {name: np.array(value, np.float32) for name, value in (("k", 0.0), ("l", limit), ("m", delta))}
        made[f"Range-{limit:g}-{delta:g}"] = folded([node("Range", ["k", "l", "m"], ["c"])], ends)
    whole = {"k": np.array(0), "l": np.array(2**62), "m": np.array(1)}
    made["Range-whole"] = folded([node("Range", ["k", "l", "m"], ["c"])], whole)
    depth = {"k": ints(*range(100)), "l": np.array(2**40), "m": np.array([0.0, 1.0], np.float32)}
    made["OneHot"] = folded([node("OneHot", ["k", "l", "m"], ["c"])], depth)
    nodes, given = filled(2**23)
    for op in ("NonZero", "Unique", "Softmax", "Exp", "CumSum", "ArgMax", "Hardmax", "Not"):
        inputs = ["k", "axis"] if op == "CumSum" else ["k"]
        made[f"large-{op}"] = folded([*nodes, node(op, inputs, ["c"])], {**given, "axis": np.array(0)})
    many = [f"p{i}" for i in range(64)]
    for op in ("Concat", "Sum", "Max"):
        odd = {"axis": 0} if op == "Concat" else {}
        made[f"many-{op}"] = folded([*nodes, node(op, ["k"] * 64, ["c"], **odd)], given)
    made["many-Exp"] = folded([*nodes, *(node("Exp", ["k"], [name]) for name in many), node("Sum", many, ["c"])], given)
    made["TopK"] = folded([*nodes, node("TopK", ["k", "n"], ["c", "i"])], {**given, "n": ints(2**22)})
    made["to-strings"] = folded([*nodes, node("Cast", ["k"], ["c"], to=TensorProto.STRING)], given)
    for size in (2**20, 2**40, 0, -5):
        for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
            made[f"{op}-{size}"] = folded([node(op, ["n"], ["c"])], {"n": np.array(size)})
    return made


def constants_that_crash() -> dict[str, Write]:
    made: dict[str, Write] = {}
    image, kernel = floats(1, 2, 4, 4), floats(2, 2, 2, 2)
    for op, first, second in (("Div", 1, 0), ("Mod", 1, 0), ("Div", -(2**63), -1), ("Mod", -(2**63), -1)):
        made[f"{op}-{first}-{second}"] = folded([node(op, ["k", "l"], ["c"])], {"k": ints(first), "l": ints(second)})
    made["BitShift"] = folded(
        [node("BitShift", ["k", "l"], ["c"], direction="LEFT")], {"k": np.uint64([1]), "l": np.uint64([2**40])}
    )
    for name in ("strides", "dilations", "kernel_shape", "pads"):
        for value in (0, -1, 2**31, 2**62):
            odd = {"kernel_shape": [2, 2], name: [value, value] * (2 if name == "pads" else 1)}
            made[f"MaxPool-{name}-{value}"] = folded([node("MaxPool", ["k"], ["c"], **odd)], {"k": image})
            made[f"Conv-{name}-{value}"] = folded([node("Conv", ["k", "l"], ["c"], **odd)], {"k": image, "l": kernel})
    given = {"k": image, "l": kernel}
    made["ConvTranspose-stride"] = folded([node("ConvTranspose", ["k", "l"], ["c"], strides=[2**20, 2**20])], given)
    made["ConvTranspose-pads"] = folded([node("ConvTranspose", ["k", "l"], ["c"], output_shape=[2**20, 2**20])], given)
    made["Conv-group"] = folded([node("Conv", ["k", "l"], ["c"], group=0)], given)
    for size in (0, -1, 2**31, 2**62):
        made[f"DepthToSpace-{size}"] = folded([node("DepthToSpace", ["k"], ["c"], blocksize=size)], {"k": image})
        made[f"LRN-{size}"] = folded([node("LRN", ["k"], ["c"], size=size)], {"k": image})
    for index in (2**40, -(2**40)):
        made[f"Gather-{index}"] = folded([node("Gather", ["k", "l"], ["c"])], {"k": image, "l": ints(index)})
        made[f"GatherND-{index}"] = folded([node("GatherND", ["k", "l"], ["c"])], {"k": image, "l": ints(index)})
        scattered = {"k": floats(4), "l": ints(index), "m": floats(1)}
        made[f"Scatter-{index}"] = folded([node("ScatterElements", ["k", "l", "m"], ["c"])], scattered)
        made[f"Trilu-{index}"] = folded([node("Trilu", ["k", "l"], ["c"])], {"k": floats(4, 4), "l": np.array(index)})
    text = {"k": np.array(["a" * 5000] * 50, dtype=object)}
    made["RegexFullMatch"] = folded([node("RegexFullMatch", ["k"], ["c"], pattern="(a*)*b")], text, 20)
    made["StringSplit"] = folded([node("StringSplit", ["k"], ["c", "n"], delimiter="")], text, 20)
    for op in ("Det", "Loop", "If", "Scan", "LSTM", "SequenceConstruct", "RandomNormal", "NonMaxSuppression", "NoOp"):
        made[f"stray-{op}"] = folded([node(op, ["k"], ["c"])], {"k": floats(3, 3)})
    return made


def variables_that_grow() -> dict[str, Write]:
    made: dict[str, Write] = {}
    for rounds in (10, 20, 40):
        nodes = [*doubling("Concat", "x", rounds, axis=0), node("Identity", [f"d{rounds - 1}"], ["v"])]
        made[f"x-doubling-{rounds}"] = of_x(nodes, {})
    for size in (2**21, 2**30, 2**61):
        made[f"x-Expand-{size}"] = of_x([node("Expand", ["x", "s"], ["v"])], {"s": ints(size, 4)})
        made[f"x-Tile-{size}"] = of_x([node("Tile", ["x", "s"], ["v"])], {"s": ints(size, 1)})
        made[f"x-Pad-{size}"] = of_x([node("Pad", ["x", "s"], ["v"])], {"s": ints(0, size, 0, 0)})
    square = [node("Expand", ["x", "s"], ["e"]), node("Reshape", ["e", "t"], ["u"])]
    given = {"s": ints(2**18, 4), "t": ints(1, 1, 2**10, 2**10)}
    for op in ("MaxPool", "AveragePool"):
        for kernel in (3, 100, 255, 256, 1000):
            pooled = node(op, ["u"], ["v"], kernel_shape=[kernel, kernel])
            made[f"x-{op}-{kernel}"] = of_x([*square, pooled], given)
        for name in ("pads", "strides", "dilations"):
            odd = {name: [2**40] * (4 if name == "pads" else 2)}
            made[f"x-{op}-{name}"] = of_x([*square, node(op, ["u"], ["v"], kernel_shape=[2, 2], **odd)], given)
        far = {"pads": [2**40, 2**40, 0, 0], "strides": [2**41, 2**41]}
        made[f"x-{op}-far"] = of_x([*square, node(op, ["u"], ["v"], kernel_shape=[2, 2], **far)], given)
    for op in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean", "GlobalMaxPool", "GlobalAveragePool"):
        made[f"x-{op}"] = of_x([*square, node(op, ["u"], ["v"])], given)
    made["x-Conv"] = of_x([*square, node("Conv", ["u", "k"], ["v"])], {**given, "k": floats(64, 1, 100, 100)})
    deep = [*square, *(node("Conv", [a, "k"], [b], pads=[1] * 4) for a, b in (("u", "f"), ("f", "g"), ("g", "v")))]
    made["x-Conv-deep"] = of_x(deep, {**given, "k": floats(1, 1, 3, 3)})
    for op in ("Mul", "Add", "Max", "Div"):
        outer = {"k": floats(2**13, 1, 1), "l": floats(2**13, 1)}
        made[f"x-outer-{op}"] = of_x([node(op, ["x", "l"], ["e"]), node(op, ["e", "k"], ["v"])], outer)
    made["x-MatMul-stack"] = of_x([node("MatMul", ["x", "k"], ["v"])], {"k": floats(2**16, 4, 4)})
    made["x-Gather"] = of_x([node("Gather", ["x", "k"], ["v"])], {"k": np.zeros((2**11, 2**11), np.int8).astype(int)})
    for op, count in (("Sum", 20_000), ("Max", 20_000), ("Concat", 20_000), ("Sum", 3)):
        odd = {"axis": 1} if op == "Concat" else {}
        made[f"x-many-{op}-{count}"] = of_x([node(op, ["x"] * count, ["v"], **odd)], {})
    wide = [node("Expand", ["x", "s"], ["e"]), node("Concat", ["e"] * 500, ["v"], axis=0)]
    made["x-wide-Concat"] = of_x(wide, {"s": ints(2**16, 4)})
    made["x-Split"] = of_x([node("Split", ["x"], ["v", *(f"s{i}" for i in range(3000))], axis=1)], {})
    made["x-ranks"] = of_x([node("Reshape", ["x", "s"], ["v"])], {"s": ints(*[1] * 3000, 4)})
    for op in ("Relu", "Identity", "Neg", "Softmax", "Sigmoid", "Cast", "Abs"):
        odd = {"to": 1} if op == "Cast" else {}
        names = ["x", *(f"d{i}" for i in range(3000)), "v"]
        chain = [node(op, [a], [b], **odd) for a, b in itertools.pairwise(names)]
        made[f"x-chain-{op}"] = of_x(chain, {})
        made[f"x-chain-back-{op}"] = of_x(chain[::-1], {})
        ends = [*chain[:-1], node(op, [names[-2]], ["y"], **odd)]
        made[f"x-end-{op}"] = written(model(ends, {}, [1, 4]))
    return made


def odd_files() -> dict[str, Write]:
    made: dict[str, Write] = {}
    plain = model([node("MatMul", ["x", "w"], ["y"])], {"w": floats(4, 3)}, [1, 4])

    def changed(change: Callable[[onnx.ModelProto], Any]) -> Write:
        other = onnx.ModelProto()
        other.CopyFrom(plain)
        change(other)
        return written(other)

    made["plain"] = written(plain)
    made["large-input"] = written(model([node("Relu", ["x"], ["y"])], {}, [1, 2**23]))
    made["huge-input"] = written(model([node("Relu", ["x"], ["y"])], {}, [1, 2**62]))
    for place, dims in enumerate(([2**33, 2**33], [-1, 3], [0], [2**62], [1] * 5000)):
        made[f"dims-{place}"] = changed(lambda m, dims=dims: m.graph.initializer[0].dims.__setitem__(slice(None), dims))
    for kind in range(25):
        made[f"type-{kind}"] = changed(lambda m, kind=kind: setattr(m.graph.initializer[0], "data_type", kind))
    made["name"] = changed(lambda m: setattr(m.graph, "name", "\x1b[2J" * 100_000))
    made["node-name"] = changed(lambda m: setattr(m.graph.node[0], "name", "\x1b[2J\x07" * 50_000))
    made["op-name"] = changed(lambda m: setattr(m.graph.node[0], "op_type", "\x1b]0;x\x07" * 50_000))
    made["domain"] = changed(lambda m: setattr(m.graph.node[0], "domain", "\x1b[2J"))
    made["opsets"] = changed(lambda m: m.opset_import.extend([helper.make_opsetid("", 7 + i % 9) for i in range(9999)]))
    made["values"] = changed(
        lambda m: m.graph.value_info.extend(
            [helper.make_tensor_value_info(f"v{i}", TensorProto.FLOAT, [1]) for i in range(20_000)]
        )
    )
    made["weights"] = changed(
        lambda m: m.graph.initializer.extend([numpy_helper.from_array(floats(1), f"w{i}") for i in range(20_000)])
    )
    body = helper.make_node("Neg", ["X"], ["Y"])
    function = helper.make_function("", "MatMul", ["X", "W"], ["Y"], [body], [helper.make_opsetid("", 17)])
    made["function"] = changed(lambda m: m.functions.append(function))
    itself = helper.make_function(
        "f", "F", ["X"], ["Y"], [node("F", ["X"], ["Y"], domain="f")], [helper.make_opsetid("f", 1)]
    )
    made["recursion"] = changed(
        lambda m: (m.functions.append(itself), m.opset_import.append(helper.make_opsetid("f", 1)))
    )
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [0]),
        [4, 3],
    )
    vast = helper.make_sparse_tensor(sparse.values, sparse.indices, [2**30, 2**30])
    for place, tensor in enumerate((sparse, vast)):
        made[f"sparse-{place}"] = changed(
            lambda m, tensor=tensor: (m.graph.sparse_initializer.append(tensor), m.graph.initializer.__delitem__(0))
        )
        made[f"sparse-constant-{place}"] = folded([node("Constant", [], ["c"], sparse_value=tensor)], {})
    nested = helper.make_graph([], "g", [], [])
    for _ in range(8):
        inner = node("If", ["b"], ["y"], then_branch=nested, else_branch=helper.make_graph([], "e", [], []))
        nested = helper.make_graph([inner], "g", [], [])
    made["nested"] = changed(lambda m: m.graph.node.append(nested.node[0]))
    made["training"] = changed(lambda m: m.training_info.add().initialization.CopyFrom(m.graph))
    for size in (0, 1, 1000, 10**6):
        made[f"zeros-{size}"] = lambda path, size=size: path.write_bytes(b"\0" * size) and None
        made[f"ones-{size}"] = lambda path, size=size: path.write_bytes(b"\x0a" * size) and None
        made[f"noise-{size}"] = lambda path, size=size: (
            path.write_bytes(np.random.default_rng(size).bytes(size)) and None
        )
    made["pipe"] = os.mkfifo
    made["zero"] = lambda path: path.symlink_to("/dev/zero")
    made["random"] = lambda path: path.symlink_to("/dev/urandom")
    made["folder"] = Path.mkdir
    made["loop"] = lambda path: path.symlink_to(path)
    return made


HANDMADE: Mapping[str, Callable[[], dict[str, Write]]] = {
    "constants that grow": constants_that_grow,
    "constants that crash": constants_that_crash,
    "variables that grow": variables_that_grow,
    "odd files": odd_files,
}
