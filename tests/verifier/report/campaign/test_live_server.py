"""A real server on the loopback, a real campaign that writes meanwhile, and a real browser where there is one."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.verifier.browsers import chromium, watched
from verifier.campaign.backends import Backend
from verifier.campaign.plan.plan import Plan, Selection
from verifier.campaign.plan.selection import tasks_of
from verifier.campaign.runner import run
from verifier.campaign.store.store import Store
from verifier.cli import report_commands
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.budget import Budget

ROOT = Path(__file__).resolve().parents[4]
PATIENCE = 60.0
"""Seconds until a test gives up waiting for an event."""

for package in report_commands.NEEDED:
    pytest.importorskip(package, reason=f"needs {package}: pip install 'relu-verifier[watch]'")


@dataclass
class Server:
    """`verifier watch` as a process, and its address."""

    process: subprocess.Popen[str]
    url: str

    @classmethod
    def begun(cls, store: Path, *more: str) -> Server:
        line = [sys.executable, "-m", "verifier", "watch", str(store), *(more or ("--port", "0"))]
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise AssertionError(process.communicate())
        return cls(process, url)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        line.request(method, urlsplit(self.url).path + path, headers=headers)
        return line.getresponse()

    def interrupted(self) -> tuple[int, str]:
        """Its exit code and what it wrote on stderr after a Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@pytest.fixture
def serve(store: Path) -> Iterator[Callable[..., Server]]:
    """serve(*flags): a server over the store; killed at the end unless it has ended."""
    begun: list[Server] = []

    def start(*more: str) -> Server:
        begun.append(Server.begun(store, *more))
        return begun[-1]

    yield start
    for server in begun:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def campaign(asked: Plan, path: Path) -> dict[str, str]:
    """Run it; the status of each instance by its short id."""
    with Store(path) as opened:
        run(asked, tasks_of(asked), opened, Backend(jobs=1), Budget())
        return {one.id[:12]: one.status for one in opened.results()}


MOST_SILENT = 40
"""Signs of life without news until a server that should have some is taken for deaf."""


def events(stream: http.client.HTTPResponse, wanted: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], str]:
    """Rows by id from the stream until `wanted(rows)`, and the last event's id."""
    known: dict[str, Any] = {}
    mark, kind, silent = "", "", 0
    while True:
        told = stream.readline()
        assert told, "the server ended the stream"
        line = told.decode().rstrip("\n")
        silent = silent + 1 if line.startswith(":") else silent
        assert silent < MOST_SILENT, f"the server says nothing more of {known}"
        if line.startswith("id: "):
            mark = line[4:]
        elif line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: ") and kind == "instances":
            known |= {row["id"]: row for row in json.loads(line[6:])["rows"]}
        elif line == "" and kind == "sections":
            kind = ""
            if wanted(known):
                return known, mark


def all_closed(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda known: sum(row["closed"] for row in known.values()) == count


def test_it_pushes_brackets_resumes_is_read_only_and_ends(
    serve: Callable[..., Server], asked: Plan, store: Path
) -> None:
    """One server for all of it: it takes a while to begin."""
    server = serve()
    read_only(server, store)
    page = server.ask("").read().decode()
    since = re.search(r'data-events="events\?since=([\w-]+)"', page)
    assert since is not None
    assert "not begun" in page
    stream = server.ask(f"events?since={since.group(1)}")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    statuses = campaign(asked, store)
    known, mark = events(stream, all_closed(3))
    assert set(known) == set(statuses)
    stream.close()

    more = replace(asked, select=Selection((7,)), targets=(1,))
    campaign(more, store)
    again, later = events(server.ask("events", **{"Last-Event-ID": mark}), all_closed(1))
    assert not set(again) & set(known)
    assert later != mark
    every, _ = events(server.ask("events", **{"Last-Event-ID": "of-another-server"}), all_closed(4))
    assert set(every) == {*known, *again}
    assert "4<small> / 4</small>" in server.ask("").read().decode()
    assert "Minimal distances" in server.ask("sections").read().decode()
    stream = server.ask("events")
    assert stream.readline() == b"retry: 2000\n"
    assert server.interrupted() == (Exit.GOOD, "")  # although someone listens


def read_only(server: Server, store: Path) -> None:
    """It answers to nothing but GET, under its own names."""
    before = store.read_bytes()
    assert server.ask("", "POST").status == 405
    assert server.ask("", "DELETE").status == 405
    assert server.ask("", Host="evil.example").status == 400
    assert server.ask("certificates/none.cert").status == 404
    assert server.ask("../../etc/passwd").status == 404
    answer = server.ask("")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert store.read_bytes() == before


def test_others_need_the_token(serve: Callable[..., Server]) -> None:
    server = serve("--host", "0.0.0.0", "--port", "0")
    token = urlsplit(server.url).path.strip("/")
    assert len(token) >= 20
    assert server.ask("").status == 200
    assert server.ask("events").status == 200
    for path in ("/", "/x/", f"/{token[:-1]}/", "/events", "/wrong/events"):
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        line.request("GET", path)
        assert line.getresponse().status == 404


def test_errors_are_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*words: str) -> str:
        assert main(["watch", *words]) == Exit.BAD_INPUT
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err

    assert "no such file" in told(str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen there" in told(str(store), "--port", str(taken.getsockname()[1]))
    assert "cannot listen there" in told(str(store), "--port", "99999")
    for package in report_commands.NEEDED:
        monkeypatch.setitem(sys.modules, package, None)
    assert "watch needs starlette and uvicorn: pip install 'relu-verifier[watch]'" in told(str(store))


def test_a_browser_sees_brackets_close_and_survives_a_restart(
    serve: Callable[..., Server], asked: Plan, store: Path
) -> None:
    server = serve()
    with chromium() as browser:
        page = browser.new_page()
        told = watched(page)
        page.goto(server.url)
        live, row = page.locator("#live"), page.locator("#table tbody tr")
        live.filter(has_text="live").wait_for(timeout=1000 * PATIENCE)
        assert "Not running" in page.locator("#state").inner_text()
        assert row.locator(".status").all_text_contents() == ["not begun"] * 3
        campaign(asked, store)
        page.wait_for_function(CLOSED, arg=3, timeout=1000 * PATIENCE)
        page.locator("#state.state .figure .value", has_text="3 / 3").wait_for(timeout=1000 * PATIENCE)
        page.locator("#state .headline.finished").wait_for(timeout=1000 * PATIENCE)
        assert page.title() == "3/3 finished · s"
        row.first.click()
        assert page.locator("dialog .strip img").count() == 3
        assert told == []
        assert server.interrupted() == (Exit.GOOD, "")
        live.filter(has_text="reconnecting").wait_for(timeout=1000 * PATIENCE)
        campaign(replace(asked, select=Selection((7,)), targets=(1,)), store)
        serve("--port", str(server.port))
        page.wait_for_function(CLOSED, arg=4, timeout=1000 * PATIENCE)
        assert live.inner_text() == "live"


CLOSED = "wanted => document.querySelectorAll('#table .status.closed').length === wanted"
