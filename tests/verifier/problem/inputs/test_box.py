"""--box, and inputs that rounding puts beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.inputs.box import inside, read_box


@pytest.mark.parametrize(
    ("given", "lo", "hi"), [("0,1", 0, 1), ("-inf,inf", -np.inf, np.inf), ("-1.5,-1.5", -1.5, -1.5)]
)
def test_box_of_two_numbers(given: str, lo: float, hi: float) -> None:
    low, high = read_box(given, 3)
    np.testing.assert_array_equal(low, np.full(3, lo))
    np.testing.assert_array_equal(high, np.full(3, hi))


def test_box_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "box.npz"
    np.savez(path, lo=np.zeros((2, 2)), hi=1)
    lo, hi = read_box(str(path), 4)
    np.testing.assert_array_equal(lo, np.zeros(4))
    np.testing.assert_array_equal(hi, np.ones(4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0", "two numbers"),
        ("0,1,2", "two numbers"),
        ("a,b", "neither"),
        ("", "neither"),
        ("nan,1", "NaN"),
        ("1,0", "empty"),
        ("inf,inf", "empty"),
        ("-inf,-inf", "empty"),
        ("missing.npz", "no such file"),
    ],
)
def test_wrong_boxes(given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_box(given, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"lo": np.zeros(3)}, "no array 'hi'"),
        ({"lo": np.zeros(3), "hi": np.ones(2)}, "hi has shape 2; the input has 3"),
        ({"lo": np.zeros(3), "hi": np.array([1, np.nan, 1])}, "hi is NaN at entry 1"),
        ({"lo": np.array([0, 0, 2]), "hi": np.ones(3)}, "empty: lo 2 and hi 1 at entry 2"),
        ({"lo": np.array(["a"] * 3), "hi": np.ones(3)}, "not numbers"),
    ],
)
def test_wrong_box_files(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "box.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_box(str(tmp_path / "box.npz"), 3)


def test_outside_the_box_names_the_first_entry_and_guesses_at_bytes() -> None:
    lo, hi = np.zeros(3), np.ones(3)
    x, told = inside(np.array([0.0, 1, 0.5]), lo, hi)
    np.testing.assert_array_equal(x, [0, 1, 0.5])
    assert not told
    with pytest.raises(InputError, match=r"entry 1 is 1.5, outside the box \[0, 1\] \(2 of 3 are\); widen the box"):
        inside(np.array([0, 1.5, -0.5]), lo, hi)
    with pytest.raises(
        InputError, match=r"values up to 200: scale them as the model takes them \(bytes by 1/255\), or widen the box"
    ):
        inside(np.array([0.0, 1, 200]), lo, hi)


MEAN, DEVIATION = 0.1307, 0.3081
"""MNIST's, as PyTorch's examples normalise it."""
LIGHTEST = (np.float32(1) - np.float32(MEAN)) / np.float32(DEVIATION)
DARKEST = (np.float32(0) - np.float32(MEAN)) / np.float32(DEVIATION)


@pytest.mark.parametrize(
    ("value", "lo", "hi"),
    [
        (np.float32(0.3), 0.0, 0.3),
        (np.float32(-0.3), -0.3, 0.0),
        (LIGHTEST, -MEAN / DEVIATION, (1 - MEAN) / DEVIATION),
        (DARKEST, -MEAN / DEVIATION, (1 - MEAN) / DEVIATION),
        (np.float64(0.1 + 0.2), 0.0, 0.3),
        (np.float32(-1e-45), 0.0, 1.0),
    ],
)
def test_what_rounding_puts_outside_is_moved_to_the_end(value: Any, lo: float, hi: float) -> None:
    assert not lo <= float(value) <= hi
    x = np.full((1, 3), 0.5 * (lo + hi), dtype=value.dtype)
    x[0, 1] = value
    moved, told = inside(x, np.full(3, lo), np.full(3, hi))
    assert moved.shape == x.shape
    assert moved.dtype == x.dtype
    assert np.all((moved.astype(float) >= lo) & (moved.astype(float) <= hi))
    beyond = np.nextafter(moved[0, 1], value, dtype=value.dtype)
    assert not lo <= float(beyond) <= hi
    assert moved[0, 0] == x[0, 0]
    assert told == f"entry 1 lies outside the box by rounding to {value.dtype}; moved to its end"


@pytest.mark.parametrize("end", [0.3, -0.3])
def test_more_than_rounding_is_outside(end: float) -> None:
    value = np.float32(end)
    while abs(value - np.float32(end)) < 3 * np.spacing(np.abs(np.float32(end))):
        value = np.nextafter(value, np.float32(2 * end), dtype=np.float32)
    lo, hi = np.full(2, min(end, 0)), np.full(2, max(end, 0))
    with pytest.raises(InputError, match=r"entry 1 is -?0.3000001\d*, outside the box"):
        inside(np.array([np.float32(end), value]), lo, hi)


def test_a_box_without_a_number_of_the_dtype_holds_no_input() -> None:
    with pytest.raises(InputError, match=r"outside the box \[0.3, 0.3\]"):
        inside(np.array([np.float32(0.3)]), np.full(1, 0.3), np.full(1, 0.3))


def test_several_are_counted() -> None:
    _, told = inside(np.full(4, np.float32(0.3)), np.zeros(4), np.full(4, 0.3))
    assert told == "4 entries, the first 0, lie outside the box by rounding to float32; moved to its end"
