"""Steps of α, β and λ for a batch of nodes as one ONNX model: what `alpha_beta_crown` does, on ONNX Runtime's devices.

The network runs both ways by `to_onnx`'s rules, convolutions as convolutions. A batch is a row a node, (batch, …), over
all ReLUs: those that the root fixes at 0 have lines of slope 0. The model evaluates the multipliers, keeps what is
better than before, and moves them; its state stays on the device between steps. Closed nodes are carried along: what
they gain is kept too. Float32, which proposes only.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import Stages
from encoders.network.graph import Affine, Array, Graph, Relu, forward, reverse
from encoders.network.norm import Norm
from encoders.onnx_io.builder import BATCH
from encoders.onnx_io.to_onnx import FORWARD, REVERSE
from verifier.bounds.alpha_beta_crown import (
    BETA_SCALE,
    DEFLECTION,
    FAILED,
    FIRST_SHARE,
    FLOOR,
    GAINED,
    LEAST_SHARE,
    NEAR,
    OVERSTEP,
    RENEWED,
    SMALL,
    TINY,
    BatchedBound,
    Lines,
    Proposed,
    Start,
)
from verifier.problem.budget import Budget
from verifier.problem.query import Halfspaces
from verifier.runtime.device import Device
from verifier.runtime.step_model import StepBuilder, StepLoop, StepModel
from verifier.solvers.tree.onnx_least_points import given_region, least_points, of_ball

LOWEST = np.float32(-1e30)
"""Stands for −∞, which a product with 0 would turn into no number."""


class OnnxSteps:
    """`BatchedBound.optimise` on one of ONNX Runtime's devices.

    graph: the one that the bound's stages are of. threads: on the CPU; 0 for all cores. One batch at a time, whoever
    asks. Raises TypeError for a graph with other nodes than Affine and Relu, or two ReLUs of one argument.
    """

    def __init__(
        self, bound: BatchedBound, graph: Graph, stages: Stages, goal: Halfspaces, device: Device, threads: int = 1
    ) -> None:
        self._bound, self._relus = bound, stages.relu_count
        self._loop = StepLoop(step_model(graph, stages, goal, bound.ball.norm), device, threads)
        self._lock = threading.Lock()

    def optimise(self, lower: Array, upper: Array, start: Start, steps: int, budget: Budget) -> Proposed:
        """As `BatchedBound.optimise`. Raises OutOfTimeError."""
        lines = self._bound.lines(lower, upper, start)
        with self._lock:
            self._loop.start(self._given(lines), self._state(lines, start))
            for _ in range(steps + 1):
                budget.check()
                self._loop.run(1)
            names = (
                "best_theta",
                "best_points",
                "best",
                "shares",
                *(("best_weights",) if len(start.weights) > 1 else ()),
            )
            found = {name: self._loop.read(name).T for name in names}
        theta = found["best_theta"][self._bound.kept]
        alpha = np.where(lines.open, theta, lines.fixed)
        beta = np.where(lines.open, np.float32(0.0), theta * lines.side)
        open_ = self._bound.open
        best = Start(alpha[open_], beta[open_], found.get("best_weights", start.weights), found["shares"][0])
        return Proposed(best, found["best"][0], found["best_points"])

    def _given(self, lines: Lines) -> dict[str, npt.ArrayLike]:
        """What is the same at every step."""
        bound = self._bound
        splits = np.maximum(np.abs(lines.side).sum(axis=0), 1.0)
        by_relu = {"open": lines.open, "slope": lines.slope, "intercept": lines.intercept, "side": lines.side}
        return {
            **{name: self._spread(part) for name, part in by_relu.items()},
            "splits": splits[:, np.newaxis],
            "margin": [[bound.margin]],
            "near": [[NEAR * bound.deficit]],
            **of_ball(bound.ball),
        }

    def _state(self, lines: Lines, start: Start) -> dict[str, npt.ArrayLike]:
        """Where the multipliers begin, and nothing better seen."""
        theta = self._spread(np.where(lines.open, lines.alpha, lines.beta))
        weights, batch = start.weights.T, len(theta)
        column, nothing = np.zeros((batch, 1)), np.zeros(theta.shape)
        state: dict[str, npt.ArrayLike] = {
            "begun": np.zeros((1, 1)),
            "theta": theta,
            "best": column + LOWEST,
            "best_theta": theta,
            "best_points": np.zeros((batch, self._bound.size)),
            "shares": np.maximum(start.shares, RENEWED)[:, np.newaxis],
            "squares": nothing,
            "turn": nothing,
        }
        if weights.shape[1] > 1:
            state |= {"weights": weights, "best_weights": weights, "row_turn": np.zeros(weights.shape)}
            state |= {"row_squares": column}
        return state

    def _spread(self, columns: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """(kept, batch) → (batch, relu_count), zeros for the other ReLUs."""
        rows = np.zeros((columns.shape[1], self._relus), np.float32)
        rows[:, self._bound.kept] = columns.T
        return rows


def step_model(graph: Graph, stages: Stages, goal: Halfspaces, norm: Norm) -> StepModel:
    """One step of the multipliers of a batch of nodes. Raises TypeError as `OnnxSteps` does."""
    builder = _Builder(graph, stages, goal, norm)
    value, points = builder.backward()
    arguments, outputs = builder.forward(points)
    kept = builder.noted(value, points)
    moved = builder.moved(value, kept, arguments, outputs)
    width = {"theta": stages.relu_count, "turn": stages.relu_count, "squares": stages.relu_count}
    width |= {"best_theta": stages.relu_count, "best_points": graph.input_size}
    width |= dict.fromkeys(("weights", "best_weights", "row_turn"), len(goal.offset))
    following = {name: (tensor, (BATCH, width.get(name, 1))) for name, tensor in {**kept, **moved}.items()}
    return builder.step({**following, "begun": (builder.constant([[1.0]]), (1, 1))})


@dataclass(eq=False)
class _Parts:
    """Tensors (batch, size) of one stage: its ReLUs' share of each array; mu: what arrives at their outputs."""

    arrays: Mapping[str, str]
    mu: str | None = None
    arguments: str | None = None


