"""The fault table: what passes costs no row, and what is final is said in plain words.

Each fault happens a few times to several requests at once, and then at random to every fifth
request or command of some hundred activities, more when hypothesis is thorough. The frame is the
one of a portal without faults.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pytest
import requests
from hypothesis import settings

import b24frames as b24
from b24frames.errors import (
    ActivityRefusedError,
    BadValueWarning,
    InvalidAnswerError,
    OperatingTimeError,
    PortalBlockedError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)
from b24frames.portal.limits import MAX_ATTEMPTS
from b24frames.practice import PracticePortal
from b24frames.practice.faults import SYSTEM_ERRORS as DESCRIPTIONS
from b24frames.practice.server import PracticeServer, Request
from tests.helpers.cases import SYSTEM_ERRORS
from tests.helpers.clocks import WaitlessClock
from tests.helpers.exotic_faults import Fault
from tests.helpers.frames import assert_frame_equal
from tests.helpers.practice import asked, posts
from tests.helpers.sessions import Overtaken

MakePortal = Callable[..., PracticePortal]
MakeClient = Callable[..., b24.Portal]

ACTIVITIES = max(300, 5 * settings().max_examples)
IDS = range(1, ACTIVITIES + 1)
SOME_IDS = range(1, 201)
SETTINGS: dict[str, Any] = {"activities": ACTIVITIES, "deleted": [7, 240], "refused": [9, 290]}
GET = "crm.activity.get"
LIST = "crm.activity.list"
OVER_THERE = "the other loopback name"
TIMES = 3

# What is sent again for a fault that happens three times.
NOTHING, COMMANDS, REQUESTS, HALVES = "nothing", "commands", "requests", "halves"


@dataclass(frozen=True)
class Transient:
    """A fault that passes.

    Attributes
    ----------
    fault : Fault
        What happens.
    again : str
        What is sent again.
    options : dict
        The keywords of the portal that is read.
    """

    fault: Fault
    again: str
    options: dict[str, Any] = field(default_factory=dict)


TRANSIENT = {
    "500-internal": Transient(Fault("INTERNAL_SERVER_ERROR"), REQUESTS),
    "500-unexpected": Transient(Fault("ERROR_UNEXPECTED_ANSWER"), REQUESTS),
    "503-rate": Transient(Fault("QUERY_LIMIT_EXCEEDED"), REQUESTS),
    "503-rate-retry-after": Transient(Fault("QUERY_LIMIT_EXCEEDED", retry_after=7), REQUESTS),
    "429-operating-time": Transient(Fault("OPERATION_TIME_LIMIT"), REQUESTS),
    "command-internal": Transient(Fault("INTERNAL_SERVER_ERROR", method=GET), COMMANDS),
    "command-unexpected": Transient(Fault("ERROR_UNEXPECTED_ANSWER", method=GET), COMMANDS),
    "command-rate": Transient(Fault("QUERY_LIMIT_EXCEEDED", method=GET), COMMANDS),
    "command-operating-time": Transient(
        Fault("OPERATION_TIME_LIMIT", method=GET), COMMANDS, {"concurrency": 8}
    ),
    "command-unanswered": Transient(Fault("unanswered", method=GET), COMMANDS),
    "command-other-record": Transient(Fault("other-record", method=GET), COMMANDS),
    "html-502": Transient(Fault("html"), REQUESTS),
    "html-502-retry-after": Transient(Fault("html", retry_after=7), REQUESTS),
    "html-503": Transient(Fault("html", status=503), REQUESTS),
    "html-504": Transient(Fault("html", status=504), HALVES),
    "html-200": Transient(Fault("html", status=200), REQUESTS),
    "empty-200": Transient(Fault("empty"), REQUESTS),
    "empty-500": Transient(Fault("empty", status=500), REQUESTS),
    "cut-json": Transient(Fault("cut-json"), REQUESTS),
    "truncated": Transient(Fault("truncated"), REQUESTS),
    "reset": Transient(Fault("reset"), REQUESTS),
    "close": Transient(Fault("close"), REQUESTS),
    "hang": Transient(Fault("hang"), HALVES, {"timeout": (2.0, 0.25)}),
    "batch-timeout": Transient(Fault("batch-timeout", more_than=20), HALVES),
    "redirect": Transient(Fault("redirect", location=OVER_THERE), NOTHING),
    "wrong-type": Transient(Fault("wrong-type"), NOTHING),
    "gzip": Transient(Fault("gzip"), NOTHING),
    "maps-as-list": Transient(Fault("maps-as-list"), NOTHING),
    "bom": Transient(Fault("bom"), NOTHING),
    "drip": Transient(Fault("drip"), NOTHING),
    "drip-longer-than-the-timeout": Transient(
        Fault("drip", seconds=1.2), NOTHING, {"timeout": (2.0, 1.0)}
    ),
}

FINAL = [row for row in SYSTEM_ERRORS if not row[3] and row[1] != "ERROR_BATCH_METHOD_NOT_ALLOWED"]


def read(portal: b24.Portal, ids: Sequence[int] = IDS, **options: Any) -> pd.DataFrame:
    """Read all columns of many activities."""
    frame: pd.DataFrame = b24.read_activities(ids, portal, **{"missing": "ignore", **options})
    return frame


def assert_same(frame: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Fail where rows, columns, values, or the reasons for missing ids differ."""
    assert_frame_equal(frame, expected)
    assert frame.attrs["b24"]["missing"] == expected.attrs["b24"]["missing"]


