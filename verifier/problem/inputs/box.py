"""The box of --box, and inputs that lie within rounding of its ends."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from encoders.errors import InputError
from encoders.files.array_files import AnyArray, npz_arrays
from verifier.problem.inputs.image_layout import shape_text

STEPS = 3
"""By so many numbers of the model's dtype rounding may put an input outside: (x − mean) / deviation rounds mean,
deviation and quotient, each by half a step, which is a whole one where the quotient's mantissa is short."""


def read_box(text: str, size: int) -> tuple[AnyArray, AnyArray]:
    """The box of --box: "LO,HI" with two numbers (infinite ones allowed), or the path of an .npz with arrays lo, hi.

    Returns lo and hi, each float64 (size,).

    Raises:
        InputError: not a number, NaN, lo > hi, or arrays of another size.
    """
    if text.lower().endswith(".npz"):
        path = Path(text)
        if not path.exists():
            raise InputError(f"--box: {path}: no such file")
        arrays = npz_arrays(path, ("lo", "hi"))
        lo, hi = (_box_end(path, name, arrays[name], size) for name in ("lo", "hi"))
    else:
        numbers = [_box_number(part) for part in text.split(",")]
        if len(numbers) != 2:
            raise InputError(f"--box takes two numbers LO HI or one .npz file with arrays lo and hi, not {text!r}")
        lo, hi = (np.full(size, number) for number in numbers)
    for name, end in (("lo", lo), ("hi", hi)):
        if np.isnan(end).any():
            raise InputError(f"--box: {name} is NaN at entry {np.flatnonzero(np.isnan(end))[0]}")
    empty = np.flatnonzero((lo > hi) | (lo == math.inf) | (hi == -math.inf))
    if empty.size:
        at = empty[0]
        raise InputError(f"--box is empty: lo {lo[at]:g} and hi {hi[at]:g} at entry {at}")
    return lo, hi


def _box_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--box takes two numbers LO HI or one .npz file, and {text!r} is neither") from None


def _box_end(path: Path, name: str, values: AnyArray, size: int) -> AnyArray:
    if values.dtype.kind not in "buif":
        raise InputError(f"--box: {path}: {name} holds {values.dtype} values, not numbers")
    if values.size not in (1, size):
        raise InputError(f"--box: {path}: {name} has shape {shape_text(values.shape)}; the input has {size} entries")
    with np.errstate(over="ignore"):
        return np.broadcast_to(values.astype(np.float64).reshape(-1), (size,))


def inside(x: AnyArray, lo: AnyArray, hi: AnyArray) -> tuple[AnyArray, str]:
    """x (n entries, in the model's dtype) within [lo, hi], and a remark on what was moved, "" where nothing was.

    Rounding to the model's dtype may put an input beyond the end of the box that it lies on, as 0.3 in float32, or
    MNIST's dark pixels after normalisation. Such entries move to the nearest number of that dtype in the box. Raises
    InputError that names the first entry that more than rounding has put outside.
    """
    flat = x.reshape(-1)
    wide = flat.astype(np.float64)
    outside = (wide < lo) | (wide > hi)
    if not outside.any():
        return x, ""
    back, left = flat, outside
    for _ in range(STEPS):
        toward = np.where(wide > hi, -np.inf, np.inf).astype(flat.dtype)
        back = np.where(left, np.nextafter(back, toward), back)
        left = (back < lo) | (back > hi)  # compared as float64
    if left.any():
        raise InputError(_complaint(wide, lo, hi, np.flatnonzero(left)))
    count, at = int(outside.sum()), int(np.flatnonzero(outside)[0])
    which = f"entry {at} lies" if count == 1 else f"{count} entries, the first {at}, lie"
    told = f"{which} outside the box by rounding to {flat.dtype}; moved to its end"
    return back.reshape(x.shape), told


def _complaint(flat: AnyArray, lo: AnyArray, hi: AnyArray, outside: AnyArray) -> str:
    at = outside[0]
    whole = bool(np.all(flat >= 0) and np.all(flat <= 255) and np.all(flat == np.round(flat)) and hi[at] == 1)
    wider = "widen the box (--box -inf inf: none)"
    hint = (
        f"values up to {flat.max():g}: scale them as the model takes them (bytes by 1/255), or {wider}"
        if whole
        else wider
    )
    return (
        f"entry {at} is {flat[at]:.9g}, outside the box [{lo[at]:.9g}, {hi[at]:.9g}] "
        f"({outside.size} of {flat.size} are); {hint}"
    )
