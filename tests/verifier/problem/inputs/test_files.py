"""INPUT and --box: every format, and every way in which a file can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from verifier.problem.inputs.files import read_input

FLAT = (1, 64)
GREY = (1, 1, 8, 8)
RGB_FIRST, RGB_LAST = (1, 3, 8, 12), (1, 8, 12, 3)
PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLOURS = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def save(path: Path, values: Any) -> Path:
    np.save(path, values, allow_pickle=values.dtype.hasobject)
    return path


@pytest.mark.parametrize(
    ("given", "shape"),
    [((64,), FLAT), ((1, 64), FLAT), ((8, 8), FLAT), ((1, 1, 8, 8), GREY), ((8, 8), GREY), ((64,), GREY)],
)
def test_npy_with_one_input(tmp_path: Path, given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    values = np.linspace(0, 1, 64)
    loaded = read_input(save(tmp_path / "x.npy", values.reshape(given)), shape, np.float32)
    assert loaded.x.shape == shape
    assert loaded.x.dtype == np.float32
    assert (loaded.index, loaded.count, loaded.label) == (0, 1, None)
    np.testing.assert_array_equal(loaded.x.reshape(-1), values.astype(np.float32))


@pytest.mark.parametrize("given", [(5, 64), (5, 8, 8), (5, 1, 8, 8)])
def test_npy_with_several_inputs_needs_an_index(tmp_path: Path, given: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(given)
    path = save(tmp_path / "x.npy", values)
    np.testing.assert_array_equal(
        read_input(path, GREY, np.float64, 3).x.reshape(-1), values.reshape(5, 64)[3], strict=True
    )
    with pytest.raises(InputError, match="holds 5 inputs: choose one with --index 0 to --index 4"):
        read_input(path, GREY, np.float64)


def test_npz_brings_its_label(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 64)), y=np.array([4, 5, 6]))
    assert read_input(path, FLAT, np.float32, 1).label == 5
    np.savez(path, x=np.zeros(64), y=7)
    assert read_input(path, FLAT, np.float32).label == 7
    np.savez(path, x=np.zeros(64), other=np.zeros(2))
    assert read_input(path, FLAT, np.float32).label is None


@pytest.mark.parametrize("name", ["x.png", "x.PNG"])
@pytest.mark.parametrize("shape", [FLAT, GREY, (1, 8, 8, 1), (1, 8, 8)])
def test_grey_png(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name)
    x = read_input(tmp_path / name, shape, np.float32).x
    assert x.shape == shape
    np.testing.assert_array_equal(x.reshape(8, 8), PIXELS.astype(np.float32) / np.float32(255))


def test_colour_png_in_both_layouts(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "x.png")
    wanted = COLOURS.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(read_input(tmp_path / "x.png", RGB_LAST, np.float32).x[0], wanted)
    np.testing.assert_array_equal(read_input(tmp_path / "x.png", RGB_FIRST, np.float32).x[0], wanted.transpose(2, 0, 1))


def test_grey_becomes_rgb_and_opaque_alpha_goes(tmp_path: Path) -> None:
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "grey.png")
    assert read_input(tmp_path / "grey.png", RGB_FIRST, np.float32).x.shape == RGB_FIRST
    Image.fromarray(PIXELS).convert("RGBA").save(tmp_path / "alpha.png")
    assert read_input(tmp_path / "alpha.png", GREY, np.float32).x.shape == GREY


def test_jpg(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.jpg")
    assert read_input(tmp_path / "x.jpg", GREY, np.float32).x.max() <= 1


@pytest.mark.parametrize(("delimiter", "header"), [(",", ""), (";", ""), ("\t", ""), (",", "\ufeff")])
def test_csv_rows_are_inputs(tmp_path: Path, delimiter: str, header: str) -> None:
    values = np.random.default_rng(0).random((3, 64))
    text = header + "\n".join(delimiter.join(map(str, row)) for row in values.tolist()) + "\n\n"
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    loaded = read_input(tmp_path / "x.csv", FLAT, np.float64, 2)
    assert loaded.count == 3
    np.testing.assert_array_equal(loaded.x[0], values[2])


def test_csv_with_header_and_labels(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,label,b\n0.25,3,0.5\n0.75,4,1\n")
    loaded = read_input(tmp_path / "x.csv", (1, 2), np.float32, 1)
    assert loaded.label == 4
    np.testing.assert_array_equal(loaded.x[0], np.float32([0.75, 1]))


def test_csv_grid_is_one_input(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "x.csv", PIXELS / 64, delimiter=",")
    np.testing.assert_allclose(read_input(tmp_path / "x.csv", GREY, np.float64).x[0, 0], PIXELS / 64)


def png(values: Any) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(values).save(path)


def npy(values: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, values, allow_pickle=values.dtype.hasobject)


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


def text(content: str | bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content) and None


def truncated(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        make(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def huge_header(path: Path) -> None:
    """An .npy of 3 bytes of data that claims 2^60 numbers."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
        stream.write(b"abc")


