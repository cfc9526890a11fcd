"""APTP → a property and the leaves of a split tree: activation patterns that prove that nothing satisfies it.

An activation pattern tree proof is a text of VNN-LIB 1.0 with neurons besides: (declare-pwl N_1 ReLU), and one
assertion (or (and (< N_1 0) (>= N_3 0)) …) whose disjuncts are the tree's leaves. N_k is the k-th argument of a ReLU,
layer after layer, from 1. Where inputs were split the leaves are boxes, no neuron is declared, and the text is a
property of VNN-LIB as it stands. (Duong, Xu, Nguyen, Dwyer: Generating and Checking DNN Verification Proofs, 2024;
α,β-CROWN's and NeuralSAT's files as their checker reads them.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from verifier.problem.properties.formula import Property
from verifier.problem.properties.from_vnnlib import property_of_commands
from verifier.problem.properties.s_expressions import Atom, Expression, Nested, Text, shown

MOST_NEURONS = 2**24
"""Ten times those of the largest network of VNN-COMP; a number beyond it is a mistake or an attack."""

NEURON = re.compile(r"N_([1-9]\d{0,7})", re.ASCII)

ZERO = re.compile(r"[+-]?(?:0+(?:\.0*)?|\.0+)(?:[eE][+-]?\d{1,4})?", re.ASCII)

SIDES = {"<": False, "<=": False, ">": True, ">=": True}
"""Is the neuron active? Both sides are taken as closed: at 0 a ReLU is both."""

Pattern = dict[int, bool]
"""A leaf: for each neuron that it names, counted from 0, whether it is active."""


@dataclass(frozen=True, eq=False)
class PatternProof:
    """The `prop` that nothing is to satisfy, and the `leaves` of the tree that is to show it.

    leaves: None where the file splits inputs, whose boxes are then cases of the property.
    """

    prop: Property
    leaves: tuple[Pattern, ...] | None


def pattern_proof(text: Text, look: Callable[[], None] = lambda: None) -> PatternProof:
    """The proof that a text describes. Raises InputError, one line with line and column.

    look: called now and then; what it raises ends the reading.
    """
    reader = _Reader(text, look)
    prop = property_of_commands(text, reader.without_neurons(), look)
    return PatternProof(prop, reader.leaves)


class _Reader:
    """Takes what is about neurons out of a text's commands."""

    def __init__(self, text: Text, look: Callable[[], None]) -> None:
        self._text, self._look = text, look
        self._known: dict[str, int] = {}
        self.leaves: tuple[Pattern, ...] | None = None

    def without_neurons(self) -> Iterator[Nested]:
        """The other commands, declarations of several variables as one for each."""
        for command in self._text.groups(self._look):
            name = command.items[0].text if command.items and isinstance(command.items[0], Atom) else ""
            if name == "declare-pwl":
                self._declare(command)
            elif name == "declare-const" and len(command.items) > 3:
                first, *variables, last = command.items
                yield from (Nested((first, variable, last), command.at) for variable in variables)
            elif name == "assert" and self._about_neurons(command):
                self._take_leaves(command)
            else:
                yield command
        if self._known and self.leaves is None:
            # A tree that is its root alone needs no assertion.
            self.leaves = ({},)

    def _declare(self, command: Nested) -> None:
        """(declare-pwl N_1 N_2 … ReLU)."""
        *neurons, kind = command.items[1:] or (command,)
        if not neurons or not isinstance(kind, Atom) or kind.text.lower() != "relu":
            raise self._text.error(command.at, "a neuron's declaration is (declare-pwl N_1 ReLU): only ReLUs are read")
        for neuron in neurons:
            found = NEURON.fullmatch(neuron.text) if isinstance(neuron, Atom) else None
            if found is None or int(found[1]) > MOST_NEURONS:
                raise self._text.error(neuron.at, f"{shown(neuron)} is no neuron: they are N_1, N_2, …")
            if found[0] in self._known:
                raise self._text.error(neuron.at, f"{found[0]} is declared twice")
            self._known[found[0]] = int(found[1]) - 1

    def _about_neurons(self, command: Nested) -> bool:
        """Does an assertion name a neuron, where only leaves may: first of all in its first leaf?"""
        inner: Expression = command
        while isinstance(inner, Nested) and inner.items:
            inner = inner.items[1] if len(inner.items) > 1 else inner.items[0]
        return isinstance(inner, Atom) and inner.text.startswith("N_")

    def _take_leaves(self, command: Nested) -> None:
        if self.leaves is not None:
            raise self._text.error(command.at, "a second assertion about neurons: all leaves stand in one")
        whole = command.items[1] if len(command.items) == 2 else command
        if not _applies(whole, "or"):
            raise self._text.error(whole.at, "an assertion about neurons is (or (and (< N_1 0) …) …)")
        assert isinstance(whole, Nested)
        self.leaves = tuple(map(self._leaf, whole.items[1:]))

    def _leaf(self, expression: Expression) -> Pattern:
        self._look()
        if not _applies(expression, "and"):
            raise self._text.error(expression.at, f"a leaf is (and (< N_1 0) …), not {shown(expression)}")
        assert isinstance(expression, Nested)
        pattern: Pattern = {}
        for part in expression.items[1:]:
            neuron, active = self._literal(part)
            if pattern.setdefault(neuron, active) is not active:
                raise self._text.error(part.at, f"N_{neuron + 1} is on both sides in one leaf")
        return pattern

    def _literal(self, part: Expression) -> tuple[int, bool]:
        items = part.items if isinstance(part, Nested) else ()
        words = [item.text for item in items if isinstance(item, Atom)]
        if len(words) != 3 or len(items) != 3 or words[0] not in SIDES:
            raise self._text.error(part.at, f"a leaf's parts are (< N_1 0) or (>= N_1 0), not {shown(part)}")
        if words[1] not in self._known:
            why = "is not declared" if NEURON.fullmatch(words[1]) else "is no neuron, which a tree of ReLUs splits"
            raise self._text.error(items[1].at, f"{shown(items[1])} {why}")
        if not ZERO.fullmatch(words[2]):
            raise self._text.error(items[2].at, f"ReLUs are split at 0, not at {shown(items[2])}")
        return self._known[words[1]], SIDES[words[0]]


def _applies(expression: Expression, name: str) -> bool:
    first = expression.items[0] if isinstance(expression, Nested) and expression.items else None
    return isinstance(first, Atom) and first.text == name
