"""Input files with bytes changed, cut off or repeated: one line, or numbers of the model's shape; nothing else."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders.errors import InputError
from verifier.problem.inputs.files import read_input

SHAPE = (1, 8, 8)
VALUES = np.random.default_rng(0).random((8, 8)).astype(np.float32)
TRIES = 300


def bytes_of(name: str) -> bytes:
    stream = io.BytesIO()
    match name:
        case "x.npy":
            np.save(stream, VALUES)
        case "x.npz":
            np.savez_compressed(stream, x=VALUES[np.newaxis], y=np.array([3]))
        case "x.csv":
            np.savetxt(stream, VALUES, delimiter=",")
        case _:
            exif = Image.Exif()
            exif[0x0112] = 6
            picture = Image.fromarray((255 * VALUES).astype(np.uint8))
            picture.save(stream, format="PNG" if name.endswith("png") else "JPEG", exif=exif)
    return stream.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(len(changed)))
        match rng.integers(5):
            case 0:
                changed[place] = rng.integers(256)
            case 1:
                changed[place] ^= 1 << int(rng.integers(8))
            case 2:
                del changed[place : place + int(rng.integers(1, 9))]
            case 3:
                changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
            case 4:
                changed[place : place + 4] = rng.choice(
                    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"9999", b"\x7f\xff\xff\xff"]
                )
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.png", "x.jpg"])
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, bytes_of(name)
    rng = np.random.default_rng(len(content))
    path.write_bytes(content)
    read_input(path, SHAPE, np.float32)
    refused = 0
    for _ in range(TRIES):
        path.write_bytes(mutated(content, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)
                found = read_input(path, SHAPE, np.float32)
        except InputError as error:
            refused += 1
            wrong = "\n" in str(error) or not str(error).isprintable()
        else:
            wrong = found.x.shape != SHAPE or not np.isfinite(found.x).all()
        assert not wrong
    assert refused > 0
