"""Kernels are ready only where they load without compiling; no question compiles, and what is broken is told."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from verifier.bounds.kernels import cache_file, cache_folders
from verifier.bounds.kernels.cache_file import ROOT, KernelFile
from verifier.bounds.kernels.cache_folders import Place
from verifier.bounds.kernels.loaded import SHELF
from verifier.solvers import compile_kernels
from verifier.solvers.kernels import cache as kernels
from verifier.solvers.kernels.cache import RETRY, KernelError

pytestmark = pytest.mark.skipif(not kernels.available(), reason="numba is not installed")

LOOK = """
import json
from dataclasses import asdict
from numba.core.event import install_recorder
from verifier.solvers import compile_kernels
from verifier.solvers.kernels import cache as kernels
with install_recorder("numba:compile") as compiled:
    found = asdict(kernels.state())
print(json.dumps({**found, "compiled": len(compiled.buffer)}))
"""

ASK = """
import json
from unittest import mock
import numpy as np
import verifier
from numba.core.event import install_recorder
from verifier import models
from verifier.solvers.kernels import cache as kernels
data = np.load(models.path("digits").with_name("digits_inputs.npz"))
model = verifier.load(models.path("digits"))
with mock.patch.object(kernels, "start") as started, install_recorder("numba:compile") as compiled:
    found = verifier.minimal(model, data["x"][0])
print(json.dumps([found.lower, found.upper, found.search.nodes, len(compiled.buffer), started.called]))
"""


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The file of kernels of this installation."""
    if not kernels.ready():
        kernels.compile_now()
    assert SHELF.place is not None
    return cache_folders.read(SHELF.place.folder / cache_file.file_name())


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where a user with an empty cache of their own would have the file."""
    folder = tmp_path / "relu-verifier" / "kernels"
    folder.mkdir(parents=True, mode=0o700)
    return folder / cache_file.file_name()


def run(code: str, cache: Path) -> Any:
    """What the program prints, as a user of that cache, in a process of its own."""
    (cache.parents[2] / "tmp").mkdir(exist_ok=True)
    own = {"XDG_CACHE_HOME": str(cache.parents[2]), "TMPDIR": str(cache.parents[2] / "tmp"), "PYTHONPATH": str(ROOT)}
    call, environment = [sys.executable, "-c", code], {**os.environ, **own}
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_whole_file_is_loaded_and_nothing_is_compiled(whole: bytes, cache: Path) -> None:
    cache_folders.write(cache, whole)
    found = run(LOOK, cache)
    assert (found["ready"], found["why"], found["compiled"]) == (True, None, 0)
    assert str(cache) in found["where"]


def other_sources(whole: bytes) -> bytes:
    file = KernelFile.from_bytes(whole)
    return replace(file, sources=dict.fromkeys(file.sources, "0" * 64)).to_bytes()


def other_processor(whole: bytes) -> bytes:
    return replace(KernelFile.from_bytes(whole), target=("x86_64", "z80", "")).to_bytes()


def lacks_kernels(whole: bytes) -> bytes:
    """What a compilation leaves that ended half-way, with a mark all the same."""
    file = KernelFile.from_bytes(whole)
    return replace(file, kernels=dict(list(file.kernels.items())[:5])).to_bytes()


def damaged_code(whole: bytes) -> bytes:
    """Numbers where numba wants machine code; the file's digest is right."""
    file = KernelFile.from_bytes(whole)
    broken = {name: [(kept, code[:100]) for kept, code in codes] for name, codes in file.kernels.items()}
    return replace(file, kernels=broken).to_bytes()


