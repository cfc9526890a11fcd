"""Properties of nets with logic in them: answered by propagation, about both worlds, as their formulas are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.harness.mnist import shared
from benchmarks.vnncomp.instances import read_instances, stored, unpacked
from tests.verifier.solvers.formulas import REACHED, Formula
from verifier import Holds, Violated, check, load
from verifier.search import property_learning
from verifier.solvers.learning import PROPAGATION, LearningSettings

Saved = Callable[..., Any]


def drawn(seed: int) -> Formula:
    rng = np.random.default_rng(seed)
    return Formula.drawn(rng, 7, int(rng.integers(14, 40)), 2)


def test_formulas_are_answered_as_their_assignments_are(truth: Any, save_net: Saved) -> None:
    seen: Counter[tuple[bool, str]] = Counter()
    for seed in range(16):
        formula = drawn(seed)
        model = save_net(truth.of_layers(*formula.layers))
        answer = check(model, region=(np.zeros(7), np.ones(7)), property=REACHED, timeout=60.0)
        assert isinstance(answer.verdict, Violated if formula.models else Holds), seed
        if isinstance(answer.verdict, Holds):
            assert answer.float32 is True
        assert answer.search is not None
        seen[bool(formula.models), answer.search.engine] += 1
    assert seen[False, PROPAGATION] >= 3, seen


def test_what_propagation_gives_up_trees_decide(truth: Any, save_net: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one contradiction, in either world, the question goes on as it did before there was propagation."""
    made = property_learning.LearningSearch
    short = LearningSettings(conflicts=1, kernels=False)
    monkeypatch.setattr(property_learning, "LearningSearch", lambda *given, look: made(*given[:-1], short, look))
    engines = set()
    for seed in range(16):
        formula = drawn(seed)
        model = save_net(truth.of_layers(*formula.layers))
        answer = check(model, region=(np.zeros(7), np.ones(7)), property=REACHED, timeout=60.0)
        assert isinstance(answer.verdict, Violated if formula.models else Holds), seed
        engines.add(answer.search.engine if answer.search else "")
    assert engines - {PROPAGATION, "linear bounds"}


@pytest.mark.parametrize("name", ["sat_v10_c26", "unsat_v10_c26", "unsat_v16_c39", "sat_v56_c239"])
def test_formulas_of_the_competition_are_decided_as_their_names_say(name: str) -> None:
    folder = shared("vnncomp/sat_relu")
    if folder is None:
        pytest.skip("../shared/data/vnncomp is not there")
    (one,) = (one for one in read_instances(folder.parents[1], "sat_relu") if one.onnx == f"onnx/{name}.onnx")
    with unpacked(folder / one.onnx) as path:
        answer = check(load(path), property=stored(folder / one.vnnlib))
    assert isinstance(answer.verdict, Holds if name.startswith("unsat") else Violated)
