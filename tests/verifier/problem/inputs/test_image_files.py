"""PNG and JPEG files: samples as they are stored, or a refusal; what is not applied is told."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from encoders.errors import InputError
from verifier.problem.inputs import image_files
from verifier.problem.inputs.image_files import read_image

GREY, RGB = (1, 4, 4), (1, 3, 4, 4)
SIDE = 4
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel by PNG's colour type."""
RANDOM = np.random.default_rng(0)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(depth: int, colour: int, samples: Any, *between: bytes, interlace: int = 0) -> bytes:
    """A PNG file by its specification: samples (4, 4, channels), whole numbers below 2^depth."""
    head = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, interlace)
    scans = [(0, 0, 1, 1)]
    if interlace:  # Adam7's passes: first column, first row, steps
        scans = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = []
    for left, top, across, down in scans:
        for row in np.asarray(samples)[top::down, left::across]:
            if len(row):
                lines.append(b"\0" + packed(row.reshape(-1), depth))
    body = b"".join(between) + chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def packed(samples: Any, depth: int) -> bytes:
    if depth == 16:
        return np.asarray(samples, ">u2").tobytes()
    bits = "".join(f"{int(sample):0{depth}b}" for sample in samples)
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def samples_of(depth: int, colour: int) -> Any:
    values = RANDOM.integers(0, 2**depth, (SIDE, SIDE, CHANNELS[colour]))
    if colour in (4, 6):
        values[..., -1] = 2**depth - 1
    return values


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (8, 2), (8, 4), (8, 6)])
def test_samples_are_exact(tmp_path: Path, depth: int, colour: int, interlace: int) -> None:
    samples = samples_of(depth, colour)
    path = save(tmp_path / "x.png", png(depth, colour, samples, interlace=interlace))
    colours = samples[..., :3] if colour in (2, 6) else samples[..., :1]
    wanted = colours.astype(np.float32) * np.float32(255 // (2**depth - 1)) / np.float32(255)
    values, notes = read_image(path, RGB if colour in (2, 6) else GREY)
    np.testing.assert_array_equal(values[0], np.moveaxis(wanted, -1, 0) if colour in (2, 6) else wanted[..., 0])
    assert notes == ()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_are_exact(tmp_path: Path, depth: int) -> None:
    palette = RANDOM.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    samples = samples_of(depth, 3)
    path = save(tmp_path / "x.png", png(depth, 3, samples, chunk(b"PLTE", palette.tobytes())))
    wanted = palette[samples[..., 0]].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(read_image(path, RGB)[0][0], np.moveaxis(wanted, -1, 0))


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_sixteen_bits_are_refused(tmp_path: Path, colour: int, interlace: int) -> None:
    path = save(tmp_path / "x.png", png(16, colour, samples_of(16, colour), interlace=interlace))
    with pytest.raises(InputError, match="16 bits a sample"):
        read_image(path, GREY if colour in (0, 4) else RGB)


@pytest.mark.parametrize(
    ("depth", "colour", "transparent"),
    [(1, 0, b"\0\1"), (2, 0, b"\0\1"), (4, 0, b"\0\1"), (8, 0, b"\0\1"), (8, 2, b"\0\1\0\1\0\1"), (8, 3, b"\0\x7f")],
)
def test_a_transparent_colour_is_refused(tmp_path: Path, depth: int, colour: int, transparent: bytes) -> None:
    samples = np.ones((SIDE, SIDE, CHANNELS[colour]), dtype=int)
    palette = [chunk(b"PLTE", bytes(range(6)))] if colour == 3 else []
    path = save(tmp_path / "x.png", png(depth, colour, samples, *palette, chunk(b"tRNS", transparent)))
    with pytest.raises(InputError, match="transparent"):
        read_image(path, RGB if colour in (2, 3) else GREY)


def test_alpha_is_refused_unless_opaque(tmp_path: Path) -> None:
    for colour, shape in ((4, GREY), (6, RGB)):
        samples = samples_of(8, colour)
        samples[1, 1, -1] = 254
        path = save(tmp_path / "x.png", png(8, colour, samples))
        with pytest.raises(InputError, match="transparent pixels"):
            read_image(path, shape)


def test_several_pictures_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(RANDOM.integers(0, 256, (4, 4), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="holds 3 pictures"):
        read_image(tmp_path / "x.png", GREY)
    frames[0].save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"holds 3 pictures|malformed MPO"):  # Pillow 10 cannot read what it wrote
        read_image(tmp_path / "x.jpg", GREY)


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (10, 20, 30, 40)).save(tmp_path / "x.jpg")
    with pytest.raises(InputError, match="CMYK samples"):
        read_image(tmp_path / "x.jpg", RGB)


@pytest.mark.parametrize("name", ["x.jpg", "x.png"])
def test_a_rotation_is_not_applied_and_told(tmp_path: Path, name: str) -> None:
    picture = Image.fromarray(RANDOM.integers(0, 256, (4, 4), dtype=np.uint8))
    plain, turned = tmp_path / f"plain{name}", tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(plain)
    picture.save(turned, exif=exif)
    values, notes = read_image(turned, GREY)
    np.testing.assert_array_equal(values, read_image(plain, GREY)[0])
    assert notes == ("its EXIF orientation 6 is not applied: pixels are taken as they are stored",)
    exif[0x0112] = 1
    picture.save(turned, exif=exif)
    assert read_image(turned, GREY)[1] == ()


def test_colour_profiles_and_gamma_are_told(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (4, 4), (10, 20, 30)).save(tmp_path / "x.png", icc_profile=profile)
    assert read_image(tmp_path / "x.png", RGB)[1] == (
        "its colour profile is not applied: pixels are taken as they are stored",
    )
    for gamma, told in ((45455, 0), (100000, 1)):
        path = save(tmp_path / "x.png", png(8, 0, samples_of(8, 0), chunk(b"gAMA", struct.pack(">I", gamma))))
        assert len(read_image(path, GREY)[1]) == told


def test_other_formats_under_these_names_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 2**16, (4, 4), dtype=np.uint16)).save(stream, format="TIFF")
    with pytest.raises(InputError, match="no readable image"):
        read_image(save(tmp_path / "x.png", stream.getvalue()), GREY)


def test_a_bomb_is_refused_by_its_size_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(png(8, 0, samples_of(8, 0)))
    content[16:24] = struct.pack(">II", 30000, 30000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(InputError, match=r"no readable image: .*decompression bomb"):
        read_image(save(tmp_path / "x.png", bytes(content)), (1, 30000, 30000))
    monkeypatch.setattr(image_files, "LARGEST_IMAGE", 10)
    with pytest.raises(InputError, match="at most 10 bytes"):
        read_image(save(tmp_path / "x.png", png(8, 0, samples_of(8, 0))), GREY)
