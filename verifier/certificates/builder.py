"""A certificate for an answer: the witness, proved neuron bounds, a split tree for each target; then the check.

Whatever method found the answer, its proof is built anew here at the final radius, and the certificate's bytes are
handed to the independent checker before anyone is told that they exist.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph
from verifier.certificates import checker
from verifier.certificates.anchored_proof import anchored_leaves, excluded_at_once
from verifier.certificates.bound_proof import proof_tree
from verifier.certificates.checker import CheckedNetwork, InvalidError, Layer, Proof
from verifier.certificates.format import FINE, STEP, Certificate, SplitTree
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.columns import Columns
from verifier.problem.query import Ball
from verifier.search.float32_lower import float32_arithmetic
from verifier.search.question import Specification
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.root_bounds import rooted
from verifier.solvers.tree.protocol import TreeRoot

UNDER_TRANSFORMS = "certificates are about the network in the file, and the checker does not read transformations"
"""Why there are none for questions under transformations."""

FLOAT32_PART = 5 / 3
"""One part of so many of the time is for a proof that holds for float32 as well; without its charges the reals' own
trees, no larger, fit into what is left."""

CHARGED = 1.0 + 2.0**-40
"""Times what the checker charges, whose sums are rounded here."""

LOOSE = 4.0
"""So many times what an active ReLU's argument can be is out of an LP's reach."""

SPARE_BITS, SPARE = 14, 1 << 8
"""Of an end by anchored lines, what is not claimed, and the least of that in steps: how the checker rounds a row's
multipliers depends on the rows beside it, which are others here."""

OF_SOME_INPUTS = "certificates are about all inputs of a ball"
"""Why there are none for what holds of the inputs that can occur alone."""

SHORTEST = 2.0**-10
"""Of a step, the radius of a ball whose proof says that nothing of a grid is closer than one step."""

WIDER = 1.0 + 2.0**-10
"""Times a lower end, the most that a ball is: the checker's grid leaves points more room than the search's, for bytes
2^-13 more."""

FARTHEST = 2.0**400
"""A lower end beyond it, which is beyond every box, is a ball's radius as it is: squares of its steps overflow."""


def not_covered(norm: str, transformed: bool, columns: Columns | None = None) -> str:
    """Why certificates do not cover a question, or one about some inputs only; "" where they do."""
    if columns is not None and (columns.grid is None or columns.units is not None):
        return f"{OF_SOME_INPUTS}, from which only what holds of a grid without units follows"
    if transformed:
        return UNDER_TRANSFORMS
    return "" if norm in checker.NORMS else f"certificates are about the norms {', '.join(checker.NORMS)}"


class BudgetedProof(Proof):
    """The checker's proof, which looks at the budget wherever evaluations are counted: those of charges take long."""

    def __init__(
        self,
        net: CheckedNetwork,
        query: checker.CheckedQuery,
        radius: float,
        fine: int,
        float32: float,
        anchored: bool,
        *,
        budget: Budget,
    ) -> None:
        self._budget = budget
        super().__init__(net, query, radius, fine, float32, anchored)

    def count(self, work: int) -> None:
        """As the checker does. Raises OutOfTimeError."""
        self._budget.check()
        super().count(work)


@dataclass(frozen=True, eq=False)
class Certified:
    """A certificate that the checker has found valid: the file's `content`, and what that proves."""

    content: bytes
    result: checker.CheckedResult
    leaves: int
    seconds: float
    """Building and checking."""
    check_seconds: float
    note: str = ""
    """Why nothing is certified for float32 although that was asked for."""

    def __repr__(self) -> str:
        return f"<Certified: {len(self.content):,} bytes, {self.leaves:,} leaves, {self.seconds:.2f} s>"


def certified(
    asked: Specification,
    radius: float,
    witness: npt.NDArray[np.floating] | None,
    budget: Budget,
    float32: float = 0.0,
) -> Certified:
    """A checked certificate that nothing within `radius` is adversarial (0: no such claim) and that the witness is.

    float32: the radius that is known for float32 evaluations, 0 for none; as much of it is proved as the same tree can.
    On a grid both are lower ends of such inputs, and the ball is the least from which they follow.
    Raises NotCertifiedError, one line, or OutOfTimeError.
    """
    start = time.perf_counter()
    columns = None if asked.lattice is None else asked.lattice.asked
    if why := not_covered(asked.ball.norm, asked.copies is not None, columns):
        raise NotCertifiedError(why)
    grid = _grid_of(asked)
    if grid is not None:
        radius, float32 = (_ball_radius(asked, grid, end) for end in (radius, float32))
    # What the charges for rounding keep open, cannot be charged or take too long is certified over the reals alone.
    reason = ""
    for end in dict.fromkeys((min(float32, radius), 0.0)):
        share = budget.share(FLOAT32_PART) if end > 0 else budget
        try:
            with threadpool_limits(1, "blas"), np.errstate(all="ignore"):
                made = _certified(asked, radius, witness, share, start, end)
                made = made if grid is None else replace(made, result=made.result.on_grid(grid.per))
            return replace(made, note=f"nothing is certified for float32: {reason}") if reason else made
        except OutOfTimeError as error:
            if end == 0.0:
                raise
            budget.check()
            reason = str(error)
        except InvalidError as error:
            reason = f"the checker refuses the certificate: {error}"
        except OverflowError:
            reason = "bounds of this model's neurons are too large for a certificate"
        except NotCertifiedError as error:
            reason = str(error)
    raise NotCertifiedError(reason)


