"""The secret hunt: whatever happens, what proves the caller is nowhere to be read.

Webhook secret, client secret and tokens are planted; then everything that a read leaves behind is
searched for them: log lines of every library at DEBUG, both outputs, warnings, errors with all
that they carry and the local variables of all frames but the tests' own, `attrs`, cache files,
pickles, widgets and the HTML of notebooks.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pandas as pd
import pytest
import requests
import requests_cache

import b24frames as b24
from b24frames.credentials import AccessToken, TokenPair, Webhook
from b24frames.errors import AuthenticationError, B24Error, PortalError, PortalUnavailableError
from b24frames.practice import PracticePortal
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.hunt import (
    ACCESS,
    CLIENT,
    NEW_ACCESS,
    NEW_REFRESH,
    PLAIN,
    PLANTED,
    QUOTED,
    REFRESH,
    Hunt,
    client_of,
    hunting,
)
from tests.helpers.servers import Reply, serving

MakePortal = Callable[..., PracticePortal]

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


@pytest.fixture
def hunt(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], Any]]:
    """Make hunts."""
    return lambda: hunting(capfd)  # type: ignore[return-value]


MakeHunt = Callable[[], Any]


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


@pytest.fixture
def global_cache(tmp_path: Path) -> Iterator[Path]:
    """Keep all answers that requests gets, as the caller's own program may do."""
    place, methods = tmp_path / "global", ("GET", "POST")
    requests_cache.install_cache(str(place / "http"), "sqlite", allowable_methods=methods)
    yield place
    requests_cache.uninstall_cache()


def test_global_cache__knows_nothing(
    make_portal: MakePortal, hunt: MakeHunt, global_cache: Path
) -> None:
    """No webhook or token gets into a cache that is installed for all of requests."""
    practice = make_portal(activities=60, deleted=[7], refused=[9], secret=PLAIN)
    practice.server.access_token = ACCESS

    def take(pair: TokenPair) -> None:
        practice.server.access_token = pair.access_token
        practice.server.faults.clear()

    with hunt() as found, serving(renew) as server:
        with closing(client_of(practice, practice.url)) as portal:
            read_and_add(found, portal)
        practice.server.faults.append(Fault("expired_token"))
        with closing(oauth_portal(practice.address, server, on_refresh=take)) as portal:
            assert portal.call("profile")
        found.add_folder(global_cache)
        assert practice.server.access_token == NEW_ACCESS
    assert any(place.startswith("file http") for place in found.places)
    assert found.found() == []
    # The hunt would find it.
    requests.post(f"{practice.url}profile", timeout=5)
    found.add_folder(global_cache)
    assert found.found() == [f"file http.sqlite: {PLAIN!r}"]


class Sending(requests.Session):
    """A session that keeps the heads of what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[dict[str, str]] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request."""
        self.heads.append(dict(request.headers))
        return super().send(request, **options)


@pytest.mark.parametrize("entry", ["machine 127.0.0.1", "default"])
def test_netrc__sent_to_nobody(
    make_portal: MakePortal,
    hunt: MakeHunt,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    entry: str,
) -> None:
    """The password of another account, in ~/.netrc, is neither sent nor shown."""
    (tmp_path / "netrc").write_text(f"{entry} login someone password {PLAIN}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    practice = make_portal(activities=60, deleted=[7], refused=[9])
    with hunt() as found, Sending() as session:
        for fault in (Fault("redirect", location="/auth", times=1), Fault("html", times=1)):
            practice.server.faults.append(fault)
            with closing(client_of(practice, practice.url, session=session)) as portal:
                read_and_add(found, portal)
                found.add_portal(portal)
    assert len(session.heads) >= 4
    assert not [heads for heads in session.heads if "Authorization" in heads]
    assert found.found() == []


@pytest.mark.parametrize("status", [407, 502, None])
def test_proxy__password(
    hunt: MakeHunt, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """The password of a proxy that refuses, or is not there, is not shown."""
    with hunt() as found, serving(lambda *_: (status or 200, [], "")) as address:
        proxy = address if status else "http://127.0.0.1:9"
        monkeypatch.setenv("HTTPS_PROXY", proxy.replace("://", f"://someone:{PLAIN}@"))
        url = f"https://acme.bitrix24.com/rest/1/{PLAIN}/"
        with closing(b24.Portal(url, clock=WaitlessClock())) as portal:
            read_and_add(found, portal)
            found.add_portal(portal)
        monkeypatch.delenv("HTTPS_PROXY")
    assert any("the proxy 127.0.0.1" in text for text in found.places.values())
    assert found.found() == []


def test_names_and_calls__hold_no_secret(make_portal: MakePortal, hunt: MakeHunt) -> None:
    """Neither the secret nor what opens a recording is in what is read, kept or said."""
    practice = make_portal(activities=60, secret=PLAIN)
    with hunt() as found, closing(client_of(practice, practice.url)) as portal:
        frame = b24.read_activities(range(1, 61), portal, missing="ignore")
        frame = frame.join(frame.b24.names(portal))
        for one in (frame, b24.read_users(None, portal), frame.b24.calls(portal)):
            found.add_frame(one)
        found.add("addresses", frame.b24.owner_url.tolist())
        practice.server.faults.append(Fault("NO_AUTH_FOUND"))
        frame.b24.names(portal, max_age=0, cache=False)  # the refusal is in a warning
        found.add_folder(Path(os.environ["B24FRAMES_CACHE"]))
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
            lambda: b24.read_users([1], url),
            lambda: b24.read_calls([1], url),
            lambda: frame.b24.calls(url),
            lambda: frame.b24.bindings(url),
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


def test_answers__that_show_other_secrets() -> None:
    """Nor are the secrets of others passed on, which no one here knows."""
    words = (
        "see https://x/rest/1/ABCsecret/crm?auth=ABCauth&x=1, /f.php?token=ABCtoken#session=ABCs "
        "access_token=ABCaccess bitrix_sessid=ABCsessid"
    )
    for status in (400, 200):
        answer = json.dumps({"error": "BAD", "error_description": words})
        with serving(lambda *_, a=answer, s=status: (s, [], a)) as address:
            portal = b24.Portal(f"{address}/rest/1/own-secret/", limits="self-hosted")
            with closing(portal), pytest.raises(PortalError) as caught:
                portal.call("profile")
        assert "ABC" not in str(caught.value)
        assert "&x=1" in caught.value.description


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
    query = dict(parse_qsl(urlsplit(path).query))
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
