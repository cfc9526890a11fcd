"""A file of kernels is whole, of these sources and for this machine, or it is not used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from verifier.bounds.kernels import cache_file
from verifier.bounds.kernels.cache_file import PACKAGES, ROOT, DamagedError, KernelFile, file_name, sources

FILE = KernelFile(("x86_64", "cpu", "+avx"), {}, {"a.kernel": [(b"signature", b"code" * 100)]}, {"a.kernel": [0]})


def test_a_file_says_what_was_written() -> None:
    assert KernelFile.from_bytes(FILE.to_bytes()) == FILE


def test_a_damaged_file_is_refused_wherever_the_damage_is() -> None:
    whole = FILE.to_bytes()
    for place in range(len(whole)):
        with pytest.raises(DamagedError):
            KernelFile.from_bytes(whole[:place])
        with pytest.raises(DamagedError):
            KernelFile.from_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(DamagedError):
        KernelFile.from_bytes(whole + b"\0")


FILES = {
    "verifier/__init__.py": "import typing\nif typing.TYPE_CHECKING:\n    pass",
    "verifier/start.py": "from __future__ import annotations\nimport os\nfrom verifier.first import SIZE",
    "verifier/first.py": "from encoders import second\nSIZE = second.SIZE",
    "encoders/__init__.py": "",
    "encoders/second.py": "def late():\n    import encoders.third.fourth as it\n    return it",
    "encoders/third/__init__.py": "from encoders.fifth import (\n    A,\n    B,\n)",
    "encoders/third/fourth.py": "",
    "encoders/fifth.py": "if TYPE_CHECKING:\n    from encoders.types import T\nelse:\n    from encoders.sixth import T",
    "encoders/types.py": "",
    "encoders/sixth.py": "TEXT = '''\nfrom encoders.types import T\n'''",
    "encoders/unused.py": "",
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cache_file, "ROOT", tmp_path)
    monkeypatch.setattr(cache_file, "ENTRANCE", "verifier.start")
    return tmp_path


def test_sources_are_all_that_imports_lead_to(tree: Path) -> None:
    assert set(sources()) == set(FILES) - {"encoders/unused.py", "encoders/types.py"}


@pytest.mark.parametrize("name", sorted(set(FILES) - {"encoders/unused.py", "encoders/types.py"}))
def test_a_file_of_other_sources_is_not_current(tree: Path, name: str) -> None:
    file = KernelFile((), sources(), {}, {})
    assert file.current
    (tree / name).write_text(FILES[name] + "\n# changed")
    assert not file.current
    (tree / name).unlink()
    assert not file.current


def test_what_does_not_matter_may_change(tree: Path) -> None:
    file = KernelFile((), sources(), {}, {})
    (tree / "encoders/unused.py").write_text("changed = True")
    assert file.current


def test_sources_are_no_fewer_than_what_python_imports() -> None:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    code = (
        f"import json, sys, {cache_file.ENTRANCE}\n"
        f"own = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in {PACKAGES!r}]\n"
        "print(json.dumps(own))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = {Path(name).resolve().relative_to(ROOT).as_posix() for name in json.loads(done.stdout)}
    assert "verifier/solvers/kernels/plunge.py" in imported
    assert imported <= set(sources())


@pytest.fixture
def fresh_name() -> Iterator[None]:
    pytest.importorskip("numba", reason="the kernels need numba, which has no wheels for this platform")
    file_name.cache_clear()
    yield
    file_name.cache_clear()


@pytest.mark.usefixtures("fresh_name")
@pytest.mark.parametrize("changed", ["processor", "features", "numba", "numpy", "python", "installation", "setting"])
def test_each_machine_and_version_has_its_own_file(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llvmlite import binding  # noqa: PLC0415, comes with numba

    here = file_name()
    file_name.cache_clear()
    if changed == "processor":
        monkeypatch.setattr(binding, "get_host_cpu_name", lambda: "z80")
    elif changed == "features":
        monkeypatch.setattr(binding, "get_host_cpu_features", dict_of_features)
    elif changed == "numba":
        monkeypatch.setattr(cache_file, "version", lambda name: f"{name} of tomorrow")
    elif changed == "numpy":
        monkeypatch.setattr(cache_file.np, "__version__", "3.0")
    elif changed == "python":
        monkeypatch.setattr(sys, "version", "4.0")
    elif changed == "installation":
        monkeypatch.setattr(cache_file, "ROOT", Path("/elsewhere"))
    else:
        monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert file_name() != here


def dict_of_features() -> object:
    from llvmlite import binding  # noqa: PLC0415

    return binding.FeatureMap({"abacus": True})


@pytest.mark.usefixtures("fresh_name")
def test_where_kernels_lie_does_not_change_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = file_name()
    file_name.cache_clear()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/elsewhere")
    assert file_name() == here
