"""The secret hunt: whatever happens, what proves the caller is nowhere to be read.

Webhook secret, client secret and tokens are planted; then everything that a read leaves behind is
searched for them: log lines of every library at DEBUG, both outputs, warnings, errors with all
that they carry and the local variables of all frames but the tests' own, `attrs`, cache files,
pickles, widgets and the HTML of notebooks.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pandas as pd
import pytest
import requests
import urllib3

import b24frames as b24
from b24frames.credentials import AccessToken, TokenPair, Webhook
from b24frames.errors import AuthenticationError, B24Error, PortalError, PortalUnavailableError
from b24frames.practice import PracticePortal
from tests.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault

MakePortal = Callable[..., PracticePortal]

PLAIN = "pl4ntedS3cret"
QUOTED = "pl4nted Sécret(42)"
ACCESS, REFRESH, CLIENT = "acc3ss-t0ken+one", "r3fresh/t0ken one", "cl1ent&s3cret"
NEW_ACCESS, NEW_REFRESH = "acc3ss-t0ken+two", "r3fresh/t0ken two"
PLANTED = (PLAIN, QUOTED, ACCESS, REFRESH, CLIENT, NEW_ACCESS, NEW_REFRESH)

# The frames of errors that are searched: those of a test hold what the test has planted.
SEARCHED = tuple(str(Path(module.__file__ or "").parent) for module in (b24, requests, urllib3))

# Where it does not matter whether an answer came in time.
SHORT = (2.0, 0.03)

FAULTS = [
    Fault("INTERNAL_SERVER_ERROR"),
    Fault("QUERY_LIMIT_EXCEEDED", retry_after=600),
    Fault("OPERATION_TIME_LIMIT"),
    Fault("NO_AUTH_FOUND"),
    Fault("INVALID_REQUEST"),
    Fault("OVERLOAD_LIMIT"),
    Fault("ACCESS_DENIED"),
    Fault("insufficient_scope"),
    Fault("expired_token"),
    Fault("ERROR_METHOD_NOT_FOUND"),
    Fault("PORTAL_DELETED"),
    Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch"),
    Fault("NO_AUTH_FOUND", ids=[12]),
    Fault("empty-error", ids=[12]),
    Fault("unanswered", ids=[12]),
    Fault("other-record", ids=[12]),
    Fault("bad-bytes", ids=[12]),
    Fault("html"),
    Fault("html", status=200),
    Fault("batch-timeout"),
    Fault("empty"),
    Fault("cut-json"),
    Fault("truncated"),
    Fault("wrong-type"),
    Fault("gzip"),
    Fault("reset"),
    Fault("close"),
    Fault("hang"),
    Fault("drip"),
    Fault("redirect", location="https://elsewhere.example.org"),
    Fault("redirect", location="http://127.0.0.1:9"),
    Fault("redirect", location="http://["),
]


# --- the hunt ----------------------------------------------------------------------------------


def spellings(secret: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    escaped = json.dumps(secret)[1:-1]
    in_addresses = {requests.utils.requote_uri(secret), quote_plus(secret)}
    return {secret, quote(secret), quote(secret, safe=""), escaped} | in_addresses


class Hunt:
    """Collects what a read leaves behind, under the name of the place."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def add(self, place: str, *things: object) -> None:
        """Search these too: text, bytes, or the repr and str of anything else."""
        for thing in things:
            if isinstance(thing, bytes):
                text = thing.decode("utf-8", "replace")
            else:
                text = thing if isinstance(thing, str) else f"{thing!r}\n{thing!s}"
            self.places[place] = f"{self.places.get(place, '')}\n{text}"

    def add_error(self, error: BaseException) -> None:
        """Search an error, all that led to it, its pickle, and the frames it passed."""
        place = f"{type(error).__name__} {len(self.places)}"
        chain, seen = [error], {id(error)}
        for link in chain:
            self.add(f"{place}: text", link, repr(vars(link)), repr(link.args))
            self.add(f"{place}: notes", getattr(link, "__notes__", []))
            for more in (link.__cause__, link.__context__):
                if more is not None and id(more) not in seen:
                    seen.add(id(more))
                    chain.append(more)
            with suppress(TypeError, AttributeError, pickle.PicklingError):
                self.add(f"{place}: pickle", pickle.dumps(link))
            self._add_frames(place, link)

    def _add_frames(self, place: str, error: BaseException) -> None:
        """Search the frames that an error has passed, with their local variables."""
        summary = traceback.TracebackException.from_exception(error, capture_locals=True)
        for frame in summary.stack:
            if frame.filename.startswith(SEARCHED):
                where = f"{place}: {Path(frame.filename).name}:{frame.lineno} {frame.name}"
                self.add(where, str(frame.locals), frame.line or "")

    def add_frame(self, frame: pd.DataFrame) -> None:
        """Search a frame in every form in which it is shown or kept."""
        report = frame.b24.report
        self.add("attrs", json.dumps(frame.attrs), frame.attrs)
        self.add("report", report, report._repr_html_(), vars(report))
        self.add("frame", frame.to_dict("list"), frame.to_html(), repr(frame))
        self.add("pickle of the frame", pickle.dumps(frame))

    def add_portal(self, portal: b24.Portal) -> None:
        """Search a portal; it is never pickled or copied."""
        self.add("portal", portal, vars(portal), vars(portal._scheduler))
        self.add("transport", vars(portal._http), vars(portal._session))
        for copier in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                copier(portal)

    def add_folder(self, folder: Path) -> None:
        """Search all files of a folder, and their names."""
        for file in folder.rglob("*"):
            self.add("file names", str(file))
            if file.is_file():
                self.add(f"file {file.name}", file.read_bytes())

    def found(self) -> list[str]:
        """Name the places where anything planted is to be read."""
        return [
            f"{place}: {secret!r}"
            for place, text in self.places.items()
            for secret in PLANTED
            if any(spelling in text for spelling in spellings(secret))
        ]


