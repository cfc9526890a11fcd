"""TOML files of users: plans of campaigns, transformations."""

from __future__ import annotations

import re
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
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no TOML file: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML file: {error}{_line(str(error), content.decode())}") from None


PLACE = re.compile(r"\(at line (\d+), column \d+\)")
"""Where Python's reader says that it stopped."""
VALUE = re.compile(r"""[\w.-]+\s*=\s*(?P<text>[^"'\[{\s#][^"'#]*?)\s*(?:#.*)?""")
"""A key and what follows it without quotes."""
LONGEST = 60
"""Signs of a line that are shown."""


def _line(told: str, text: str) -> str:
    """The line that a complaint is about, and what may have been meant by it."""
    found = PLACE.search(told)
    line = text.split("\n")[int(found[1]) - 1].strip() if found else ""
    value = VALUE.fullmatch(line)
    hint = f': texts stand in quotes: "{value["text"]}"' if value and told.startswith("Expected newline") else ""
    if told.startswith("Cannot declare"):
        hint = f": of several tables each is headed [{line[:LONGEST]}]"
    return f": {line[:LONGEST]}{hint}" if line else ""
