"""What reports say about brackets: true whatever the distances are within them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from scipy import stats

from tests.verifier.campaign.made_up import attack, judged, restart, result
from verifier.campaign.analysis.attack_quality import audits, intraclass, replays
from verifier.campaign.analysis.certified_accuracy import curves
from verifier.campaign.analysis.defence_comparison import comparisons
from verifier.campaign.analysis.relu_flips import switches
from verifier.campaign.analysis.table1 import summary
from verifier.campaign.plan.plan import Plan
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.store.records import Result
from verifier.campaign.store.snapshot import names_of

RNG = np.random.default_rng(0)


def brackets(inputs: int, targets: int) -> list[Result]:
    """Open and closed brackets, some without an example, some unreachable."""
    found = []
    for task in range(inputs):
        for target in range(targets):
            lower = float(RNG.choice([0.0, RNG.uniform(0, 1), RNG.uniform(0, 1)]))
            upper = float(RNG.choice([lower + 5e-4, lower + RNG.uniform(0, 0.5), math.inf]))
            found.append(result(lower, upper, task=f"t{task}", target=target + 1))
    return [*found, result(math.inf, math.inf, task="t0", target=targets + 1, status="unreachable")]


def test_at_least_n_inputs_fall_and_at_most_m_whatever_the_truth_is() -> None:
    known = brackets(12, 3)
    curve = curves(known, [])[0]
    assert (curve.inputs, curve.targets) == (12, (3, 4))
    lowest, highest = np.zeros(40), np.full(40, 12.0)
    for truth in range(60):
        place = {0: 0.0, 1: 1.0}.get(truth, RNG.uniform())
        distance: dict[str, float] = {}
        for one in known:
            high = one.upper if math.isfinite(one.upper) else one.lower + 1.0
            exact = one.lower if place == 0 else (one.upper if place == 1 else one.lower + place * (high - one.lower))
            distance[one.task] = min(exact if not math.isnan(exact) else math.inf, distance.get(one.task, math.inf))
        for spot, radius in enumerate(np.linspace(0, 1.5, 40)):
            fallen = sum(each <= radius for each in distance.values())
            n, m = curve.fallen(radius)
            assert n <= fallen <= m
            lowest[spot], highest[spot] = max(lowest[spot], fallen - m), min(highest[spot], fallen - n)
    assert np.all(lowest == 0)  # the truth at which every lower end is the distance reaches m everywhere
    assert np.all(highest == 0)  # and that of the upper ends n


def test_what_an_attack_claims_needs_it_on_every_target() -> None:
    known = [result(0.1, 0.1, task=f"t{task}", target=target) for task in range(2) for target in (1, 2)]
    every = [attack(one, 0.1 + place) for place, one in enumerate(known)]
    assert dict(curves(known, every)[0].attacks) == {"pgd": (0.1, 2.1)}
    assert not curves(known, every[:3])[0].attacks


def test_the_factor_of_a_defence_holds_whatever_the_truth_is() -> None:
    first = [
        result(low, low + 9e-4, input_sha256=f"x{k}", target=k % 3) for k, low in enumerate(RNG.uniform(0.01, 0.1, 30))
    ]
    second = [
        result(low, low + 9e-4, input_sha256=f"x{k}", target=k % 3, model_sha256="b", model=Path("b.onnx"))
        for k, low in enumerate(RNG.uniform(0.01, 0.3, 30))
    ]
    alone = result(0.5, 0.9, input_sha256="y", model_sha256="b", model=Path("b.onnx"))
    compared = comparisons([*second, *first, alone, result(0.1, 0.1, norm="l1")], "a")
    assert len(compared) == 1
    one = compared[0]
    assert (one.first.model, one.second.model, len(one.pairs)) == ("a", "b", 30)
    assert one.factor_least <= one.factor <= one.factor_most
    assert one.factor_most - one.factor_least < 0.1
    for _ in range(50):
        truth = RNG.uniform(size=(2, 30))
        a, b = (
            np.array([each.lower + share * (each.upper - each.lower) for each, share in zip(of, row, strict=True)])
            for of, row in zip((first, second), truth, strict=True)
        )
        assert one.factor_least <= b.mean() / a.mean() <= one.factor_most
        assert len(one.worse) <= np.sum(b < a) <= 30 - one.better
    assert one.worse_by is not None
    assert one.worst_by is not None
    assert 0 < one.worse_by <= one.worst_by < 1


def test_each_model_is_compared_with_the_baseline_alone() -> None:
    def of(model: str, inputs: str) -> list[Result]:  # questions that are closed
        return [result(0.1, 0.1, input_sha256=x, model_sha256=model, model=Path(f"{model}.onnx")) for x in inputs]

    results = [*of("c", "xy"), *of("a", "xy"), *of("d", "z"), *of("b", "yz"), *of("e", "z")]
    named = [(one.first.model, one.second.model) for one in comparisons(results)]
    assert named == [("c", "a"), ("c", "b"), ("d", "e")]  # the first with which it shares questions
    assert [(one.first.model, one.second.model) for one in comparisons(results, "a")] == [("a", "c"), ("a", "b")]


def test_table_1_has_closed_instances_and_all_of_them() -> None:
    known = [result(0.1, 0.1), result(0.2, 0.4, target=2), result(0.0, math.inf, target=3)]
    line = summary([*known, result(0.0, 0.0, target=4, status="already-adversarial")])[0]
    assert (line.closed, line.instances) == (2, 4)
    assert line.means is not None
    assert (line.means.counted, line.means.upper, line.means.initial, line.means.improvement) == (1, 0.1, 0.2, 0.5)
    assert line.all_means is not None
    assert (line.all_means.counted, line.all_means.upper, line.all_means.lower) == (2, 0.25, pytest.approx(0.15))


def test_an_audit_counts_what_it_says() -> None:
    known = [result(0.1, 0.1, target=target) for target in (1, 2, 3, 4)]
    open_one = result(0.1, 0.3, target=5)
    found = [attack(one, distance) for one, distance in zip(known, (0.1, 0.12, 0.2, math.inf), strict=True)]
    found += [
        attack(open_one, 0.3),
        restart(known[1], [0.1005, 0.1], [0.1, 0.3, None]),
        restart(known[3], [None, 0.1], [None, 0.1]),
    ]
    audit = audits([*known, open_one], found)[0]
    assert (len(audit.measured), len(audit.ratios), audit.at_minimum) == (4, 3, 1)
    assert audit.median == pytest.approx(1.2)
    assert (audit.quantile(0.9), audit.quantile(0.5)) == (pytest.approx(2.0), pytest.approx(1.2))
    assert [one.result.target for one in audit.worst] == [3, 2]
    again = audit.restarts
    assert (again.misses, again.tested, again.towards, again.any_random) == (3, 2, (1, 2), 2)
    assert (again.directions, again.directions_reached) == (5, 2)


def test_points_of_other_tools_are_counted_and_measured_as_attacks_are() -> None:
    known = [result(0.1, 0.1), result(0.1, 0.3, target=2), result(0.2, 0.2, target=3, norm="l1")]
    found = [
        judged(known[0], 0.15, 3, {"outside": 1}),
        judged(known[1], math.inf, 2, {"outside": 1, "label": 1}),
        judged(known[2], 0.2, 1, {}, "other"),
    ]
    (first, second), told = audits(known, found), replays(known, found)
    assert [(one.tool, one.given, one.replayed, one.refused) for one in told] == [
        ("tool", 5, 2, {"outside": 2, "label": 1}),
        ("other", 1, 1, {}),
    ]
    assert (first.attack, first.given, len(first.measured), first.median) == ("tool", True, 1, pytest.approx(1.5))
    assert (second.attack, second.at_minimum) == ("other", 1)
    assert first.restarts.tested == 0
    assert not audits(known, [attack(known[0], 0.15)])[0].given


def test_the_intraclass_correlation_is_pearsons_over_ordered_pairs() -> None:
    groups = [RNG.normal(loc=RNG.normal(), size=size).tolist() for size in (2, 5, 1, 3)]
    pairs = [(a, b) for group in groups for i, a in enumerate(group) for j, b in enumerate(group) if i != j]
    found = intraclass(groups)
    assert found is not None
    assert found[0] == pytest.approx(stats.pearsonr(*zip(*pairs, strict=True)).statistic)
    assert found[1] == len(pairs) // 2
    assert intraclass([[1.0, 1.0], [1.0]]) is None
    assert intraclass([[1.0], [2.0]]) is None


def test_switched_relus_are_those_of_onnx_runtime(plan: Callable[..., Plan], tmp_path: Path) -> None:
    """The digits net with the arguments of its ReLUs as outputs, run by ONNX Runtime."""
    task = tasks_of(plan((6,)))[0].task
    shown = onnx.load(task.model)
    arguments = [node.input[0] for node in shown.graph.node if node.op_type == "Relu"]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in arguments)
    onnx.save(shown, tmp_path / "shown.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "shown.onnx", providers=["CPUExecutionProvider"])
    point = RNG.uniform(size=64).astype(np.float32)
    before, after = (
        session.run(arguments, {session.get_inputs()[0].name: each.reshape(task.shape)}) for each in (task.point, point)
    )
    expected = [int(np.sum((a > 0) != (b > 0))) for a, b in zip(before, after, strict=True)]
    assert sum(expected) > 0
    one = result(0.1, 0.1, model=task.model, model_sha256=task.model_sha256, task=task.id)
    assert one.witness is not None
    object.__setattr__(one.witness, "point", point)
    counted = switches([one], {task.id: task})[0]
    assert list(counted.by_instance[one.id]) == expected
    assert counted.layers == tuple(a.size for a in before)
    gone = switches([result(0.1, 0.1, model=tmp_path / "none.onnx")], {})[0]
    assert "none.onnx" in gone.missing
    assert not gone.totals


def test_models_of_one_name_are_told_apart() -> None:
    assert names_of({"1": Path("/x/n.onnx"), "2": Path("/x/n.onnx")}) == {"1": "n.onnx (1)", "2": "n.onnx (2)"}
    assert names_of({"1": Path("/x/n.onnx.gz"), "2": Path("/x/m.onnx")}) == {"1": "n", "2": "m"}
