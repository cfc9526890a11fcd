"""The answers of all methods, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import verifier
from tests.traps.answers import Answers


@pytest.fixture(scope="session")
def answers(save_net: Callable[[Any], verifier.Model]) -> Answers:
    return Answers(save_net, {})
