"""The attacks on defences: gradients against differences, saturation, what counts as found; the table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import verifier
from benchmarks.attacks import defences
from benchmarks.attacks.defences import Row, chosen, cross_entropy, fgsm, nearest, pgd, summary, transfer
from benchmarks.harness.instances import loaded
from verifier import models

INPUTS = models.path("digits").with_name("digits_inputs.npz")


def digit(place: int) -> tuple[Any, int]:
    with np.load(INPUTS) as archive:
        return archive["x"][place], int(archive["y"][place])


@pytest.mark.parametrize("label", [0, 2])
def test_the_pull_is_a_gradient(label: int) -> None:
    logits = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)

    def loss(z: Any) -> float:
        return math.log(np.exp(z - z[label]).sum())

    exact = logits[0].astype(np.float64)
    differences = [(loss(exact + step) - loss(exact - step)) / 2e-5 for step in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(cross_entropy(logits, label)[0], differences, atol=1e-5)


def test_a_saturated_softmax_pulls_nowhere() -> None:
    far = np.array([[0.0, 200.0, 1.0]], dtype=np.float32)
    assert not cross_entropy(far, 1).any()
    assert cross_entropy(far, 0).any()


@pytest.mark.parametrize("place", [0, 7])
def test_points_lie_in_their_balls_and_in_the_box(place: int) -> None:
    image, label = digit(place)
    for points in (fgsm("digits", image, label), pgd("digits", image, label, seed=1)):
        assert points.shape == (len(defences.RADII), 64)
        assert points.dtype == np.float32
        assert points.min() >= 0
        assert points.max() <= 1
        assert np.all(np.abs(points - image).max(axis=1) <= defences.RADII + 1e-6)


def test_more_steps_find_nearer_points_and_none_is_beyond_the_minimum() -> None:
    found = []
    for place in (0, 7, 12):
        image, label = digit(place)
        one = nearest("digits", image, label, fgsm("digits", image, label))
        many = nearest("digits", image, label, pgd("digits", image, label, seed=0))
        best = defences.carlini_wagner("digits", image, label, seed=0)
        assert best <= many * 1.02
        found.append((one, many))
    assert np.mean([many for _, many in found]) <= np.mean([one for one, _ in found])


def test_what_carries_over_is_misclassified_and_not_below_the_minimum() -> None:
    images, labels = (np.array(part) for part in zip(*map(digit, (0, 7, 12)), strict=True))
    lengths = transfer("digits", images, labels, seed=0)
    assert sum(map(math.isfinite, lengths)) >= 2
    for image, length in zip(images, lengths, strict=True):
        assert length >= verifier.minimal(loaded("digits"), image, semantics="real").lower


def test_only_misclassified_points_count() -> None:
    image, label = digit(0)
    assert nearest("digits", image, label, image[np.newaxis]) == math.inf
    other, _ = digit(7)
    points = np.array([image, other])
    assert loaded("digits").predict(other) != label
    assert nearest("digits", image, label, points) == pytest.approx(np.abs(other - image).max())


def row(**fields: Any) -> Row:
    known: dict[str, Any] = {
        "model": "mnist_n", "index": 1, "label": 3, "flat": False, "fgsm": 0.2, "pgd": 0.1, "carlini_wagner": 0.06,
        "transfer": math.inf, "lower": 0.05, "upper": 0.051, "status": "minimal", "seconds": 1.0,
    }  # fmt: skip
    return Row(**{**known, **fields})


def test_the_table_counts_failures_as_far() -> None:
    masked = {"model": "mnist_n_masked", "flat": True, "fgsm": math.inf, "transfer": 0.3}
    rows = [row(), row(index=2, upper=0.071), row(**masked), row(**masked, index=2, pgd=math.inf, status="bracketed")]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in summary(rows).splitlines()[2:]]
    assert [line[0] for line in lines] == ["none", "masked gradients"]
    assert lines[0][2:] == [
        "0/2",
        "2/2",
        "0.2000",
        "2/2",
        "0.1000",
        "2/2",
        "0.0600",
        "0/2",
        "> 0.5",
        "0.0500",
        "0.0610",
        "2/2",
    ]
    assert lines[1][2:] == [
        "2/2",
        "0/2",
        "> 0.5",
        "1/2",
        "> 0.5",
        "2/2",
        "0.0600",
        "2/2",
        "0.3000",
        "0.0500",
        "0.0510",
        "1/2",
    ]


def test_images_are_right_under_every_net(mnist_folder: Any) -> None:
    from benchmarks.harness.mnist import load_mnist  # noqa: PLC0415 (60 000 images: only where they are there)

    mnist = load_mnist(mnist_folder)
    images, labels = mnist.test_images[:300], mnist.test_labels[:300]
    picked = chosen(images, labels, 5, seed=0)
    assert picked == chosen(images, labels, 5, seed=0) != chosen(images, labels, 5, seed=1)
    for index in picked:
        assert {loaded(name).predict(images[index]) for name in defences.NETS} == {labels[index]}
