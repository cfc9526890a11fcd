"""The Jacobian saliency map attack (Papernot et al. 2016): two pixels a step, each moved as far as the box allows.

With α_i = ∂z_t/∂x_i and β_i = Σ_{j≠t} ∂z_j/∂x_i, a step takes the pair (p, q) of pixels with the largest
−(α_p + α_q) · (β_p + β_q) among those with α_p + α_q > 0 > β_p + β_q, and moves both to the upper end of the box;
another run moves pixels to the lower end, with the signs of α and β turned. Where no such pair is left, and in runs of
their own, the two pixels are those along which max_{j≠t} z_j − z_t falls fastest. A run ends at the target, when no
pixel helps, or when `share` of the pixels has moved; the run that ends nearest in the problem's norm is kept. An
untargeted case tries every class as the target.

z are the logits, as in Carlini and Wagner's (2017) JSMA-Z. A pixel without a finite end in the box moves by the
distance to the boundary, if the network were linear, so that there is a step at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from encoders.network.graph import Array
from verifier.attacks.base.problem import AttackProblem, Candidates, Float32, Indices
from verifier.attacks.base.search import AttackSearch, Surrogate
from verifier.problem.budget import Budget


@dataclass(frozen=True)
class JsmaSettings:
    """share: the part of the pixels that may move (the paper's γ). directions: +1 moves pixels up, −1 down.

    maps: True runs the saliency map, False the fall of the strongest rival's lead alone.
    """

    share: float = 0.3
    directions: tuple[float, ...] = (1.0, -1.0)
    maps: tuple[bool, ...] = (True, False)


def jsma(surrogate: Surrogate, problem: AttackProblem, budget: Budget, settings: JsmaSettings) -> Candidates:
    """Each case's nearest point over the directions, and over the targets where none is given."""
    search = AttackSearch(surrogate, problem, budget)
    pairs = [(case, target) for case in search.open.tolist() for target in _targets(problem, case)]
    rows = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    for direction, salient in product(settings.directions, settings.maps):
        for chosen in search.chunks(np.arange(len(rows))):
            _walk(search, settings, rows[chosen, 0], rows[chosen, 1], direction, salient)
    return search.finish()


def _targets(problem: AttackProblem, case: int) -> list[int]:
    asked = problem.cases[case]
    if asked.target is not None:
        return [asked.target]
    return [target for target in range(problem.classes) if target != asked.label]


def _walk(
    search: AttackSearch, settings: JsmaSettings, cases: Indices, targets: Indices, direction: float, salient: bool
) -> None:
    problem = search.problem
    points = problem.starts[cases]
    free = np.ones(points.shape, dtype=bool)
    end = problem.high32 if direction > 0 else problem.low32
    stride = direction * search.first_order()[cases, None]
    for _ in range(max(1, int(settings.share * problem.size / 2)) + 1):  # the last turn only judges
        if search.over or not len(cases):
            return
        logits = search.surrogate.logits(points)
        adversarial = problem.gap(cases, logits) <= 0.0
        search.offer(cases, points, adversarial)
        free &= points != end
        fall = -direction * _slope(search, points, _lead(logits, targets))
        pair, useful = steepest_pairs(fall, free)
        if salient:
            target = np.eye(problem.classes, dtype=np.float32)[targets]
            up, down = (direction * _slope(search, points, cotangent) for cotangent in (target, 1.0 - target))
            first_choice, there = salient_pairs(up, down, free)
            pair, useful = np.where(there[:, None], first_choice, pair), useful | there
        left = useful & ~adversarial
        cases, targets, points, free, pair, stride = (
            cases[left], targets[left], points[left], free[left], pair[left], stride[left]
        )  # fmt: skip
        points = _moved(points, pair, end, stride)
        free[np.arange(len(cases))[:, None], pair] = False


def _lead(logits: Float32, targets: Indices) -> Float32:
    """The cotangent of max_{j≠t} z_j − z_t: (rows, classes)."""
    target = np.eye(logits.shape[1], dtype=np.float32)[targets]
    rival = np.where(target > 0, -np.inf, logits).argmax(axis=1)
    return np.asarray(np.eye(logits.shape[1], dtype=np.float32)[rival] - target)


def _slope(search: AttackSearch, points: Float32, cotangents: Float32) -> Array:
    search.evaluations += len(points)
    return search.surrogate.vjp(points, cotangents).astype(np.float64)


def _moved(points: Float32, pair: Indices, end: Float32, stride: Array) -> Float32:
    rows = np.arange(len(points))[:, None]
    following = points.copy()
    following[rows, pair] = np.where(np.isfinite(end[pair]), end[pair], points[rows, pair] + stride)
    return following


def steepest_pairs(fall: Array, free: npt.NDArray[np.bool_]) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """The two free pixels with the largest entries of `fall` (rows, n), and whether both are positive."""
    if fall.shape[1] < 2:
        return np.zeros((len(fall), 2), dtype=np.intp), np.zeros(len(fall), dtype=bool)
    value = np.where(free, fall, -np.inf)
    pair = np.argpartition(-value, 1, axis=1)[:, :2]
    return pair, np.asarray((np.take_along_axis(value, pair, axis=1) > 0.0).all(axis=1))


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
