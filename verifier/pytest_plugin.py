"""The pytest plugin: a fixture `verifier` with assertions on robustness, the marker `robustness`, and their options.

pytest finds it by itself once relu-verifier is installed. Nothing heavy is imported before a test asks for the fixture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MARKER = "robustness: asserts robustness by proof; it may take up to --robustness-timeout seconds"


class Robustness:
    """The assertions of `verifier.testing`, with the time limit and the report's folder of the command line.

    timeout: seconds for one assertion. report: a folder for pictures of witnesses; None: none are drawn.
    """

    def __init__(self, timeout: float, report: Path | None) -> None:
        self.timeout, self.report = timeout, report

    def assert_robust(self, model: Any, images: Any, labels: Any = None, **options: Any) -> None:
        """See `verifier.testing.assert_robust`."""
        __tracebackhide__ = True
        from verifier import testing  # noqa: PLC0415, a test session that proves nothing does not pay for the engine

        testing.assert_robust(model, images, labels, **self._with(options))

    def assert_min_distortion(self, model: Any, x: Any, **options: Any) -> None:
        """See `verifier.testing.assert_min_distortion`."""
        __tracebackhide__ = True
        from verifier import testing  # noqa: PLC0415

        testing.assert_min_distortion(model, x, **self._with(options))

    def assert_no_less_robust(self, model: Any, images: Any, labels: Any = None, **options: Any) -> None:
        """See `verifier.testing.assert_no_less_robust`."""
        __tracebackhide__ = True
        from verifier import testing  # noqa: PLC0415

        testing.assert_no_less_robust(model, images, labels, **self._with(options))

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"timeout": self.timeout, "report": self.report, **options}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the command line."""
    group = parser.getgroup("robustness", "proofs of robustness (relu-verifier)")
    group.addoption("--robustness-timeout", metavar="S", default="60", help="seconds for one assertion (60, 5m)")
    group.addoption("--robustness-report", metavar="DIR", default=None, help="a folder for pictures of witnesses")


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def verifier(pytestconfig: pytest.Config) -> Robustness:
    """Assertions on robustness: proved, or refuted by a witness; what is undecided fails, and says so."""
    from encoders.errors import InputError  # noqa: PLC0415
    from verifier.problem.quantities import seconds  # noqa: PLC0415

    try:
        timeout = seconds(pytestconfig.getoption("--robustness-timeout"), "--robustness-timeout")
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
    report = pytestconfig.getoption("--robustness-report")
    return Robustness(timeout, None if report is None else Path(report))