def assert_plain(error: PortalError) -> None:
    """Fail where a message is not fit for a person who knows neither HTTP nor Python."""
    message = str(error)
    assert len(re.findall(r"[A-Za-z]{2,}", message)) >= 3
    for rubbish in ("Traceback", "Pool(", "urllib3", "Errno", "<", "object at", "/rest/"):
        assert rubbish not in message


def placed(fault: Fault, server: PracticeServer) -> Fault:
    """Fill in the address that a redirect points to, which is known only now."""
    if fault.location != OVER_THERE:
        return fault
    return replace(fault, location=server.address.replace("127.0.0.1", "localhost"))


def posts_of(server: PracticeServer) -> int:
    """Count the requests that a server received."""
    return len(server.requests)


def ids_of(received: Sequence[Request]) -> list[int]:
    """Return the ids that requests asked for one by one, in order."""
    texts = [c for r in received for c in r.commands]
    return [
        int(m[1]) for text in texts if (m := re.fullmatch(r"crm\.activity\.get\?id=(\d+)", text))
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[PracticeServer]:
    """Make the server that most tests share: its records are made only once."""
    with PracticeServer(**SETTINGS, limits=None) as server:
        yield server


@pytest.fixture(scope="module")
def expected(server: PracticeServer) -> pd.DataFrame:
    """Make the frame of a portal without faults."""
    server.faults.clear()
    with closing(b24.Portal(server.url, limits="self-hosted")) as portal:
        frame = read(portal, cache=False)
    assert len(frame) == ACTIVITIES - 4
    return frame


@pytest.fixture(scope="module")
def some_expected(server: PracticeServer) -> pd.DataFrame:
    """Make the frame of some of the activities."""
    server.faults.clear()
    with closing(b24.Portal(server.url, limits="self-hosted")) as portal:
        return read(portal, SOME_IDS, cache=False)


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Make portals that wait for almost no time, and close them."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> b24.Portal:
            usual: dict[str, Any] = {"limits": "self-hosted", "clock": WaitlessClock()}
            return stack.enter_context(closing(b24.Portal(url, **usual, **options)))

        yield make


class Started(requests.Session):
    """A session with which a fault begins after some requests, and ends after too many.

    Parameters
    ----------
    server : PracticeServer
        Where it happens.
    fault : Fault
        What happens.
    after : int
        How many requests are spared.
    most : int
        A client that has not given up after so many is let off, so that the test ends.
    """

    def __init__(self, server: PracticeServer, fault: Fault, after: int, most: int = 100) -> None:
        super().__init__()
        self.server, self.fault = server, fault
        self.after, self.most = after, most
        self.count = 0
        self.lock = threading.Lock()

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request."""
        with self.lock:
            if self.count == self.after:
                self.server.faults.append(self.fault)
            if self.count == self.most:
                self.server.faults.clear()
            self.count += 1
        return super().request(*args, **options)


# --- what passes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRANSIENT)
def test_transient__a_few_times(
    server: PracticeServer, some_expected: pd.DataFrame, make_client: MakeClient, name: str
) -> None:
    """Three times in a row cost no row, and only what failed is sent again."""
    case = TRANSIENT[name]
    client = make_client(server.url, **case.options)
    server.faults.clear()
    server.faults.append(replace(placed(case.fault, server), times=TIMES))
    before = posts_of(server)
    frame = read(client, SOME_IDS)
    received = server.requests[before:]
    assert_same(frame, some_expected)
    again = Counter(ids_of(received)) - Counter(SOME_IDS)
    if case.again == NOTHING:
        redirects = sum(r.status == 302 for r in received)
        assert len(received) == len(SOME_IDS) // 50 + redirects
    elif case.again == COMMANDS:
        assert again.total() == TIMES
    elif case.again == REQUESTS:
        assert len(received) == len(SOME_IDS) // 50 + TIMES
        assert again.total() == TIMES * 50
    # All of it is in the cache, and as it should be.
    before = posts_of(server)
    assert_same(read(client, SOME_IDS), some_expected)
    assert posts_of(server) == before


@pytest.mark.parametrize("name", [name for name in TRANSIENT if "longer-than" not in name])
def test_transient__at_random(
    server: PracticeServer, expected: pd.DataFrame, make_client: MakeClient, name: str
) -> None:
    """One time in five, among many activities, costs no row."""
    case = TRANSIENT[name]
    server.faults.clear()
    server.faults.append(replace(placed(case.fault, server), probability=0.2))
    before = posts_of(server)
    client = make_client(server.url, **{"concurrency": 8, **case.options})
    assert_same(read(client, cache=False), expected)
    assert set(ids_of(server.requests[before:])) == set(IDS)


def test_transient__all_at_once(
    server: PracticeServer, expected: pd.DataFrame, make_client: MakeClient
) -> None:
    """All of them together, on several requests at once, cost no row either."""
    server.faults.clear()
    # Rare enough that no request meets one of them at each of its attempts, whatever the order.
    for case in TRANSIENT.values():
        probability = 0.001 if case.fault.method == GET else 0.002
        server.faults.append(replace(placed(case.fault, server), probability=probability))
    client = make_client(server.url, timeout=(2.0, 0.25))
    try:
        for _ in range(6):
            assert_same(read(client, cache=False), expected)
    finally:
        server.faults.clear()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("INTERNAL_SERVER_ERROR"),
        Fault("INTERNAL_SERVER_ERROR", method=LIST),
        Fault("QUERY_LIMIT_EXCEEDED", method=LIST),
        Fault("OPERATION_TIME_LIMIT"),
        Fault("OPERATION_TIME_LIMIT", method=LIST),
        Fault("unanswered", method=LIST),
        Fault("html"),
        Fault("batch-timeout", more_than=5),
        Fault("cut-json"),
        Fault("reset"),
        Fault("gzip"),
        Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method or fault.status or 'request'}",
)
def test_transient__by_list(
    server: PracticeServer, expected: pd.DataFrame, make_client: MakeClient, fault: Fault
) -> None:
    """What is read by list loses no row either."""
    server.faults.clear()
    server.faults.append(replace(fault, times=TIMES))
    client = make_client(server.url)
    assert_same(read(client, cache=False, via="list"), expected)


@pytest.mark.parametrize("via", ["get", "list"])
def test_batch_timeout__smaller_ones(
    server: PracticeServer, expected: pd.DataFrame, make_client: MakeClient, via: str
) -> None:
    """A batch that takes too long is sent again in halves, and smaller ones from then on."""
    server.faults.clear()
    most = {"get": 20, "list": 6}[via]
    server.faults.append(Fault("batch-timeout", more_than=most))
    client = make_client(server.url, concurrency=1)
    before = posts_of(server)
    assert_same(read(client, cache=False, via=via), expected)
    sizes = [len(r.commands) for r in server.requests[before:]]
    first_good = next(i for i, size in enumerate(sizes) if size <= most)
    assert sizes[:first_good] == sorted(sizes[:first_good], reverse=True)
    before = posts_of(server)
    assert_same(read(client, cache=False, via=via), expected)
    again = server.requests[before:]
    # Larger ones are tried again, seldom.
    refused = sum(r.status == 504 for r in again)
    assert refused == sum(len(r.commands) > most for r in again)
    assert refused <= len(again) / 10


def test_hang__sent_again_in_halves(make_portal: MakePortal, make_client: MakeClient) -> None:
    """No answer within the time set is taken as a batch that was too much."""
    practice = make_portal(activities=50, deleted=(), refused=())
    practice.server.faults.append(Fault("hang", times=1))
    client = make_client(practice.url, timeout=(2.0, 1.0))
    assert len(read(client, range(1, 51))) == 50
    assert [len(r.commands) for r in practice.server.requests] == [50, 25, 25]


def test_redirect__followed(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A POST to a renamed portal is repeated as a POST, once; later ones go there at once."""
    practice = make_portal(activities=150, deleted=(), refused=())
    there = practice.address.replace("127.0.0.1", "localhost")
    practice.server.faults.append(Fault("redirect", location=there, times=1))
    client = make_client(practice.url, concurrency=1)
    assert len(read(client, range(1, 151))) == 150
    received = practice.server.requests
    assert [r.status for r in received] == [302, 200, 200, 200]
    assert {r.http_method for r in received} == {"POST"}
    assert received[0].params == received[1].params
    # The entries of the cache are still those of the address that the caller gave.
    assert len(read(make_client(practice.url), range(1, 151))) == 150
    assert posts(practice) == 4


# --- odd answers that stay ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["surrogate", "bad-bytes"])
@pytest.mark.parametrize("share", ["one", "fifth"])
def test_bad_text__costs_nothing_else(
    server: PracticeServer,
    expected: pd.DataFrame,
    make_client: MakeClient,
    kind: str,
    share: str,
) -> None:
    """A text that is no valid Unicode is an escape in its row; all else is as it was."""
    server.faults.clear()
    some = {"one": Fault(kind, ids=[11]), "fifth": Fault(kind, ids=list(IDS[::5]))}[share]
    server.faults.append(some)
    before = posts_of(server)
    with pytest.warns(BadValueWarning, match=r"SUBJECT: .* no UTF-8 can hold: .*\(id 1?1\)"):
        frame = read(make_client(server.url))
    assert posts_of(server) - before == ACTIVITIES // 50
    others = [name for name in expected.columns if name != "SUBJECT"]
    assert_frame_equal(frame[others], expected[others])
    good = frame.index.difference(pd.Index(list(some.ids or ()), dtype="Int64"))
    assert frame["SUBJECT"].dtype == expected["SUBJECT"].dtype
    assert r"\ud" in frame.loc[11, "SUBJECT"]
    assert frame["SUBJECT"].loc[list(good)].tolist() == expected["SUBJECT"].loc[list(good)].tolist()
    assert frame["SUBJECT"].notna().sum() == expected["SUBJECT"].notna().sum()
    # What is in the cache is the same once more.
    with pytest.warns(BadValueWarning):
        assert_frame_equal(read(make_client(server.url)), frame)
    assert posts_of(server) - before == ACTIVITIES // 50


def test_empty_error__is_an_error(make_portal: MakePortal, make_client: MakeClient) -> None:
    """An error without code and description is one: the id is told of, the others are there."""
    practice = make_portal(activities=100, deleted=(), refused=())
    practice.server.faults.append(Fault("empty-error", ids=[11, 70]))
    frame = read(make_client(practice.url), range(1, 101))
    assert frame.attrs["b24"]["missing"] == [11, 70]
    assert list(frame.attrs["b24"]["missing_reasons"].values()) == [[11, 70]]
    assert "without a reason" in next(iter(frame.attrs["b24"]["missing_reasons"]))
    assert len(frame) == 98
    with pytest.raises(ActivityRefusedError, match="gave no reason"):
        make_client(practice.url).call(GET, {"id": 11})


def test_configurable__named_with_its_reason(
    make_portal: MakePortal, make_client: MakeClient
) -> None:
    """An activity that this method does not give exists: it is no missing one like others."""
    practice = make_portal(activities=60, deleted=[7], refused=[9, 55])
    reasons = []
    for via in ("get", "list"):
        client = make_client(practice.url)
        frame = read(client, range(1, 61), via=via, cache=False)
        reasons.append(frame.attrs["b24"]["missing_reasons"])
        assert frame.attrs["b24"]["missing"] == [7, 9, 55]
    for (missing, refused), told in zip(
        reasons, ("crm.activity.configurable.get", "does not give"), strict=True
    ):
        assert missing.startswith("not found, or not visible")
        assert refused.startswith("refused by the portal")
        assert told in refused
    assert [*reasons[0].values()] == [*reasons[1].values()] == [[7], [9, 55]]


def test_maps_as_list__names_that_are_numbers(
    make_portal: MakePortal, make_client: MakeClient
) -> None:
    """A map that PHP writes as a list is read by position."""
    practice = make_portal(activities=10, deleted=(), refused=())
    practice.server.faults.append(Fault("maps-as-list"))
    answers = make_client(practice.url).call_batch({str(i): (GET, {"id": i + 1}) for i in range(5)})
    assert answers == {str(i): practice.server.record(i + 1) for i in range(5)}


# --- a batch that is not allowed ---------------------------------------------------------------


def test_not_in_batch__all_by_single_calls(
    make_portal: MakePortal, make_client: MakeClient
) -> None:
    """A portal without batches is asked for one activity at a time; missing ones are named."""
    practice = make_portal(activities=120, deleted=[7], refused=[9])
    expected = read(make_client(practice.url), range(1, 121), cache=False)
    practice.server.faults.append(Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch"))
    before = posts(practice)
    assert_same(read(make_client(practice.url), range(1, 121)), expected)
    single = [r for r in practice.server.requests[before:] if r.method == GET]
    assert sorted(i for r in single for i in r.ids) == list(range(1, 121))


def test_not_in_batch__one_command(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A command that is refused in a batch is called by itself, and only that one."""
    practice = make_portal(activities=100, deleted=(), refused=())
    practice.server.faults.append(Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", ids=[11], times=1))
    frame = read(make_client(practice.url), range(1, 101))
    assert frame.index.tolist() == list(range(1, 101))
    single = [r.ids for r in practice.server.requests if r.method == GET]
    assert single == [{11}]
    assert posts(practice) == 3


@pytest.mark.parametrize("kind", ["OVERLOAD_LIMIT", "INTERNAL_SERVER_ERROR"])
def test_not_in_batch__then_refused(
    make_portal: MakePortal, make_client: MakeClient, kind: str
) -> None:
    """What single calls had brought is kept, too, when one of them is refused."""
    practice = make_portal(activities=50, deleted=(), refused=())
    practice.server.faults.append(Fault("ERROR_BATCH_METHOD_NOT_ALLOWED", method="batch"))
    practice.server.faults.append(Fault(kind, ids=[31]))
    client = make_client(practice.url, concurrency=1)
    if kind == "OVERLOAD_LIMIT":
        with pytest.raises(PortalBlockedError):
            read(client, range(1, 51))
    else:
        assert read(client, range(1, 51)).attrs["b24"]["missing"] == [31]
    practice.server.faults.clear()
    before = posts(practice)
    assert len(read(client, range(1, 51))) == 50
    rest = [i for r in practice.server.requests[before:] for i in r.ids]
    assert sorted(rest) == (list(range(31, 51)) if kind == "OVERLOAD_LIMIT" else [31])


# --- what is final -----------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code", "kind", "_retryable"), FINAL)
def test_final__whole_request(
    make_portal: MakePortal,
    make_client: MakeClient,
    status: int,
    code: str,
    kind: type[PortalError],
    _retryable: bool,
) -> None:
    """A refusal for good ends the read at once; the rows so far are kept, the rest asked later."""
    practice = make_portal(activities=150, deleted=[7], refused=[9])
    with Started(practice.server, Fault(code), after=1) as session:
        client = make_client(practice.url, session=session, concurrency=1)
        with pytest.raises(PortalError) as caught:
            read(client, range(1, 151))
        assert type(caught.value) is kind
        assert (caught.value.code, caught.value.http_status) == (code, status)
        assert not caught.value.retryable
        assert_plain(caught.value)
        assert posts(practice) == 2
        practice.server.faults.clear()
        assert len(read(client, range(1, 151))) == 148
    assert asked(practice)[100:] == list(range(51, 151))


@pytest.mark.parametrize("code", ["OVERLOAD_LIMIT", "NO_AUTH_FOUND", "PORTAL_DELETED"])
def test_final__several_at_once(
    make_portal: MakePortal, make_client: MakeClient, code: str
) -> None:
    """What had been answered when a refusal ended the read is kept, and no more is sent."""
    ids = range(1, 501)
    practice = make_portal(activities=len(ids), deleted=(), refused=(), latency=0.01)
    with Started(practice.server, Fault(code), after=6) as session:
        client = make_client(practice.url, session=session, concurrency=4)
        with pytest.raises(PortalError) as caught:
            read(client, ids)
        assert caught.value.code == code
        sent = posts(practice)
        assert sent <= 6 + 4
        answered = {i for r in practice.server.requests if r.status == 200 for i in r.ids}
        assert answered
        practice.server.faults.clear()
        assert len(read(client, ids)) == len(ids)
    assert sorted(asked(practice)[sent * 50 :]) == sorted(set(ids) - answered)


def test_final__after_a_timeout(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A refusal for good of one half of a batch is the last request: the other is not sent."""
    practice = make_portal(activities=50, deleted=(), refused=())
    practice.server.faults.append(Fault("batch-timeout", more_than=40))
    practice.server.faults.append(Fault("OVERLOAD_LIMIT"))
    with pytest.raises(PortalBlockedError):
        read(make_client(practice.url), range(1, 51))
    assert [len(r.commands) for r in practice.server.requests] == [50, 25]


@pytest.mark.parametrize("code", ["OVERLOAD_LIMIT", "NO_AUTH_FOUND", "ERROR_METHOD_NOT_FOUND"])
def test_final__within_a_list(make_portal: MakePortal, make_client: MakeClient, code: str) -> None:
    """What the list had brought is kept when the rest is refused."""
    practice = make_portal(activities=3_000, deleted=[7], refused=[9])
    with Started(practice.server, Fault(code), after=1) as session:
        client = make_client(practice.url, session=session, concurrency=1)
        with pytest.raises(PortalError) as caught:
            read(client, range(1, 3_001), via="list")
        assert caught.value.code == code
        assert posts(practice) == 2
        practice.server.faults.clear()
        assert len(read(client, range(1, 3_001), via="list")) == 2_998
    assert posts(practice) == 3


@pytest.mark.parametrize(("_status", "code", "kind", "_retryable"), FINAL)
def test_final__one_command(
    make_portal: MakePortal,
    make_client: MakeClient,
    _status: int,
    code: str,
    kind: type[PortalError],
    _retryable: bool,
) -> None:
    """A refusal for good of one command costs none of its batch, and names the activity."""
    practice = make_portal(activities=150, deleted=[7], refused=[9])
    practice.server.faults.append(Fault(code, ids=[75]))
    client = make_client(practice.url, concurrency=1)
    if not kind.ends_all:
        assert read(client, range(1, 151)).attrs["b24"]["missing"] == [7, 9, 75]
        assert posts(practice) == 3
    else:
        with pytest.raises(PortalError) as caught:
            read(client, range(1, 151))
        assert type(caught.value) is kind
        assert caught.value.code == code
        if code != "expired_token":  # that is told in words of our own
            assert DESCRIPTIONS[code][1].rstrip(".") in str(caught.value)
        assert str(caught.value).count("activity 75") == 1
        assert_plain(caught.value)
        assert posts(practice) == 2
    practice.server.faults.clear()
    assert len(read(client, range(1, 151))) == 148
    rest = [] if not kind.ends_all else range(101, 151)
    assert sorted(asked(practice))[-len(rest) :] == [*rest] or not rest
    assert asked(practice).count(75) == 2


@pytest.mark.parametrize("code", ["OVERLOAD_LIMIT", "NO_AUTH_FOUND"])
def test_final__one_command_by_list(
    make_portal: MakePortal, make_client: MakeClient, code: str
) -> None:
    """The pages that came with a refused one are kept."""
    practice = make_portal(activities=300, deleted=(), refused=())
    # What is drawn for pages is known: this refuses the fifth of six.
    practice.server.faults.append(Fault(code, method=LIST, times=1, probability=0.2))
    client = make_client(practice.url, concurrency=1)
    with pytest.raises(PortalError) as caught:
        read(client, range(1, 301), via="list")
    assert caught.value.code == code
    assert posts(practice) == 1
    practice.server.faults.clear()
    assert len(read(client, range(1, 301))) == 300
    assert sorted(asked(practice)[-50:]) == list(range(201, 251))
    assert posts(practice) == 2


def test_final__one_page_of_a_list(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A page that the portal refuses by itself costs no row: its activities are got."""
    practice = make_portal(activities=300, deleted=(), refused=())
    fault = Fault("ERROR_METHOD_NOT_FOUND", method=LIST, times=1, probability=0.2)
    practice.server.faults.append(fault)
    client = make_client(practice.url, concurrency=1)
    assert len(read(client, range(1, 301), via="list")) == 300
    assert asked(practice) == [1, *range(201, 251)]
    assert posts(practice) == 2


# --- what should pass and does not -------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault("INTERNAL_SERVER_ERROR"), PortalUnavailableError, "Internal server error"),
        (Fault("ERROR_UNEXPECTED_ANSWER"), PortalUnavailableError, "unexpected response"),
        (Fault("QUERY_LIMIT_EXCEEDED"), RateLimitError, "Too many requests"),
        (Fault("OPERATION_TIME_LIMIT"), OperatingTimeError, "operation time limit"),
        (Fault("html"), PortalUnavailableError, "HTTP 502"),
        (Fault("html", status=200), InvalidAnswerError, "a web page"),
        (Fault("empty"), InvalidAnswerError, "other than the REST API's JSON"),
        (Fault("cut-json"), InvalidAnswerError, "other than the REST API's JSON"),
        (Fault("truncated"), PortalUnavailableError, "damaged|no connection"),
        (Fault("reset"), PortalUnavailableError, "no connection"),
        (Fault("close"), PortalUnavailableError, "no connection"),
        (Fault("batch-timeout"), PortalUnavailableError, "HTTP 504"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
def test_lasting__gives_up(
    make_portal: MakePortal,
    make_client: MakeClient,
    fault: Fault,
    kind: type[PortalError],
    words: str,
) -> None:
    """What does not pass is given up after a while; a later read asks only for the rest."""
    practice = make_portal(activities=150, deleted=[7], refused=[9])
    with Started(practice.server, fault, after=1) as session:
        client = make_client(practice.url, session=session, concurrency=1, max_wait=300.0)
        with pytest.raises(PortalError, match=words) as caught:
            read(client, range(1, 151))
        assert type(caught.value) is kind
        assert caught.value.retryable
        assert_plain(caught.value)
        sent = posts(practice)
        assert sent < session.most
        practice.server.faults.clear()
        assert len(read(client, range(1, 151))) == 148
    rest = [i for r in practice.server.requests[sent:] for i in r.ids]
    assert sorted(rest) == list(range(51, 151))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("INTERNAL_SERVER_ERROR", ids=[75]),
        Fault("ERROR_UNEXPECTED_ANSWER", ids=[75]),
        Fault("unanswered", ids=[75]),
        Fault("other-record", ids=[75]),
        # A request that fails whatever else is done: all but the activity at fault are had.
        Fault("html", ids=[75]),
        Fault("batch-timeout", ids=[75]),
        Fault("empty", ids=[75]),
    ],
    ids=lambda fault: fault.kind,
)
def test_lasting__one_activity(
    make_portal: MakePortal, make_client: MakeClient, fault: Fault
) -> None:
    """One activity that always fails costs itself alone, and is not remembered as missing."""
    practice = make_portal(activities=150, deleted=[7], refused=[9])
    practice.server.faults.append(fault)
    with Overtaken(75, others=100) as session:
        client = make_client(practice.url, session=session, max_wait=300.0)
        frame = read(client, range(1, 151), progress=session)
    assert frame.attrs["b24"]["missing"] == [7, 9, 75]
    practice.server.faults.clear()
    sent = posts(practice)
    assert len(read(client, range(1, 151))) == 148
    assert [i for r in practice.server.requests[sent:] for i in r.ids] == [75]


@pytest.mark.parametrize("kind", ["html", "cut-json", "empty", "batch-timeout"])
@pytest.mark.parametrize(("last", "bad"), [(2, 1), (50, 1), (50, 26), (60, 51), (51, 51)])
def test_lasting__whole_request(
    make_portal: MakePortal, make_client: MakeClient, kind: str, last: int, bad: int
) -> None:
    """It costs no more where it is the first, or only one, of the last request."""
    practice = make_portal(activities=60, deleted=(), refused=())
    practice.server.faults.append(Fault(kind, ids=[bad]))
    frame = read(make_client(practice.url, concurrency=1), range(1, last + 1))
    assert frame.attrs["b24"]["missing"] == [bad]
    assert len(frame) == last - 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [("QUERY_LIMIT_EXCEEDED", RateLimitError), ("OPERATION_TIME_LIMIT", OperatingTimeError)],
)
def test_lasting__limit(
    make_portal: MakePortal, make_client: MakeClient, code: str, kind: type[PortalError]
) -> None:
    """A limit that one command meets for ever is an error in the end; the others are kept."""
    practice = make_portal(activities=150, deleted=[7], refused=[9])
    practice.server.faults.append(Fault(code, ids=[75]))
    with Overtaken(75, others=100) as session:
        client = make_client(practice.url, session=session, max_wait=300.0)
        with pytest.raises(PortalError) as caught:
            read(client, range(1, 151), progress=session)
    assert type(caught.value) is kind
    assert_plain(caught.value)
    practice.server.faults.clear()
    sent = posts(practice)
    assert len(read(client, range(1, 151))) == 148
    assert [i for r in practice.server.requests[sent:] for i in r.ids] == [75]


# --- no way to the portal ----------------------------------------------------------------------


def test_no_way__unknown_host(make_client: MakeClient) -> None:
    """A host that no name server knows is told of by its name."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy would ask the name server in our place
        url = "https://no-such-portal.invalid/rest/1/pl4nted/"
        client = make_client(url, session=session)
        with pytest.raises(
            PortalUnavailableError, match=r"no connection to no-such-portal"
        ) as caught:
            read(client, [1, 2])
    assert caught.value.retryable
    assert_plain(caught.value)


def test_no_way__refused(make_client: MakeClient) -> None:
    """A port on which nobody listens is told of, and an older read still serves."""
    with PracticeServer(activities=60, deleted=(), refused=(), limits=None) as server:
        client = make_client(server.url)
        first = read(client, range(1, 51))
    with pytest.raises(PortalUnavailableError, match=r"no connection to 127\.0\.0\.1") as caught:
        read(client, range(1, 61))
    assert_plain(caught.value)
    assert_frame_equal(read(client, range(1, 51)), first)


def test_no_way__hangs(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A portal that never answers is given up; the error says how long it was waited for."""
    practice = make_portal(activities=20, deleted=(), refused=())
    practice.server.faults.append(Fault("hang"))
    client = make_client(practice.url, timeout=(2.0, 0.03))
    with pytest.raises(PortalUnavailableError, match=r"no answer .* 0\.03 s") as caught:
        read(client, [1, 2])
    assert_plain(caught.value)
    assert posts(practice) <= 1 + 2 * MAX_ATTEMPTS  # both together, then each by itself


def test_no_way__batch_of_calls_hangs(make_portal: MakePortal, make_client: MakeClient) -> None:
    """A batch that is never answered, whole or in halves, ends in the error that says so."""
    practice = make_portal(activities=20, deleted=(), refused=())
    practice.server.faults.append(Fault("hang"))
    client = make_client(practice.url, timeout=(2.0, 0.03))
    with pytest.raises(PortalUnavailableError, match="no answer"):
        client.call_batch({f"a{i}": (GET, {"id": i}) for i in range(1, 5)})


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}",
        "http://localhost:{other}",
        "https://acme.bitrix24.com",
        "https://acme.example.org",
        "https://127.0.0.1.example.org",
        "http://user@127.0.0.1:{other}",
        "//127.0.0.1:{other}",
        "ftp://127.0.0.1",
    ],
)
def test_redirect__refused(make_portal: MakePortal, make_client: MakeClient, location: str) -> None:
    """Nothing goes to a foreign host; the error names it and says what to do."""
    practice = make_portal(activities=60, deleted=(), refused=())
    with closing(socket.create_server(("127.0.0.1", 0))) as foreign:
        other = foreign.getsockname()[1]
        location = location.format(other=other)
        fault = Fault("redirect", location=location)
        with Started(practice.server, fault, after=1) as session:
            client = make_client(practice.url, session=session, concurrency=1)
            with pytest.raises(PortalError, match="moved to") as caught:
                read(client, range(1, 61))
        assert not caught.value.retryable
        assert "trusted_hosts" in str(caught.value)
        assert_plain(caught.value)
        assert re.sub(r"^\w*:?//(user@)?|:\d+$", "", location) in str(caught.value)
        foreign.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has connected
            foreign.accept()
    assert posts(practice) == 2
    practice.server.faults.clear()
    assert len(read(make_client(practice.url), range(1, 61))) == 60
    assert asked(practice)[60:] == list(range(51, 61))


def test_redirect__to_nowhere(make_portal: MakePortal, make_client: MakeClient) -> None:
    """An address that is none is not followed, and the error is no riddle."""
    practice = make_portal(activities=10, deleted=(), refused=())
    practice.server.faults.append(Fault("redirect", location="http://["))
    with pytest.raises(PortalError, match="cannot be asked") as caught:
        read(make_client(practice.url), [1])
    assert not caught.value.retryable
    assert_plain(caught.value)
    assert posts(practice) == 1
