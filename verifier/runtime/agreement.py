"""Agreement before proof: the graph as read against ONNX Runtime on the file, point by point, tensor by tensor.

A proof is about the graph; the file is what runs. Where the two differ by more than rounding can explain, the file was
read wrongly, and what is proved about the graph says nothing about the file. So a model is compared when it is loaded:
every tensor of the file without optimisations, each from what ONNX Runtime itself gave for those that it reads (the
bound is then that of one operator, however deep it stands), and the output at every level of optimisation. Each
question compares its own input and points of its own box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from encoders.network.exact import exact_outputs
from encoders.network.graph import Affine, Array, Graph
from encoders.network.linear_maps import LinearMap
from encoders.onnx_io.from_onnx import Network
from encoders.onnx_io.ops.call import describe
from encoders.onnx_io.weights import OnnxModel
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.rounding import gamma
from verifier.runtime.pointwise import FORMATS, REAL_NUMBERS, Spread, spreads
from verifier.runtime.replay import FloatArray, Replay, Trace
from verifier.runtime.session import Level

SCALES = (1.0, 16.0, 255.0, 1e-3)
"""Sizes of the points at which a model is compared: inputs are shares of 1, standardised, bytes, or small."""

ROUNDS = 3
"""Points of each size: of an input with few entries one alone may leave a clip or a slope untouched."""

SEED = 0
"""Of all points that are drawn: a model and a question are always compared at the same points."""

WORK = 1 << 30
"""Products that comparing a model may cost, about a second: larger ones are compared at fewer points, at least two."""

HELD = 1 << 22
"""Entries that all points of a model may have in all tensors, each with its bounds: a few hundred megabytes."""

QUESTION_WORK = 1 << 28
"""The same for each question: of larger models only the output is compared, at two points."""

EXACT_PRODUCTS = 1 << 14
"""Products up to which graphs are evaluated exactly to be compared, in a few milliseconds."""

ENDING_UNITS = 32.0
"""Units in the last place of 1 by which logits may differ that a Softmax or Sigmoid shows in the wrong order."""

TRACE_KEPT = 1 << 26
"""Bytes of a model up to which questions compare all its tensors too, in a session that is kept: 64 MiB."""

POINTS = 4
"""At which a question compares: its input, a point inside its box, two corners."""


@dataclass(frozen=True)
class Agreement:
    """Where a graph agreed with ONNX Runtime: at how many points, for how many tensors, at which levels.

    difference, bound: of all entries that were compared, the one that came nearest to its bound. complete: False where
    the time ended first.
    """

    points: int
    tensors: int
    levels: tuple[str, ...]
    difference: float
    bound: float
    complete: bool


@dataclass
class _Seen:
    """What has been compared: the tensors, and the entry that came nearest to its bound."""

    tensors: set[str] = field(default_factory=set)
    share: float = 0.0
    difference: float = 0.0
    bound: float = 0.0

    def take(self, tensor: str, difference: Array, bound: Array) -> None:
        comparable = np.isfinite(bound)
        if not comparable.any():
            return
        self.tensors.add(tensor)
        share = np.divide(difference, bound, out=np.zeros_like(difference), where=comparable & (bound > 0))
        place = np.unravel_index(int(np.argmax(share)), share.shape)
        if share[place] > self.share:
            self.share, self.difference, self.bound = (float(x[place]) for x in (share, difference, bound))


class Comparison:
    """A network as read beside its file in ONNX Runtime. Every difference is an InputError that names a tensor."""

    def __init__(self, path: Path, model: OnnxModel, network: Network, replay: Replay) -> None:
        self._path, self._network, self._replay = path, network, replay
        self._formats = [FORMATS[dtype.name] for dtype in network.dtypes]
        self._givers = {output: node for node in model.proto.graph.node for output in node.output}
        self._by_node: dict[int, list[str]] = defaultdict(list)
        for tensor, node in network.tensors.items():
            if tensor in self._givers:
                self._by_node[node].append(tensor)
        self._tensors_known = [tensor for tensors in self._by_node.values() for tensor in tensors]
        self._trace: Trace | None = Trace(path, model, network, self._tensors_known)
        self._work = max(1, _products(network.graph))
        self._small = model.proto.ByteSize() + model.size <= TRACE_KEPT and POINTS * self._work <= QUESTION_WORK

    @classmethod
    def of_file(cls, path: Path, model: OnnxModel, network: Network) -> Comparison:
        """The same with a session of its own."""
        return cls(path, model, network, Replay(path, model, network))

    def of_model(self, model: OnnxModel, budget: Budget) -> Agreement:
        """Compare every tensor at points of several sizes, and the output at every level of optimisation."""
        points, seen = self._drawn(), _Seen()
        levels: list[Level] = []
        with suppress(OutOfTimeError), single_threaded_blas():
            try:
                self._tensors(points, seen, budget)
            finally:
                if not self._small:
                    self._trace = None
            levels.append(Level.DISABLE_ALL)
            output = self._output_spread(points, budget)
            for level in (Level.BASIC, Level.EXTENDED, Level.ALL):
                budget.check()
                self._output(self._at(level, model), points, output, seen, level)
                levels.append(level)
        complete = len(levels) == len(Level)
        missed = [tensor for tensor in self._tensors_known if tensor not in seen.tensors]
        if complete and missed:
            raise InputError(
                f"{self._path}: tensor '{missed[0]}' {self._giver(missed[0])}may overflow at every point tried: what "
                "was read cannot be compared with ONNX Runtime"
            )
        told = tuple(level.value for level in levels)
        return Agreement(len(points), len(seen.tensors), told, seen.difference, seen.bound, complete)

    def _at(self, level: Level, model: OnnxModel) -> Replay:
        return self._replay if level is Level.ALL else Replay(self._path, model, self._network, level)

    def at_question(self, x: npt.ArrayLike, lo: Array, hi: Array, budget: Budget) -> Agreement:
        """Compare at the input x and at points of the box; refuse an input at which ONNX Runtime gives no numbers."""
        centre = np.asarray(x, dtype=np.float64)
        several = [centre, *_of_box(centre, lo, hi)][: max(2, QUESTION_WORK // self._work)]
        points, seen = self._rounded(np.array(several)), _Seen()
        at_input = self._replay.scores(points[:1])
        if not np.all(np.isfinite(at_input)):
            raise InputError(f"{self._path}: ONNX Runtime gives NaN or infinity at this input")
        complete = False
        with suppress(OutOfTimeError), single_threaded_blas():
            if self._trace is not None:
                self._tensors(points, seen, budget)
            self._output(self._replay, points, self._output_spread(points, budget), seen, Level.ALL)
            complete = True
        return Agreement(len(points), len(seen.tensors), (Level.ALL.value,), seen.difference, seen.bound, complete)

    def _drawn(self) -> FloatArray:
        """Points of several sizes, zeros and corners among them: what saturates at one does not at another."""
        size, rng = self._network.graph.input_size, np.random.default_rng(SEED)
        points = [rng.random(size), rng.integers(0, 2, size).astype(np.float64), np.zeros(size)]
        points += [scale * rng.normal(size=size) for scale in SCALES * ROUNDS]
        return self._rounded(np.array(points[: max(2, min(WORK // self._work, HELD // _values(self._network.graph)))]))

    def _rounded(self, points: Array) -> FloatArray:
        with np.errstate(over="ignore"):
            return points.astype(self._network.input_dtype)

    def _tensors(self, points: FloatArray, seen: _Seen, budget: Budget) -> None:
        """Compare every tensor with what the graph makes of ONNX Runtime's own values before it."""
        assert self._trace is not None
        values = self._trace.values(points)

        def settle(index: int, spread: Spread) -> Spread:
            names = self._by_node.get(index, [])
            for name in names:
                self._agrees(name, values[name], spread, seen, Level.DISABLE_ALL, points)
            if not names:
                return spread
            given = [values[name].astype(np.float64) for name in names]
            last, finite = given[-1], np.all(np.isfinite(given), axis=0)
            with np.errstate(invalid="ignore"):
                apart = np.max([np.abs(value - last) for value in given], axis=0)
            return Spread(np.where(finite, last, 0.0), np.where(finite, apart, np.inf))

        first = points.astype(np.float64)
        spreads(
            self._network.graph, Spread(first, np.zeros_like(first)), self._formats, budget, set(self._by_node), settle
        )

    def _output_spread(self, points: FloatArray, budget: Budget) -> Spread:
        first, graph = points.astype(np.float64), self._network.graph
        return spreads(graph, Spread(first, np.zeros_like(first)), self._formats, budget)[graph.output]

    def _output(self, replay: Replay, points: FloatArray, spread: Spread, seen: _Seen, level: Level) -> None:
        if replay.rounds and spread.value.shape[1] > 1:
            self._prefers(replay, points, spread, level)
        if self._network.transformed:  # probabilities, which the graph does not have
            return
        for row, point in enumerate(points):
            here = Spread(spread.value[row : row + 1], spread.error[row : row + 1])
            self._agrees(self._network.logits_name, replay.logits(point), here, seen, level, points[row : row + 1])

    def _prefers(self, replay: Replay, points: FloatArray, spread: Spread, level: Level) -> None:
        """Compare the class that the file's own output says with the logits before what was dropped at the end."""
        tie = ENDING_UNITS * max(float(np.finfo(dtype).eps) for dtype in self._network.dtypes)
        for point, value, error in zip(points, spread.value, spread.error, strict=True):
            scores = replay.scores(point)[0]
            told, largest = replay.classes(scores)[0], int(np.argmax(value - error))
            if self._network.coarse and scores[told] - scores[largest] <= tie:
                continue  # far apart, and shown as equal
            if value[told] + error[told] < value[largest] - error[largest] - tie:
                raise self._differs(
                    self._network.output_name, level, f"prefers class {told}, but class {largest} as it was read"
                )

    def _agrees(
        self, tensor: str, given: FloatArray, spread: Spread, seen: _Seen, level: Level, points: FloatArray
    ) -> None:
        if given.shape != spread.value.shape:
            raise self._differs(tensor, level, f"has {given.shape[1]} entries, not {spread.value.shape[1]} as read")
        with np.errstate(invalid="ignore"):
            difference = np.abs(given.astype(np.float64) - spread.value)
        wrong = ~(difference <= spread.error) & np.isfinite(spread.error)
        if wrong.any():
            row, entry = np.argwhere(wrong)[0]
            raise self._differs(
                tensor,
                level,
                f"is {given[row, entry]:.9g} at entry {entry}, but {spread.value[row, entry]:.9g} as read; rounding "
                f"explains {spread.error[row, entry]:.2g} (at an input with entries from {points[row].min():g} to "
                f"{points[row].max():g})",
            )
        seen.take(tensor, difference, spread.error)

    def _differs(self, tensor: str, level: Level, how: str) -> InputError:
        return InputError(
            f"{self._path}: ONNX Runtime computes another function than was read from the file, so nothing can be "
            f"proved about it: tensor '{tensor}' {self._giver(tensor)}{how} (optimisations {level.value})"
        )

    def _giver(self, tensor: str) -> str:
        return f"of the {describe(self._givers[tensor])} " if tensor in self._givers else ""


