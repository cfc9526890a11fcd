"""The step is FGSM's, what has fallen is not asked again, and the table adds up."""

from __future__ import annotations

import numpy as np
import pytest
from rich.progress import Progress

from benchmarks.attacks.fgsm_accuracy import Accuracy, decided, fgsm, summary
from benchmarks.harness.instances import loaded
from benchmarks.harness.mnist import Mnist
from encoders.network.graph import outputs
from verifier.attacks.base.search import Surrogate

MODEL = "mnist_n"


@pytest.fixture(scope="module")
def strokes() -> Mnist:
    """Images of 0 and 1 that the net labels itself, the last one wrongly."""
    rng = np.random.default_rng(0)
    images = (rng.random((4, 784)) < 0.3).astype(np.float32)
    labels = loaded(MODEL).replay.logits(images).argmax(axis=1).astype(np.int64)
    labels[-1] = (labels[-1] + 1) % 10
    return Mnist(images, labels, images, labels)


def test_the_step_climbs_the_cross_entropy_by_the_radius(strokes: Mnist) -> None:
    """Each pixel that may move does so by the radius, in the direction in which a finite difference climbs."""
    graph, radius = loaded(MODEL).network.graph, 0.01
    images, labels = strokes.test_images[:2] * np.float32(0.8) + np.float32(0.1), strokes.test_labels[:2]
    moved = fgsm(Surrogate(graph, "cpu", 1), images, labels, radius)
    delta = moved.astype(np.float64) - images
    assert np.abs(delta).max() == pytest.approx(radius, rel=1e-4)

    def loss(points: np.ndarray) -> np.ndarray:
        logits = outputs(graph, points)
        return np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)

    for image, label, step in zip(images.astype(np.float64), labels, delta, strict=True):
        for pixel in np.argsort(-np.abs(step))[:40]:
            ends = np.stack([image, image])
            ends[0, pixel] -= 1e-6
            ends[1, pixel] += 1e-6
            down, up = loss(ends) - outputs(graph, ends)[:, label]
            assert (up - down) * step[pixel] >= 0


def test_robust_violated_and_misclassified_images_are_told_apart(strokes: Mnist) -> None:
    with Progress(disable=True) as progress:
        row = decided(MODEL, strokes, 4, 1e-6, 30.0, [], progress)
        assert (row.images, row.asked, row.undecided) == (4, 4, 0)
        assert 3 in row.violated_images
        assert row.robust + row.violated == 4
        again = decided(MODEL, strokes, 4, 0.5, 30.0, [0, 1, 3], progress)
    assert again.asked == 1
    assert set(again.violated_images) >= {0, 1, 3}


def test_a_line_is_in_per_cent() -> None:
    row = Accuracy(MODEL, 0.1, 589, 10000, 50, 10, 39, 1, 40, 60.0, 20.0, (), (7,))
    cells = [cell.strip() for cell in summary([row]).splitlines()[-1].strip("|").split("|")]
    assert cells == [MODEL, "0.1", "5.89 %", "20.0 %", "78.0 %", "2.0 %", "1.50", "20.0"]
