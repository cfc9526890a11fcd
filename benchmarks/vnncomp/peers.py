"""Other verifiers from PyPI beside ours on a fixed sample of the competition's instances, in turn on one machine.

Each tool lives in a virtual environment of its own, which is made first; each instance is one process a tool, start
included, killed when it is late. A peer's word is taken as it is, and held against the official verdict. A run that was
killed goes on where it stopped.

    python -m benchmarks.vnncomp.peers --limit 60
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.harness.arguments import above_zero
from benchmarks.harness.mnist import SHARED
from benchmarks.harness.record import PROJECT, RESULTS, Record, cache_folder, table
from benchmarks.vnncomp.instances import VnnInstance, read_instances, unpacked
from benchmarks.vnncomp.run import SAT, SPARE, UNKNOWN, UNSAT
from encoders.errors import InputError

SETTING = ("limit",)
NOTE = (
    "Wall and CPU seconds are the process's, start included; one core where a tool can be told so. wrong: against the "
    "consensus of the competition's tools. silent: no verdict in the tool's result file. Peers' points are not judged."
)

SAMPLE: Mapping[str, int] = {
    "acasxu": 10,
    "safenlp": 8,
    "rl_benchmarks": 6,
    "reach_prob_density": 4,
    "sat_relu": 4,
    "collins_rul_cnn": 2,
    "dist_shift": 2,
    "malbeware": 2,
    "tllverifybench": 2,
}
"""Instances of each benchmark, evenly over its list: 40."""

SILENT = "silent"
OURS = "relu-verifier"

ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Asked:
    """What a tool is asked: files, seconds, and where it writes its verdict."""

    model: Path
    query: Path
    limit: float
    result: Path


@dataclass(frozen=True)
class Tool:
    """A verifier: `packages` are what pip installs into its environment, none for our own; command: (its folder of
    programs, what is asked) → the words of the call. The first word of its result file is the verdict."""

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, Asked], list[str]]


def _ours(_: Path, asked: Asked) -> list[str]:
    words = [sys.executable, "-m", "verifier", "verify", str(asked.query), "--network", f"f={asked.model}"]
    return [*words, "--results", str(asked.result), "--timeout", f"{asked.limit:g}"]


def _vibecheck(programs: Path, asked: Asked) -> list[str]:
    words = [str(programs / "vibecheck"), "--net", str(asked.model), "--spec", str(asked.query), "--device", "cpu"]
    return [*words, "--timeout", f"{asked.limit:g}", "--results-file", str(asked.result)]


def _neuralsat(programs: Path, asked: Asked) -> list[str]:
    found = programs.parent.rglob("site-packages/src/main.py")  # which imports its neighbours by their own names
    main = next(found, programs / "main.py")
    words = [str(programs / "python"), str(main), "--net", str(asked.model), "--spec", str(asked.query)]
    return [*words, "--device", "cpu", "--timeout", f"{asked.limit:g}", "--result_file", str(asked.result)]


def _marabou(programs: Path, asked: Asked) -> list[str]:
    words = [str(programs / "Marabou"), str(asked.model), str(asked.query), "--verbosity=0", "--num-workers=1"]
    return [*words, f"--timeout={asked.limit:.0f}", f"--summary-file={asked.result}"]


TOOLS: tuple[Tool, ...] = (
    Tool(OURS, (), _ours),
    Tool("vibecheck", ("vibecheck-nn==1.1.0",), _vibecheck),
    Tool("neuralsat", ("neuralsat==0.2.17",), _neuralsat),
    Tool("marabou", ("maraboupy==2.0.0", "numpy<2"), _marabou),
)
"""What each is and how it is called: one row a tool."""

WORDS = {"sat": SAT, "unsat": UNSAT, "unknown": UNKNOWN, "timeout": UNKNOWN, "timed-out": UNKNOWN}


@dataclass(frozen=True)
class PeerRow(VnnInstance):
    """An instance and a tool's answer; reason: the last line of what it complained, where it was silent."""

    tool: str
    verdict: str
    wrong: bool
    reason: str
    seconds: float
    cpu_seconds: float

    @property
    def key(self) -> tuple[str, str, str, str]:  # type: ignore[override]  # one row a tool
        return (self.benchmark, self.onnx, self.vnnlib, self.tool)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not in the record yet; 0 unless an answer of ours is wrong, 2 for bad input."""
    asked = _parser().parse_args(arguments)
    try:
        instances = sample(asked.data)
        record = Record.of(asked, SETTING, PeerRow, note=NOTE)
        tools = [(tool, programs) for tool in TOOLS if (programs := _programs(tool, asked.environments)) is not None]
        done = {row.key for row in record.rows}
        for instance in instances:
            for tool, programs in tools:
                if (*instance.key, tool.name) not in done:
                    row = answered(tool, programs, instance, asked.data, asked.limit)
                    record.add(row)
                    print(f"{' '.join(row.key)}: {row.verdict} {row.seconds:.2f} s {row.reason}".rstrip(), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(record.rows))
    return int(any(row.wrong for row in record.rows if row.tool == OURS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--limit", type=above_zero, default=60.0, metavar="S", help="seconds for each instance and tool"
    )
    parser.add_argument("--data", type=Path, default=SHARED, metavar="DIR", help="holds vnncomp and vnncomp_results")
    parser.add_argument(
        "--environments", type=Path, default=cache_folder("vnncomp-peers"), metavar="DIR", help="one folder a tool"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "vnncomp_peers.json", metavar="FILE")
    parser.add_argument("--fresh", action="store_true", help="begin the record anew")
    return parser


def sample(data: Path) -> list[VnnInstance]:
    """The fixed sample: of each benchmark's list, evenly. Raises InputError where a benchmark is missing."""
    found = []
    for name, count in SAMPLE.items():
        listed = read_instances(data, name)
        found += [listed[(place * len(listed)) // count] for place in range(min(count, len(listed)))]
    return found


def _programs(tool: Tool, folder: Path) -> Path | None:
    """The folder of a tool's programs, whose environment is made if need be; None, told, where it cannot be had."""
    if not tool.packages:
        return Path(sys.executable).parent
    place = folder / tool.name
    programs, ready = place / ("Scripts" if os.name == "nt" else "bin"), place / "ready"
    if not ready.exists():
        if why := _installed(tool, place, programs):
            print(f"{tool.name} is left out: {why}", file=sys.stderr)
            return None
        ready.touch()
    return programs


def _installed(tool: Tool, place: Path, programs: Path) -> str:
    """Make the environment anew and install the packages; why that failed, "" where it did not."""
    for step in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(programs / "python"), "-m", "pip", "install", "--quiet", *tool.packages],
    ):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            return f"{' '.join(step[1:4])} failed: {lines[-1]}"
    return ""


