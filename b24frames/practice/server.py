"""The HTTP server of the practice portal, with its credentials and request rate.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from b24frames.practice.dataset import Change, Colleagues, Record, Store
from b24frames.practice.faults import Faults, Refused, Reply, Target
from b24frames.practice.formats import as_int, as_map, parse_query
from b24frames.practice.metering import Now, OperatingTime, RequestRate
from b24frames.practice.methods import Dispatcher, Webhook

_PATH = re.compile(r"/rest/(?:([0-9]+)/([^/]+)/)?([^/]*?)(?:\.json)?/?", re.ASCII)
_JOIN_TIMEOUT = 5.0  # [s]
_TICK = 0.02  # [s] between two checks whether a waiting client has disconnected


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
    webhook : Webhook, optional
        By default an administrator's.
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
    refusals : int
        The number of requests refused for the request rate.
    scopes : set of str
        The scopes of the webhook; remove some to have their methods refused.

    Examples
    --------
    >>> with PracticeServer(activities=3, deleted=[2]) as server:
    ...     server.record(1)["ID"], server.record(2)
    ('1', None)
    """

    def __init__(
        self,
        *,
        activities: int = 2000,
        seed: int = 0,
        deleted: float | Collection[int] = 0.03,
        refused: float | Collection[int] = 0.005,
        limits: tuple[float, float] | None = (50, 2),
        speed: float = 1.0,
        latency: float = 0.0,
        command_seconds: float = 0.0,
        operating_limit: float | None = None,
        operating_cost: float = 0.0,
        webhook: Webhook | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: Now = time.monotonic,
    ) -> None:
        self.access_token = "practice-token"  # noqa: S105 - it guards nothing but generated data
        self.faults = Faults(seed)
        self.refusals = 0
        self.address = self.url = ""
        self._webhook = webhook or Webhook()
        self.scopes = self._webhook.scopes
        self._latency = latency
        self._command_seconds = command_seconds
        self._operating_cost = operating_cost
        self._speed = speed
        self._ssl_context = ssl_context
        self._store = Store(activities, seed, deleted, refused)
        self._rate = limits and RequestRate(*limits, speed=speed, clock=clock)
        operating = OperatingTime(operating_limit, speed=speed, clock=clock)
        self._dispatcher = Dispatcher(
            self._store,
            self.faults,
            operating,
            webhook=self._webhook,
            take_time=self._take_time,
        )
        self._colleagues: Colleagues | None = None
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._http: LoopbackServer | None = None

    def start(self) -> None:
        """Listen on a free port; do nothing if it already listens."""
        if self._http is None:
            self._http = LoopbackServer(self._answer, self._ssl_context)
            scheme = "http" if self._ssl_context is None else "https"
            self.address = f"{scheme}://127.0.0.1:{self._http.server_address[1]}"
            self.url = f"{self.address}/rest/{self._webhook.user_id}/{self._webhook.secret}/"

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
        with self._lock:
            return list(self._requests)

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
        with self._store.lock:
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
        self._colleagues = Colleagues(self._store, seed, every)
        try:
            yield
        finally:
            self._colleagues = None

    def create(self, **fields: object) -> int:
        """Create an activity with these fields, and return its id."""
        return self._store.create(**fields)

    def touch(self, number: int, **fields: object) -> None:
        """Change fields of an activity, and LAST_UPDATED unless it is among them.

        Raises
        ------
        KeyError
            There is no such activity.
        """
        self._store.touch(number, **fields)

    def delete(self, number: int) -> None:
        """Delete an activity."""
        self._store.delete(number)

    def restore(self, number: int) -> None:
        """Restore a deleted activity."""
        self._store.restore(number)

    def _answer(self, handler: Handler, body: bytes) -> None:
        """Answer one HTTP request."""
        request = _read_request(handler, body)
        with self._lock:
            # Recorded before it is answered: the client may look for it as soon as it is.
            self._requests.append(request)
        handler.on_status = partial(setattr, request, "status")
        # Not `sleep`: stopping the server must not wait for it.
        handler.stopping.wait(self._latency)
        # A refused request reaches no method, and so no fault.
        try:
            self._admit(request)
            reply = self.faults.apply("request", request, lambda: self._run(request))
        except Refused as refused:
            reply = refused.reply()
        if handler.wait(reply.delay):
            reply.send(handler)

    def _run(self, request: Request) -> Reply:
        """Return the right answer to a request."""
        try:
            answer = self._dispatcher.answer(request.method, request.params)
        except Refused as refused:
            return refused.reply()
        return Reply(200, json.dumps(answer).encode())

    def _admit(self, request: Request) -> None:
        """Refuse requests beyond the request rate or without a valid credential."""
        if self._rate is not None and not self._rate.admit():
            with self._lock:
                self.refusals += 1
            raise Refused("QUERY_LIMIT_EXCEEDED")
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        # Without a webhook in the path, the credential is an access token in the parameters.
        if match[1] is None:
            known = request.params.get("auth") == self.access_token
        else:
            user, secret = str(self._webhook.user_id), self._webhook.secret
            known = (match[1], unquote(match[2])) == (user, secret)
        if not known:
            raise Refused("NO_AUTH_FOUND")

    def _take_time(self) -> float:
        """Wait as long as a command takes; return the operating time to bill [portal s]."""
        # Bound once: another thread may end the context in between.
        colleagues = self._colleagues
        if colleagues is not None:
            colleagues.let_work()
        if self._command_seconds and self._http is not None:
            self._http.stopping.wait(self._command_seconds)
        return self._command_seconds * self._speed + self._operating_cost


