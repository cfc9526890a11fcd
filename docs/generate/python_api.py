"""The reference of the Python API: what `verifier` and `verifier.testing` offer, by their docstrings (autodoc)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import verifier

QUESTIONS = ("load", "load_transforms", "minimal", "minimal_all_targets", "brackets", "check", "attack", "certificate")
TESTS = ("assert_robust", "assert_min_distortion", "assert_no_less_robust", "NotRobustError", "UndecidedError")


def python_api_page() -> str:
    """MyST: questions first, then what they answer with, then assertions."""
    others = [name for name in verifier.__all__ if name not in QUESTIONS]
    functions = [name for name in others if name[0].islower()]
    return "\n".join(
        [
            "# Python API\n\nFrom the docstrings; examples are on [In Python](python.md).\n",
            "## Questions\n",
            *members("verifier", (*QUESTIONS, *functions)),
            "## Answers, errors, limits\n",
            *members("verifier", (name for name in others if name not in functions)),
            "## Assertions\n\n`verifier.testing`, for [test suites](../how-to/pytest.md).\n",
            *members("verifier.testing", TESTS),
        ]
    )


def members(module: str, names: Iterable[str]) -> Iterator[str]:
    """An entry of autodoc for each."""
    for name in names:
        kind = "function" if name[0].islower() else "class"
        yield f"```{{eval-rst}}\n.. auto{kind}:: {module}.{name}\n```\n"
