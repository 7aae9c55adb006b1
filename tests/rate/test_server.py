"""The server as browsers and as attackers meet it."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Callable
from html import unescape
from http.client import HTTPConnection, HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from danlu.address import Address
from danlu.errors import InputError
from danlu.pages import colours
from danlu.rate.answers import Material
from danlu.rate.page import static
from danlu.rate.rubric import Rubric, Scale
from danlu.rate.server import MOST_BYTES, RatingServer
from danlu.rate.store import DatabaseError, Store, create
from danlu.rate.study import PREFERENCE, plan

from .conftest import damage

Makes = Callable[..., Store]
Serves = Callable[[Store], str]


class Browser:
    """Keeps cookies, follows redirects, fills in the form of the page that it shows."""

    def __init__(self, url: str, language: str = "en") -> None:
        self.url = url
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self._opener.addheaders = [("Accept-Language", language)]
        self.status, self.page = 0, ""
        self.open("/")

    def open(self, path: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> str:
        data = None if fields is None else urlencode(fields).encode()
        request = Request(self.url + path, data, headers or {})
        try:
            with self._opener.open(request) as answer:
                self.status, self.page = answer.status, answer.read().decode()
        except HTTPError as error:
            self.status, self.page = error.code, error.read().decode()
            error.close()
        return self.page

    def submit(self, **fields: str) -> str:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', self.page))
        action = re.search(r'action="([^"]+)"', self.page)
        assert action is not None
        return self.open(action[1], {**hidden, **fields})

    def texts(self) -> list[str]:
        return [
            unescape(text) for text in re.findall(r'<div class="text" dir="auto">(.*?)</div>', self.page, re.DOTALL)
        ]


def raw(url: str, method: str = "GET", path: str = "/", body: bytes = b"", **headers: str) -> tuple[int, HTTPMessage]:
    """A request with headers that no browser would send."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


def test_pairs_from_the_name_to_the_last_item(make: Makes, serve: Serves) -> None:
    """Whoever wants the first model finds it on either side; what is kept is the model, not the side."""
    store = make(prompts=6)
    browser = Browser(serve(store))
    assert "Your name" in browser.page
    browser.submit(name="Ada")
    sides = []
    for done in range(6):
        assert f"{done} rated, {6 - done} to go" in browser.page
        assert "model" not in re.sub(r'<div class="text".*?</div>', "", browser.page)
        _, left, _right = browser.texts()
        sides.append("left" if left.endswith("model0") else "right")
        browser.submit(choice=sides[-1])
    assert "Thank you, Ada!" in browser.page and "You have rated 6" in browser.page
    assert {rating.marks[PREFERENCE] for rating in store.ratings()} == {"first"}
    assert set(sides) == {"left", "right"}


def test_a_reload_shows_the_same_and_a_new_browser_goes_on(make: Makes, serve: Serves) -> None:
    url = serve(make(prompts=5))
    browser = Browser(url)
    browser.submit(name="Ada")
    browser.submit(choice="both_bad")
    shown = browser.texts()
    assert browser.open("/") and browser.texts() == shown
    other = Browser(url, "zh-CN")
    other.submit(name=" ADA ")
    assert "已评 1，还剩 4" in other.page and other.texts() == shown


def test_going_back_changes_the_last_rating(make: Makes, serve: Serves) -> None:
    store = make(prompts=3)
    browser = Browser(serve(store))
    browser.submit(name="Ada")
    before = browser.texts()
    browser.submit(choice="both_good")
    browser.open("/last")
    assert browser.texts() == before
    assert 'value="both_good" class="chosen"' in browser.page
    browser.submit(choice="both_bad")
    assert "1 rated, 2 to go" in browser.page and browser.texts() != before
    assert [rating.marks for rating in store.ratings()] == [{PREFERENCE: "both bad"}]


def test_an_old_form_changes_nothing(make: Makes, serve: Serves) -> None:
    store = make(prompts=3)
    browser = Browser(serve(store))
    browser.submit(name="Ada")
    old = browser.page
    browser.submit(choice="left")
    browser.submit(choice="left")
    kept = store.ratings()
    browser.page = old
    browser.submit(choice="both_bad")
    assert browser.status == 409 and "rated in another window" in browser.page
    assert store.ratings() == kept