def _grid_of(asked: Specification) -> checker.CheckedGrid | None:
    """The grid that is asked about, as the checker reads it; None: all inputs. Raises NotCertifiedError."""
    if asked.lattice is None or asked.lattice.asked.grid is None:
        return None
    dtype = f"<f{asked.model.dtype.itemsize}"
    try:
        return checker.CheckedGrid(_query(asked), dtype, asked.lattice.asked.grid)
    except InvalidError as error:
        raise NotCertifiedError(str(error)) from None


def covers(asked: Specification, result: checker.CheckedResult, end: float, known: float) -> bool:
    """Is an end of a result all that is known of what is asked; on a grid, in steps?"""
    grid, amount = result.grid, None if asked.lattice is None else asked.lattice.level(known)
    if grid is None or amount is None:
        return result.proves(end, known)
    return bool(grid.steps(end) >= amount * grid.per**grid.power)


def _ball_radius(asked: Specification, grid: checker.CheckedGrid, lower: float) -> float:
    """The radius of the least ball whose proof says that nothing of the grid is closer than `lower`, in steps; `lower`
    itself, from which less follows, where that is wider by far."""
    assert asked.lattice is not None
    amount = asked.lattice.level(lower)
    if not lower > 0 or amount is None or lower > FARTHEST:
        return lower
    steps = int(amount * grid.per**grid.power)
    found = max(float(grid.long) * math.pow(steps - 1, 1 / grid.power), SHORTEST / grid.per)
    while grid.steps(found) < steps:
        found = math.nextafter(found, math.inf)
    return found if found <= WIDER * lower else lower


def _query(asked: Specification) -> checker.CheckedQuery:
    ball = asked.ball
    return checker.CheckedQuery(ball.norm.value, asked.label, asked.target, asked.margin, ball.centre, ball.lo, ball.hi)


def _certified(
    asked: Specification,
    radius: float,
    witness: npt.NDArray[np.floating] | None,
    budget: Budget,
    start: float,
    float32: float,
) -> Certified:
    model, ball = asked.model, asked.ball
    if radius <= 0 and witness is None:
        raise NotCertifiedError("there is neither a lower end above 0 nor an adversarial example")
    content = model.path.read_bytes()
    folder = model.path.parent
    net = _network(content, folder, asked)
    query = _query(asked)
    layers: list[Layer] = []
    trees: list[SplitTree] = []
    anchored = False
    if radius > 0:
        stages = to_stages(model.graph, look=budget.check)
        if stages.underflows:
            raise NotCertifiedError("products of this model's weights underflow float64: no proof is sought")
        if [size for _, size in net.layers] != [stage.size for stage in stages.hidden]:
            raise NotCertifiedError("the checker divides this model into other ReLU layers than the engine")
        finite = ball.with_radius(radius).finite
        root = rooted(model.graph, finite, budget, stages=lambda: stages)
        lower, upper = hidden_bounds(stages, root.bounds)
        unstable = int(np.count_nonzero((lower < 0) & (upper > 0)))
        anchored = math.isfinite(radius) and excluded_at_once(root, asked.goals, finite, unstable, budget)
        proof = BudgetedProof(net, query, radius, FINE, float32, anchored, budget=budget)
        lower, upper = _established(proof, stages, lower, upper, budget)
        layers = proof.layers
        places = np.flatnonzero(upper > 0)
        if anchored:
            trees = anchored_leaves(stages, finite, asked.goals, lower, upper, places, budget)
        else:
            charge = None
            if float32 > 0:
                part, rounds = asked.ball.with_radius(float32).finite, model.replay.rounds
                charge = charge_of(proof, net.output, float32, model.graph, part, stages, rounds, budget)
            for target, goal in asked.goals:
                below = TreeRoot(stages, finite, goal, lower, upper)
                trees.append(proof_tree(below, target, places, lower[places] >= 0, charge).grow(budget))
            float32 = charge.radius if charge is not None else 0.0
    names = net.layers if radius > 0 else []
    certificate = Certificate(
        model.network.sha256, query, net.dtype, radius, float32, witness, names, layers, trees, anchored
    )
    packed = certificate.encoded(budget.check)
    begun = time.perf_counter()
    claim = checker.parse(packed)
    assert isinstance(claim, checker.CheckedCertificate)
    result = checker.ball_checked(claim, content, folder, partial(BudgetedProof, budget=budget))
    now = time.perf_counter()
    return Certified(packed, result, certificate.leaves, now - start, now - begun)


