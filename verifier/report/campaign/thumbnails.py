"""Inputs as small pictures that a page carries with it: data URIs of PNGs, or of SVGs where the input is no image."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from encoders.files.array_files import AnyArray
from verifier.problem.inputs.image_layout import RGB, ImageLayout

UP, DOWN = (213, 94, 0), (0, 114, 178)
"""Vermilion and blue of Okabe and Ito's palette, told apart with any colour vision."""
BARS = 64
"""Entries of a vector that get a bar of their own; longer ones are drawn as the largest of each stretch."""


def picture(point: AnyArray, layout: ImageLayout | None, span: tuple[float, float]) -> str:
    """An input (n,) as a data URI; span: the values that are black and white."""
    low, high = span
    share = np.clip((np.asarray(point, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    if layout is None:
        return _bars(share, None)
    return _png(Image.fromarray(np.round(255 * layout.to_image(share)).astype(np.uint8)))


def difference(change: AnyArray, layout: ImageLayout | None) -> str:
    """A change (n,) as a data URI: vermilion up, blue down, transparent 0; as strong as its largest entry."""
    change = np.asarray(change, dtype=np.float64)
    share = change / (float(np.abs(change).max(initial=0.0)) or 1.0)
    if layout is None:
        return _bars(np.abs(share), share > 0)
    image = layout.to_image(share)
    if layout.channels == RGB:  # of three channels the one that changes most
        image = np.take_along_axis(image, np.abs(image).argmax(axis=-1)[..., None], axis=-1)[..., 0]
    drawn = Image.fromarray(np.round(127 * image + 128).astype(np.uint8))
    drawn.putpalette([part for level in range(256) for part in (UP if level > 128 else DOWN)])
    return _png(drawn, transparency=bytes(min(255, 2 * abs(level - 128)) for level in range(256)))


def _png(image: Image.Image, **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True, **options)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _bars(share: AnyArray, rising: AnyArray | None) -> str:
    """Heights in [0, 1] as bars of an SVG; `rising` chooses the colour of each."""
    pieces = np.array_split(np.arange(share.size), min(BARS, share.size))
    tallest = [piece[np.argmax(share[piece])] for piece in pieces]
    bars = []
    for place, entry in enumerate(tallest):
        colour = "#7b8494" if rising is None else "rgb({},{},{})".format(*(UP if rising[entry] else DOWN))
        height = float(60 * share[entry])
        bars.append(f'<path d="M{place + 0.1:g} 60v{-height:.1f}h.8v{height:.1f}" fill="{colour}"/>')
    box = f'viewBox="0 0 {len(pieces)} 60" preserveAspectRatio="none"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60" {box}>{"".join(bars)}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()}"
