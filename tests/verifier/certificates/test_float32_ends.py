"""Certified float32 ends: what the checker charges covers ONNX Runtime and any order of summation, no replay crosses
them, and whatever claims more than the charged tree proves is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import verifier
from encoders.onnx_io.weights import OnnxModel
from tests.traps.table import TRAPS
from tests.verifier.certificates import nets
from tests.verifier.certificates.conftest import Case
from tests.verifier.certificates.parts import know_all, taken_apart
from tests.verifier.certificates.test_mutations import packed
from tests.verifier.replays import all_sessions, inside
from tests.verifier.search import test_float32_fused as fused
from tests.verifier.search import test_float32_lower as rows
from tests.verifier.search.test_float32 import any_order
from verifier.certificates import builder, checker
from verifier.certificates.file import claimed_ends
from verifier.certificates.split_tree import NotCertifiedError
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.query import Ball, Norm, distance_exact

POINTS = 300
CENTRE = rows.CHANNELS * rows.SIDE**2
UNIT = 2.0**-checker.ERROR_BITS


def proof_of(path: Path, ball: Ball) -> checker.Proof:
    """The charged proof over a ball, with bounds of all layers."""
    net = checker.read_network(path.read_bytes())
    query = checker.CheckedQuery(ball.norm.value, 0, 1, 0.0, ball.centre, ball.lo, ball.hi)
    proof = checker.Proof(net, query, ball.radius, 24, ball.radius)
    with np.errstate(all="ignore"):
        know_all(proof)
    return proof


def unit_ball(norm: str, centre: Any, radius: float) -> Ball:
    """In the box [0, 1]."""
    return Ball(Norm(norm), centre.astype(np.float64), radius, np.zeros(centre.size), np.ones(centre.size))


def charged_ends(proof: checker.Proof) -> list[np.ndarray]:
    """Charged lower and upper bounds of the scores."""
    size, found = proof.net.size(proof.net.output), []
    for sign in (1, -1):
        rows_ = np.array(sign * np.eye(size, dtype=int), dtype=object)
        value, den = proof.value(proof.net.output, rows_, 1, proof._by_lines)
        found.append(np.array([sign * math.inf if den == 0 else sign * (int(v) / den) for v in value]))
    return found


@pytest.mark.parametrize("name", fused.NETS)
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_no_replay_crosses_a_certified_end(name: str, norm: str, tmp_path: Path) -> None:
    """What ONNX Runtime fuses, at every level; next to the witness, where the margin is least."""
    model = verifier.load(fused.saved(name, tmp_path))
    x = np.random.default_rng(1).random((1, fused.SIDE, fused.SIDE)).astype(np.float32)
    bracket = verifier.minimal(model, x, norm=norm, precision=fused.PRECISION)
    assert bracket.float32 is not None
    assert bracket.witness is not None
    made = verifier.certificate(model, x, bracket.lower, norm=norm, float32=bracket.float32)
    assert 0.999 * bracket.float32 <= made.result.float32 <= bracket.float32 <= made.result.lower == bracket.lower
    ball = unit_ball(norm, x.reshape(-1), made.result.float32)
    points = inside(ball, bracket.witness.point.astype(float), 3, POINTS).reshape(-1, 1, fused.SIDE, fused.SIDE)
    label = model.predict(x)
    for session in all_sessions(model.path):
        logits = session.run(None, {"x": points})[0]
        assert np.all(logits[:, label] > np.delete(logits, label, axis=1).max(axis=1))


def test_small_nets_at_the_certified_radius_in_any_order(cases: list[Case]) -> None:
    """Corners, sides and insides of the ball; each row of each layer summed in an order of its own."""
    tried = 0
    for case in cases:
        net, ball = case.net, case.asked.ball
        if not math.isfinite(case.truth):
            continue
        radius = 0.9999 * case.truth
        found = case.certified(radius, None, float32=radius).result.float32
        assert 0.99 * radius < found <= radius
        rng = np.random.default_rng(tried)
        for _ in range(12):
            step = rng.choice([-1.0, 0.0, 1.0, rng.uniform(-1, 1)], ball.centre.size)
            step *= found / (max(np.abs(step).sum(), 1.0) if ball.norm is Norm.L1 else 1.0)
            x = np.float32(np.clip(ball.centre + step, ball.lo, ball.hi))
            if distance_exact(ball.norm, x, ball.centre) > found:
                continue
            h = x
            for place, (weight, bias) in enumerate(net.layers):
                h = any_order(rng, np.float32(weight), np.float32(bias), h)
                h = h if place + 1 == len(net.layers) else np.maximum(h, np.float32(0))
            assert not any(np.all(goal.matrix @ h.astype(float) + goal.offset >= 0) for _, goal in case.asked.goals)
            tried += 1
    assert tried > 60


def test_rows_of_fused_operators_stay_within_what_is_charged(tmp_path: Path) -> None:
    """Constants from 1e-30 to 1e30, multiplied beforehand or not."""
    compared = 0
    for seed in range(60):
        path, rng = rows.saved(seed, tmp_path), np.random.default_rng(seed)
        ball = unit_ball("linf", rng.random(CENTRE).astype(np.float32), 0.01)
        try:
            ends = charged_ends(proof_of(path, ball))
        except (checker.InvalidError, OverflowError):
            continue
        low, high = ball.with_radius(0.0099).interval
        found = rows.runs(path, (low + rng.random((8, CENTRE)) * (high - low)).astype(np.float32)).astype(np.float64)
        assert np.all((ends[0] <= found) & (found <= ends[1])), seed
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("norm", ["linf", "l1"])
@pytest.mark.parametrize("name", nets.NETS)
def test_every_operator_stays_within_what_is_charged_and_that_is_little(name: str, norm: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(nets.whole(name), path)
    centre = np.random.default_rng(5).random(72).astype(np.float32)
    ball = unit_ball(norm, centre, 0.01 if norm == "linf" else 0.05)
    proof = proof_of(path, ball)
    low, high = charged_ends(proof)
    points = inside(ball, 1.0 - ball.centre, 1, 40)
    for session in all_sessions(path):
        for point in points:
            found = session.run(None, {"x": point.reshape(1, 2, 6, 6)})[0][0]
            assert np.all((low <= found) & (found <= high))
    for tensor in (*proof.net.arguments, proof.net.output):
        off, most = (part.astype(float) * UNIT for part in proof.rounding.error(tensor))
        assert np.all(off > 0)
        assert np.all(off <= 2e-4 * most + 1e-20)


def test_without_the_charge_nothing_is_accepted(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates next to the truth that were built without charges, and those that claim float32 afterwards."""
    tried = 0
    for case in cases:
        if not math.isfinite(case.truth):
            continue
        radius = (1 - 1e-8) * case.truth
        with monkeypatch.context() as patched:
            zeros = lambda self, name: (np.zeros(self.net.size(name), dtype=object),) * 2  # noqa: E731
            patched.setattr(checker.Rounding, "error", zeros)
            try:
                content = case.certified(radius, None, float32=radius).content
            except NotCertifiedError:
                continue
        with pytest.raises(checker.InvalidError, match=r"does not (close|follow)"):
            checker.checked(content, case.content)
        parts = taken_apart(case.certified(radius).content)
        parts.header["float32"] = radius.hex()
        with pytest.raises(checker.InvalidError, match=r"does not (close|follow)"):
            checker.checked(parts.content(), case.content)
        tried += 1
    assert tried > 5


