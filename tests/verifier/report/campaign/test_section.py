"""A section of the report is a module and its markup, and both are there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources

import pytest

from tests.verifier.report.conftest import Reported
from verifier.report.campaign.page import page
from verifier.report.campaign.section import all_sections
from verifier.report.campaign.study import Study, study_of
from verifier.report.campaign.tables import csv_files, csv_names, report_json

MADE = datetime(2031, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def study(reported: Reported) -> Study:
    return study_of(reported.store, "t")


def test_every_section_has_its_markup_and_every_markup_its_section() -> None:
    markup = resources.files("verifier.report") / "templates" / "sections"
    assert {file.name for file in markup.iterdir()} == {f"{name}.html" for name in all_sections()}


@pytest.mark.parametrize("told", ["place", "table"])
def test_no_two_sections_share_a_place_or_a_table(told: str) -> None:
    found = Counter(getattr(one, told) for one in all_sections().values())
    assert [value for value, times in found.items() if value and times > 1] == []


def test_sections_stand_in_their_order_and_links_lead_to_them(study: Study) -> None:
    text = page(study, MADE)
    anchors = [anchor for one in all_sections().values() for anchor in one.links]
    for found in ([text.index(f'href="#{anchor}"') for anchor in anchors],
                  [text.index(f'<section id="{anchor}"') for anchor in anchors]):  # fmt: skip
        assert found == sorted(found)


def test_what_is_not_shown_has_no_link(study: Study) -> None:
    first = next(iter(study.names))
    alone = tuple(one for one in study.contents.results if one.model_sha256 == first)
    text = page(Study(replace(study.contents, results=alone, findings=()), "t"), MADE)
    for anchor in ("defence", "attacks", "misses"):
        assert f'"#{anchor}"' not in text
        assert f'id="{anchor}"' not in text


def test_json_and_csv_hold_each_table_once(study: Study) -> None:
    told = report_json(study, MADE)
    for one in all_sections().values():
        if one.json is not None:
            assert len(told[one.table]) == len(one.json(study)) > 0
    assert set(csv_files(study)) == csv_names()
