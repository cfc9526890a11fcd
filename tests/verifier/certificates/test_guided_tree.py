"""Certificates from proof trees of other verifiers, and trees written as such: the lone checker has the last word."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from verifier.certificates import case_trees, checker, property_builder
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget

INPUTS, RADIUS = 16, 0.4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("aptp")


@pytest.fixture(scope="module")
def net(truth: Any, save_net: Callable[..., verifier.Model]) -> verifier.Model:
    """Two layers of 10 ReLUs."""
    rng, sizes = np.random.default_rng(3), (INPUTS, 10, 10, 2)
    layers = [
        (rng.normal(size=(b, a)) * np.sqrt(2 / a), rng.normal(size=b) * 0.1) for a, b in itertools.pairwise(sizes)
    ]
    return save_net(truth.of_layers(*layers))


def header(net: verifier.Model, *rows: str) -> str:
    names = [*(f"X_{n}" for n in range(INPUTS)), *(f"Y_{n}" for n in range(net.outputs))]
    ends = [f"(assert (<= X_{n} {RADIUS}))(assert (>= X_{n} -{RADIUS}))" for n in range(INPUTS)]
    return "\n".join([*(f"(declare-const {name} Real)" for name in names), *ends, *(f"(assert {row})" for row in rows)])


@pytest.fixture(scope="module")
def most(net: verifier.Model) -> float:
    """About the largest first output: a property a little above it takes some splits."""
    points = np.random.default_rng(0).choice([-RADIUS, RADIUS], size=(4000, INPUTS)).astype(np.float32)
    return float(net.values(points)[:, 0].max())


@pytest.fixture(scope="module")
def asked(net: verifier.Model, most: float, folder: Path) -> Path:
    path = folder / "p.vnnlib"
    path.write_text(header(net, f"(>= Y_0 {most + 0.3})"))
    return path


@pytest.fixture(scope="module")
def own(net: verifier.Model, asked: Path, folder: Path) -> Path:
    """The property's certificate, its ReLU tree as APTP beside it."""
    found = property_builder.property_certified(net, asked.read_bytes(), Budget(60))
    assert found.leaves > 4
    (folder / "own.cert").write_bytes(found.content)
    assert main(["certify", str(folder / "own.cert"), str(net.path), "--aptp", str(folder / "own.aptp")]) == Exit.GOOD
    return folder / "own.aptp"


def leaves_of(path: Path, net: verifier.Model) -> int:
    result = checker.judged(path.read_bytes(), net.path.read_bytes()).result
    assert isinstance(result, checker.PropertyResult)
    return result.leaves