def answered(tool: Tool, programs: Path, instance: VnnInstance, data: Path, limit: float) -> PeerRow:
    """The row of one instance and tool, asked in a process group of its own."""
    folder = data / "vnncomp" / instance.benchmark
    with (
        unpacked(folder / instance.onnx) as model,
        unpacked(folder / instance.vnnlib) as query,
        TemporaryDirectory(prefix="peer-") as home,
    ):
        asked = Asked(model.resolve(), query.resolve(), limit, Path(home) / "result")
        environment = {**os.environ, **ONE_CORE}
        if tool.packages:  # nothing of ours is to be found there
            environment.pop("PYTHONPATH", None)
        else:
            environment["PYTHONPATH"] = str(PROJECT)
        before, start = os.times(), time.monotonic()
        running = subprocess.Popen(
            tool.command(programs, asked),
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = running.communicate(timeout=limit + SPARE)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            said = "killed: it did not keep its limit"
        seconds, after = time.monotonic() - start, os.times()
        verdict = verdict_in(asked.result)
    lines = said.strip().splitlines()
    return PeerRow(
        **asdict(instance),
        tool=tool.name,
        verdict=verdict,
        wrong={verdict, instance.official} == {SAT, UNSAT},
        reason=lines[-1][:200] if verdict == SILENT and lines else "",
        seconds=round(seconds, 3),
        cpu_seconds=round(
            after.children_user + after.children_system - before.children_user - before.children_system, 3
        ),
    )


def verdict_in(result: Path) -> str:
    """The verdict that a tool has written: its first word, whatever stands behind it; silent where there is none."""
    try:
        words = result.read_text(encoding="utf-8", errors="replace").replace(",", " ").split()
    except OSError:
        return SILENT
    return WORDS.get(words[0].lower(), SILENT) if words else SILENT


def summary(rows: Sequence[PeerRow]) -> str:
    """A Markdown table, a line a tool; totals are over all instances, undecided ones included."""
    lines = []
    for name in dict.fromkeys(row.tool for row in rows):
        own = [row for row in rows if row.tool == name]
        decided = [row for row in own if row.verdict in (SAT, UNSAT)]
        numbers = [len(own), len(decided), *(sum(row.verdict == kind for row in own) for kind in (SAT, UNSAT, SILENT))]
        times = [f"{median(row.seconds for row in decided):.2f}" if decided else ""]
        times += [f"{sum(row.seconds for row in own):.0f}", f"{sum(row.cpu_seconds for row in own):.0f}"]
        lines.append([name, *map(str, numbers), str(sum(row.wrong for row in own)), *times])
    header = ["tool", "instances", "decided", SAT, UNSAT, SILENT, "wrong", "median s of those", "total s", "CPU s"]
    return table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
