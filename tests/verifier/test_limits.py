"""Limits are kept however slow solvers, kernels and libraries are: on a clock that only their calls move.

Every call that may take long moves it by a fiftieth of the limit. So between two looks at the budget there may be two
of them, or else the limit is overrun by more than 5 %.
"""

from __future__ import annotations

import importlib
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import verifier
from verifier import models
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.solvers import process

LIMIT, STEP, SHARE = 1.0, 0.02, 0.05

SLOW = (
    "verifier.runtime.step_model:StepLoop.run",
    "verifier.attacks.base.search:Surrogate.logits",
    "verifier.attacks.base.search:Surrogate.vjp",
    "verifier.runtime.replay:Replay.logits",
    "verifier.runtime.real_margin:exact_outputs",
    "verifier.runtime.witness:region_of",
    "verifier.runtime.real_outputs:exact_outputs_of",
    "verifier.runtime.real_outputs:enclosed_outputs",
    "verifier.runtime.distance_judge:exact_outputs",
    "verifier.runtime.property_judge:region_of",
    "verifier.runtime.activation_region:_solve",
    "verifier.bounds.crown:LinearRelaxation.lower",
    "verifier.bounds.crown:LinearRelaxation.slope_gradient",
    "verifier.bounds.anchored:AnchoredBounds._pass",
    "verifier.bounds.kernels.block_bounds:BlockBounds._block",
    "verifier.bounds.smooth_crown:SmoothCrown._back",
    "verifier.bounds.lagrangian:Lagrangian.evaluate",
    "verifier.bounds.lagrangian:Lagrangian.on_lines",
    "verifier.solvers.tree.node_lp:NodeLp._run",
    "verifier.solvers.tree.dense_lp:DenseLp.solve",
    "verifier.solvers.tree.node:NumpyEvaluator.evaluate",
    "verifier.solvers.tree.compiled_node:CompiledEvaluator.evaluate",
    "verifier.solvers.tree.sparse_narrowing:SparseNarrowing.narrow_batch",
    "verifier.solvers.tree.compiled_node:CompiledEvaluator.plunge",
    "encoders.formulations.to_stages:_mapped",
    "verifier.certificates.checker:Proof.ends",
    "verifier.certificates.checker:Proof._sent",
    "verifier.certificates.checker:BoxProof._least",
    "verifier.certificates.checker:read_network",
    "verifier.certificates.checker:checked",
)
"""What may take long: solvers, kernels, ONNX Runtime, exact arithmetic, products of matrices."""


class NoAnswer(queue.SimpleQueue[Any]):
    """Where a solver's answer is waited for, which does not come."""

    clock: Any

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.clock.tick(timeout)
        raise queue.Empty


