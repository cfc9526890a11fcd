"""The time limit of a whole command, and Ctrl-C."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import verifier
from verifier.cli.exit_codes import Exit
from verifier.cli.time_limit import (
    LAST_SHARE,
    PICTURE_SECONDS,
    PICTURE_SHARE,
    CommandTime,
    Deadline,
    draw_within,
)
from verifier.problem.budget import Budget
from verifier.report.json_result import SCHEMA

GATE_SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "schemas" / "gate.json"


def test_the_engine_ends_early_only_for_what_comes_after_it(clock: Any) -> None:
    plain = CommandTime(Budget(10, clock.now), draws=False)
    assert 9.8 < plain.engine.remaining < 10 == plain.whole.remaining
    drawn = CommandTime(Budget(10, clock.now), draws=True)
    assert drawn.engine.remaining == plain.engine.remaining - PICTURE_SECONDS
    assert CommandTime(Budget(1, clock.now), draws=True).engine.remaining >= 1 - PICTURE_SHARE - LAST_SHARE
    proved = CommandTime(Budget(10, clock.now), draws=True, proves=True)
    assert proved.engine.remaining == proved.proof.remaining - 5 < proved.picture.remaining - 5
    clock.now += 6
    told = "the time limit of 10 s was reached, but for 5 s that are kept for the certificate"
    assert (proved.engine.reason, proved.proof.ended) == (told, False)
    clock.now += 5
    assert proved.engine.reason == "the time limit of 10 s was reached"
    endless = CommandTime(Budget(math.inf, clock.now), draws=True, proves=True)
    assert math.isinf(endless.engine.remaining)
    assert math.isinf(endless.picture.remaining)


def test_a_command_s_time_starts_with_the_process(clock: Any) -> None:
    time = CommandTime(Budget(10, clock.now - 9.5), draws=True)
    assert time.engine.ended
    assert time.engine.reason == "the time limit of 10 s was reached"
    assert 0 < time.picture.remaining < 0.5


def test_what_the_process_waited_for_its_turn_counts(tmp_path: Path) -> None:
    (tmp_path / "schedstat").write_text("150000000 2500000000 7\n", encoding="ascii")
    assert verifier._queued(str(tmp_path / "schedstat")) == 2.5
    (tmp_path / "schedstat").write_text("0\n", encoding="ascii")
    assert verifier._queued(str(tmp_path / "schedstat")) == verifier._queued(str(tmp_path / "none")) == 0.0


def test_ctrl_c_ends_every_part_of_a_command_s_time(clock: Any) -> None:
    time = CommandTime(Budget(math.inf, clock.now), draws=True, proves=True)
    time.whole.cancel()
    assert time.engine.ended
    assert time.proof.ended
    assert time.picture.ended


def test_a_picture_that_comes_too_late_is_left_out() -> None:
    never, cancelled = threading.Event(), Budget()
    cancelled.cancel()
    for budget in (Budget(), Budget(60), cancelled):
        assert draw_within(lambda: b"png", budget) == b"png"
    assert draw_within(lambda: b"png", Budget(0)) is None
    assert draw_within(lambda: b"png" if never.wait(30) else b"", Budget(0.01)) is None
    never.set()


def test_ctrl_c_ends_a_drawing() -> None:
    budget, never = Budget(), threading.Event()

    def draw() -> bytes:
        budget.cancel()
        never.wait()
        return b"png"

    assert draw_within(draw, budget) is None
    never.set()


def test_a_picture_that_fails_fails_here() -> None:
    def fail() -> bytes:
        raise ZeroDivisionError

    for budget in (Budget(), Budget(60)):
        with pytest.raises(ZeroDivisionError):
            draw_within(fail, budget)


def test_the_first_ctrl_c_cancels_and_the_second_is_left_to_the_system() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Deadline(math.inf, 0.0, ends_process=False) as deadline:
        signal.raise_signal(signal.SIGINT)
        assert deadline.whole.cancelled
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    entered = []

    def work() -> None:
        with Deadline(math.inf, 0.0, ends_process=True):
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered


POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signal to a single child")

PROGRAM = """
import importlib, os, signal, sys, threading, time
from verifier import models
from verifier.cli import main as cli
place, name = {place!r}.rsplit(".", 1)
whole = importlib.import_module(place.split(":")[0])
owner = whole if ":" not in place else getattr(whole, place.split(":")[1])
real, passed = time.monotonic, [0.0]
time.monotonic = lambda: real() + passed[0]
def never(*_, **__):
    print("stuck", file=sys.stderr, flush=True)
    passed[0] = {passes}
    if passed[0]:  # the thread that watches looks at the clock whenever a signal comes
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
    threading.Event().wait()
