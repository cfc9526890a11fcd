"""What native code writes to file descriptor 1 in the moment of one call is dropped; another thread's is handed on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from encoders.formulations.quiet import native_output_dropped

OWN = (b"Running HiGHS",)


@contextmanager
def another_thread() -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_librarys_lines_are_dropped_and_others_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with another_thread():
        os.write(1, b"before\n")
        with native_output_dropped(OWN):
            os.write(1, b"Running HiGHS 1.16.0\n")
            os.write(1, b"from a thread\nand un")
            os.write(1, b"finished")
        os.write(1, b", after\n")
    assert capfd.readouterr().out == "before\nfrom a thread\nand unfinished, after\n"


def test_an_error_inside_puts_the_descriptor_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), native_output_dropped(OWN):
        raise KeyboardInterrupt
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


IN_FLIGHT = 10
"""Of 200 writes those that a busy machine may hold up for so long that they land in a file that was read already."""


def test_threads_do_not_put_back_each_others_files(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        for _ in range(50):
            with native_output_dropped(OWN):
                os.write(1, b"Running HiGHS\n")
            os.write(1, b".\n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    with another_thread():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = capfd.readouterr().out.splitlines()
    assert set(lines) == {"."}
    assert 200 - IN_FLIGHT <= len(lines) <= 200


ALONE = """
import os, sys
from encoders.formulations.quiet import native_output_dropped
{before}
with native_output_dropped([b"Running HiGHS"]):
    try:
        os.write(1, b"whatever a later version says")
    except OSError:
        pass
{after}
"""


def alone(before: str, after: str) -> subprocess.CompletedProcess[bytes]:
    program = ALONE.format(before=before, after=after)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)


def test_without_other_threads_nothing_is_handed_on() -> None:
    found = alone("os.write(1, b'before, ')", "os.write(1, b'after')")
    assert (found.returncode, found.stdout, found.stderr) == (0, b"before, after", b"")


def test_a_closed_standard_output_stays_closed() -> None:
    found = alone("os.close(1)", "try:\n    os.fstat(1)\n    sys.exit(3)\nexcept OSError:\n    pass")
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
