"""The picture of one witness beside its input, and the two files in which a reviewer gets it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.files.packed import without_gz
from verifier.problem.budget import Budget
from verifier.problem.inputs.image_layout import image_layout
from verifier.problem.verdict import Witness
from verifier.problem.whole_file import written
from verifier.report import pictures
from verifier.report.directed_rounding import directed
from verifier.report.norm_signs import NORM_SIGNS

SAFE = re.compile(r"[^\w.-]+")
"""What is left out of an input's name where it becomes a file's."""


LONGEST = 200
"""Bytes of a file's name that are kept: file systems take 255, and endings follow."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An input, flat, and what was asked about it; box: two numbers or two arrays."""

    name: str
    model: str
    norm: str
    label: int
    x: npt.NDArray[Any]
    shape: tuple[int, ...]
    box: tuple[Any, Any]

    def stem(self, whose: str = "") -> str:
        """The name of its files, without what they end in; whose: what it begins with."""
        name = "-".join(
            SAFE.sub("_", part) for part in (whose, without_gz(Path(self.model)).stem, self.norm, self.name) if part
        )
        if len(name.encode()) <= LONGEST:
            return name
        told = hashlib.sha256(f"{whose}\0{self.name}".encode()).hexdigest()[:8]
        return f"{name.encode()[-LONGEST:].decode(errors='ignore')}-{told}"


def write_witness(shown: Shown, witness: Witness, folder: Path, budget: Budget, whose: str = "") -> Path | None:
    """Write the witness as NAME.npy, in the model's shape, and as NAME.png: its path, None where time is up.

    whose: what the names begin with, such as the test that failed, whose files are not to replace another's.
    Raises InputError where the folder cannot be written to.
    """
    point, stem = witness.point.reshape(shown.shape), shown.stem(whose)
    written(folder / f"{stem}.npy", lambda stream: np.save(stream, point, allow_pickle=False))
    if budget.ended:
        return None
    image = witness_png(shown, witness)
    return written(folder / f"{stem}.png", lambda stream: stream.write(image))


def witness_png(shown: Shown, witness: Witness) -> bytes:
    """Original, adversarial and difference, as a PNG."""
    flat = np.asarray(shown.x).reshape(-1)
    low, high = (np.asarray(end) for end in shown.box)
    scene = pictures.Scene(flat, image_layout(shown.shape), pictures.span_of(low, high, flat, witness.point))
    title = f"{shown.name}, {shown.model}, {NORM_SIGNS[shown.norm]}"
    note = f"an adversarial example at a distance of {directed(witness.distance, up=True)}"
    captions = f"original\nlabel {shown.label}", f"adversarial\npredicted {witness.predicted}"
    return pictures.triptych(scene, witness.point, title, note, captions)
