"""HiGHS: one way to make and to run it, and its simplex for LPs that are small, dense, and solved by the thousand."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from encoders.errors import SolverError
from encoders.formulations.quiet import native_output_dropped
from encoders.lazy import Lazy

if TYPE_CHECKING:
    import highspy
else:
    highspy = Lazy("highspy")

BANNER = (b"Running HiGHS", b"Includes third-party software")
"""How the lines begin that HiGHS writes to standard output as a process makes its first one, whatever its options."""


def quiet() -> Any:
    """A HiGHS that prints nothing."""
    _announced()
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    return highs


@cache
def _announced() -> None:
    """Let HiGHS say once, where nobody reads it, what it says in every process."""
    with native_output_dropped(BANNER):
        highspy.Highs()  # type: ignore[no-untyped-call]


def gave_up(status: Any) -> bool:
    """Is a HighsModelStatus an error of a run that began: numbers that HiGHS could not cope with?

    The next model may well be solved.
    """
    kinds = highspy.HighsModelStatus
    return status in (kinds.kPresolveError, kinds.kSolveError, kinds.kPostsolveError)


def run(highs: Any) -> Any:
    """Solve, and how that ended: a HighsModelStatus. Raises SolverError where it did not even begin.

    HiGHS keeps a scheduler for each thread of the caller's, with as many threads as the first run there asked for, and
    refuses any other number: after a question with two threads, or a caller's own use of highspy, every later run
    would fail. The scheduler is then begun anew. A refused run leaves the last run's status and solution where they
    were: they are not to be taken for its own.
    """
    returned = highs.run()
    if returned == highspy.HighsStatus.kError and not gave_up(highs.getModelStatus()):
        highspy.Highs.resetGlobalScheduler(True)
        returned = highs.run()
    status = highs.getModelStatus()
    failed = returned == highspy.HighsStatus.kError and not gave_up(status)
    if failed or status == highspy.HighsModelStatus.kNotset:
        raise SolverError(f"HiGHS {highs.version()} did not run ({highs.modelStatusToString(status)})")
    return status


def simplex(tolerance: float = 1e-7) -> Any:
    """A quiet HiGHS on one thread, without presolve, scaling and perturbation, which take longer than they save here.

    tolerance: of the feasibility of points and multipliers.
    """
    highs = quiet()
    for option, value in (
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
