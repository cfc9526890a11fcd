"""What has changed in a store, and since when: changes have numbers, so that who lost the line asks for the rest."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from verifier.campaign.analysis.progress import Tally, progress_of
from verifier.campaign.store.database import StoreError
from verifier.campaign.store.records import Result
from verifier.campaign.store.store import Store
from verifier.report.campaign.instance_rows import Pictures, rows
from verifier.report.campaign.page import Live
from verifier.report.campaign.study import Study, short_id, study_of
from verifier.report.json_result import Json

INTERVAL = 1.0
"""Seconds between two looks at the store; a look at one that nobody has written to costs next to nothing."""


@dataclass(frozen=True, eq=False)
class FeedState:
    """The store at one look: its number, what it says, and for each instance the number of its last change."""

    number: int
    study: Study
    made: datetime
    changed: Mapping[str, int]

    @cached_property
    def tally(self) -> Tally:
        return Tally.of(self.study.contents.results)


class Feed:
    """Looks at a store from time to time, in a thread of its own. Raises InputError at once for what is no store."""

    def __init__(self, path: Path, title: str | None, clock: Callable[[], float] = time.time) -> None:
        self._path, self._title, self._clock = path, title, clock
        self._epoch = secrets.token_hex(4)  # numbers of an earlier server mean nothing here
        study = study_of(path, title)
        # Opened last: to open and close a file drops this process's locks on it, and without SQLite's locks another
        # process takes the log away from under this reader, who then sees no change ever again.
        self._store = Store(path, readonly=True)
        self._seen: int | None = None  # something may have changed since
        self._trouble, self._looked = "", clock()
        self.state = FeedState(0, study, datetime.now(UTC), {one.id: 0 for one in study.contents.results})
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look_often, daemon=True)
        self._looking.start()

    def close(self) -> None:
        """End the looking."""
        self._ended.set()
        self._looking.join()
        self._store.close()

    def _look_often(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.look()

    def look(self) -> None:
        """See what has changed. Where the store cannot be read, what is known stays; the next look may succeed."""
        try:
            self._look()
        except StoreError as error:
            self._trouble = str(error)
        else:
            self._trouble, self._looked = "", self._clock()

    def live(self, state: FeedState) -> Live:
        """What the campaign is at now, or was when the store could be read last."""
        now = self._looked if self._trouble else self._clock()
        progress = progress_of(state.study.contents.presence, state.tally, now)
        return Live(progress, self._trouble, f"events?since={self.mark_of(state)}")

    def _look(self) -> None:
        seen = self._store.changes
        if seen == self._seen:
            return
        study = Study(self._store.contents(), self._title or self._path.stem)
        self._seen = seen
        before, number = self.state, self.state.number + 1
        old = {one.id: _marks(one) for one in before.study.contents.results}
        new = {one.id: _marks(one) for one in study.contents.results}
        changed = {
            key: before.changed.get(key, number) if old.get(key) == marks else number for key, marks in new.items()
        }
        self.state = FeedState(number, study, datetime.now(UTC), changed)

    @property
    def mark(self) -> str:
        """What tells this state from earlier ones: an event's id."""
        return self.mark_of(self.state)

    def mark_of(self, state: FeedState) -> str:
        return f"{self._epoch}-{state.number}"

    def number_of(self, mark: str | None) -> int:
        """The number in a mark; −1, before everything, for that of another server or none."""
        epoch, _, number = (mark or "").partition("-")
        return int(number) if epoch == self._epoch and number.isdecimal() else -1

    def certificate(self, name: str) -> bytes | None:
        """The certificate of the instance that pages call so."""
        key = next((key for key in self.state.study.certificates if short_id(key) == name), None)
        return None if key is None else self.state.study.certificates[key].read_bytes()

    def changes(self, state: FeedState, since: int) -> Json:
        """The instances that have changed since, with their pictures."""
        pictures = Pictures(prefix=f"{self.mark_of(state)}-")
        wanted = {key for key, number in state.changed.items() if number > since}
        return {"rows": rows(state.study, pictures, wanted), "pictures": pictures.uris}


def _marks(one: Result) -> tuple[object, ...]:
    return one.status, one.lower, one.upper, one.evidence, one.attempts, one.reason, one.updated
