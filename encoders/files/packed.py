"""Content that may be packed by gzip, as VNN-COMP has its networks and properties."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

GZIP = b"\x1f\x8b"
"""How it begins then: no text does, and no ONNX file, since 7 is no kind of field."""


def plain(content: bytes, most: int) -> bytes:
    """The content, unpacked where it is packed by gzip, as far as `most` bytes and one more, which says that there are
    too many. Raises OSError where it is damaged."""
    if content[:2] != GZIP:
        return content
    try:
        with gzip.open(io.BytesIO(content)) as stream:
            return stream.read(most + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(str(error)) from None


def without_gz(path: Path) -> Path:
    """The path that a file has where it is not packed: what names are made of.

    >>> without_gz(Path("nets/net.onnx.gz")).stem, without_gz(Path("net.onnx")).stem
    ('net', 'net')
    """
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path
