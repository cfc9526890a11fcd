"""Every layout gives a PNG that shows something."""

import io
import logging

import numpy as np
import pytest
from PIL import Image

from verifier.problem.inputs.image_layout import image_layout
from verifier.report.pictures import MOST_CELLS, Cell, Scene, grid, span_of, triptych

SHAPES = [
    (1, 1, 28, 28),
    (1, 28, 28, 1),
    (1, 3, 8, 12),
    (1, 12, 8, 3),
    (1, 20, 60),
    (1, 64),
    (1, 784),
    (1, 13),
    (1, 2),
    (1, 300),
]


def scene(shape: tuple[int, ...]) -> Scene:
    rng = np.random.default_rng(0)
    return Scene(rng.random(int(np.prod(shape))).astype(np.float32), image_layout(shape), (0.0, 1.0))


def image(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as opened:
        opened.verify()
    with Image.open(io.BytesIO(png)) as opened:
        assert opened.format == "PNG"
        return np.asarray(opened.convert("RGB")).astype(float)


def changed(original: np.ndarray, amount: float = 0.1) -> np.ndarray:
    return (original + amount * np.where(np.arange(original.size) % 3, 1, -1)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_triptych_of_every_layout(shape: tuple[int, ...]) -> None:
    before = scene(shape)
    pixels = image(triptych(before, changed(before.original), "Title", "note", ("original", "adversarial")))
    assert pixels.var() > 0
    assert pixels.shape[0] < 2000
    assert pixels.shape[1] < 3000


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 8, 12), (1, 13)])
@pytest.mark.parametrize("targets", [1, 2, 9, MOST_CELLS + 5])
def test_grid_of_targets_some_without_an_example(shape: tuple[int, ...], targets: int) -> None:
    before = scene(shape)
    cells = [Cell(f"target {place}", changed(before.original) if place % 4 != 1 else None) for place in range(targets)]
    assert image(grid(before, cells, "Title", "note")).var() > 0


def test_no_change_at_all_and_no_example_at_all() -> None:
    before = scene((1, 64))
    assert image(triptych(before, before.original, "Title", "note", ("a", "b"))).var() > 0
    assert image(grid(before, [Cell("target 1", None)], "Title", "note")).var() > 0


def test_the_difference_shows_up_in_the_picture() -> None:
    before = scene((1, 64))
    same = image(triptych(before, before.original, "Title", "note", ("a", "b")))
    other = image(triptych(before, changed(before.original), "Title", "note", ("a", "b")))
    assert np.any(same != other)


def test_black_and_white_are_the_boxs_ends_where_it_has_ends() -> None:
    x = np.array([0.2, 0.7])
    assert span_of(np.zeros(2), np.ones(2), x) == (0.0, 1.0)
    assert span_of(np.full(2, -np.inf), np.full(2, np.inf), x, x + 1) == (0.2, 1.7)
    low, high = span_of(np.full(2, -np.inf), np.full(2, np.inf), np.zeros(2))
    assert low < 0 < high


def test_drawing_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    before = scene((1, 64))
    triptych(before, changed(before.original), "Title", "note", ("a", "b"))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("matplotlib").level == logging.ERROR
