"""What a bound tree keeps of its open nodes, and the arrays of a batch from that: in numpy, one pass for all nodes.

Nodes at work are rows of arrays over some ReLUs, `relus`: all, or those alone whose sign the root leaves open, which
are the only ones whose bounds nodes ever change. In `compiled_packing` by kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import Start
from verifier.bounds.lagrangian import ranks
from verifier.problem.norms.geometry import Floats
from verifier.problem.rounding import down_to_single, up_to_single
from verifier.solvers.node_constants import STEPS_OF_ALPHA
from verifier.solvers.tree.frontier import TreeNode
from verifier.solvers.tree.stalling import Headway

_Places = npt.NDArray[np.integer]


@dataclass(slots=True, eq=False)
class PackedMultipliers:
    """A node's multipliers, packed: where its children begin. α of the open ReLUs, β at `places` among them; share: how
    far above the best value steps aim; lack, stalled: its `Headway`."""

    alpha: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int32]
    beta: Floats
    weights: Floats
    share: np.float32
    lack: float
    stalled: int


class Ragged(NamedTuple):
    """What is kept of several nodes: of node b, `values` at `places` from ends[b] to ends[b + 1]."""

    ends: npt.NDArray[np.int64]
    places: npt.NDArray[np.int32]
    values: tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True, eq=False)
class Halved:
    """Nodes that are split: keys, starts, and whether points of theirs are refused, as their children's; `rows` of
    bounds lower, upper (…, open), the column that each is split at."""

    keys: Sequence[float]
    starts: Sequence[PackedMultipliers | None]
    refused: Sequence[bool]
    rows: _Places
    lower: Array
    upper: Array
    columns: _Places


class BatchPacking:
    """Packs and unpacks nodes below a root with bounds `ends`, which leaves the signs of `undecided` open."""

    def __init__(self, ends: tuple[Array, Array], undecided: _Places, relus: _Places) -> None:
        self.relus, self._undecided = relus, undecided.astype(np.int32)
        self._root, self._open = np.stack([end[relus] for end in ends]), np.stack([end[undecided] for end in ends])
        self._ranks = ranks(relus, ends[0].size)

    def bounds(self, nodes: Sequence[TreeNode]) -> tuple[Array, Array]:
        """The bounds of nodes that are kept, lower and upper: (nodes, relus)."""
        lower, upper = (np.tile(end, (len(nodes), 1)) for end in self._root)
        places, low, high = ([getattr(node, name) for node in nodes] for name in ("places", "lower", "upper"))
        self._tighten(_joined(places, low, high), lower, upper)
        return lower, upper

    def undecided(self, values: Array) -> Array:
        """Those of (nodes, relus) that are of ReLUs whose sign the root leaves open: (nodes, open)."""
        if len(self.relus) == len(self._undecided):
            return values
        return np.take(values, self._ranks[self._undecided], axis=1)

    def starts(self, kept: Sequence[PackedMultipliers]) -> Start:
        """Multipliers of nodes as work on them begins."""
        shares, weights = np.array([one.share for one in kept]), np.stack([one.weights for one in kept], axis=1)
        beta = _joined([one.places for one in kept], [one.beta for one in kept])
        return Start(*self._unpacked(np.stack([one.alpha for one in kept]), beta), weights, shares)

    def packed(self, best: Start, chosen: _Places, headway: Headway) -> list[PackedMultipliers]:
        """Multipliers of the chosen ones of a batch, each once, and their headway, as open nodes keep them."""
        alpha, (ends, places, (beta,)) = self._packed(best, chosen)
        rest = best.shares[chosen], headway.lack[chosen].tolist(), headway.stalled[chosen].tolist()
        weights = best.weights.T[chosen]
        return [
            PackedMultipliers(own.copy(), places[begin:end].copy(), beta[begin:end].copy(), its.copy(), *numbers)
            for own, its, begin, end, *numbers in zip(
                alpha, weights, ends[:-1].tolist(), ends[1:].tolist(), *rest, strict=True
            )
        ]

    def halves(self, split: Halved) -> Iterator[TreeNode]:
        """The children of nodes as they are kept, inactive first: of what both share there is one array."""
        at, (ends, columns, (low, high)) = self._differing(split)
        own, active, inactive = self._undecided[columns], down_to_single(low), up_to_single(high)
        bounds = zip(ends[:-1].tolist(), ends[1:].tolist(), at.tolist(), strict=True)
        for key, start, refused, (begin, end, place) in zip(
            split.keys, split.starts, split.refused, bounds, strict=True
        ):
            places, lower, upper = own[begin:end].copy(), active[begin:end].copy(), inactive[begin:end].copy()
            below, above = upper.copy(), lower.copy()
            below[place - begin] = above[place - begin] = 0.0
            yield TreeNode(key, lower, below, start, refused, places)
            yield TreeNode(key, above, upper, start, refused, places)

    def _tighten(self, kept: Ragged, lower: Array, upper: Array) -> None:
        rows, columns = np.repeat(np.arange(len(lower)), np.diff(kept.ends)), self._ranks[kept.places]
        within = columns >= 0
        at = rows[within], columns[within]
        low, high = (part[within] for part in kept.values)
        lower[at], upper[at] = np.maximum(lower[at], low), np.minimum(upper[at], high)

    def _unpacked(self, steps: npt.NDArray[np.uint8], kept: Ragged) -> tuple[Floats, Floats]:
        alpha = steps.T.astype(np.float32) / np.float32(STEPS_OF_ALPHA)
        beta = np.zeros_like(alpha)
        beta[kept.places, np.repeat(np.arange(len(steps)), np.diff(kept.ends))] = kept.values[0]
        return alpha, beta

    def _packed(self, best: Start, chosen: _Places) -> tuple[npt.NDArray[np.uint8], Ragged]:
        alpha, beta = best.alpha.T[chosen], best.beta.T[chosen]
        rows, places = np.nonzero(beta)
        ends = np.searchsorted(rows, np.arange(len(chosen) + 1)).astype(np.int64)
        steps = np.rint(alpha * STEPS_OF_ALPHA).astype(np.uint8)
        return steps, Ragged(ends, places.astype(np.int32), (beta[rows, places],))

    def _differing(self, split: Halved) -> tuple[_Places, Ragged]:
        """Where the bounds of nodes differ from the root's or are split, and where these are among those."""
        lower, upper = split.lower[split.rows], split.upper[split.rows]
        differs = (lower != self._open[0]) | (upper != self._open[1])
        differs[np.arange(len(split.rows)), split.columns] = True
        rows, columns = np.nonzero(differs)
        ends = np.searchsorted(rows, np.arange(len(split.rows) + 1)).astype(np.int64)
        at = np.flatnonzero(columns == split.columns[rows])
        return at, Ragged(ends, columns.astype(np.int32), (lower[rows, columns], upper[rows, columns]))


def _joined(places: Sequence[Any], *values: Sequence[Any]) -> Ragged:
    ends = np.zeros(len(places) + 1, dtype=np.int64)
    np.cumsum([part.size for part in places], out=ends[1:])
    return Ragged(ends, np.concatenate(places), tuple(map(np.concatenate, values)))
