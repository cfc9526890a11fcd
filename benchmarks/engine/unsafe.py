"""The engine without safe arithmetic, to measure what that costs: a tree that takes its solver's word.

Its kernels are the product's own, read from their source and rebuilt with two changes: sums are not charged for
rounding, and a node whose LP says that it is closed is closed, without an evaluation of the LP's multipliers. Witnesses
are evaluated in floats. Everything else is the same code, and remains so when that changes. Nothing it says is proved.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any
from unittest.mock import patch

from numba import njit

from encoders.network.graph import Array, Graph, outputs
from verifier.bounds.kernels import lagrangian, stage_crown
from verifier.bounds.kernels.jit import REORDERED
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import node as node_kernel
from verifier.solvers.kernels import plunge
from verifier.solvers.kernels.simplex import EXCLUDED
from verifier.solvers.tree.compiled_node import CompiledEvaluator
from verifier.solvers.tree.lp_tree import LpTree
from verifier.solvers.tree.node import NodeEvaluator
from verifier.solvers.tree.table import TREES

CHARGED = ("size", "real_size")
"""The variables in which the product's kernels gather what rounding is charged."""

TRUST = "if state == EXCLUDED: return CLOSED, 0.0, nothing, -1"
"""What is put behind the LP of a node."""


class NoCharge(ast.NodeTransformer):
    """Leaves out the statements that add to the charge; `dropped` counts them."""

    def __init__(self) -> None:
        self.dropped = 0

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.target, ast.Name) and node.target.id in CHARGED:
            self.dropped += 1
            return ast.copy_location(ast.Pass(), node)
        return node


class Trusting(ast.NodeTransformer):
    """Closes a node right after its LP; `dropped` counts the places."""

    def __init__(self) -> None:
        self.dropped = 0

    def visit_If(self, node: ast.If) -> Any:
        if ast.unparse(node.test) != "state == STOPPED":
            return self.generic_visit(node)
        self.dropped += 1
        return [node, *ast.parse(TRUST).body]


def rebuilt(kernel: Any, change: NoCharge | Trusting | None, names: dict[str, Any]) -> Any:
    """A kernel of the product, changed; `names` replace what it calls. Raises ValueError when nothing changes.

    change: None for a kernel that only calls what is changed.
    """
    function = kernel.py_func
    tree = ast.parse(inspect.getsource(function))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    if change is not None:
        tree = ast.fix_missing_locations(change.visit(tree))
        if not change.dropped:
            raise ValueError(f"{function.__name__} has none of the statements that are to be changed")
    space = {**function.__globals__, **names}
    exec(compile(tree, f"<unsafe {function.__name__}>", "exec"), space)
    return njit(nogil=True, fastmath=REORDERED, error_model="numpy")(space[function.__name__])


@cache
def kernel() -> Any:
    """`evaluate_node` that trusts; compiled at its first call."""
    names = {
        "evaluate": rebuilt(lagrangian.evaluate, NoCharge(), {}),
        "tighten_stages": rebuilt(stage_crown.tighten_stages, NoCharge(), {}),
    }
    names |= {"narrow": rebuilt(node_kernel.narrow, None, names), "EXCLUDED": EXCLUDED}
    return rebuilt(node_kernel.evaluate_node, Trusting(), names)


@cache
def plunging() -> Any:
    """`plunge` by that kernel."""
    return rebuilt(plunge.plunge, None, {"evaluate_node": kernel()})


class UnsafeEvaluator(CompiledEvaluator):
    """Evaluates with the kernel that trusts."""

    def _node_kernel(self, *arguments: Any) -> Any:
        return kernel()(*arguments)

    def _plunge_kernel(self, *arguments: Any) -> Any:
        return plunging()(*arguments)


class UnsafeTree(LpTree):
    """An LP tree whose nodes the trusting kernel evaluates."""

    def _by_kernel(self) -> NodeEvaluator:
        return UnsafeEvaluator(self.root, self._lagrangian, self.settings, self._by_numpy)


TRUSTS = BranchAndBound("lp", tuple(replace(kind, make=UnsafeTree) for kind in TREES if kind.name == "lp"))
"""Makes unsafe LP trees, whatever the root."""


def in_floats(graph: Graph, x: Array) -> list[Fraction]:
    """`exact_outputs` in float64."""
    return [Fraction(float(value)) for value in outputs(graph, x)[0]]


@contextmanager
def float_witnesses() -> Iterator[None]:
    """The time in which witnesses are evaluated in floats."""
    replacement: Callable[..., Any] = in_floats
    with patch("verifier.runtime.witness.exact_outputs", replacement):
        yield
