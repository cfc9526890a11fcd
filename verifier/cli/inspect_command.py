"""`verifier inspect`: what a model is, and what of it cannot be read."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.onnx_io.from_onnx import Network, as_classifier, survey
from encoders.passes.lower import lower
from verifier.cli.exit_codes import Exit
from verifier.problem.budget import Budget
from verifier.report import json_result, terminal
from verifier.runtime.agreement import Agreement, Comparison
from verifier.runtime.model import EVERY, ONE_OUTPUT, load

PATIENCE = 60.0
"""Seconds for the comparison with ONNX Runtime, which takes one or two: it says where it was not complete."""


def facts(path: Path, output: str | None = None) -> dict[str, Any]:
    """The facts, as the JSON object has them. Raises InputError when the file is no ONNX model at all."""
    found = survey(path, output)
    unsupported = dict(found.unsupported)
    network = None if found.network is None else as_classifier(found.network)
    agreement: Agreement | None = None
    if network is not None:
        try:
            agreement = Comparison.of_file(path, found.model, network).of_model(found.model, Budget(PATIENCE))
        except InputError as error:
            network, unsupported["model"] = None, str(error).removeprefix(f"{path}: ")
    parameters = sum(math.prod(tensor.dims) for tensor in found.model.proto.graph.initializer)
    return {
        "schema": json_result.SCHEMA,
        "model": str(path),
        "model_sha256": found.sha256,
        "opset": found.opset,
        "input": {
            "name": found.input_name,
            "shape": _sizes(found.input_shape),
            "dtype": str(network.input_dtype) if network else None,
        },
        "output": {"name": found.output_name, "shape": _sizes(found.output_shape)},
        "logits": network.logits_name if network else None,
        "outputs": network.graph.output_size - int(network.binary) if network else None,
        "classes": network.graph.output_size if network else None,
        "ops": dict(sorted(found.op_counts.items())),
        "parameters": parameters,
        "relus": lower(network.graph).relu_count if network else None,
        "notes": [*network.notes, *_misdeclared(found.output_shape, network)] if network else [],
        "agreement": None if agreement is None else asdict(agreement),
        "unsupported": unsupported,
        "readable": network is not None,
    }


def _misdeclared(shape: tuple[int | None, ...] | None, network: Network) -> list[str]:
    """That the file declares another size of its output than it gives, as exporters of scikit-learn do of regressors.

    A first axis of unknown size is the batch; where others are unknown, nothing is said.
    """
    sizes = [] if shape is None else [1 if axis == 0 and size is None else size for axis, size in enumerate(shape)]
    given = network.graph.output_size - int(network.binary)
    if not sizes or None in sizes or math.prod(size or 0 for size in sizes) == given:
        return []
    return [f"the file declares its output as {_shape(_sizes(shape))}, and gives {given} numbers"]


def run(path: Path, output: str | None = None, *, as_json: bool) -> Exit:
    """Print the facts. What is no classifier that can be verified gets one line on stderr as well, and exit code 2."""
    found = facts(path, output)
    whole = not found["readable"] and output is None and _taken_whole(path)
    if as_json:
        sys.stdout.write(json_result.dumps(found))
    else:
        terminal.stdout().print(terminal.pairs("Model", _rows(found, whole=whole)))
    if found["readable"]:
        return Exit.GOOD
    node, reason = next(iter(found["unsupported"].items()))
    raise InputError(f"{path} cannot be verified{' as a classifier' if whole else ''}: {node}: {reason}")


def _taken_whole(path: Path) -> bool:
    """Do properties and `bounds` take the file, which have all its inputs and outputs together?"""
    try:
        load(path, Budget(PATIENCE), output=EVERY)
    except InputError:
        return False
    return True


def _rows(found: dict[str, Any], *, whole: bool) -> list[tuple[str, str]]:
    given, gives = found["input"], found["output"]
    rows = [
        ("file", found["model"]),
        ("sha256", found["model_sha256"]),
        ("opset", str(found["opset"])),
        ("input", f"{given['name']}  {_shape(given['shape'])}  {given['dtype'] or ''}".rstrip()),
        ("output", f"{gives['name']}  {_shape(gives['shape'])}"),
        ("ops", ", ".join(f"{count} {op}" for op, count in found["ops"].items())),
        ("parameters", f"{found['parameters']:,}"),
    ]
    if found["readable"]:
        one = found["outputs"] == 1
        rows += [("outputs", ONE_OUTPUT.format(found["classes"])) if one else ("classes", str(found["classes"]))]
        rows += [("ReLUs after lowering", f"{found['relus']:,}")]
    if found["agreement"]:
        rows.append(("agrees with ONNX Runtime", _agreement(found["agreement"])))
    rows += [("note", note) for note in found["notes"]]
    label = "as a classifier" if whole else "cannot be read"
    rows += [(label, f"{node}: {reason}") for node, reason in found["unsupported"].items()]
    return [*rows, ("for properties, bounds", "read, all inputs and outputs together")] if whole else rows


def _agreement(told: dict[str, Any]) -> str:
    where = f"at {told['points']} points, in {told['tensors']} tensors, at {', '.join(told['levels'])}"
    return f"{where}; of {told['bound']:.2g} that rounding explains, {told['difference']:.2g} at most"


def _sizes(shape: tuple[int | None, ...] | None) -> list[int | None] | None:
    return None if shape is None else list(shape)


def _shape(shape: list[int | None] | None) -> str:
    if shape is None:
        return "(shape unknown)"
    return "x".join("?" if size is None else str(size) for size in shape) or "(no axes)"
