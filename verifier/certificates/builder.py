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
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.formulations.to_stages import to_stages
from encoders.onnx_io.file import model_bytes
from verifier.certificates import checker
from verifier.certificates.anchored_proof import excluded_at_once
from verifier.certificates.ball_proof import FEW, BallProof, BallProofBuilder, checked_query
from verifier.certificates.bound_proof import TooManyNodesError, by_bounds
from verifier.certificates.checker import CheckedNetwork, InvalidError
from verifier.certificates.claimed_bounds import BudgetedProof
from verifier.certificates.format import Certificate
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.inputs.columns import Columns
from verifier.search.question import Specification
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.quadratic_root import suits
from verifier.solvers.root_bounds import rooted
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import LP_RELUS

UNDER_TRANSFORMS = "certificates are about the network in the file, and the checker does not read transformations"
"""Why there are none for questions under transformations."""

FLOAT32_PART = 5 / 3
"""One part of so many of the time is for a proof that holds for float32 as well; without its charges the reals' own
trees, no larger, fit into what is left."""

OF_SOME_INPUTS = "certificates are about all inputs of a ball"
"""Why there are none for what holds of the inputs that can occur alone."""

ROUNDS = 4
"""Times that trees are grown with wider margins of which floats close a leaf and the checker does not."""

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
            with single_threaded_blas(), np.errstate(all="ignore"):
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
        return checker.CheckedGrid(checked_query(asked), dtype, asked.lattice.asked.grid)
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
    content = model_bytes(model.path)
    folder = model.path.parent
    net = _network(content, folder, asked)
    query = checked_query(asked)
    made = BallProof()
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
        splits = TreeRoot(stages, finite, asked.goals[0][1], lower, upper)
        exact = not by_bounds(splits)
        builder = BallProofBuilder(asked, radius, net, stages, finite, (lower, upper), budget, exact)
        # To the checker all of a box is no ball.
        round_ = finite.geometry.is_euclidean and math.isinf(radius)
        squares = not anchored and unstable > LP_RELUS and not round_ and suits(finite, lower, upper)
        try:
            made = builder.by_lines(float32, anchored, FEW if squares else math.inf)
        except TooManyNodesError:
            made = builder.by_squares(float32)
    for _ in range(ROUNDS):
        numbers = made.numbers(budget)
        parts = net.dtype, radius, made.float32, witness, numbers, made.anchored
        packed, proofs = Certificate(net.digest, query, *parts).encoded(budget.check), list[BudgetedProof]()
        begun = time.perf_counter()
        claim = checker.parse(packed)
        assert isinstance(claim, checker.CheckedCertificate)
        result = checker.ball_checked(claim, content, folder, partial(_noted, proofs, budget))
        now = time.perf_counter()
        if not any(any(proof.failed) for proof in proofs):
            return Certified(packed, result, sum(proof.closed for proof in proofs), now - start, now - begun)
        made.mend(proofs[0].failed)
    raise NotCertifiedError("some leaves that floats close do not close exactly")


def _noted(made: list[BudgetedProof], budget: Budget, *given: Any) -> BudgetedProof:
    """The checker's proof, which is noted."""
    made.append(BudgetedProof(*given, budget=budget))
    return made[-1]


def network_of(content: bytes, folder: Path, sha256: str, *, joint: bool = False) -> CheckedNetwork:
    """The checker's own reading of a model of this digest. Raises NotCertifiedError where it does not read it."""
    try:
        net = checker.read_network(content, folder, joint=joint)
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
