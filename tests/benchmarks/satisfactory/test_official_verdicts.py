"""VNN-COMP's instances, written anew in VNN-LIB 2: `verify` says what the competition's tools agree on."""

from __future__ import annotations

import gzip
import re
from decimal import Decimal
from pathlib import Path

import onnx
import pytest

from benchmarks.harness.mnist import shared
from benchmarks.vnncomp.instances import read_instances, stored, unpacked
from encoders.onnx_io.file import inputs, outputs
from verifier.cli.main import main

DATA = shared("vnncomp")

NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?(?![\w.])")


def decimal(found: re.Match[str]) -> str:
    text = format(Decimal(found[0]), "f")
    return text if "." in text else f"{text}.0"


def in_2(text: str, sides: dict[str, list[int]], dtype: str) -> str:
    """A text of VNN-LIB 1.0 as one of 2.0, with tensors of these shapes."""
    body = re.sub(r"\(declare-const[^)]*\)", "", re.sub(r";[^\n]*", "", text))
    body = NUMBER.sub(decimal, body)
    for letter, shape in sides.items():

        def entry(found: re.Match[str], letter: str = letter, shape: list[int] = shape) -> str:
            place, index = int(found[1]), []
            for size in reversed(shape):
                place, last = divmod(place, size)
                index.append(str(last))
            return f"{letter}[{','.join(reversed(index))}]"

        body = re.sub(rf"{letter}_(\d+)", entry, body)
    declared = (f"{letter} {dtype} {str(shape).replace(' ', '')}" for letter, shape in sides.items())
    given, gives = declared
    return f"(vnnlib-version <2.0>)(declare-network N (declare-input {given}) (declare-output {gives})){body}"


@pytest.mark.skipif(DATA is None, reason="../shared/data/vnncomp is not there")
@pytest.mark.parametrize(
    ("benchmark", "every", "place", "dtype"),
    [
        ("acasxu", 45, 3, "float32"),
        ("safenlp", 60, 1, "float32"),
        ("safenlp", 60, 1, "real"),
        ("safenlp", 60, 0, "real"),
    ],
)
def test_what_the_tools_agree_on(
    benchmark: str, every: int, place: int, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    assert DATA is not None
    data = DATA.parent
    instance = read_instances(data, benchmark, every)[place]
    folder = data / "vnncomp" / benchmark
    path = stored(folder / instance.vnnlib)
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    with unpacked(folder / instance.onnx) as model:
        proto = onnx.load(model)
        sides = {"X": [size or 1 for size in inputs(proto)[0].shape or ()]}
        sides["Y"] = [size or 1 for size in outputs(proto)[0].shape or ()]
        query = tmp_path / "q.vnnlib"
        query.write_text(in_2(text, sides, dtype))
        main(["verify", str(query), "--network", f"N={model}"])
    assert capsys.readouterr().out.split("\n", maxsplit=1)[0] == instance.official
