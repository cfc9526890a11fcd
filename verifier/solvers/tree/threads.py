"""Threads that explore search trees: begun when there is work for them, gone when the search is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Threads:
    """Up to `count` threads; where that is 1, the caller's own, which costs nothing. A context: none outlives it."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def submit(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """The result of the call, to come; with one thread it is there."""
        if self.count > 1:
            return self._begun().submit(work, *arguments, **options)
        future: Future[T] = Future()
        future.set_result(work(*arguments, **options))
        return future

    def each(self, work: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """The results for all items, in order; not to be called from one of these threads, which it waits for."""
        waiting = list(items)
        if self.count == 1 or len(waiting) < 2:
            return [work(item) for item in waiting]
        begun = self._begun()
        return [future.result() for future in [begun.submit(work, item) for item in waiting]]

    def _begun(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return self._pool


ALONE = Threads()
"""The caller's own thread."""
