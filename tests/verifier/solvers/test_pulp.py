"""PuLP 4 is kept out, and why."""

from __future__ import annotations

from importlib.metadata import version

import pulp
import pytest
from packaging.version import Version

from encoders.errors import InputError
from verifier.problem.budget import Budget
from verifier.search.settings import Settings
from verifier.solvers import milp


@pytest.mark.parametrize("method", ["milp", "milp-direct"])
def test_another_pulp_is_named_before_the_work(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milp, "pulp_version", lambda: "4.0.1")
    with pytest.raises(InputError, match=r"PuLP 2 and 3, and 4\.0\.1 is installed: pip install 'pulp<4'"):
        Settings(Budget(), method).decider  # noqa: B018, it is made when it is asked for
    assert Settings(Budget(), "z3").decider.name == "z3"


@pytest.mark.skipif(Version(version("pulp")) < Version("3.3"), reason="earlier versions do not announce PuLP 4")
def test_why() -> None:
    """Variables are made by the problem there, and belong to it: the models here make theirs first."""
    with pytest.warns(DeprecationWarning, match=r"in PuLP 4\.0 use prob\.add_variable"):
        pulp.LpVariable("x")
