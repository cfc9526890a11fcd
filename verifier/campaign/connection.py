"""The line between a campaign and its workers, wherever they run: brackets come in as they close, "stop" goes out.

A worker that cannot reach its campaign works all the same, and hands its brackets over when its task is done. One whose
campaign has died stops.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener

import numpy as np
import numpy.typing as npt

from verifier.campaign.plan.attack_tasks import Finding
from verifier.campaign.plan.messages import Channel, Outcome
from verifier.campaign.plan.tasks import Target

LOCALHOST, EVERYWHERE = "127.0.0.1", "0.0.0.0"
CONNECT_SECONDS = 5.0
"""After which a campaign counts as out of reach."""

BROKEN = (OSError, EOFError)


KnownWitnesses = Mapping[Target, npt.NDArray[np.floating] | None]


@dataclass(frozen=True)
class Begin:
    """A worker's question at the beginning of a task; worker: its host and process."""

    task: str
    targets: tuple[Target, ...]
    worker: str


class Connections:
    """The campaign's end: `receive` gets every outcome, `stop` tells all workers to come to an end.

    ask: the targets of a task that are still open, with known witnesses: its worker may have been lost midway.
    reachable: the address by which workers on other hosts reach this one; None when they are all on this host.
    """

    def __init__(
        self,
        receive: Callable[[Sequence[Outcome | Finding]], None],
        ask: Callable[[Begin], KnownWitnesses],
        reachable: str | None = None,
    ) -> None:
        key = os.urandom(32)
        self._listener = Listener((LOCALHOST if reachable is None else EVERYWHERE, 0), authkey=key, backlog=64)
        port = int(self._listener.address[1])
        self.channel = Channel((reachable or LOCALHOST, port), key)
        self._receive, self._ask = receive, ask
        self._lines: set[Connection] = set()
        self._stopped = False
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Tell all workers to end with what they know."""
        self._stopped = True
        for line in list(self._lines):
            _hang_up(line)

    def close(self) -> None:
        """Hang up."""
        self.stop()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line = self._listener.accept()
            except BROKEN:
                if self._stopped:
                    return
                continue
            except Exception:  # noqa: BLE001, a stranger's failed handshake must not end the line for the workers
                continue
            threading.Thread(target=self._listen, args=(line,), daemon=True).start()

    def _listen(self, line: Connection) -> None:
        self._lines.add(line)
        if self._stopped:
            _hang_up(line)
        with contextlib.suppress(*BROKEN), line:
            while True:
                message = line.recv()
                if isinstance(message, Begin):
                    line.send(self._ask(message))
                else:
                    self._receive(message)
        self._lines.discard(line)


class Line:
    """The worker's end."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection

    def begin(self, task: str, targets: Sequence[Target]) -> KnownWitnesses | None:
        """Those of the targets that are still open, with known witnesses; None when the campaign does not say."""
        if self._connection is not None:
            with contextlib.suppress(*BROKEN):
                self._connection.send(Begin(task, tuple(targets), f"{platform.node()}, process {os.getpid()}"))
                known: KnownWitnesses = self._connection.recv()
                return known
        return None

    def send(self, outcomes: Sequence[Outcome | Finding]) -> None:
        """Hand outcomes over now, if the campaign can be reached; they are handed over again with the task's end."""
        if self._connection is not None:
            with contextlib.suppress(*BROKEN):
                self._connection.send(tuple(outcomes))

    @property
    def cut(self) -> bool:
        """Has the campaign hung up: stopped, or died?"""
        try:
            return self._connection is not None and self._connection.poll()
        except BROKEN:
            return True


@contextlib.contextmanager
def connected(channel: Channel | None) -> Iterator[Line]:
    """A line to the campaign; one that says nothing where it cannot be reached."""
    connection = None
    if channel is not None:
        with contextlib.suppress(*BROKEN):
            socket.create_connection(channel.address, CONNECT_SECONDS).close()  # Client itself would wait for minutes
            connection = Client(channel.address, authkey=channel.key)
    try:
        yield Line(connection)
    finally:
        if connection is not None:
            connection.close()


def _hang_up(line: Connection) -> None:
    """Let the other end see the end of the line, while what it sends still arrives."""
    with contextlib.suppress(*BROKEN), socket.socket(fileno=os.dup(line.fileno())) as end:
        end.shutdown(socket.SHUT_WR)


def own_address(towards: str) -> str:
    """The address of this host on the way to another, its own name where there is no way; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((towards, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()
