"""The HTTP of ``danlu serve``: JSON in, JSON out, and a page to try it on.

``POST /predict`` takes a row or a list of rows and answers in kind; ``GET /model`` tells what rows have;
``GET /health`` is for whoever watches; ``GET /`` is the page. A page of another site is refused: requests that name a
host that is not this one, and bodies that are not said to be JSON, which no form of another site can say.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.resources import files
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from danlu.errors import DanluError
from danlu.files import finite
from danlu.log import harmless
from danlu.pages import colours

MOST_BYTES = 8 * 2**20
"""Of a request."""
SECONDS_TO_SEND = 30
"""For whoever asks to send it."""
STATIC = {
    "/": ("page.html", "text/html"),
    "/serve.css": ("serve.css", "text/css"),
    "/serve.js": ("serve.js", "text/javascript"),
}
"""Path, file and kind of what the page is made of."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Answering(Protocol):
    """What is served."""

    def said(self) -> dict[str, Any]: ...

    def ask(self, rows: Sequence[Any]) -> Future[list[dict[str, Any]]]:
        """The answers to come; what is the caller's fault is a :class:`danlu.errors.DanluError`, here or in them."""
        ...


class JSONResponse(Response):
    """JSON of whatever a model says: there is no NaN in JSON, nor half a surrogate pair in UTF-8."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        text = json.dumps(finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            return json.dumps(finite(content), separators=(",", ":")).encode()


def application(engine: Answering, *, is_ours: Callable[[str], bool]) -> ASGIApp:
    """The application.

    Args:
        is_ours: whether the Host that a request names may mean this server.
    """

    async def predict(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refusal(415, "send JSON, with the header Content-Type: application/json")
        try:
            body = await asyncio.wait_for(_body(request), SECONDS_TO_SEND)
        except TimeoutError:
            return refusal(408, f"the request was not sent within {SECONDS_TO_SEND} seconds")
        if body is None:
            return refusal(413, f"a request may have {MOST_BYTES // 2**20} MiB; send fewer rows at a time")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError) as error:
            return refusal(400, f"the request is no JSON: {error}")
        try:
            coming = await run_in_threadpool(engine.ask, asked if isinstance(asked, list) else [asked])
            answers = await asyncio.wrap_future(coming)
        except DanluError as error:
            return refusal(422, str(error))
        except asyncio.CancelledError:
            return refusal(503, "the server is being stopped")
        return JSONResponse(answers if isinstance(asked, list) else answers[0])

    async def model(request: Request) -> Response:
        return JSONResponse(engine.said())

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def static(request: Request) -> Response:
        name, kind = STATIC[request.url.path]
        before = colours.variables().encode() if kind == "text/css" else b""
        content = before + files("danlu.serve").joinpath("static", name).read_bytes()
        return Response(content, media_type=kind, headers=HEADERS)

    routes = [
        Route("/predict", predict, methods=["POST"]), Route("/model", model), Route("/health", health),
        *(Route(path, static) for path in STATIC),
    ]  # fmt: skip
    failed = {404: _not_there, 405: _not_there, 500: _our_fault}
    return _OwnHost(Starlette(routes=routes, exception_handlers=failed), is_ours)


def refusal(status: int, reason: str) -> JSONResponse:
    """``{"error": …}`` in one line."""
    return JSONResponse({"error": " ".join(harmless(reason).split())}, status)


async def _body(request: Request) -> bytes | None:
    """All of it; None where it is too long, of which no more is kept."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


async def _not_there(request: Request, error: Exception) -> Response:
    ways = "POST /predict, GET /model, GET /health, and GET / for the page"
    told = refusal(getattr(error, "status_code", 404), f"there is no {request.method} {request.url.path}: {ways}")
    told.headers.update(getattr(error, "headers", None) or {})  # Allow
    return told


async def _our_fault(request: Request, error: Exception) -> Response:
    """What is no fault of the caller; the traceback is on the screen of whoever serves."""
    return refusal(500, "the server failed; its own screen says why")


class _OwnHost:
    """Refuses requests that name another host: a page elsewhere could have its name resolved to this machine."""

    def __init__(self, inner: ASGIApp, is_ours: Callable[[str], bool]) -> None:
        self.inner, self.is_ours = inner, is_ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        if scope["type"] == "http" and not self.is_ours(host):
            told = refusal(421, f"this server is not called {host!r}; where it is, start it with --name and that name")
            await told(scope, receive, send)
            return
        try:
            await self.inner(scope, receive, send)
        except ClientDisconnect:  # who went away needs no answer
            return