getattr(owner, name)  # what is called by another name by now is an error, and no command that is not stuck
setattr(owner, name, never)
sys.argv = ["verifier", {command!r}, "digits", "--json", *{options!r}]
sys.exit(cli.main())
"""
READING = ("verifier.runtime.model.load_model", "verifier.runtime.agreement:Comparison.of_model")
"""What a command can be stuck in before it can say anything about its question."""
CAPTURED = "onnxruntime.set_default_logger_severity"
"""What it can be stuck in while nothing that is printed arrives."""
WORKING = {
    "minimal": (
        "verifier.search.float32.rounding_reaches",
        "verifier.search.linear_bisection.rooted",
        "verifier.search.linear_bisection.to_stages",
    ),
    "check": (
        "verifier.search.robustness.rounding_reaches",
        "verifier.search.question:Specification.already",
        "verifier.search.robustness.check_within",
    ),
    "attack": ("verifier.attacks.base.search:AttackSearch.chunks", "verifier.runtime.real_margin.exact_outputs"),
}
INPUT = ["digits", "--index", "6"]
OPTIONS = {
    "minimal": [*INPUT, "--target", "8"],
    "check": [*INPUT, "--radius", "0.05"],
    "attack": INPUT,
    "bounds": ["--box", "0", "0.05", "--entry", "3", "--precision", "0.5"],
}
STUCK = [(command, place) for command, places in WORKING.items() for place in places]


LIMIT = 3600


def stuck(command: str, place: str, *options: str, limited: bool = True) -> subprocess.Popen[str]:
    """The command line in a process of its own, with a function that never returns; then the limit is over at once."""
    asked = [*OPTIONS[command], *options, *(["--timeout", str(LIMIT)] if limited else [])]
    program = PROGRAM.format(command=command, place=place, options=asked, passes=1.01 * LIMIT if limited else 0.0)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@POSIX
@pytest.mark.parametrize(("command", "place"), STUCK)
def test_a_command_that_is_stuck_answers_at_its_limit(command: str, place: str) -> None:
    with stuck(command, place) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (Exit.UNDECIDED, "stuck\n")
    answer = json.loads(out)
    assert answer["reason"] == "the time limit of 3600 s was reached"
    assert answer.get("verdict", "unknown") == "unknown"
    assert answer.get("lower", 0.0) >= 0.0


@POSIX
def test_ranges_that_are_late_are_what_is_proved_by_then() -> None:
    with stuck("bounds", "verifier.search.output_ranges.uphill") as process:
        out, _ = process.communicate()
    assert process.returncode == Exit.UNDECIDED
    answer = json.loads(out)
    (found,) = answer["ranges"]
    assert answer["reason"] == "the time limit of 3600 s was reached"
    assert found["output"] == 3
    assert found["lower"] < found["least"] or found["largest"] < found["upper"]


@POSIX
@pytest.mark.parametrize("place", [*READING, CAPTURED])
def test_a_limit_that_ends_while_the_files_are_read_is_told(place: str) -> None:
    with stuck("minimal", place) as process:
        out, err = process.communicate()
    assert process.returncode == Exit.UNDECIDED
    answer = json.loads(out)
    assert (answer["schema"], answer["command"], answer["status"]) == (SCHEMA, "minimal", "bracketed")
    assert (answer["lower"], answer["upper"], answer["reason"]) == (0.0, None, "the time limit of 3600 s was reached")
    assert err.splitlines()[-1] == "verifier: the time limit of 3600 s was reached before there was anything to answer"


STARTING = """
import importlib, sys, threading
from verifier.cli import main as cli
def never(name, *_):
    if name in ({name!r}, {name!r}.split(".")):
        print("stuck", file=sys.stderr, flush=True)
        threading.Event().wait()
