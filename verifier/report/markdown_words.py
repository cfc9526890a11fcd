"""Text of files in Markdown."""

from __future__ import annotations

import re


def cell(text: str) -> str:
    """Text that neither ends a table's cell nor begins HTML: names come from files.

    >>> cell("a|b <c>")
    'a\\\\|b \\\\<c\\\\>'
    """
    return re.sub(r"([|<>*_`\[\]\\])", r"\\\1", " ".join(text.split()))
