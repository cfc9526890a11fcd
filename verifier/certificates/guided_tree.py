"""A certificate's split tree that follows another verifier's: its splits are taken, the multipliers found here.

A node that closes is a leaf, whatever the other tree goes on with below it; a leaf of the other tree that does not
close is split further. So a proof that is not perfect may give a certificate, and one for another network of the same
shape does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.network.graph import Array
from verifier.certificates.checker import CONSTANT, PropertyCase, PropertyText, TextLinear, property_cases
from verifier.certificates.split_tree import GrownTree, NotCertifiedError, ProofTree, children
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_aptp import PatternProof
from verifier.problem.properties.pattern_tree import Path, pattern_tree, told
from verifier.problem.properties.to_vnnlib import to_vnnlib

SAME_ROW = 1e-5
"""Relative: how far numbers of a row may lie apart that another verifier wrote as float32."""


@dataclass(frozen=True, eq=False)
class Guide:
    """A tree's tokens as `GuidedTree` takes them, the `name` of its file, and the `cases` that it is to refute."""

    name: str
    tokens: Sequence[int]
    cases: Sequence[PropertyCase]

    def must_suit(self, relus: int) -> None:
        """Raises InputError where the tree splits a ReLU that is not there."""
        most = max(self.tokens)
        if most > relus:
            raise InputError(f"{self.name}: there is no N_{most}: the model has {relus} ReLUs, N_1 the first")

    def distance(self, case: PropertyCase) -> float:
        """How far the box of a case with these rows is from this one's; infinite where none has these rows."""
        near = [one for one in self.cases if one.lo.size == case.lo.size and _same_rows(one, case)]
        gaps = (np.abs(np.append(one.lo - case.lo, one.hi - case.hi)).max(initial=0.0) for one in near)
        return float(min(gaps, default=math.inf))


def guide_of(proof: PatternProof, name: str, look: Callable[[], None]) -> Guide:
    """The tree of a proof with leaves. Raises InputError where they leave a gap."""
    cases = property_cases(PropertyText(to_vnnlib(proof.prop).encode()))
    return Guide(name, pattern_tree(proof.leaves or (), name, look), cases)


def nearest_guide(guides: Sequence[Guide], case: PropertyCase) -> Guide | None:
    """That which is about a case of the same rows, in the nearest box; None without one."""
    best = min(guides, key=lambda guide: guide.distance(case), default=None)
    return best if best is not None and best.distance(case) < math.inf else None


def _same_rows(one: PropertyCase, other: PropertyCase) -> bool:
    first, second = (sorted(map(_normal, case.rows), key=repr) for case in (one, other))
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(math.isclose(a[key], b[key], rel_tol=SAME_ROW) for key in a)
        for a, b in zip(first, second, strict=True)
    )


def _normal(row: TextLinear) -> dict[tuple[str, int], float]:
    """A row with the largest of its factors 1, in the order of its variables."""
    size = max((abs(value) for key, value in row.items() if key != CONSTANT), default=Fraction(1))
    return {key: float(row[key] / (size or 1)) for key in sorted(row) if row[key]}


@dataclass(frozen=True, eq=False)
class _Node:
    """Bounds and basis as those of open nodes, and the splits on the way."""

    lower: Array
    upper: Array
    basis: Any
    path: Path


@dataclass(eq=False)
class GuidedTree(ProofTree):
    """`guide`: the other tree's tokens in preorder, 0 a leaf, 1 + n a split at ReLU n of the stages, ≤ 0 first."""

    guide: Sequence[int] = (0,)

    def _whole(self, budget: Budget) -> GrownTree:
        """Raises NotCertifiedError that names the leaf which stays open."""
        guide, ends, found = self.guide, _ends(self.guide), GrownTree()
        fixed = np.ones(self.stages.relu_count, dtype=np.int8)
        fixed[self.places] = np.where(self.active, 2, 0)
        leaves = sum(token == 0 for token in guide)
        stack = [(0, _Node(self.lower, self.upper, None, ()))]
        while stack:
            place, node = stack.pop()
            token = guide[place]
            try:
                if token == 0:
                    found.add(self._below([(node.lower, node.upper, node.basis)], budget))
                    continue
                # What has one sign in all of the box is not split.
                relu, first = token - 1, place + 1
                if fixed[relu]:
                    stack.append((first if fixed[relu] == 1 else ends[first], node))
                    continue
                numbers, basis = self._closing((node.lower, node.upper, node.basis), budget)
            except (NotCertifiedError, OutOfTimeError) as error:
                number = 1 + sum(token == 0 for token in guide[:place])
                where = f" ({told(node.path)})" if node.path else ""
                raise NotCertifiedError(f"leaf {number} of {leaves}{where} stays open: {error}") from None
            if numbers is not None:
                found.tokens.append(0)
                found.leaves.append(numbers)
                continue
            found.tokens.append(1 + self._kept(relu))
            below = [
                _Node(low, high, basis, (*node.path, (relu, active)))
                for active, (low, high, _) in zip(
                    (True, False), children(node.lower, node.upper, relu, None), strict=True
                )
            ]
            stack += [(ends[first], below[0]), (first, below[1])]
        return found


def _ends(tokens: Sequence[int]) -> list[int]:
    """Where the subtree that begins at each place ends."""
    found = [0] * len(tokens)
    for place in range(len(tokens) - 1, -1, -1):
        found[place] = place + 1 if tokens[place] == 0 else found[found[place + 1]]
    return found