def _of_box(centre: Array, lo: Array, hi: Array) -> list[Array]:
    """An inner point and two corners of a box; an infinite end stands as far from the centre as the centre is large."""
    rng = np.random.default_rng(SEED)
    far = np.maximum(1.0, np.abs(centre))
    low, high = np.where(np.isfinite(lo), lo, centre - far), np.where(np.isfinite(hi), hi, centre + far)
    share = rng.random(centre.size)
    corner = rng.integers(0, 2, centre.size) == 1
    inner = low * (1.0 - share) + high * share
    return [inner, np.where(corner, low, high), np.where(corner, high, low)]


def _values(graph: Graph) -> int:
    """Entries of all nodes."""
    return sum(node.size for node in graph.nodes)


def _products(graph: Graph) -> int:
    """Products of one evaluation."""
    return sum(
        term.map.out_size * term.map.fan_in for node in graph.nodes if isinstance(node, Affine) for term in node.terms
    )


def same_function(graph: Graph, other: Graph, what: str, budget: Budget) -> None:
    """Raise InputError unless two graphs of one input have the same values, in real arithmetic, at random points.

    Small graphs are evaluated exactly. Raises OutOfTimeError.
    """
    if graph is other:
        return
    points = _points(graph.input_size)
    if max(_products(graph), _products(other)) <= EXACT_PRODUCTS and not (graph.smooth or other.smooth):
        if any(exact_outputs(graph, point) != exact_outputs(other, point) for point in points):
            raise _unlike(what)
        return
    first = Spread(points, np.zeros_like(points))
    found = [spreads(one, first, [REAL_NUMBERS], budget)[one.output] for one in (graph, other)]
    _same(found[0], found[1], what)


