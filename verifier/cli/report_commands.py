"""`verifier report`: a store → a folder with a page and its numbers; `verifier watch`: the page served until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError
from verifier.campaign.backends import ANYWHERE
from verifier.campaign.connection import own_address
from verifier.cli.exit_codes import Exit
from verifier.report import terminal
from verifier.report.campaign.live_feed import Feed
from verifier.report.campaign.model_card import model_cards
from verifier.report.campaign.page import own_file, page
from verifier.report.campaign.study import Study, certificate_name, study_of
from verifier.report.campaign.tables import csv_files, csv_names, json_text, latex_file, report_json
from verifier.report.campaign.terminal import campaign_table
from verifier.report.out_folder import OutFolder

NEEDED = ("starlette", "uvicorn")
EVERYWHERE = ("0.0.0.0", "::", "")


def watch(store: Path, host: str, port: int, title: str | None = None) -> Exit:
    """Print the page's address and serve it. Raises InputError: no store, no such address, packages missing."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"watch needs {' and '.join(missing)}: pip install 'relu-verifier[watch]'")
    from verifier.report.campaign import live_server  # noqa: PLC0415, needs the optional packages

    feed = Feed(store, title)
    try:
        with _listening(host, port) as listening:
            token = live_server.new_token(host)
            place = f"{_name(host)}:{listening.getsockname()[1]}"
            terminal.stdout().print(f"http://{place}/{token + '/' if token else ''}", soft_wrap=True)
            sys.stdout.flush()
            terminal.message("Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                live_server.serve(feed, listening, host, token)
    finally:
        feed.close()
    return Exit.GOOD


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--host {host} --port {port}: cannot listen there: {reason}") from None


def _name(host: str) -> str:
    """The host as others call it in an address."""
    if host in EVERYWHERE:
        return own_address(ANYWHERE)
    return f"[{host}]" if ":" in host else host


CERTIFICATES = "certificates"


def report(
    store: Path, out: Path, title: str | None = None, baseline: str | None = None, *, model_card: bool = False
) -> Exit:
    """Write report.html, report.json, CSV files, tables.tex, certificates and a block for a model card to `out`."""
    study, made = study_of(store, title, baseline), datetime.now(UTC)
    with OutFolder(out) as folder:
        texts = {
            "report.json": json_text(report_json(study, made)),
            **csv_files(study),
            "tables.tex": latex_file(study),
            "report.html": page(study, made),
            **(model_cards(study, made, own_file("style.css")) if model_card else {}),
        }
        if study.certificates:
            _copy_certificates(study, out / CERTIFICATES)
        for name, text in texts.items():
            folder.write(name, _content(text.encode()))
        _remove(out, csv_names() - set(texts))
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