class _Builder(StepBuilder):
    """The parts of a step, as `alpha_beta_crown._Run` has them."""

    def __init__(self, graph: Graph, stages: Stages, goal: Halfspaces, norm: Norm) -> None:
        super().__init__(graph)
        self._goal = goal
        self._relus, self._rows = relus, rows = stages.relu_count, len(goal.offset)
        sources = [node.source for node in graph.nodes if isinstance(node, Relu)]
        if len(set(sources)) < len(sources):
            raise TypeError("two ReLUs of one argument have no step in ONNX")
        self._number = {node: number for number, node in enumerate(stages.nodes[:-1])}
        names = "open", "slope", "intercept", "side"
        self._all = {name: self.given(name, BATCH, relus) for name in names}
        self._splits = self.given("splits", BATCH, 1)
        self._margin, self._near = self.given("margin", 1, 1), self.given("near", 1, 1)
        self._region = given_region(self, norm)
        self._begun = self.state("begun", 1, 1)
        self._theta = self.state("theta", BATCH, relus)
        self._row_weights = self.state("weights", BATCH, rows) if rows > 1 else None
        arrays = {**self._all, "theta": self._theta}
        self._parts = [
            _Parts({name: self._cut(tensor, *ends) for name, tensor in arrays.items()})
            for ends in pairwise(stages.starts)
        ]

    def _cut(self, tensor: str, begin: int, end: int) -> str:
        return self.op("Slice", tensor, self.integers([begin]), self.integers([end]), self.integers([1]))

    def backward(self) -> tuple[str, str]:
        """The values (batch, 1) at the multipliers, and the points (batch, n) where the forms are least."""
        values = list[str]()
        if self._row_weights is None:  # a one for each node: the batch's size is not known
            ones = self.op("Add", self.op("Mul", self.row_sum(self._theta), self.constant(0.0)), self.constant(1.0))
        else:
            ones = self._row_weights
        message = self.op("MatMul", ones, self.constant(-self._goal.matrix))
        values.append(self.op("MatMul", ones, self.constant(-self._goal.offset[:, np.newaxis])))
        # No rule reads what a forward pass gave: its tensors have no names here.
        onwards = partial(REVERSE[Affine], self, [""] * len(self.graph.nodes))

        def affine(index: int, node: Affine, arrived: str) -> list[tuple[int, str]]:
            if node.bias.any():
                values.append(self.op("MatMul", arrived, self.constant(node.bias[:, np.newaxis])))
            return onwards(index, node, arrived)

        def relu(_: int, node: Relu, arrived: str) -> list[tuple[int, str]]:
            part = self._parts[self._number[node.source]]
            part.mu = arrived
            own, zero = part.arrays, self.constant(0.0)
            below = self.op("Min", arrived, zero)
            values.append(self.row_sum(self.op("Mul", below, own["intercept"])))
            split = self.op("Mul", own["side"], own["theta"])
            line = self.op("Mul", arrived, self._slope(part))
            return [(node.source, self.op("Add", line, split))]

        arrived = reverse(self.graph, {Affine: affine, Relu: relu}, self.graph.output, message, partial(self.op, "Add"))
        row = arrived.get(0) or self.op("MatMul", ones, self.constant(np.zeros((self._rows, self.graph.input_size))))
        points = least_points(self, self._region, row)
        values.append(self.row_sum(self.op("Mul", row, points)))
        total = values[0]
        for value in values[1:]:
            total = self.op("Add", total, value)
        return self.op("Sub", total, self._margin), points

    def _slope(self, part: _Parts) -> str:
        """Of the lines that a ReLU's μ takes: α where it is open and μ > 0."""
        own = part.arrays
        assert part.mu is not None
        on_lower = self.op("And", self._positive(part.mu), self._positive(own["open"]))
        return self.op("Where", on_lower, own["theta"], own["slope"])

    def _positive(self, tensor: str) -> str:
        return self.op("Greater", tensor, self.constant(0.0))

    def forward(self, points: str) -> tuple[str, str | None]:
        """Along the lines at the points: the arguments of all ReLUs (batch, relus), the goal's rows (batch, rows), None
        where there is one only."""

        def relu(_: int, node: Relu, values: list[str]) -> str:
            part = self._parts[self._number[node.source]]
            part.arguments = argument = values[node.source]
            if part.mu is None:  # nothing reads it
                part.mu = self.op("Mul", argument, self.constant(0.0))
            on_upper = self.op("LessOrEqual", part.mu, self.constant(0.0))
            offset = self.op("Mul", self.mask(on_upper), part.arrays["intercept"])
            return self.op("Add", self.op("Mul", argument, self._slope(part)), offset)

        values = forward(self.graph, {Affine: partial(FORWARD[Affine], self), Relu: relu}, points)
        arguments = self.op("Concat", *(part.arguments or "" for part in self._parts), axis=1)
        if self._row_weights is None:
            return arguments, None
        rows = self.op("MatMul", values[self.graph.output], self.constant(self._goal.matrix.T))
        return arguments, self.op("Add", rows, self.constant(self._goal.offset))

    def noted(self, value: str, points: str) -> dict[str, str]:
        """What is better than before, and the shares, which grow and fall from the second time on."""
        best, shares = self.state("best", BATCH, 1), self.state("shares", BATCH, 1)
        gained = self.op("Greater", value, best)
        factor = self.op("Where", gained, self.constant(GAINED), self.constant(FAILED))
        changed = self.op(
            "Clip", self.op("Mul", shares, factor), self.constant(LEAST_SHARE), self.constant(FIRST_SHARE)
        )
        now = {"best": value, "best_theta": self._theta, "best_points": points}
        before = {"best": best, "best_theta": self.state("best_theta", BATCH, self._relus)}
        before["best_points"] = self.state("best_points", BATCH, self.graph.input_size)
        if self._row_weights is not None:
            now["best_weights"] = self._row_weights
            before["best_weights"] = self.state("best_weights", BATCH, self._rows)
        kept = {name: self.op("Where", gained, tensor, before[name]) for name, tensor in now.items()}
        return {**kept, "shares": self.op("Where", self._positive(self._begun), changed, shares)}

    def moved(self, value: str, kept: Mapping[str, str], arguments: str, outputs: str | None) -> dict[str, str]:
        """The multipliers after the step, and what the next one needs of this one's direction."""
        mu = self.op("Concat", *(part.mu or "" for part in self._parts), axis=1)
        open_, side = self._all["open"], self._all["side"]
        is_open, split = self._positive(open_), self.op("Abs", side)
        rise = self.op("Where", is_open, self.op("Max", mu, self.constant(0.0)), side)
        turn = self._unblocked(self.op("Mul", rise, arguments))
        squares = self.op("Add", self.state("squares", BATCH, self._relus), self.op("Mul", turn, turn))
        units = self._units(mu, squares, is_open, split)
        last = self.state("turn", BATCH, self._relus)
        turned, length = self._dots(last, turn, units), self._dots(last, last, units)
        if outputs is not None:
            assert self._row_weights is not None
            row_last = self.state("row_turn", BATCH, self._rows)
            row_turn = self._in_simplex(self.op("Neg", outputs))
            largest = self.row_max(self.op("Mul", row_turn, row_turn))
            row_squares = self.op("Add", self.state("row_squares", BATCH, 1), largest)
            root = self.op("Max", self.op("Sqrt", row_squares), self.constant(TINY))
            by_row = self.op("Div", self.constant(1.0), root)
            turned = self.op("Add", turned, self._dots(row_last, row_turn, by_row))
            length = self.op("Add", length, self._dots(row_last, row_last, by_row))
        against = self.op("Max", self.op("Neg", turned), self.constant(0.0))
        share = self.op("Mul", self.constant(DEFLECTION), self._over(against, length))
        turn = self.op("Add", turn, self.op("Mul", share, last))
        along = self._unblocked(turn)
        length = self._dots(along, along, units)
        following = {"squares": squares, "turn": turn}
        if outputs is not None:
            row_turn = self.op("Add", row_turn, self.op("Mul", share, row_last))
            row_along = self._in_simplex(row_turn)
            length = self.op("Add", length, self._dots(row_along, row_along, by_row))
        size = self.op("Max", self.op("Abs", kept["best"]), self._near)
        level = self.op("Add", kept["best"], self.op("Mul", kept["shares"], size))
        wanted = self.op("Mul", self.constant(OVERSTEP), self.op("Sub", level, value))
        enough = self.op("Greater", length, self.constant(SMALL))
        step = self.op("Where", enough, self._over(wanted, length), self.constant(0.0))
        if outputs is not None:
            moved = self.op("Mul", self.op("Mul", step, by_row), row_along)
            following |= {"row_turn": row_turn, "row_squares": row_squares}
            following["weights"] = self._onto_simplex(self.op("Add", self._row_weights or "", moved))
        theta = self.op("Add", self._theta, self.op("Mul", step, self.op("Mul", units, along)))
        theta = self.op("Max", theta, self.constant(0.0))
        capped = self.op("Where", is_open, self.op("Min", theta, self.constant(1.0)), self.op("Mul", theta, split))
        return {**following, "theta": capped}

    def _units(self, mu: str, squares: str, is_open: str, split: str) -> str:
        """In what entries move: α by 1, β by the size of μ, over the root of their squares' sum."""
        roots, one = self.op("Sqrt", squares), self.constant(1.0)
        tops = (self.row_max(self.op("Mul", roots, part)) for part in (self._all["open"], split))
        floors = self.op("Mul", self.constant(FLOOR), self.op("Where", is_open, *tops))
        mean = self.op("Div", self._dots(mu, mu, split), self._splits)
        scale = self.op("Mul", self.constant(BETA_SCALE), self.op("Sqrt", mean))
        ranges = self.op("Where", is_open, one, scale)
        return self.op("Div", ranges, self.op("Max", self.op("Add", roots, floors), self.constant(TINY)))

    def _unblocked(self, turn: str) -> str:
        """Without what pushes α out of [0, 1] or β below 0; nothing for ReLUs that have neither."""
        zero, one, open_ = self.constant(0.0), self.constant(1.0), self._all["open"]
        below = self.op("And", self.op("LessOrEqual", self._theta, zero), self.op("Less", turn, zero))
        above = self.op("And", self.op("GreaterOrEqual", self._theta, one), self._positive(turn))
        blocked = self.op("Or", below, self.op("And", above, self._positive(open_)))
        either = self.op("Add", open_, self.op("Abs", self._all["side"]))
        return self.op("Mul", self.op("Where", blocked, zero, turn), either)

    def _in_simplex(self, turn: str) -> str:
        """The part of a direction along which weights may move, as `alpha_beta_crown` has it."""
        assert self._row_weights is not None
        zero, positive = self.constant(0.0), self._positive(self._row_weights)

        def mean(moving: str) -> str:
            among = self.op("Max", self.row_sum(moving), self.constant(1.0))
            return self.op("Div", self.row_sum(self.op("Mul", moving, turn)), among)

        moving = self.mask(self.op("Or", positive, self.op("Greater", turn, self.op("ReduceMean", turn, axes=[1]))))
        again = self.op("Or", positive, self.op("Greater", turn, mean(moving)))
        moving = self.op("Mul", moving, self.mask(again))
        return self.op("Where", self._positive(moving), self.op("Sub", turn, mean(moving)), zero)

    def _onto_simplex(self, weights: str) -> str:
        """`onto_simplex`, a node a row."""
        weights = self.op("Sub", weights, self.row_max(weights))
        ordered, _ = self.largest(weights, self._rows)
        excess = self.op("Sub", self.op("CumSum", ordered, self.integers(1)), self.constant(1.0))
        thresholds = self.op("Div", excess, self.constant(np.arange(1.0, self._rows + 1)))
        return self.op("Max", self.op("Sub", weights, self.row_max(thresholds)), self.constant(0.0))

    def _over(self, above: str, below: str) -> str:
        return self.op("Div", above, self.op("Max", below, self.constant(SMALL)))

    def _dots(self, a: str, b: str, units: str) -> str:
        """Σ a·b·units along each row: (batch, 1)."""
        return self.row_sum(self.op("Mul", self.op("Mul", a, b), units))
