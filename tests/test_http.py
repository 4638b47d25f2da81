"""HTTP: answers, redirects of a renamed portal, renewal of access tokens, and what is logged."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import trustme

import b24frames as b24
from b24frames.credentials import AccessToken, TokenPair
from b24frames.errors import (
    ActivityNotFoundError,
    ActivityRefusedError,
    AuthenticationError,
    InvalidAnswerError,
    OperatingTimeError,
    PortalBlockedError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.portal.http import Http
from b24frames.practice import PracticePortal
from b24frames.practice.server import PracticeServer
from tests.helpers.answers import sample
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.practice import posts
from tests.helpers.servers import serving

GET = "crm.activity.get"


# --- answers -----------------------------------------------------------------------------------


@contextmanager
def answering(name: str) -> Iterator[b24.Portal]:
    """Make a portal that answers every request with a sample."""
    with serving(sample(name).reply) as address:
        url = f"{address}/rest/1/x/"
        with closing(b24.Portal(url, limits="self-hosted", clock=WaitlessClock())) as portal:
            yield portal


def test_post__activity() -> None:
    """The example of the method's page is read as it stands."""
    with answering("activity") as portal:
        assert portal.call(GET, {"id": 999}) == sample("activity").answer["result"]


@pytest.mark.parametrize(
    ("name", "kind", "retryable"),
    [
        ("access-denied", ActivityNotFoundError, False),
        ("not-found", ActivityNotFoundError, False),
        ("rate-limit", RateLimitError, True),
        ("rest-blocked", PortalBlockedError, False),
    ],
)
def test_post__refused(name: str, kind: type[PortalError], retryable: bool) -> None:
    """What an error means is in its code and words, not in the HTTP status."""
    with answering(name) as portal, pytest.raises(PortalError) as caught:
        portal.call(GET, {"id": 999})
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert caught.value.http_status == sample(name).status


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("batch-mixed", {"a1": dict, "a7": ActivityNotFoundError}),
        ("batch-all-failed", {"a7": ActivityNotFoundError, "a9": ActivityRefusedError}),
        ("batch-lists", {"0": dict, "1": dict}),
        ("batch-cut-short", {"a1": dict, "a2": InvalidAnswerError}),
        ("batch-limit", {"a1": dict, "a2": OperatingTimeError}),
    ],
)
def test_post__batch(name: str, kinds: dict[str, type]) -> None:
    """Each command of a batch has its record or the right error, however PHP writes the maps."""
    commands = {command: (GET, {"id": 1}) for command in kinds}
    with answering(name) as portal:
        answers = portal.call_batch(commands)
    assert {command: type(answer) for command, answer in answers.items()} == kinds


# --- redirects ---------------------------------------------------------------------------------


def test_redirect__followed_as_post(portal: PracticePortal) -> None:
    """A POST is repeated as a POST at the new address, and later calls go there at once."""
    new = portal.address.replace("127.0.0.1", "localhost")
    portal.server.faults.append(Fault("redirect", location=new, times=1))
    assert portal.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    portal.call("crm.activity.get", {"id": 6})
    assert [r.http_method for r in portal.server.requests] == ["POST"] * 3
    assert [r.params for r in portal.server.requests] == [{"id": 5}, {"id": 5}, {"id": 6}]
    assert portal.address.startswith("http://127.0.0.1")


def test_redirect__keeps_the_cache(portal: PracticePortal) -> None:
    """Entries of the old address are served still."""
    b24.read_activities([1], portal)
    new = portal.address.replace("127.0.0.1", "localhost")
    portal.server.faults.append(Fault("redirect", location=new, times=1))
    b24.read_activities([1, 2], portal)
    assert b24.read_activities([1, 2], portal).attrs["b24"]["http_requests"] == 0


CLOUD = "https://acme.bitrix24.com/rest/1/x/"


