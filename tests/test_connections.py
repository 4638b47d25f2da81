"""What surrounds the caller: ~/.netrc, certificates, proxies, other caches, web pages."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_cache
import trustme

import b24frames as b24
from b24frames.errors import (
    InvalidAnswerError,
    PortalError,
    PortalUnavailableError,
    StaleDataWarning,
)
from b24frames.portal.connections import make_session
from b24frames.practice import PracticePortal
from b24frames.practice.server import PracticeServer
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.practice import posts
from tests.helpers.servers import Answers, Server, running

MakePortal = Callable[..., PracticePortal]
ACME = "https://acme.bitrix24.com/rest/1/s3cret/"
SETTINGS = "http_proxy https_proxy all_proxy no_proxy requests_ca_bundle curl_ca_bundle netrc"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the settings of whoever runs the tests out of the environment."""
    for name in SETTINGS.split():
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Noting(Answers):
    """Notes what it is asked, and with what heads."""

    def answer(self, body: bytes) -> None:
        """Take note, and answer."""
        self.server.asked.append((self.command, dict(self.headers)))  # type: ignore[attr-defined]
        super().answer(body)


class Peer(Server):
    """A server or proxy that answers all alike.

    Attributes
    ----------
    asked : list of (str, dict of str to str)
        HTTP methods and heads of what it was asked.
    """

    def __init__(self, status: int = 200, text: str = '{"result": {"ID": "1"}}') -> None:
        super().__init__(lambda *_: (status, ["Connection: close"], text))
        self.RequestHandlerClass = Noting
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def proxy(self) -> str:
        """Its URL as a proxy, with a password."""
        return f"http://user:pl4nted@127.0.0.1:{self.server_port}"


def client_of(url: str, session: requests.Session | None = None, **options: Any) -> b24.Portal:
    """Make a client that waits on a clock of its own."""
    settings: dict[str, Any] = {"limits": "self-hosted", "clock": WaitlessClock(), **options}
    return b24.Portal(url, session=session, **settings)


def refused(portal: b24.Portal) -> PortalError:
    """Return why a call is refused."""
    with pytest.raises(PortalError) as caught:
        portal.call("profile")
    return caught.value


def assert_matches(words: str, error: PortalError) -> None:
    """Check the words of an error."""
    with pytest.raises(PortalError, match=words):
        raise error


def waited(portal: b24.Portal) -> float:
    """Return how long a client has waited [s]."""
    return portal._scheduler.clock.now()


# --- ~/.netrc ----------------------------------------------------------------------------------


