"""The Jacobian saliency map attack (Papernot et al. 2016): two pixels a step, each moved as far as the box allows.

With α_i = ∂z_t/∂x_i and β_i = Σ_{j≠t} ∂z_j/∂x_i, a step takes the pair (p, q) of pixels with the largest
−(α_p + α_q) · (β_p + β_q) among those with α_p + α_q > 0 > β_p + β_q, and moves both to the upper end of the box;
a second run moves pixels to the lower end, with the signs of α and β turned. It ends at the target, when no such pair
is left, or when `share` of the pixels has moved. The run that ends nearer in the problem's norm is kept. An untargeted
case tries every class as the target.

z are the logits, as in Carlini and Wagner's (2017) JSMA-Z. A pixel without a finite end in the box moves by the
distance to the boundary, if the network were linear, so that there is a step at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoders.graph import Array
from verifier.attacks.problem import AttackProblem, Candidates, Float32, Indices
from verifier.attacks.search import Search, Surrogate
from verifier.verdict import Budget


@dataclass(frozen=True)
class JsmaSettings:
    """share: the part of the pixels that may move (the paper's γ). directions: +1 moves pixels up, −1 down."""

    share: float = 0.3
    directions: tuple[float, ...] = (1.0, -1.0)


def jsma(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: JsmaSettings) -> Candidates:
    """Each case's nearest point over the directions, and over the targets where none is given."""
    search = Search(surrogate, problem, budget)
    pairs = [(case, target) for case in search.open.tolist() for target in _targets(problem, case)]
    rows = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    for direction in settings.directions:
        for chosen in search.chunks(np.arange(len(rows))):
            _walk(search, settings, rows[chosen, 0], rows[chosen, 1], direction)
    return search.finish()


def _targets(problem: AttackProblem, case: int) -> list[int]:
    asked = problem.cases[case]
    if asked.target is not None:
        return [asked.target]
    return [target for target in range(problem.classes) if target != asked.label]


def _walk(search: Search, settings: JsmaSettings, cases: Indices, targets: Indices, direction: float) -> None:
    problem = search.problem
    points = problem.starts[cases]
    free = np.ones(points.shape, dtype=bool)
    end = problem.high32 if direction > 0 else problem.low32
    stride = direction * search.first_order()[cases, None]
    for _ in range(max(1, int(settings.share * problem.size / 2)) + 1):  # the last turn only judges
        if search.over or not len(cases):
            return
        adversarial = problem.gap(cases, search.surrogate.logits(points)) <= 0.0
        search.offer(cases, points, adversarial)
        free &= points != end
        up, down = _slopes(search, points, targets)
        search.evaluations += 2 * len(cases)
        pair, useful = salient_pairs(direction * up, direction * down, free)
        left = useful & ~adversarial
        cases, targets, points, free, pair, stride = (
            cases[left], targets[left], points[left], free[left], pair[left], stride[left]
        )  # fmt: skip
        points = _moved(points, pair, end, stride)
        free[np.arange(len(cases))[:, None], pair] = False


def _slopes(search: Search, points: Float32, targets: Indices) -> tuple[Array, Array]:
    """α = ∇z_t and β = Σ_{j≠t} ∇z_j: each (rows, n)."""
    target = np.eye(search.problem.classes, dtype=np.float32)[targets]
    up, down = search.surrogate.vjp(points, target), search.surrogate.vjp(points, 1.0 - target)
    return up.astype(np.float64), down.astype(np.float64)


def _moved(points: Float32, pair: Indices, end: Float32, stride: Array) -> Float32:
    rows = np.arange(len(points))[:, None]
    following = points.copy()
    following[rows, pair] = np.where(np.isfinite(end[pair]), end[pair], points[rows, pair] + stride)
    return following


def salient_pairs(up: Array, down: Array, free: npt.NDArray[np.bool_]) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """For rows of α and β (rows, n): the most salient pair (rows, 2), and whether there is one at all.

    −(α_p + α_q)(β_p + β_q) grows with α and with −β wherever it counts. A pixel that two others surpass in both can
    therefore be replaced by one of them: only pixels that at most one other surpasses need to be paired, some twenty of
    a thousand.
    """
    gain, relief = np.where(free, up, -np.inf), np.where(free, -down, -np.inf)
    pairs = np.zeros((len(up), 2), dtype=np.intp)
    useful = np.zeros(len(up), dtype=bool)
    for row in range(len(up)):
        kept = _hardly_surpassed(gain[row], relief[row])
        first, second = np.triu_indices(len(kept), 1)
        more = gain[row, kept[first]] + gain[row, kept[second]]
        less = relief[row, kept[first]] + relief[row, kept[second]]
        saliency = np.where((more > 0) & (less > 0), more * less, 0.0)
        if saliency.size and saliency.max() > 0:
            best = int(saliency.argmax())
            pairs[row], useful[row] = (kept[first[best]], kept[second[best]]), True
    return pairs, useful


def _hardly_surpassed(gain: Array, relief: Array) -> Indices:
    """The free pixels that at most one other one surpasses in both gain and relief."""
    order = np.lexsort((-relief, -gain))
    order = order[np.isfinite(gain[order])]
    value = relief[order]
    largest = np.maximum.accumulate(value)
    # The second largest value among the first k: each new value, or the largest that it pushed down.
    second = np.maximum.accumulate(np.minimum(value[1:], largest[:-1]))
    kept = np.ones(len(order), dtype=bool)
    kept[2:] = value[2:] > second[:-1]
    return order[kept]
