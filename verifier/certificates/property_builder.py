"""A certificate that nothing satisfies a property: for each of its cases a tree, then the check.

The cases are those that the checker reads in the text. Where few inputs may move the tree halves boxes, else it splits
ReLUs, its leaves closed by multipliers of LPs. As for brackets, the proof is built anew, whatever found the answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.formulations.to_stages import Stages, to_stages
from encoders.network.graph import Array, Graph, frozen
from encoders.passes.with_inputs import with_inputs
from verifier.bounds.box_crown import BoxCrown
from verifier.bounds.lagrangian import Lagrangian
from verifier.certificates import checker
from verifier.certificates.ball_proof import charge_of
from verifier.certificates.box_tree import BoxTree
from verifier.certificates.builder import FLOAT32_PART
from verifier.certificates.case_trees import BoxCase, CaseTree, FixedCase, ReluCase
from verifier.certificates.checker import (
    BOUNDS,
    BoxProof,
    CheckedGoal,
    InvalidError,
    Proof,
    PropertyCertificate,
    PropertyText,
    Rounding,
)
from verifier.certificates.claimed_bounds import BudgetedProof, ClaimingProof
from verifier.certificates.clause_tree import clauses_of
from verifier.certificates.format import STEP, property_encoded
from verifier.certificates.guided_tree import Guide, nearest_guide
from verifier.certificates.property_network import property_network
from verifier.certificates.smooth_boxes import SmoothBoxes
from verifier.certificates.split_tree import Float32Charge, NotCertifiedError
from verifier.certificates.squared_cases import SquaredCases, with_layers
from verifier.problem.blas import single_threaded_blas
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.properties.from_vnnlib import read_text
from verifier.problem.properties.s_expressions import Text
from verifier.problem.properties.to_vnnlib import to_vnnlib
from verifier.problem.query import Ball, Halfspaces
from verifier.runtime.model import Model
from verifier.runtime.query_model import text_about
from verifier.search.property_question import AskedProperty, asked_property, must_be_read
from verifier.search.question import Box
from verifier.search.settings import budget_of
from verifier.solvers.branch_and_bound import hidden_bounds
from verifier.solvers.root_bounds import root_bounds
from verifier.solvers.tree.protocol import TreeRoot
from verifier.solvers.tree.table import few_inputs

ROUNDS = 12
"""Times that leaves are halved which floats close and the checker, by other lines, does not; dist_shift took five."""

OTHER_LAYERS = "the checker divides this model into other ReLU layers than the engine"


@dataclass(frozen=True, eq=False)
class CertifiedProperty:
    """A certificate that the checker has found valid: the file's `content`, and what that proves."""

    content: bytes
    result: checker.PropertyResult
    seconds: float
    """Building and checking."""
    check_seconds: float
    note: str = ""
    """Why nothing is certified for float32 although that was asked for."""

    @property
    def leaves(self) -> int:
        return self.result.leaves

    def __repr__(self) -> str:
        return f"<CertifiedProperty: {len(self.content):,} bytes, {self.leaves:,} leaves, {self.seconds:.2f} s>"


def property_certificate(
    model: Model,
    *,
    property: AskedProperty,  # noqa: A002, what it is called
    region: Box | None = None,
    float32: bool = False,
    timeout: float | Budget = math.inf,
) -> CertifiedProperty:
    """A certificate that no real input satisfies a property, given as `check` takes it.

    Its proof is built anew; it speaks of VNN-LIB 1.0: of the file's text, or of one in exact numbers that arrays, or
    VNN-LIB 2, become (`result.text`). float32: for every float32 evaluation of the file as well, where the proof can be
    such (`result.float32`, `note`). Raises InputError, NotCertifiedError without a proof, OutOfTimeError.
    """
    must_be_read(model)
    budget = budget_of(timeout)
    worlds = (True, False) if float32 else (False,)
    if isinstance(property, str | Path) and region is None:
        text = certifiable(read_text(Path(property)), model, budget)
        return property_certified(model, text, budget, worlds=worlds)
    text = to_vnnlib(asked_property(model, region, property, budget)).encode()
    return property_certified(model, text, budget, worlds=worlds)


def certifiable(text: Text, model: Model, budget: Budget) -> bytes:
    """A property's text as certificates about the model's file hold it, in VNN-LIB 1.0. Raises NotCertifiedError where
    it has none there; OutOfTimeError."""
    try:
        return text_about(text, model.file_ports, budget.check)
    except InputError as error:
        raise NotCertifiedError(str(error)) from None


