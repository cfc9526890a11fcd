"""TOML files of users: plans of campaigns, transformations."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.files.regular_file import regular_size

LARGEST_TOML = 2**24
"""Bytes: a plan that names ten thousand models has one million."""


def read_toml(path: Path) -> tuple[dict[str, Any], bytes]:
    """The tables of a TOML file, and its bytes. Raises InputError, one line, for what is none."""
    regular_size(path, LARGEST_TOML)
    try:
        content = path.read_bytes()
        return tomllib.loads(content.decode()), content
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise InputError(f"{path} is no TOML file: too many brackets in one another") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from None
