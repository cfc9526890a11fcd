"""Sources of inputs, which of them are selected, and their targets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from verifier import api, models
from verifier.campaign.plan.data import Data, open_data
from verifier.campaign.plan.plan import TARGETS, Plan, Selection
from verifier.campaign.plan.selection import KINDS, select, targets_of, tasks_of

MODEL = api.load(models.path("digits"))
INPUTS = models.path("digits").with_name("digits_inputs.npz")
LOGITS = np.array([3.0, 1.0, -2.0, 5.0], dtype=np.float32)


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data(str(INPUTS))


def test_digits_are_scikit_learns() -> None:
    digits = open_data("digits")
    assert digits.count == 1797
    assert digits.labels is not None
    assert MODEL.predict(digits.point(0, MODEL)) == digits.labels[0] == 0


def test_idx_files(tmp_path: Path) -> None:
    pixels = np.arange(128, dtype=np.uint8)
    images = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 8, 8)) + pixels.tobytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (2).to_bytes(4, "big") + b"\7\2")
    found = open_data(str(tmp_path))
    assert found.labels is not None
    assert (found.count, found.labels.tolist()) == (2, [7, 2])
    assert np.array_equal(found.point(1, MODEL), pixels[64:].astype(np.float32) / np.float32(255))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + (3).to_bytes(4, "big") + b"\7\2")
    with pytest.raises(InputError, match="do not fit the shape"):
        open_data(str(tmp_path))


def test_folders_of_images(tmp_path: Path) -> None:
    for label, name, shade in (("3", "a.png", 10), ("3", "b.png", 20), ("5", "a.png", 30)):
        (tmp_path / "c" / label).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), shade).save(tmp_path / "c" / label / name)
    found = open_data(str(tmp_path / "c"))
    assert found.labels is not None
    assert found.labels.tolist() == [3, 3, 5]
    assert found.point(2, MODEL)[0] == np.float32(30) / np.float32(255)
    flat = open_data(str(tmp_path / "c" / "3"))
    assert (flat.count, flat.labels) == (2, None)
    with pytest.raises(InputError, match="no labels"):
        select(flat, [MODEL], Selection(per_class=1))


@pytest.mark.parametrize("name", ["none", "none.npz", "a.txt", "."])
def test_a_source_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="data: "):
        open_data(str(tmp_path / name))


def test_selections(data: Data) -> None:
    assert select(data, [MODEL], Selection()) == list(range(20))
    assert select(data, [MODEL], Selection(indices=(7, 3))) == [7, 3]
    one, other = (select(data, [MODEL], Selection(count=5, seed=seed)) for seed in (0, 1))
    assert len(one) == len(other) == 5
    assert one != other
    assert one == select(data, [MODEL], Selection(count=5))
    each = select(data, [MODEL], Selection(per_class=1))
    assert data.labels is not None
    assert sorted(data.labels[each]) == list(range(10))
    with pytest.raises(InputError, match="3 inputs of class 0 were asked for; 2 fit"):
        select(data, [MODEL], Selection(per_class=3))


def test_only_correctly_classified(data: Data) -> None:
    assert data.labels is not None
    wrong = Data("wrong", data.count, np.where(np.arange(20) == 4, 9 - data.labels, data.labels), data.read)
    assert 4 in select(wrong, [MODEL], Selection())
    assert 4 not in select(wrong, [MODEL], Selection(correct=True))


@pytest.mark.parametrize(
    ("kind", "targets"),
    [("all", (0, 1, 2)), ("next", (0,)), ("least-likely", (2,)), ("untargeted", (None,)), ((3, 1), (1,))],
)
def test_targets(kind: str | tuple[int, ...], targets: tuple[int | None, ...]) -> None:
    assert targets_of(kind, 3, LOGITS, [0, 0]) == targets


def test_a_random_target_is_the_seeds_and_never_the_label() -> None:
    drawn = [targets_of("random", 3, LOGITS, [0, index]) for index in range(40)]
    assert drawn == [targets_of("random", 3, LOGITS, [0, index]) for index in range(40)]
    assert set(drawn) == {(0,), (1,), (2,)}


def test_every_kind_of_target_has_its_rule() -> None:
    assert tuple(KINDS) == TARGETS
    with pytest.raises(InputError, match="10 is not a class"):
        targets_of((10,), 0, np.zeros(10, dtype=np.float32), [0])


def test_a_tasks_identity_is_its_content(plan: Callable[..., Plan]) -> None:
    first, second = tasks_of(plan())
    again = tasks_of(plan((7, 6)))[1]
    assert first.task.id == again.task.id
    other = tasks_of(plan(precision=1e-4))[0]
    ids = {first.task.id, second.task.id, other.task.id, *(first.task.instance(target) for target in first.targets)}
    assert len(ids) == 3 + 9