def property_certified(
    model: Model,
    text: bytes,
    budget: Budget,
    guides: Sequence[Guide] = (),
    worlds: Sequence[bool] = (False,),
) -> CertifiedProperty:
    """A checked certificate that no real input satisfies the property of this text in VNN-LIB 1.0.

    guides: other verifiers' trees, followed for the cases that they are about. worlds: what is tried, one after the
    other: True is the same for every float32 evaluation too. Raises NotCertifiedError, one line, or OutOfTimeError;
    InputError for a tree of another model's ReLUs.
    """
    first, *rest = worlds
    share = budget.share(FLOAT32_PART) if rest else budget
    try:
        with single_threaded_blas(), np.errstate(all="ignore"):
            return _PropertyBuilder(model, text, share, guides, first).built()
    except InvalidError as error:
        reason = f"the checker refuses the certificate: {error}"
    except OverflowError:
        reason = "bounds of this model's neurons are too large for a certificate"
    except NotCertifiedError as error:
        reason = str(error)
    except OutOfTimeError as error:
        if not rest:
            raise
        reason = str(error)
    if not rest:
        raise NotCertifiedError(reason)
    budget.check()
    made = property_certified(model, text, budget, guides, rest)
    return replace(made, note=f"nothing is certified for float32: {reason}")


