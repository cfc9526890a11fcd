"""The host's side of every attack: a compiled network, rows in blocks under a budget, the best point of each case."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.graph import Affine, Array, Graph, outputs
from encoders.onnx_io.to_onnx import to_onnx
from verifier.attacks.base.problem import DUAL, LENGTH, AttackProblem, Candidates, Float32, Indices, Metric
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.plateau import LEAK
from verifier.runtime.device import Device, resolve
from verifier.runtime.pointwise import FORMATS, Spread, spreads
from verifier.runtime.session import PACKED, session
from verifier.runtime.step_model import StepBuilder, StepLoop, StepModel

PRODUCTS = {Device.CPU: 1 << 31, Device.CUDA: 1 << 38}
"""Products of a batch's forward pass: a second or less, after which the budget is looked at."""
ROWS = {Device.CPU: 256, Device.CUDA: 16384}  # rows of a batch: what stays in a core's cache, what fills a GPU
CUTS, ROUNDS = 16, 3  # the final line search: 16³ parts of the segment
CONFIRMED = 2  # random points at which a compiled network is compared with its graph

CONFIRMING = 0.5
"""Seconds that this may take: the attack's own time is not known when its session is made."""
FAR = np.float32(3.0e38)  # the distance of a best point that does not exist yet


class Surrogate:
    """A graph compiled for one device: step models are built once per kind of step and kept.

    threads=0 takes every core that this process may use. leak: as in `vjp_onnx`. Raises InputError where the device
    cannot be used.
    """

    def __init__(self, graph: Graph, device: str = "auto", threads: int = 0, leak: float = 0.0) -> None:
        self.graph = graph
        self.device = resolve(device)
        self.threads = threads
        self.leak = leak
        self._loops: dict[Hashable, StepLoop] = {}

    def loop(self, build: Callable[..., StepModel], *key: Hashable) -> StepLoop:
        """The step loop of build(StepBuilder(graph, leak), *key)."""
        name = (build, *key)
        if name not in self._loops:
            self._loops[name] = StepLoop(build(StepBuilder(self.graph, self.leak), *key), self.device, self.threads)
        return self._loops[name]

    @cached_property
    def leaking(self) -> Surrogate:
        """The same network, whose gradients leak where it is flat."""
        return Surrogate(self.graph, self.device, self.threads, LEAK)

    @cached_property
    def products(self) -> int:
        """Of a forward pass of one row; at least 1."""
        affine = [node for node in self.graph.nodes if isinstance(node, Affine)]
        return max(1, sum(term.map.fan_in * node.size for node in affine for term in node.terms))

    @cached_property
    def _session(self) -> Any:
        model = to_onnx(self.graph, self.leak)
        made = session(model, self.device, self.threads, packed=model.size <= PACKED)
        if self.device is Device.CPU:  # on a GPU convolutions may be sums of another kind
            self._confirm(made)
        return made

    def _confirm(self, made: Any) -> None:
        """Raise InputError unless the session agrees with the graph at random points, but for float32's rounding."""
        points = np.random.default_rng(0).random((CONFIRMED, self.graph.input_size), dtype=np.float32)
        unused = np.zeros((CONFIRMED, self.graph.output_size), dtype=np.float32)
        first = points.astype(np.float64)
        try:
            every = spreads(self.graph, Spread(first, np.zeros_like(first)), [FORMATS["float32"]], Budget(CONFIRMING))
        except OutOfTimeError:
            return  # of the largest networks: what an attack finds is judged by the file all the same
        real = every[self.graph.output]
        given = made.run(["logits"], {"x": points, "v": unused})[0].astype(np.float64)
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(given - real.value) <= real.error) & np.isfinite(real.error)
        if wrong.any():
            raise InputError("the model made for attacks is not the network that was read; please report this")

    def logits(self, points: Float32) -> Float32:
        """points (batch, n) → logits (batch, K), in float32."""
        unused = np.zeros((len(points), self.graph.output_size), dtype=np.float32)
        result: Float32 = self._session.run(["logits"], {"x": points, "v": unused})[0]
        return result

    def vjp(self, points: Float32, cotangents: Float32) -> Float32:
        """cotangentsᵀ·∂logits/∂x: points (batch, n), cotangents (batch, K) → (batch, n)."""
        result: Float32 = self._session.run(["vjp"], {"x": points, "v": cotangents})[0]
        return result