@contextmanager
def hunting(capfd: pytest.CaptureFixture[str]) -> Iterator[Hunt]:
    """Collect log lines, outputs and warnings of all libraries while something goes on."""
    hunt, stream, root = Hunt(), StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(threadName)s %(pathname)s %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            yield hunt
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    hunt.add("log", stream.getvalue())
    hunt.add("warnings", *[str(warning) for warning in told])
    hunt.add("outputs", *capfd.readouterr())
    hunt.add("environment", json.dumps(dict(os.environ)))


@pytest.fixture
def hunt(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], Any]]:
    """Make hunts."""
    return lambda: hunting(capfd)  # type: ignore[return-value]


MakeHunt = Callable[[], Any]


def client_of(practice: PracticePortal, url: str, **options: Any) -> b24.Portal:
    """Make a client that waits for almost no time, and keeps its request rate in a file."""
    settings: dict[str, Any] = {"clock": WaitlessClock(), "max_wait": 300.0, **options}
    return b24.Portal(url, limits=(10_000, 10_000), **settings)


def read_and_add(hunt: Hunt, portal: b24.Portal, **options: Any) -> None:
    """Read, and search the frame or the error."""
    try:
        hunt.add_frame(b24.read_activities(range(1, 61), portal, progress=True, **options))
    except B24Error as error:
        hunt.add_error(error)


