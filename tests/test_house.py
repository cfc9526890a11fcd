"""The house is as it is described: every module has its tests, stands on the map, and is short enough to read."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import verifier
from verifier import testing

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("encoders", "verifier", "benchmarks")
UNTESTED = "none: "
"""What the list of tests says of a benchmark's module that none tests, with the reason."""

LONGEST = 400
"""Lines of a file that is read in one sitting."""

CHECKER = "verifier/certificates/checker.py"
"""Longer, because it has to run alone: a stranger copies one file."""

FAMILIES = ("verifier/attacks", "verifier/report/campaign/sections", "encoders/onnx_io/ops")
"""Folders of files of one kind: the map names the kind."""

PAGES = sorted(str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")))

WORDS = re.compile(r"`([^`]+)`")


def modules() -> Iterator[Path]:
    """Every module of ours but packages and their `__main__`, relative to the project."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.stem.startswith("__"):
                yield path.relative_to(ROOT)


def own_test(module: Path) -> Path:
    return Path("tests") / module.parent / f"test_{module.name}"


def listed() -> dict[Path, str]:
    """Each module on the list of tests with what it says of it."""
    found: dict[Path, str] = {}
    folder = Path()
    for line in (ROOT / "docs/tests.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            folder = Path(line.removeprefix("## "))
        elif line.startswith("| `"):
            names, where = (cell.strip() for cell in line.strip("|").split("|"))
            for name in WORDS.findall(names):
                assert folder / f"{name}.py" not in found, f"{folder / name} stands on the list twice"
                found[folder / f"{name}.py"] = where
    return found


def test_there_are_modules() -> None:
    assert len(list(modules())) > 200


def test_every_module_has_tests_of_its_own_or_says_where_they_are() -> None:
    lacking = [path for path in modules() if not (ROOT / own_test(path)).exists() and path not in listed()]
    assert not lacking, f"no {own_test(lacking[0])}, and no line in docs/tests.md" if lacking else ""


@pytest.mark.parametrize("module", listed(), ids=str)
def test_a_line_on_the_list_is_needed_and_true(module: Path) -> None:
    assert (ROOT / module).exists()
    assert not (ROOT / own_test(module)).exists()
    where = listed()[module]
    if where.startswith(UNTESTED):
        assert module.parts[0] == "benchmarks"
        return
    files = WORDS.findall(where)
    assert files
    assert all(re.fullmatch(r"tests/.*/test_\w+\.py", file) and (ROOT / file).exists() for file in files)


@pytest.mark.parametrize("module", [path for path in modules() if path.parts[0] != "benchmarks"], ids=str)
def test_every_module_stands_on_the_map(module: Path) -> None:
    if module.parent.as_posix() in FAMILIES:
        return
    drawn = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("```")[1]
    assert re.search(rf"(?<![a-z0-9_]){module.stem}(?![a-z0-9_])", drawn)


def test_what_the_map_and_the_checklists_name_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = {path.name for path in ROOT.rglob("*.py") if not path.relative_to(ROOT).parts[0].startswith(".")}
    for word in WORDS.findall(text):
        if word.endswith(".py"):
            assert Path(word).name in names, word


@pytest.mark.parametrize("page", [*PAGES, "Makefile", "benchmarks/table1.toml"])
def test_modules_that_the_documents_name_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w./-])((?:encoders|benchmarks|verifier)(?:\.\w+)+)", text):
        assert leads_somewhere(name), name


def leads_somewhere(name: str) -> bool:
    """Is it a module, or a name of the package `verifier` or of the fixture that is called so?"""
    path, member = ROOT.joinpath(*name.split(".")), name.removeprefix("verifier.")
    return path.with_suffix(".py").exists() or path.is_dir() or any(hasattr(of, member) for of in (verifier, testing))


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_documents_lead_somewhere(page: str) -> None:
    source = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", source.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file, _, place = target.partition("#")
            found = (source.parent / file).resolve() if file else source
            assert found.exists(), target
            assert not place or found.suffix != ".md" or place in anchors(found), target


def test_every_page_stands_in_the_contents_of_the_site() -> None:
    contents = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    pages = [Path(page) for page in PAGES if not page.startswith("docs/decisions/")]
    assert [page for page in pages if f'{page.stem}"' not in contents] == [], "CONTENTS in docs/conf.py"


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    lines = [line.lstrip("#").strip().lower() for line in page.read_text("utf-8").splitlines() if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in lines}


def test_no_file_is_too_long_for_one_sitting() -> None:
    long = {str(path): count for path in modules() if (count := lines(path)) > LONGEST}
    long.pop(CHECKER)
    assert not long


def lines(module: Path) -> int:
    return len((ROOT / module).read_text(encoding="utf-8").splitlines())


def test_the_checker_imports_the_standard_library_and_numpy_only() -> None:
    tree = ast.parse((ROOT / CHECKER).read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in found} - sys.stdlib_module_names == {"numpy"}


def definitions() -> dict[str, list[str]]:
    """Where each public class and type alias of the product is defined, by name."""
    found: dict[str, list[str]] = {}
    for module in modules():
        if module.parts[0] == "benchmarks":
            continue
        for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
            match node:
                case (
                    ast.ClassDef(name=name)
                    | ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
                        found.setdefault(name, []).append(module.as_posix())
    return found


def test_the_walk_sees_classes_and_aliases() -> None:
    found = definitions()
    assert found["Specification"] == ["verifier/search/question.py"]
    assert found["Array"] == ["encoders/network/graph.py"]
    assert len(found) > 300


def test_one_public_name_has_one_meaning() -> None:
    assert {name for name, places in definitions().items() if len(places) > 1} == set()
