"""HiGHS's simplex for LPs that are small, dense, and solved by the thousand."""

from __future__ import annotations

from typing import Any

import highspy


def simplex(tolerance: float = 1e-7) -> Any:
    """A quiet HiGHS on one thread, without presolve, scaling and perturbation, which take longer than they save here.

    tolerance: of the feasibility of points and multipliers.
    """
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (
        ("output_flag", False),
        ("presolve", "off"),
        ("threads", 1),
        ("solver", "simplex"),
        ("simplex_scale_strategy", 0),
        ("dual_simplex_cost_perturbation_multiplier", 0.0),
        ("primal_feasibility_tolerance", tolerance),
        ("dual_feasibility_tolerance", tolerance),
    ):
        highs.setOptionValue(option, value)
    return highs