WRONG: list[tuple[str, Callable[[Path], None], tuple[int, ...], int | None, str]] = [
    ("x.txt", text("1"), FLAT, None, "cannot read .txt"),
    ("x", text("1"), FLAT, None, "without an extension"),
    ("x.npy", Path.mkdir, FLAT, None, "is a folder"),
    ("x.npy", text(""), FLAT, None, "no readable .npy"),
    ("x.npy", text("garbage"), FLAT, None, "no readable .npy"),
    ("x.npy", truncated(npy(np.zeros(64))), FLAT, None, "no readable .npy"),
    ("x.npy", huge_header, FLAT, None, "no readable .npy"),
    ("x.npy", npy(np.array([None] * 64)), FLAT, None, "no readable .npy"),
    ("x.npy", npy(np.array(["0.5"] * 64)), FLAT, None, "real numbers"),
    ("x.npy", npy(np.zeros(64, dtype=complex)), FLAT, None, "real numbers"),
    ("x.npy", npy(np.zeros(63)), FLAT, None, "has shape 63; the model takes 1x64"),
    ("x.npy", npy(np.zeros((8, 12, 3))), RGB_FIRST, None, "has shape 8x12x3; the model takes 1x3x8x12"),
    ("x.npy", npy(np.zeros(())), FLAT, None, "a single number"),
    ("x.npy", npy(np.zeros((0, 64))), FLAT, None, "has shape 0x64"),
    ("x.npy", npy(np.full(64, np.nan)), FLAT, None, "entry 0 is nan"),
    ("x.npy", npy(np.full(64, np.inf)), FLAT, None, "entry 0 is inf"),
    ("x.npy", npy(np.full(64, 1e300)), FLAT, None, "not a finite float32"),
    ("x.npy", npy(np.zeros((3, 64))), FLAT, 3, "--index 3 is out of range"),
    ("x.npy", npy(np.zeros((3, 64))), FLAT, -1, "--index -1 is out of range"),
    ("x.npy", npy(np.zeros(64)), FLAT, 1, "holds 1 input, from 0"),
    ("x.npz", npz(data=np.zeros(64)), FLAT, None, "no array 'x'; it holds 'data'"),
    ("x.npz", npz(x=np.array([None] * 64)), FLAT, None, "pickled"),
    ("x.npz", npz(x=np.zeros((2, 64)), y=np.zeros(3)), FLAT, 0, "3 labels for 2 inputs"),
    ("x.npz", npz(x=np.zeros((2, 64)), y=np.eye(2)), FLAT, 0, "of one-hot rows their argmax"),
    ("x.npz", npz(x=np.zeros(64), y=np.array(0.5)), FLAT, None, "not an integer"),
    ("x.npz", npz(x=np.zeros(64), y=np.array(["a"])), FLAT, None, "not an integer"),
    ("x.npz", truncated(npz(x=np.zeros(64))), FLAT, None, "no readable .npz"),
    ("x.npz", text("PK\x03\x04 nothing"), FLAT, None, "no readable .npz"),
    ("x.png", text("garbage"), FLAT, None, "no readable image"),
    ("x.png", truncated(png(np.tile(COLOURS, (1, 1, 1)))), RGB_LAST, None, "no readable image"),
    ("x.png", png(PIXELS[:7]), GREY, None, "is 8 x 7 pixels; the model takes 8 x 8 pixels, grey"),
    ("x.png", png(COLOURS[:, :8]), GREY, None, "is in colour"),
    ("x.png", png(PIXELS), (1, 13), None, "is 8 x 8 pixels; the model takes 1x13, which is no image"),
    ("x.png", png(PIXELS.astype(np.uint16) * 256), GREY, None, "16 bits a sample"),
    ("x.png", png(np.zeros((8, 8, 4), dtype=np.uint8)), GREY, None, "transparent"),
    ("x.csv", text(""), FLAT, None, "is empty"),
    ("x.csv", text("a,b\n"), (1, 2), None, "a header but no numbers"),
    ("x.csv", text("1,2\n3\n"), (1, 2), None, "line 2 has 1 cells, not 2"),
    ("x.csv", text("1,2\n3,x\n"), (1, 2), None, "line 2, column 2: 'x' is not a number"),
    ("x.csv", text("1,2\n\n3,\n"), (1, 2), None, "line 3, column 2: '' is not a number"),
    ("x.csv", text("1,2\n3,4\n"), FLAT, None, "2 rows of 2 numbers; the model takes 1x64"),
    ("x.csv", text("1,nan\n"), (1, 2), None, "entry 1 is nan"),
    ("x.csv", text(b"\xff\xfe\x00"), FLAT, None, "no readable .csv"),
]


@pytest.mark.parametrize(
    ("name", "make", "shape", "index", "message"), WRONG, ids=[f"{case[0]}: {case[4]}" for case in WRONG]
)
def test_wrong_files_are_refused_in_one_line(
    tmp_path: Path, name: str, make: Callable[[Path], None], shape: tuple[int, ...], index: int | None, message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError) as refused:
        read_input(tmp_path / name, shape, np.float32, index)
    assert message in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_input(tmp_path / "x.npy", FLAT, np.float32)
