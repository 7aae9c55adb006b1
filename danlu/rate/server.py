"""The HTTP server of the rating page: forms and redirects, of the standard library, for a room full of raters.

It trusts nobody: requests that name another host are refused (a page elsewhere could have its name resolved to this
machine), as are forms that another site has sent, and bodies that no form of ours has.
"""

from __future__ import annotations

import socketserver
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from danlu.address import Address
from danlu.rate.page import BUTTONS, LONGEST_NAME, STATIC, View, choice_of, static
from danlu.rate.store import DatabaseError, Given, NotYoursError, Rater, Store
from danlu.rate.study import PREFERENCE
from danlu.rate.words import words_for

MOST_BYTES = 64 * 1024
"""Of the body of a request."""
MOST_DRAINED = 1024 * 1024
"""Bytes of a refused body that are read all the same, so that the browser reads the answer."""
SECONDS_TO_SEND = 30
"""For a browser to say what it wants."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language, Cookie",
}


class RatingServer(ThreadingHTTPServer):
    """Serves one study until it is told to stop; ``port`` 0 takes a free one.

    Raises:
        InputError: the host is not one of this machine's, or the port is in use or not allowed.
    """

    daemon_threads = True

    def __init__(self, store: Store, *, host: str, port: int) -> None:
        self.store, self.address = store, Address(host, port)
        with self.address.refusing():
            self.address_family, number = self.address.resolved()
            super().__init__((number, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the network what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return self.address.url(self.socket)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; everything else is a bug and keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: RatingServer
    timeout = SECONDS_TO_SEND
    server_version, sys_version = "danlu", ""

    def do_GET(self) -> None:
        if self._is_addressed():
            self._guarded(self._show)

    def do_POST(self) -> None:
        if self._is_addressed() and (form := self._form()) is not None:
            self._guarded(lambda: self._take(form))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Say it where the database fails: a full disk, a file that was moved away or is damaged."""
        try:
            work()
        except DatabaseError as error:
            print(f"danlu: {error}", file=sys.stderr, flush=True)
            text = (
                f"The ratings cannot be reached: {_reason(error)}. Tell the person who runs this page, and try again."
            )
            self._send(f"{text}\n".encode(), HTTPStatus.INSUFFICIENT_STORAGE, kind="text/plain; charset=utf-8")

    def _show(self) -> None:
        path = urlsplit(self.path).path
        if path in STATIC:
            self._send(static(path), kind=STATIC[path])
            return
        view = self._view()
        if path not in ("/", "/last"):
            self._refuse(HTTPStatus.NOT_FOUND)
        elif view.rater is None:
            self._send(view.join())
        elif path == "/last" and (last := view.store.last(view.rater)) is not None:
            self._send(view.item(last, changing=True))
        else:
            self._next(view, view.rater)

    def _take(self, form: Mapping[str, str]) -> None:
        view = self._view()
        path = urlsplit(self.path).path
        if not compare_digest(form.get("secret", "").encode(), view.store.form_secret.encode()):
            text = view.words["stale"]
            self._send(view.message(view.words["refused"], text, view.words["next"]), HTTPStatus.FORBIDDEN)
        elif path == "/join":
            self._join(view, form)
        elif path != "/rate":
            self._refuse(HTTPStatus.NOT_FOUND)
        elif view.rater is None:
            self._go("/")
        else:
            self._rate(view, view.rater, form)

    def _next(self, view: View, rater: Rater) -> None:
        given, words = view.store.give(rater), view.words
        if given is not None:
            self._send(view.item(given))
            return
        done, left = view.store.progress(rater)
        title = words["done_title"].format(name=rater.name)
        text = words["waiting"] if left else words["done"].format(done=done)
        self._send(view.message(title, text, words["again"]))

    def _join(self, view: View, form: Mapping[str, str]) -> None:
        name = " ".join(form.get("name", "").split())
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            problem = view.words["no_name"].format(most=LONGEST_NAME)
            self._send(view.join(problem), HTTPStatus.UNPROCESSABLE_ENTITY)
            return
        rater = view.store.join(name)
        kept = "Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        self._go("/", {"Set-Cookie": f"{_cookie(view.store)}={rater.token}; {kept}"})

    def _rate(self, view: View, rater: Rater, form: Mapping[str, str]) -> None:
        given = self._meant(view.store, rater, form.get("item", ""))
        if given is None:
            self._conflict(view)
            return
        marks = _marks(view.store, given, form)
        if set(marks) != set(view.store.study.criteria):
            page = view.item(given, changing=bool(given.marks), marks=marks, problem=view.words["missing"])
            self._send(page, HTTPStatus.UNPROCESSABLE_ENTITY)
            return
        try:
            view.store.rate(rater, given.number, marks)
        except NotYoursError:
            self._conflict(view)
        except DatabaseError as error:  # a full disk: the rating stays in the rater's browser
            print(f"danlu: a rating of {rater.name!r} could not be saved: {error}", file=sys.stderr, flush=True)
            page = view.item(given, marks=marks, problem=view.words["unsaved"].format(reason=_reason(error)))
            self._send(page, HTTPStatus.INSUFFICIENT_STORAGE)
        else:
            self._go("/")

    def _meant(self, store: Store, rater: Rater, ticket: str) -> Given | None:
        """The item of a form: the one in hand or the last; None where it is neither."""
        for given in (store.last(rater), store.give(rater)):
            if given is not None and store.ticket(rater, given.number) == ticket:
                return given
        return None

    def _conflict(self, view: View) -> None:
        words = view.words
        self._send(view.message(words["refused"], words["not_yours"], words["next"]), HTTPStatus.CONFLICT)

    def _view(self) -> View:
        store = self.server.store
        words = words_for(self.headers.get("Accept-Language", ""))
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(_cookie(store))
        except CookieError:
            cookie = None
        rater = None if cookie is None else store.rater(cookie.value)
        return View(store, words, rater, None if rater is None else store.progress(rater))

    def _is_addressed(self) -> bool:
        """Whether the request names this server, and comes from a page of ours or from a person's own hand."""
        host = self.headers.get("Host", "")
        if not self.server.address.is_ours(host):
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
            return False
        if self.command == "POST":
            origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
            if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
                self._refuse(HTTPStatus.FORBIDDEN)
                return False
        return True

    def _form(self) -> dict[str, str] | None:
        """The fields of the form in the body; None where the request has been refused."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return None
        if len(length) > 9 or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        try:
            fields = parse_qs(self.rfile.read(int(length)).decode(), max_num_fields=200, errors="strict")
        except ValueError:  # no UTF-8, or too many fields
            self._refuse(HTTPStatus.BAD_REQUEST)
            return None
        return {name: values[0] for name, values in fields.items()}

    def _go(self, to: str, more: Mapping[str, str] | None = None) -> None:
        self._send(b"", HTTPStatus.SEE_OTHER, more={"Location": to, **(more or {})})

    def _refuse(self, status: HTTPStatus) -> None:
        length = self.headers.get("Content-Length", "0")
        if self.command == "POST" and length.isdecimal() and status is not HTTPStatus.BAD_REQUEST:
            left = min(int(length[:9]), MOST_DRAINED)
            while left > 0 and (part := self.rfile.read(min(left, MOST_BYTES))):
                left -= len(part)
        self._send(f"{status.value} {status.phrase}\n".encode(), status, kind="text/plain; charset=utf-8")

    def _send(
        self,
        body: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        *,
        kind: str = "text/html; charset=utf-8",
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who rates what is in the database and nowhere else."""


def _reason(error: DatabaseError) -> object:
    """What the database says, without where it lies, which is no rater's business."""
    return error.__cause__ or error


def _cookie(store: Store) -> str:
    """A name of its own for each study: browsers keep the cookies of all ports of a host together."""
    return f"danlu_rate_{sha256(store.secret.encode()).hexdigest()[:8]}"


def _marks(store: Store, given: Given, form: Mapping[str, str]) -> dict[str, str | int]:
    """What the form says, as far as it can be said."""
    rubric = store.study.rubric
    if rubric is None:
        button = form.get("choice", "")
        return {PREFERENCE: choice_of(button, swapped=given.swapped)} if button in BUTTONS else {}
    marks: dict[str, str | int] = {}
    for place, criterion in enumerate(rubric.criteria):
        value = form.get(f"criterion{place}", "")
        if value in {str(step) for step in criterion.scale.steps()}:
            marks[criterion.name] = int(value)
    return marks