def test_a_tree_there_and_back_has_the_same_leaves(
    net: verifier.Model, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.cert"
    assert main(["certify", str(made), str(net.path), "--proof", str(own), "--json"]) == Exit.GOOD
    told = json.loads(capsys.readouterr().out)
    assert told["valid"]
    assert told["claim"]["leaves"] == leaves_of(made, net) == leaves_of(own.with_suffix(".cert"), net)
    # The property is that of the proof's header, whose box and row are the question's own.
    text = checker.parse(made.read_bytes())
    assert isinstance(text, checker.PropertyCertificate)
    (mine,) = checker.property_cases(checker.PropertyText(text.text))
    (asked,) = checker.property_cases(checker.PropertyText(own.with_name("p.vnnlib").read_bytes()))
    assert np.array_equal(mine.lo, asked.lo)
    assert np.array_equal(mine.hi, asked.hi)
    assert mine.rows == asked.rows


def test_a_property_demanded_is_what_the_certificate_is_about(
    net: verifier.Model, own: Path, asked: Path, tmp_path: Path
) -> None:
    """As another verifier writes the box, rounded to float32: its tree serves the decimals of the question."""
    rounded, made = tmp_path / "float32.aptp", tmp_path / "made.cert"
    rounded.write_text(own.read_text().replace(str(RADIUS), repr(float(np.float32(RADIUS)))))
    given = ["certify", str(made), str(net.path), "--proof", str(rounded), "--property", str(asked)]
    assert main(given) == Exit.GOOD
    demands = checker.Demands(property=asked.read_bytes())
    assert checker.judged(made.read_bytes(), net.path.read_bytes(), demands).reason == ""
    assert leaves_of(made, net) == leaves_of(own.with_suffix(".cert"), net)


def test_each_case_follows_the_proof_that_is_about_it(
    net: verifier.Model, most: float, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both.vnnlib"
    both.write_text(header(net, f"(or (>= Y_0 {most + 0.3}) (>= Y_0 {most + 0.6}))"))
    other = tmp_path / "other.aptp"
    other.write_text(
        header(net, f"(>= Y_0 {most + 0.6})")
        + "(declare-pwl N_1 N_2 ReLU)"
        + "(assert (or (and (< N_2 0)) (and (>= N_2 0))))"
    )
    seen: list[int] = []
    first = case_trees.GuidedTree
    monkeypatch.setattr(case_trees, "GuidedTree", lambda *a, guide: seen.append(len(guide)) or first(*a, guide=guide))  # type: ignore[func-returns-value]
    made = tmp_path / "made.cert"
    given = ["certify", str(made), str(net.path), "--property", str(both), "--proof", str(other), "--proof", str(own)]
    assert main(given) == Exit.GOOD
    assert seen == [2 * leaves_of(own.with_suffix(".cert"), net) - 1, 3]
    exported = tmp_path / "out.aptp"
    assert main(["certify", str(made), str(net.path), "--aptp", str(exported)]) == Exit.GOOD
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out-0.aptp", "out-1.aptp"]


def test_leaves_that_do_not_close_are_split(net: verifier.Model, own: Path, tmp_path: Path) -> None:
    """Another tree altogether, which proves nothing by itself."""
    text, made = own.read_text(), tmp_path / "made.cert"
    poor = tmp_path / "poor.aptp"
    poor.write_text(
        text[: text.index("(assert (or")]
        + "(assert (or (and (< N_1 0)) (and (>= N_1 0) (< N_2 0)) (and (>= N_1 0) (>= N_2 0))))"
    )
    assert main(["certify", str(made), str(net.path), "--proof", str(poor)]) == Exit.GOOD
    assert leaves_of(made, net) > 3


def test_a_tree_with_a_gap_is_refused(
    net: verifier.Model, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = own.read_text().splitlines(keepends=True)
    leaves = [number for number, line in enumerate(lines) if line.startswith("    (and")]
    gap = tmp_path / "gap.aptp"
    gap.write_text("".join(line for number, line in enumerate(lines) if number != leaves[1]))
    assert main(["certify", str(tmp_path / "c.cert"), str(net.path), "--proof", str(gap)]) == Exit.BAD_INPUT
    missing = lines[leaves[1]].strip().removeprefix("(and (").removesuffix("))").split(") (")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for part in missing:
        side, neuron, zero = part.split()
        assert f"{neuron} {side} {zero}" in told
    assert not (tmp_path / "c.cert").exists()


def test_an_old_certificate_does_not_pass_for_the_new_one_whatever_ends_the_work(
    net: verifier.Model, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "c.cert"
    made.write_bytes(b"of an earlier run")

    left: list[bool] = []

    def ended(*_: object) -> None:
        left.append(made.exists())  # a time limit may end the process here
        raise KeyboardInterrupt

    monkeypatch.setattr(property_builder, "property_certified", ended)
    assert main(["certify", str(made), str(net.path), "--proof", str(own)]) != Exit.GOOD
    assert left == [False]
    kept = net.path.read_bytes()
    for path in (net.path, own):
        assert main(["certify", str(path), str(net.path), "--proof", str(own)]) == Exit.BAD_INPUT
        assert "the certificate is written there, and the command reads it" in capsys.readouterr().err
    assert net.path.read_bytes() == kept


def test_a_false_proof_gives_none_and_the_open_leaf_is_told(
    net: verifier.Model, most: float, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false, made = tmp_path / "false.aptp", tmp_path / "c.cert"
    false.write_text(own.read_text().replace(str(most + 0.3), str(most - 0.1)))
    made.write_bytes(b"old")
    assert (
        main(["certify", str(made), str(net.path), "--proof", str(false), "--json", "--timeout", "30"])
        == Exit.UNDECIDED
    )
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["valid"], told["claim"]) == (False, None)
    assert "leaf" in told["reason"]
    assert "stays open" in told["reason"]
    assert err.startswith("verifier: no certificate was written: leaf ")
    assert not made.exists()


@pytest.mark.parametrize(
    ("change", "given", "told"),
    [
        (lambda text: text, ["--proof", "{own}"], "--proof is given 2 times"),
        (
            lambda text: (
                text.replace("N_1 ReLU", "N_1 ReLU)(declare-pwl N_500 ReLU")
                .replace("(and (", "(and (< N_500 0) (", 1)
                .replace("\n))", "\n    (and (>= N_500 0))\n))")
            ),
            [],
            "there is no N_500: the model has 20 ReLUs",
        ),
        (lambda text: text.replace("X_15", "X_16"), [], "X_15 is not declared"),
        (
            lambda text: text[: text.index("(declare-pwl")] + "(assert (or (and (>= X_0 0) (<= X_0 1))))",
            ["--property", "{asked}"],
            "splits inputs",
        ),
    ],
    ids=["twice", "neuron", "input", "boxes"],
)
def test_what_does_not_go_together_is_told(
    change: Callable[[str], str],
    given: list[str],
    told: str,
    net: verifier.Model,
    own: Path,
    asked: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    odd = tmp_path / "odd.aptp"
    odd.write_text(change(own.read_text()))
    more = [word.format(own=own, asked=asked) for word in given]
    assert main(["certify", str(tmp_path / "c"), str(net.path), "--proof", str(odd), *more]) == Exit.BAD_INPUT
    assert told in capsys.readouterr().err


def test_a_tree_of_boxes_there_and_back(truth: Any, save_net: Callable[..., verifier.Model], tmp_path: Path) -> None:
    """Leaves are boxes, each a case of its own when they come back."""
    ramp = save_net(truth.of_layers(([[1.0], [1.0]], [0.0, -0.5]), ([[1.0, -2.0]], [0.0])))
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))(assert (>= Y_0 0.6))"
    halves = [checker.BOXES, checker.ANEW, 1, 2, checker.HALVES, 0, 7 << 22, checker.ANEW, 2, checker.ANEW, 0]
    numbers = np.array([*halves, *[checker.ROW, 0] * 2], dtype=np.int64)
    kept, out, made = (tmp_path / name for name in ("box.cert", "box.aptp", "made.cert"))
    kept.write_bytes(property_builder.property_encoded(ramp.network.sha256, text.encode(), [numbers]))
    assert main(["certify", str(kept), str(ramp.path), "--aptp", str(out)]) == Exit.GOOD
    assert "(and (>= X_0 0.4375) (<= X_0 1.0))\n    (and (>= X_0 0.0) (<= X_0 0.4375))" in out.read_text()
    assert main(["certify", str(made), str(ramp.path), "--proof", str(out)]) == Exit.GOOD
    result = checker.judged(made.read_bytes(), ramp.path.read_bytes()).result
    assert isinstance(result, checker.PropertyResult)
    assert result.cases == 2


def test_a_certificate_of_a_ball_is_no_proof_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits, kept = verifier.load("digits"), tmp_path / "ball.cert"
    kept.write_bytes(verifier.certificate(digits, np.full(64, 0.5), 1e-3).content)
    given = ["certify", str(kept), str(digits.path), "--aptp", str(tmp_path / "ball.aptp")]
    assert main(given) == Exit.BAD_INPUT
    assert "--aptp takes a certificate of a property" in capsys.readouterr().err
