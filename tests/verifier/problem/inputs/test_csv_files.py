"""Numbers from .csv files: headers, indices and labels are found, told, and never guessed where both may be meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import InputError
from verifier.problem.inputs import csv_files
from verifier.problem.inputs.csv_files import read_csv

TWO = (1, 2)
ROWS = [[0.9, 0.2], [0.3, 0.6]]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0,1\n0.9,0.2\n0.3,0.6\n", "line 1 is taken for a header"),  # pandas, index=False
        (",0,1\n0,0.9,0.2\n1,0.3,0.6\n", "column 1 has no name and is left out as an index"),  # pandas
        ("Unnamed: 0,0,1\n0,0.9,0.2\n1,0.3,0.6\n", "left out as an index"),  # pandas, read and written again
        (",a,b\n5,0.9,0.2\n7,0.3,0.6\n", "left out as an index"),
        ("a;b\n0.9;0.2\n0.3;0.6\n", "line 1 is taken for a header"),
        ('"a,b";c\n0.9;0.2\n0.3;0.6\n', "line 1 is taken for a header"),
        ("0.9,0.2\n0.3,0.6", "2 rows of 2 numbers read"),
        ("0.9,0.2\r\n0.3,0.6\r\n", "2 rows of 2 numbers read"),
        ("0.9,0.2\r0.3,0.6\r", "2 rows of 2 numbers read"),
        ("\ufeff0.9,0.2\n0.3,0.6\n", "2 rows of 2 numbers read"),
        ("\n\n0.9,0.2\n \n0.3,0.6\n\n", "2 rows of 2 numbers read"),
        ("\t0.9,\t0.2\n\t0.3,\t0.6\n", "2 rows of 2 numbers read"),
        (" 0.9, 0.2\n 0.3, 0.6\n", "2 rows of 2 numbers read"),
        ('"0.9","0.2"\n"0.3","0.6"\n', "2 rows of 2 numbers read"),
        ("0.9\t0.2\n0.3\t0.6\n", "2 rows of 2 numbers read"),
        ("9e-1,2.0E-1\n+.3,0.6\n", "2 rows of 2 numbers read"),
    ],
)
def test_rows_are_read_alike(tmp_path: Path, text: str, told: str) -> None:
    values, labels, notes, _ = read_csv(write(tmp_path / "x.csv", text), TWO)
    np.testing.assert_array_equal(values, ROWS)
    assert labels is None
    assert len(notes) == 1
    assert told in notes[0]
    assert notes[0].startswith("2 rows of 2 numbers read")


@pytest.mark.parametrize(
    "text",
    [
        "label,0,1\n7,0.9,0.2\n8,0.3,0.6\n",
        "0,1,y\n0.9,0.2,7\n0.3,0.6,8\n",
        ",0,1,label\n0,0.9,0.2,7\n1,0.3,0.6,8\n",
        "LABEL ,a,b\n7,0.9,0.2\n8,0.3,0.6\n",
    ],
)
def test_labels(tmp_path: Path, text: str) -> None:
    values, labels, notes, _ = read_csv(write(tmp_path / "x.csv", text), TWO)
    np.testing.assert_array_equal(values, ROWS)
    np.testing.assert_array_equal(labels, [7, 8])
    assert "holds labels" in notes[0]


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("columns", [2, 5, 64])
def test_what_pandas_writes_for_an_array(tmp_path: Path, columns: int, index: bool) -> None:
    """Its headers are the columns' numbers, floats as repr says them, and an index without a name."""
    values = np.random.default_rng(columns).random((4, columns))
    lines = [",".join([""] * index + [str(column) for column in range(columns)])]
    lines += [",".join([str(row)] * index + [repr(cell) for cell in values[row].tolist()]) for row in range(4)]
    path = write(tmp_path / "x.csv", "\n".join(lines) + "\n")
    np.testing.assert_array_equal(read_csv(path, (1, columns))[0], values)


def test_whole_numbers_below_a_run_are_ambiguous_where_it_is_short(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "0,1\n3,4\n")
    with pytest.raises(InputError, match="line 1 may be a header or an input: say --header yes or --header no"):
        read_csv(path, TWO)
    np.testing.assert_array_equal(read_csv(path, TWO, "yes")[0], [[3, 4]])
    np.testing.assert_array_equal(read_csv(path, TWO, "no")[0], [[0, 1], [3, 4]])
    long = write(tmp_path / "long.csv", "0,1,2,3,4,5,6,7\n3,4,5,6,7,8,9,1\n")
    np.testing.assert_array_equal(read_csv(long, (1, 8))[0], [[3, 4, 5, 6, 7, 8, 9, 1]])


def test_one_column_is_ambiguous(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "0\n0.5\n")
    with pytest.raises(InputError, match="may be a header"):
        read_csv(path, (1, 1))
    assert read_csv(path, (1, 1), "no")[0].shape == (2, 1)


def test_a_single_line_is_data_and_a_grid_fits_one_way(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path / "x.csv", "0,1\n"), TWO)[0].tolist() == [[0, 1]]
    grid = "0,1,2\n3,4,5\n6,7,8\n"
    assert read_csv(write(tmp_path / "grid.csv", grid), (1, 9))[0].tolist() == [list(range(9))]
    assert read_csv(write(tmp_path / "below.csv", grid), (1, 6))[0].tolist() == [[3, 4, 5, 6, 7, 8]]


def test_flags_overrule(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "0.9,0.2\n0.3,0.6\n")
    assert read_csv(path, TWO, "yes")[0].tolist() == [[0.3, 0.6]]
    with pytest.raises(InputError, match="--header: 'maybe' is not one of auto, yes, no"):
        read_csv(path, TWO, "maybe")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,abc\n0.9,0.2\n", "line 1 has numbers and 'abc', which is none: a header .*--header yes"),
        (",0.5\n0.9,0.2\n", "line 1 has numbers and ''"),
        (",,\n", "line 1, column 1: '' is not a number"),
        ("0.9,0.2\n,\n0.3,0.6\n", "line 2, column 1: '' is not a number"),
        ("0.9,0.2\n0.3, \n", "line 2, column 2: ' ' is not a number"),
        ("0.9,0.2\n1_0,0.6\n", "line 2, column 1: '1_0' is not a number"),
        ("0.9,0.2\n٣,0.6\n", "line 2, column 1: '٣' is not a number"),
        ("0.9,0.2\n\ufeff0.3,0.6\n", "line 2, column 1: .*0.3' is not a number"),
        ("0,9;0,2\n0,3;0,6\n", "line 2, column 1: '0,3' is not a number"),
        ("0.9,\r0.2\n", "cells"),
        ('0.9,"0.2\n0.3,0.6\n', "line 2: unexpected end of data"),
        ("0.9,0.2,1,1,1\n", "line 1 has 5 cells; an input of the model has 2 numbers"),
        (",,0,1\n0,1,0.9,0.2\n", "line 1 has numbers and ''"),
        ("\n \n", "is empty"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(InputError, match=message) as refused:
        read_csv(path, TWO)
    assert str(path) in str(refused.value)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "LARGEST_CSV", 10)
    with pytest.raises(InputError, match="at most 10 bytes are read"):
        read_csv(write(tmp_path / "x.csv", "0.9,0.2\n0.3,0.6\n"), TWO)


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path: Any = tmp_path / "x.csv"
    path.write_bytes("0.9,0.2\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"no readable \.csv file"):
        read_csv(path, TWO)
