"""Where nothing can be written for a while: what does without a folder does, what needs one says so in a line."""

import os
import tempfile
from pathlib import Path

import pytest

from encoders.errors import InputError
from encoders.files.temporary import folder_of_temporary_files, nameless_file, temporary_folder
from encoders.onnx_io.runtime import captured_stderr
from verifier.bounds.kernels.cache_folders import TEMPORARY, places
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python finds no folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nonexistent"])


def test_a_folder_goes_at_the_end_of_its_context() -> None:
    with temporary_folder("kept-") as folder:
        assert Path(folder).name.startswith("kept-")
        assert Path(folder).parent == Path(folder_of_temporary_files() or "")
    assert not Path(folder).exists()


@pytest.mark.usefixtures("nowhere")
def test_without_a_folder_for_them_a_temporary_one_is_refused_in_a_line() -> None:
    assert folder_of_temporary_files() is None
    with pytest.raises(InputError, match="none can be written to; set TMPDIR to one of yours"):
        temporary_folder()


def test_a_folder_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="a folder for temporary files is needed: Not a directory"):
        temporary_folder()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")
@pytest.mark.usefixtures("nowhere")
def test_what_needs_no_folder_does_without() -> None:
    with nameless_file() as file:
        file.write(b"aside")
        file.seek(0)
        assert file.read() == b"aside"
    with captured_stderr() as said:
        os.write(2, b"noise")
        said.seek(0)
        assert said.read() == b"noise"


@pytest.mark.usefixtures("nowhere")
def test_kernels_and_doctor_do_without(capsys: pytest.CaptureFixture[str]) -> None:
    assert TEMPORARY not in {place.origin for place in places()}
    assert main(["doctor"]) == Exit.GOOD
    assert "internal error" not in capsys.readouterr().err