@pytest.mark.parametrize(
    ("webhook", "location", "trusted"),
    [
        (CLOUD, "https://new.bitrix24.com", True),
        (CLOUD, "https://new.bitrix24.de", True),
        (CLOUD, "https://new.bitrix24.com:443", True),
        (CLOUD, "https://crm.example.org", True),
        (CLOUD, "http://new.bitrix24.com", False),
        (CLOUD, "https://new.bitrix24.com:8443", False),
        (CLOUD, "https://new.bitrix24.evil", False),
        (CLOUD, "https://bitrix24.com.evil.org", False),
        (CLOUD, "https://new.bitrix24.com.evil.org", False),
        (CLOUD, "https://a.b.bitrix24.com", False),
        (CLOUD, "https://x@new.bitrix24.com", False),
        (CLOUD, "https://evil\\.bitrix24.com", False),
        (CLOUD, "https://evil%2f.bitrix24.com", False),
        (CLOUD, "http://127.0.0.1", False),
        (CLOUD, "https://127.0.0.1", False),
        ("https://crm.acme.org/rest/1/x/", "https://new.bitrix24.com", False),
        ("https://crm.acme.org/rest/1/x/", "https://crm.example.org", True),
        ("http://127.0.0.1:80/rest/1/x/", "http://localhost", True),
        ("http://127.0.0.1:80/rest/1/x/", "http://localhost:81", False),
        ("http://127.0.0.1:80/rest/1/x/", "https://localhost", False),
        ("http://127.0.0.1:80/rest/1/x/", "https://new.bitrix24.com", False),
    ],
)
def test_redirect__trust(webhook: str, location: str, trusted: bool) -> None:
    """Secret and data go only from cloud to cloud, to hosts named before, or around loopback."""
    credential = b24.Portal(webhook)._credential
    with requests.Session() as session:
        transport = Http(credential, (1, 1), session, ["crm.example.org"])
        assert transport._is_trusted(location) is trusted


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://evil.example.org", "has moved to evil.example.org, .* not followed: make the"),
        ("//evil.example.org", "has moved to evil.example.org, .* not followed: make the Portal"),
        ("https://evil.example.org/sso", "redirects to a page of evil.example.org .*login page"),
        ("/elsewhere", "redirects to another page .*address is not that of a webhook, REST or"),
        ("/auth", "redirects to its login page .*address is not that of a webhook, REST or"),
    ],
)
def test_redirect__refused(portal: PracticePortal, location: str, words: str) -> None:
    """Anywhere else nothing is sent; the error says what it is, and repeats no path."""
    portal.server.faults.append(Fault("redirect", location=location))
    for call in (
        lambda: portal.call("crm.activity.get", {"id": 5}),
        lambda: b24.read_activities([5, 6], portal),
    ):
        with pytest.raises(PortalError, match=words) as caught:
            call()
        assert "/rest/" not in str(caught.value)
        assert not caught.value.retryable
    assert posts(portal) == 2


def test_redirect__no_url(portal: PracticePortal) -> None:
    """A redirect to what is no URL is one of our errors, and final."""
    portal.server.faults.append(Fault("redirect", location="http://[bad"))
    with pytest.raises(PortalError) as caught:
        portal.call("profile")
    assert not caught.value.retryable


def test_redirect__commands_no_terminal() -> None:
    """Control characters in the name of a host are made visible."""
    url = "https://acme.bitrix24.com/rest/1/s/"
    transport = b24.Portal(url)._http
    response = requests.Response()
    response.status_code, response.headers["Location"] = 302, "http://a\x1bc.evil/x"
    assert "a\\x1bc.evil" in str(transport._follow(response, f"{url}profile", "profile"))


def test_redirect__another_path(portal: PracticePortal) -> None:
    """A redirect to another path is not a renamed portal: a login page, perhaps."""
    new = portal.address.replace("127.0.0.1", "localhost")
    portal.server.faults.append(Fault("redirect", location=f"{new}/login"))
    with pytest.raises(PortalError, match="redirects to a page of localhost"):
        portal.call("profile")
    assert posts(portal) == 1


@pytest.mark.parametrize("is_absolute", [True, False])
def test_redirect__slash(portal: PracticePortal, is_absolute: bool) -> None:
    """Where a server wants a slash at the end, the POST is repeated there, and later ones begin."""
    begin = portal.address if is_absolute else ""
    location = f"{begin}/rest/1/practice/crm.activity.get/"
    portal.server.faults.append(Fault("to-path", location=location, times=1))
    assert portal.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    assert portal.call("profile")
    assert [r.path.rpartition("practice")[2] for r in portal.server.requests] == [
        "/crm.activity.get",
        "/crm.activity.get/",
        "/profile/",
    ]
    assert [r.params for r in portal.server.requests] == [{"id": 5}, {"id": 5}, {}]