# --- the control -------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", PLANTED)
def test_hunt__finds(secret: str, hunt: MakeHunt, tmp_path: Path) -> None:
    """The hunt would find a secret in each of the places."""
    webhook = Webhook(f"https://acme.bitrix24.com/rest/1/{PLAIN}/")
    token = AccessToken("https://acme.bitrix24.com", TokenPair(ACCESS, REFRESH), user_id=1)
    assert PLAIN in webhook.path("x")
    assert ACCESS in token.body({}).values()
    with hunt() as found:
        logging.getLogger("another.package").debug("GET /%s", quote(secret))
        print(secret)
        warnings.warn(f"no {secret}", stacklevel=1)
        (tmp_path / "file").write_text(secret, encoding="utf-8")
        found.add_folder(tmp_path)
        try:
            json.loads(secret)
        except ValueError as error:
            found.add_error(RuntimeError(secret))
            error.add_note(secret)
            found.add_error(error)
        found.add("bytes", secret.encode())
        session = requests.Session()
        try:
            session.get(f"https:///{secret}")  # the frames of requests hold the URL
        except ValueError as error:
            error.args = ()
            frames = Hunt()
            frames._add_frames("frames", error)
            found.places |= frames.places
    places = " ".join(found.found())
    for place in ("log", "warnings", "outputs", "file file", "text", "notes", "bytes", "frames"):
        assert place in places


# --- webhooks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [PLAIN, QUOTED], ids=["plain", "quoted"])
@pytest.mark.parametrize("via", ["get", "list"])
def test_webhook__good_answers(
    make_portal: MakePortal, hunt: MakeHunt, tmp_path: Path, secret: str, via: str
) -> None:
    """Nothing of a read without trouble shows the secret."""
    practice = make_portal(activities=60, deleted=[7], refused=[9], secret=secret)
    with hunt() as found, closing(client_of(practice, practice.url)) as portal:
        portal.folder = tmp_path
        assert secret in portal._credential.path("x")
        cache = b24.ActivityCache(tmp_path)
        read_and_add(found, portal, cache=cache, via=via)
        read_and_add(found, portal, cache=cache)
        portal.call("profile")
        found.add_portal(portal)
        found.add("cache", cache, vars(cache), cache.info())
        found.add_folder(tmp_path)
        cache.close()
        found.add_folder(tmp_path)
    assert {"request-rate.sqlite", "activities.sqlite"} <= {p.name for p in tmp_path.iterdir()}
    assert "b24frames" in found.places["log"]
    assert "urllib3" in found.places["log"]
    assert found.found() == []


@pytest.mark.parametrize("secret", [PLAIN, QUOTED], ids=["plain", "quoted"])
def test_webhook__faults(
    make_portal: MakePortal, hunt: MakeHunt, tmp_path: Path, secret: str
) -> None:
    """Nothing of a read with any trouble shows the secret."""
    practice = make_portal(activities=60, deleted=[7], refused=[9], secret=secret)
    with hunt() as found:
        for number, fault in enumerate(FAULTS):
            practice.server.faults.clear()
            practice.server.faults.append(fault)
            with closing(client_of(practice, practice.url, timeout=SHORT)) as portal:
                portal.folder = tmp_path / str(number)
                read_and_add(found, portal)
                with suppress(PortalError):
                    portal.call("crm.activity.get", {"id": 12})
                found.add_portal(portal)
        found.add_folder(tmp_path)
    assert len([place for place in found.places if place.endswith("text")]) > 20
    assert found.found() == []


def test_webhook__wrong_secret(make_portal: MakePortal, hunt: MakeHunt) -> None:
    """A secret that the portal does not know is not shown either."""
    practice = make_portal(activities=60)
    with hunt() as found:
        url = practice.url.replace("/practice/", f"/{PLAIN}/")
        with closing(client_of(practice, url)) as portal:
            read_and_add(found, portal)
    assert any("AuthenticationError" in place for place in found.places)
    assert found.found() == []


def test_webhook__no_way_to_the_portal(hunt: MakeHunt) -> None:
    """Nothing listens, or there is no such host: the words of the HTTP library do not get out."""
    with hunt() as found, requests.Session() as session:
        session.trust_env = False
        for address in ("http://127.0.0.1:9", "https://127.0.0.1:9", "https://no-such.invalid"):
            url = f"{address}/rest/1/{PLAIN}/"
            portal = b24.Portal(url, session=session, clock=WaitlessClock())
            read_and_add(found, portal)
    assert sum("PortalUnavailableError" in place for place in found.places) >= 3
    assert found.found() == []


