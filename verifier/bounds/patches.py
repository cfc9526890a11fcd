"""Second-layer ReLUs by their receptive fields: what those of one place attain together, bounded by cases that add up.

Of a convolutional network's second layer, the ReLUs of one place read the same patch of the input. A row w·h over them
loses, by lines, on each of them as if it were alone; what they attain together is often far less. For any pull λ of its
inputs, the least value of

    w·h(x) − λ·x,   x in the patch,

is sought by branch and bound over the phases of that patch alone (α, β; Wang et al. 2021): the cases of one place add
to those of another, where a tree over the whole network multiplies them. Batches of cases are proposed in float32, and
each that is left is evaluated safely (`Lagrangian`): the least of them, v, is a bound for every evaluation that the
stages allow. So w·h(x) − λ·x ≥ v holds at every point, and may be used as a constraint with a multiplier of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Block, Stage, Stages
from encoders.network.graph import Array
from verifier.bounds.alpha_beta_crown import FLAGS_OF_BLAS
from verifier.bounds.lagrangian import Lagrangian
from verifier.bounds.patch_cases import Patch, PatchCases, PatchLines, PatchNetwork
from verifier.problem.budget import Budget
from verifier.problem.query import Ball, Halfspaces

_Places = npt.NDArray[np.intp]

LEAST, MOST = 4, 256
"""Patches that there are: fewer are hardly smaller than the network, more take seconds before anything is gained."""

LARGEST = 512
"""Inputs, and ReLUs of each layer, that a patch has at most: its matrices are dense."""

CASES = 6000
"""Splits of all patches together: half as many gain a twentieth less of what they could."""

TOGETHER = 16
"""Cases of a patch that are split at once: products of a few hundred rows are fast, and most of them matter."""

WORTH = 1e-5
"""Cases end where a split gains less than such a share of what all have gained."""

EVALUATED = 512
"""Cases that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class PatchBound:
    """row · h − pull · x ≥ value at every point, and in every evaluation: h (size,) what the ReLUs of the second stage
    are, x (n,) the input."""

    row: Array
    pull: Array
    value: float


