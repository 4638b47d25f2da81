"""`Portal`: concurrent calls and batches to one Bitrix24 portal.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
.. [2] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, Self

import requests

from b24frames.credentials import (
    AUTHORIZATION_SERVER,
    AccessToken,
    Credential,
    TokenPair,
    Webhook,
    scrub_traceback,
)
from b24frames.errors import PortalError
from b24frames.messages import facts_html, short_repr
from b24frames.portal.commands import Command, CommandQueue
from b24frames.portal.connections import make_session
from b24frames.portal.http import Http
from b24frames.portal.limits import Limits, OperatingTime, parse_limits
from b24frames.portal.pacing import Clock, RequestRate, SystemClock
from b24frames.portal.scheduler import Run, Scheduler

WEBHOOK_VARIABLE = "B24_WEBHOOK_URL"
# The method becomes a part of the URL, and must not change its meaning.
_METHOD = re.compile(r"[A-Za-z0-9_.]+")
_ACCEPTED = "accepted are str, int, finite float, bool, None, and lists and dicts of these"
# Concurrent requests by default: at most, and where no request rate sets the pace.
_MOST, _UNPACED = 50, 16


class Portal:
    """One Bitrix24 portal, called as one user.

    Parameters
    ----------
    webhook : str
        URL of an incoming webhook, ``https://PORTAL/rest/USER_ID/SECRET/``; a trailing method
        name is tolerated. Plain ``http://`` is accepted for loopback addresses only.
    limits : {"cloud", "enterprise", "self-hosted"} or (float, float)
        Request rate of the portal's plan [2]_: a burst of 50 then 2 requests a second
        (``"cloud"``), 250 then 5 (``"enterprise"``), none (``"self-hosted"``), or the pair
        (capacity [requests], leak [1/s]). All threads and processes of the machine share it.
    timeout : (float, float)
        Timeouts of connecting, and of reading an answer [s].
    session : requests.Session, optional
        For proxies, certificates and the like, which take precedence over the environment; the
        caller closes it. One of requests_cache is refused: it would store the secret in a file.
    concurrency : int, optional
        The largest number of concurrent requests; by default the burst of the plan, up to 50, or
        16 for a plan without limit.
    max_wait : float, default 900
        How long to retry without any success before a transient error is raised [s].
    operating_limit : float or None, default 480
        Operating time that a method may use in ten minutes [s]; None for no limit.
    trusted_hosts : iterable of str
        Hosts to which a renamed portal may redirect, besides those of the cloud.
    clock : Clock, optional
        Tells the time and waits; for tests.

    Attributes
    ----------
    address : str
        Scheme and host, without any secret.
    user_id : int
        The user who makes the calls.
    folder : pathlib.Path or None
        Default folder of cache and request rate; None for the user's cache folder.

    Raises
    ------
    TypeError, ValueError
        A URL that is no webhook, or another invalid argument.

    Notes
    -----
    Transient errors are repeated with growing delays, final ones are raised at once. In a batch
    only the commands that failed are sent again. The secret is in no repr, message or log line.

    References
    ----------
    .. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
    .. [2] https://apidocs.bitrix24.com/limits.html

    Examples
    --------
    >>> Portal("https://acme.bitrix24.com/rest/1/abc123/")
    Portal('https://acme.bitrix24.com', user_id=1)
    """

    folder: Path | None = None

    @scrub_traceback
    def __init__(
        self,
        webhook: str | Credential,
        *,
        limits: Limits = "cloud",
        timeout: tuple[float, float] = (10.0, 65.0),
        session: requests.Session | None = None,
        concurrency: int | None = None,
        max_wait: float = 900.0,
        operating_limit: float | None = 480.0,
        trusted_hosts: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._credential = webhook if isinstance(webhook, Credential) else Webhook(webhook)
        self._bucket = bucket = parse_limits(limits)
        usual = _UNPACED if bucket is None else min(_MOST, int(bucket.capacity))
        concurrency = usual if concurrency is None else concurrency
        self._concurrency = check_positive("concurrency", concurrency, whole=True)
        if operating_limit is not None:
            check_positive("operating_limit", operating_limit)
        self._own_session = session is None
        # Not by its type, which requests_cache may have replaced.
        is_session = hasattr(session, "get_adapter") and not isinstance(session, type)
        if session is not None and not is_session:
            raise TypeError(f"session={short_repr(session)} is not a requests.Session")
        self._session = make_session(self._concurrency) if session is None else session
        self._process = os.getpid()
        self._http = Http(self._credential, check_timeout(timeout), self._session, trusted_hosts)
        self._scheduler = Scheduler(
            self.address,
            self._http.post,
            # A function, since a subclass sets the folder after this.
            None if bucket is None else RequestRate(bucket, self.address, lambda: self.folder),
            OperatingTime(operating_limit),
            clock or SystemClock(),
            check_positive("max_wait", max_wait),
            # More requests than pooled connections would reconnect each time.
            int(min(self._concurrency, self._http.connections.most(self.address))),
        )

    @classmethod
    @scrub_traceback
    def from_oauth(
        cls,
        address: str,
        *,
        access_token: str,
        user_id: int,
        refresh_token: str = "",
        client_id: str = "",
        client_secret: str = "",
        on_refresh: Callable[[TokenPair], object] | None = None,
        authorization_server: str = AUTHORIZATION_SERVER,
        **options: Any,
    ) -> Self:
        """Make a portal that is called with an OAuth access token.

        Parameters
        ----------
        address : str
            ``https://PORTAL``.
        access_token : str
            The token that the application was given.
        user_id : int
            The user who granted the token: cache entries are kept by portal and user.
        refresh_token : str
            Without it, an expired access token raises `errors.AuthenticationError`.
        client_id, client_secret : str
            Those of the application; needed for a refresh.
        on_refresh : callable, optional
            Called with the new pair (access token, refresh token) before a read goes on: store it,
            since the old pair is invalid then.
        authorization_server : str
            The server that renews tokens.
        **options
            The keywords of `Portal`.

        Returns
        -------
        Portal
            A portal that renews its token when it expires.

        Examples
        --------
        >>> Portal.from_oauth("https://acme.bitrix24.com", access_token="abc", user_id=5)
        Portal('https://acme.bitrix24.com', user_id=5)
        """
        credential = AccessToken(
            address,
            TokenPair(access_token, refresh_token),
            client_id=client_id,
            client_secret=client_secret,
            user_id=user_id,
            on_refresh=on_refresh,
            authorization_server=authorization_server,
        )
        return cls(credential, **options)

    @property
    def address(self) -> str:
        """Scheme and host, without any secret."""
        return self._credential.address

    @property
    def user_id(self) -> int:
        """The user who makes the calls."""
        return self._credential.user_id

    def __repr__(self) -> str:
        # Debuggers show objects whose __init__ has raised.
        if not hasattr(self, "_credential"):
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}({self.address!r}, user_id={self.user_id})"

    def _repr_html_(self) -> str | None:
        if not hasattr(self, "_bucket"):  # as in __repr__
            return None
        rate = "no limit"
        if self._bucket is not None:
            rate = f"{self._bucket.capacity:g} at once, then {self._bucket.leak:g} a second"
        facts = [("portal", self.address), ("user", str(self.user_id)), ("requests", rate)]
        return facts_html(facts)

    def close(self) -> None:
        """Close the connections, unless the caller's own session made them."""
        if self._own_session:
            self._session.close()

    @scrub_traceback
    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Call one method and return the value under ``result``.

        Parameters
        ----------
        method : str
            The name of a method, such as ``"crm.activity.fields"``.
        params : mapping, optional
            Its parameters: str, int, finite float, bool, None, and lists and dicts of these.

        Returns
        -------
        object
            The decoded JSON value.

        Raises
        ------
        TypeError, ValueError
            Invalid method or parameters; before any request.
        PortalError
            The portal refused the call, or could not be reached after several attempts.

        Examples
        --------
        >>> portal.call("crm.activity.get", {"id": 1})["ID"]
        '1'
        """
        method, params = parse_command((method, {} if params is None else params))
        commands = CommandQueue([("", (method, params))])
        answer = _all_answers(self.run(commands, in_batches=False))[""]
        if isinstance(answer, PortalError):
            raise answer
        return answer

    @scrub_traceback
    def call_batch(self, commands: Mapping[str, Command]) -> dict[str, Any]:
        """Call any number of methods, 50 per request.

        Parameters
        ----------
        commands : mapping of str to (str, mapping)
            Methods and their parameters, each under a name of your choice.

        Returns
        -------
        dict of str to object
            Under each name, in the order given, the decoded result, or the `errors.PortalError`
            with which this command failed; a transient one after several attempts.

        Raises
        ------
        TypeError, ValueError
            Invalid methods or parameters; before any request.
        PortalError
            A whole request was refused, or failed after several attempts.

        Examples
        --------
        >>> answers = portal.call_batch({"a": ("crm.activity.get", {"id": 1})})
        >>> answers["a"]["ID"]
        '1'
        """
        if not isinstance(commands, Mapping):
            raise TypeError(f"commands={short_repr(commands)} is not a dict of name to command")
        for name in commands:
            if not isinstance(name, str):
                raise TypeError(f"the name {short_repr(name)} of a command is not a str")
        # All are checked before the first is sent.
        parsed = {name: parse_command(command) for name, command in commands.items()}
        answers = _all_answers(self.run(CommandQueue(parsed.items())))
        return {name: answers[name] for name in commands}

    def run(
        self, commands: CommandQueue, *, in_batches: bool = True, concurrency: int | None = None
    ) -> Run:
        """Return a run of commands that may grow while it is iterated over; internal.

        Parameters
        ----------
        commands : CommandQueue
            Methods and their parameters, each under a name.
        in_batches : bool, default True
            Whether up to 50 of them go in a request.
        concurrency : int, optional
            The largest number of concurrent requests, if smaller than the portal's.

        Returns
        -------
        Run
            To be iterated over once, for the answers.
        """
        if self._process != os.getpid():
            # Two processes that share a connection would receive each other's answers.
            self._process = os.getpid()
            self._http.connections.forget()
            if isinstance(self._credential, AccessToken):
                self._credential.after_fork()
            self._scheduler = self._scheduler.after_fork()
        return Run(self._scheduler, commands, in_batches=in_batches, most=concurrency)


def _all_answers(run: Run) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for settled in run:
        answers |= settled
    return answers


@scrub_traceback
def as_portal(portal: object) -> Portal:
    """Return a portal, the one of a webhook URL, or of the URL in the environment."""
    if isinstance(portal, Portal):
        return portal
    webhook = portal
    if webhook is None:
        webhook = os.environ.get(WEBHOOK_VARIABLE)
        if not webhook:
            raise ValueError(
                f"no portal: set the environment variable {WEBHOOK_VARIABLE} to "
                "https://PORTAL/rest/USER_ID/SECRET/, or name a portal, such as "
                "b24frames.practice_portal() (on the command line: --portal or --practice)"
            )
    # The type alone: the value may hold a secret.
    if not isinstance(webhook, str):
        kind = type(webhook).__name__
        raise TypeError(f"portal is of type {kind}; accepted are a Portal, a webhook URL or None")
    return Portal(webhook)


def parse_command(command: object) -> tuple[str, dict[str, Any]]:
    """Return a method and its parameters as JSON values, or raise.

    Examples
    --------
    >>> parse_command(("crm.activity.list", {"filter": {"ID": (1, 2)}}))
    ('crm.activity.list', {'filter': {'ID': [1, 2]}})
    """
    if not isinstance(command, (tuple, list)) or len(command) != 2:
        raise TypeError(f"{short_repr(command)} is not a pair (method, parameters)")
    method, params = command
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise ValueError(f"{short_repr(method)} is not a method, such as 'crm.activity.get'")
    if not isinstance(params, Mapping):
        raise TypeError(f"the parameters of {method} are a {type(params).__name__}, not a mapping")
    try:
        return method, _as_json(params)
    except TypeError as error:
        raise TypeError(f"the parameters of {method} have {error}; {_ACCEPTED}") from None


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(part) for part in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    # NumPy's numbers, which iterating over an index gives, are Integral or Real, too.
    if isinstance(value, Integral):
        return int(value)
    # JSON has no NaN or infinity.
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    raise TypeError(f"{short_repr(value)} (a {type(value).__name__})")


def check_positive(name: str, value: Any, *, whole: bool = False) -> Any:
    """Return a positive number, or raise."""
    kind: Any = Integral if whole else Real
    # `not value > 0` also refuses NaN.
    if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
        number = "whole number" if whole else "number"
        raise ValueError(f"{name}={short_repr(value)} is not a positive {number}")
    return int(value) if whole else float(value)


def check_timeout(timeout: tuple[float, float]) -> tuple[float, float]:
    """Return (connect, read) seconds, or raise."""
    pair = timeout if isinstance(timeout, (tuple, list)) and len(timeout) == 2 else (0.0, 0.0)
    is_number = [isinstance(part, Real) and not isinstance(part, bool) for part in pair]
    connect, read = pair if all(is_number) else (0.0, 0.0)
    if not (0 < connect < TIMEOUT_MAX and 0 < read < TIMEOUT_MAX):
        given = short_repr(timeout)
        raise ValueError(f"timeout={given} is not a pair (connect, read) of positive seconds")
    return connect, read
