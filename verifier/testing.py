"""Assertions on robustness for a test suite: proved, or refuted by a witness; what is undecided fails, and says so.

    from verifier.testing import assert_robust

    def test_the_model_keeps_its_robustness():
        assert_robust("model.onnx", images, labels, linf=0.05)

Under pytest the fixture `verifier` is this module, and the command line sets limits (`--robustness-timeout`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier import api
from verifier.campaign.plan.identity import digest
from verifier.gate.baseline import identity, read_baseline
from verifier.gate.verdict import Group
from verifier.problem import quantities
from verifier.problem.arguments import plain
from verifier.problem.assertion_limits import LIMITS
from verifier.problem.budget import Budget
from verifier.problem.inputs.columns import Columns
from verifier.problem.inputs.files import wrong_labels
from verifier.problem.verdict import Holds, Violated
from verifier.report.directed_rounding import directed
from verifier.report.norm_signs import NORM_SIGNS
from verifier.report.witness_picture import Shown, write_witness
from verifier.search.robustness import Check

SHOWN = 10
"""Inputs that a failure names."""

DRAWING = 10.0
"""Seconds for the pictures of a failure, after its time limit."""

P = ParamSpec("P")


class NotRobustError(AssertionError):
    """A witness refutes what was asserted."""


class UndecidedError(AssertionError):
    """Neither a proof nor a witness was found within the time limit."""


def _shown_at_the_call(assertion: Callable[P, None]) -> Callable[P, None]:
    """Failures and InputErrors end at the test's own line; how this package found them is not shown."""

    @functools.wraps(assertion)
    def asserted(*args: P.args, **keywords: P.kwargs) -> None:
        __tracebackhide__ = True
        try:
            assertion(*args, **keywords)
        except (AssertionError, InputError) as error:
            raise error.with_traceback(None) from None

    return asserted


@dataclass(frozen=True, eq=False)
class _Asserted:
    """One input, and the radius within which it is to be robust."""

    name: str
    x: npt.NDArray[Any]
    label: int | None
    radius: float


@dataclass(frozen=True, eq=False)
class _Region:
    """How distances are measured, and among which points."""

    norm: str
    box: tuple[npt.ArrayLike, npt.ArrayLike]
    columns: Columns | None

    @property
    def told(self) -> str:
        """In words."""
        return NORM_SIGNS[self.norm] + ("" if self.columns is None else f" among {self.columns.told}")


@_shown_at_the_call
def assert_robust(
    model: Any,
    images: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    linf: float | str | None = None,
    l1: float | str | None = None,
    l2: float | str | None = None,
    box: tuple[npt.ArrayLike, npt.ArrayLike] = (0.0, 1.0),
    columns: Columns | None = None,
    timeout: float | None = None,
    report: Path | str | None = None,
) -> None:
    """No point of the box within `linf` (or `l1`, `l2`) of an image is classified otherwise than its label says.

    model: what `verifier.load` takes. images: (count, …) of the model's shape, or a single one. labels: (count,); by
    default what the model predicts. linf, l1, l2: the radius, a number or a text such as "8/255". columns: which points
    can occur, as `verifier.Columns(grid=255)`. timeout: seconds, for all images together. report: a folder for pictures
    of the witnesses; None: what pytest's command line says of both, else 60 s and no pictures. Raises NotRobustError,
    UndecidedError: which images, with brackets; InputError.
    """
    given = {norm: radius for norm, radius in (("linf", linf), ("l1", l1), ("l2", l2)) if radius is not None}
    if len(given) != 1:
        raise InputError("assert_robust: one of linf=, l1= and l2= is expected: the radius in that norm")
    ((norm, radius),) = given.items()
    within = quantities.at_least(radius, norm).value
    loaded, rows, names = _inputs(model, images, labels)
    asserted = [_Asserted(names[place], x, label, within) for place, (x, label) in enumerate(rows)]
    _assert(loaded, asserted, _Region(norm, box, columns), timeout, report)


@_shown_at_the_call
def assert_min_distortion(
    model: Any,
    x: npt.ArrayLike,
    *,
    at_least: float | str,
    norm: str = "linf",
    label: int | None = None,
    box: tuple[npt.ArrayLike, npt.ArrayLike] = (0.0, 1.0),
    columns: Columns | None = None,
    timeout: float | None = None,
    report: Path | str | None = None,
) -> None:
    """No adversarial example of one input lies within `at_least` in `norm`. Raises as `assert_robust`."""
    within = quantities.at_least(at_least, "at_least").value
    loaded, rows, names = _inputs(model, [np.asarray(plain(x))], None if label is None else [label])
    _assert(loaded, [_Asserted(names[0], *rows[0], within)], _Region(norm, box, columns), timeout, report)


