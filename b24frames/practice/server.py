"""The HTTP server of the practice portal, with its credentials and request rate.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import json
import math
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from b24frames.practice.dataset import Change, Colleagues, Record, Store
from b24frames.practice.faults import Faults, Refused, Reply, Target
from b24frames.practice.formats import as_int, as_map, lower_keys, parse_query, write_date
from b24frames.practice.metering import Now, OperatingTime, RequestRate
from b24frames.practice.methods import METHODS, SCOPES, Answer, Call, Webhook, run_batch

_PATH = re.compile(r"/rest/(?:([0-9]+)/([^/]+)/)?([^/]*?)(?:\.json)?/?", re.ASCII)
_TICK = 0.01  # [s] between two checks whether to stop, or a waiting client has disconnected


@dataclass
class Request(Target):
    """One HTTP request that the server received.

    Attributes
    ----------
    http_method, path, user_agent : str
        As received; `path` without the query.
    status : int or None
        The HTTP status of the answer; None before it is sent, or if the connection was lost.
    """

    http_method: str
    path: str
    user_agent: str
    status: int | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class PracticeServer:
    """An HTTP server on this machine that implements the REST API of a portal.

    Parameters
    ----------
    activities : int, default 2000
        The number of activities; their ids are 1 to this number.
    seed : int, default 0
        The same seed gives the same records and faults.
    deleted : float or collection of int, default 0.03
        The share of ids without a record, or those ids.
    refused : float or collection of int, default 0.005
        The share of ids that ``crm.activity.get`` refuses, or those ids.
    limits : (float, float) or None, default (50, 2)
        The request rate [1]_: capacity [requests] and leak [requests per portal second].
    speed : float, default 1.0
        Portal seconds per real second.
    latency : float, default 0.0
        The duration of each HTTP request [s].
    command_seconds : float, default 0.0
        The additional duration for each command [s].
    operating_limit : float, optional
        Operating time that a method may use in ten minutes [portal s]; by default no limit.
    operating_cost : float, default 0.0
        Operating time billed for each command, besides its duration [portal s].
    webhook : Webhook
        The webhook; by default an administrator's.
    ssl_context : ssl.SSLContext, optional
        For https.
    clock : callable, optional
        Returns real seconds since any fixed moment [s].

    Attributes
    ----------
    address, url : str
        Scheme and host, and the webhook URL; known once the server has started.
    access_token : str
        The parameter ``auth`` of OAuth calls.
    faults : Faults
        Faults to simulate: append a `Fault`, or clear them.
    scopes : set of str
        The scopes of the webhook; remove some to have their methods refused.
    create, touch, delete, restore : callable
        Those of `Store`: change activities.

    Examples
    --------
    >>> with PracticeServer(activities=3, deleted=[2]) as server:
    ...     server.record(1)["ID"], server.record(2)
    ('1', None)
    """

    activities: int = 2000
    seed: int = 0
    deleted: float | Collection[int] = 0.03
    refused: float | Collection[int] = 0.005
    limits: tuple[float, float] | None = (50, 2)
    speed: float = 1.0
    latency: float = 0.0
    command_seconds: float = 0.0
    operating_limit: float | None = None
    operating_cost: float = 0.0
    webhook: Webhook = field(default_factory=Webhook)
    ssl_context: ssl.SSLContext | None = None
    clock: Now = time.monotonic

    def __post_init__(self) -> None:
        self.access_token = "practice-token"  # noqa: S105 - it guards nothing but generated data
        self.faults = Faults(self.seed)
        self.address = self.url = ""
        self.scopes = self.webhook.scopes
        self._store = Store(self.activities, self.seed, self.deleted, self.refused)
        self.create, self.touch = self._store.create, self._store.touch
        self.delete, self.restore = self._store.delete, self._store.restore
        limits = self.limits or (math.inf, 0.0)
        self._rate = RequestRate(*limits, speed=self.speed, clock=self.clock)
        self._operating = OperatingTime(self.operating_limit, speed=self.speed, clock=self.clock)
        self._let_work: Callable[[], None] = lambda: None
        self._requests: list[Request] = []
        self._http: LoopbackServer | None = None

    def start(self) -> None:
        """Listen on a free port; do nothing if it already listens."""
        if self._http is None:
            self._http = LoopbackServer(self._answer, self.ssl_context)
            scheme = "http" if self.ssl_context is None else "https"
            self.address = f"{scheme}://127.0.0.1:{self._http.server_address[1]}"
            self.url = f"{self.address}/rest/{self.webhook.user_id}/{self.webhook.secret}/"

    def stop(self) -> None:
        """Close all connections and free the port; do nothing if it is stopped."""
        http, self._http = self._http, None
        if http is not None:
            http.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def requests(self) -> Sequence[Request]:
        """The HTTP requests received so far, in order."""
        return list(self._requests)

    @property
    def refusals(self) -> int:
        """The number of requests refused for the request rate."""
        return self._rate.refusals

    def record(self, number: int) -> Record | None:
        """Return the record of an activity as sent to clients, or None."""
        # A copy, since the store shares records between portals.
        return deepcopy(self._store.record(number))

    def records(self) -> list[Record]:
        """Return the records of all activities by ascending id, to be read only."""
        with self._store.lock:
            return [self._store.record(number) or {} for number in self._store.ids()]

    @property
    def changes(self) -> Sequence[Change]:
        """The changes of activities so far, in order."""
        return list(self._store.changes)

    @contextmanager
    def work(self, seed: int = 0, every: int = 1) -> Iterator[None]:
        """Simulate colleagues who create, change and delete activities during the context.

        Some changes leave no trace in LAST_UPDATED: calls entered after they were made, and new
        owners. They are listed in `changes`.

        Parameters
        ----------
        seed : int, default 0
            The same seed makes the same changes.
        every : int, default 1
            The number of commands between two changes.

        Examples
        --------
        >>> from b24frames import practice_portal
        >>> with practice_portal(activities=9, deleted=()) as portal:
        ...     with portal.server.work(seed=1):
        ...         _ = [portal.call("server.time") for _ in range(3)]
        ...     [(change.kind, change.id) for change in portal.server.changes]
        [('deleted', 7), ('created', 10), ('changed', 9)]
        """
        self._let_work = Colleagues(self._store, seed, every).let_work
        try:
            yield
        finally:
            self._let_work = lambda: None

    def _answer(self, handler: Handler, body: bytes) -> None:
        """Answer one HTTP request."""
        request = handler.received = _read_request(handler, body)
        # Recorded before it is answered: the client may look for it as soon as it is.
        self._requests.append(request)
        # Not `sleep`: stopping the server must not wait for it.
        handler.stopping.wait(self.latency)

        def answer() -> Reply:
            try:
                answered = self.answer(request.method, request.params)
            except Refused as refused:
                return refused.reply
            return Reply(200, json.dumps(answered).encode())

        # A refused request reaches no method, and so no fault.
        try:
            self._admit(request)
            reply = self.faults.apply("request", request, answer)
        except Refused as refused:
            reply = refused.reply
        if handler.wait(reply.delay):
            reply.send(handler)

    def _admit(self, request: Request) -> None:
        """Refuse requests beyond the request rate or without a valid credential."""
        if not self._rate.admit():
            raise Refused("QUERY_LIMIT_EXCEEDED")
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        # Without a webhook in the path, the credential is an access token in the parameters.
        user, secret = match[1], unquote(match[2] or "")
        by_token = user is None and request.params.get("auth") == self.access_token
        if not by_token and (user, secret) != (str(self.webhook.user_id), self.webhook.secret):
            raise Refused("NO_AUTH_FOUND")

    def answer(self, method: str, params: Mapping[str, Any]) -> Answer:
        """Return the whole answer to a call or batch.

        Raises
        ------
        Refused
            The portal refuses the call.
        """
        started = time.time()
        if method == "batch":
            result = run_batch(lower_keys(params), self._command)
            return {"result": result, "time": _write_time(started)}
        answer = self._call(method, params)
        return answer | {"time": _write_time(started) | self._operating.report(method)}

    def _command(self, method: str, params: Mapping[str, Any]) -> Answer:
        """Return the answer to a command of a batch, which has a time even if it is refused."""
        started = time.time()
        try:
            answer = self._call(method, params)
        except Refused as refused:
            answer = {"error": refused.answer}
        # A command that is not answered has none.
        return answer and answer | {"time": _write_time(started) | self._operating.report(method)}

    def _call(self, method: str, params: Mapping[str, Any]) -> Answer:
        # `answer` handles batches, so this one is inside another.
        if method == "batch":
            raise Refused("ERROR_BATCH_METHOD_NOT_ALLOWED")
        if method not in METHODS:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        for prefix, scopes in SCOPES.items():
            if method.startswith(prefix) and not scopes & self.scopes:
                raise Refused("insufficient_scope")
        if not self._operating.admits(method):
            raise Refused("OPERATION_TIME_LIMIT")
        call = Call(method, lower_keys(params), self._store, self.webhook)
        return self.faults.apply("command", call, lambda: self._run(call))

    def _run(self, call: Call) -> Answer:
        """Return the right answer to a command, after as long as it takes."""
        self._let_work()
        if self.command_seconds and self._http is not None:
            self._http.stopping.wait(self.command_seconds)
        seconds = self.command_seconds * self.speed + self.operating_cost
        self._operating.bill(call.method, seconds)
        # A command sees one state of the data, like a database query.
        with self._store.lock:
            return METHODS[call.method](call)


def _write_time(started: float) -> dict[str, Any]:
    finished = time.time()
    return {
        "start": started,
        "finish": finished,
        "duration": finished - started,
        "processing": finished - started,
        "date_start": write_date(datetime.fromtimestamp(started, UTC)),
        "date_finish": write_date(datetime.fromtimestamp(finished, UTC)),
    }


def _read_request(handler: Handler, body: bytes) -> Request:
    """Read path, query and body of an HTTP request."""
    address = urlsplit(handler.path)
    params = parse_query(address.query)
    # Portals take parameters from query and body, in JSON or as a form.
    if "json" in handler.headers.get("Content-Type", ""):
        with suppress(ValueError):
            params |= as_map(json.loads(body))
    else:
        params |= parse_query(body.decode("utf-8", "replace"))
    match = _PATH.fullmatch(address.path)
    method = match[3].lower() if match else ""
    commands = as_map(params.get("cmd")).values() if method == "batch" else ()
    return Request(
        method=method,
        params=params,
        commands=tuple(command for command in commands if isinstance(command, str)),
        http_method=handler.command,
        path=address.path,
        user_agent=handler.headers.get("User-Agent", ""),
    )


class Handler(BaseHTTPRequestHandler):
    """The server's end of one connection.

    Attributes
    ----------
    stopping : threading.Event
        That of the server.
    received : Request
        The request that is being answered.
    """

    protocol_version = "HTTP/1.1"
    server_version = "practice"
    sys_version = ""
    # Head and body are written separately: Nagle's algorithm would delay the body.
    disable_nagle_algorithm = True
    server: LoopbackServer
    received: Request

    def setup(self) -> None:
        """Prepare the connection."""
        self.stopping = self.server.stopping
        super().setup()

    def do_POST(self) -> None:
        """Answer a request, which may have parameters in its body."""
        self.server.answer(self, self.rfile.read(as_int(self.headers.get("Content-Length"))))

    do_GET = do_POST  # noqa: N815 - the name of the standard library

    def wait(self, seconds: float) -> bool:
        """Delay the answer; return whether client and server are still there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # A waiting client sends nothing: a readable socket means that it has disconnected.
            if select.select([self.connection], [], [], 0)[0] or self.stopping.wait(_TICK):
                self.close_connection = True
                return False
        return True

    def log_message(self, *_: Any) -> None:
        """Log nothing: URLs hold the secret."""


class LoopbackServer(ThreadingTCPServer):
    """An HTTP server on a free port of the loopback interface.

    Parameters
    ----------
    answer : callable
        Answers a request, given its handler and its body.
    ssl_context : ssl.SSLContext or None
        For https.

    Attributes
    ----------
    stopping : threading.Event
        Set when the server is about to stop; ends every wait.
    """

    # No HTTPServer, which looks up the name of its address: that can take seconds.
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, answer: Callable[[Handler, bytes], None], ssl_context: ssl.SSLContext | None
    ) -> None:
        self.answer = answer
        self.stopping = threading.Event()
        self._open: set[Any] = set()
        super().__init__(("127.0.0.1", 0), Handler)
        if ssl_context is not None:
            # The handshake happens in the connection's thread: a slow client delays only itself.
            self.socket = ssl_context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self.serve_forever, args=(_TICK,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        self._open.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a bug in the server, but not a client that disconnects."""
        if not (isinstance(sys.exception(), OSError) or self.stopping.is_set()):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop answering, close every connection and free the port."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