def test_no_more_than_is_proved_is_accepted(cases: list[Case]) -> None:
    """Where rounding shortens the end for float32, the tree proves both; longer ones are refused, shorter ones true."""
    tried = 0
    for case in cases:
        if not math.isfinite(case.truth):
            continue
        radius = (1 - 1e-7) * case.truth
        made = case.certified(radius, None, float32=radius)
        assert made.result.lower == radius
        if not 0 < made.result.float32 < radius:
            continue
        for factor, good in ((0.9, True), (1.0, True), (radius / made.result.float32, False), (1.01, False)):
            parts = taken_apart(made.content)
            parts.header["float32"] = (factor * made.result.float32).hex()
            if good:
                assert checker.checked(parts.content(), case.content).float32 == factor * made.result.float32
            else:
                with pytest.raises(checker.InvalidError):
                    checker.checked(parts.content(), case.content)
        tried += 1
    assert tried > 5


def test_what_rounding_invents_is_not_certified_away(save_net: Callable[[Any], verifier.Model]) -> None:
    """Over the reals no point of the box reaches the target; in float32 those beyond 1/2 do, 1/4 away."""
    trap = next(trap for trap in TRAPS if trap.name == "rounding invents it: 2^30")
    model, x = save_net(trap), np.float32(trap.centre)
    assert model.predict(np.float32([0.625])) == trap.target
    known = verifier.minimal(model, x, target=trap.target).float32
    for asked in (math.inf, 0.375, known):
        made = verifier.certificate(model, x, math.inf, target=trap.target, float32=asked)
        assert made.result.lower == math.inf
        assert made.result.float32 <= 0.375
    assert made.result.float32 == known
    parts = taken_apart(made.content)
    for end in (0.376, math.inf):
        parts.header["float32"] = float(end).hex()
        with pytest.raises(checker.InvalidError, match=r"does not (close|follow)"):
            checker.checked(parts.content(), model.path.read_bytes())


