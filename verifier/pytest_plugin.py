"""The pytest plugin: a fixture `verifier` with assertions on robustness, the marker `robustness`, and their options.

pytest finds it by itself once relu-verifier is installed. Nothing heavy is imported before a test asks for the fixture.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

MARKER = "robustness: asserts robustness by proof; it may take up to --robustness-timeout seconds"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line."""
    group = parser.getgroup("robustness", "proofs of robustness (relu-verifier)")
    group.addoption("--robustness-timeout", metavar="S", default=None, help="seconds for one assertion (60, 5m)")
    group.addoption("--robustness-report", metavar="DIR", default=None, help="a folder for pictures of witnesses")


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and the limits of every assertion that names none of its own."""
    config.addinivalue_line("markers", MARKER)
    timeout, report = config.getoption("--robustness-timeout"), config.getoption("--robustness-report")
    if timeout is None and report is None:
        return
    from encoders.errors import InputError  # noqa: PLC0415
    from verifier.problem.assertion_limits import LIMITS  # noqa: PLC0415
    from verifier.problem.quantities import seconds  # noqa: PLC0415

    if report is not None:
        LIMITS.report = Path(report)
        try:  # before the tests, not by the first that fails
            LIMITS.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.UsageError(f"--robustness-report {report}: no folder: {error.strerror or error}") from None
    if timeout is not None:
        try:
            LIMITS.timeout = seconds(timeout, "--robustness-timeout")
        except InputError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def verifier() -> ModuleType:
    """Assertions on robustness (`verifier.testing`): proved, or refuted by a witness; what is undecided fails too."""
    return importlib.import_module("verifier.testing")
