"""Inputs from .png and .jpg files: every sample as it is stored, or a refusal."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import InputError
from encoders.files.array_files import AnyArray
from encoders.files.regular_file import regular_size
from verifier.problem.inputs.image_layout import GREY, ImageLayout, image_layout, shape_text, without_batch

BYTE = 255
"""Images are scaled by 1/255."""
LARGEST_IMAGE = 2**28
"""Bytes of a file; none of a model's size is larger."""
FORMATS = ("PNG", "JPEG")
EXACT = {"1", "L;2", "L;4", "L", "P;1", "P;2", "P;4", "P", "RGB", "RGBA", "LA"}
"""How samples are stored that Pillow gives as 8 bits without loss. Of 16 bits it drops 8, and CMYK is a guess."""
PACKED = {"1", "L;2", "L;4"}
"""Grey of fewer than 8 bits, in which Pillow looks for the transparent value among samples that it has scaled."""
ORIENTATION, UPRIGHT = 0x0112, 1
"""The EXIF tag that tells how a camera was held."""
SRGB_GAMMA, GAMMA_SLACK = 1 / 2.2, 0.01
"""What gAMA says of nearly every PNG, and how far its five digits may be from it."""


def read_image(path: Path, shape: Sequence[int]) -> tuple[AnyArray, tuple[str, ...]]:
    """An 8-bit image as float32 values sample / 255, laid out as the model's `shape` says, and remarks on it.

    It is never resized, turned or converted. Raises InputError: no readable image, another size than the model's,
    more than 8 bits a sample, several pictures, colour or transparency that would be lost.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415, only image files need Pillow

    regular_size(path, LARGEST_IMAGE)
    try:
        with warnings.catch_warnings():
            # Pillow only warns of decompression bombs and of damage that it reads over.
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", UserWarning)
            with Image.open(path, formats=FORMATS) as image:
                layout = _layout(path, shape, image.width, image.height)
                _check_stored(path, image)
                pixels = _pixels(path, image, layout)
                remarks = tuple(_remarks(image))
    except (
        OSError,
        ValueError,
        SyntaxError,
        struct.error,
        RuntimeWarning,
        UserWarning,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is no readable image: {reason}") from None
    values = pixels.astype(np.float32) / np.float32(BYTE)
    return layout.to_flat(values).reshape(tuple(shape)), remarks


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


def _check_stored(path: Path, image: Any) -> None:
    """Refuse what Pillow would change as it decodes."""
    for tile in image.tile:
        arguments = tile[3]
        stored = arguments if isinstance(arguments, str) else arguments[0]
        if "16" in stored:
            raise InputError(f"{path} has 16 bits a sample; save it with 8, or its values as .npy")
        if stored not in EXACT:
            raise InputError(f"{path} stores {image.mode} samples ({stored}); save it in grey or RGB, 8 bits a sample")
        if stored in PACKED and "transparency" in image.info:
            raise InputError(f"{path} has a transparent colour; save it without one")
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise InputError(f"{path} holds {pictures} pictures; save the one that is meant")


def _pixels(path: Path, image: Any, layout: ImageLayout) -> AnyArray:
    """(H, W) or (H, W, 3) uint8, without loss: grey may become RGB, colour and transparency are never dropped."""
    rgba = np.asarray(image.convert("RGBA"))
    if np.any(rgba[..., 3] != BYTE):
        raise InputError(f"{path} has transparent pixels; save it without an alpha channel")
    rgb: AnyArray = rgba[..., :3]
    if layout.channels != GREY:
        return rgb
    if np.any(rgb != rgb[..., :1]):
        raise InputError(f"{path} is in colour; the model takes {layout}: convert it as the model was trained")
    return rgb[..., 0]


def _remarks(image: Any) -> Iterator[str]:
    """What the file says of its samples and other programs may apply."""
    turned = image.getexif().get(ORIENTATION, UPRIGHT)
    if turned != UPRIGHT:
        yield f"its EXIF orientation {turned} is not applied: pixels are taken as they are stored"
    if image.info.get("icc_profile"):
        yield "its colour profile is not applied: pixels are taken as they are stored"
    gamma = image.info.get("gamma")
    if gamma is not None and abs(gamma - SRGB_GAMMA) > GAMMA_SLACK:
        yield f"its gamma {gamma:g} is not applied: pixels are taken as they are stored"