def test_scores(make: Makes, serve: Serves, rubric: Rubric) -> None:
    store = make(prompts=1, models=1, rubric=rubric)
    browser = Browser(serve(store))
    browser.submit(name="Ada")
    assert "切题吗？" in browser.page
    browser.submit(criterion0="4")
    assert browser.status == 422 and "answer every question" in browser.page
    assert 'name="criterion0" value="4" required checked' in browser.page
    browser.submit(criterion0="4", criterion1="9")
    assert browser.status == 422 and store.ratings() == []
    browser.submit(criterion0="4", criterion1="0")
    assert [rating.marks for rating in store.ratings()] == [{"fluency": 4, "relevance": 0}]


def test_how_a_ten_is_typed_stands_where_there_is_one(make: Makes, serve: Serves, rubric: Rubric) -> None:
    (fluency, relevance), pages = rubric.criteria, []
    ten = Scale(lowest=0, worst="否", highest=10, best="是")
    for criteria in ([fluency], [fluency, relevance.model_copy(update={"scale": ten})]):
        browser = Browser(serve(make(prompts=1, models=1, rubric=Rubric(criteria=criteria))))
        pages.append(browser.submit(name="Ada"))
    assert ["For 10 type 1, then 0" in page for page in pages] == [False, True]


def test_no_page_tells_which_answers_are_of_one_model(make: Makes, serve: Serves, rubric: Rubric) -> None:
    """Items are numbered model by model, so that their numbers, on the page, would tell models apart."""
    store = make(prompts=5, models=2, rubric=rubric)
    names: list[set[str]] = []
    for rater in ("Ada", "Bob"):
        browser, found = Browser(serve(store)), set[str]()
        browser.submit(name=rater)
        for _ in range(10):
            hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', browser.page))
            assert re.fullmatch("[0-9a-f]{32}", hidden["item"])
            assert store.secret not in browser.page
            found.add(hidden["item"])
            browser.submit(criterion0="4", criterion1="0")
        names.append(found)
    assert [len(each) for each in names] == [10, 10]
    assert not names[0] & names[1], "two raters cannot put together what they have seen"
    assert len(store.ratings()) == 20


NASTY = '<script>alert(1)</script>\n\n**bold** &amp; "quotes" \' שלום \x07\x1b[31m {{ 7*7 }} \u202e'


def test_texts_are_shown_as_they_are(tmp_path: Path, serve: Serves, rubric: Rubric) -> None:
    """Prompts, answers and names of anybody: escaped, with their line breaks, without control characters."""
    material = Material(("m",), (NASTY,), ((f"answer {NASTY}",),))
    store = create(tmp_path / "r.db", *plan(material, rubric, raters=1, seed=1))
    browser = Browser(serve(store))
    browser.submit(name="<b>Ada</b>")
    assert "<script>alert" not in browser.page and "<b>" not in browser.page
    assert "&lt;b&gt;Ada&lt;/b&gt;" in browser.page
    expected = NASTY.replace("\x07", "\ufffd").replace("\x1b", "\ufffd")
    assert browser.texts() == [expected, f"answer {expected}"]


def test_an_empty_answer_is_said_to_be_empty(tmp_path: Path, serve: Serves) -> None:
    material = Material(("a", "b"), ("p",), (("", "x"),))
    browser = Browser(serve(create(tmp_path / "r.db", *plan(material, None, raters=1, seed=1))), "zh")
    browser.submit(name="丽")
    assert "（这个回答是空的）" in browser.page


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "a\u202eb"])
def test_names_that_are_none(make: Makes, serve: Serves, name: str) -> None:
    browser = Browser(serve(make()))
    browser.submit(name=name)
    assert browser.status == 422 and "at most 60" in browser.page


