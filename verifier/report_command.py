"""What `verifier report` does: a store → a folder with a page and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from verifier.exit_codes import Exit
from verifier.report import terminal
from verifier.report.campaign import campaign_table
from verifier.report.campaign_page import page
from verifier.report.latex import latex_file
from verifier.report.numbers import csv_files, json_text, report_json
from verifier.report.out_folder import OutFolder
from verifier.report.study import Study, certificate_name, study_of

CERTIFICATES = "certificates"
TABLES = ("table1.csv", "table2.csv", "attacks.csv", "curves.csv", "instances.csv")


def report(store: Path, out: Path, title: str | None = None, baseline: str | None = None) -> Exit:
    """Write report.html, report.json, CSV files, tables.tex and the certificates to `out`."""
    study, made = study_of(store, title, baseline), datetime.now(UTC)
    with OutFolder(out) as folder:
        texts = {
            "report.json": json_text(report_json(study, made)),
            **csv_files(study),
            "tables.tex": latex_file(study),
            "report.html": page(study, made),
        }
        if study.certificates:
            _copy_certificates(study, out / CERTIFICATES)
        for name, text in texts.items():
            folder.write(name, _content(text.encode()))
        _remove(out, set(TABLES) - set(texts))
    terminal.stdout().print(campaign_table(study.contents.results))
    also = f", and {len(study.certificates)} certificates" if study.certificates else ""
    terminal.stdout().print(
        f"{out / 'report.html'}; the same numbers in {', '.join(sorted(set(texts) - {'report.html'}))}{also}"
    )
    return Exit.GOOD


def _copy_certificates(study: Study, folder: Path) -> None:
    with OutFolder(folder) as certificates:
        files = {Path(certificate_name(key)).name: file for key, file in study.certificates.items()}
        for name, file in files.items():
            certificates.write(name, _content(file.read_bytes()))
        _remove(folder, {file.name for file in folder.glob("*.cert")} - set(files))


def _content(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda stream: stream.write(content)


def _remove(folder: Path, names: set[str]) -> None:
    """Remove what an earlier report left and this one has not."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