def _read_request(handler: Handler, body: bytes) -> Request:
    """Read path, query and body of an HTTP request."""
    address = urlsplit(handler.path)
    params = parse_query(address.query)
    # Portals take parameters from query and body, in JSON or as a form.
    if "json" in handler.headers.get("Content-Type", ""):
        params |= _read_json(body)
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


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        return as_map(json.loads(body))
    except ValueError:
        return {}


class Handler(BaseHTTPRequestHandler):
    """The server's end of one connection.

    Attributes
    ----------
    stopping : threading.Event
        That of the server.
    on_status : callable
        Called with the status of an answer before it is sent.
    """

    protocol_version = "HTTP/1.1"
    server_version = "practice"
    sys_version = ""
    # Head and body are written separately: Nagle's algorithm would delay the body.
    disable_nagle_algorithm = True
    server: LoopbackServer
    on_status: Callable[[int], None] = staticmethod(lambda _: None)

    def setup(self) -> None:
        """Register the connection with the server."""
        self.stopping = self.server.stopping
        super().setup()
        self.server.open[threading.current_thread()] = self.connection
        # The server may have closed the others before this one was registered.
        if self.stopping.is_set():
            _shut(self.connection)

    def finish(self) -> None:
        """Unregister the connection."""
        self.server.open.pop(threading.current_thread(), None)
        super().finish()

    def do_POST(self) -> None:
        """Answer a request, which may have parameters in its body."""
        self.server.answer(self, self.rfile.read(as_int(self.headers.get("Content-Length"))))

    do_GET = do_POST  # noqa: N815 - the name of the standard library

    def send_response(self, code: int, message: str | None = None) -> None:
        """Start an answer."""
        self.on_status(code)
        super().send_response(code, message)

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
        self.open: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", 0), Handler)
        if ssl_context is not None:
            # The handshake happens in the connection's thread: a slow client delays only itself.
            self.socket = ssl_context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Accept connections until the server is about to stop."""
        while not self.stopping.is_set():
            self.handle_request()

    def verify_request(self, *_: Any) -> bool:
        """Refuse connections once the server is about to stop."""
        return not self.stopping.is_set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a bug in the server, but not a client that disconnects."""
        if not (isinstance(sys.exception(), OSError) or self.stopping.is_set()):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop answering, close every connection and free the port."""
        self.stopping.set()
        # `serve` blocks until a connection arrives.
        socket.create_connection(("127.0.0.1", self.server_address[1])).close()
        self._thread.join()
        self.server_close()
        for thread, connection in list(self.open.items()):
            _shut(connection)
            thread.join(_JOIN_TIMEOUT)


def _shut(connection: socket.socket) -> None:
    """End a connection that another thread may be reading from."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
