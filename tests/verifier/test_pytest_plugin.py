"""The plugin in pytest runs of its own: proved, refuted, undecided, and beside other plugins."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from verifier import models

pytest_plugins = ["pytester"]

FOUND = any(entry.value == "verifier.pytest_plugin" for entry in entry_points(group="pytest11"))
LOADED = () if FOUND else ("-p", "verifier.pytest_plugin")
"""Installed packages' plugins are found by pytest itself; a checkout that is only on the path has to name its own."""

HEAD = """
import numpy as np
import pytest
from verifier import models
DATA = np.load(models.path("digits").with_name("digits_inputs.npz"))
X, Y = DATA["x"][:3], DATA["y"][:3]
"""
TESTS = """
@pytest.mark.robustness
def test_kept(verifier):
    verifier.assert_robust("digits", X, Y, linf=0.005)

def test_broken(verifier):
    verifier.assert_robust("digits", X, Y, linf=0.5)

def test_far(verifier):
    verifier.assert_min_distortion("digits", X[0], norm="l1", at_least=0.05)

def test_undecided(verifier):
    verifier.assert_robust("digits", X, Y, linf=0.02, timeout=1e-9)

def test_wrongly_asked(verifier):
    verifier.assert_robust("digits", X, Y)
"""

BROKEN = """
from verifier.testing import assert_robust

@pytest.mark.parametrize("radius", ["8/16", 0.6])
def test_broken(radius):
    assert_robust("digits", X, Y, linf=radius)

def test_mislabelled():
    assert_robust("digits", X[:1], (Y[:1] + 1) % 10, linf=0.01)

def test_one_hot():
    assert_robust("digits", X, np.eye(10)[Y], linf=0.01)

def test_no_time():
    assert_robust("digits", np.repeat(X, 4, axis=0), linf=0.02, timeout=1e-9)
"""

IMPORTED = """
from verifier.testing import assert_robust

def test_broken():
    assert_robust("digits", X, Y, linf=0.5)

def test_undecided():
    assert_robust("digits", X, Y, linf=0.02)

def test_no_such_file():
    assert_robust("no.onnx", X, Y, linf=0.02)
"""


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + text)
    return pytester.runpytest_subprocess(*LOADED, "-p", "no:cacheprovider", *options)


def test_a_failure_says_bracket_labels_threshold_and_picture(pytester: pytest.Pytester) -> None:
    found = run(pytester, TESTS, "--robustness-report", "report", "--strict-markers")
    found.assert_outcomes(passed=2, failed=3)
    found.stdout.re_match_lines_random(
        [
            r".*3 of 3 inputs are not robust in L∞",
            r".*image 0: class \d becomes \d at a distance of 0\.\d+, required beyond 0\.5: report/.*\.png",
            r".*3 of 3 inputs are undecided in L∞ after 1e-09 s",
            r".*image 0: undecided whether robust within 0\.02: .*",
            r".*one of linf=, l1= and l2= is expected.*",
        ]
    )
    assert list(Path(pytester.path, "report").glob("*.png"))


def test_each_test_has_pictures_of_its_own_and_long_lists_end(pytester: pytest.Pytester) -> None:
    found = run(pytester, BROKEN, "--robustness-report", "report")
    found.assert_outcomes(failed=5)
    found.stdout.re_match_lines_random(
        [
            r".*image 0: .*: report/.*test_broken_8_16_-digits-linf-image_0\.png",
            r".*image 0: .*: report/.*test_broken_0\.6_-digits-linf-image_0\.png",
            r".*misclassified as it is: as \d, and its label is \d: report/.*test_mislabelled-digits-linf-image_0\.png",
            r".*labels of shape 3x10 for 3 inputs: one class number for each is expected, of one-hot rows their argmax",
            r".*12 of 12 inputs are undecided in L∞ after 1e-09 s \(for more: timeout=, --robustness-timeout\)",
            r"E +and 2 more",
        ]
    )
    assert len(list(Path(pytester.path, "report").glob("*.png"))) == 7


def test_the_command_lines_limits_are_for_what_is_imported_too(pytester: pytest.Pytester) -> None:
    found = run(pytester, IMPORTED, "--robustness-report", "report", "-k", "broken")
    found.stdout.re_match_lines_random([r".*required beyond 0\.5: report/.*\.png"])
    found = run(pytester, IMPORTED, "--robustness-timeout", "0.000000001", "-k", "undecided")
    found.stdout.re_match_lines_random([r".*3 of 3 inputs are undecided in L∞ after 1e-09 s"])


def test_a_failure_shows_the_tests_lines_alone(pytester: pytest.Pytester) -> None:
    found = run(pytester, IMPORTED, "-k", "no_such_file or broken")
    found.stdout.re_match_lines_random([r"E +.*InputError: no\.onnx cannot be read: No such file or directory"])
    found.stdout.no_re_match_line(r".*(file|testing|model)\.py:\d+.*")


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_it_works_under_xdist(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    run(pytester, TESTS, "-k", "kept or far", *workers).assert_outcomes(passed=2)


@pytest.mark.long
def test_a_baseline_is_kept_or_not(pytester: pytest.Pytester) -> None:
    data = models.path("digits").with_name("digits_inputs.npz")
    plan = f'models = ["digits"]\ndata = "{data}"\nselect = {{ indices = [0, 1, 2] }}\n'
    pytester.makefile(".toml", robustness=plan)
    text = """
from verifier.cli.main import main
assert main(["gate", "--jobs", "1", "--update-baseline", "b.json"]) == 0

def test_same(verifier):
    verifier.assert_no_less_robust("digits", X, Y, baseline="b.json", by=0.001)

def test_worse(verifier):
    with pytest.raises(AssertionError, match="not robust"):
        verifier.assert_no_less_robust("digits", X * 0.9 + 0.05, Y, baseline=worse())

def worse():
    import json
    from verifier.campaign.plan.identity import digest
    from verifier.gate.baseline import identity
    told = json.load(open("b.json"))
    point = (X[0] * 0.9 + 0.05).astype(np.float32)
    row = told["groups"][0]["inputs"][0]
    row["identity"], row["lower"] = identity(digest(str(point.dtype), point.tobytes()), int(Y[0])), 0.9
    json.dump(told, open("c.json", "w"))
    return "c.json"
"""
    run(pytester, text).assert_outcomes(passed=2)


def test_a_wrong_limit_is_a_usage_error(pytester: pytest.Pytester) -> None:
    found = run(pytester, TESTS, "--robustness-timeout", "soon", "-k", "kept")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.re_match_lines_random([r".*--robustness-timeout: a duration > 0 is expected.*"])
    Path(pytester.path, "file").touch()
    found = run(pytester, TESTS, "--robustness-report", "file", "-k", "kept")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.re_match_lines_random([r".*--robustness-report file: no folder: File exists"])