def test_redirect__slash_in_threads(portal: PracticePortal) -> None:
    """Requests that are redirected together are all repeated, whichever is told first."""
    http = portal._http
    response = requests.Response()
    asked = f"{portal.url}profile"
    response.status_code, response.headers["Location"] = 301, f"{asked}/"
    assert [http._follow(response, asked, "profile") for _ in range(2)] == [None, None]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://crm.acme.org:443/rest/1/s/profile/", None),
        ("https://CRM.acme.org/rest/1/s/profile/", None),
        ("https://x:y@crm.acme.org/rest/1/s/profile/", None),
        ("http://crm.acme.org/rest/1/s/profile", "another scheme or port of crm.acme.org"),
        ("https://crm.acme.org:8443/rest/1/s/profile", "another scheme or port of crm.acme.org"),
        ("https://crm.acme.org:x/rest/1/s/profile", "invalid address"),
        ("/rest/1/s/profile", None),
    ],
)
def test_redirect__same_host(location: str, words: str | None) -> None:
    """A host is the same however it is written, and stays written as before."""
    url = "https://crm.acme.org/rest/1/s/"
    http = b24.Portal(url)._http
    response = requests.Response()
    response.status_code, response.headers["Location"] = 301, location
    refused = http._follow(response, f"{url}profile", "profile")
    assert (words in str(refused)) if words else refused is None
    assert http.address == "https://crm.acme.org"


@pytest.mark.parametrize("locations", [["{slash}", "{plain}"], ["{plain}"], [""]])
def test_redirect__circle(portal: PracticePortal, locations: list[str]) -> None:
    """Addresses that point to each other, or to themselves, are not followed for ever."""
    plain = "/rest/1/practice/profile"
    for location in 2 * locations:
        target = location.format(plain=plain, slash=f"{plain}/")
        times = 1 if len(locations) > 1 else None
        portal.server.faults.append(Fault("to-path", location=target, times=times))
    with pytest.raises(PortalError, match="redirects again and again") as caught:
        portal.call("profile")
    assert not caught.value.retryable
    assert posts(portal) == 4


# --- OAuth -------------------------------------------------------------------------------------


class AuthorizationServer:
    """What renews tokens on this machine, each refresh token once."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: list[dict[str, str]] = []
        self.answer: tuple[int, dict[str, Any]] | None = None
        self.before_answer: Callable[[], None] = lambda: None

    def reply(self, path: str, _: bytes) -> tuple[int, list[str], str]:
        """Answer a request."""
        status, answer = self.renew(dict(parse_qsl(urlsplit(path).query)))
        return status, [], json.dumps(answer)

    def renew(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer a refresh: with a new pair, unless told otherwise."""
        spent = [q["refresh_token"] for q in self.queries]
        self.queries.append(query)
        if self.answer is not None:
            return self.answer
        if query["refresh_token"] in spent:
            return 400, sample("tokens-refused").answer
        self.before_answer()
        number = len(self.queries)
        pair = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
        return 200, sample("tokens").answer | pair


@pytest.fixture
def authorization() -> Iterator[AuthorizationServer]:
    """Start an authorization server."""
    server = AuthorizationServer()
    with serving(server.reply) as server.url:
        yield server