def test_strangers_are_refused(make: Makes, serve: Serves) -> None:
    """Another Host (a name that was pointed at this machine), another site's form, no secret."""
    store = make()
    url = serve(store)
    host = urlsplit(url).netloc
    good = urlencode({"secret": store.form_secret, "name": "Ada"}).encode()
    assert raw(url, Host="localhost:9000")[0] == 200  # through a tunnel
    assert raw(url, Host="[::1]:80")[0] == 200
    for stranger in ("evil.example", f"evil.example:{urlsplit(url).port}", "", "localhost.evil.example"):
        assert raw(url, Host=stranger)[0] == 421, stranger
        assert raw(url, "POST", "/join", good, Host=stranger)[0] == 421
    assert raw(url, "POST", "/join", good, Host=host, Origin="https://evil.example")[0] == 403
    assert raw(url, "POST", "/join", good, Host=host, Origin="null")[0] == 403
    assert raw(url, "POST", "/join", good, Host=host, Sec_Fetch_Site="cross-site")[0] == 403
    assert raw(url, "POST", "/join", good, Host=host, Sec_Fetch_Site="same-site")[0] == 403
    assert raw(url, "POST", "/join", b"name=Ada", Host=host)[0] == 403
    assert raw(url, "POST", "/join", b"name=Ada&secret=%FF", Host=host)[0] in (400, 403)
    with sqlite3.connect(store.path) as database:
        assert database.execute("SELECT count(*) FROM raters").fetchone() == (0,)
    database.close()
    assert raw(url, "POST", "/join", good, Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin")[0] == 303


def test_bodies_are_limited(make: Makes, serve: Serves) -> None:
    url = serve(make())
    assert raw(url, "POST", "/join", b"x" * (MOST_BYTES + 1))[0] == 413
    assert raw(url, "POST", "/join", b"&".join([b"a=1"] * 300))[0] == 400
    connection = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=10)
    connection.sendall(b"POST /join HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert b" 411 " in connection.recv(100)
    connection.close()


def test_what_is_not_there(make: Makes, serve: Serves) -> None:
    url = serve(make())
    assert [raw(url, path=path)[0] for path in ("/x", "/../store.py", "/templates/rate.css")] == [404, 404, 404]
    assert raw(url, path="/rate.css")[0] == 200
    assert static("/rate.css").startswith(colours.variables().encode())


def test_the_page_may_load_nothing_from_elsewhere(make: Makes, serve: Serves) -> None:
    url = serve(make())
    _, headers = raw(url)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    cookie = raw(url, "POST", "/join", urlencode({"secret": "", "name": "a"}).encode())[1]["Set-Cookie"]
    assert cookie is None


def test_a_rating_that_cannot_be_saved_stays_on_the_page(
    make: Makes, serve: Serves, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = make(prompts=2)
    browser = Browser(serve(store))
    browser.submit(name="Ada")

    def full(*_: object, **__: object) -> None:
        raise DatabaseError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "rate", full)
        browser.submit(choice="left")
        assert browser.status == 507 and "database or disk is full" in browser.page
        assert 'value="left" class="chosen"' in browser.page
    assert "could not be saved" in capfd.readouterr().err
    browser.submit(choice="left")
    assert len(store.ratings()) == 1


def test_a_database_that_was_moved_away_is_said_to_be(
    make: Makes, serve: Serves, capfd: pytest.CaptureFixture[str]
) -> None:
    store = make(prompts=2)
    browser = Browser(serve(store))
    browser.submit(name="Ada")
    store.path.rename(store.path.with_suffix(".moved"))
    assert "unable to open database file" in browser.open("/") and browser.status == 507
    assert "cannot be used" in capfd.readouterr().err
    store.path.with_suffix(".moved").rename(store.path)
    browser.open("/")
    assert browser.status == 200 and "0 rated" in browser.page


def test_a_database_that_is_damaged_while_it_is_served_is_said_to_be(
    make: Makes, serve: Serves, capfd: pytest.CaptureFixture[str]
) -> None:
    store = make(prompts=2)
    browser = Browser(serve(store))
    browser.submit(name="Ada")
    damage(store.path, "held")
    browser.open("/")
    assert browser.status == 507 and "database disk image is malformed" in browser.page
    said = capfd.readouterr().err
    assert "cannot be used: database disk image is malformed" in said and "Traceback" not in said


def test_a_port_in_use_and_hosts_that_are_none(make: Makes, serve: Serves) -> None:
    store = make()
    taken = urlsplit(serve(store)).port
    for host, port, complaint in [
        ("127.0.0.1", taken, f"port {taken} of 127.0.0.1 is in use; --port 0 takes a free one"),
        ("127.0.0.1", 70000, "--port must be from 0 to 65535; got 70000"),
        ("203.0.113.9", 0, "cannot listen at --host 203.0.113.9"),
        ("no.such.host.invalid", 0, "cannot listen at --host no.such.host.invalid"),
    ]:
        with pytest.raises(InputError, match=re.escape(complaint)):
            RatingServer(store, host=host, port=port or 0)
        with pytest.raises(InputError, match=re.escape(complaint)):
            Address(host, port or 0).check()
    Address("127.0.0.1", 0).check()
