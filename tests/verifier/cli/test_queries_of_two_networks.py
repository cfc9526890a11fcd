"""Random queries of VNN-LIB 2 about two networks whose inputs hang together, against exact arithmetic.

The ends of one network's inputs follow from the other's. The truth over the reals is Z3's, of the networks as they are
written here; an assignment is evaluated in rationals, one of float32 by ONNX Runtime on the files.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from encoders.network.graph import Array
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main

WIDTH, HIDDEN = 2, 3
OPERATORS = {">=": operator.ge, "<=": operator.le, "==": operator.eq}
Layers = Sequence[tuple[Array, Array]]


@dataclass(frozen=True)
class Comparison:
    """Σ factor · variable, an operator, a number: quarters all of them, which float32 has."""

    terms: Mapping[str, Fraction]
    sign: str
    bound: Fraction

    def __str__(self) -> str:
        terms = [f"(* {float(factor)} {name})" for name, factor in self.terms.items()]
        total = f"(+ {' '.join(terms)})" if len(terms) > 1 else terms[0]
        return f"({self.sign} {total} {float(self.bound)})"

    def of(self, values: Mapping[str, Any], number: Callable[[Fraction], Any] = lambda given: given) -> Any:
        total = sum((number(factor) * values[name] for name, factor in self.terms.items()), number(Fraction(0)))
        return OPERATORS[self.sign](total, number(self.bound))


@dataclass(frozen=True)
class TwoNetworks:
    """f gives Y of X, g gives V of U; all comparisons of `always` hold, and one of `either`."""

    relation: str
    nets: tuple[Layers, Layers]
    always: Sequence[Comparison]
    either: Sequence[Comparison]

    def text(self, dtype: str) -> str:
        declared = "".join(
            f"(declare-network {name} {relation} (declare-input {x} {dtype} [1,{WIDTH}]) "
            f"(declare-output {y} {dtype} [1,1]))"
            for name, relation, x, y in (("f", "", "X", "Y"), ("g", f"({self.relation} f)", "U", "V"))
        )
        rows = "".join(f"(assert {row})" for row in self.always)
        return f"(vnnlib-version <2.0>){declared}{rows}(assert (or {' '.join(map(str, self.either))}))"

    def holds(self, values: Mapping[str, Fraction]) -> bool:
        return all(row.of(values) for row in self.always) and any(row.of(values) for row in self.either)


def names(letter: str, size: int = WIDTH) -> list[str]:
    return [f"{letter}[0,{place}]" for place in range(size)]


def random_query(rng: np.random.Generator) -> TwoNetworks:
    def quarter(low: int, high: int) -> Fraction:
        return Fraction(int(rng.integers(low, high + 1)), 4)

    def layers() -> Layers:
        sizes = [WIDTH, HIDDEN, 1]
        return [(rng.integers(-2, 3, (m, n)).astype(float), rng.integers(-4, 5, m) / 4) for n, m in pairwise(sizes)]

    relation = str(rng.choice(["equal-to", "isomorphic-to"]))
    first = layers()
    known, other = [("X", "U"), ("U", "X")][int(rng.integers(2))]
    always = []
    for mine, its in zip(names(known), names(other), strict=True):
        low = quarter(-4, 2)
        always += [
            Comparison({mine: Fraction(1)}, ">=", low),
            Comparison({mine: Fraction(1)}, "<=", low + quarter(0, 4)),
        ]
        factor = Fraction(int(rng.choice([-2, -1, 1, 2])))
        tie = {its: Fraction(int(rng.choice([-1, 1, 2]))), mine: factor}
        if rng.random() < 0.4:
            tie[names(known)[0]] = tie.get(names(known)[0], Fraction(0)) + 1
        tie = {name: number for name, number in tie.items() if number}
        middle, gap = quarter(-2, 2), quarter(0, 2)
        if rng.random() < 0.5:
            always.append(Comparison(tie, "==", middle))
        else:
            always += [Comparison(tie, ">=", middle), Comparison(tie, "<=", middle + gap)]
    outputs = {"Y[0,0]": quarter(-4, 4), "V[0,0]": quarter(1, 4)}
    either = [
        Comparison({name: number for name, number in outputs.items() if number}, ">=", quarter(-4, 24)),
        Comparison({"Y[0,0]": Fraction(1), "V[0,0]": Fraction(-1)}, ">=", quarter(2, 24)),
    ]
    order = rng.permutation(len(always))
    return TwoNetworks(
        relation, (first, first if relation == "equal-to" else layers()), [always[place] for place in order], either
    )


def outputs_of(layers: Layers, x: Sequence[Any], number: Callable[[Fraction], Any], relu: Callable[[Any], Any]) -> Any:
    for place, (weights, bias) in enumerate(layers):
        x = [
            sum((number(Fraction(w)) * entry for w, entry in zip(row, x, strict=True)), number(Fraction(shift)))
            for row, shift in zip(weights.tolist(), bias.tolist(), strict=True)
        ]
        x = [relu(entry) for entry in x] if place + 1 < len(layers) else x
    return x[0]


def exact(asked: TwoNetworks, given: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """The inputs and what both networks give."""
    values = dict(given)
    for layers, x, y in zip(asked.nets, "XU", "YV", strict=True):
        inputs = [given[name] for name in names(x)]
        values[f"{y}[0,0]"] = outputs_of(layers, inputs, lambda one: one, lambda one: max(one, Fraction(0)))
    return values


def truth_of(asked: TwoNetworks) -> str:
    z3 = pytest.importorskip("z3")

    def number(given: Fraction) -> Any:
        return z3.RatVal(given.numerator, given.denominator)

    values = {name: z3.Real(name) for letter in "XU" for name in names(letter)}
    for layers, x, y in zip(asked.nets, "XU", "YV", strict=True):
        inputs = [values[name] for name in names(x)]
        values[f"{y}[0,0]"] = outputs_of(layers, inputs, number, lambda one: z3.If(one > 0, one, number(Fraction(0))))
    solver = z3.Solver()
    solver.add(
        *(row.of(values, number) for row in asked.always), z3.Or(*(row.of(values, number) for row in asked.either))
    )
    return str(solver.check())


def sampled(asked: TwoNetworks, rng: np.random.Generator) -> bool:
    """Does one of some points on eighths, of the box and of what is tied to it, satisfy the query, exactly?"""
    for _ in range(400):
        given = {name: Fraction(int(rng.integers(-24, 25)), 8) for letter in "XU" for name in names(letter)}
        for row in asked.always:  # one that fails moves its first input onto its border
            name = next(iter(row.terms))
            if not row.of(given):
                rest = sum((factor * given[other] for other, factor in row.terms.items() if other != name), Fraction(0))
                given[name] = (row.bound - rest) / row.terms[name]
        if asked.holds(exact(asked, given)):
            return True
    return False


def assigned(told: str) -> dict[str, list[Fraction]]:
    """The assignment: a line NAME type [shape] for each tensor, then its numbers."""
    found: dict[str, list[Fraction]] = {}
    for line in told.splitlines()[1:]:
        if line.endswith("]"):
            found[line.split()[0]] = values = []
        else:
            values.append(Fraction(line))
    return found


def said(asked: TwoNetworks, dtype: str, folder: Path, files: Sequence[str], out: Any) -> tuple[str, Any]:
    """The word of `verify` and its assignment, the word and the exit code as one."""
    (folder / "q.vnnlib").write_text(asked.text(dtype))
    words = ["verify", str(folder / "q.vnnlib"), "--network", f"f={files[0]}", "--timeout", "60"]
    words += ["--network", f"g={files[1]}"] if asked.relation == "isomorphic-to" else []
    code = main(words)
    told = out.readouterr().out
    word = told.split("\n", maxsplit=1)[0]
    assert {"sat": Exit.VIOLATED, "unsat": Exit.GOOD, "unknown": Exit.UNDECIDED}[word] == code
    return word, assigned(told)


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_the_truth(
    seed: int, truth: Any, save_net: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("vnnlib", reason="VNN-LIB 2 needs the extra vnnlib", exc_type=ImportError)
    rng = np.random.default_rng(7000 + seed)
    asked = random_query(rng)
    files = [str(save_net(truth.of_layers(*layers)).path) for layers in asked.nets]
    word, found = said(asked, "real", tmp_path, files, capsys)
    assert word == truth_of(asked)
    points = sampled(asked, rng)
    assert not (points and word == "unsat")
    if word == "sat":
        values = {f"{name}[0,{place}]": one for name, row in found.items() for place, one in enumerate(row)}
        inputs = {name: values[name] for letter in "XU" for name in names(letter)}
        assert exact(asked, inputs) == values
        assert asked.holds(values)
    word, found = said(asked, "float32", tmp_path, files, capsys)
    assert not (points and word == "unsat")
    if word == "sat":
        values = {f"{name}[0,{place}]": one for name, row in found.items() for place, one in enumerate(row)}
        for file, x, y in zip(files, "XU", "YV", strict=True):
            given = np.array([[float(values[name]) for name in names(x)]], np.float32)
            assert [Fraction(float(one)) for one in given[0]] == found[x]
            (gives,) = onnxruntime.InferenceSession(file).run(None, {"x": given})
            values[f"{y}[0,0]"] = Fraction(float(gives[0, 0]))
        assert asked.holds(values)
