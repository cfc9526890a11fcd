"""The limit of memory: what is free, what is counted, when a budget ends by it, what the system refuses."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encoders.errors import InputError
from verifier.problem import memory
from verifier.problem.budget import Budget, OutOfTimeError
from verifier.problem.memory import Memory, free, resident
from verifier.problem.quantities import bytes_text, memory_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("1.5 GiB", 1.5 * 2**30), ("512m", 5.12e8), ("64KiB", 65536), ("1TB", 1e12), ("7", 7), (2e9, 2e9)],
)
def test_a_size_is_a_number_with_a_unit(text: str | float, size: float) -> None:
    assert memory_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-4GB", "0", "4 G B", "4EB", "1e3", "nan", math.nan, True, "4GB "[:-1] * 9, 10**400]
)
def test_no_size(text: Any) -> None:
    with pytest.raises(InputError, match="--memory: a size is expected, such as 512MB, 4GB or 4GiB, not "):
        memory_size(text, "--memory")


def test_a_size_is_told_in_three_digits() -> None:
    assert [bytes_text(size) for size in (1, 1500, 4e9, 21.47e9)] == ["1 bytes", "1.5 KB", "4 GB", "21.5 GB"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free, whose process has 1 MiB in use, in a group of processes two folders deep."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (groups / "a" / "b").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  16777216 kB\nMemAvailable:   8388608 kB\n")
    (proc / "self" / "statm").write_text("900 256 1 1 0 1 0")
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "CGROUPS", groups)
    return groups


def test_what_is_free_is_the_least_of_the_machine_and_its_groups(machine: Path) -> None:
    whole = free()
    assert whole <= 8 * 2**30
    for folder, limit in (("a/b", "max"), ("a", str(3 * 2**30))):
        (machine / folder / "memory.max").write_text(limit + "\n")
        (machine / folder / "memory.current").write_text(f"{2**30}\n")
    assert free() == 2 * 2**30
    (machine / "a" / "memory.stat").write_text(f"anon 3\ninactive_file {2**29}\n")
    assert free() == 2.5 * 2**30
    (machine / "a" / "memory.current").write_text(f"{4 * 2**30}\n")
    assert free() == 0.0


def test_groups_of_version_1_count_too(machine: Path) -> None:
    (machine.parent / "proc" / "self" / "cgroup").write_text("5:cpu,cpuacct:/x\n4:memory:/a\n")
    (machine / "memory" / "a").mkdir(parents=True)
    (machine / "memory" / "a" / "memory.limit_in_bytes").write_text(f"{2**30}\n")
    (machine / "memory" / "a" / "memory.usage_in_bytes").write_text(f"{2**28}\n")
    assert free() == 2**30 - 2**28


def test_by_default_half_of_what_is_free_is_taken(machine: Path) -> None:
    (machine / "a" / "b" / "memory.max").write_text(f"{3 * 2**30}")
    (machine / "a" / "b" / "memory.current").write_text(f"{2**30}")
    assert Memory.of(None, beyond=True).limit == Memory.of(None, beyond=False).limit == 2**30 + resident()
    assert Memory.of("4GB", beyond=False).limit == 4e9
    assert Memory.of("4GB", beyond=True).limit == 4e9 + resident()


def test_this_process_is_seen() -> None:
    before = resident()
    kept = bytearray(1 << 26)
    kept[::4096] = b"x" * len(kept[::4096])
    assert before + (1 << 25) < resident() < before + (1 << 28)
    assert not Memory(resident() + (1 << 28)).exceeded
    assert Memory(resident() - (1 << 24)).exceeded


def test_a_budget_ends_with_its_memory_for_good(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    used = [1e9]
    monkeypatch.setattr(memory, "resident", lambda *_: used[0])
    whole = Budget(60, clock.now, Memory(4e9))
    part, other = whole.share(2).reserve(1.0), Budget(60, clock.now)
    assert not part.ended
    used[0] = 5e9
    clock.now += 1
    for budget in (whole, part, part.first_of(other)):
        assert (budget.ended, budget.timed_out) == (True, False)
        assert budget.reason == "the memory limit of 4 GB was reached"
    used[0] = 1e9
    clock.now += 1
    with pytest.raises(OutOfTimeError, match="memory limit"):
        part.check()
    assert not other.ended
    assert not Budget().with_memory(Memory(4e9)).ended
    assert not whole.memory.holds(3.5e9)
    assert whole.memory.holds(2.5e9)


def test_time_and_ctrl_c_end_a_budget_as_ever(clock: Any) -> None:
    late = Budget(1, clock.now - 2, Memory(math.inf))
    assert (late.timed_out, late.reason) == (True, "the time limit of 1 s was reached")
    cancelled = Budget()
    cancelled.cancel()
    assert (cancelled.ended, cancelled.timed_out, cancelled.reason) == (True, False, "interrupted")


def test_what_does_not_fit_ends_the_budget() -> None:
    budget = Budget(memory=Memory(1e12))
    with pytest.raises(OutOfTimeError, match="the memory limit of 1 TB was reached"), budget.reserve(0).within_memory():
        raise MemoryError
    assert budget.ended


def test_what_does_not_fit_without_a_limit_ends_that_budget_alone() -> None:
    budget = Budget()
    with pytest.raises(OutOfTimeError, match="what is needed next does not fit into"), budget.within_memory():
        raise MemoryError
    assert budget.ended
    assert not Budget().ended


def test_nodes_are_counted_as_long_as_their_tree_lives() -> None:
    class Owner: ...

    counted, first, second = Memory(resident() + 1e9), Owner(), Owner()
    counted.account(first).add(int(0.4e9))
    assert not counted.crowded
    counted.account(second).add(int(0.2e9))
    assert counted.crowded
    del first
    gc.collect()
    assert (counted.crowded, counted.nodes) == (False, int(0.2e9))


def printed_under_a_limit(code: str) -> str:
    """What a process prints that runs the code that may take 100 MB more, and some that it maps only."""
    limit = (
        "from pathlib import Path\n"
        "from verifier.problem import memory\n"
        "memory.GPU_DRIVER = Path('/nowhere')\n"
        "memory.Memory(memory.resident() + 1e8).enforce()\n"
    )
    return subprocess.run([sys.executable, "-c", limit + code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process maps to write to")
def test_the_system_refuses_what_cannot_fit() -> None:
    told = printed_under_a_limit(
        "bytearray(50_000_000)\ntry: bytearray(2_000_000_000)\nexcept MemoryError: print('refused')\n"
    )
    assert told == "refused\n"


def test_a_limit_that_no_system_can_be_told_is_none() -> None:
    """Beyond what setrlimit takes; here nothing is set either way."""
    for size in ("9999999TB", math.inf):
        Memory.of(size, beyond=False).enforce()


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are set on Linux")
def test_what_outlives_a_question_is_not_under_its_limit() -> None:
    told = printed_under_a_limit(
        "import subprocess, sys\n"
        "code = 'input(); bytearray(2_000_000_000); print(1)'\n"
        "other = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE)\n"
        "memory.release(other.pid)\n"
        "other.communicate(b'go')\n"
    )
    assert told == "1\n"
