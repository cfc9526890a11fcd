"""The report in a real headless Chromium, opened from disk: it sorts, filters, opens an instance, fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.verifier.browsers import chromium, watched
from tests.verifier.report.conftest import EVIL, Reported

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(params=[("desktop", "light"), ("phone", "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, reported: Reported) -> Iterator[Any]:
    """The page; whatever it complained about is a failure at the end."""
    size, scheme = request.param
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, offline=True)
    opened = context.new_page()
    told, requested = watched(opened), []
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto((reported.folder / "report.html").as_uri())
    yield opened
    assert told == []
    assert all(url.startswith(("file:", "data:")) for url in requested)
    context.close()


def column(page: Any, place: int) -> list[str]:
    texts: list[str] = page.locator(f"#table tbody tr td:nth-child({place})").all_text_contents()
    return texts


def test_it_sorts_filters_and_opens_an_instance(page: Any) -> None:
    assert page.locator("h1").inner_text() == f"All & {EVIL}"
    assert len(column(page, 1)) == 17
    page.locator("th[data-key=upper] button").click()
    uppers = [float(text) for text in column(page, 8) if text.startswith(("0", "1"))]
    assert len(uppers) > 5
    assert uppers == sorted(uppers)
    page.locator("th[data-key=upper] button").click()
    again = [float(text) for text in column(page, 8) if text.startswith(("0", "1"))]
    assert again == uppers[::-1]
    assert page.locator("th[data-key=upper]").get_attribute("aria-sort") == "descending"

    page.select_option("#by-model", "digits")
    page.locator("#find").fill("closed 3→2")
    assert (column(page, 1), column(page, 5)) == (["digits"], ["2"])
    assert page.locator("#shown").inner_text() == "1 of 17 instances"

    page.locator("#table tbody tr").click()
    view = page.locator("dialog")
    assert view.is_visible()
    assert "3 → 2" in view.inner_text()
    assert "certified" in view.inner_text()
    assert view.locator("svg.chart path.line").count() == 2
    assert view.locator(".strip img").count() >= 3
    assert all(view.locator(".strip img").evaluate_all("images => images.map(image => image.naturalWidth > 0)"))
    assert view.locator("a[href^='certificates/']").count() == 1
    address = page.url
    page.keyboard.press("Escape")
    assert not view.is_visible()
    page.goto("about:blank")
    page.goto(address)
    assert view.is_visible()  # an instance has an address


def test_everything_fits_the_width_and_is_drawn(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert page.locator("svg.chart").count() >= 6
    assert page.locator("details:not([open])").count() == 2
    page.locator("details:not([open]) summary").first.click()
    assert page.locator("details:not([open])").count() == 1
    assert page.locator("table.pictures img:visible").count() >= 3
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    light_background = sum(int(part) for part in page.evaluate(colour).strip("rgb()").split(",")) > 384
    assert light_background != dark


def test_what_failed_says_why(page: Any) -> None:
    page.locator("#find").fill("failed")
    page.locator("#table tbody tr").first.click()
    assert EVIL in page.locator("dialog").inner_text()
