"""A property's certificate → the community's proof trees (APTP), one for each case: leaves as ReLU phases, or as boxes.

The multipliers are left out, for which the format has no place: whoever checks such a tree has to find its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from verifier.certificates import checker
from verifier.certificates.checker import (
    BoxLayer,
    BoxNode,
    BoxProof,
    CheckedGoal,
    Numbers,
    Proof,
    PropertyCertificate,
    PropertyText,
    ReluNode,
    TextLinear,
)
from verifier.problem.budget import Budget
from verifier.problem.properties import pattern_tree
from verifier.problem.properties.to_aptp import boxes_to_aptp, of_one_input, relus_to_aptp


@dataclass(eq=False)
class _Leaves:
    """Leaves of a case's tree, in the order in which they are read."""

    paths: list[pattern_tree.Path] = field(default_factory=list)
    boxes: list[list[tuple[Fraction, Fraction]]] = field(default_factory=list)
    halved: bool = False


class _RecordedProof(Proof):
    """The checker's proof in a box, which notes the splits on the way to each leaf."""

    def __init__(self, made: list[_Leaves], *given: Any, budget: Budget) -> None:
        self._made, self._budget = made, budget
        super().__init__(*given)

    @property
    def leaves_of(self) -> _Leaves:
        """Those of the tree that is read."""
        return self._made[-1]

    def _path(self, node: ReluNode) -> pattern_tree.Path:
        return self._paths.get(id(node), (node, ()))[1]

    def _follow(self, node: ReluNode, path: pattern_tree.Path) -> ReluNode:
        # The node is held so that its id stays its own.
        self._paths[id(node)] = node, path
        return node

    def refute(self, goal: CheckedGoal, numbers: Numbers) -> None:
        self._paths: dict[int, tuple[ReluNode, pattern_tree.Path]] = {}
        self._made.append(_Leaves())
        super().refute(goal, numbers)

    def count(self, work: int) -> None:
        """As the checker does. Raises OutOfTimeError."""
        self._budget.check()
        super().count(work)

    def bounded(self, node: ReluNode, numbers: Numbers) -> ReluNode:
        return self._follow(super().bounded(node, numbers), self._path(node))

    def _sloped(self, node: ReluNode, numbers: Numbers) -> ReluNode:
        return self._follow(super()._sloped(node, numbers), self._path(node))

    def _squared(self, node: ReluNode, numbers: Numbers) -> None:
        self.leaves_of.paths.append(self._path(node))
        super()._squared(node, numbers)

    def in_boxes(self) -> BoxProof:
        self.leaves_of.halved = True
        if self._boxes is None:
            self._boxes = _RecordedBoxes(self)
        return self._boxes

    def _signs(self, node: ReluNode, relu: int) -> list[ReluNode]:
        starts = np.cumsum([0, *(size for _, size in self.net.layers)])
        kept = np.concatenate([start + layer.kept for start, layer in zip(starts, node.layers, strict=False)])
        path, above = self._path(node), int(kept[relu])
        on, off = super()._signs(node, relu)
        return [self._follow(on, (*path, (above, True))), self._follow(off, (*path, (above, False)))]

    def _leaf(self, node: ReluNode, numbers: Numbers, *, lined: bool) -> None:
        self.leaves_of.paths.append(self._path(node))
        super()._leaf(node, numbers, lined=lined)


class _RecordedBoxes(BoxProof):
    """The checker's proof by boxes, which notes those of leaves."""

    def _close(self, proof: Proof, rows: BoxLayer, leaves: Sequence[tuple[BoxNode, int]]) -> None:
        assert isinstance(proof, _RecordedProof)
        proof.leaves_of.boxes += [self._exact(node) for node, _ in leaves]
        super()._close(proof, rows, leaves)

    def _exact(self, node: BoxNode) -> list[tuple[Fraction, Fraction]]:
        """Its ends in numbers of the input."""
        every = zip(self.lo.tolist(), self.width.tolist(), node.lo.tolist(), node.hi.tolist(), strict=True)
        return [
            (
                Fraction((lo << self.grid) + width * first, self.unit << self.grid),
                Fraction((lo << self.grid) + width * last, self.unit << self.grid),
            )
            for lo, width, first, last in every
        ]


def aptp_proofs(content: bytes, model: bytes, folder: Path, budget: Budget) -> list[str]:
    """A text for each case of the property of this certificate, which is valid for the model's bytes.

    Raises InputError where it is about a ball; OutOfTimeError.
    """
    claim = checker.parse(content)
    if not isinstance(claim, PropertyCertificate):
        raise InputError("--aptp takes a certificate of a property: one about a ball has no text of VNN-LIB")
    made: list[_Leaves] = []
    checker.property_checked(claim, model, folder, partial(_RecordedProof, made, budget=budget))
    prop, texts = PropertyText(claim.text), []
    for rows, leaves in zip(_cases(prop), made, strict=True):
        if not (leaves.boxes or leaves.paths):
            raise InputError("--aptp: a case of this certificate is refuted by clauses, which APTP has no words for")
        if leaves.halved:
            texts.append(boxes_to_aptp(prop.inputs, prop.outputs, rows, _exact(leaves.boxes, rows)))
        else:
            texts.append(relus_to_aptp(prop.inputs, prop.outputs, rows, leaves.paths))
    return texts


def _cases(prop: PropertyText) -> Iterator[list[TextLinear]]:
    """The rows of each case, those of its box included, in the order of `property_cases`."""
    for rows in checker.disjuncts(prop.formula):
        alone = copy.copy(prop)
        alone.formula = ("and", [("row", row) for row in rows])
        if checker.property_cases(alone):
            yield rows


def _exact(
    boxes: Sequence[Sequence[tuple[Fraction, Fraction]]], rows: Sequence[TextLinear]
) -> list[list[tuple[Fraction, Fraction]]]:
    """Boxes within the ends that rows give, which the checker has rounded outwards."""
    ends: dict[tuple[int, int], Fraction] = {}
    for row in rows:
        if of_one_input(row):
            (name,) = row.keys() - {checker.CONSTANT}
            place, end = (name[1], 1 if row[name] > 0 else -1), -row.get(checker.CONSTANT, Fraction(0)) / row[name]
            ends[place] = max(ends.get(place, end), end) if place[1] > 0 else min(ends.get(place, end), end)
    return [[(max(lo, ends[i, 1]), min(hi, ends[i, -1])) for i, (lo, hi) in enumerate(box)] for box in boxes]
