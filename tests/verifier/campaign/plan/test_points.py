"""Files of other tools' points: which question each row answers, and what is wrong in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from tests.verifier.campaign.conftest import INPUTS
from verifier.campaign.plan.plan import Plan, read_plan
from verifier.campaign.plan.selection import Remarks, tasks_of
from verifier.campaign.plan.tasks import Wanted

X, Y = (np.load(INPUTS)[name] for name in ("x", "y"))
"""The shipped digits; the plans ask about 6 and 7."""
ROWS = np.array([7, 6, 7, 0])


@pytest.fixture
def asked(plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., list[Wanted]]:
    """asked(targets, arrays, remarks): what a plan wants with a file t.npz of these arrays."""

    def ask(targets: Any, arrays: dict[str, Any], remarks: Remarks | None = None) -> list[Wanted]:
        np.savez(tmp_path / "t.npz", **arrays)
        return tasks_of(plan(targets=targets, points=(tmp_path / "t.npz",)), remarks)

    return ask


def given(wanted: list[Wanted]) -> dict[tuple[int, str, int | None], list[float]]:
    """The first entries of the points of each input, tool and target."""
    return {
        (one.task.index, each.tool, each.target): each.points[:, 0].tolist() for one in wanted for each in one.given
    }


def numbered(count: int = len(ROWS), dtype: type = np.float32) -> Any:
    """Points whose first entry is their row."""
    return np.arange(count, dtype=dtype).reshape(-1, 1) * np.ones(64, dtype=dtype)


def test_rows_find_their_input_by_number(asked: Any) -> None:
    remarks: Remarks = {}
    found = asked("untargeted", {"points": numbered(), "index": ROWS}, remarks)
    assert given(found) == {(6, "t", None): [1.0], (7, "t", None): [0.0, 2.0]}
    assert list(remarks) == ["1 of 4 rows belong to no question of the plan"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_find_their_input_by_its_content(asked: Any, dtype: type) -> None:
    found = asked("untargeted", {"points": numbered(), "inputs": X[ROWS].reshape(4, 1, 8, 8).astype(dtype)})
    assert given(found) == {(6, "t", None): [1.0], (7, "t", None): [0.0, 2.0]}


def test_each_array_is_a_tool_and_keeps_its_dtype(asked: Any) -> None:
    arrays = {"index": ROWS, "pgd": numbered(dtype=np.float64).astype(">f8"), "ddn": numbered(dtype=np.uint8)}
    found = asked("untargeted", arrays)
    assert given(found)[7, "t:pgd", None] == given(found)[7, "t:ddn", None] == [0.0, 2.0]
    assert {each.points.dtype.str for one in found for each in one.given} == {"<f8"}
    half = asked("untargeted", {"index": ROWS, "points": numbered().astype(np.float16)})
    assert half[0].given[0].points.dtype.str == "<f2"


def test_targets_and_labels_choose_the_question(asked: Any) -> None:
    arrays = {"points": numbered(), "index": ROWS, "targets": np.array([1, 1, 2, 1])}
    assert given(asked((1, 2), arrays)) == {(6, "t", 1): [1.0], (7, "t", 1): [0.0], (7, "t", 2): [2.0]}
    assert given(asked("untargeted", arrays)) == {(6, "t", None): [1.0], (7, "t", None): [0.0, 2.0]}
    labels = Y[ROWS].astype(np.int64)
    labels[2] += 1
    assert given(asked("untargeted", {**arrays, "labels": labels}))[7, "t", None] == [0.0]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"points": numbered()}, "index .* and inputs .* is expected; it has neither"),
    ({"points": numbered(), "index": ROWS, "inputs": X[ROWS]}, "it has both"),
    ({"index": ROWS}, "an array points"),
    ({"points": numbered(3), "index": ROWS}, r"points has float32 values of shape \(3, 64\): .* 4 rows"),
    ({"points": numbered()[:, :63], "index": ROWS}, "t: inputs of shape 63; digits.onnx expects 1x64"),
    ({"points": numbered().reshape(4, 8, 8)[:, :, :4], "index": ROWS}, "8x4"),
    ({"points": numbered().astype(str), "index": ROWS}, "points has <U.* values"),
    ({"points": numbered(), "index": ROWS + 0.5}, "index has .*: whole numbers"),
    ({"points": numbered(), "index": ROWS[:, np.newaxis]}, "index has .*: whole numbers"),
    ({"points": numbered(), "index": ROWS, "targets": np.array([1])}, "targets has"),
    ({"points": numbered(), "index": ROWS, "labels": np.full(4, np.nan)}, "labels has"),
    ({"points": numbered(), "index": ROWS + 100}, "4 of 4 rows belong to no question"),
    ({"x" * 50: numbered(), "index": ROWS}, "is no name of at most 40"),
    ({"points": np.array([None] * 4), "index": ROWS}, "pickled"),
]


@pytest.mark.parametrize(("arrays", "told"), WRONG)
def test_what_is_wrong_is_told_in_a_line(asked: Any, arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"t.npz.*{told}") as raised:
        asked("untargeted", arrays)
    assert "\n" not in str(raised.value)


def test_single_targets_need_targets(asked: Any) -> None:
    with pytest.raises(InputError, match=r"no array targets .* or ask for targets untargeted"):
        asked("all", {"points": numbered(), "index": ROWS})


def test_names_that_mean_something_else_are_refused(plan: Callable[..., Plan], tmp_path: Path) -> None:
    paths = [tmp_path / "pgd.npz", tmp_path / "a/t.npz", tmp_path / "b/t.npz"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        np.savez(path, points=numbered(), index=ROWS)
    with pytest.raises(InputError, match="as an attack of this engine is"):
        tasks_of(plan(targets="untargeted", points=tuple(paths[:1])))
    with pytest.raises(InputError, match="two files have points of 't'"):
        tasks_of(plan(targets="untargeted", points=tuple(paths[1:])))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_that_is_no_archive(plan: Callable[..., Plan], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"t.npz is no readable .npz file"):
        tasks_of(plan(points=(tmp_path / "t.npz",)))
    with pytest.raises(InputError, match="no such file"):
        tasks_of(plan(points=(tmp_path / "none.npz",)))


def test_points_are_a_key_of_plans_and_no_part_of_what_is_asked(plan: Callable[..., Plan], tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('models = "digits"\ndata = "digits"\npoints = ["t.npz"]', encoding="utf-8")
    assert read_plan(path).points == (tmp_path / "t.npz",)
    assert plan(points=(Path("t.npz"),)).sha256 == plan().sha256
