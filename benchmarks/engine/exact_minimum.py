"""The nearest adversarial point of a small piecewise linear network, in integers: nothing is rounded, nor the engine's.

Weights, inputs and boxes are multiples of powers of 2. Every node's value is an affine form of the input with integer
coefficients; each kink is decided both ways, which adds a row to a linear program whose least value is a lower bound of
the distance: exact branch and bound. The program is solved by the dual simplex method with one common denominator
(Edmonds 1967), by Bland's rule, so that it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from verifier.problem.query import Norm

Form = tuple[int, ...]
"""Coefficients of the inputs, then the constant."""


@dataclass(frozen=True)
class Linear:
    """values → (weight · values + bias) / 2^bits, weight and bias integers."""

    weight: tuple[tuple[int, ...], ...]
    bias: tuple[int, ...]
    bits: int


@dataclass(frozen=True)
class Kinked:
    """One of KINDS for each of `groups` of entries; `numbers` are what it takes, in multiples of 2^-bits."""

    kind: str
    groups: tuple[tuple[int, ...], ...]
    numbers: tuple[int, ...] = ()
    bits: int = 0


Layer = Linear | Kinked

Piece = tuple[tuple[Form, ...], Form]
"""Where all of these forms are ≥ 0, the value is the last one."""


def plus(first: Form, second: Form, factor: int = 1) -> Form:
    """first + factor · second."""
    return tuple(a + factor * b for a, b in zip(first, second, strict=True))


def times(factor: int, form: Form) -> Form:
    return tuple(factor * a for a in form)


def constant(value: int, like: Form) -> Form:
    return (*(0 for _ in like[1:]), value)


def _relu(forms: Sequence[Form], numbers: Sequence[int], bits: int) -> Iterator[Piece]:
    del numbers, bits
    yield (forms[0],), forms[0]
    yield (times(-1, forms[0]),), constant(0, forms[0])


def _absolute(forms: Sequence[Form], numbers: Sequence[int], bits: int) -> Iterator[Piece]:
    del numbers, bits
    for sign in (1, -1):
        yield (times(sign, forms[0]),), times(sign, forms[0])


def _leaky(forms: Sequence[Form], numbers: Sequence[int], bits: int) -> Iterator[Piece]:
    yield (forms[0],), times(2**bits, forms[0])
    yield (times(-1, forms[0]),), times(numbers[0], forms[0])


def _clip(forms: Sequence[Form], numbers: Sequence[int], bits: int) -> Iterator[Piece]:
    del bits
    low, high = (constant(number, forms[0]) for number in numbers)
    yield (plus(forms[0], low, -1), plus(high, forms[0], -1)), forms[0]
    yield (plus(low, forms[0], -1),), low
    yield (plus(forms[0], high, -1),), high


def _largest(forms: Sequence[Form], numbers: Sequence[int], bits: int) -> Iterator[Piece]:
    del numbers, bits
    for form in forms:
        yield tuple(plus(form, other, -1) for other in forms if other is not form), form


KINDS: dict[str, Callable[[Sequence[Form], Sequence[int], int], Iterator[Piece]]] = {
    "Relu": _relu,
    "Abs": _absolute,
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "Max": _largest,
}
"""The pieces of each kind of kink: closed, so that both sides count where they meet."""


@dataclass(frozen=True)
class Nearest:
    """The least distance and a point that has it."""

    distance: Fraction
    point: tuple[Fraction, ...]


@dataclass(frozen=True)
class Question:
    """How far is it from `centre` to a point of the box where another class than `label` is among the largest?

    target: the class that is to be, None for any. Entries in multiples of 2^-bits; None: the box has no such end.
    """

    layers: tuple[Layer, ...]
    centre: tuple[int, ...]
    lo: tuple[int | None, ...]
    hi: tuple[int | None, ...]
    bits: int
    label: int
    target: int | None = None

    @property
    def targets(self) -> list[int]:
        """The classes that may be among the largest."""
        classes = len(self.layers[-1].bias) if isinstance(self.layers[-1], Linear) else 0
        return [t for t in range(classes) if t != self.label] if self.target is None else [self.target]


def nearest(question: Question, norm: Norm) -> Nearest | None:
    """The nearest such point; None when there is none."""
    return _Search(question, norm).run()


def evaluated(layers: Sequence[Layer], point: Sequence[Fraction]) -> list[Fraction]:
    """What the layers make of a point, by their own definitions, not by pieces."""
    values = list(point)
    for layer in layers:
        if isinstance(layer, Linear):
            unit = Fraction(1, 2**layer.bits)
            values = [
                (sum((w * v for w, v in zip(row, values, strict=True)), Fraction(0)) + bias) * unit
                for row, bias in zip(layer.weight, layer.bias, strict=True)
            ]
        else:
            values = [_value(layer, [values[place] for place in group]) for group in layer.groups]
    return values


def _value(layer: Kinked, values: list[Fraction]) -> Fraction:
    numbers = [Fraction(number, 2**layer.bits) for number in layer.numbers]
    match layer.kind:
        case "Relu":
            return max(values[0], Fraction(0))
        case "Abs":
            return abs(values[0])
        case "LeakyRelu":
            return values[0] if values[0] >= 0 else numbers[0] * values[0]
        case "Clip":
            return min(max(values[0], numbers[0]), numbers[1])
        case _:
            return max(values)


class Program:
    """min cost · y, y ≥ 0, under rows that are added one by one; kept optimal by the dual simplex method.

    `table`: the objective, then each basic variable, as integers (constant, coefficients of the nonbasic variables)
    over the one denominator `den` > 0. Variables 0 … n − 1 are y, those after them the rows' slacks.
    """

    def __init__(self, cost: Sequence[int]) -> None:
        self.table: list[list[int]] = [[0, *cost]]
        self.den = 1
        self.columns = list(range(len(cost)))
        self.basic = [-1]
        self.count = len(cost)

    def copy(self) -> Program:
        other = Program.__new__(Program)
        other.table, other.den = [row[:] for row in self.table], self.den
        other.columns, other.basic, other.count = self.columns[:], self.basic[:], self.count
        return other

    @property
    def optimum(self) -> Fraction:
        return Fraction(self.table[0][0], self.den)

    def value(self, variable: int) -> Fraction:
        """The value of a variable at the optimum."""
        return Fraction(self.table[self.basic.index(variable)][0], self.den) if variable in self.basic else Fraction(0)

    def add(self, coefficients: Sequence[int], offset: int) -> bool:
        """The row coefficients · y + offset ≥ 0; False when there is no solution any more."""
        row = [self.den * offset, *(0 for _ in self.columns)]
        for variable, coefficient in enumerate(coefficients):
            if not coefficient:
                continue
            if variable in self.basic:
                given = self.table[self.basic.index(variable)]
                row = [a + coefficient * b for a, b in zip(row, given, strict=True)]
            else:
                row[1 + self.columns.index(variable)] += self.den * coefficient
        self.table.append(row)
        self.basic.append(self.count)
        self.count += 1
        return self._restored()

    def _restored(self) -> bool:
        """Pivot until all variables are ≥ 0, costs staying ≥ 0; False when a row says that they cannot."""
        while True:
            wrong = [(self.basic[place], place) for place in range(1, len(self.table)) if self.table[place][0] < 0]
            if not wrong:
                return True
            place = min(wrong)[1]
            row, cost = self.table[place], self.table[0]
            best = 0
            for column in range(1, len(row)):
                if row[column] <= 0:
                    continue
                gap = -1 if not best else cost[column] * row[best] - cost[best] * row[column]
                if gap < 0 or (gap == 0 and self.columns[column - 1] < self.columns[best - 1]):
                    best = column
            if not best:
                return False
            self._pivot(place, best)

    def _pivot(self, place: int, column: int) -> None:
        row, den = self.table[place], self.den
        pivot = row[column]
        for other, entries in enumerate(self.table):
            if other == place:
                continue
            factor = entries[column]
            if factor:
                changed = [(pivot * a - factor * b) // den for a, b in zip(entries, row, strict=True)]
                changed[column] = factor
            else:
                changed = [pivot * a // den for a in entries]
            self.table[other] = changed
        changed = [-a for a in row]
        changed[column] = den
        self.table[place] = changed
        self.den = pivot
        self.basic[place], self.columns[column - 1] = self.columns[column - 1], self.basic[place]


class _Search:
    """Branch and bound over kinks; a form speaks of x · 2^bits and is its value times 2^shift, by layer."""

    def __init__(self, question: Question, norm: Norm) -> None:
        self.question, self.norm = question, norm
        self.best: Nearest | None = None

    def run(self) -> Nearest | None:
        program, size = self._ball(), len(self.question.centre)
        first = [(*(int(i == j) for j in range(size)), 0) for i in range(size)]
        self._walk(0, self.question.bits, first, program)
        return self.best

    def _ball(self) -> Program:
        """y = (p, m[, t]): x = centre + p − m, and what the norm says of it."""
        question, size = self.question, len(self.question.centre)
        far = self.norm is Norm.LINF
        program = Program([0] * (2 * size) + [1] if far else [1] * (2 * size))
        width = 2 * size + far
        for i, (centre, lo, hi) in enumerate(zip(question.centre, question.lo, question.hi, strict=True)):
            for variable, room in (
                (i, None if hi is None else hi - centre),
                (size + i, None if lo is None else centre - lo),
            ):
                if room is not None:
                    program.add([-(k == variable) for k in range(width)], room)
                if far:
                    program.add([(k == width - 1) - (k == variable) for k in range(width)], 0)
        return program

    def _row(self, form: Form) -> tuple[list[int], int]:
        """The form as a row over y."""
        slopes = form[:-1]
        offset = form[-1] + sum(a * c for a, c in zip(slopes, self.question.centre, strict=True))
        return [*slopes, *(-a for a in slopes), *([0] if self.norm is Norm.LINF else [])], offset

    def _with(self, program: Program, forms: Sequence[Form]) -> Program | None:
        """The program with these forms ≥ 0; None where that has no solution nearer than the best."""
        grown = program.copy()
        for form in forms:
            if not any(form[:-1]):
                if form[-1] < 0:
                    return None
            elif not grown.add(*self._row(form)):
                return None
        return grown if self._promising(grown) else None

    def _promising(self, program: Program) -> bool:
        return self.best is None or self._distance(program) < self.best.distance

    def _distance(self, program: Program) -> Fraction:
        return program.optimum * Fraction(1, 2**self.question.bits)

    def _walk(self, place: int, shift: int, values: list[Form], program: Program) -> None:
        """Everything behind layer `place`, whose inputs are `values` / 2^shift."""
        layers = self.question.layers
        if place == len(layers):
            self._goal(values, program)
            return
        layer = layers[place]
        if isinstance(layer, Linear):
            combined = [
                plus(_sum(row, values), constant(bias << shift, values[0]))
                for row, bias in zip(layer.weight, layer.bias, strict=True)
            ]
            self._walk(place + 1, shift + layer.bits, combined, program)
        else:
            self._kink(place, layer, shift, values, [], program)

    def _kink(
        self, place: int, layer: Kinked, shift: int, values: list[Form], done: list[Form], program: Program
    ) -> None:
        """The pieces of the next group of a layer of kinks, the nearest first."""
        if len(done) == len(layer.groups):
            self._walk(place + 1, shift + (layer.bits if layer.kind == "LeakyRelu" else 0), done, program)
            return
        numbers = layer.numbers if layer.kind == "LeakyRelu" else [n << (shift - layer.bits) for n in layer.numbers]
        forms = [values[entry] for entry in layer.groups[len(done)]]
        found: list[tuple[Fraction, int, Form, Program]] = []
        for where, value in KINDS[layer.kind](forms, numbers, layer.bits):
            grown = self._with(program, where)
            if grown is not None:
                found.append((self._distance(grown), len(found), value, grown))
        for _, _, value, grown in sorted(found, key=lambda entry: entry[:2]):
            if self._promising(grown):
                self._kink(place, layer, shift, values, [*done, value], grown)

    def _goal(self, values: list[Form], program: Program) -> None:
        """The targets, in the region where the logits are these forms."""
        size = len(self.question.centre)
        for target in self.question.targets:
            own = values[target]
            rows = [plus(own, other, -1) for k, other in enumerate(values) if k != target]
            found = self._with(program, rows)
            if found is not None:
                unit = Fraction(1, 2**self.question.bits)
                point = tuple(
                    (c + found.value(i) - found.value(size + i)) * unit for i, c in enumerate(self.question.centre)
                )
                self.best = Nearest(self._distance(found), point)


def _sum(row: Sequence[int], values: Sequence[Form]) -> Form:
    total = constant(0, values[0])
    for factor, form in zip(row, values, strict=True):
        if factor:
            total = plus(total, form, factor)
    return total