BROKEN = {
    "absent": lambda _: None,
    "an empty mark": lambda _: b"",
    "cut short": lambda whole: whole[: len(whole) // 2],
    "other sources": other_sources,
    "another processor": other_processor,
    "lacks kernels": lacks_kernels,
    "damaged code": damaged_code,
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_does_not_load_is_not_ready_and_nothing_is_compiled(how: str, whole: bytes, cache: Path) -> None:
    content = BROKEN[how](whole)
    if content is not None:
        cache_folders.write(cache, content)
    found = run(LOOK, cache)
    assert (found["ready"], found["compiled"]) == (False, 0)
    assert found["why"]
    assert kernels.COMMAND in found["remedy"]


def test_a_question_is_answered_alike_with_and_without_kernels(whole: bytes, cache: Path) -> None:
    lower, upper, _, compiled, started = run(ASK, cache)
    assert (compiled, started) == (0, True)
    cache_folders.write(cache, damaged_code(whole))
    assert run(ASK, cache)[3:] == [0, True]
    cache_folders.write(cache, whole)
    by_kernels = run(ASK, cache)
    assert by_kernels[3:] == [0, False]
    assert max(lower, by_kernels[0]) <= min(upper, by_kernels[1])


STRICT = """
from itertools import product
import numpy as np
import verifier
from dataclasses import replace
from verifier import models
from verifier.bounds.kernels.loaded import SHELF
from verifier.search.methods import METHODS
from verifier.solvers.branch_and_bound import BranchAndBound
from verifier.solvers.kernels import cache
from verifier.solvers.tree import bound_tree
assert cache.ready()
SHELF.strict = True
data = np.load(models.path("digits").with_name("digits_inputs.npz"))
model = verifier.load(models.path("digits"))
asked = (*product(("linf", "l1"), ("lp", "bound")), ("l2", "bound"), ("linf", "sparse"))
for norm, engine in asked:
    if engine == "sparse":  # nodes of large networks are narrowed so, many at a time
        bound_tree.DENSE, engine = 0, "bound"
    METHODS["tree"] = replace(METHODS["tree"], decider=lambda *_: BranchAndBound(engine=engine))
    found = verifier.minimal(model, data["x"][0], norm=norm)
    verifier.check(model, data["x"][0], found.upper * 0.95, norm=norm, target=8)
    verifier.minimal_all_targets(model, data["x"][1], norm=norm, targets=(3, 5))
    if norm != "l2":
        verifier.certificate(model, data["x"][0], found.lower / 4, norm=norm)
print("null")
"""


def test_the_sample_covers_every_type_that_questions_bring(whole: bytes, cache: Path) -> None:
    cache_folders.write(cache, whole)
    run(STRICT, cache)


def called_by_python() -> set[str]:
    """The kernels whose names code of ours refers to that is itself no kernel."""
    from numba.core.dispatcher import Dispatcher  # noqa: PLC0415, numba may be missing

    from verifier.bounds.kernels.jit import INNER  # noqa: PLC0415 (imports numba)

    importlib.import_module(cache_file.ENTRANCE)
    found = set()
    for name, module in list(sys.modules.items()):
        if name.split(".", maxsplit=1)[0] in cache_file.PACKAGES:
            for function in functions(module):
                if function in INNER:
                    continue
                names, space = function.__code__.co_names, function.__globals__
                kinds = [space.get(name) for name in names]
                modules = [kind for kind in kinds if isinstance(kind, types.ModuleType)]
                kinds += [vars(inner).get(name) for inner in modules for name in names]
                found |= {f"{k.py_func.__module__}.{k.__name__}" for k in kinds if isinstance(k, Dispatcher)}
    return found


def functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    """Those of a module, and its methods."""
    spaces = [vars(module), *(vars(kind) for kind in vars(module).values() if isinstance(kind, type))]
    for space in spaces:
        for value in space.values():
            if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
                yield value


def test_every_kernel_that_is_called_by_python_is_loaded_at_once(whole: bytes) -> None:
    called = called_by_python()
    assert "verifier.solvers.kernels.plunge.plunge" in called
    assert called <= set(KernelFile.from_bytes(whole).entries)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as one that has looked for no kernels, with an empty folder of its own to write to."""
    monkeypatch.setattr(kernels, "_PROCESS", kernels._Process())
    monkeypatch.setattr(cache_folders, "place_to_write", lambda **_: Place(tmp_path, "here"))
    monkeypatch.setattr(SHELF, "look", lambda: None)
    return tmp_path


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def spawn(call: list[str], **_: Any) -> types.SimpleNamespace:
        calls.append(call)
        return types.SimpleNamespace(pid=0)

    monkeypatch.setattr(kernels.subprocess, "Popen", spawn)
    monkeypatch.setattr(kernels, "release", lambda _: None)
    return calls


@pytest.mark.usefixtures("alone")
def test_one_process_compiles_in_the_background(spawned: list[list[str]]) -> None:
    for _ in range(3):
        assert not kernels.at_once()
    assert [call[-1] for call in spawned] == ["--background"]


HOLD = """
import sys, time
from pathlib import Path
from verifier.solvers.kernels import cache as kernels
with kernels.alone(Path(sys.argv[1]), wait=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(folder: Path) -> Iterator[Popen[str]]:
    """Another process that compiles."""
    call, pipe = [sys.executable, "-c", HOLD, str(folder)], subprocess.PIPE
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Popen(call, stdin=pipe, stdout=pipe, text=True, env=own) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(kernels.fcntl is None, reason="no locks here")
def test_who_compiles_is_not_joined_and_its_death_is_noticed(alone: Path, spawned: list[list[str]]) -> None:
    with holder(alone) as process:
        kernels.start()
        assert spawned == []
        assert kernels.state().why == "they are being compiled"
        process.kill()
        process.wait()
        kernels._PROCESS.asked = False  # as the next question's process
        kernels.start()
        assert len(spawned) == 1


CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
ASKS = "from verifier.solvers.kernels import cache; cache.compile_now()"


@pytest.mark.skipif(not CHILDREN.exists(), reason="reads processes from /proc, which Linux has")
def test_who_compiles_ends_with_who_waits_for_it(tmp_path: Path) -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)}
    with Popen([sys.executable, "-c", ASKS], env=own) as asking:
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
        while not (compiling := children.read_text(encoding="ascii").split()):
            time.sleep(0.02)
        asking.kill()
    looks = 0
    while Path(f"/proc/{compiling[0]}").exists() and looks < 200:
        time.sleep(0.05)
        looks += 1
    alive = Path(f"/proc/{compiling[0]}").exists()
    if alive:
        os.kill(int(compiling[0]), signal.SIGKILL)
    assert not alive


def test_what_who_was_killed_has_left_is_cleared(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = alone / f"{cache_file.file_name()}.7{compile_kernels.TRIAL}"
    left.write_bytes(b"")
    monkeypatch.setattr(compile_kernels, "_compile", lambda *_, **__: None)
    assert compile_kernels.main([]) == 0
    assert not left.exists()


def test_what_failed_is_not_tried_at_each_question(
    alone: Path, spawned: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise KernelError("LLVM is out of order")

    monkeypatch.setattr(compile_kernels, "_compile", fails)
    assert compile_kernels.main([]) == 1
    assert "LLVM is out of order" in (kernels.state().why or "")
    kernels.start()
    assert spawned == []
    note = alone / f"{cache_file.file_name()}.failed"
    long_ago = time.time() - RETRY - 1.0
    os.utime(note, (long_ago, long_ago))
    kernels._PROCESS.asked = False
    kernels.start()
    assert len(spawned) == 1
    monkeypatch.setattr(compile_kernels, "_compile", lambda *_, **__: None)
    assert compile_kernels.main([]) == 0
    assert not note.exists()


def test_what_one_user_has_compiled_is_copied_for_all(
    alone: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SHELF, "look", lambda: KernelFile.from_bytes(whole))
    monkeypatch.setattr(compile_kernels, "_compile", None)
    assert compile_kernels.main(["--shared"]) == 0
    file = alone / cache_file.file_name()
    assert KernelFile.from_bytes(file.read_bytes()) == KernelFile.from_bytes(whole)
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("alone")
def test_without_a_folder_nothing_is_started_and_the_doctor_says_what_to_do(
    spawned: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache_folders, "place_to_write", lambda **_: None)
    kernels.start()
    assert spawned == []
    found = kernels.state()
    assert not found.ready
    assert "NUMBA_CACHE_DIR" in (found.remedy or "")
    assert compile_kernels.main([]) == 1
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err


def test_kernels_that_do_not_run_are_not_left_for_questions(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that tries them dies: no file appears, and nothing else is left either."""
    from verifier.solvers.tree import warm_up  # noqa: PLC0415 (imports numba)

    monkeypatch.setattr(warm_up, "solve_sample", lambda: None)
    monkeypatch.setattr(SHELF, "collects", False)
    dead = partial(subprocess.CompletedProcess, stdout="", stderr="LLVM ERROR: Symbol not found")
    monkeypatch.setattr(kernels.subprocess, "run", lambda call, **_: dead(call, -6))
    with pytest.raises(KernelError, match="Symbol not found"):
        compile_kernels._compile(Place(alone, "here"), shared=False)
    assert list(alone.iterdir()) == []


def test_numba_that_is_switched_off_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert not kernels.ready()
    assert "NUMBA_DISABLE_JIT" in (kernels.state().why or "")
    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert kernels.state().remedy == "pip install numba"
    assert not kernels.at_once()
