"""The practice portal's server: credentials, request rate, faults, and a record of it all.

References
----------
.. [1] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from b24frames.practice.dispatch import Dispatcher
from b24frames.practice.draft import Record
from b24frames.practice.effects import change_reply, reply_instead, send_badly, write_json
from b24frames.practice.faults import Faults, Place, Refused
from b24frames.practice.forms import as_map, lower_keys, parse_query
from b24frames.practice.limits import Now, OperatingTime, RequestRate
from b24frames.practice.methods import activity_id
from b24frames.practice.store import Store
from b24frames.practice.transport import Handler, LoopbackServer, Reply

_PATH = re.compile(r"/rest/(?:([0-9]+)/([^/]+)/)?([^/]*?)(?:\.json)?/?", re.ASCII)


@dataclass(frozen=True)
class Request:
    """One HTTP request that the server received.

    Attributes
    ----------
    method : str
        The REST method, in lower case; empty where the path names none.
    params : dict of str to object
        The parameters, of body and query.
    commands : tuple of str
        The commands of a batch.
    http_method, path, user_agent : str
        As they came; `path` without the query.
    status : int or None
        HTTP status of the answer; None while there is none, and where the connection was lost.
    """

    method: str
    params: dict[str, Any]
    commands: tuple[str, ...]
    http_method: str
    path: str
    user_agent: str
    status: int | None = None

    @cached_property
    def ids(self) -> frozenset[int]:
        """The activities that the request is about."""
        calls = [parse_query(command.partition("?")[2]) for command in self.commands]
        calls = calls or [self.params]
        found = (activity_id(lower_keys(call)) for call in calls)
        return frozenset(number for number in found if number is not None)


class PracticeServer:
    """An HTTP server on this machine that speaks the protocol of a portal.

    Parameters
    ----------
    activities : int, default 2000
        How many activities there are; their ids are 1 to this number.
    seed : int, default 0
        The same seed gives the same records and faults.
    deleted : float or collection of int, default 0.03
        The share of ids without a record, or those ids.
    refused : float or collection of int, default 0.005
        The share of ids that ``crm.activity.get`` refuses, or those ids.
    limits : (float, float) or None, default (50, 2)
        The request rate [1]_: capacity [requests] and leak [requests per portal second].
    speed : float, default 1.0
        How many portal seconds pass in one real second.
    latency : float, default 0.0
        How long each HTTP request takes [s].
    command_seconds : float, default 0.0
        How much longer it takes for each command [s].
    operating_limit : float, optional
        Operating time that a method may use in ten minutes [portal s]; by default no limit.
    operating_cost : float, default 0.0
        Operating time that a command is billed, besides what it takes [portal s].
    secret : str, default "practice"
        The secret of the webhook.
    user_id : int, default 1
        The user as whom the webhook acts.
    ssl_context : ssl.SSLContext, optional
        For https.
    clock : callable, optional
        Returns real seconds since any fixed moment [s].

    Attributes
    ----------
    address, url : str
        Scheme and host, and the webhook URL; known once the server has started.
    access_token : str
        What OAuth calls give as ``auth``.
    faults : Faults
        What goes wrong: append `Fault` objects, or clear it.
    refusals : int
        How many requests the request rate refused.

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
        secret: str = "practice",  # noqa: S107 - it guards nothing but generated data
        user_id: int = 1,
        ssl_context: ssl.SSLContext | None = None,
        clock: Now = time.monotonic,
    ) -> None:
        self.access_token = "practice-token"  # noqa: S105 - like the secret above
        self.faults = Faults(seed)
        self.refusals = 0
        self.address = self.url = ""
        self._secret = secret
        self._user_id = user_id
        self._latency = latency
        self._command_seconds = command_seconds
        self._operating_cost = operating_cost
        self._speed = speed
        self._ssl_context = ssl_context
        self._store = Store(activities, seed, deleted, refused)
        self._rate = limits and RequestRate(*limits, speed=speed, clock=clock)
        operating = OperatingTime(operating_limit, speed=speed, clock=clock)
        self._dispatcher = Dispatcher(
            self._store, self.faults, operating, user_id=user_id, take_time=self._take_time
        )
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._http: LoopbackServer | None = None

    def start(self) -> None:
        """Listen on a free port; nothing happens where it does already."""
        if self._http is None:
            self._http = LoopbackServer(self._answer, self._ssl_context)
            scheme = "http" if self._ssl_context is None else "https"
            self.address = f"{scheme}://127.0.0.1:{self._http.server_port}"
            self.url = f"{self.address}/rest/{self._user_id}/{self._secret}/"

    def stop(self) -> None:
        """Close all connections and free the port; nothing happens where it is free already."""
        http, self._http = self._http, None
        if http is not None:
            http.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def requests(self) -> Sequence[Request]:
        """The HTTP requests received so far, in order."""
        with self._lock:
            return list(self._requests)

    def record(self, number: int) -> Record | None:
        """Return the record of an activity as it goes over the wire, or None."""
        return deepcopy(self._store.record(number))

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
        """Bring a deleted activity back."""
        self._store.restore(number)

    def _answer(self, handler: Handler, body: bytes) -> None:
        """Answer one HTTP request."""
        request = _read_request(handler, body)
        with self._lock:
            place = len(self._requests)
            self._requests.append(request)
        handler.on_status = partial(self._note_status, place)
        handler.stopping.wait(self._latency)
        reply = self._reply(request)
        fault = self.faults.take(Place.SENDING, request)
        if fault is None:
            handler.send(reply)
        else:
            send_badly(fault, handler, reply)

    def _note_status(self, place: int, status: int) -> None:
        """Note the status of the answer to a request."""
        with self._lock:
            self._requests[place] = replace(self._requests[place], status=status)

    def _reply(self, request: Request) -> Reply:
        """Return the answer to a request, with what goes wrong."""
        try:
            self._admit(request)
            fault = self.faults.take(Place.INSTEAD, request)
            if fault is not None:
                return reply_instead(fault, request.path)
            answer = self._dispatcher.answer(request.method, request.params)
            reply = Reply(200, write_json(answer))
        except Refused as refused:
            reply = Reply(refused.status, write_json(refused.answer()))
        fault = self.faults.take(Place.ANSWER, request)
        return reply if fault is None else change_reply(fault, reply)

    def _admit(self, request: Request) -> None:
        """Refuse what is beyond the request rate, or without a valid credential."""
        if self._rate is not None and not self._rate.admit():
            with self._lock:
                self.refusals += 1
            raise Refused("QUERY_LIMIT_EXCEEDED")
        match = _PATH.fullmatch(request.path)
        if match is None:
            raise Refused("ERROR_METHOD_NOT_FOUND")
        if match[1] is None:
            known = request.params.get("auth") == self.access_token
        else:
            known = (match[1], unquote(match[2])) == (str(self._user_id), self._secret)
        if not known:
            raise Refused("NO_AUTH_FOUND")

    def _take_time(self) -> float:
        """Wait as long as a command takes; return what that is billed [portal s]."""
        if self._command_seconds and self._http is not None:
            self._http.stopping.wait(self._command_seconds)
        return self._command_seconds * self._speed + self._operating_cost


def _read_request(handler: Handler, body: bytes) -> Request:
    """Read path, query and body of an HTTP request."""
    address = urlsplit(handler.path)
    params = parse_query(address.query)
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
    """Return the parameters of a JSON body; none where it is not an object."""
    try:
        return as_map(json.loads(body))
    except ValueError:
        return {}
