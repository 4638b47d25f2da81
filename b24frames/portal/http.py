"""One HTTP request to a portal and its answer: POST, redirect, token refresh, envelope.

Errors are returned, not raised, up to the end of this module: those of requests hold the URL, and
so the secret, and would stay reachable as the context of any error raised while handling them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests

from b24frames.credentials import AccessToken, Credential, TokenPair, is_loopback, redact_logs
from b24frames.errors import (
    WEB_PAGE,
    AuthenticationError,
    InvalidAnswerError,
    PortalError,
    PortalUnavailableError,
    error_from_answer,
)
from b24frames.messages import one_line, short_repr
from b24frames.portal.commands import Answer, Command, batch_params, has_expired, named_answers
from b24frames.portal.connections import STATUSES_THAT_PASS, Connections

_ERROR_KEYS = ("error", "error_description")
# Where Bitrix24 hosts portals: NAME.bitrix24.ZONE.
_CLOUD_ZONES = frozenset(
    "com ru eu de fr es it pl in id ua by kz cn jp vn mx co uk ca us com.br com.tr com.tw".split()
)
_CLOUD_NAME = re.compile(r"[a-z0-9-]+")
# A renamed portal needs one redirect, a missing slash another; beyond that it is a loop.
_MOST_REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}
_LOGIN = re.compile("/(?:auth|login)", re.IGNORECASE)
_log = logging.getLogger("b24frames")


class Http:
    """The HTTP interface of one portal; safe to use from several threads.

    Parameters
    ----------
    credential : Credential
        Address and secret.
    timeout : (float, float)
        Longest wait for a connection, and for an answer [s].
    session : requests.Session
        Shared by all threads.
    trusted_hosts : iterable of str
        Hosts to which a renamed portal may redirect, besides those of the cloud.

    Attributes
    ----------
    address : str
        Where the portal is now: differs from the address given once it has moved.
    connections : Connections
        Its pool.
    """

    def __init__(
        self,
        credential: Credential,
        timeout: tuple[float, float],
        session: requests.Session,
        trusted_hosts: Iterable[str] = (),
    ) -> None:
        self._credential = credential
        self.connections = Connections(session, timeout)
        self._trusted_hosts = _check_hosts(trusted_hosts)
        self.address = credential.address
        # Some web servers redirect a path without a slash at its end: it is added from then on.
        self._slash = ""
        redact_logs()

    def post(
        self, commands: Mapping[str, Command], in_batch: bool, expired: int | None = None
    ) -> tuple[Answer | PortalError, int]:
        """Send commands once, in a batch or a single one directly.

        Parameters
        ----------
        commands : mapping of str to Command
            At most 50; exactly one without a batch.
        in_batch : bool
            Whether they are sent as a batch.
        expired : int, optional
            The number of renewals after which the access token was found expired: it is renewed
            first, unless another thread has done so since.

        Returns
        -------
        Answer or PortalError
            The answer to each command, or why the whole request was refused.
        int
            How often the token had been renewed when the request was sent.
        """
        method = "batch" if in_batch else next(iter(commands.values()))[0]
        params = batch_params(commands) if in_batch else next(iter(commands.values()))[1]
        if expired is not None and (refused := self._renew(expired, method)) is not None:
            # An outage passes; what is refused for good is the answer to these commands alone.
            outcome = refused if refused.retryable else Answer(dict.fromkeys(commands, refused))
            return outcome, expired
        renewals = self._credential.renewals
        answer = self._post_once(method, self._credential.body(params))
        if isinstance(answer, PortalError) and has_expired(answer):
            if (refused := self._renew(renewals, method)) is not None:
                return refused, renewals
            renewals = self._credential.renewals
            answer = self._post_once(method, self._credential.body(params))
        if isinstance(answer, PortalError):
            return answer, renewals
        if in_batch:
            return self._read_batch(answer["result"], commands, answer.get("time")), renewals
        (name,) = commands
        totals = {name: answer.get("total")}
        return Answer({name: answer["result"]}, [(method, answer.get("time"))], totals), renewals

    def _read_batch(
        self, result: object, commands: Mapping[str, Command], time: object
    ) -> Answer | PortalError:
        """Return what a batch answered to each command."""
        if not isinstance(result, dict):
            return InvalidAnswerError("the answer to a batch has no result", method="batch")
        answers = named_answers(result.get("result"), commands)
        for name, error in named_answers(result.get("result_error"), commands).items():
            answers[name] = self._error(error, method=commands[name][0])
        # Every command needs an outcome, or it would be neither repeated nor reported.
        for name, (method, _) in commands.items():
            if name not in answers:
                words = "the batch was answered without this command"
                answers[name] = InvalidAnswerError(words, method=method)
        times = named_answers(result.get("result_time"), commands)
        own_times = [(commands[name][0], part) for name, part in times.items()]
        totals = named_answers(result.get("result_total"), commands)
        return Answer(answers, [("batch", time), *own_times], totals)

    def _post_once(self, method: str, body: dict[str, Any]) -> dict[str, Any] | PortalError:
        """POST, and repeat it at the target of a trusted redirect."""
        # Not left to requests: it would turn the POST into a GET, and carry the secret anywhere.
        data, status = json.dumps(body, allow_nan=False), 0
        for _ in range(_MOST_REDIRECTS + 1):
            url = f"{self.address}{self._credential.path(method)}{self._slash}"
            response = self.connections.send("POST", url, method, data=data)
            if isinstance(response, PortalError):
                return response
            status = response.status_code
            if not 300 <= status < 400:
                return self._parse_answer(response, method)
            if (refused := self._follow(response, url, method)) is not None:
                return refused
        return _misdirected("redirects again and again", status, method)

    def _follow(self, response: requests.Response, url: str, method: str) -> PortalError | None:
        """Follow a redirect to a trusted address, or return why not."""
        status, location = response.status_code, response.headers.get("Location", "")
        try:
            asked, target = urlsplit(url), urlsplit(urljoin(url, location))
            is_elsewhere = _place(asked) != _place(target)
        except ValueError:
            return _misdirected("redirects to an invalid address", status, method)
        host = one_line(target.hostname or "another address")
        if unquote(target.path).rstrip("/") != unquote(asked.path).rstrip("/"):
            page = "its login page" if _LOGIN.search(target.path) else "another page"
            words = f"a page of {host}" if is_elsewhere else page
            return _misdirected(f"redirects to {words}", status, method, WEB_PAGE)
        if is_elsewhere:
            address = f"{target.scheme}://{target.netloc}"
            if not self._is_trusted(address):
                other = "another scheme or port of " if target.hostname == asked.hostname else ""
                words = (
                    f"has moved to {other}{host}, which is not followed: make the Portal with a "
                    "webhook of the new address, or name the host in trusted_hosts"
                )
                return _misdirected(words, status, method)
            _log.info("%s has moved to %s", self.address, address)
            self.address = address
        self._slash = "/" if target.path.endswith("/") else ""
        return None

    def _is_trusted(self, address: str) -> bool:
        """Return whether secret and data may be sent to a new address."""
        old, new = urlsplit(self._credential.address), urlsplit(address)
        old_host, new_host = old.hostname or "", new.hostname or ""
        # Another port of this machine may belong to another user's program.
        if is_loopback(old_host) and is_loopback(new_host):
            return (old.scheme, old.port) == (new.scheme, new.port)
        if new.scheme != "https" or new.username or new.port not in (None, 443):
            return False
        return new_host in self._trusted_hosts or (_is_cloud(old_host) and _is_cloud(new_host))

    def _renew(self, renewals: int, method: str) -> PortalError | None:
        """Renew the access token, unless another thread has; return why it failed."""
        credential = self._credential
        if not isinstance(credential, AccessToken) or not credential.renewable:
            words = "the access token has expired, and there is nothing to renew it with"
            return _expired(words, method)
        if credential.is_passed_on(renewals):
            return _expired("the new access token has expired before on_refresh returned", method)
        with credential.renewing(renewals) as current:
            # A refresh token can be used once: the first thread renews it for all.
            if not current:
                return None
            url = f"{credential.authorization_server}/oauth/token/"
            query = credential.refresh_query()
            response = self.connections.send("GET", url, "oauth/token", query=query)
            if isinstance(response, PortalError):
                response.reached = False
                return response
            answer = _read_json(response.content)
            if (pair := _token_pair(answer)) is not None:
                credential.renew(pair)
                _log.info("%s: the access token has been renewed", self._credential.address)
                return None
            return self._refresh_error(answer, response.status_code)

    def _refresh_error(self, answer: object, status: int) -> PortalError:
        if status == 429 or status >= 500:
            error = PortalUnavailableError(
                "the authorization server is out of order", http_status=status, method="oauth/token"
            )
            error.reached = False
            return error
        words = answer if isinstance(answer, dict) else {}
        code = self._words(words.get("error"))
        reason = _REFRESH_ERRORS.get(code.lower(), "the authorization server gave no new token")
        return AuthenticationError(
            f"the access token has expired and was not renewed: {reason}",
            code=code,
            http_status=status,
            method="oauth/token",
        )

    def _parse_answer(
        self, response: requests.Response, method: str
    ) -> dict[str, Any] | PortalError:
        """Return the envelope of an answer with its ``result``, or the error in it."""
        status = response.status_code
        answer = _read_json(response.content)
        if isinstance(answer, dict) and "error" in answer:
            wait = _retry_after(response)
            error = self._error(answer, method=method, http_status=status, retry_after=wait)
            return _of_whole_batch(error) if method == "batch" else error
        if isinstance(answer, dict) and "result" in answer and status < 400:
            return answer
        facts: dict[str, Any] = {"http_status": status, "method": method}
        begin = response.content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        is_text = response.headers.get("Content-Type", "").startswith("text/")
        is_page = begin == b"<" or (is_text and status >= 400 and begin != b"{")
        found = "a web page" if is_page else "something other than the REST API's JSON"
        words = f"the portal answered with {found}"
        # These come from a gateway and are transient.
        if status == 429 or status >= 500:
            facts["retry_after"] = _retry_after(response)
            return error_from_answer({"error_description": words}, **facts)
        odd = InvalidAnswerError(words, code=WEB_PAGE if is_page else "", **facts)
        if is_page and status >= 400 and status not in STATUSES_THAT_PASS:
            odd.retryable, odd.ends_all = False, True
        return odd

    def _error(self, answer: object, **facts: Any) -> PortalError:
        # The portal's text is untrusted: it may repeat the address, or hold control characters.
        if isinstance(answer, dict):
            texts = {key: self._words(answer.get(key)) for key in _ERROR_KEYS}
            return error_from_answer(texts, **facts)
        words = self._words(answer) or "an error without a description"
        return InvalidAnswerError(words, **facts)

    def _words(self, text: object) -> str:
        """Return text of the portal on one line and without secrets."""
        return one_line(self._credential.redact(str(text or "")))


_REFRESH_ERRORS = {
    "invalid_grant": "the refresh token is spent, expired or not this application's",
    "invalid_client": "client_id or client_secret is wrong",
    "invalid_request": "the request was not understood",
    "invalid_scope": "the application has not the rights that the token had",
    "insufficient_scope": "the application has not the rights that the token had",
    "payment_required": "the portal's plan has expired",
}


def _token_pair(answer: object) -> TokenPair | None:
    """Return the tokens of a refresh; None if invalid."""
    tokens = answer if isinstance(answer, dict) else {}
    access, refresh = tokens.get("access_token"), tokens.get("refresh_token") or ""
    if access and isinstance(access, str) and isinstance(refresh, str):
        return TokenPair(access, refresh)
    return None


def _check_hosts(hosts: Iterable[str]) -> set[str]:
    """Return host names in lower case, or raise."""
    if isinstance(hosts, Iterable) and not isinstance(hosts, str):
        names = list(hosts)
        if all(isinstance(name, str) and "/" not in name for name in names):
            return {name.lower() for name in names}
    raise TypeError(f"trusted_hosts={short_repr(hosts)} is not a list of host names")


def _of_whole_batch(error: PortalError) -> PortalError:
    """Return the error of a batch."""
    # Some portals answer a whole batch with the error of one command: the others may succeed.
    is_of_batch = error.code.upper().startswith("ERROR_BATCH")
    if type(error) is not PortalError or is_of_batch or (error.code and error.http_status != 200):
        return error
    words = f"the batch was answered by the error of one command: {error.description}"
    status, code = error.http_status, error.code
    return InvalidAnswerError(words, code=code, http_status=status, method=error.method)


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _misdirected(words: str, status: int, method: str, code: str = "") -> PortalError:
    error = PortalError(f"the portal {words}", code=code, http_status=status, method=method)
    error.ends_all = True
    return error


def _expired(words: str, method: str) -> AuthenticationError:
    return AuthenticationError(words, code="expired_token", http_status=401, method=method)


def _is_cloud(host: str) -> bool:
    name, _, zone = host.partition(".bitrix24.")
    # ASCII only: the HTTP library may map other letters to another host.
    return bool(_CLOUD_NAME.fullmatch(name)) and zone in _CLOUD_ZONES


def _read_json(content: bytes) -> Any:
    """Return decoded JSON; None if it is invalid."""
    try:
        # surrogateescape: one text with invalid UTF-8 must not cost the whole answer. The byte
        # order mark comes from PHP files of self-hosted portals.
        return json.loads(content.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        return None


def _retry_after(response: requests.Response) -> float | None:
    """Return the Retry-After header [s], if it is given in seconds."""
    header = response.headers.get("Retry-After", "")
    return float(header) if header.isascii() and header.isdigit() else None