@_shown_at_the_call
def assert_no_less_robust(
    model: Any,
    images: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    baseline: Path | str,
    by: float = 0.0,
    norm: str = "linf",
    box: tuple[npt.ArrayLike, npt.ArrayLike] = (0.0, 1.0),
    columns: Columns | None = None,
    timeout: float | None = None,
    report: Path | str | None = None,
) -> None:
    """Every image's minimal distortion is at most `by` below what a baseline of `verifier gate` has proved.

    Images that the baseline lacks do not count; InputError where it has none of them. Raises as `assert_robust`.
    """
    loaded, rows, names = _inputs(model, images, labels)
    before = read_baseline(Path(baseline))
    before.must_be_about(columns)
    known = before.of(Group(loaded.path, norm))
    asserted = []
    for place, (x, label) in enumerate(rows):
        point = loaded.vector(x).astype(loaded.dtype)
        own = loaded.predict(point) if label is None else label
        lower = known.get(identity(digest(str(point.dtype), point.tobytes()), own))
        if lower is not None and lower > by:
            asserted.append(_Asserted(names[place], x, label, lower - by))
    if not known or not asserted:
        raise InputError(f"{baseline}: it proves nothing of these images in {norm}: write it with verifier gate")
    _assert(loaded, asserted, _Region(norm, box, columns), timeout, report)


def _inputs(
    model: Any, images: npt.ArrayLike, labels: npt.ArrayLike | None
) -> tuple[api.Model, list[tuple[npt.NDArray[Any], int | None]], list[str]]:
    """The model, each image with its label, and what each is called. Raises InputError."""
    loaded = model if isinstance(model, api.Model) else api.load(model)
    rows = np.asarray(plain(images))
    size = loaded.graph.input_size
    if rows.size == size:
        rows = rows.reshape(1, -1)
    if rows.size == 0 or rows.size != len(rows) * size:
        raise InputError(f"images of shape {rows.shape} are no inputs of {size} numbers each")
    told = np.asarray([] if labels is None else plain(labels))
    if labels is not None and told.size != len(rows):
        raise InputError(wrong_labels(told.shape, len(rows)))
    wanted = [None] * len(rows) if labels is None else told.reshape(-1).tolist()
    names = [f"image {place}" for place in range(len(rows))]
    return loaded, [(row.reshape(-1), label) for row, label in zip(rows, wanted, strict=True)], names


def _assert(
    model: api.Model,
    asserted: Sequence[_Asserted],
    region: _Region,
    timeout: float | None,
    report: Path | str | None,
) -> None:
    timeout = LIMITS.timeout if timeout is None else timeout
    report = LIMITS.report if report is None else report
    budget = Budget(timeout)
    found = list(_checks(model, asserted, region, budget))
    failed = [(one, check) for one, check in found if isinstance(check.verdict, Violated)]
    undecided = [(one, check) for one, check in found if not isinstance(check.verdict, Violated | Holds)]
    if not failed and not undecided:
        return
    folder, drawing = Path(report) if report is not None else None, Budget(DRAWING)
    lines = [f"{len(failed)} of {len(found)} inputs are not robust in {region.told}"] if failed else []
    for one, check in failed[:SHOWN]:
        lines.append(f"  {one.name}: {_refuted(check, one)}{_picture(model, one, check, region, folder, drawing)}")
    lines += _more(failed)
    if undecided:
        lines.append(
            f"{len(undecided)} of {len(found)} inputs are undecided in {region.told} after {timeout:g} s "
            "(for more: timeout=, --robustness-timeout)"
        )
    lines += [
        f"  {one.name}: undecided whether robust within {one.radius:g}: {check.reason}"
        for one, check in undecided[:SHOWN]
    ]
    lines += _more(undecided)
    raise (NotRobustError if failed else UndecidedError)("\n".join(lines))


def _more(named: Sequence[object]) -> list[str]:
    return [f"  and {len(named) - SHOWN} more"] if len(named) > SHOWN else []


def _checks(
    model: api.Model,
    asserted: Sequence[_Asserted],
    region: _Region,
    budget: Budget,
) -> Iterator[tuple[_Asserted, Check]]:
    for place, one in enumerate(asserted):
        share = budget.share(len(asserted) - place)
        norm, box, columns = region.norm, region.box, region.columns
        found = api.check(model, one.x, one.radius, norm=norm, label=one.label, box=box, timeout=share, columns=columns)
        yield one, found


def _refuted(check: Check, one: _Asserted) -> str:
    witness = check.witness
    assert witness is not None
    label = check.about.label if check.about is not None else one.label
    if witness.distance == 0.0:
        return f"misclassified as it is: as {witness.predicted}, and its label is {label}"
    return (
        f"class {label} becomes {witness.predicted} at a distance of {directed(witness.distance, up=True)}, "
        f"required beyond {one.radius:g}"
    )


def _picture(
    model: api.Model,
    one: _Asserted,
    check: Check,
    region: _Region,
    folder: Path | None,
    budget: Budget,
) -> str:
    if folder is None or check.witness is None or check.about is None:
        return ""
    shown = Shown(
        one.name, model.path.name, region.norm, check.about.label, one.x, tuple(model.network.input_shape), region.box
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = write_witness(shown, check.witness, folder, budget, _of_the_test())
    except (InputError, OSError) as error:
        return f" (no picture: {error})"  # what was found is not lost over it
    return f": {place}" if place is not None else ""


def _of_the_test() -> str:
    """What tells this test's files from those of others about the same image: its node id, "" without pytest."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