class AnyAccessToken(str):
    """What the practice portal takes for the token that is valid: old ones have expired."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith("access-")


def oauth(portal: PracticePortal, server: AuthorizationServer, **options: Any) -> b24.Portal:
    """Make a portal whose access token has expired."""
    portal.server.access_token = AnyAccessToken()
    portal.server.faults.append(Fault("expired_token", times=1))
    settings: dict[str, Any] = {
        "access_token": "access-0",
        "refresh_token": "refresh-0",
        "client_id": "app",
        "client_secret": "s3cret",
        "user_id": 5,
        "authorization_server": server.url,
        "clock": WaitlessClock(),
        "limits": "self-hosted",
    }
    return b24.Portal.from_oauth(portal.address, **{**settings, **options})


def test_oauth__token_in_the_body(portal: PracticePortal) -> None:
    """The access token goes into the body of the call, not into its address."""
    made = b24.Portal.from_oauth(
        portal.address + "/rest/", access_token=portal.server.access_token, user_id=5
    )
    assert made.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    (request,) = portal.server.requests
    assert request.path == "/rest/crm.activity.get"
    assert request.params["auth"] == portal.server.access_token
    assert repr(made) == f"Portal({portal.address!r}, user_id=5)"
    assert len(b24.read_activities([5, 6], made)) == 2


def test_oauth__renewed_once(portal: PracticePortal, authorization: AuthorizationServer) -> None:
    """An expired token is renewed, and the new pair handed over before it is used."""
    seen: list[tuple[TokenPair, int]] = []
    made = oauth(portal, authorization, on_refresh=lambda pair: seen.append((pair, posts(portal))))
    assert made.call("crm.activity.get", {"id": 5}) == portal.server.record(5)
    assert seen == [(("access-1", "refresh-1"), 1)]
    assert authorization.queries == [
        {
            "grant_type": "refresh_token",
            "client_id": "app",
            "client_secret": "s3cret",
            "refresh_token": "refresh-0",
        }
    ]
    assert [r.params["auth"] for r in portal.server.requests] == ["access-0", "access-1"]
    assert "access-1" not in repr(seen[0][0])


def test_oauth__one_refresh_for_all_threads(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """Threads that meet the expired token together use one refresh, and no token twice."""
    made = oauth(portal, authorization)
    portal.server.faults.append(Fault("expired_token"))
    authorization.before_answer = portal.server.faults.clear
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: made.call("crm.activity.get", {"id": i}), range(1, 5)))
    assert answers == [portal.server.record(i) for i in range(1, 5)]
    assert len(authorization.queries) == 1


def expire_in_batches(portal: PracticePortal, server: AuthorizationServer, ids: set[int]) -> None:
    """Let the portal call the token expired, for some commands of batches, until it is renewed."""
    portal.server.faults.clear()
    portal.server.faults.append(Fault("expired_token", ids=ids))
    server.before_answer = portal.server.faults.clear


def test_oauth__expired_in_a_batch(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """A command that finds the token expired is sent again with the new one, and no other is."""
    seen: list[TokenPair] = []
    made = oauth(portal, authorization, on_refresh=seen.append)
    expire_in_batches(portal, authorization, {12, 30})
    answers = made.call_batch({f"a{i}": ("crm.activity.get", {"id": i}) for i in range(10, 40)})
    assert answers == {f"a{i}": portal.server.record(i) for i in range(10, 40)}
    assert [r.ids for r in portal.server.requests] == [set(range(10, 40)), {12, 30}]
    assert [r.params["auth"] for r in portal.server.requests] == ["access-0", "access-1"]
    assert seen == [("access-1", "refresh-1")]


def test_oauth__expired_in_many_batches(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """Threads whose commands meet the expired token use one refresh, and lose no row."""
    made = oauth(portal, authorization)
    expire_in_batches(portal, authorization, {12, 60, 110, 160, 210, 260})
    frame = b24.read_activities(range(1, 301), made, missing="ignore", cache=False)
    assert frame.index.tolist() == [i for i in range(1, 301) if i not in (7, 9)]
    assert len(authorization.queries) == 1
    sent = Counter(i for request in portal.server.requests for i in request.ids)
    assert {i for i, times in sent.items() if times > 1} <= {12, 60, 110, 160, 210, 260}


def test_oauth__expired_in_a_batch_for_good(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """A command that finds the new token expired, too, is refused; one token is spent on it."""
    made = oauth(portal, authorization)
    expire_in_batches(portal, authorization, {12})
    authorization.before_answer = lambda: None
    answers = made.call_batch({f"a{i}": ("crm.activity.get", {"id": i}) for i in range(10, 40)})
    assert isinstance(answers["a12"], AuthenticationError)
    assert sum(isinstance(answer, dict) for answer in answers.values()) == 29
    assert len(authorization.queries) == 1


def test_oauth__expired_in_a_batch_not_renewed(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """Where the token cannot be renewed the command says why; the others are answered."""
    made = oauth(portal, authorization)
    expire_in_batches(portal, authorization, {12})
    authorization.answer = (400, {"error": "invalid_grant"})
    answers = made.call_batch({f"a{i}": ("crm.activity.get", {"id": i}) for i in range(10, 40)})
    assert isinstance(answers["a12"], AuthenticationError)
    assert "refresh token is spent" in str(answers["a12"])
    assert sum(isinstance(answer, dict) for answer in answers.values()) == 29
    assert len(authorization.queries) == 1
    assert posts(portal) == 1


def test_oauth__expired_in_a_batch_server_down(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """One that is out of order is no answer to any command, and waited for to the end."""
    clock = WaitlessClock()
    made = oauth(portal, authorization, clock=clock, max_wait=900)
    expire_in_batches(portal, authorization, {12})
    authorization.answer = (503, {"error": "down"})
    with pytest.raises(PortalUnavailableError, match="authorization server is out of order"):
        made.call_batch({f"a{i}": ("crm.activity.get", {"id": i}) for i in range(10, 40)})
    assert 600 < clock.now() < 1_000


def test_oauth__on_refresh_uses_the_portal(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """New tokens may be stored in the portal itself, which is asked with them."""
    names: list[str] = []
    made = oauth(portal, authorization, on_refresh=lambda _: names.append(made.call("profile")))
    assert made.call("profile") == names[0]
    assert len(authorization.queries) == 1


def test_oauth__expired_before_on_refresh_returns(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """A token that is refused while it is stored is an error there, and not waited for."""
    refused: list[str] = []

    def on_refresh(_: TokenPair) -> None:
        portal.server.faults.append(Fault("expired_token", times=1))
        with pytest.raises(AuthenticationError, match="before on_refresh returned") as raised:
            made.call("profile")
        refused.append(raised.value.code)

    made = oauth(portal, authorization, on_refresh=on_refresh)
    made.call("profile")
    assert refused == ["expired_token"]
    assert len(authorization.queries) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_oauth__forked_while_renewing(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """A forked process does not wait for the renewal of a thread that it has not."""
    made, status = oauth(portal, authorization), 1
    with made._credential.renewing(0):  # as another thread of the parent
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                made.call("profile")
                status = 7
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_oauth__next_refresh_uses_the_new_token(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """A second refresh uses the refresh token that the first one gave."""
    made = oauth(portal, authorization)
    made.call("profile")
    portal.server.faults.append(Fault("expired_token", times=1))
    made.call("profile")
    assert [q["refresh_token"] for q in authorization.queries] == ["refresh-0", "refresh-1"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {"error": "invalid_grant"}), "the refresh token is spent"),
        ((400, {"error": "invalid_client"}), "client_id or client_secret is wrong"),
        ((401, {"error": "PAYMENT_REQUIRED"}), "plan has expired"),
        ((400, {"error": "invalid_scope"}), "rights"),
        ((400, {}), "gave no new token"),
        ((200, {"access_token": ""}), "gave no new token"),
    ],
)
def test_oauth__refresh_refused(
    portal: PracticePortal,
    authorization: AuthorizationServer,
    answer: tuple[int, dict[str, Any]],
    words: str,
) -> None:
    """Why a token cannot be renewed is said in plain words, once."""
    authorization.answer = answer
    with pytest.raises(AuthenticationError, match=words) as caught:
        oauth(portal, authorization).call("profile")
    assert not caught.value.retryable
    assert len(authorization.queries) == 1
    for secret in ("access-0", "refresh-0", "s3cret"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "tokens", [{"access_token": ["x"]}, {"access_token": "x", "refresh_token": {"a": 1}}]
)
def test_oauth__odd_tokens(
    portal: PracticePortal, authorization: AuthorizationServer, tokens: dict[str, Any]
) -> None:
    """What are no tokens is not handed over, to be kept in the place of good ones."""
    authorization.answer = (200, tokens)
    given: list[TokenPair] = []
    with pytest.raises(AuthenticationError, match="gave no new token"):
        oauth(portal, authorization, on_refresh=given.append).call("profile")
    assert given == []


def test_oauth__no_further_refresh_token(
    portal: PracticePortal, authorization: AuthorizationServer
) -> None:
    """Null in the place of a refresh token is none, and not a text that says so."""
    authorization.answer = (200, {"access_token": "access-1", "refresh_token": None})
    given: list[TokenPair] = []
    oauth(portal, authorization, on_refresh=given.append).call("profile")
    assert given == [("access-1", "")]


@pytest.mark.parametrize("status", [429, 503])
def test_oauth__refresh_out_of_order(
    portal: PracticePortal, authorization: AuthorizationServer, status: int
) -> None:
    """An authorization server that is out of order is a transient trouble."""
    authorization.answer = (status, {})
    portal.server.faults.append(Fault("expired_token"))
    with pytest.raises(PortalUnavailableError, match="authorization server"):
        oauth(portal, authorization).call("profile")


def test_oauth__nothing_to_renew_with(portal: PracticePortal) -> None:
    """Without a refresh token an expired access token is the end."""
    portal.server.faults.append(Fault("expired_token"))
    token = portal.server.access_token
    made = b24.Portal.from_oauth(portal.address, access_token=token, user_id=5)
    with pytest.raises(AuthenticationError, match="nothing to renew it with"):
        made.call("profile")
    assert posts(portal) == 1


def test_oauth__callback_fails(portal: PracticePortal, authorization: AuthorizationServer) -> None:
    """When the caller cannot keep the new pair, that is told, and the spent one not used again."""

    def on_refresh(pair: TokenPair) -> None:
        raise OSError("disk full")

    made = oauth(portal, authorization, on_refresh=on_refresh)
    with pytest.raises(OSError, match="disk full"):
        made.call("profile")
    made.call("profile")
    assert len(authorization.queries) == 1
    assert [r.params["auth"] for r in portal.server.requests] == ["access-0", "access-1"]


@pytest.mark.parametrize(
    "address", ["acme.bitrix24.com", "https://acme.bitrix24.com/x/", "http://acme.bitrix24.com", 5]
)
def test_oauth__address_refused(address: Any) -> None:
    """What is no address of a portal is refused."""
    with pytest.raises((TypeError, ValueError), match=r"https|address"):
        b24.Portal.from_oauth(address, access_token="x", user_id=5)


def test_oauth__never_pickled() -> None:
    """Tokens are not pickled, and shown nowhere."""
    token = AccessToken(
        "https://acme.bitrix24.com", TokenPair("a-token", "r-token"), client_secret="c", user_id=5
    )
    assert "token" not in repr(token).replace("AccessToken", "")
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(token)


# --- connections -------------------------------------------------------------------------------


def test_tls__unknown_certificate() -> None:
    """A certificate that cannot be verified is final: nothing is sent, nothing repeated."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with PracticeServer(activities=5, ssl_context=context) as server:
        with pytest.raises(PortalUnavailableError, match="certificate") as caught:
            b24.Portal(server.url, limits="self-hosted").call("profile")
        assert not caught.value.retryable
        assert server.requests == []


