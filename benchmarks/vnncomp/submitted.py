"""Witness files of the competition's tools, judged as exact numbers: which of them are counterexamples, and of what?

A file holds `((X_0 0.1) (X_1 …) (Y_0 …))`, or as VNN-LIB 2 has it `X float32 [1,2]` and a number a line, a line `sat`
before it or none, packed by gzip or not. The network can only be given numbers of its own input type, so the point that
is judged is the one nearest to the file's. The file's Y are not looked at: outputs are those of exact arithmetic and of
ONNX Runtime.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.vnncomp.instances import VnnInstance, witness_name
from encoders.errors import InputError
from encoders.files.regular_file import regular_size
from encoders.network.exact import exact_outputs, exact_outputs_of
from verifier.problem.properties.formula import And, Formula, LinearRow, Property
from verifier.problem.properties.from_vnnlib import NUMBER
from verifier.problem.properties.network_query import DeclaredTensor
from verifier.problem.properties.s_expressions import Atom, Nested, Text
from verifier.runtime.model import Model
from verifier.runtime.property_judge import plain_output

TOLERANCE = Fraction(1, 10_000)
"""By which the competition lets a row be missed, of inputs as well as of outputs (its rules of 2023 to 2025)."""

LARGEST_FILE = 2**24
"""Bytes, unpacked: 200,000 inputs with 20 digits each have 6 MB."""

VARIABLE = re.compile(r"([XY])_(\d{1,7})", re.ASCII)


HEADER = re.compile(r"\s*[^\W\d]\w* \w+ \[[\d, ]*\]\s*$", re.ASCII | re.MULTILINE)
"""How a tensor of an assignment of VNN-LIB 2 begins: its name, type and shape."""


class Kind(StrEnum):
    """What a submitted point is, the best first."""

    EXACT = "exact"
    """A counterexample in exact arithmetic and in ONNX Runtime, without tolerance."""

    RUNTIME_ONLY = "ONNX Runtime only"
    REAL_ONLY = "exact arithmetic only"
    """In exact arithmetic, at the point as it is written or as the network can be given it."""

    TOLERANCE = "tolerance only"
    """Some row is missed, by no more than TOLERANCE."""

    NONE = "none"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Judged:
    """What a point is, and in words which row it misses by how much; "" for an exact one."""

    kind: Kind
    words: str = ""


@dataclass(frozen=True)
class Deciding:
    """The row on which a formula's truth rests at a point, and its value: negative by as much as the row is missed."""

    value: Fraction
    row: LinearRow | None

    @property
    def holds(self) -> bool:
        return self.value > 0 or (self.value == 0 and not (self.row is not None and self.row.strict))

    @property
    def words(self) -> str:
        names = (
            [
                f"{letter}_{place}"
                for letter, terms in (("X", self.row.inputs), ("Y", self.row.outputs))
                for place, _ in terms
            ]
            if self.row is not None
            else []
        )
        what = (
            f"a row of {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else "a row without variables"
        )
        return f"{what} is missed by {float(-self.value):.3g}"


def deciding(formula: Formula, x: Sequence[Fraction], y: Sequence[Fraction]) -> Deciding:
    """The worst row of an "and", the best part of an "or"; rows count in the units in which they are written."""
    if isinstance(formula, LinearRow):
        return Deciding(formula.value(x, y), formula)
    parts = [deciding(part, x, y) for part in formula.parts]
    if not parts:
        return Deciding(Fraction(1 if isinstance(formula, And) else -1), None)
    choose = min if isinstance(formula, And) else max
    return choose(parts, key=lambda part: (part.value, part.holds))


def read_point(path: Path, size: int, inputs: Sequence[DeclaredTensor] = ()) -> list[Fraction]:
    """X of a witness file, (size,); inputs: the tensors that it consists of. Raises InputError: no such format, or an
    entry that is missing."""
    text = Text(str(path), _content(path))
    if HEADER.match(text.content):
        return _tensors(path, text.content, size, inputs)
    found: dict[int, Fraction] = {}
    for group in text.groups():
        pairs = group.items if any(isinstance(item, Nested) for item in group.items) else (group,)
        for pair in pairs:
            match pair:
                case Nested((Atom(name), Atom(number))) if VARIABLE.fullmatch(name) and NUMBER.fullmatch(number):
                    if name.startswith("X"):
                        found[int(name[2:])] = Fraction(number)
                case _:
                    raise text.error(pair.at, "this is no pair such as (X_0 0.5)")
    if sorted(found) != list(range(size)):
        raise InputError(f"{path} gives {len(found)} values of X; the property has {size}")
    return [found[place] for place in range(size)]


