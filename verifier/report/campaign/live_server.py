"""The page and its events over HTTP, by starlette and uvicorn. Nothing can be changed from outside."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from verifier.report.campaign.live_feed import Feed, FeedState
from verifier.report.campaign.page import page, sections, tab
from verifier.report.campaign.page import state as state_of

TICK = 0.25
"""Seconds between two looks for something to send, and for the end."""
HEARTBEAT = 15.0
"""Seconds without an event after which a comment is sent, so that nobody on the way closes the line."""
RETRY = 2000
"""Milliseconds after which a browser that lost the line tries again."""
GRACE = 2
"""Seconds that answers in progress get when the server ends."""
TOKEN_BYTES = 16
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
}


def loopback(host: str) -> bool:
    """Can only this machine reach a server at that address?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_token(host: str) -> str:
    """What the address has to hold: nothing on the loopback, else a random word."""
    return "" if loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)


@dataclass
class Site:
    """The answers. `ending` says whether the server is about to end: event streams end then."""

    feed: Feed
    token: str
    host: str
    ending: Callable[[], bool] = lambda: False
    _drawn: tuple[FeedState, str] | None = None

    def application(self) -> Starlette:
        """The routes, below the token where there is one. On the loopback only its names are answered to: a page of
        another site whose name points here (DNS rebinding) must not read along."""
        under = "/{token}" if self.token else ""
        answers = {
            "/": self.page,
            "/sections": self.sections,
            "/events": self.events,
            "/certificates/{name}.cert": self.certificate,
        }
        # starlette cuts "[::1]:8000" at its first colon
        hosts = ["localhost", "127.0.0.1", "[", self.host.split(":")[0]]
        local = [] if self.token else [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)]
        routes = [Route(under + path, answer, methods=["GET"]) for path, answer in answers.items()]
        application = Starlette(routes=routes, middleware=local)
        application.router.redirect_slashes = False
        return application

    def _checked(self, request: Request) -> None:
        given = request.path_params.get("token", "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            raise HTTPException(404)

    def page(self, request: Request) -> Response:
        """The whole page; its events begin where it ends."""
        self._checked(request)
        state = self.feed.state
        return HTMLResponse(page(state.study, state.made, self.feed.live(state)), headers=HEADERS)

    def sections(self, request: Request) -> Response:
        """Its tables and charts alone."""
        self._checked(request)
        state = self.feed.state
        if self._drawn is None or self._drawn[0] is not state:
            self._drawn = state, sections(state.study, state.made, live=True)
        return HTMLResponse(self._drawn[1], headers=HEADERS)

    def certificate(self, request: Request) -> Response:
        """One certificate."""
        self._checked(request)
        content = self.feed.certificate(request.path_params["name"])
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type="application/octet-stream", headers=HEADERS)

    async def events(self, request: Request) -> Response:
        """Server-sent events: the instances that have changed, each time some have; after that, that the rest has; what
        the campaign is at."""
        self._checked(request)
        mark = request.headers.get("last-event-id") or request.query_params.get("since")
        stream = self._events(self.feed.number_of(mark))
        return StreamingResponse(stream, media_type="text/event-stream", headers={**HEADERS, "X-Accel-Buffering": "no"})

    async def _events(self, since: int) -> AsyncIterator[str]:
        yield f"retry: {RETRY}\n\n"
        silent, told_state = 0.0, ""
        while not self.ending():
            state = self.feed.state
            if state.number > since:
                changes = await asyncio.to_thread(self.feed.changes, state, since)
                since, silent = state.number, 0.0
                told = json.dumps(changes, allow_nan=False)
                mark = self.feed.mark_of(state)
                yield f"event: instances\ndata: {told}\n\nid: {mark}\nevent: sections\ndata: {state.number}\n\n"
            elif (told := self._state(state)) != told_state:
                told_state, silent = told, 0.0
                yield f"event: state\ndata: {told}\n\n"
            elif silent >= HEARTBEAT:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(TICK)
            silent += TICK

    def _state(self, state: FeedState) -> str:
        """What the campaign is at, as the page shows it; it changes with every second that passes."""
        live = self.feed.live(state)
        return json.dumps({"html": state_of(state.study, live), "tab": tab(state.study, live.progress)})


def serve(feed: Feed, listening: socket.socket, host: str, token: str) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    site = Site(feed, token, host)
    config = uvicorn.Config(
        site.application(), log_level="error", access_log=False, timeout_graceful_shutdown=GRACE, lifespan="off"
    )
    server = uvicorn.Server(config)
    site.ending = lambda: server.should_exit
    server.run(sockets=[listening])
