"""Adversarial under every transformation: all methods against enumeration of the copies, witnesses on their own."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import verifier
from encoders.network.graph import outputs
from encoders.network.linear_maps import sparse
from encoders.passes.from_transforms import Transforms
from tests.traps.answers import driven_by
from verifier import models
from verifier.cli.main import main
from verifier.problem.norms.table import FLAT_NORMS
from verifier.problem.query import Halfspaces, Norm, Targeted, disjuncts
from verifier.problem.verdict import Status, Witness
from verifier.runtime.model import Model

SIZES = (2, 4, 3)
PRECISION = 1e-3
NEAR = 1e-6
"""What linprog's minima and a MILP's points may be off by."""

MATRICES = (np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.5, 0.25], [-0.25, 0.75]]))
"""Dyadic numbers: products with weights in eighths are exact, so that the stacked net below has no rounding."""

SEEDS = (1, 2, 5)
METHODS = ("tree", "milp-highs", "milp-direct", "z3")


def given(matrices: Any, names: tuple[str, ...] | None = None) -> Transforms:
    maps = tuple(sparse(matrix) for matrix in matrices)
    return Transforms(Path("views.toml"), "", names or tuple(map(str, range(len(maps)))), maps)


def stacked(truth: Any, net: Any, matrices: Any) -> Any:
    """The copies as one plain network, written down by hand."""
    (first, bias), *rest = net.layers
    layers = [(np.vstack([first @ matrix for matrix in matrices]), np.tile(bias, len(matrices)))]
    layers += [(np.kron(np.eye(len(matrices)), weight), np.tile(bias, len(matrices))) for weight, bias in rest]
    return truth.of_layers(*layers)


def conjunction(targets: tuple[int, ...], classes: int) -> Halfspaces:
    """Copy k reaches targets[k]."""
    blocks = [disjuncts(Targeted(target), classes)[0][1].matrix for target in targets]
    rows = [
        np.hstack([block if k == place else np.zeros_like(block) for k in range(len(blocks))])
        for place, block in enumerate(blocks)
    ]
    return Halfspaces(np.vstack(rows), np.zeros(sum(len(block) for block in blocks)))


@functools.cache
def drawn(truth: Any, seed: int) -> tuple[Any, Any]:
    """A net whose classes are about even in the middle of the box, and its copies."""
    net = truth.net(seed, SIZES)
    last, bias = net.layers[-1]
    even = bias - np.round(outputs(net.graph, np.full((1, 2), 0.5))[0] * 8) / 8
    net = truth.of_layers(*net.layers[:-1], (last, even))
    return net, stacked(truth, net, MATRICES)


def question(truth: Any, save_net: Callable[[Any], Model], seed: int) -> tuple[Any, Model, Any, int]:
    """A net, its file, an input, its class."""
    net, _ = drawn(truth, seed)
    model = save_net(net)
    centre = centre_of(seed)
    return net, model, centre, model.predict(centre)


def centre_of(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 9, SIZES[0]) / 8


@functools.cache
def enumerated(truth: Any, seed: int, norm: Norm, label: int, target: int | None) -> float:
    """The minimum by enumeration: of the copies' regions, and of the classes that the copies may go to."""
    _, several = drawn(truth, seed)
    others = [other for other in range(SIZES[-1]) if other != label]
    choices = itertools.product(others, repeat=len(MATRICES)) if target is None else [(target,) * len(MATRICES)]
    return min(several.nearest(norm, centre_of(seed), conjunction(choice, SIZES[-1])) for choice in choices)


def replayed(model: Model, matrices: Any, witness: Witness) -> list[int]:
    """The classes that ONNX Runtime predicts, without any code of the engine."""
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    views = [(matrix @ witness.point.astype(np.float64)).astype(np.float32) for matrix in matrices]
    shape = [axis if isinstance(axis, int) else 1 for axis in entry.shape]
    return [int(session.run(None, {entry.name: view.reshape(shape)})[0].argmax()) for view in views]


def test_the_questions_are_of_every_kind(truth: Any, save_net: Any) -> None:
    """Some minima are 0, some are not, and some targets cannot be reached."""
    found = []
    for seed in SEEDS:
        _, _, _, label = question(truth, save_net, seed)
        found += [enumerated(truth, seed, Norm.LINF, label, target) for target in (None, (label + 1) % 3)]
    assert any(math.isinf(value) for value in found)
    assert sum(0.01 < value < 1 for value in found) >= 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_the_minimum_is_the_enumerated_one(truth: Any, save_net: Any, norm: Norm, method: str) -> None:
    """Without an attack: methods find every point themselves."""
    for seed, aimed in itertools.product(SEEDS, (False, True)):
        _, model, centre, label = question(truth, save_net, seed)
        target = (label + 1) % 3 if aimed else None
        least = enumerated(truth, seed, norm, label, target)
        with driven_by(method) as options:
            found = verifier.minimal(model, centre, norm=norm, target=target, transforms=given(MATRICES), **options)
        assert found.lower <= least + NEAR, (seed, aimed)
        if math.isinf(least):
            assert found.status is Status.UNREACHABLE, (seed, aimed)
            continue
        assert found.upper >= least - NEAR
        assert found.witness is not None, (seed, aimed, found.reason)
        assert found.upper - found.lower <= PRECISION, (seed, aimed, found.reason)
        classes = replayed(model, MATRICES, found.witness)
        assert list(found.witness.classes) == classes
        assert label not in classes if target is None else set(classes) == {target}
        assert found.target == target
        if found.float32 is not None:
            assert found.float32 <= found.lower


