"""Which attacks have a reference, radii searched on a net whose boundary is known, images counted, ratios."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.attacks.attack_references import PAIRS, Row, chosen_images, distance, ours, summary
from benchmarks.attacks.references import FINE, Peer, over_radii
from encoders.network.graph import GraphBuilder
from encoders.network.linear_maps import Dense, readonly
from verifier.attacks.base.problem import Metric
from verifier.attacks.registry import ATTACKS

WITHOUT = {"lbfgs"}  # L-BFGS in L∞ and L1 is this project's own; the published attack is lbfgs-l2


@pytest.fixture
def peer() -> Peer:
    """Class 1 wins where x₀ + x₁ ≥ 1.2; no PyTorch is needed to judge points."""
    builder = GraphBuilder(2)
    weight = readonly(np.array([[0.0, 0.0], [1.0, 1.0]]))
    return Peer(builder.graph(builder.affine([(Dense(weight), 0)], np.array([1.2, 0.0]))), None, None, (1, 1, 2))


def test_every_attack_has_a_reference() -> None:
    assert {pair.attack for pair in PAIRS} | WITHOUT == set(ATTACKS)
    assert len({(pair.attack, pair.measure) for pair in PAIRS}) == len(PAIRS)


def test_the_nearest_success_over_radii_is_within_a_step_of_the_boundary(peer: Peer) -> None:
    images = np.array([[0.5, 0.5], [0.1, 0.2], [0.0, 0.0]], dtype=np.float32)
    labels = np.zeros(3, dtype=np.int64)
    found = over_radii(Metric.LINF, lambda _, x, __, r: x + np.float32(r), peer, images, labels)
    assert peer.adversarial(found, labels).all()
    truth = np.array([0.1, 0.45, 0.6])
    lengths = np.abs(found - images).max(axis=1)
    assert (lengths >= truth - 1e-4).all()
    assert (lengths <= truth * FINE * 1.001).all()


def test_what_never_succeeds_stays_the_image(peer: Peer) -> None:
    images = np.zeros((1, 2), dtype=np.float32)
    found = over_radii(Metric.L1, lambda _, x, __, r: x, peer, images, np.zeros(1, dtype=np.int64))
    np.testing.assert_array_equal(found, images)


def test_our_side_aims_at_what_the_pair_says(peer: Peer) -> None:
    images, labels = np.array([[0.5, 0.5], [0.9, 0.9]], dtype=np.float32), np.array([0, 1])
    for pair in PAIRS:
        if pair.attack in ("fgsm", "bim", "pgd") and pair.measure == "linf":
            points = ours(pair, peer, images, labels)
            assert peer.adversarial(points, labels).all()
            np.testing.assert_allclose(distance("linf", points - images), [0.1, 0.3], rtol=0.02)


def test_a_line_and_its_ratio() -> None:
    row = Row("digits", "fab", "l2", "their FAB", 20, 19, 20, 0.51, 0.5, 2.0, 3.0)
    assert row.ratio == pytest.approx(1.02)
    cells = [cell.strip() for cell in summary([row]).splitlines()[-1].strip("|").split("|")]
    assert cells == [
        "digits", "`fab`", "l2", "their FAB", "19 / 20 of 20", "0.51 / 0.5", "1.020", "2.00", "1.5",
    ]  # fmt: skip


def test_the_shipped_digits_need_no_data() -> None:
    images, labels = chosen_images("digits", 5, Path("nowhere"))
    assert images.shape == (5, 64)
    assert labels.shape == (5,)
    assert distance("l0", images - images[:1])[0] == 0
