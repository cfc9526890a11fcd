"""Steps of α, β and λ as an ONNX model: those of numpy, values of the safe evaluation, trees that answer the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import pytest

from encoders.formulations.to_stages import to_stages
from encoders.network.graph import Array, GraphBuilder
from encoders.network.linear_maps import identity
from encoders.network.norm import Norm
from encoders.onnx_io.builder import BATCH as ANY
from verifier.bounds.row_weights import onto_simplex
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Halfspaces
from verifier.problem.verdict import Holds
from verifier.runtime.device import Device, cuda_missing
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.tree import onnx_steps
from verifier.solvers.tree.onnx_steps import OnnxSteps, step_model

from ...bounds.conftest import BATCH, SHAPES, Below

SINGLE = 2e-4
"""What float32 values may be off by on these nets, relative to 1 + their size."""

NEVER = 1e3
"""A margin that no value exceeds: numpy leaves closed nodes out of a batch, the model carries them along."""


class Root(Below):
    """Its nodes, bounded by the model too, which is built once."""

    @cached_property
    def by_onnx(self) -> OnnxSteps:
        return OnnxSteps(self.bound, self.graph, self.stages, self.goal, Device.CPU)


@pytest.fixture(
    scope="module",
    params=[(net, norm, rows) for net in SHAPES for norm in Norm for rows in (1, 3)],
    ids=lambda given: "-".join(map(str, given)),
)
def root(request: pytest.FixtureRequest) -> Root:
    net, norm, rows = request.param
    made = Root(net, norm, rows=rows)
    made.bound.margin = NEVER
    return made


def same(found: Array, wanted: Array) -> bool:
    return bool(np.all(np.abs(found - wanted) <= SINGLE * (1.0 + np.abs(wanted))))


def test_first_steps_are_those_of_numpy(root: Root) -> None:
    for steps in (0, 1, 2):
        wanted, found = root.by([root.bound, root.by_onnx], steps)
        assert same(found.values + NEVER, wanted.values + NEVER)
        assert same(found.best.weights, wanted.best.weights)
        assert same(found.best.shares, wanted.best.shares)
        if steps < 2:  # beyond, what rounds to either side of a kink differs
            assert same(found.best.alpha, wanted.best.alpha)
            assert same(found.best.beta, wanted.best.beta)


def test_values_are_those_of_the_safe_evaluation(root: Root) -> None:
    lower, upper, _ = root.nodes()
    (found,) = root.by([root.by_onnx], 15)
    alpha, beta = root.bound.spread(found.best)
    assert np.all((alpha >= 0) & (alpha <= 1))
    duals = root.lagrangian.on_lines(found.best.weights.astype(np.float64), alpha, beta, lower, upper)
    for value, point, dual in zip(found.values + NEVER, found.points.T, duals, strict=True):
        assert same(value, dual.value(root.ball.radius))
        assert same(dual.row @ (root.ball.centre - point), root.ball.geometry.fall(dual.row, root.ball.radius))


@pytest.mark.parametrize("norm", list(Norm), ids=str)
def test_as_much_is_gained(norm: Norm) -> None:
    """Up to 0, where nodes close: in one that holds nothing there is no end to it."""
    gains = []
    for net in SHAPES:
        for seed in range(2):
            made = Root(net, norm, seed)
            engines = [made.bound, made.by_onnx]
            before = np.minimum(made.by(engines[:1], 0, seed)[0].values, 0.0)
            gains.append([(np.minimum(found.values, 0.0) - before).sum() for found in made.by(engines, 20, seed)])
    by_numpy, by_onnx = np.sum(gains, axis=0)
    assert by_numpy > 0
    assert abs(by_onnx - by_numpy) <= 0.1 * by_numpy


def test_shapes_are_those_that_are_told(root: Root) -> None:
    """As far as ONNX's own inference knows them; it contradicts none."""
    step = step_model(root.graph, root.stages, root.goal, root.ball.norm)
    inferred = onnx.shape_inference.infer_shapes(step.model.proto, check_type=True, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    widths = {"theta_next": root.stages.relu_count, "best_points_next": root.stages.input_size, "best_next": 1}
    for output in inferred.graph.output:
        dims = output.type.tensor_type.shape.dim
        if output.name in widths:
            assert (dims[0].dim_param, dims[1].dim_value) == (ANY, widths.pop(output.name))
    assert not widths


def test_a_tree_takes_its_steps_below_the_root_by_it(
    make_root: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it answers is tested beside all other settings of trees."""
    taken = []
    run = onnx_steps.StepLoop.run
    monkeypatch.setattr(onnx_steps.StepLoop, "run", lambda loop, steps: (taken.append(loop), run(loop, steps)))
    root = make_root(2, (3, 9, 8, 3), Norm.LINF)
    within = root.within(0.99 * root.nearest)
    for device in (None, Device.CPU):
        assert not taken
        decider = BranchAndBound(engine="bound").having("bound", device=device)
        assert isinstance(decider.decide(within.query, within.bounds, Budget()), Holds)
    assert taken


def test_budgets_end_steps() -> None:
    made = Root("dense", Norm.LINF)
    (lower, upper, start), own = made.nodes(), made.bound.undecided
    with pytest.raises(OutOfTimeError):
        made.by_onnx.optimise(lower[own], upper[own], start, 5, Budget(0.0))


@pytest.mark.skipif(cuda_missing() is not None, reason="no CUDA here")
@pytest.mark.parametrize("net", SHAPES)
def test_first_steps_on_a_gpu_are_those_of_numpy(net: str) -> None:
    made = Root(net, Norm.LINF)
    made.bound.margin = NEVER
    on_gpu = OnnxSteps(made.bound, made.graph, made.stages, made.goal, Device.CUDA)
    wanted, found = made.by([made.bound, on_gpu], 2)
    assert same(found.values + NEVER, wanted.values + NEVER)


def test_two_relus_of_one_argument_are_refused() -> None:
    builder = GraphBuilder(2)
    source = builder.affine([(identity(2), 0)])
    twice = builder.affine([(identity(2), builder.relu(source)), (identity(2), builder.relu(source))])
    graph = builder.graph(twice)
    goal = Halfspaces(np.eye(2), np.zeros(2))
    with pytest.raises(TypeError, match="two ReLUs of one argument"):
        step_model(graph, to_stages(graph), goal, Norm.LINF)


def test_weights_come_to_the_simplex(root: Root) -> None:
    (found,) = root.by([root.by_onnx], 10)
    assert np.all(found.best.weights >= 0)
    assert same(found.best.weights.sum(axis=0), np.ones(BATCH))
    assert same(onto_simplex(found.best.weights), found.best.weights)