def patches(stages: Stages) -> list[Patch]:
    """The receptive fields of the second stage; none where its ReLUs do not share small ones."""
    if len(stages.hidden) < 2 or set(stages.stages[0].blocks) != {0} or set(stages.stages[1].blocks) != {1}:
        return []
    blocks = stages.stages[0].blocks[0], stages.stages[1].blocks[1]
    # What a rounded product has lost may be read too: it is charged where the sizes say so.
    first, second = (block.matrix if block.sizes is None else block.sizes for block in blocks)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return []
    groups: dict[bytes, list[int]] = {}
    for row in range(second.shape[0]):
        groups.setdefault(np.sort(_read(second, row)).tobytes(), []).append(row)
        if len(groups) > min(MOST, second.shape[0] // 2):
            return []
    if len(groups) < LEAST:
        return []
    found = []
    for rows in groups.values():
        columns = np.unique(_read(second, rows[0]))
        inputs = np.unique(first[columns].indices)
        if not inputs.size:
            continue
        if max(len(rows), columns.size, inputs.size) > LARGEST:
            return []
        found.append(Patch(np.array(rows), columns, inputs))
    return found


def patch_bounds(
    stages: Stages,
    ball: Ball,
    fields: list[Patch],
    row: Array,
    relus: PatchLines,
    budget: Budget,
    cases: int = CASES,
) -> list[PatchBound]:
    """Bounds of a row (size,) over the ReLUs of the second stage, patch by patch, where cases gain anything.

    ball: any with these bounds of ReLU arguments; its smallest box counts. Raises OutOfTimeError.
    """
    with np.errstate(invalid=FLAGS_OF_BLAS):
        trees = []
        for patch in fields:
            budget.check()
            trees.append(PatchCases(PatchNetwork(stages, ball.interval, patch, row[patch.rows], relus)))
        _explore(trees, cases, budget)
    found = []
    for patch, tree in zip(fields, trees, strict=True):
        if tree.gain > 0.0:
            whole, pull = np.zeros_like(row), np.zeros(stages.input_size)
            whole[patch.rows], pull[patch.inputs] = row[patch.rows], tree.network.pull
            found.append(PatchBound(whole, pull, _proved(stages, ball, patch, tree, relus, budget)))
    return [bound for bound in found if np.isfinite(bound.value)]


def _explore(trees: list[PatchCases], cases: int, budget: Budget) -> None:
    """Split cases of those patches that gain the most by it."""
    worth, gained = [np.inf if tree.splittable else 0.0 for tree in trees], 0.0
    while cases > 0 and max(worth) > WORTH * gained:
        budget.check()
        place = max(range(len(trees)), key=lambda one: (worth[one], trees[one].gap))
        tree, before = trees[place], trees[place].value
        done = tree.split(TOGETHER)
        cases -= done
        gained += tree.value - before
        rate = (tree.value - before) / max(done, 1)
        worth[place] = 0.0 if not done else rate if np.isinf(worth[place]) else 0.5 * (worth[place] + rate)


def _proved(stages: Stages, ball: Ball, patch: Patch, tree: PatchCases, relus: PatchLines, budget: Budget) -> float:
    """The least of what a patch's cases are proved to be, for every evaluation."""
    own = _own_stages(stages, patch, tree)
    places = np.concatenate([patch.columns, stages.starts[1] + patch.rows])
    low, high = relus.lower[places], relus.upper[places]
    box = Ball.of_box(*(end[patch.inputs] for end in ball.interval)).finite
    lagrangian = Lagrangian(own, box, Halfspaces(-np.ones((1, 1)), np.zeros(1)), low, high)
    low, high = low[:, np.newaxis], high[:, np.newaxis]
    value = np.inf
    for cases in _parts(len(tree), EVALUATED):
        budget.check()
        phases, alpha, beta = tree.multipliers(cases)
        least = np.where(phases > 0, np.maximum(low, 0.0), low)
        most = np.where(phases < 0, np.minimum(high, 0.0), high)
        slopes = np.where((least < 0) & (most > 0), alpha, least >= 0)
        weights = np.ones((1, phases.shape[1]))
        duals = lagrangian.on_lines(weights, slopes, beta, least, most)
        value = float(np.minimum(value, duals.values(box.radius)[0].min()))
    return value


def _own_stages(stages: Stages, patch: Patch, tree: PatchCases) -> Stages:
    """A patch as a network of its own, whose output is its row less its pull."""
    first, second = (
        _part(stages.stages[number], number, rows, columns)
        for number, rows, columns in ((0, patch.columns, patch.inputs), (1, patch.rows, patch.columns))
    )
    network = tree.network
    output = Stage(
        {2: Block(network.row[np.newaxis]), 0: Block(-network.pull[np.newaxis])}, np.zeros(1), np.zeros(1), 0
    )
    return Stages(
        patch.inputs.size,
        (first, second, output),
        (*stages.nodes[:2], stages.nodes[-1]),
        stages.operations,
        stages.underflows,
        stages.unit,
        stages.both,
    )


def _part(stage: Stage, source: int, rows: _Places, columns: _Places) -> Stage:
    """Some rows of a stage, which read these columns alone."""
    block = stage.blocks[source]
    sizes = None if block.sizes is None else block.sizes[rows][:, columns]
    own = Block(block.matrix[rows][:, columns], sizes)
    return Stage({source: own}, stage.constant[rows], stage.magnitude[rows], stage.operations)


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(begin, begin + size) for begin in range(0, count, size))


def _read(matrix: object, row: int) -> _Places:
    """The columns that a row of a compressed matrix reads."""
    begin, end = matrix.indptr[row], matrix.indptr[row + 1]  # type: ignore[attr-defined]
    return np.asarray(matrix.indices[begin:end], dtype=np.intp)  # type: ignore[attr-defined]
