"""Calls and batches to one portal: POST, envelope, pacing, repetition.

References
----------
.. [1] https://apidocs.bitrix24.com/api-reference/how-to-call-rest-api/batch.html
.. [2] https://apidocs.bitrix24.com/limits.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from b24frames._version import __version__
from b24frames.credentials import Webhook, is_loopback
from b24frames.errors import (
    InvalidAnswerError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
    error_from_answer,
)
from b24frames.limits import MAX_ATTEMPTS, Clock, Limits, SystemClock, bucket_for, retry_delay
from b24frames.wire import encode_params, named_answers

MAX_COMMANDS = 50
_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"b24frames/{__version__}",
}
_log = logging.getLogger("b24frames")

Command = tuple[str, Mapping[str, Any]]
"""A REST method and its parameters: one call, alone or in a batch."""


class Portal:
    """One Bitrix24 portal, asked by one user.

    Parameters
    ----------
    webhook : str
        URL of an incoming webhook, ``https://PORTAL/rest/USER_ID/SECRET/``; a trailing method
        name is tolerated. Plain ``http://`` is accepted for loopback addresses only.
    limits : {"cloud", "enterprise", "self-hosted"} or (float, float)
        Request rate of the portal's plan [2]_: a burst of 50 then 2 requests a second
        (``"cloud"``), 250 then 5 (``"enterprise"``), none (``"self-hosted"``), or the pair
        (capacity [requests], leak [1/s]). All objects for one address share it.
    timeout : (float, float)
        Longest wait for a connection, and for an answer [s].
    session : requests.Session, optional
        For proxies, own certificates and the like; it stays the caller's to close.
    clock : Clock, optional
        What tells the time and waits; for tests.

    Attributes
    ----------
    address : str
        Scheme and host, without any secret.
    user_id : int
        The user as whom the portal is asked.
    cache_path : pathlib.Path or None
        Where reads from this portal keep their entries by default; None: the user's cache.

    Raises
    ------
    TypeError, ValueError
        A URL that is no webhook, unknown limits, or a bad timeout.

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

    cache_path: Path | None = None

    def __init__(
        self,
        webhook: str,
        *,
        limits: Limits = "cloud",
        timeout: tuple[float, float] = (10.0, 65.0),
        session: requests.Session | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._credential = Webhook(webhook)
        self._timeout = _check_timeout(timeout)
        self._bucket = bucket_for(self.address, limits)
        self._clock = clock or SystemClock()
        self._own_session = session is None
        self._session = session or requests.Session()
        host = urlsplit(self.address).hostname or ""
        # A proxy of the environment must not come between this machine and itself.
        self._proxies = {"no_proxy": host} if is_loopback(host) else None

    @property
    def address(self) -> str:
        """Scheme and host, without any secret."""
        return self._credential.address

    @property
    def user_id(self) -> int:
        """The user as whom the portal is asked."""
        return self._credential.user_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r}, user_id={self.user_id})"

    def close(self) -> None:
        """Close the connections, unless the caller's own session made them."""
        if self._own_session:
            self._session.close()

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Call one method and return the value under ``result``.

        Parameters
        ----------
        method : str
            Such as ``"crm.activity.fields"``.
        params : mapping, optional
            Its parameters, as JSON values.

        Returns
        -------
        object
            The decoded JSON value.

        Raises
        ------
        PortalError
            The portal refused the call, or could not be reached after several attempts.

        Examples
        --------
        >>> portal.call("crm.activity.get", {"id": 1})["ID"]
        '1'
        """
        return self._post(method, params or {})["result"]

    def call_batch(self, commands: Mapping[str, Command]) -> dict[str, Any]:
        """Call any number of methods, 50 in a request.

        Parameters
        ----------
        commands : mapping of str to (str, mapping)
            A method and its parameters under a name of the caller's choice.

        Returns
        -------
        dict of str to object
            Under each name, in the order given, the decoded result, or the `PortalError` that
            refused this command.

        Raises
        ------
        PortalError
            A whole request was refused, or could not be made after several attempts.

        Examples
        --------
        >>> answers = portal.call_batch({"a": ("crm.activity.get", {"id": 1})})
        >>> answers["a"]["ID"]
        '1'
        """
        answers: dict[str, Any] = {}
        for part in self.iter_batches(commands.items()):
            answers.update(part)
        return {name: answers[name] for name in commands}

    def iter_batches(
        self,
        commands: Iterable[tuple[str, Command]],
        on_request: Callable[[], None] = lambda: None,
    ) -> Iterator[dict[str, Any]]:
        """Call any number of methods and yield the settled answers of each request.

        Like `call_batch`, but what one request brought can be kept before the next is sent.
        `on_request` is called at each HTTP request that is sent.
        """
        attempts: dict[str, int] = {}
        again: dict[str, Command] = {}
        source = iter(commands)
        while group := again | dict(islice(source, MAX_COMMANDS - len(again))):
            answers = self._batch(group, on_request)
            again = {
                name: command
                for name, command in group.items()
                if isinstance(answers[name], PortalError) and answers[name].retryable
            }
            yield {name: answers[name] for name in group if name not in again}
            if not again:
                attempts.clear()
                continue
            for name in again:
                attempts[name] = attempts.get(name, 0) + 1
                if attempts[name] == MAX_ATTEMPTS:
                    raise answers[name]
            self._clock.sleep(
                max(retry_delay(attempts[name] - 1, answers[name].retry_after) for name in again)
            )

    def _batch(
        self, commands: Mapping[str, Command], on_request: Callable[[], None]
    ) -> dict[str, Any]:
        """Send up to 50 commands in one request; return the answer or error of each."""
        cmd = {
            name: f"{method}?{encode_params(params)}" for name, (method, params) in commands.items()
        }
        result = self._post("batch", {"halt": 0, "cmd": cmd}, on_request)["result"]
        if not isinstance(result, dict):
            raise InvalidAnswerError("the answer to a batch has no result", method="batch")
        answers: dict[str, Any] = {name: _unanswered(commands[name][0]) for name in commands}
        answers |= named_answers(result.get("result"), commands)
        for name, error in named_answers(result.get("result_error"), commands).items():
            answers[name] = self._error(error, method=commands[name][0])
        return answers

    def _post(
        self,
        method: str,
        params: Mapping[str, Any],
        on_request: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """POST a call until it is answered, or refused for good; return the whole answer."""
        attempt = 0
        while True:
            if self._bucket is not None:
                self._clock.sleep(self._bucket.reserve(self._clock.now()))
            on_request()
            answer = self._send(method, params)
            if isinstance(answer, dict):
                return answer
            if isinstance(answer, RateLimitError) and self._bucket is not None:
                self._bucket.fill(self._clock.now())
            delay = retry_delay(attempt, answer.retry_after)
            attempt += 1
            if not answer.retryable or attempt == MAX_ATTEMPTS:
                raise answer
            _log.info("%s; again in %.1f s", answer, delay)
            self._clock.sleep(delay)

    def _send(self, method: str, params: Mapping[str, Any]) -> dict[str, Any] | PortalError:
        """Send one HTTP request; return its answer, or the error it is.

        Errors are returned, not raised: those of requests hold the URL, and so the secret, and
        would stay reachable as the context of any error raised while handling them.
        """
        body = json.dumps(self._credential.body(params), allow_nan=False)
        try:
            response = self._session.post(
                self._credential.url(method),
                data=body,
                headers=_HEADERS,
                timeout=self._timeout,
                allow_redirects=False,
                proxies=self._proxies,
            )
            content = response.content
        except requests.RequestException as error:
            return self._connection_error(error, method)
        _log.debug("%s %s: HTTP %d", self.address, method, response.status_code)
        return self._parse_answer(response, content, method)

    def _connection_error(self, error: requests.RequestException, method: str) -> PortalError:
        """Describe a failed connection without the words of requests, which hold the URL."""
        if isinstance(error, requests.exceptions.SSLError):
            refused = PortalUnavailableError(
                f"the TLS certificate of {self.address} cannot be verified", method=method
            )
            refused.retryable = False
            return refused
        if isinstance(error, requests.Timeout):
            connect, read = self._timeout
            words = f"no answer from {self.address} within {connect:g} s + {read:g} s"
        elif isinstance(error, requests.ConnectionError):
            words = f"no connection to {self.address}"
        else:
            words = f"the answer of {self.address} could not be read ({type(error).__name__})"
        return PortalUnavailableError(words, method=method)

    def _parse_answer(
        self, response: requests.Response, content: bytes, method: str
    ) -> dict[str, Any] | PortalError:
        """Read the envelope of an answer: ``result``, or the error it tells of."""
        status = response.status_code
        if 300 <= status < 400:
            host = urlsplit(response.headers.get("Location", "")).hostname or "an unknown address"
            words = (
                f"the portal has moved to {host}: make the Portal with a webhook of that address"
            )
            return PortalError(words, http_status=status, method=method)
        try:
            # surrogateescape keeps bytes that are no UTF-8, so one text cannot cost the answer.
            answer = json.loads(content.decode("utf-8", "surrogateescape"))
        except ValueError:
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            return self._error(
                answer,
                method=method,
                http_status=status,
                retry_after=_seconds(response.headers.get("Retry-After")),
            )
        if isinstance(answer, dict) and "result" in answer and status < 400:
            return answer
        kind = PortalUnavailableError if status >= 500 else InvalidAnswerError
        return kind("the answer is not of the REST API's form", http_status=status, method=method)

    def _error(self, answer: object, **facts: Any) -> PortalError:
        """Make the error that an answer is; the portal's words may repeat the address called."""
        if not isinstance(answer, dict):
            return InvalidAnswerError("an error without a description", **facts)
        words = {key: self._credential.redact(str(answer.get(key) or "")) for key in _ERROR_KEYS}
        return error_from_answer(words, **facts)


_ERROR_KEYS = ("error", "error_description")


def _unanswered(method: str) -> PortalError:
    """Return the error of a command of which a batch's answer says nothing."""
    return InvalidAnswerError("the batch was answered without this command", method=method)


def _seconds(header: str | None) -> float | None:
    """Read a Retry-After header that is given in seconds."""
    return float(header) if header is not None and header.isdigit() else None


def _check_timeout(timeout: tuple[float, float]) -> tuple[float, float]:
    """Return (connect, read) seconds, or raise."""
    try:
        connect, read = (float(seconds) for seconds in timeout)
    except (TypeError, ValueError):
        connect = read = 0.0
    if not (connect > 0 and read > 0):
        raise ValueError(f"timeout={timeout!r} is not a pair (connect, read) of positive seconds")
    return connect, read
