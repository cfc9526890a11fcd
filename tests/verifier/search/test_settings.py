"""How an answer is sought is checked once, and by the table of methods."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.budget import Budget
from verifier.search.methods import METHODS
from verifier.search.settings import Settings, budget_of


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_decider(method: str) -> None:
    settings = Settings(Budget(), method)
    assert settings.decider is settings.decider
    assert settings.decider.name == {"auto": "tree"}.get(method, method).removesuffix("-direct")
    assert (settings.decider.trees is not None) is (method in {"tree", "auto"})
    assert [decider.name for decider in settings.proposers] == (["milp", "z3"] if method == "auto" else [])


def test_a_solver_and_its_threads_reach_the_decider() -> None:
    decider: Any = Settings(Budget(), "milp", "cbc", threads=3).decider
    assert (decider.solver, decider.threads) == ("cbc", 3)
    default: Any = Settings(Budget(), "milp-direct").decider
    assert (default.solver, default.threads) == (METHODS["milp-direct"].solver, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "guess"}, "unknown method 'guess': choose one of tree, auto, milp, milp-direct, z3"),
        ({"method": 1}, r"the method must be a string, not 1 \(int\)"),
        ({"solver": "highs"}, "the method tree has no solver to choose; 'highs' goes with auto or milp or milp-direct"),
        ({"method": "z3", "solver": "z3"}, "the method z3 has no solver to choose"),
        ({"method": "milp", "solver": "guess"}, "unknown solver 'guess'"),
        ({"threads": 0}, "the number of threads must be a whole number ≥ 1, not 0"),
        ({"threads": 1.5}, "the number of threads must be a whole number, not 1.5"),
        ({"seed": -1}, "the seed must be a whole number ≥ 0, not -1"),
        ({"seed": "1"}, "the seed must be a whole number, not '1'"),
    ],
)
def test_what_cannot_be_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        Settings(Budget(), **given)


def test_numbers_of_numpy_are_taken() -> None:
    settings = Settings(Budget(), threads=np.int64(2), seed=np.uint8(3))  # type: ignore[arg-type]
    assert (type(settings.threads), type(settings.seed)) == (int, int)


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan, "5", None, True])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(InputError, match=r"^the timeout must be a number"):
        budget_of(timeout)


def test_a_budget_is_taken_as_it_is() -> None:
    budget = Budget(5.0)
    assert budget_of(budget) is budget
    assert budget_of(2).limit == 2.0
    assert budget_of(math.inf).limit == math.inf
