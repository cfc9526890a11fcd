"""Which inputs are pictures, and that their layout is turned there and back."""

import numpy as np
import pytest

from verifier.problem.inputs.image_layout import image_layout


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 1, 28, 20), "20 x 28 pixels, grey"),
        ((1, 28, 20, 1), "20 x 28 pixels, grey"),
        ((1, 3, 8, 12), "12 x 8 pixels, RGB"),
        ((1, 8, 12, 3), "12 x 8 pixels, RGB"),
        ((1, 28, 20), "20 x 28 pixels, grey"),
        ((1, 64), "8 x 8 pixels, grey"),
        ((784,), "28 x 28 pixels, grey"),
        ((1, 49), None),
        ((1, 13), None),
        ((1, 1, 100), "10 x 10 pixels, grey"),
        ((1, 784, 1), "28 x 28 pixels, grey"),
        ((1, 1, 13), None),
        ((1, 4, 8, 8), None),
        ((1, 3, 100), None),
        ((1, 1, 1, 784), "28 x 28 pixels, grey"),
        ((1, 1, 28, 1), None),
    ],
)
def test_layout_is_told_by_the_shape(shape: tuple[int, ...], text: str | None) -> None:
    layout = image_layout(shape)
    assert (str(layout) if layout else None) == text


@pytest.mark.parametrize("shape", [(1, 1, 8, 12), (1, 8, 12, 1), (1, 3, 8, 12), (1, 8, 12, 3), (1, 64)])
def test_to_image_and_back(shape: tuple[int, ...]) -> None:
    layout = image_layout(shape)
    assert layout is not None
    flat = np.arange(layout.size)
    image = layout.to_image(flat)
    assert image.shape[:2] == (layout.height, layout.width)
    np.testing.assert_array_equal(layout.to_flat(image), flat)
    if shape == (1, 3, 8, 12):
        assert image[2, 5, 1] == flat.reshape(shape)[0, 1, 2, 5]
