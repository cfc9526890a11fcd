"""What is kept of a batch's nodes: by numpy and by kernels the same, and what one node alone keeps."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.bounds.alpha_beta_crown import Start
from verifier.solvers.node_constants import STEPS_OF_ALPHA
from verifier.solvers.tree.batch_packing import BatchPacking, Halved
from verifier.solvers.tree.frontier import Frontier
from verifier.solvers.tree.stalling import Headway

NODES, RELUS = 5, 12
OPEN = np.array([0, 2, 3, 7, 8, 10])


@pytest.fixture(params=["numpy", "kernels"])
def kind(request: pytest.FixtureRequest) -> type[BatchPacking]:
    if request.param == "numpy":
        return BatchPacking
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    from verifier.solvers.tree.compiled_packing import CompiledPacking  # noqa: PLC0415 (imports numba)

    return CompiledPacking


def root_frontier() -> Frontier:
    """Of its ReLUs those that are not OPEN are active or inactive."""
    rng = np.random.default_rng(5)
    lower, upper = -rng.random(RELUS), rng.random(RELUS)
    lower[[1, 4, 9]], upper[[5, 6, 11]] = 0.1, -0.1
    upper[[1, 4, 9]], lower[[5, 6, 11]] = 2.0, -2.0
    return Frontier(lower, upper, 1.0, 0.0)


@pytest.mark.parametrize("relus", [OPEN, np.arange(RELUS)], ids=["open", "all"])
def test_halves_of_several_nodes_are_those_of_each(kind: type[BatchPacking], relus: np.ndarray) -> None:
    """Nodes are rows of larger arrays, of which some are not split."""
    made, rng, columns = root_frontier(), np.random.default_rng(6), np.array([2, 0, 5, 2])
    packing, rows = kind(made.root_bounds, OPEN, relus), np.array([0, 1, 2, 4])
    lower, upper = (np.tile(end, (NODES, 1)) for end in made.root_bounds)
    lower[:, OPEN] *= rng.choice([0.7, 1.0], (NODES, OPEN.size))
    upper[:, OPEN] *= rng.choice([0.7, 1.0], (NODES, OPEN.size))
    starts = packing.packed(*multipliers())
    refused = [False, True, False, False]
    halved = Halved([0.0, 0.1, 0.2, 0.4], starts[:4], refused, rows, lower[:, OPEN], upper[:, OPEN], columns)
    children = list(packing.halves(halved))
    (root,) = made.take()
    wanted = []
    for at, row in enumerate(rows.tolist()):
        root.refused, made._refusals = refused[at], 1000
        wanted += made.halves(root, 0.1 * row, lower[row], upper[row], starts[at], int(OPEN[columns[at]]))
    assert len(children) == len(wanted) == 8
    for found, other in zip(children, wanted, strict=True):
        assert (found.key, found.start, found.refused) == (pytest.approx(other.key), other.start, other.refused)
        for name in ("places", "lower", "upper"):
            ours, theirs = getattr(found, name), getattr(other, name)
            assert ours.dtype == theirs.dtype
            assert ours.tolist() == theirs.tolist()
    low, high = packing.bounds(children)
    for row, child in enumerate(children):
        ends = made.unpacked(child)
        assert np.array_equal(low[row], ends[0][relus])
        assert np.array_equal(high[row], ends[1][relus])


def test_bounds_of_other_relus_are_the_roots(kind: type[BatchPacking]) -> None:
    made = root_frontier()
    lower, upper = made.root_bounds[0].copy(), made.root_bounds[1].copy()
    lower[1], upper[3] = 0.5, 0.25
    node = made._packed(made.child(made.take()[0], 0.5, lower, upper, None))
    low, high = kind(made.root_bounds, OPEN, OPEN).bounds([node])
    assert np.array_equal(low[0], made.root_bounds[0][OPEN])
    assert np.array_equal(high[0], upper[OPEN])


def multipliers() -> tuple[Start, np.ndarray, Headway]:
    rng, shape = np.random.default_rng(7), (OPEN.size, NODES)
    beta = rng.normal(size=shape) * (rng.random(shape) < 0.4)
    beta[:, 1] = 0.0
    weights, shares = rng.random((2, NODES)), rng.random(NODES)
    best = Start(*(part.astype(np.float32) for part in (rng.random(shape), beta, weights, shares)))
    return best, np.array([0, 1, 3, 4]), Headway(rng.random(NODES), np.arange(NODES))


def test_multipliers_come_back(kind: type[BatchPacking]) -> None:
    """α as the nearest of its steps, all else as it was."""
    packing = kind(root_frontier().root_bounds, OPEN, OPEN)
    best, chosen, headway = multipliers()
    kept = packing.packed(best, chosen, headway)
    found = packing.starts(kept)
    steps = np.rint(best.alpha[:, chosen] * STEPS_OF_ALPHA).astype(np.float32)
    assert np.array_equal(found.alpha, steps / np.float32(STEPS_OF_ALPHA))
    for name in ("beta", "weights", "shares"):
        assert np.array_equal(getattr(found, name), getattr(best.columns(chosen), name))
    assert [(one.lack, one.stalled) for one in kept] == [(headway.lack[at], at) for at in chosen.tolist()]
