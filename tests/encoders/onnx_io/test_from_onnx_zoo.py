"""Networks of other people, tensor by tensor against ONNX Runtime. Their files are not in this repository."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from encoders.errors import InputError
from encoders.network.graph import evaluate, outputs
from encoders.onnx_io.from_onnx import read_network, survey
from encoders.passes.lower import lower

DATA = Path(__file__).parents[4] / "shared" / "data"
RUNTIME_TOLERANCE = 1e-4  # float32 sums of up to some thousand terms; relative to the largest entry of a tensor
LOWERING_TOLERANCE = 1e-9  # the same function in float64, summed in another order

BATCH = "the model works on a batch of 2"
REFUSED = {
    "sigmoid.onnx": BATCH,
    "tanh.onnx": BATCH,
    "constant.onnx": "does not depend on input 'x'",
    **dict.fromkeys(("cast_int_to_float.onnx", "dropout.onnx", "gemm.onnx", "leakyRelu.onnx", "sub.onnx"), BATCH),
}
"""Files that are refused, and why; the last five map a batch of two rows to two rows."""


def _files() -> list[Path]:
    """Every net, but of those with the same shape (ACAS Xu, 3-SAT) every tenth."""
    zoo = sorted((DATA / "onnx_zoo_small").glob("*.onnx"))
    for folder in sorted((DATA / "vnncomp").glob("*/onnx")):
        nets = sorted((*folder.glob("*.onnx"), *folder.glob("*.onnx.gz")))
        zoo += nets[::10] if len(nets) > 10 else nets
    return zoo


FILES = _files() or [
    pytest.param(None, marks=pytest.mark.skip(reason="the folder shared/data is not beside this checkout"))
]


@pytest.fixture
def plain(tmp_path: Path) -> Any:
    def unpack(file: Path) -> Path:
        if file.suffix != ".gz":
            return file
        target = tmp_path / file.stem
        target.write_bytes(gzip.decompress(file.read_bytes()))
        return target

    return unpack


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name if isinstance(file, Path) else None)
def test_net_is_that_of_onnx_runtime(file: Path, plain: Any, ort_values: Any) -> None:
    path = plain(file)
    if file.name in REFUSED:
        with pytest.raises(InputError) as caught:
            read_network(path)
        assert REFUSED[file.name] in str(caught.value)
        assert survey(path).unsupported
        return
    network = read_network(path)
    found = survey(path)
    assert (found.unsupported, found.op_counts) == ({}, network.op_counts)
    rng = np.random.default_rng(0)
    points = [rng.normal(size=network.input_shape).astype(network.input_dtype) for _ in range(2)]
    flat = np.stack([point.reshape(-1) for point in points])
    values = evaluate(network.graph, flat)
    for place, expected in enumerate(ort_values(onnx.load(path), points)):
        assert network.logits_name in expected
        for name in set(expected) & set(network.tensors):
            ours = values[network.tensors[name]][place]
            size = 1 + np.abs(ours).max()
            np.testing.assert_allclose(expected[name].reshape(-1), ours, rtol=0, atol=RUNTIME_TOLERANCE * size)
    np.testing.assert_allclose(
        outputs(lower(network.graph), flat),
        values[network.graph.output],
        rtol=LOWERING_TOLERANCE,
        atol=LOWERING_TOLERANCE,
    )