@pytest.fixture(params=["machine 127.0.0.1", "default"])
def netrc(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a ~/.netrc with an account of something else."""
    (tmp_path / "netrc").write_text(f"{request.param} login somebody password pl4nted\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return str(request.param)


@pytest.mark.parametrize("own_session", [True, False])
def test_send__netrc(netrc: str, own_session: bool) -> None:
    """No account of ~/.netrc is sent to the portal, whoever made the session."""
    with running(Peer()) as peer, requests.Session() as session:
        client_of(f"{peer.address}/rest/1/x/", session if own_session else None).call("profile")
        session.post(peer.address, timeout=5)  # requests by itself would send it
    (_, ours), (_, theirs) = peer.asked
    assert "Authorization" not in ours
    assert theirs["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("gate", [None, ("gate", "keeper")])
def test_send__netrc_and_refresh(netrc: str, gate: Any) -> None:
    """Nor to the authorization server, which does not get what a gate before the portal gets."""
    tokens = json.dumps({"access_token": "a2", "refresh_token": "r2"})
    expired = json.dumps({"error": "expired_token"})
    session = requests.Session()
    session.auth = gate
    with running(Peer(401, expired)) as peer, running(Peer(200, tokens)) as authorization:
        portal = b24.Portal.from_oauth(
            peer.address,
            access_token="a1",
            refresh_token="r1",
            client_id="c",
            client_secret="s",
            user_id=1,
            authorization_server=authorization.address,
            clock=WaitlessClock(),
            session=session,
        )
        refused(portal)
    assert len(authorization.asked) >= 1
    assert not any("Authorization" in heads for _, heads in authorization.asked)
    assert {"Authorization" in heads for _, heads in peer.asked} == {gate is not None}


def test_send__own_auth(netrc: str) -> None:
    """What the caller's own session proves itself with stays."""
    with running(Peer()) as peer, requests.Session() as session:
        session.auth = ("gate", "keeper")
        client_of(f"{peer.address}/rest/1/x/", session).call("profile")
    assert peer.asked[0][1]["Authorization"] == requests.auth._basic_auth_str("gate", "keeper")


# --- certificates ------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Make an authority, whose certificate is in ca.pem, and another one, in other.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    (tmp_path / "no.pem").write_text("no certificate")
    return authority


@pytest.fixture
def https(authority: trustme.CA) -> Iterator[PracticeServer]:
    """Start a portal with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with PracticeServer(activities=5, ssl_context=context, limits=None) as server:
        yield server


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("environment", ["other.pem", "missing.pem", "no.pem"])
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_send__authority_of_the_session(
    https: PracticeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    environment: str,
) -> None:
    """What the session says of certificates wins over the environment."""
    monkeypatch.setenv(variable, str(tmp_path / environment))
    for verify in (str(tmp_path / "ca.pem"), False):
        with requests.Session() as session:
            session.verify = verify
            assert client_of(https.url, session).call("profile")


@pytest.mark.parametrize("own_session", [True, False])
def test_send__authority_of_the_environment(
    https: PracticeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_session: bool
) -> None:
    """Where the session says nothing the environment counts, unless it is not to be trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with requests.Session() as session:
        assert client_of(https.url, session if own_session else None).call("profile")
        session.trust_env = False
        assert "cannot be verified" in str(refused(client_of(https.url, session)))


@pytest.mark.parametrize(
    ("verify", "words"),
    [
        (True, "certificate of 127.0.0.1 cannot be verified: unable to get local issuer"),
        ("other.pem", "certificate of 127.0.0.1 cannot be verified: unable to get local issuer"),
        ("missing.pem", "there is no file .*missing.pem of TLS certificates"),
        ("no.pem", "no TLS connection to 127.0.0.1: no certificate or crl found"),
    ],
)
def test_send__authority_refused(
    https: PracticeServer, tmp_path: Path, verify: Any, words: str
) -> None:
    """A certificate or a file that is of no use is final at once, and the page is named."""
    with requests.Session() as session:
        session.verify = verify if verify is True else str(tmp_path / verify)
        portal = client_of(https.url, session)
        error = refused(portal)
    assert isinstance(error, PortalUnavailableError)
    assert not error.retryable
    assert_matches(words, error)
    assert "docs/how-to/corporate-network.md" in str(error)
    assert waited(portal) < 0.1
    assert https.requests == []


def test_send__client_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """A portal that wants a client certificate gets the session's; without one, that is final."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    # Later versions tell of a certificate that is lacking after the connection is made, or not.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    own = authority.issue_cert("me@example.org")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    with (
        PracticeServer(activities=5, ssl_context=context, limits=None) as server,
        requests.Session() as session,
    ):
        session.verify = str(tmp_path / "ca.pem")
        portal = client_of(server.url, session)
        assert_matches("no TLS connection to 127.0.0.1: .*handshake failure", refused(portal))
        assert waited(portal) < 0.1
        session.cert = str(tmp_path / "missing.pem")
        assert_matches("there is no file .*missing.pem", refused(client_of(server.url, session)))
        session.cert = str(tmp_path / "own.pem")
        assert client_of(server.url, session).call("profile")


# --- proxies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["https", "https://acme.bitrix24.com", "all"])
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_send__proxy_of_the_session(
    monkeypatch: pytest.MonkeyPatch, key: str, variable: str
) -> None:
    """The session's proxy wins over that of the environment, under whichever name."""
    with running(Peer(407)) as own, running(Peer(407)) as other, requests.Session() as session:
        monkeypatch.setenv(variable, other.proxy)
        monkeypatch.setenv("NO_PROXY", "acme.bitrix24.com" if key == "all" else "")
        session.proxies = {key: own.proxy}
        refused(client_of(ACME, session))
    assert [verb for verb, _ in own.asked] == ["CONNECT"]
    assert other.asked == []


@pytest.mark.parametrize("proxies", [{}, {"http": "http://127.0.0.1:9"}])
def test_send__proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str]
) -> None:
    """Where the session says nothing of https the environment counts."""
    with running(Peer(407)) as peer, requests.Session() as session:
        monkeypatch.setenv("HTTPS_PROXY", peer.proxy)
        session.proxies = proxies
        refused(client_of(ACME, session))
    assert len(peer.asked) == 1


