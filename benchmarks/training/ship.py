"""From trained weights to the shipped files: the ONNX chain, its check in ONNX Runtime, and the record."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness.record import write_atomically
from benchmarks.training.recipe import Recipe

OPSET = 13
IR_VERSION = 8


@dataclass(frozen=True)
class Trained:
    """The outcome of one run.

    Attributes:
        recipe, seed: what was run.
        options: the command line's options besides `--seed` and `--out`.
        layers: pairs of weights, (out, in) or (out, in, side, side) of a convolution, and (out,) biases.
        correct: correctly classified test images, counted by PyTorch.
        measured: further figures for the record.
        split: which images were tested, if not the data set's own test images.
    """

    recipe: Recipe
    seed: int
    options: str
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    correct: int
    measured: Mapping[str, str | int | float]
    split: str = "the data set's own test images"

    @property
    def command(self) -> str:
        """The command line that was run, with DIR for the user's folders."""
        words = ["python", "-m", f"benchmarks.training.{self.recipe.script}", self.options, f"--seed {self.seed}"]
        return " ".join(word for word in [*words, "--out DIR"] if word)


def to_onnx(trained: Trained) -> bytes:
    """Return the ONNX bytes of Gemm, Relu, Gemm, ..., Gemm: `input` (batch, d) to `logits` (batch, classes).

    Weights are stored (out, in) with transB = 1; equal arguments give equal bytes. With convolutions Conv, Relu come
    first, the `input` is (batch, 1, side, side), and one Flatten stands before the first Gemm.
    """
    recipe = trained.recipe
    nodes, initializers, current = [], [], "input"
    last, convolutions = len(trained.layers) - 1, len(recipe.convolutions)
    for index, (weight, bias) in enumerate(trained.layers):
        affine, parameters = "logits" if index == last else f"affine{index}", [f"weight{index}", f"bias{index}"]
        if index < convolutions:
            layer = recipe.convolutions[index]
            nodes.append(
                helper.make_node(
                    "Conv",
                    [current, *parameters],
                    [affine],
                    kernel_shape=[layer.kernel] * 2,
                    strides=[layer.stride] * 2,
                    pads=[layer.padding] * 4,
                )
            )
        else:
            if 0 < index == convolutions:
                nodes.append(helper.make_node("Flatten", [current], ["flat"]))
                current = "flat"
            nodes.append(helper.make_node("Gemm", [current, *parameters], [affine], transB=1))
        initializers.append(numpy_helper.from_array(weight, f"weight{index}"))
        initializers.append(numpy_helper.from_array(bias, f"bias{index}"))
        if index != last:
            current = f"relu{index}"
            nodes.append(helper.make_node("Relu", [affine], [current]))
    graph = helper.make_graph(
        nodes,
        recipe.name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *recipe.input_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", recipe.widths[-1]])],
        initializers,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="relu-verifier")
    helper.set_model_props(model, {"recipe": f"benchmarks.training.{recipe.script}", "seed": str(trained.seed)})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def predictions(content: bytes, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index of the largest logit for each of the (n, d) images, by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape[1:]
    (logits,) = session.run(["logits"], {"input": images.reshape(-1, *shape)})
    largest: NDArray[np.int64] = np.asarray(logits).argmax(axis=1).astype(np.int64)
    return largest


def ship(trained: Trained, images: NDArray[np.float32], labels: NDArray[np.int64], out: Path) -> bytes:
    """Write `name.onnx` and the net's entry of `record.json` into `out`; return the bytes of the ONNX file.

    Raises:
        RuntimeError: ONNX Runtime does not count the same number of correct test images as PyTorch; nothing is written.
    """
    recipe = trained.recipe
    content = to_onnx(trained)
    recount = int((predictions(content, images) == labels).sum())
    if recount != trained.correct:
        raise RuntimeError(f"{recipe.name}: ONNX Runtime counts {recount} correct, PyTorch {trained.correct}")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{recipe.name}.onnx", content)
    record = out / "record.json"
    entries = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    entries[recipe.name] = {
        "file": f"{recipe.name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "architecture": recipe.architecture,
        "command": trained.command,
        "seed": trained.seed,
        "recipe": recipe.record(),
        "test_set": trained.split,
        "test_correct": trained.correct,
        "test_total": len(labels),
        "measured": dict(trained.measured),
        "torch": version("torch"),
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_atomically(record, (json.dumps(dict(sorted(entries.items())), indent=2) + "\n").encode())
    print(f"{recipe.name}: {trained.correct} of {len(labels)} test images correct, {dict(trained.measured)}")
    return content
