"""Readers of the formats that need more than numpy: .csv and image files."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoders.errors import InputError
from verifier.layout import GREY, ImageLayout, image_layout, shape_text, without_batch

Array = npt.NDArray[Any]
LABEL_COLUMNS = ("y", "label")
"""Headers of a .csv column that holds labels."""
DELIMITERS = ",;\t"
BYTE = 255
"""Images are scaled by 1/255."""


def read_csv(path: Path, shape: Sequence[int]) -> tuple[Array, Array | None]:
    """Numbers from a .csv: one input a row, or the whole file one input, whichever the model's `shape` says.

    A first line with a cell that is no number is a header; a column headed `y` or `label` holds labels.

    Raises:
        InputError: an empty file, a cell that is no number, or a row of another length, with its line number.
    """
    lines = _cells(path)
    header = lines[0][1] if any(_number(cell) is None for cell in lines[0][1]) else None
    body = lines[1:] if header else lines
    if not body:
        raise InputError(f"{path}: a header but no numbers below it")
    width = len(header or body[0][1])
    rows = [_row(path, number, cells, width) for number, cells in body]
    values = np.array(rows, dtype=np.float64)
    named = [place for place, cell in enumerate(header or ()) if cell.strip().lower() in LABEL_COLUMNS]
    labels = None
    if len(named) == 1:
        labels, values = values[:, named[0]], np.delete(values, named[0], axis=1)
    size = math.prod(shape)
    if values.shape[1] == size:
        return values, labels
    if values.size == size:
        return values.reshape(1, size), None
    raise InputError(
        f"{path} has {values.shape[0]} rows of {values.shape[1]} numbers; "
        f"the model takes {shape_text(shape)} ({size} numbers an input)"
    )


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """(line number from 1, cells) of every line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no readable .csv file: {error}") from None
    head = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from None
    if not lines:
        raise InputError(f"{path} is empty")
    return lines


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _row(path: Path, line: int, cells: list[str], width: int) -> list[float]:
    if len(cells) != width:
        raise InputError(f"{path}: line {line} has {len(cells)} cells, not {width}")
    numbers = []
    for column, cell in enumerate(cells, start=1):
        number = _number(cell)
        if number is None:
            raise InputError(f"{path}: line {line}, column {column}: {cell[:40]!r} is not a number")
        numbers.append(number)
    return numbers


def read_image(path: Path, shape: Sequence[int]) -> tuple[Array, None]:
    """An 8-bit image as float32 values pixel / 255, laid out as the model's `shape` says. It is never resized.

    Raises:
        InputError: no readable image, another size than the model's, colour or transparency that would be lost.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415, only image files need Pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns of decompression bombs
            with Image.open(path) as image:
                layout = _layout(path, shape, image.width, image.height)
                pixels = _pixels(path, image, layout)
    except (OSError, ValueError, SyntaxError, Warning, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no readable image: {reason}") from None
    values = pixels.astype(np.float32) / np.float32(BYTE)
    return layout.to_flat(values).reshape(tuple(shape)), None


def _layout(path: Path, shape: Sequence[int], width: int, height: int) -> ImageLayout:
    inner = without_batch(shape)
    layout = image_layout(shape)
    if layout is None and len(inner) == 1 and inner[0] == width * height:
        layout = ImageLayout(height, width, GREY, channels_first=True)
    if layout is None:
        raise InputError(
            f"{path} is {width} x {height} pixels; the model takes {shape_text(shape)}, which is no image of that size"
        )
    if (layout.width, layout.height) != (width, height):
        raise InputError(
            f"{path} is {width} x {height} pixels; the model takes {layout} (resize it as the model was trained)"
        )
    return layout


def _pixels(path: Path, image: Any, layout: ImageLayout) -> Array:
    """(H, W) or (H, W, 3) uint8, without loss: grey may become RGB, colour and transparency are never dropped."""
    if image.mode.startswith("I") or image.mode == "F":
        raise InputError(f"{path} has more than 8 bits a pixel ({image.mode}); save it as 8-bit or as .npy")
    rgba = np.asarray(image.convert("RGBA"))
    if np.any(rgba[..., 3] != BYTE):
        raise InputError(f"{path} has transparent pixels; save it without an alpha channel")
    rgb: Array = rgba[..., :3]
    if layout.channels != GREY:
        return rgb
    if np.any(rgb != rgb[..., :1]):
        raise InputError(f"{path} is in colour; the model takes {layout}: convert it as the model was trained")
    return rgb[..., 0]