@pytest.mark.parametrize("norm", FLAT_NORMS)
def test_sampling_finds_nothing_below_the_lower_end(truth: Any, save_net: Any, norm: Norm) -> None:
    """Brute force, and `check` on both sides of the minimum."""
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        net, model, centre, label = question(truth, save_net, seed)
        found = verifier.minimal(model, centre, norm=norm, transforms=given(MATRICES))
        points = rng.random((4000, 2))
        away = np.ones(len(points), dtype=bool)
        for matrix in MATRICES:
            values = points @ matrix.T
            for place, (weight, bias) in enumerate(net.layers):
                values = (np.maximum(values, 0.0) if place else values) @ weight.T + bias
            away &= np.delete(values, label, axis=1).max(axis=1) >= values[:, label]
        lengths = np.linalg.norm(points - centre, 1 if norm is Norm.L1 else np.inf, axis=1)
        assert not np.any(away & (lengths < found.lower - NEAR)), seed
        if found.upper <= PRECISION or not math.isfinite(found.upper):
            continue
        inside = verifier.check(model, centre, found.lower * 0.99, norm=norm, transforms=given(MATRICES))
        outside = verifier.check(model, centre, found.upper * 1.01, norm=norm, transforms=given(MATRICES))
        assert type(inside.verdict).__name__ == "Holds"
        assert type(outside.verdict).__name__ == "Violated"
        assert outside.witness is not None
        assert label not in replayed(model, MATRICES, outside.witness)


def test_the_identity_alone_asks_the_plain_question() -> None:
    model = verifier.load(models.path("digits"))
    x = digits()[3]
    plain = verifier.minimal(model, x, target=7)
    under = verifier.minimal(model, x, target=7, transforms=given([np.eye(64)]))
    assert abs(plain.upper - under.upper) <= 2 * PRECISION
    assert max(plain.lower, under.lower) <= min(plain.upper, under.upper)


def test_all_targets_share_their_class_over_the_copies(truth: Any, save_net: Any) -> None:
    _, model, centre, label = question(truth, save_net, 2)
    answer = verifier.minimal_all_targets(model, centre, transforms=given(MATRICES))
    for bracket in answer.results:
        least = enumerated(truth, 2, Norm.LINF, label, bracket.target)
        assert bracket.lower <= least + NEAR
        assert bracket.upper >= least - NEAR
    alone = verifier.minimal(model, centre, transforms=given(MATRICES))
    assert alone.lower <= answer.overall.upper + NEAR


def digits() -> np.ndarray:
    with np.load(models.path("digits").with_name("digits_inputs.npz")) as archive:
        return np.array(archive["x"])


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "cw"])
def test_attacks_hold_under_all(attack: str, tmp_path: Path) -> None:
    model = verifier.load(models.path("digits"))
    (tmp_path / "views.toml").write_text(FILE, encoding="utf-8")
    transforms = verifier.load_transforms(model, tmp_path / "views.toml")
    found = verifier.attack(model, digits()[5], attack=attack, transforms=transforms)
    assert found.witness is not None
    matrices = [linear.rows().toarray() for linear in transforms.maps]
    classes = replayed(model, matrices, found.witness)
    assert 2 not in classes
    assert tuple(classes) == found.witness.classes
    assert 0 < found.upper < 0.2


FILE = "[[transform]]\nidentity = true\n[[transform]]\nrotate = 15\nscale = 0.9\n"


def command(tmp_path: Path, *arguments: str, text: str = FILE) -> list[str]:
    file = tmp_path / "views.toml"
    file.write_text(text, encoding="utf-8")
    inputs = models.path("digits").with_name("digits_inputs.npz")
    first, *rest = arguments
    return [first, str(models.path("digits")), str(inputs), "--index", "5", "--transforms", str(file), *rest]


def test_the_command_line_says_what_each_view_is(tmp_path: Path, capsys: Any) -> None:
    assert main(command(tmp_path, "minimal", "--json", "--out", str(tmp_path / "out"))) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["transforms"]["names"] == ["identity", "rotate 15, scale 0.9"]
    assert len(result["transforms"]["predicted"]) == 2
    assert result["transforms"]["predicted"][0] == result["label"] == 2
    assert result["target"] is None
    assert result["witness"]["target"] is None
    assert 2 not in result["witness"]["classes"]
    assert result["upper"] - result["lower"] <= PRECISION
    assert (tmp_path / "out" / "picture.png").stat().st_size > 0
    assert main(command(tmp_path, "check", "--radius", "0.05")) == 0
    shown = capsys.readouterr().out
    assert "under all of 2 transformations" in shown
    assert "rotate 15, scale 0.9: " in shown


def test_a_certificate_is_refused(tmp_path: Path, capsys: Any) -> None:
    proof = tmp_path / "proof"
    for arguments in (["minimal"], ["check", "--radius", "0.05"]):
        assert main(command(tmp_path, *arguments, "--certificate", str(proof))) == 2
        captured = capsys.readouterr()
        assert "--certificate does not go with --transforms" in captured.err
        assert captured.out == ""
    assert not proof.exists()


def test_a_wrong_file_is_one_line(tmp_path: Path, capsys: Any) -> None:
    assert main(command(tmp_path, "minimal", text="[[transform]]\nturn = 3")) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_time_limit_holds(tmp_path: Path, capsys: Any) -> None:
    three = FILE + "[[transform]]\ntranslate = [1, 0]\n"
    assert main(command(tmp_path, "minimal", "--timeout", "1", "--norm", "l1", "--json", text=three)) in (0, 3)
    result = json.loads(capsys.readouterr().out)
    assert result["upper"] is None or result["lower"] <= result["upper"]