def charge_of(
    proof: Proof,
    scores: str,
    radius: float,
    graph: Graph,
    ball: Ball,
    stages: Stages,
    rounds: bool,
    budget: Budget,
) -> Float32Charge:
    """What the checker charges float32 evaluations of a graph in a finite ball with; scores: its name of the output."""
    assert proof.rounding is not None
    arithmetic = float32_arithmetic(graph, ball, rounds)
    if arithmetic is not None:
        charged = to_stages(graph, arithmetic.unit, arithmetic.floors(graph), budget.check)
        stages = replace(charged, both=True)
    parts = [proof.rounding.error(name)[0] for name in (*proof.net.arguments, scores)]
    ends = [np.ldexp(part.astype(np.float64) * CHARGED, -checker.ERROR_BITS) for part in parts]
    return Float32Charge(stages, radius, ball, np.concatenate([np.zeros(0), *ends[:-1]]), ends[-1])


def network_of(content: bytes, folder: Path, sha256: str) -> CheckedNetwork:
    """The checker's own reading of a model of this digest. Raises NotCertifiedError where it does not read it."""
    try:
        net = checker.read_network(content, folder)
    except Exception as error:  # noqa: BLE001, as in the checker itself
        raise NotCertifiedError(f"the checker does not read this model: {error}") from None
    if net.digest != sha256:
        raise NotCertifiedError("the model's files have changed since they were read")
    return net


def _network(content: bytes, folder: Path, asked: Specification) -> CheckedNetwork:
    network = asked.model.network
    net = network_of(content, folder, network.sha256)
    if net.scores != network.logits_name or net.size(net.output) != asked.model.classes:
        raise NotCertifiedError("the checker reads other scores than the engine")
    if net.size(net.input) != asked.ball.centre.size:
        raise NotCertifiedError("the checker reads another input than the engine")
    return net


def _established(proof: Proof, stages: Stages, lower: Array, upper: Array, budget: Budget) -> tuple[Array, Array]:
    """Give `proof` bounds of every layer by exact evaluation; the engine's bounds with those in their places.

    Where the engine fixes a sign, only that sign is proved; where that fails, and for open ReLUs, both ends are.
    """
    low, high = lower.copy(), upper.copy()
    for place, stage in enumerate(stages.hidden):
        part = slice(stages.starts[place], stages.starts[place + 1])
        ends = {sign: np.full(stage.size, -1, dtype=object) for sign in (1, -1)}
        wanted = {1: ~(upper[part] <= 0), -1: ~(lower[part] >= 0)}
        known = {sign: np.zeros(stage.size, dtype=bool) for sign in (1, -1)}
        for _ in range(2):
            for sign in (1, -1):
                _evaluate(proof, place, sign, np.flatnonzero(wanted[sign] & ~known[sign]), ends[sign], budget)
                known[sign] |= wanted[sign]
            fixed = {sign: known[sign] & (ends[sign] >= 0) for sign in (1, -1)}
            wanted = {1: ~fixed[-1], -1: ~fixed[1]}
        kept = np.flatnonzero(~fixed[-1] | fixed[1])
        active = fixed[1][kept]
        tops = np.where(active, 0, -ends[-1][kept])
        proof.add(Layer(kept, active, ends[1][kept], tops, STEP))
        places = part.start + kept
        low[places] = np.ldexp(ends[1][kept].astype(np.float64), -STEP)
        # The upper bound of an active ReLU is not in the certificate: the LP must not lean on it.
        high[places] = np.where(active, LOOSE * np.abs(high[places]) + LOOSE, np.ldexp(tops.astype(np.float64), -STEP))
        off = part.start + np.flatnonzero(fixed[-1] & ~fixed[1])
        high[off] = np.minimum(high[off], 0.0)
    return low, high


def _evaluate(proof: Proof, layer: int, sign: int, entries: npt.NDArray[np.intp], ends: Array, budget: Budget) -> None:
    """Fill in lower bounds of sign · argument of the entries, in multiples of 2^-STEP, rounded down."""
    for first in range(0, entries.size, checker.ROWS):
        budget.check()
        chosen = entries[first : first + checker.ROWS]
        value, den = proof.ends(layer, chosen, np.full(chosen.size, sign))
        found = (value << STEP) // den
        ends[chosen] = found - np.maximum(abs(found) >> SPARE_BITS, SPARE) if proof.anchored else found
