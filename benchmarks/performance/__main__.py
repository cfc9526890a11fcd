"""Write PERFORMANCE.md, and its pictures, from the records in benchmarks/results and the prose of `page.md`.

`python -m benchmarks.performance` writes them; `--check` compares only, and exits 1 with one line where a file is not
what the records say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2

from benchmarks.harness.record import PROJECT, RESULTS, write_atomically
from benchmarks.performance import tables
from benchmarks.performance.others import others
from benchmarks.performance.pictures import pictures

PAGE = PROJECT / "PERFORMANCE.md"
PROSE = Path(__file__).with_name("page.md")
STALE = 1


def text() -> str:
    """The page as the records have it. Raises NotMeasuredError where a record is missing."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    page = environment.from_string(PROSE.read_text(encoding="utf-8"))
    return page.render(
        accuracy=tables.accuracy,
        first_table=tables.first_table,
        round_table=tables.round_table,
        second_table=tables.second_table,
        beside_peers=tables.beside_peers,
        peer_contradictions=tables.peer_contradictions,
        kept_promises=tables.kept_promises,
        memory=tables.memory,
        certified=tables.certified,
        others=others,
        provenance=lambda name: tables.of(name).provenance(),
    )


def main(words: Sequence[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (default: %(default)s)")
    arguments = parser.parse_args(words)
    try:
        folder = arguments.out.parent / RESULTS.relative_to(PROJECT)
        files = {arguments.out: text(), **{folder / name: content for name, content in pictures().items()}}
    except tables.NotMeasuredError as error:
        print(f"performance: error: {error}", file=sys.stderr)
        return 2
    for path, new in files.items():
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, new.encode())
        elif not path.exists() or path.read_text(encoding="utf-8") != new:
            print(f"{path} is not what the records say: python -m benchmarks.performance", file=sys.stderr)
            return STALE
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