class _PropertyBuilder:
    def __init__(self, model: Model, text: bytes, budget: Budget, guides: Sequence[Guide], float32: bool) -> None:
        self._begun = time.perf_counter()
        self._float32 = float32
        self.model, self.text, self.budget, self.guides = model, text, budget, guides
        self.net, self.content, self.folder = property_network(model)
        self.prop = PropertyText(text)
        if float32 and self.net.dropped:
            raise NotCertifiedError(f"float32: nothing is proved before a final {self.net.dropped}")
        if float32 and model.lowered.smooth:
            raise NotCertifiedError("of Sigmoids and Tanhs certificates cover the real function only")
        if (self.prop.inputs, self.prop.outputs) != (self.net.size(self.net.input), self.net.size(self.net.scores)):
            raise NotCertifiedError("the property is about another number of inputs or outputs than the checker reads")
        self._squares = SquaredCases(budget)
        self._graphs: dict[bool, tuple[Graph, Stages]] = {}
        self._bounded: tuple[Graph, tuple[Array, Array], tuple[Array, Array]] | None = None
        self._charged: dict[bool, tuple[Rounding, Float32Charge]] = {}

    def built(self) -> CertifiedProperty:
        """Raises NotCertifiedError, InvalidError or OutOfTimeError."""
        trees = [*self._trees()]
        for _ in range(ROUNDS):
            numbers = [tree.numbers(self.budget) for tree in trees]
            content = property_encoded(self.net.digest, self.text, numbers, self._float32, self.budget.check)
            claim = checker.parse(content)
            assert isinstance(claim, PropertyCertificate)
            proofs: list[BudgetedProof] = []
            begun = time.perf_counter()
            result = checker.property_checked(claim, self.content, self.folder, partial(self._noted, proofs))
            now = time.perf_counter()
            faults = [each for proof in proofs for each in zip(proof.failed, proof.denied, strict=True)]
            if not any(leaves or signs for leaves, signs in faults):
                return CertifiedProperty(content, result, now - self._begun, now - begun)
            for tree, (leaves, signs) in zip(trees, faults, strict=True):
                tree.mend(leaves, signs)
        raise NotCertifiedError("some leaves that floats close do not close exactly")

    def _noted(self, made: list[BudgetedProof], *given: Any) -> BudgetedProof:
        """The checker's proof, which is noted."""
        made.append(BudgetedProof(*given, budget=self.budget))
        return made[-1]

    def _trees(self) -> Iterator[CaseTree]:
        """A tree for each case."""
        found: ClaimingProof | None = None
        halved: BoxTree | None = None
        for case in checker.property_cases(self.prop):
            self.budget.check()
            if not case.rows:
                raise NotCertifiedError("a case asks nothing of outputs: every input of its box satisfies the property")
            query = checker.box_query(case.lo, case.hi)
            if found is None or not all(map(np.array_equal, (query.lo, query.hi), (found.query.lo, found.query.hi))):
                asked = self.net, query, math.inf, STEP, math.inf if self._float32 else 0.0
                found, halved = ClaimingProof(*asked, budget=self.budget), None
            found.goal = checker.goal_of(self.net, case)
            ball, mixed = Ball.of_box(case.lo, case.hi).finite, found.goal.direct is not None
            begun = np.zeros(0, dtype=np.int64)
            if self.model.lowered.smooth:
                before, halved = halved, self._smooth(found, ball)
                yield BoxCase(halved, before, begun)
                continue
            graph, stages = self._graph(mixed)
            ends = self._ends(graph, stages, ball)
            # What float32 is charged with rests on bounds.
            if self._float32 and not found.rooted:
                begun = np.append(BOUNDS, found.claimed(ends))
            charge = self._charge(found, ball, mixed)
            root = TreeRoot(stages, ball, _halfspaces(found.goal, self.model.first_output), *ends)
            charged = stages if charge is None else replace(charge.stages, both=False)
            guide = nearest_guide(self.guides, case)
            learnt = clauses_of(replace(root, stages=charged), found, self.budget) if guide is None else None
            if learnt is not None:
                yield FixedCase(np.append(begun, learnt))
                continue
            if guide is None and few_inputs(root) and (boxes := _boxes(found)) is not None:
                crown = BoxCrown(charged, Lagrangian(charged, ball, root.goal, *ends))
                before, halved = halved, BoxTree(crown, ball, root.goal, boxes.grid)
                yield BoxCase(halved, before, begun)
                continue
            if not found.rooted:
                begun = np.append(BOUNDS, found.claimed(ends))
            if guide is None:
                yield self._squares.case(found, begun, root, charge)
                continue
            guide.must_suit(stages.relu_count)
            yield ReluCase(begun, with_layers(root, found), found.rooted, charge, guide.tokens)

    def _graph(self, mixed: bool) -> tuple[Graph, Stages]:
        """The engine's network, with its inputs behind its outputs where rows are `mixed`."""
        if mixed not in self._graphs:
            graph = with_inputs(self.model.lowered) if mixed else self.model.lowered
            stages = to_stages(graph, look=self.budget.check)
            if stages.underflows:
                raise NotCertifiedError("products of this model's weights underflow float64: no proof is sought")
            if [size for _, size in self.net.layers] != [stage.size for stage in stages.hidden]:
                raise NotCertifiedError(OTHER_LAYERS)
            self._graphs[mixed] = graph, stages
        return self._graphs[mixed]

    def _ends(self, graph: Graph, stages: Stages, ball: Ball) -> tuple[Array, Array]:
        """The engine's bounds of ReLU arguments in a case's box, which may be that of the case before."""
        known = self._bounded
        if known is None or known[0] is not graph or not np.array_equal(known[1], ball.interval):
            lower, upper = hidden_bounds(stages, root_bounds(graph, ball, self.budget))
            known = self._bounded = graph, ball.interval, (frozen(lower), frozen(upper))
        return known[2]

    def _smooth(self, proof: Proof, ball: Ball) -> BoxTree:
        """The tree of a case of a network with Sigmoids."""
        boxes, lowered = _boxes(proof), self.model.lowered
        if boxes is None:
            raise NotCertifiedError("certificates cover Sigmoid and Tanh inside smaller networks only")
        goal = _halfspaces(proof.goal, self.model.first_output)
        graph = lowered if proof.goal.direct is None else with_inputs(lowered)
        crown = SmoothBoxes(graph, ball, goal, self.budget)
        if [size for _, size in self.net.layers] != [*crown.sizes]:
            raise NotCertifiedError(OTHER_LAYERS)
        return BoxTree(crown, ball, goal, boxes.grid)

    def _charge(self, proof: Proof, ball: Ball, mixed: bool) -> Float32Charge | None:
        """What float32 evaluations are charged with in a case's box; None over the reals alone."""
        rounding, (graph, stages) = proof.rounding, self._graph(mixed)
        if rounding is None:
            return None
        if mixed not in self._charged or self._charged[mixed][0] is not rounding:
            made = charge_of(proof, self.net.scores, math.inf, graph, ball, stages, False, self.budget)
            outputs = np.zeros(graph.output_size)
            outputs[self.model.first_output :][: made.scores.size] = made.scores
            self._charged[mixed] = rounding, replace(made, scores=outputs)
        return replace(self._charged[mixed][1])


def _boxes(proof: Proof) -> BoxProof | None:
    """What evaluates boxes of a case; None where the checker does not."""
    try:
        found = proof.in_boxes()
        found.goal_rows(proof)
    except InvalidError:
        return None
    return found


def _halfspaces(goal: CheckedGoal, ahead: int) -> Halfspaces:
    """The goal in floats, over outputs, so many entries `ahead` of them, and, where it is mixed, inputs."""
    parts = [goal.matrix] if goal.direct is None else [goal.matrix, goal.direct]
    zeros = np.zeros((len(goal.offset), ahead))
    matrix = np.hstack([zeros, *((part / goal.den).astype(np.float64) for part in parts)])
    return Halfspaces(matrix, (goal.offset / goal.below).astype(np.float64))
