"""What `verifier watch` does: serve a store's report until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from encoders.errors import InputError
from verifier.campaign.backends import ANYWHERE
from verifier.campaign.inbox import own_address
from verifier.exit_codes import Exit
from verifier.report import terminal
from verifier.watch.feed import Feed

NEEDED = ("starlette", "uvicorn")
EVERYWHERE = ("0.0.0.0", "::", "")


def watch(store: Path, host: str, port: int, title: str | None = None) -> Exit:
    """Print the page's address and serve it. Raises InputError: no store, no such address, packages missing."""
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        raise InputError(f"watch needs {' and '.join(missing)}: pip install 'relu-verifier[watch]'")
    from verifier.watch import server  # noqa: PLC0415, needs the optional packages

    feed = Feed(store, title)
    try:
        with _listening(host, port) as listening:
            token = server.new_token(host)
            place = f"{_name(host)}:{listening.getsockname()[1]}"
            terminal.stdout().print(f"http://{place}/{token + '/' if token else ''}", soft_wrap=True)
            sys.stdout.flush()
            terminal.message("Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                server.serve(feed, listening, host, token)
    finally:
        feed.close()
    return Exit.GOOD


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--host {host} --port {port}: cannot listen there: {reason}") from None


def _name(host: str) -> str:
    """The host as others call it in an address."""
    if host in EVERYWHERE:
        return own_address(ANYWHERE)
    return f"[{host}]" if ":" in host else host
