"""The report's files: the same numbers in each, nothing rounded the wrong way, nothing loaded, nothing unescaped."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import sqlite3
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.verifier.report.conftest import EVIL, TOOL, Reported
from verifier.campaign.store.schema import APPLICATION, MIGRATIONS
from verifier.campaign.store.store import Store
from verifier.certificates import checker
from verifier.cli.exit_codes import Exit
from verifier.cli.main import main
from verifier.problem.inputs.image_layout import ImageLayout
from verifier.report.campaign.svg import ticks
from verifier.report.campaign.thumbnails import difference, picture


@pytest.fixture(scope="module")
def told(reported: Reported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reported.folder / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def page(reported: Reported) -> str:
    return (reported.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    listed: list[dict[str, Any]] = json.loads(found.group(1))["rows"]
    return listed


def test_the_json_says_what_the_store_says(told: dict[str, Any], reported: Reported) -> None:
    with Store(reported.store, readonly=True) as store:
        results = store.results()
    assert len(told["instances"]) == len(results) == 3 + 2 * 3 * 2 + 2
    for row, one in zip(told["instances"], results, strict=True):
        assert (row["lower"], row["status"], row["evidence"]) == (finite(one.lower), one.status, one.evidence)
    closed = [one.upper for one in results if one.model.stem == "digits" and one.closed]
    line = told["table1"][0]
    assert (line["closed"], line["instances"], line["closed_upper"]) == (3, 5, pytest.approx(np.mean(closed)))
    assert (line["all_counted"], told["counts"]["failed"]) == (3, 1)
    assert told["table2"][0]["closed_on_both"] > 0
    assert {row["attack"] for row in told["attacks"]} == {"fgsm", "pgd", TOOL}
    (points,) = told["points"]
    assert (points["tool"], points["given"], points["replayed"]) == (TOOL, 2, 0)
    assert points["refused"] == {"outside the box": 1, "the input itself": 1}
    assert {model for plan in told["plans"] for model in plan["models"]} == {one.model.name for one in results}


def test_nothing_that_is_handed_on_tells_a_folder(reported: Reported) -> None:
    """Of models, data, points and stores only the names."""
    files = [path for path in reported.folder.rglob("*") if path.suffix in (".html", ".json", ".csv", ".tex")]
    assert len(files) > 5
    folders = {str(reported.store.parent), *(str(model.parent) for model in reported.plan.models)}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert [folder for folder in folders if folder in text] == [], path.name


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def test_the_distribution_is_that_of_the_instances(told: dict[str, Any]) -> None:
    for row, curve in zip(told["distribution"], told["curves"], strict=True):
        own = [one for one in told["instances"] if (one["model"], one["norm"]) == (row["model"], row["norm"])]
        inputs = {(one["source"], one["index"]) for one in own}
        nearest = {
            key: [min(math.inf if one[end] is None else one[end] for one in own if (one["source"], one["index"]) == key)
                  for end in ("lower", "upper")]
            for key in inputs
        }  # fmt: skip
        assert row["inputs"] == len(inputs) == curve["inputs"]
        for one in row["quantiles"]:
            place = max(1, math.ceil(one["share"] * len(inputs))) - 1
            lowers, uppers = (sorted(ends) for ends in zip(*nearest.values(), strict=True))
            assert (one["at_least"], one["at_most"]) == (finite(lowers[place]), finite(uppers[place]))
        assert sum(one["closed"] for one in row["histogram"]) <= row["closed"] <= row["inputs"]


def test_csv_and_json_agree(told: dict[str, Any], reported: Reported) -> None:
    for name in ("table1", "table2", "attacks", "instances"):
        with (reported.folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            listed = list(csv.DictReader(stream))
        assert len(listed) == len(told[name])
        for row, expected in zip(listed, told[name], strict=True):
            for key, value in row.items():
                if key in expected:
                    assert value == ("" if expected[key] is None else str(expected[key]))


def test_latex_has_a_line_for_each_row(told: dict[str, Any], reported: Reported) -> None:
    text = (reported.folder / "tables.tex").read_text(encoding="utf-8")
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 4
    assert text.count(r" \\") == 4 + sum(len(told[name]) for name in ("table1", "table2", "distribution", "attacks"))
    assert not re.search(r"(?<!\\)[_#&](?=[a-z])", text.split("\n", 1)[1].replace(" & ", ""))


def test_certificates_are_valid_files_and_the_page_links_to_them(
    told: dict[str, Any], reported: Reported, rows: list[dict[str, Any]]
) -> None:
    named = [row["certificate"] for row in told["instances"] if row["certificate"]]
    assert len(named) == 3
    assert named == [row["certificate"]["file"] for row in rows if "certificate" in row]
    for name in named:
        found = checker.judged((reported.folder / name).read_bytes(), reported.plan.models[0].read_bytes())
        assert found.valid, found


def test_lower_ends_are_rounded_down_and_upper_ends_up(rows: list[dict[str, Any]]) -> None:
    shown = [row for row in rows if row["upper"] is not None and row["evidence"]]
    assert len(shown) > 5
    for row in shown:
        assert Decimal(row["lower_text"]) <= Decimal(row["lower"])
        assert Decimal(row["upper_text"]) >= Decimal(row["upper"])
        assert Decimal(row["gap_text"]) >= Decimal(row["gap"])
        ratios = [at["ratio"] for at in row["attacks"] if at["ratio"] is not None]
        assert all(Decimal(ratio) >= Decimal("0.999") for ratio in ratios)


def test_steps_end_at_the_bracket(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["closed"] and row["steps"] and row["lower"] is not None:
            assert row["steps"][-1][2] == row["lower"]
            assert row["steps"][-1][3] >= row["upper"]  # a named attack may have come nearer afterwards


class Checked(HTMLParser):
    """Notes every address, and that elements are closed in the order in which they were opened."""

    VOID = frozenset({"meta", "link", "img", "input", "path", "circle", "rect", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    checked = Checked()
    checked.feed(page)
    assert checked.open == []
    assert checked.scripts == 2
    assert all(address.startswith(("data:", "#")) for address in checked.addresses)
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)


def test_what_comes_from_files_is_escaped(page: str) -> None:
    assert EVIL not in page
    assert "All &amp; &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert TOOL not in page.replace(TOOL.replace("<", "\\u003c"), "")


def test_errors_are_one_line_and_leave_nothing(
    reported: Reported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("x" * 200, encoding="utf-8")
    with Store(tmp_path / "empty.sqlite"):
        pass
    for store, words in (("none", "no such file"), ("text", "not a store"), ("empty.sqlite", "holds no campaign")):
        assert main(["report", str(tmp_path / store), "--out", str(tmp_path / "out")]) == Exit.BAD_INPUT
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert words in err
        assert not (tmp_path / "out").exists()
    assert main(["report", str(reported.store), "--out", str(tmp_path / "text")]) == Exit.BAD_INPUT
    assert "cannot write there" in capsys.readouterr().err


def test_a_store_of_an_older_schema_is_reported_too(tmp_path: Path, reported: Reported) -> None:
    """A copy of a store without what schemas 3 and 4 added."""
    old = tmp_path / "old.sqlite"
    made = sqlite3.connect(old)
    for script in MIGRATIONS[:2]:
        made.executescript(script)
    made.executescript(f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = 2")
    made.execute("ATTACH ? AS new", (str(reported.store),))
    for table in ("plans", "models", "inputs", "boxes", "tasks", "instances", "members", "history"):
        names = ", ".join(row[1] for row in made.execute(f"PRAGMA main.table_info({table})"))
        made.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    made.commit()
    made.close()
    assert main(["report", str(old), "--out", str(tmp_path / "out")]) == Exit.GOOD
    told = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert len(told["instances"]) == 17
    assert not told["attacks"]
    assert not (tmp_path / "out" / "attacks.csv").exists()


def test_pictures_are_what_they_show() -> None:
    """Read again by Pillow: black and white, colours, and a change that is red, blue or clear."""
    grey, colour = ImageLayout(2, 3, 1, channels_first=True), ImageLayout(2, 2, 3, channels_first=True)
    point = np.array([0.0, 0.5, 1.0, 2.0, -1.0, 0.25])
    read = np.array(opened(picture(point, grey, (0.0, 1.0))))
    assert read.tolist() == [[0, 128, 255], [255, 0, 64]]
    channels = np.arange(12) / 11
    assert np.array(opened(picture(channels, colour, (0.0, 1.0)))).shape == (2, 2, 3)
    change = np.array(opened(difference(np.array([0.0, 0.2, -0.4, 0, 0, 0]), grey)).convert("RGBA"))
    assert change[0, :, 3].tolist() == [0, 128, 254]
    assert change[0, 1, 0] > change[0, 1, 2]
    assert change[0, 2, 0] < change[0, 2, 2]
    assert picture(point, None, (0.0, 1.0)).startswith("data:image/svg+xml;base64,")


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_ticks_are_round_and_inside() -> None:
    for high in (0.0113, 0.5, 7.9, 93.0, 1e-7):
        found = ticks(0.0, high)
        assert 3 <= len(found) <= 9
        assert found[0] == 0.0
        assert found[-1] <= high
