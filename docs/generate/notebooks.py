"""A notebook as a page: its text, its code, and the outputs that are saved in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

LOOKS = ("image/png", "text/markdown", "text/html", "text/plain")
"""Which form of an output is shown, the first that there is."""


def notebook_page(saved: str) -> str:
    """Markdown of an .ipynb file's text."""
    cells = json.loads(saved)["cells"]
    return "\n\n".join(part for cell in cells for part in parts(cell)) + "\n"


def parts(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"]).strip()
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield shown(output)


def shown(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return block("".join(output["text"]))
    data = output["data"]
    look = next(look for look in LOOKS if look in data)
    content = "".join(data[look])
    match look:
        case "image/png":
            return f'<img alt="" src="data:image/png;base64,{content.strip()}">'
        case "text/plain":
            return block(content)
        case _:
            return content


def block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