@pytest.mark.parametrize("in_environment", [False, True])
def test_webhook__given_as_text(
    make_portal: MakePortal,
    hunt: MakeHunt,
    monkeypatch: pytest.MonkeyPatch,
    in_environment: bool,
) -> None:
    """A URL that was passed as text is in no frame of an error."""
    practice = make_portal(activities=60, secret=PLAIN)
    practice.server.faults.append(Fault("NO_AUTH_FOUND"))
    url: str | None = practice.url
    if in_environment:
        monkeypatch.setenv("B24_WEBHOOK_URL", practice.url)
        url = None
    ids: Any = pd.Series([1, 2])
    frame = pd.DataFrame({"ID": [1]})
    frame.attrs["b24"] = {"portal": practice.address, "user_id": practice.user_id}
    with hunt() as found:
        for call in (
            lambda: b24.read_activities([1, 2], url),
            lambda: next(iter(b24.read_activities([1, 2], url, chunksize=1))),
            lambda: ids.b24.read_activities(url),
            lambda: ids.to_frame("A").b24.read_activities("A", url),
            lambda: frame.b24.refresh(url),
        ):
            with pytest.raises(AuthenticationError) as caught:
                call()
            found.add_error(caught.value)
        monkeypatch.delenv("B24_WEBHOOK_URL", raising=False)
    assert found.found() == []


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://acme.bitrix24.com/rest/1/{}/", {"limits": "fast"}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"timeout": 0}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"concurrency": 0}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"max_wait": -1}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"limits": (float("inf"), 2)}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"limits": (10**400, 2)}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"trusted_hosts": [1]}),
        ("https://acme.bitrix24.com/rest/1/{}/", {"trusted_hosts": "crm.example.org"}),
        ("http://acme.bitrix24.com/rest/1/{}/", {}),
        ("https://acme.bitrix24.com/rest/one/{}/", {}),
        ("https://acme.bitrix24.com/{}/", {}),
        ("https://acme.bitrix24.com:{}/rest/1/x/", {}),
        ("https://user:{}@acme.bitrix24.com/rest/1/x/", {}),
        ("acme.bitrix24.com/rest/1/{}/", {}),
    ],
)
def test_webhook__refused(hunt: MakeHunt, url: str, options: dict[str, Any]) -> None:
    """A portal that cannot be made shows neither in words nor in frames what it was made of."""
    makers: list[Any] = [b24.Portal] if options else [b24.Portal, partial(b24.read_activities, [1])]
    with hunt() as found:
        for make in makers:
            with pytest.raises((TypeError, ValueError)) as caught:
                make(url.format(PLAIN), **options)
            found.add_error(caught.value)
    assert found.found() == []


def test_webhook__panel(make_portal: MakePortal, hunt: MakeHunt) -> None:
    """Neither the widgets that a notebook saves nor the panel itself show the secret."""
    practice = make_portal(activities=60, deleted=[7], secret=PLAIN)
    with hunt() as found, closing(client_of(practice, practice.url)) as portal:
        panels = [b24.LookupPanel(portal), b24.LookupPanel(practice.url)]
        for turn in range(3):
            for panel in panels:
                panel.lookup([[1, 2, 7], "rubbish", [3]][turn])
                row = panel.children[0]
                for widget in (panel, *panel.children, *row.children, panel.layout):
                    found.add("widgets", json.dumps(widget.get_state(), default=str), widget)
                    found.add("mime bundle", widget._repr_mimebundle_())
                found.add("panel", panel, panel.message, panel.history)
            practice.server.faults.append(Fault("NO_AUTH_FOUND"))
    assert found.found() == []