def test_what_constants_lose_before_they_meet_a_value_is_charged(tmp_path: Path) -> None:
    """2¹⁰⁰ · x · 1.25 · 2⁻⁷⁹ · 2⁻⁶⁹, of which a runtime multiplies the last two to no float32 number."""
    path = rows.underflowing(tmp_path)
    found = rows.session(OnnxModel(onnx.load(path)), threads=1).run(
        None, {"x": np.full((1, 1, 1, 1), 0.5, np.float32)}
    )[0][0]
    low, high = charged_ends(proof_of(path, unit_ball("linf", np.full(1, 0.5), 0.05)))
    assert np.all((low <= found) & (found <= high))


def test_what_cannot_be_charged_is_refused_in_a_line_and_certified_over_the_reals(
    save_net: Callable[..., verifier.Model], truth: Any, tmp_path: Path
) -> None:
    onnx.save(nets.with_end("Sigmoid", 3), tmp_path / "sigmoid.onnx")
    factors: nets.Nodes = [(op, [x, "s"], y, {}) for op, x, y in (("Mul", *"xa"), ("Div", *"ab"), ("Mul", *"bc"))]
    factors += [("Div", ["c", "s"], "d", {}), ("Relu", ["d"], "r", {}), ("Gemm", ["r", "w"], "y", {})]
    weights = {"s": np.float32(2.0**63), "w": nets.f(np.random.default_rng(0), 4, 3)}
    onnx.save(nets.model_of(factors, [1, 4], weights), tmp_path / "far.onnx")
    known = {
        "of another type": save_net(truth.net(0, (3, 4, 3)), np.float64),
        "a Sigmoid shows": verifier.load(tmp_path / "sigmoid.onnx"),
        "may overflow": verifier.load(tmp_path / "far.onnx"),
    }
    for words, model in known.items():
        x = np.full(model.graph.input_size, 0.5, dtype=model.dtype)
        made = verifier.certificate(model, x, 1e-4, float32=1e-4)
        assert (made.result.lower, made.result.float32) == (1e-4, 0.0)
        parts = taken_apart(made.content)
        parts.header["float32"] = parts.header["radius"]
        with pytest.raises(checker.InvalidError, match=words):
            checker.checked(parts.content(), model.path.read_bytes())


def test_an_end_that_rounds_scores_is_charged_its_ties(tmp_path: Path) -> None:
    found = {}
    for end in ("", "Softmax", "LogSoftmax"):
        onnx.save(nets.with_end(end, 3), tmp_path / "net.onnx")
        proof = proof_of(tmp_path / "net.onnx", unit_ball("linf", np.full(4, 0.5), 0.01))
        found[end] = proof.rounding.error(proof.net.output)[0]
    for end in ("Softmax", "LogSoftmax"):
        assert np.all(found[end] - found[""] == 1 << checker.ERROR_BITS - 18)


def test_what_a_file_claims_is_read_from_its_header(valid: list[tuple[Case, bytes]], tmp_path: Path) -> None:
    _, content = valid[0]
    parts = taken_apart(content)
    end = float.fromhex(parts.header.pop("float32"))
    hostile = [packed(text) for text in (b"[" * 100_000, b'{"float32": "0x1p+9999"}', b'{"float32": 1}', b"[]", b"{}")]
    for text, known in ((content, end), *((text, 0.0) for text in (*hostile, b"", b"RELUCERT", content[:40]))):
        (tmp_path / "c.cert").write_bytes(text)
        assert claimed_ends(tmp_path / "c.cert")[1] == known


def test_an_attempt_for_float32_that_takes_too_long_is_certified_over_the_reals(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in cases if math.isfinite(case.truth))
    radius, shares, made = 0.9 * case.truth, [], builder._certified

    def slow(
        asked: Any, radius: float, witness: Any, budget: Budget, start: float, float32: float
    ) -> builder.Certified:
        if float32 > 0:
            shares.append(budget.remaining)
            raise OutOfTimeError(budget.reason)
        return made(asked, radius, witness, budget, start, float32)

    monkeypatch.setattr(builder, "_certified", slow)
    found = builder.certified(case.asked, radius, None, Budget(60), radius)
    assert (found.result.lower, found.result.float32) == (radius, 0.0)
    assert found.note.startswith("nothing is certified for float32: ")
    assert 0 < shares[0] <= 0.6 * 60
    assert builder.certified(case.asked, radius, None, Budget(60)).note == ""
