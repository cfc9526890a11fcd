"""The certificate of a question about an input, as the Python API asks for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.problem.arguments import real
from verifier.problem.budget import Budget
from verifier.problem.inputs.columns import Columns
from verifier.runtime.model import Model
from verifier.search.question import DEFAULT_BOX, Box, InputRegion, Misclassification, specify
from verifier.search.settings import budget_of

if TYPE_CHECKING:
    from verifier.certificates.builder import Certified


def certificate(
    model: Model,
    x: npt.ArrayLike,
    radius: float,
    witness: npt.ArrayLike | None = None,
    *,
    target: int | None = None,
    label: int | None = None,
    norm: str = "linf",
    box: Box = DEFAULT_BOX,
    margin: float = 0.0,
    timeout: float | Budget = math.inf,
    memory: str | float | None = None,
    float32: float = 0.0,
    columns: Columns | None = None,
) -> Certified:
    """A certificate that no x' of the box with ‖x' − x‖ < radius is adversarial (0: no claim), and that `witness` is.

    For a bracket these are its `lower` and `witness.point`, taken as `x` is; inf: the whole box. float32: a radius for
    such evaluations; `result.float32` is proved. norm: linf, l1, l2. columns: a bracket's grid.
    Raises InputError, NotCertifiedError (no proof), OutOfTimeError.
    """
    from verifier.certificates.builder import certified  # noqa: PLC0415, most questions want no certificate

    budget, ends = budget_of(timeout, memory), [real(radius, "the radius"), real(float32, "the radius for float32")]
    if not min(ends) >= 0:
        raise InputError(f"the radius must be a number ≥ 0, not {min(ends):g}")
    asked = specify(model, InputRegion(x, norm, box, columns), Misclassification(target, label, margin), budget)
    return certified(asked, ends[0], None if witness is None else _point(model, witness), budget, ends[1])


def _point(model: Model, witness: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """The witness as inputs are taken. Raises InputError."""
    try:
        return model.vector(witness)
    except InputError as error:
        raise InputError(f"the witness: {error}") from None