def test_webhook__panel_interrupted(hunt: MakeHunt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a panel that was given a URL leaves no frame that holds it, nor does the panel."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("b24frames.panel.lookup.read_activities", interrupt)
    url = f"https://acme.bitrix24.com/rest/1/{PLAIN}/"
    panel = b24.LookupPanel(url)
    with hunt() as found:
        for look_up in (lambda: panel.lookup([1]), lambda: b24.LookupPanel(url, [1])):
            with pytest.raises(KeyboardInterrupt) as caught:
                look_up()
            found.add_error(caught.value)
        found.add("panel", panel, vars(panel))
    assert found.found() == []


def test_webhook__in_place_of_ids(make_portal: MakePortal, hunt: MakeHunt) -> None:
    """A URL where ids should be is refused without repeating it, in words and in widgets."""
    practice = make_portal(activities=60, secret=PLAIN)
    with hunt() as found, closing(client_of(practice, practice.url)) as portal:
        panel = b24.LookupPanel(portal, practice.url)
        found.add("panel", panel.message, *[str(w.get_state()) for w in panel.children])
        for ids in (practice.url, pd.Series([practice.url])):
            with pytest.raises(ValueError, match="an address") as caught:
                b24.read_activities(ids, portal)
            found.add("words", caught.value)
    assert "neither an id" in found.places["panel"]
    assert found.found() == []


IN_THE_WRONG_PLACE: dict[str, Callable[[b24.Portal, str], object]] = {
    **{
        name: lambda portal, url, name=name: b24.read_activities([1], portal, **{name: url})
        for name in (
            "columns index_col dtype_backend tz missing on_bad_value cache max_age only_if_cached "
            "stale_if_error via chunksize progress"
        ).split()
    },
    "a column": lambda portal, url: b24.read_activities([1], portal, columns=[url]),
    "an id in a list": lambda portal, url: b24.read_activities([[url]], portal),
    "bytes": lambda portal, url: b24.read_activities([url.encode()], portal),
    "a column of ids": lambda portal, url: pd.DataFrame({"A": [1]}).b24.read_activities(url, "A"),
    "a column that is not there": lambda _, url: pd.DataFrame().b24.read_activities("A", url),
    "a frame without ids": lambda _, url: pd.DataFrame().b24.refresh(url),
    "a frame of another portal": lambda portal, url: b24.read_activities([1], portal).b24.refresh(
        url.replace("acme", "other")
    ),
    "labels": lambda _, url: pd.DataFrame().b24.labels([url]),
    "expand": lambda _, url: pd.DataFrame().b24.expand(url),
    "plot": lambda _, url: pd.DataFrame().b24.plot(url),
    "call": lambda portal, url: portal.call(url),
    "call_batch": lambda portal, url: portal.call_batch({"a": (url, {})}),
    "panel": lambda portal, url: b24.LookupPanel(portal, tz=url),
    "a place": lambda _, url: b24.ActivityCache(url),
    "a bound": lambda _, url: b24.ActivityCache(max_size=url),  # type: ignore[arg-type]
    "clear": lambda _, url: b24.ActivityCache().clear(url),
    "clear of a portal": lambda _, url: b24.ActivityCache().clear(portal=url),  # type: ignore[arg-type]
    "prune": lambda _, url: b24.ActivityCache().prune(url),
    **{
        name: lambda _, url, name=name: b24.Portal(url, **{name: url})
        for name in "limits timeout concurrency max_wait operating_limit trusted_hosts".split()
    },
}


TAKE_NO_PORTAL = ("labels", "expand", "plot")
"""Where a debugger that shows what frames hold shows the argument."""


@pytest.mark.parametrize("place", IN_THE_WRONG_PLACE)
def test_webhook__in_the_wrong_place(
    make_portal: MakePortal, hunt: MakeHunt, tmp_path: Path, place: str
) -> None:
    """A webhook in the place of another argument is refused without being repeated or sent."""
    portal = make_portal(activities=10)
    url = f"https://acme.bitrix24.com/rest/1/{PLAIN}/"
    with hunt() as found:
        try:
            IN_THE_WRONG_PLACE[place](portal, url)
        except (TypeError, ValueError, AttributeError) as error:
            found.add("text", str(error), repr(error), "".join(traceback.format_exception(error)))
            if place not in TAKE_NO_PORTAL:
                found.add_error(error)
        else:
            pytest.fail("it was taken")
    found.add_folder(tmp_path)
    assert found.found() == []
    assert all(PLAIN not in repr(r.params) for r in portal.server.requests)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal to one thread")
def test_webhook__interrupted(
    make_portal: MakePortal, hunt: MakeHunt, request: pytest.FixtureRequest
) -> None:
    """Ctrl-C in the middle of a single call leaves no frame that holds the secret."""
    # Python has no handler where a shell started it in the background.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, usual))
    practice = make_portal(activities=60, secret=PLAIN)
    practice.server.faults.append(Fault("hang"))

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with hunt() as found, closing(b24.Portal(practice.url, limits="self-hosted")) as portal:
        timer = threading.Timer(0.1, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            portal.call("profile")
        found.add_error(caught.value)
    assert found.found() == []


# --- answers that repeat the address, and odd heads ---------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """Answers each request with what the test wants, given its path and body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        """Answer a call of a method."""
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        """Answer a refresh."""
        self.answer(b"")

    def answer(self, body: bytes) -> None:
        """Write what the test wants."""
        status, heads, text = self.server.reply(self.path, body)
        data = text.encode()
        self.wfile.write(f"HTTP/1.1 {status} Words\r\nContent-Length: {len(data)}\r\n".encode())
        self.wfile.write("".join(f"{head}\r\n" for head in heads).encode() + b"\r\n" + data)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


Reply = Callable[[str, bytes], tuple[int, list[str], str]]


class Server(ThreadingHTTPServer):
    """A server on this machine that answers as a test wants."""

    daemon_threads = True

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(reply: Reply) -> Iterator[str]:
    """Start such a server; give its address."""
    with Server(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


def repeat_in_error(path: str, body: bytes) -> tuple[int, list[str], str]:
    """Refuse a request with its own address and body."""
    words = f"bad request {path} {body.decode()}"
    return 400, [], json.dumps({"error": words[:60], "error_description": words})


def repeat_in_commands(path: str, body: bytes) -> tuple[int, list[str], str]:
    """Refuse each command of a batch with the address called."""
    names = json.loads(body).get("cmd", {})
    words = {"error": "", "error_description": f"Not found: {path}"}
    errors = dict.fromkeys(names, words)
    return 200, [], json.dumps({"result": {"result": [], "result_error": errors}})


def repeat_in_page(path: str, body: bytes) -> tuple[int, list[str], str]:
    """Answer with a page that shows address and body."""
    return 502, [], f"<html>{path} {body.decode()}</html>"


def repeat_in_location(path: str, body: bytes) -> tuple[int, list[str], str]:
    """Send the client to a foreign host, address and all."""
    return 302, [f"Location: https://{PLAIN}@elsewhere.example.org{path}"], ""


def odd_heads(path: str, body: bytes) -> tuple[int, list[str], str]:
    """Answer well, with a head that cannot be read."""
    return 200, ["no head at all", f"X-Address: {path}"], json.dumps({"result": []})


@pytest.mark.parametrize(
    "reply",
    [repeat_in_error, repeat_in_commands, repeat_in_page, repeat_in_location, odd_heads],
    ids=lambda reply: reply.__name__,
)
@pytest.mark.parametrize("secret", [PLAIN, QUOTED], ids=["plain", "quoted"])
def test_answers__that_repeat_the_address(
    hunt: MakeHunt, tmp_path: Path, reply: Reply, secret: str
) -> None:
    """What a portal says about the address it was called at is not passed on as it is."""
    with hunt() as found, serving(reply) as address:
        url = f"{address}/rest/1/{secret}/"
        portal = b24.Portal(url, limits="self-hosted", clock=WaitlessClock())
        with closing(portal):
            read_and_add(found, portal, cache=tmp_path)
            with suppress(PortalError):
                portal.call("profile", {"url": "x"})
        found.add_folder(tmp_path)
    assert found.found() == []


def test_answers__that_command_a_terminal() -> None:
    """The words of a portal turn no terminal red, and forge no line of a log."""
    words = {"error": "BAD\x07", "error_description": "a\x1b[2J\nERROR b\u202ec \ud800"}
    with serving(lambda *_: (400, [], json.dumps(words))) as address:
        portal = b24.Portal(f"{address}/rest/1/x/", limits="self-hosted")
        with closing(portal), pytest.raises(PortalError) as caught:
            portal.call("profile")
    assert caught.value.description == r"a\x1b[2J ERROR b\u202ec \ud800"
    assert caught.value.code == r"BAD\x07"


def test_answers__that_repeat_the_token(hunt: MakeHunt, tmp_path: Path) -> None:
    """The access token is in the body of each call, and answers may repeat that."""
    for reply in (repeat_in_error, repeat_in_page):
        with hunt() as found, serving(reply) as address:
            portal = oauth_portal(address, address)
            with closing(portal):
                read_and_add(found, portal, cache=tmp_path)
        assert found.found() == []


# --- OAuth -------------------------------------------------------------------------------------


def oauth_portal(address: str, authorization_server: str, **options: Any) -> b24.Portal:
    """Make a portal with all of the planted tokens."""
    settings: dict[str, Any] = {"limits": "self-hosted", "clock": WaitlessClock()}
    settings |= {"access_token": ACCESS, **options}
    return b24.Portal.from_oauth(
        address,
        refresh_token=REFRESH,
        client_id="app.1",
        client_secret=CLIENT,
        user_id=1,
        authorization_server=authorization_server,
        max_wait=300.0,
        **settings,
    )


def renew(path: str, _: bytes) -> tuple[int, list[str], str]:
    """Give new tokens for the old ones, as the authorization server does."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    assert (query["refresh_token"], query["client_secret"]) == (REFRESH, CLIENT)
    pair = {"access_token": NEW_ACCESS, "refresh_token": NEW_REFRESH}
    return 200, [], json.dumps({**pair, "expires_in": 3600, "member_id": "m", "user_id": 1})


def test_oauth__good_answers(make_portal: MakePortal, hunt: MakeHunt, tmp_path: Path) -> None:
    """Tokens are in nothing that a read leaves behind, neither before nor after a refresh."""
    practice = make_portal(activities=600, deleted=[7], refused=[9])
    practice.server.access_token = ACCESS
    given: list[TokenPair] = []

    def take(pair: TokenPair) -> None:
        given.append(pair)
        practice.server.access_token = pair.access_token
        practice.server.faults.clear()

    with hunt() as found, serving(renew) as server:
        settings: dict[str, Any] = {"limits": (10_000, 10_000), "concurrency": 1}
        portal = oauth_portal(practice.address, server, on_refresh=take, **settings)
        with closing(portal):
            portal.folder = tmp_path
            assert ACCESS in portal._credential.body({}).values()
            read_and_add(found, portal)
            practice.server.faults.append(Fault("expired_token"))
            frame = b24.read_activities(range(1, 601), portal, missing="ignore")
            found.add_frame(frame)
            assert NEW_ACCESS in portal._credential.body({}).values()
            found.add_portal(portal)
            found.add("pair", given)
        found.add_folder(tmp_path)
    assert len(given) == 1
    assert len(frame) == 598
    assert "oauth/token" in found.places["log"]
    assert found.found() == []


def test_oauth__faults(make_portal: MakePortal, hunt: MakeHunt, tmp_path: Path) -> None:
    """Nothing of a read with any trouble shows a token."""
    practice = make_portal(activities=60, deleted=[7], refused=[9])
    practice.server.access_token = ACCESS
    with hunt() as found:
        for number, fault in enumerate(FAULTS):
            practice.server.faults.clear()
            practice.server.faults.append(fault)
            options = {"timeout": SHORT}
            with closing(oauth_portal(practice.address, "http://127.0.0.1:9", **options)) as portal:
                portal.folder = tmp_path / str(number)
                read_and_add(found, portal)
                found.add_portal(portal)
        found.add_folder(tmp_path)
    assert len([place for place in found.places if place.endswith("text")]) > 20
    assert found.found() == []


def refuse_with(code: str, status: int = 400) -> Reply:
    """Refuse to renew tokens, and repeat the query."""

    def reply(path: str, _: bytes) -> tuple[int, list[str], str]:
        return status, [], json.dumps({"error": code, "error_description": f"{code}: {path}"})

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        refuse_with("invalid_grant"),
        refuse_with("invalid_client"),
        refuse_with("PAYMENT_REQUIRED"),
        refuse_with(f"unknown {REFRESH}"),
        refuse_with("internal", 500),
        repeat_in_page,
        repeat_in_error,
        lambda path, _: (200, [], f"<html>{path}</html>"),
        lambda path, _: (200, [], json.dumps({"access_token": ""})),
        lambda path, _: (302, [f"Location: https://elsewhere.example.org{path}"], ""),
        lambda path, _: (302, [f"Location: http://[{path}"], ""),
        lambda path, _: (200, ["no head"], json.dumps({"access_token": NEW_ACCESS})),
    ],
    ids=range(12),
)
def test_oauth__refresh_refused(make_portal: MakePortal, hunt: MakeHunt, reply: Reply) -> None:
    """An authorization server that refuses, or repeats what it was sent, shows no token."""
    practice = make_portal(activities=60)
    practice.server.access_token = ACCESS
    practice.server.faults.append(Fault("expired_token"))
    with (
        hunt() as found,
        serving(reply) as server,
        closing(oauth_portal(practice.address, server)) as portal,
    ):
        with pytest.raises((AuthenticationError, PortalUnavailableError)) as caught:
            b24.read_activities([1], portal)
        found.add_error(caught.value)
        found.add_portal(portal)
    assert "oauth/token" in found.places["log"]
    assert found.found() == []


@pytest.mark.parametrize(
    "reader",
    [lambda portal: b24.read_activities([1], portal), lambda portal: portal.call("profile")],
    ids=["read", "call"],
)
def test_oauth__tokens_not_taken(
    make_portal: MakePortal, hunt: MakeHunt, reader: Callable[[b24.Portal], object]
) -> None:
    """When the caller's own function fails at the new tokens, no frame of ours shows them."""
    practice = make_portal(activities=60)
    practice.server.access_token = ACCESS
    practice.server.faults.append(Fault("expired_token"))

    given: list[TokenPair] = []

    def take(pair: TokenPair) -> None:
        given.append(pair)
        raise OSError("the disk is full")

    with (
        hunt() as found,
        serving(renew) as server,
        closing(oauth_portal(practice.address, server, on_refresh=take)) as portal,
    ):
        with pytest.raises((PortalError, OSError)) as caught:
            reader(portal)
        found.add_error(caught.value)
    assert len(given) == 1
    assert found.found() == []


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("http://acme.bitrix24.com", {}),
        ("acme.bitrix24.com", {}),
        ("https://acme.bitrix24.com", {"limits": "fast"}),
        ("https://acme.bitrix24.com", {"trusted_hosts": [1]}),
        ("https://acme.bitrix24.com", {"access_token": 7}),
        ("https://acme.bitrix24.com", {"authorization_server": None}),
    ],
)
def test_oauth__refused(hunt: MakeHunt, address: str, options: dict[str, Any]) -> None:
    """A portal that cannot be made shows no token in words or frames."""
    with hunt() as found:
        with pytest.raises((TypeError, ValueError)) as caught:
            oauth_portal(address, **{"authorization_server": "https://oauth.example", **options})
        found.add_error(caught.value)
    assert found.found() == []
