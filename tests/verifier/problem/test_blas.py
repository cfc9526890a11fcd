"""Within it each BLAS has one thread, afterwards as many as before; libraries that are loaded later are found."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from verifier.problem.blas import single_threaded_blas

LATE = """
import sys
from threadpoolctl import threadpool_info
import numpy
from verifier.problem.blas import single_threaded_blas
with single_threaded_blas():
    first = len(threadpool_info())
assert "scipy.linalg" not in sys.modules
import scipy.linalg
with single_threaded_blas():
    found = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
assert len(found) > first, "scipy brings a BLAS of its own"
print(found)
"""


def threads() -> list[Any]:
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_one_thread_within_and_as_many_as_before_afterwards() -> None:
    with threadpool_limits(2, "blas"):
        for _ in range(2):
            with single_threaded_blas(), single_threaded_blas():
                assert set(threads()) == {1}
            assert set(threads()) == {2}


def test_libraries_that_are_loaded_later_are_found() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert (done.stderr, set(done.stdout.strip("[]\n").split(", "))) == ("", {"1"})
