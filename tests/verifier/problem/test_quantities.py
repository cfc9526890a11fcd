"""Numbers as people write them: quotients rounded to the safe side, durations, and clear refusals."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import verifier
from encoders.errors import InputError
from verifier import models
from verifier.campaign.plan.plan import read_plan
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.quantities import at_least, at_most, directed, seconds


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30))
def test_a_quotient_is_rounded_to_its_side(above: int, below: int) -> None:
    exact, text = Fraction(above, below), f"{above}/{below}"
    for rounded, sign in ((at_least(text, "r").value, 1), (at_most(text, "r").value, -1)):
        assert sign * Fraction(rounded) >= sign * exact
        assert sign * Fraction(math.nextafter(rounded, -sign * math.inf)) < sign * exact


@pytest.mark.parametrize("text", ["0.3", "0.1", "1e-3", "5", ".5", "2.", " 0.25 ", "1E2"])
def test_a_decimal_is_the_nearest_float_as_in_python(text: str) -> None:
    assert at_least(text, "r").value == at_most(text, "r").value == float(text)


def test_the_ends_of_the_range() -> None:
    assert at_least("1/1e400", "r").value == 5e-324
    assert at_most("1/1e400", "r").value == 0.0
    assert at_least("1e400/1", "r").value == math.inf
    assert at_most("1e400/1", "r").value == float(np.finfo(float).max)
    assert directed(Fraction(3, 4), math.inf) == 0.75


@pytest.mark.parametrize(
    "text", ["", "x", "8/", "/255", "8/255/2", "8 / 255 a", "1_0", "٣", "1/1e9999", "1e-3/x", "1" * 500 + "/3", "8:255"]
)
def test_no_number(text: str) -> None:
    with pytest.raises(InputError, match=r"--radius: .* is no number: one such as 0.03, 1e-3 or 8/255 is expected"):
        at_least(text, "--radius")


def test_nothing_is_divided_by_zero() -> None:
    with pytest.raises(InputError, match=r"--radius: 8/0\.0 divides by 0"):
        at_least("8/0.0", "--radius")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("60s", 60), ("2m", 120), ("1h", 3600), ("1h30m", 5400), ("1.5m", 90), (".5s", 0.5), ("10", 10), ("1e1", 10)],
)
def test_durations(text: str, wanted: float) -> None:
    assert seconds(text) == wanted
    assert read_plan(None, {"models": ["digits"], "data": "digits", "timeout": text}).timeout == wanted


@pytest.mark.parametrize("text", ["0", "-1", "-1s", "nan", "inf", "1d", "s", "1s2", "1 m 1", "", "1_0s", "0s", "1e999"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InputError, match="--timeout: a duration > 0 is expected, seconds or such as 45s, 90m, 1h30m"):
        seconds(text, "--timeout")


def ask(capfd: Any, *words: str) -> tuple[int, str, str]:
    capfd.readouterr()
    return main(list(words)), *capfd.readouterr()


@pytest.mark.parametrize("text", ["8/255", "1/30"])
def test_the_tested_radius_is_not_smaller_than_asked(text: str, capfd: Any) -> None:
    words = ["check", "digits", "digits", "--index", "6", "--radius", text, "--timeout", "2m"]
    code, said, _ = ask(capfd, *words, "--json")
    found = json.loads(said)
    assert code == Exit.GOOD
    assert found["radius_asked"] == text
    assert Fraction(found["radius"]) >= Fraction(text) > Fraction(math.nextafter(found["radius"], 0))
    _, said, _ = ask(capfd, *words)
    assert f"Robustness within {text} (as {found['radius']!r})" in said


def test_the_precision_is_not_coarser_than_asked(capfd: Any) -> None:
    words = ["minimal", "digits", "digits", "--index", "6", "--precision", "1/30", "--timeout", "1h", "--json"]
    code, said, _ = ask(capfd, *words)
    found = json.loads(said)
    assert code == Exit.GOOD
    assert Fraction(found["precision"]) <= Fraction(1, 30) < Fraction(math.nextafter(found["precision"], 1))
    plan = {"models": ["digits"], "data": "digits", "precision": "1/30"}
    assert read_plan(None, plan).precision == found["precision"]


def test_the_api_rounds_fractions_alike() -> None:
    model = verifier.load("digits")
    x = np.load(models.input_file("digits"))["x"][6]
    found = verifier.check(model, x, Fraction(8, 255))
    assert found.about is not None
    assert found.about.radius == at_least("8/255", "r").value
    assert verifier.minimal(model, x, precision=Fraction(1, 30)).precision == at_most("1/30", "r").value


@pytest.mark.parametrize("command", ["minimal", "attack", "check", "inspect", "certify"])
def test_shipped_names_where_a_model_is_expected(command: str, tmp_path: Path, capfd: Any) -> None:
    """A wrong name lists the right ones; right ones are in the tests above and here."""
    words = {"inspect": [], "certify": [], "check": ["digits", "--radius", "1/9"]}.get(command, ["digits"])
    before = [str(tmp_path / "c.cert")] if command == "certify" else []
    code, _, complained = ask(capfd, command, *before, "digit", *words)
    assert code == Exit.BAD_INPUT
    assert "digit: no such file, and no shipped net; did you mean 'digits'? There are digits, mnist_n, " in complained


def test_names_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    assert ask(capfd, "inspect", "mnist_n")[0] == Exit.GOOD
    assert ask(capfd, "attack", "digits", "digits", "--index", "6", "--attack", "fgsm")[0] == Exit.GOOD
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()  # a folder is no model
    assert verifier.load("digits").path == models.path("digits")
    Path("mnist_n").write_bytes(models.path("digits").read_bytes())  # a file of that name comes first
    assert verifier.load("mnist_n").graph.input_size == 64
    with pytest.raises(InputError, match="no shipped net"):
        verifier.load("mnist")


def test_names_of_inputs(capfd: Any) -> None:
    code, _, complained = ask(capfd, "minimal", "digits", "mnist")
    assert code == Exit.BAD_INPUT
    assert "mnist: no such file, and no shipped inputs; there are digits" in complained


def test_a_plan_lists_the_shipped_nets() -> None:
    with pytest.raises(InputError, match=r"'digit'. is not right: no such file, and no shipped net; did you mean 'd"):
        read_plan(None, {"models": ["digit"], "data": "digits"})
