"""How a flat input is an image: told by the model's input shape, for reading image files and for drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_EDGE = 4
"""Axes shorter than this are features or channels, not the height or width of a picture."""
MIN_FLAT_SIDE = 8
"""A flat input of k² entries is taken for a k x k picture from this k on: the smallest digits in use are 8 x 8."""
GREY, RGB = 1, 3


def without_batch(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one input: `shape` without its leading batch axis of 1.

    >>> without_batch((1, 3, 32, 32)), without_batch((64,))
    ((3, 32, 32), (64,))
    """
    return tuple(shape[1:]) if len(shape) > 1 and shape[0] == 1 else tuple(shape)


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it.

    >>> shape_text((1, 28, 28))
    '1x28x28'
    """
    return "x".join(str(axis) for axis in shape) or "a single number"


@dataclass(frozen=True)
class ImageLayout:
    """A picture of height x width x channels (1 or 3), laid out in a flat input channels first or channels last."""

    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def size(self) -> int:
        return self.height * self.width * self.channels

    def to_image(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n,) → (H, W) in grey or (H, W, 3) in colour."""
        if self.channels == GREY:
            return flat.reshape(self.height, self.width)
        if self.channels_first:
            return np.moveaxis(flat.reshape(self.channels, self.height, self.width), 0, -1)
        return flat.reshape(self.height, self.width, self.channels)

    def to_flat(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W) or (H, W, 3) → (n,): the inverse of `to_image`."""
        if self.channels == RGB and self.channels_first:
            image = np.moveaxis(image, -1, 0)
        return image.reshape(-1)

    def __str__(self) -> str:
        return f"{self.width} x {self.height} pixels, {'grey' if self.channels == GREY else 'RGB'}"


def image_layout(shape: Sequence[int]) -> ImageLayout | None:
    """The picture that an input of the model's `shape` (with or without a batch axis of 1) is, or None.

    Pictures are 1 x H x W, H x W x 1, 3 x H x W, H x W x 3, H x W, and flat inputs of k² entries with k ≥ 8 (one axis,
    or one beside axes of 1).

    >>> str(image_layout((1, 784)))
    '28 x 28 pixels, grey'
    """
    axes = without_batch(shape)
    long = tuple(axis for axis in axes if axis != 1)
    match long if len(long) == 1 else axes:
        case (channels, height, width) if channels in (GREY, RGB):
            found = ImageLayout(height, width, channels, channels_first=True)
        case (height, width, channels) if channels in (GREY, RGB):
            found = ImageLayout(height, width, channels, channels_first=False)
        case (height, width):
            found = ImageLayout(height, width, GREY, channels_first=True)
        case (size,) if math.isqrt(size) ** 2 == size and math.isqrt(size) >= MIN_FLAT_SIDE:
            found = ImageLayout(math.isqrt(size), math.isqrt(size), GREY, channels_first=True)
        case _:
            return None
    return found if min(found.height, found.width) >= MIN_EDGE else None