class AttackSearch:
    """One attack in progress: the cases still open, what it has found, and what it has spent.

    distances: each case's least distance so far in `metric`, by default the problem's norm; inf where there is none.
    gradients: False for a black-box attack, which then has no slopes and no first-order distances.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        problem: AttackProblem,
        budget: Budget,
        metric: Metric | None = None,
        *,
        gradients: bool = True,
    ) -> None:
        self.metric = metric or problem.metric
        self.surrogate = surrogate
        self.problem = problem
        self.budget = budget
        self.random = np.random.default_rng(problem.seed)
        self.evaluations = 0
        count = len(problem.cases)
        self.distances = np.full(count, np.inf)
        self.points = np.zeros((count, problem.size), dtype=np.float32)
        self.gaps = np.full(count, np.inf)
        self.slopes = np.zeros((count, problem.size), dtype=np.float32)
        if count and not problem.empty and not self.over:
            self._look_at_starts(gradients)
        if problem.halves and self.flat.size:
            self.budget = budget.share(1.0 + self.flat.size / self.open.size)

    @property
    def flat(self) -> Indices:
        """The open cases at whose starts the gradient vanishes."""
        found: Indices = self.open[~self.slopes[self.open].any(axis=1)]
        return found

    @property
    def over(self) -> bool:
        """True when the budget is spent."""
        return self.budget.remaining <= 0.0

    def _look_at_starts(self, gradients: bool) -> None:
        """f, and its gradient if wanted, at every start; a start that is adversarial already is its case's answer."""
        problem = self.problem
        for cases in self.chunks(np.arange(len(problem.cases))):
            logits = self.surrogate.logits(problem.starts[cases])
            self.gaps[cases] = problem.gap(cases, logits)
            if gradients:
                own, sign = problem.own[cases], problem.sign[cases]
                self.slopes[cases] = self.surrogate.vjp(
                    problem.starts[cases], sign * (self.rivals(cases, logits) - own)
                )
            self.evaluations += len(cases)
            self.offer(cases, problem.starts[cases], np.asarray(self.gaps[cases] <= 0.0))

    def rivals(self, cases: Indices, logits: Float32) -> Float32:
        """Which class comes nearest to each row's own one, as rows of the identity: (rows, K)."""
        problem = self.problem
        best = np.where(problem.own[cases] > 0, -np.inf, logits).argmax(axis=1)
        found: Float32 = np.eye(problem.classes, dtype=np.float32)[best]
        return found

    @cached_property
    def open(self) -> Indices:
        """The cases whose start is not adversarial and not the box's only point; none when no search can begin."""
        return np.flatnonzero(np.isfinite(self.gaps) & (self.gaps > 0.0) & (self.reach() > 0.0))

    @property
    def lost(self) -> Indices:
        """The open cases without a point so far."""
        found: Indices = self.open[np.isinf(self.distances[self.open])]
        return found

    def first_order(self) -> Array:
        """Each case's distance to the goal if f were linear: f(x0) / ‖∇f(x0)‖ in the dual of `metric`; (cases,).

        Where the gradient vanishes or overflows, and as its upper end, the distance to the farthest corner of the box.
        """
        dual = LENGTH[DUAL[self.metric]](self.slopes.astype(np.float64))
        told = np.isfinite(dual) & (dual > 0)
        estimate = np.divide(self.gaps, dual, out=np.full_like(dual, np.inf), where=told)
        capped = np.minimum(estimate, self.reach())
        return np.where(np.isfinite(capped), capped, 1.0)

    def reach(self) -> Array:
        """The distance from each x0 to the farthest corner of the box, in `metric`: (cases,)."""
        problem = self.problem
        return LENGTH[self.metric](np.maximum(problem.hi - problem.centres, problem.centres - problem.lo))

    def chunks(self, rows: Indices) -> Iterator[Indices]:
        """`rows` in pieces that suit the device; stops early when the budget is spent."""
        size = max(1, min(ROWS[self.surrogate.device], PRODUCTS[self.surrogate.device] // self.surrogate.products))
        for start in range(0, len(rows), size):
            if self.over:
                return
            yield rows[start : start + size]

    def goal(self, cases: Indices) -> dict[str, npt.ArrayLike]:
        """The constant inputs of `loss_at` for rows that belong to `cases`."""
        problem = self.problem
        return {"own": problem.own[cases], "sign": problem.sign[cases], "margin": [[problem.margin]]}

    def run(
        self,
        loop: StepLoop,
        constants: Mapping[str, npt.ArrayLike],
        state: Mapping[str, npt.ArrayLike],
        steps: int,
    ) -> None:
        """Up to `steps` steps from `state`, while the budget lasts."""
        loop.start(constants, state)
        rows = len(np.asarray(constants["sign"]))
        for _ in range(steps):
            if self.over:
                return
            loop.run(1)
            self.evaluations += rows

    def offer(self, cases: Indices, points: Float32, adversarial: npt.NDArray[np.bool_]) -> None:
        """Keep, for each case, the nearest of the adversarial points, clipped to the box."""
        if not adversarial.any():
            return
        cases = cases[adversarial]
        points = self.problem.clipped(points[adversarial])
        distances = self.problem.length(self.metric, cases, points)
        order = np.argsort(-distances, kind="stable")  # the nearest comes last, and stays
        order = order[distances[order] < self.distances[cases[order]]]
        self.distances[cases[order]] = distances[order]
        self.points[cases[order]] = points[order]

    def sample(self, count: int, spread: Array) -> None:
        """For every open case without a point, judge `count` random points x0 ± share · spread of the box.

        spread: (cases,). The share of a point is random too, so that near ones are among them.
        """
        for rows in self.chunks(np.repeat(self.lost, count)):
            share = self.random.random((len(rows), 1)) * spread[rows, None]
            low = np.maximum(self.problem.lo, self.problem.centres[rows] - share)
            high = np.minimum(self.problem.hi, self.problem.centres[rows] + share)
            points = self.problem.clipped(low + self.random.random(low.shape) * (high - low))
            gaps = self.problem.gap(rows, self.surrogate.logits(points))
            self.offer(rows, points, np.asarray(gaps <= 0.0))

    def finish(self) -> Candidates:
        """Shorten every point, then answer."""
        self.shorten()
        found = np.flatnonzero(np.isfinite(self.distances))
        points = tuple(
            point.copy() if length < np.inf else None for point, length in zip(self.points, self.distances, strict=True)
        )
        distances = np.full(len(points), np.inf)
        distances[found] = self.problem.length(self.problem.metric, found, self.points[found])
        return Candidates(points, distances, self.evaluations, self.flat)

    def shorten(self) -> None:
        """Move every point along the segment to its x0 as far as it stays adversarial."""
        found = np.flatnonzero(np.isfinite(self.distances))
        for cases in self.chunks(found[self.distances[found] > 0.0]):
            self._shorten(cases)

    def _shorten(self, cases: Indices) -> None:
        """The smallest share of the segment that is still adversarial, by repeated cuts; the last word has float64.

        Rounding in float32 makes a tie look adversarial, so the shortened point is kept only if float64 agrees;
        otherwise the shares next to it are tried, up to the whole segment.
        """
        low, high = np.zeros(len(cases)), np.ones(len(cases))
        for _ in range(ROUNDS):
            if self.over:
                return
            shares = low[:, None] + (high - low)[:, None] * np.arange(1, CUTS + 1) / CUTS
            good = np.asarray(self._gap_on_segment(cases, shares, exact=False) <= 0.0)
            good[:, -1] = True
            first = good.argmax(axis=1)
            each = np.arange(len(cases))
            low = np.where(first > 0, shares[each, first - 1], low)
            high = shares[each, first]
        slack = np.concatenate([[0.0], np.geomspace(1e-7, 1e-3, 5)])
        shares = np.minimum(1.0, np.append(high[:, None] * (1.0 + slack), np.ones((len(cases), 1)), axis=1))
        good = self._gap_on_segment(cases, shares, exact=True) <= 0.0
        chosen = shares[np.arange(len(cases)), good.argmax(axis=1)]
        self.offer(cases, self._on_segment(cases, chosen[:, None]), np.asarray(good.any(axis=1)))

    def _on_segment(self, cases: Indices, shares: Array) -> Float32:
        """x0 + share · (point − x0) for each share of shape (cases, cuts): (cases · cuts, n)."""
        centre = self.problem.origins[cases].astype(np.float64)
        delta = self.points[cases].astype(np.float64) - centre
        return self.problem.clipped(
            (centre[:, None] + shares[:, :, None] * delta[:, None]).reshape(-1, centre.shape[1])
        )

    def _gap_on_segment(self, cases: Indices, shares: Array, exact: bool) -> Array:
        points = self._on_segment(cases, shares)
        logits = outputs(self.surrogate.graph, points) if exact else self.surrogate.logits(points)
        return self.problem.gap(np.repeat(cases, shares.shape[1]), logits).reshape(shares.shape)