@pytest.mark.parametrize("nothing", ["", None])
def test_settings__no_proxy_by_the_session(monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    """A session may say that there is no proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with requests.Session() as session:
        session.proxies = {"https": nothing}
        settings = client_of(ACME, session)._http.connections._settings(ACME)
    assert not requests.utils.select_proxy(ACME, settings["proxies"])


@pytest.mark.parametrize(
    ("status", "words", "is_final"),
    [
        (407, r"the proxy 127.0.0.1 wants a user and a password \(HTTP 407\)", True),
        (403, "the proxy 127.0.0.1 does not connect to acme.bitrix24.com: HTTP 403", True),
        (502, "the proxy 127.0.0.1 does not connect to acme.bitrix24.com: HTTP 502", False),
        (503, "the proxy 127.0.0.1 does not connect to acme.bitrix24.com: HTTP 503", False),
        (504, "the proxy 127.0.0.1 does not connect to acme.bitrix24.com: HTTP 504", False),
    ],
)
def test_send__proxy_refuses(
    monkeypatch: pytest.MonkeyPatch, status: int, words: str, is_final: bool
) -> None:
    """A proxy that refuses is named; what waiting cannot mend is final at once."""
    with running(Peer(status)) as peer:
        monkeypatch.setenv("HTTPS_PROXY", peer.proxy)
        portal = client_of(ACME)
        with pytest.raises(PortalUnavailableError, match=words) as caught:
            b24.read_activities(range(1, 200), portal, cache=False)
    assert caught.value.retryable is not is_final
    assert "pl4nted" not in str(caught.value)
    assert "docs/how-to/corporate-network.md" in str(caught.value)
    if is_final:
        assert waited(portal) < 0.1
        assert len(peer.asked) <= 4


@pytest.mark.parametrize("status", [407, 403, 502])
def test_send__proxy_refuses_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    """Older entries stand in where a proxy keeps the portal out of reach, for good or not."""
    with running(Peer(status)) as peer, closing(b24.ActivityCache(tmp_path)) as cache:
        monkeypatch.setenv("HTTPS_PROXY", peer.proxy)
        portal = client_of(ACME)
        cache.write(portal, {1: b'{"ID": "1"}'}, {})
        with pytest.warns(StaleDataWarning, match=f"the proxy 127.0.0.1 .*HTTP {status}"):
            frame = b24.read_activities([1], portal, cache=cache, max_age=0, stale_if_error=True)
    assert frame.index.tolist() == [1]


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://u:pl4nted@127.0.0.1:9", "no connection to the proxy 127.0.0.1"),
        ("127.0.0.1:9", "no connection to the proxy 127.0.0.1"),
        ("u:pl4nted@127.0.0.1:9", "acme.bitrix24.com by the proxy 127.0.0.1 cannot be"),
        ("http://u:p/l4nted@127.0.0.1:9", "acme.bitrix24.com by the proxy 127.0.0.1 cannot be"),
        ("nonsense://u:pl4nted@127.0.0.1:9", "acme.bitrix24.com by the proxy 127.0.0.1 cannot be"),
    ],
)
def test_send__proxy_out_of_reach(monkeypatch: pytest.MonkeyPatch, proxy: str, words: str) -> None:
    """A proxy that is not there, or cannot be used, is named without its password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = refused(client_of(ACME))
    assert_matches(words, error)
    assert error.retryable is ("no connection" in words)
    assert "l4nted" not in str(error)


# --- caches of others --------------------------------------------------------------------------


@pytest.fixture
def global_cache(tmp_path: Path) -> Iterator[Path]:
    """Install a cache for all of requests, as the caller's program may have done."""
    place = tmp_path / "global"
    methods = ("GET", "POST")
    requests_cache.install_cache(str(place), backend="sqlite", allowable_methods=methods)
    yield place.with_suffix(".sqlite")
    requests_cache.uninstall_cache()


def test_make_session__global_cache(portal: PracticePortal, global_cache: Path) -> None:
    """A cache that is installed for all of requests comes neither between nor knows the webhook."""
    assert isinstance(requests.Session(), requests_cache.CachedSession)
    client = client_of(portal.url)
    first = b24.read_activities([5], client, max_age=0)
    portal.server.touch(5, SUBJECT="changed")
    again = b24.read_activities([5], client, max_age=0)
    assert first.loc[5, "SUBJECT"] != again.loc[5, "SUBJECT"] == "changed"
    assert type(make_session(1)) is requests_cache.session.OriginalSession
    assert b"/rest/1/" not in global_cache.read_bytes()
    requests.post(f"{portal.url}profile", timeout=5)
    assert b"/rest/1/" in global_cache.read_bytes()


@pytest.mark.parametrize("is_global", [True, False])
def test_portal__cached_session_refused(
    global_cache: Path, tmp_path: Path, is_global: bool
) -> None:
    """A session that keeps all answers in a file of its own is refused, and why."""
    own = requests_cache.CachedSession(str(tmp_path / "own"))
    session = requests.Session() if is_global else own
    with pytest.raises(TypeError, match=r"requests_cache.*in clear.*older than max_age"):
        b24.Portal(ACME, session=session)
    with requests_cache.disabled():
        b24.Portal(ACME, session=requests.Session())  # as the message says


def test_send__not_to_be_stored() -> None:
    """Every request says that no cache on its way may keep it."""
    with running(Peer()) as peer:
        client_of(f"{peer.address}/rest/1/x/").call("profile")
    assert peer.asked[0][1]["Cache-Control"] == "no-store"


# --- web pages ---------------------------------------------------------------------------------

PAGE = r"the portal answered with a web page \(WEB_PAGE, HTTP {}\)\. Usually the address is not"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_page__final(portal: PracticePortal, status: int) -> None:
    """A page that refuses is final at once: it is no answer of the REST API."""
    portal.server.faults.append(Fault("html", status=status))
    with pytest.raises(InvalidAnswerError, match=PAGE.format(status)) as caught:
        b24.read_activities([1, 2], portal)
    assert not caught.value.retryable
    assert posts(portal) == 1


@pytest.mark.parametrize("ids", [[1], range(1, 51), range(1, 301)])
def test_page__login(portal: PracticePortal, ids: Any) -> None:
    """A page with HTTP 200 may go away, and is given up soon."""
    portal.server.faults.append(Fault("html", status=200))
    with pytest.raises(InvalidAnswerError, match=PAGE.format(200)):
        b24.read_activities(ids, portal)
    assert waited(portal) < 5
    assert posts(portal) < 25


def test_page__of_one_activity(portal: PracticePortal) -> None:
    """An activity whose batches are answered by a page costs itself alone."""
    portal.server.faults.append(Fault("html", status=200, ids=[30]))
    frame = b24.read_activities(range(11, 61), portal, missing="ignore")
    assert frame.index.tolist() == [i for i in range(11, 61) if i != 30]
    assert "a web page" in str(frame.attrs["b24"]["missing_reasons"])


@pytest.mark.parametrize("status", [502, 503, 504])
def test_page__gateway(portal: PracticePortal, status: int) -> None:
    """A gateway's page passes, whatever it looks like."""
    portal.server.faults.append(Fault("html", status=status, times=5))
    assert portal.call("profile")


@pytest.mark.parametrize(
    ("content_type", "text", "is_final"),
    [
        ("text/plain", "404 page not found", True),
        ("text/html", "", True),
        ("application/json", '{"error": "", "error_desc', False),
        ("application/json", "", False),
        ("text/html", '{"error": "", "error_desc', False),
    ],
)
def test_page__not_html(content_type: str, text: str, is_final: bool) -> None:
    """A web server that refuses in other words is one; an answer that was cut off is none."""
    with running(Peer()) as peer:
        heads = [f"Content-Type: {content_type}", "Connection: close"]
        peer.reply = lambda *_: (404, heads, text)
        error = refused(client_of(f"{peer.address}/rest/1/x/"))
    assert error.retryable is not is_final
    assert len(peer.asked) == (1 if is_final else 6)


# --- batches answered oddly --------------------------------------------------------------------

ONE_ERROR = "the batch was answered by the error of one command: Not found"


def test_batch__one_error(make_portal: MakePortal) -> None:
    """A batch that is answered as one command once is sent again."""
    portal = make_portal(activities=60, deleted=(), refused=())
    portal.server.faults.append(Fault("one-error", times=1))
    assert len(b24.read_activities(range(1, 51), portal)) == 50
    assert posts(portal) == 2


@pytest.mark.parametrize("more_than", [0, 20])
def test_batch__one_error_for_ever(make_portal: MakePortal, more_than: int) -> None:
    """Where it always is, smaller batches are tried; then the error says what happened."""
    portal = make_portal(activities=60, deleted=(), refused=())
    portal.server.faults.append(Fault("one-error", more_than=more_than))
    if more_than:
        assert len(b24.read_activities(range(1, 51), portal)) == 50
    else:
        with pytest.raises(InvalidAnswerError, match=ONE_ERROR):
            b24.read_activities(range(1, 51), portal)


def test_batch__bare_text(make_portal: MakePortal) -> None:
    """A command whose error is a bare text costs its own row, and is told in these words."""
    portal = make_portal(activities=60, deleted=(), refused=())
    portal.server.faults.append(Fault("bare-text", ids=[7]))
    frame = b24.read_activities(range(1, 51), portal, missing="ignore")
    assert len(frame) == 49
    assert "Internal error of the server" in str(frame.attrs["b24"]["missing_reasons"])
    assert waited(portal) < 5


# --- modules -----------------------------------------------------------------------------------

RELOAD = """
import importlib, pkgutil, sys
import pandas as pd
import b24frames
names = [module.name for module in pkgutil.walk_packages(b24frames.__path__, "b24frames.")]
names = ["b24frames", *(name for name in names if not name.endswith("__main__"))]
for name in [*names, *names, *reversed(names)]:
    importlib.reload(importlib.import_module(name))
assert pd.DataFrame({"PROVIDER_ID": ["CRM_SMS"]}).b24.provider_name.tolist() == ["SMS"]
print(len(names))
"""


def test_modules__reload() -> None:
    """A reload of any module, in any order, warns of nothing."""
    command = [sys.executable, "-W", "error", "-c", RELOAD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 40
