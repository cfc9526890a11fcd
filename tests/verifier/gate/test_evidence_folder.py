"""A pack's folder: whole in its place or not there, and nobody's own files are replaced."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from encoders.errors import InputError
from tests.verifier.packs import copied
from verifier.gate.evidence_folder import SLOT, STRANGERS, PackFolder, earlier_certificates
from verifier.gate.reprove import file_faults, sha256_of


def pack_in(place: Path, content: bytes = b"1") -> str:
    """A small pack; the sha256 of its MANIFEST."""
    with PackFolder(place, "--out") as folder:
        folder.write("a/b.txt", content)
        folder.add_checkers()
        return folder.seal(f"<p>{SLOT}</p>")


def test_what_is_sealed_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "pack"
    digest = pack_in(place)
    assert digest == sha256_of(place / "MANIFEST")
    assert f'<code id="manifest">{digest}</code>' in (place / "index.html").read_text(encoding="utf-8")
    assert file_faults(place) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    assert (place / "reprove.sh").stat().st_mode & 0o111
    assert {*STRANGERS, "reprove.sh"} < {path.name for path in place.iterdir()}


def test_other_tools_read_the_manifest(tmp_path: Path) -> None:
    pack_in(tmp_path / "pack")
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    command = ["sha256sum", "-c", "--strict", "MANIFEST"]
    assert subprocess.run(command, cwd=tmp_path / "pack", capture_output=True, check=False).returncode == 0


def test_a_pack_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    place = tmp_path / "pack"
    first = pack_in(place)
    (place / "reprove.log").write_text("", encoding="utf-8")
    assert pack_in(place, b"2") != first
    assert (place / "a/b.txt").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_what_fails_leaves_nothing_and_the_earlier_pack(tmp_path: Path) -> None:
    place = tmp_path / "pack"
    pack_in(place)

    def failing() -> None:
        with PackFolder(place, "--out") as folder:
            folder.write("a/b.txt", b"2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert (place / "a/b.txt").read_bytes() == b"1"
    assert file_faults(place) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_files_that_nobody_named_are_not_sealed(tmp_path: Path) -> None:
    """As half a certificate that a process leaves when it is ended."""
    with PackFolder(tmp_path / "pack", "--out") as folder:
        folder.write("a", b"1")
        (folder.path / ".half").write_bytes(b"x")
        folder.seal(SLOT)
    assert file_faults(tmp_path / "pack") == {}


@pytest.mark.parametrize("name", ["notes.txt", "a/notes.txt"])
def test_a_pack_with_somebodys_own_files_is_not_replaced(tmp_path: Path, name: str) -> None:
    pack_in(tmp_path / "pack")
    (tmp_path / "pack" / name).write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=f"not of the evidence pack there: {name}$"):
        pack_in(tmp_path / "pack")
    assert (tmp_path / "pack" / name).read_text(encoding="utf-8") == "mine"


def test_what_is_no_pack_is_not_replaced(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    pack_in(folder)  # an empty one may be used
    (folder / "MANIFEST").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="no evidence pack"):
        pack_in(folder)
    file.write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(folder)
    for place in (file, tmp_path / "link"):
        with pytest.raises(InputError, match="no folder"):
            pack_in(place)
    with pytest.raises(InputError, match="cannot write there"):
        pack_in(tmp_path / "no" / "such" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_the_thread_that_ends_a_command_leaves_nothing(tmp_path: Path) -> None:
    """While another one writes: that one does not go on."""
    folder = PackFolder(tmp_path / "pack", "--out")
    folder.__enter__()

    def write() -> None:
        for number in range(10_000):
            folder.write(str(number), b"x" * 1000)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    while len(list(folder.path.glob("*"))) < 3:
        time.sleep(0.001)
    folder.remove()
    time.sleep(0.05)
    assert writer.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_earlier_certificates_are_found_by_instance(evidence_pack: Path, tmp_path: Path) -> None:
    found = earlier_certificates(evidence_pack)
    assert sorted(path.name for path in found.values()) == ["0001.cert", "0002.cert", "0003.cert"]
    assert earlier_certificates(tmp_path) == {}
    damaged = copied(evidence_pack, tmp_path / "pack")
    (damaged / "evidence.json").write_text('{"inputs": [3]}', encoding="utf-8")
    assert earlier_certificates(damaged) == {}
