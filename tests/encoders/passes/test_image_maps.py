"""Motions of pictures against scipy's resampling, and against numpy where they only move whole pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from encoders.passes.image_maps import Grid, Motion, motion_map

RNG = np.random.default_rng(5)
TOLERANCE = 1e-7
"""Positions are rounded to 1e-9 pixel; pixels differ by at most 1."""


def moved(picture: np.ndarray, motion: Motion) -> np.ndarray:
    """scipy's bilinear interpolation with zeros outside, the motion written as its own convention wants it."""
    angle = np.radians(motion.rotate)
    # Rows point down: turning counter-clockwise by `angle`, back from the output to the source.
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / motion.scale
    centre = (np.array(picture.shape) - 1) / 2
    right, down = motion.translate
    offset = centre - back @ (centre + np.array([down, right]))
    return affine_transform(picture, back, offset, order=1, mode="grid-constant")


MOTIONS = [
    Motion(),
    Motion(rotate=10.0),
    Motion(rotate=-37.5, scale=1.2),
    Motion(scale=0.7),
    Motion(translate=(1.25, -0.5)),
    Motion(rotate=100.0, scale=0.9, translate=(-2.0, 0.75)),
    Motion(translate=(100.0, 0.0)),
]


@pytest.mark.parametrize("motion", MOTIONS, ids=str)
@pytest.mark.parametrize("shape", [(8, 8), (5, 9)])
def test_a_motion_is_scipys(motion: Motion, shape: tuple[int, int]) -> None:
    picture = RNG.random(shape)
    linear = motion_map(Grid(*shape), motion)
    np.testing.assert_allclose(
        linear.apply(picture.reshape(1, -1)).reshape(shape), moved(picture, motion), atol=TOLERANCE
    )
    assert linear.fan_in <= 4
    assert linear.data.size == 0 or linear.data.min() > 0
    assert linear.rows().sum(axis=1).max() <= 1 + 1e-12


def test_quarter_turns_and_whole_pixels_are_exact() -> None:
    picture = RNG.random((6, 6))

    def image(motion: Motion) -> np.ndarray:
        return motion_map(Grid(6, 6), motion).apply(picture.reshape(1, -1)).reshape(6, 6)

    np.testing.assert_array_equal(image(Motion()), picture)
    np.testing.assert_array_equal(image(Motion(rotate=90.0)), np.rot90(picture))
    np.testing.assert_array_equal(image(Motion(rotate=-90.0)), np.rot90(picture, -1))
    np.testing.assert_array_equal(image(Motion(translate=(2.0, 1.0)))[1:, 2:], picture[:-1, :-2])
    assert not image(Motion(translate=(2.0, 1.0)))[0].any()


@pytest.mark.parametrize("first", [True, False])
def test_channels_move_alike(first: bool) -> None:
    picture, motion = RNG.random((3, 4, 5)), Motion(rotate=20.0, translate=(0.5, 0.0))
    plane = motion_map(Grid(4, 5), motion)
    each = np.array([plane.apply(channel.reshape(1, -1)).reshape(4, 5) for channel in picture])
    flat = picture if first else np.moveaxis(picture, 0, -1)
    expected = each if first else np.moveaxis(each, 0, -1)
    result = motion_map(Grid(4, 5, 3, first), motion).apply(flat.reshape(1, -1))
    np.testing.assert_allclose(result.reshape(expected.shape), expected, atol=1e-12)
