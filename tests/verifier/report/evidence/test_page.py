"""A pack's page: whole, loads nothing, runs nothing, escapes what comes from files, tells what is open, and prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.browsers import chromium, watched
from tests.verifier.conftest import EVIL
from tests.verifier.packs import told
from verifier.report.evidence.statement import LEVEL_WORDS, METHOD_WORDS
from verifier.search.methods import METHODS

VOID = frozenset({"meta", "link", "img", "path", "circle", "rect", "br"})


class Checked(HTMLParser):
    """Notes every element and address, and that elements are closed in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.places: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        self.places |= {value or "" for name, value in attrs if name == "id"}
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(evidence_pack: Path) -> str:
    return (evidence_pack / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(page: str) -> Checked:
    found = Checked()
    found.feed(page)
    return found


def test_it_is_whole_and_loads_and_runs_nothing(page: str, checked: Checked, evidence_pack: Path) -> None:
    assert checked.open == []
    assert "script" not in checked.seen
    assert checked.handlers == []
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    files = [one for one in checked.addresses if not one.startswith(("data:", "#"))]
    assert len(files) == 3 + 3 + 1 + 1
    assert all((evidence_pack / name).is_file() for name in files)
    assert {one[1:] for one in checked.addresses if one.startswith("#")} <= checked.places


def test_what_comes_from_files_is_escaped(page: str) -> None:
    assert EVIL not in page
    assert "broken &lt;img src=x onerror=alert(1)&gt;" in page
    assert "2&lt;img src=x onerror=alert(1)&gt;.png" in page


def test_verdicts_figures_and_limits_are_told(page: str, evidence_pack: Path) -> None:
    assert "Requirements: 2 pass, 1 fail" in page
    assert page.count('<span class="verdict good">pass</span>') == 2
    assert page.count('<span class="verdict bad">FAIL</span>') == 1
    for title in ("Domain", "Stability property", "Stability criterion", "Complete or incomplete", "Arithmetic"):
        assert f"<dt>{title} <small>" in page
    assert "all of images" in page
    assert "reprove.sh cannot vouch for itself" in page
    assert told(evidence_pack)["checkers"]["checker.py"] in page
    assert "0.06" in page
    assert "0.0599" not in page, "a radius is shown as it is written"


def test_every_method_and_level_has_its_words() -> None:
    assert METHOD_WORDS.keys() == METHODS.keys()
    assert set(LEVEL_WORDS) == {"", "solver", "exact", "proved", "certified"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_fits_in_a_browser_without_complaints(browser: Any, evidence_pack: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    opened = context.new_page()
    said = watched(opened)
    opened.goto((evidence_pack / "index.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert said == []
    context.close()


def test_it_prints_on_a_few_pages(browser: Any, evidence_pack: Path) -> None:
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.goto((evidence_pack / "index.html").as_uri())
    printed = opened.pdf(format="A4", prefer_css_page_size=True)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 5
    context.close()