if {imported!r}:
    sys.meta_path.insert(0, type("Never", (), {{"find_spec": staticmethod(never)}}))
else:
    where, what = {name!r}.rsplit(".", 1)
    setattr(importlib.import_module(where), what, lambda *_: never({name!r}))
sys.argv = ["verifier", *{words!r}]
sys.exit(cli.main())
"""
PLAN = 'models = ["digits"]\ndata = "digits"\n'


@pytest.mark.parametrize(
    ("words", "name", "imported", "told"),
    [
        (["gate", "plan.toml", "--json", "--total-budget", "1e-6"], "verifier.cli.gate_command", True, True),
        (["gate", "plan.toml", "--json"], "verifier.cli.gate_command.tasks_of", False, True),
        (["campaign", "plan.toml", "--total-budget", "1e-6"], "verifier.cli.campaign_command", True, False),
    ],
)
def test_a_run_s_budget_begins_with_the_process(
    words: list[str], name: str, imported: bool, told: bool, tmp_path: Path
) -> None:
    """Imports that take longer, and a limit that only the plan tells, are cut off by the thread that watches."""
    requirement = "total_budget = 1e-6\n[[require]]\nmin_distortion = 0.01\n"
    (tmp_path / "plan.toml").write_text(PLAN + requirement, encoding="utf-8")
    program = STARTING.format(words=words, name=name, imported=imported)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.UNDECIDED
    if told:
        answer = json.loads(done.stdout)
        jsonschema.validate(answer, json.loads(GATE_SCHEMA.read_text(encoding="utf-8")))
        assert (answer["ruling"], answer["reason"]) == ("undecided", "the time limit of 1e-06 s was reached")
    else:
        assert (done.stdout, done.stderr.splitlines()[-1]) == (
            "",
            "verifier: the time limit of 1e-06 s was reached before there was anything to answer",
        )


@POSIX
@pytest.mark.parametrize(
    "place", ["verifier.certificates.builder.rooted", "verifier.certificates.checker.ball_checked"]
)
def test_a_certificate_that_is_late_is_left_out(place: str, tmp_path: Path) -> None:
    file = tmp_path / "c.cert"
    with stuck("minimal", place, "--certificate", str(file)) as process:
        out, err = process.communicate()
    answer = json.loads(out)
    assert process.returncode == Exit.UNDECIDED
    assert "no certificate was written: the time limit" in err
    assert answer["upper"] - answer["lower"] <= answer["precision"]
    assert answer["certificate"]["path"] is None
    assert not file.exists()


@POSIX
@pytest.mark.parametrize(("command", "place"), STUCK)
def test_the_first_ctrl_c_ends_a_command_that_is_stuck(command: str, place: str) -> None:
    with stuck(command, place, limited=False) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "stuck\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == Exit.UNDECIDED
    assert json.loads(out)["reason"] == "interrupted"


@POSIX
def test_ctrl_c_while_the_files_are_read() -> None:
    with stuck("minimal", READING[0], limited=False) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "stuck\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, json.loads(out)["reason"]) == (Exit.INTERRUPTED, "interrupted")
    assert err == "verifier: interrupted before there was anything to answer\n"


def test_what_has_been_said_is_the_end() -> None:
    """A library's thread or exit handler that takes its time does not keep a command that has answered."""
    program = (
        "import atexit, sys, threading; from verifier.cli import main as cli; atexit.register(threading.Event().wait); "
        "threading.Thread(target=threading.Event().wait).start(); sys.argv = ['verifier', '--version']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "relu-verifier")


def test_a_limit_of_memory_that_nothing_fits_into_is_said_and_undecided() -> None:
    command = [sys.executable, "-m", "verifier", "minimal", "digits", "digits", "--index", "0", "--memory", "50MB"]
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert told.returncode == Exit.UNDECIDED
    assert json.loads(told.stdout)["reason"] == "the memory limit of 50 MB was reached"
    assert "Traceback" not in told.stderr
