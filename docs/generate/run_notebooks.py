"""Run notebooks, and save them with their outputs: `make notebooks`."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook after a run in a kernel of this Python, in `folder`. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell began and ended
    return notebook


if __name__ == "__main__":
    for name in map(Path, sys.argv[1:]):
        nbformat.write(executed(name, name.parent), name)
