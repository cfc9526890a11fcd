"""HiGHS under PuLP, whose own wrapper runs it without a look at what the run returned."""

from __future__ import annotations

from typing import Any

import highspy
import pulp

from encoders.errors import SolverError
from encoders.formulations.highs import gave_up, quiet, run

HighsStatus = highspy.HighsModelStatus

UNREADABLE = frozenset(
    {HighsStatus.kUnboundedOrInfeasible, HighsStatus.kUnknown, HighsStatus.kMemoryLimit, HighsStatus.kSolutionLimit}
)
"""Ends that PuLP calls infeasible or has no word for: nothing is known after them."""


class PulpHighs(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's interface to HiGHS. `solve` raises SolverError where HiGHS did not run or ended in an error."""

    def createAndConfigureSolver(self, lp: Any) -> None:  # noqa: N802, PuLP's name
        quiet()  # else PuLP's own would be the first, which is not silent
        super().createAndConfigureSolver(lp)

    def callSolver(self, lp: Any) -> None:  # noqa: N802, PuLP's name
        self._ended = run(lp.solverModel)

    def findSolutionValues(self, lp: Any) -> Any:  # noqa: N802, PuLP's name
        if gave_up(self._ended):
            highs = lp.solverModel
            raise SolverError(f"HiGHS {highs.version()} ended with: {highs.modelStatusToString(self._ended)}")
        if self._ended in UNREADABLE:
            return pulp.LpStatusNotSolved, pulp.LpSolutionNoSolutionFound
        return super().findSolutionValues(lp)