def test_tls__own_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session may bring its own authority."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # requests prefers it
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with PracticeServer(activities=5, ssl_context=context) as server, requests.Session() as session:
        session.verify = str(tmp_path / "ca.pem")
        assert b24.Portal(server.url, session=session).call("profile")


@pytest.mark.parametrize(
    ("name", "value"),
    [("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem"), ("HTTPS_PROXY", "nonsense://127.0.0.1:9")],
)
def test_settings__unusable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the environment that cannot work are one of our errors, and final."""
    monkeypatch.setenv(name, value)
    with pytest.raises(PortalUnavailableError) as caught:
        b24.Portal("https://acme.bitrix24.com/rest/1/x/", limits="self-hosted").call("profile")
    assert not caught.value.retryable


def test_logs__redacted(portal: PracticePortal, caplog: pytest.LogCaptureFixture) -> None:
    """The log lines of the HTTP library show which method was called, and not the secret."""
    with caplog.at_level(logging.DEBUG):
        portal.call("profile")
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("urllib3")]
    assert any("/rest/1/***/profile" in line for line in lines)
    assert not any("practice" in line for line in lines)
    ours = [r.getMessage() for r in caplog.records if r.name == "b24frames"]
    assert any("profile" in line and "HTTP 200" in line for line in ours)


@pytest.mark.parametrize(("status", "kind"), [(503, PortalUnavailableError), (429, RateLimitError)])
def test_gateway__asks_to_wait(status: int, kind: type[PortalError]) -> None:
    """A gateway's page says how long to wait, as the portal itself does."""
    transport = b24.Portal("https://acme.bitrix24.com/rest/1/s/")._http
    response = requests.Response()
    response.status_code, response._content = status, b"<html>busy</html>"
    response.headers["Retry-After"] = "120"
    error = transport._parse_answer(response, "profile")
    assert type(error) is kind
    assert error.retry_after == 120