def _tensors(path: Path, content: str, size: int, inputs: Sequence[DeclaredTensor]) -> list[Fraction]:
    """The inputs of an assignment of VNN-LIB 2: several by their names, one by its place, the first."""
    blocks: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, content.splitlines())):
        if HEADER.fullmatch(line):
            name = line.split()[0]
            if name in blocks:
                raise InputError(f"{path} gives the tensor {name} twice")
            blocks[name] = []
        else:
            blocks[name].append(line)
    wanted = [(one.name, one.places) for one in inputs] if len(inputs) > 1 else [(next(iter(blocks)), slice(0, size))]
    found = [Fraction()] * size
    for name, places in wanted:
        given, count = blocks.get(name, []), places.stop - places.start
        for word in given:
            if not NUMBER.fullmatch(word):
                raise InputError(f"{path}: {word[:40]!r} is no number")
        if len(given) != count:
            raise InputError(f"{path} gives {len(given)} values of the tensor {name}; the property's has {count}")
        found[places] = map(Fraction, given)
    return found


def _content(path: Path) -> str:
    regular_size(path, LARGEST_FILE)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise InputError(f"{path} unpacks to more than {LARGEST_FILE} bytes")
        text = content.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return re.sub(r"\A\s*sat\b", "", text)


def judge(model: Model, prop: Property, x: Sequence[Fraction]) -> Judged:
    """What a point (inputs,) is for a model and a property. Raises InputError where a Softmax ends the model."""
    plain_output(model)
    largest = Fraction(float(np.finfo(model.dtype).max))
    if any(abs(entry) > largest for entry in x):
        return Judged(Kind.NONE, f"an entry is no finite {model.dtype.name}")
    given = np.array([float(entry) for entry in x]).astype(model.dtype)
    if model.lowered.smooth:
        raise InputError(f"{model.path}: a witness is judged by exact outputs, which a Sigmoid or Tanh has not")
    graph, first = model.network.graph, model.first_output
    outputs = model.replay.scores(given)[0]
    point = [Fraction(entry) for entry in given.tolist()]
    real = deciding(prop.formula, point, exact_outputs(graph, given.astype(np.float64))[first:])
    written = deciding(prop.formula, x, exact_outputs_of(graph, x)[first:])
    runtime = written
    if finite := bool(np.all(np.isfinite(outputs))):
        runtime = deciding(prop.formula, point, [Fraction(entry) for entry in outputs.tolist()])
    reached = finite and runtime.holds
    if reached and real.holds:
        return Judged(Kind.EXACT)
    if reached:
        return Judged(Kind.RUNTIME_ONLY, f"in exact arithmetic {real.words}")
    if real.holds or written.holds:
        return Judged(Kind.REAL_ONLY, f"in ONNX Runtime {runtime.words}" if finite else "ONNX Runtime overflows")
    best = max(real, written, runtime, key=lambda one: one.value)
    return Judged(Kind.TOLERANCE if best.value >= -TOLERANCE else Kind.NONE, best.words)


def submitted(folder: Path, instance: VnnInstance) -> list[tuple[str, Path]]:
    """(tool, file) of an instance's witnesses: TOOL/BENCHMARK/NAME or TOOL/YEAR_BENCHMARK/NAME below `folder`."""
    own = named(instance.benchmark)
    places = [place for place in sorted(folder.glob("*/*")) if place.is_dir() and own.fullmatch(place.name)]
    files = [
        (place.parent.name, place / f"{witness_name(instance)}{packed}") for place in places for packed in ("", ".gz")
    ]
    return [(tool, file) for tool, file in files if file.exists()]


def named(benchmark: str) -> re.Pattern[str]:
    """What a benchmark may be called: its name, or with a year before it."""
    return re.compile(rf"(\d{{4}}_)?{re.escape(benchmark)}")
