"""The site is built without a warning, needs no network, and is read by a browser on desks and phones."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.browsers import chromium, watched

ROOT = Path(__file__).resolve().parents[2]
LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}
"""What loads something, and by which attribute."""

READ = ("README", "docs/tutorial", "docs/reference/command-line", "docs/theory/1-the-question", "PERFORMANCE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does, with warnings as errors."""
    for needed in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(needed, reason="needs the extra `docs`")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", str(out)]
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return out


class Loads(HTMLParser):
    """What a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((given.get(LOADING[tag]) or "") if tag in LOADING else "")


def test_every_page_is_there(site: Path) -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.ipynb")]
    assert [path for path in pages if not (site / path.relative_to(ROOT)).with_suffix(".html").exists()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loads = Loads()
        loads.feed(path.read_text(encoding="utf-8"))
        assert [one for one in loads.found if re.match(r"(https?:)?//", one)] == [], path
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_every_command_stands_on_its_page(site: Path) -> None:
    page = (site / "docs/reference/command-line.html").read_text(encoding="utf-8")
    for word in ("minimal", "gate", "--certificate", "--robustness-report"):
        assert (word in page) == (word != "--robustness-report")


def test_every_public_name_stands_on_its_page(site: Path) -> None:
    import verifier  # noqa: PLC0415, its own names

    page = (site / "docs/reference/api.html").read_text(encoding="utf-8")
    assert [name for name in verifier.__all__ if f'id="verifier.{name}"' not in page] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_and_complain_about_nothing(site: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    told = watched(page)
    page.on("request", lambda request: told.append(request.url) if not request.url.startswith("file:") else None)
    for name in READ:
        # To leave a page while its icon loads would end that as a failure.
        page.goto((site / f"{name}.html").as_uri(), wait_until="networkidle")
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0, name
    assert [one for one in told if not one.startswith("data:")] == []


def test_the_search_needs_no_server(site: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((site / "search.html").as_uri() + "?q=certificate")
    page.wait_for_selector("#search-results li a")


@pytest.mark.parametrize("name", ["relaxation", "half-space"])
def test_a_figure_is_drawn(tmp_path: Path, name: str) -> None:
    drawing = runpy.run_path(str(ROOT / "docs/generate/draw_theory.py"))
    assert drawing["draw"](name, tmp_path).read_text(encoding="utf-8").count("<path") > 10
    assert {f"{figure}.svg" for figure in drawing["FIGURES"]} == {
        path.name for path in (ROOT / "docs/theory/figures").iterdir()
    }