class NoChild:
    """A solver process that takes every call."""

    def __init__(self, _: Any) -> None: ...
    def send(self, _: Any) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def slow(clock: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Every call of SLOW takes STEP, and solver processes never answer; how often each has been called."""
    calls = dict.fromkeys(SLOW, 0)

    def slowed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            clock.tick(STEP)
            return function(*arguments, **options)

        return call

    for name in SLOW:
        module, _, path = name.partition(":")
        owner: Any = importlib.import_module(module)
        *owners, attribute = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        monkeypatch.setattr(owner, attribute, slowed(name, getattr(owner, attribute)))
    NoAnswer.clock = clock
    monkeypatch.setattr(process, "Child", NoChild)
    monkeypatch.setattr(process.queue, "SimpleQueue", NoAnswer)
    return calls


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, verifier.Model]:
    """The shipped net, whose tree is by LPs; one whose tree is by bounds; one with wide layers; one with Sigmoids."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("nets")
    found = {"digits": verifier.load(models.path("digits"))}
    sizes = {"conv": [(4, 1, 5, 5), (4, 4, 5, 5)], "dense": [(150, 196), (150, 150)], "smooth": [(40, 8), (40, 40)]}
    for name, layers in sizes.items():
        nodes, weights, last = [], [], "x"
        for number, shape in enumerate(layers):
            kind = "Conv" if len(shape) == 4 else "MatMul"
            scale = np.sqrt(2 / np.prod(shape[1:]))
            weight = (rng.normal(size=shape) * scale).astype(np.float32)
            weights.append(numpy_helper.from_array(weight if kind == "Conv" else weight.T, f"w{number}"))
            options = {"pads": [2, 2, 2, 2]} if kind == "Conv" else {}
            nodes.append(helper.make_node(kind, [last, f"w{number}"], [f"z{number}"], **options))
            curve = "Sigmoid" if name == "smooth" else "Relu"
            nodes.append(helper.make_node(curve, [f"z{number}"], [f"h{number}"]))
            last = f"h{number}"
        size = 4 * 14 * 14 if name == "conv" else layers[-1][0]
        head = (rng.normal(size=(size, 5)) / np.sqrt(size)).astype(np.float32)
        weights.append(numpy_helper.from_array(head, "head"))
        nodes += [helper.make_node("Flatten", [last], ["flat"]), helper.make_node("MatMul", ["flat", "head"], ["y"])]
        given = [1, 1, 14, 14] if name == "conv" else [1, layers[0][1]]
        ends = [helper.make_tensor_value_info(n, 1, shape) for n, shape in (("x", given), ("y", [1, 5]))]
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
        path = folder / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
        found[name] = verifier.load(path)
    return found


def beyond(model: verifier.Model) -> list[verifier.Halfspaces]:
    """Goals that no point of a small box reaches by far, and some that points may."""
    rows = np.eye(model.outputs)
    return [verifier.Halfspaces(rows[[0]] - rows[[k]], [offset]) for k in range(1, 4) for offset in (-1.0, -8.0)]


Ask = Callable[[verifier.Model, Any, Budget], Any]
ASKED: dict[str, Ask] = {
    f"{method} {norm}": lambda model, x, budget, method=method, norm=norm: verifier.minimal(  # type: ignore[misc]
        model, x, norm=norm, method=method, timeout=budget, device="cpu"
    )
    for method in ("tree", "auto", "milp", "milp-direct", "z3")
    for norm in ("linf", "l1")
}
ASKED |= {
    f"every target, {method}": lambda model, x, budget, method=method: (
        verifier.minimal_all_targets(  # type: ignore[misc]
            model, x, method=method, timeout=budget, device="cpu"
        ).overall
    )
    for method in ("tree", "milp")
}
ASKED |= {
    f"check by {method}": lambda model, x, budget, method=method: verifier.check(  # type: ignore[misc]
        model, x, 0.02, method=method, timeout=budget, device="cpu"
    )
    for method in ("tree", "milp", "z3")
}
ASKED |= {
    f"attack by {name}": lambda model, x, budget, name=name: verifier.attack(  # type: ignore[misc]
        model, x, attack=name, timeout=budget, device="cpu"
    )
    for name in ("cw", "pgd", "lbfgs", "deepfool", "autoattack", "transfer")
}
ASKED |= {
    f"property by {method}": lambda model, x, budget, method=method: verifier.check(  # type: ignore[misc]
        model, region=(x - 0.05, x + 0.05), property=beyond(model), method=method, timeout=budget
    )
    for method in ("tree", "auto", "milp", "z3")
}
ASKED |= {
    f"nearest of a property, {norm}": lambda model, x, budget, norm=norm: verifier.minimal(  # type: ignore[misc]
        model, x, property=beyond(model), box=(x - 0.05, x + 0.05), norm=norm, timeout=budget, device="cpu"
    )
    for norm in ("linf", "l1")
}
ASKED["ranges"] = lambda model, x, budget: verifier.output_ranges(
    model, (x - 0.05, x + 0.05), precision=1e-3, timeout=budget
)
ASKED["certificate"] = lambda model, x, budget: verifier.certificate(model, x, 0.01, timeout=budget)
ASKED["certificate in l1"] = lambda model, x, budget: verifier.certificate(model, x, 0.01, norm="l1", timeout=budget)
ASKED["certificate of a property"] = lambda model, x, budget: verifier.property_certificate(
    model, region=(x - 0.05, x + 0.05), property=beyond(model), timeout=budget
)


LARGER = (
    "tree linf",
    "tree l1",
    "milp linf",
    "every target, tree",
    "check by tree",
    "property by tree",
    "nearest of a property, linf",
    "ranges",
    "certificate",
    "certificate in l1",
    "certificate of a property",
)
CASES = [("digits", asked) for asked in ASKED] + [(name, asked) for name in ("conv", "dense") for asked in LARGER]
CASES.append(("smooth", "property by tree"))


@pytest.mark.parametrize(("name", "asked"), CASES)
def test_a_limit_is_kept_however_slow_every_call_is(
    name: str, asked: str, nets: dict[str, verifier.Model], slow: dict[str, int], clock: Any
) -> None:
    model = nets[name]
    x = np.random.default_rng(1).random(model.lowered.input_size).astype(np.float32)
    start = clock.now
    try:
        found = ASKED[asked](model, x, Budget(LIMIT))
    except (OutOfTimeError, NotCertifiedError):
        found = None
    assert clock.now - start <= (1 + SHARE) * LIMIT
    assert sum(slow.values()) > 0
    if isinstance(found, verifier.Check):
        assert found.seconds <= (1 + SHARE) * LIMIT