def same_copies(graph: Graph, maps: Sequence[LinearMap], stacked: Graph, budget: Budget) -> None:
    """Raise InputError unless `stacked` gives graph(T x) for each of the maps T, one after the other, at its front.

    Raises OutOfTimeError.
    """
    points = _points(stacked.input_size)
    parts = []
    for linear in maps:
        turned = gamma(linear.fan_in + 1) * linear.magnitude().apply(np.abs(points))
        parts.append(spreads(graph, Spread(linear.apply(points), turned), [REAL_NUMBERS], budget)[graph.output])
    copies = Spread(np.hstack([part.value for part in parts]), np.hstack([part.error for part in parts]))
    found = spreads(stacked, Spread(points, np.zeros_like(points)), [REAL_NUMBERS], budget)[stacked.output]
    size = copies.value.shape[1]
    _same(copies, Spread(found.value[:, :size], found.error[:, :size]), "the network under several transformations")


def _points(size: int) -> Array:
    rng = np.random.default_rng(SEED)
    return np.array([rng.random(size), SCALES[1] * rng.normal(size=size)])


def _same(one: Spread, other: Spread, what: str) -> None:
    room = one.error + other.error
    with np.errstate(invalid="ignore"):
        if np.any(~(np.abs(one.value - other.value) <= room) & np.isfinite(room)):
            raise _unlike(what)


def _unlike(what: str) -> InputError:
    return InputError(f"{what} is not the network that was read: nothing can be proved about it; please report this")
