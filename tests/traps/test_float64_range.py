"""float64 files whose products underflow: x · Π w is about x, but floats that multiply the w first see 0."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import verifier
from verifier.bounds.alpha_crown import goal_upper, linear_bounds
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Ball, Norm, Query, Targeted, disjuncts
from verifier.problem.verdict import Holds, Violated
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.milp import Milp
from verifier.solvers.smt import Smt

CHAINS = (
    ((1e-200, 1e-200, 1e200, 1e200), (0, 0, 0, 0)),
    ((1e200, 1e100, 1e-200, 1e-100), (0, 0, 0, 0)),
    ((1e-150, 1e-150, 1e150, 1e150), (1, 1, 1, 1)),
    ((1e150, 1e150, 1e-150, 1e-150), (1, 1, 1, 1)),
    ((1e160, 1e145, 1e-165, 1e-165, 1e25), (0, 0, 0, 0, 0)),
    ((1e160, 1e145, 1e-165, 1e-165, 1e25), (1, 1, 1, 1, 1)),
    ((1e300, 1e-155, 1e-170, 1e25), (1, 0, 0, 0)),
    ((1e300, 1e-155, 1e-170, 1e25), (1, 1, 1, 0)),
    ((2.0**-149,) * 8 + (2.0**127,) * 9 + (2.0**49,), (0,) * 18),
)
"""(weights, whether a ReLU follows each)."""

DECIDERS: list[Any] = [
    BranchAndBound(),
    BranchAndBound().having("lp", kernels=False),
    Milp("highs"),
    Milp("highs", tighten=False),
    Smt(),
]


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., verifier.Model]:
    """The model z0 = x · Π w − 3/4, z1 = 0 in float64."""
    folder = tmp_path_factory.mktemp("chains")

    def make(weights: tuple[float, ...], relus: tuple[int, ...]) -> verifier.Model:
        nodes, last = [], "x"
        constants = {f"w{place}": [[weight]] for place, weight in enumerate(weights)}
        for place, relu in enumerate(relus):
            nodes.append(helper.make_node("MatMul", [last, f"w{place}"], [f"m{place}"]))
            last = f"m{place}"
            if relu:
                nodes.append(helper.make_node("Relu", [last], [f"h{place}"]))
                last = f"h{place}"
        constants |= {"last": [[1.0, 0.0]], "bias": [-0.75, 0.0]}
        nodes += [helper.make_node("MatMul", [last, "last"], ["z"]), helper.make_node("Add", ["z", "bias"], ["y"])]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, size]) for name, size in (("x", 1), ("y", 2))
        ]
        stored = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], stored)
        path = Path(folder / "chain.onnx")
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        return verifier.load(path)

    return make


@pytest.mark.parametrize("norm", FLAT_NORMS)
@pytest.mark.parametrize(("weights", "relus"), CHAINS, ids=str)
def test_underflow_proves_nothing(
    chained: Callable[..., verifier.Model], weights: tuple[float, ...], relus: tuple[int, ...], norm: Norm
) -> None:
    """From 1/2 the goal x ≥ 3/4 is within 0.3, and not within 0.2."""
    graph = chained(weights, relus).graph
    goal = disjuncts(Targeted(0), 2)[0][1]
    for radius in (0.3, 0.2):
        ball = Ball(norm, np.array([0.5]), radius, np.zeros(1), np.ones(1))
        bounds = linear_bounds(graph, ball, Budget())
        verdicts = [decider.decide(Query(graph, ball, goal), bounds, Budget()) for decider in DECIDERS]
        if radius > 0.25:
            assert goal_upper(graph, ball, bounds, goal, Budget()) >= 0.0
            assert not any(isinstance(verdict, Holds) for verdict in verdicts)
            assert isinstance(verdicts[-1], Violated)
        else:
            assert isinstance(verdicts[-1], Holds)


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize(("weights", "relus"), CHAINS, ids=str)
def test_certificates_are_refused_or_right(
    chained: Callable[..., verifier.Model], weights: tuple[float, ...], relus: tuple[int, ...], norm: str
) -> None:
    model, x = chained(weights, relus), np.array([0.5])
    with pytest.raises(NotCertifiedError):
        verifier.certificate(model, x, 0.3, target=0, norm=norm)
    try:
        said = str(verifier.certificate(model, x, 0.2, target=0, norm=norm).result)
    except NotCertifiedError as error:
        said = str(error)
    assert any(
        words in said
        for words in ("underflow", "checker", "too large for a certificate", "do not close", "closer than 0.2")
    )


def test_a_witness_needs_no_products_in_floats(chained: Callable[..., verifier.Model]) -> None:
    found = verifier.certificate(chained(*CHAINS[0]), np.array([0.5]), 0.0, np.array([0.875]), target=0)
    assert found.result.distance == Fraction(3, 8)
