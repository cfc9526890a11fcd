"""Modules that are slow to import and seldom needed: imported at the first use of one of their names.

if TYPE_CHECKING:
    import scipy.sparse as sp
else:
    sp = Lazy("scipy.sparse")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for the module `name`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Lazy({self._name!r})"

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value
