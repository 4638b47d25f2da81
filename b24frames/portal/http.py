"""One HTTP request to a portal and its answer: POST, redirect, token refresh, envelope.

Errors are returned, not raised, up to the end of this module: those of requests hold the URL, and
so the secret, and would stay reachable as the context of any error raised while handling them.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from urllib3.exceptions import HTTPError, NewConnectionError

from b24frames._version import __version__
from b24frames.credentials import AccessToken, Credential, TokenPair, hide_in_logs, is_loopback
from b24frames.errors import (
    AuthenticationError,
    InvalidAnswerError,
    PortalError,
    PortalUnavailableError,
    error_from_answer,
)
from b24frames.messages import one_line, short_repr
from b24frames.portal.commands import Answer, Command, batch_params, has_expired, named_answers

_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"b24frames/{__version__}",
}
_ERROR_KEYS = ("error", "error_description")
# Where Bitrix24 hosts portals: NAME.bitrix24.ZONE.
_CLOUD_ZONES = frozenset(
    "com ru eu de fr es it pl in id ua by kz cn jp vn mx co uk ca us com.br com.tr com.tw".split()
)
_CLOUD_NAME = re.compile(r"[a-z0-9-]+")
_of_parents: list[object] = []
_log = logging.getLogger("b24frames")


class Http:
    """The way to one portal: one request at a time, from any of several threads.

    Parameters
    ----------
    credential : Credential
        Address and secret.
    timeout : (float, float)
        Longest wait for a connection, and for an answer [s].
    session : requests.Session
        What sends; shared by all threads.
    trusted_hosts : iterable of str
        Hosts to which a renamed portal may point, besides those of the cloud.
    """

    def __init__(
        self,
        credential: Credential,
        timeout: tuple[float, float],
        session: requests.Session,
        trusted_hosts: Iterable[str] = (),
    ) -> None:
        self._credential = credential
        self._timeout = timeout
        self._session = session
        self._trusted_hosts = _check_hosts(trusted_hosts)
        self._address = credential.address
        hide_in_logs()

    @property
    def address(self) -> str:
        """Where the portal is now: another address than the one given, once it has moved."""
        return self._address

    @property
    def connections(self) -> float:
        """How many connections the session keeps; more at once would be closed after each use."""
        adapter = self._session.get_adapter(self._address)
        return getattr(adapter, "_pool_maxsize", math.inf)

    def forget_connections(self) -> None:
        """Leave the connections that are open to the parent of a forked process."""
        adapters = [a for a in self._session.adapters.values() if isinstance(a, HTTPAdapter)]
        adapter: Any  # its types lack how it is pickled
        for adapter in adapters:
            _of_parents.append(vars(adapter).copy())  # not closed by the garbage collector
            adapter.__setstate__(adapter.__getstate__())  # as if it had been pickled

    def post(
        self, commands: Mapping[str, Command], in_batch: bool, expired: int | None = None
    ) -> tuple[Answer | PortalError, int]:
        """Send commands once, in a batch or one by itself.

        Parameters
        ----------
        commands : mapping of str to Command
            At most 50; one, where it goes by itself.
        in_batch : bool
            Whether they are sent as a batch.
        expired : int, optional
            After how many renewals the access token was found expired: it is renewed first, unless
            that has been done since.

        Returns
        -------
        Answer or PortalError
            What each command was answered, or why the whole request was refused.
        int
            How often the token had been renewed when it was sent.
        """
        method = "batch" if in_batch else next(iter(commands.values()))[0]
        params = batch_params(commands) if in_batch else next(iter(commands.values()))[1]
        if expired is not None and (refused := self._renew(expired, method)) is not None:
            return Answer(dict.fromkeys(commands, refused)), expired
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
        for name, (method, _) in commands.items():
            if name not in answers:
                words = "the batch was answered without this command"
                answers[name] = InvalidAnswerError(words, method=method)
        times = named_answers(result.get("result_time"), commands)
        told = [(commands[name][0], part) for name, part in times.items()]
        totals = named_answers(result.get("result_total"), commands)
        return Answer(answers, [("batch", time), *told], totals)

    def _post_once(self, method: str, body: dict[str, Any]) -> dict[str, Any] | PortalError:
        """POST, and once more where a renamed portal points to an address that is trusted."""
        response = self._send("POST", self._address + self._credential.path(method), method, body)
        if isinstance(response, requests.Response) and 300 <= response.status_code < 400:
            refused = self._follow(response, method)
            if refused is not None:
                return refused
            url = self._address + self._credential.path(method)
            response = self._send("POST", url, method, body)
        if isinstance(response, PortalError):
            return response
        return self._parse_answer(response, method)

    def _send(
        self,
        verb: str,
        url: str,
        method: str,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
    ) -> requests.Response | PortalError:
        """Send one HTTP request; return the response, read to its end, or what prevented it."""
        host = urlsplit(url).hostname or ""
        data = None if body is None else json.dumps(body, allow_nan=False)
        try:
            return self._session.request(
                verb,
                url,
                params=query,
                data=data,
                headers=_HEADERS,
                timeout=self._timeout,
                allow_redirects=False,
                # A proxy of the environment must not come between this machine and itself.
                proxies={"no_proxy": host} if is_loopback(host) else None,
            )
        except (OSError, ValueError, HTTPError) as error:  # those of requests are OSErrors
            return self._connection_error(error, host, method)

    def _connection_error(self, error: Exception, host: str, method: str) -> PortalError:
        """Describe a failed connection without the words of requests, which hold the URL."""
        if isinstance(error, requests.Timeout):
            connect, read = self._timeout
            words = f"no answer from {host} within {connect:g} s + {read:g} s"
            if isinstance(error, requests.ReadTimeout):
                return PortalUnavailableError(words, code="TIMEOUT", method=method)
            return _unreached(words, method)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return _final(f"the TLS certificate of {host} cannot be verified", method)
        if isinstance(error, requests.exceptions.RetryError):  # of a session that repeats by itself
            words = f"{host} keeps refusing the request"
            return PortalUnavailableError(words, method=method)
        if isinstance(error, requests.ConnectionError):
            words = f"no connection to {host}"
            reason = getattr(error.args[0], "reason", None) if error.args else None
            if isinstance(reason, NewConnectionError):
                return _unreached(words, method)
            return PortalUnavailableError(words, method=method)
        if isinstance(error, (ChunkedEncodingError, ContentDecodingError, HTTPError)):
            return PortalUnavailableError(f"the answer of {host} was damaged", method=method)
        # A proxy or a certificate file that cannot be used, a redirect to what is no URL.
        return _final(f"{host} cannot be asked ({type(error).__name__})", method)

    def _follow(self, response: requests.Response, method: str) -> PortalError | None:
        """Go on at the address that a renamed portal names, or return why not."""
        host, status = "", response.status_code
        with suppress(ValueError):  # the Location is no URL
            target = urlsplit(response.headers.get("Location", ""))
            host, address = target.hostname or "", f"{target.scheme}://{target.netloc}"
            same_path = target.path.rstrip("/") == self._credential.path(method).rstrip("/")
            if same_path and self._is_trusted(address):
                _log.info("%s has moved to %s", self._address, address)
                self._address = address
                return None
        host = one_line(host) or "an address that it does not name"
        return PortalError(
            f"the portal has moved to {host}, which is not followed: make the Portal with a "
            "webhook of the new address, or name the host in trusted_hosts",
            http_status=status,
            method=method,
        )

    def _is_trusted(self, address: str) -> bool:
        """Tell whether secret and data may go to another address than the one given."""
        old, new = urlsplit(self._credential.address), urlsplit(address)
        old_host, new_host = old.hostname or "", new.hostname or ""
        if is_loopback(old_host) and is_loopback(new_host):
            return (old.scheme, old.port) == (new.scheme, new.port)
        if new.scheme != "https" or new.username or new.port not in (None, 443):
            return False
        return new_host in self._trusted_hosts or (_is_cloud(old_host) and _is_cloud(new_host))

    def _renew(self, renewals: int, method: str) -> PortalError | None:
        """Renew the access token, unless another thread has since; return why it cannot be."""
        credential = self._credential
        if not isinstance(credential, AccessToken) or not credential.renewable:
            return AuthenticationError(
                "the access token has expired, and there is nothing to renew it with",
                code="expired_token",
                http_status=401,
                method=method,
            )
        with credential.renewing(renewals) as current:
            if not current:
                return None
            url = f"{credential.authorization_server}/oauth/token/"
            response = self._send("GET", url, "oauth/token", query=credential.refresh_query())
            if isinstance(response, PortalError):
                return response
            answer = _read_json(response.content)
            if (pair := _token_pair(answer)) is not None:
                credential.renew(pair)
                _log.info("%s: the access token has been renewed", self._credential.address)
                return None
            return self._refresh_error(answer, response.status_code)

    def _refresh_error(self, answer: object, status: int) -> PortalError:
        """Explain why the authorization server gave no new token."""
        if status >= 500:
            return PortalUnavailableError(
                "the authorization server is out of order", http_status=status, method="oauth/token"
            )
        words = answer if isinstance(answer, dict) else {}
        code = one_line(self._credential.redact(str(words.get("error") or "")))
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
        """Read the envelope of an answer: ``result``, or the error it tells of."""
        status = response.status_code
        answer = _read_json(response.content)
        if isinstance(answer, dict) and "error" in answer:
            return self._error(
                answer,
                method=method,
                http_status=status,
                retry_after=_retry_after(response),
            )
        if isinstance(answer, dict) and "result" in answer and status < 400:
            return answer
        words = "the answer is not of the REST API's form"
        if status == 429 or status >= 500:  # a gateway's page
            return error_from_answer(
                {"error_description": words},
                method=method,
                http_status=status,
                retry_after=_retry_after(response),
            )
        return InvalidAnswerError(words, http_status=status, method=method)

    def _error(self, answer: object, **facts: Any) -> PortalError:
        """Make the error that an answer is; its words may repeat the address, or hold anything."""
        if not isinstance(answer, dict):
            return InvalidAnswerError("an error without a description", **facts)
        texts = {key: self._credential.redact(str(answer.get(key) or "")) for key in _ERROR_KEYS}
        words = {key: one_line(text) for key, text in texts.items()}
        return error_from_answer(words, **facts)


_REFRESH_ERRORS = {
    "invalid_grant": "the refresh token is spent, expired or not this application's",
    "invalid_client": "client_id or client_secret is wrong",
    "invalid_request": "the request was not understood",
    "invalid_scope": "the application has not the rights that the token had",
    "insufficient_scope": "the application has not the rights that the token had",
    "payment_required": "the portal's plan has expired",
}


def _token_pair(answer: object) -> TokenPair | None:
    """Read the tokens of a refresh; None where they are not such."""
    tokens = answer if isinstance(answer, dict) else {}
    access, refresh = tokens.get("access_token"), tokens.get("refresh_token") or ""
    if access and isinstance(access, str) and isinstance(refresh, str):
        return TokenPair(access, refresh)
    return None


def _check_hosts(hosts: Iterable[str]) -> set[str]:
    """Return the names of hosts as they are compared, or raise."""
    if isinstance(hosts, Iterable) and not isinstance(hosts, str):
        names = list(hosts)
        if all(isinstance(name, str) for name in names):
            return {name.lower() for name in names}
    raise TypeError(f"trusted_hosts={short_repr(hosts)} is not a list of host names")


def _unreached(description: str, method: str) -> PortalError:
    """Return the error of a request that was not sent, for want of a connection."""
    error = PortalUnavailableError(description, method=method)
    error.reached = False
    return error


def _final(description: str, method: str) -> PortalError:
    """Return the error of a way to the portal that is closed for good."""
    error = PortalUnavailableError(description, method=method)
    error.retryable = False
    return error


def _is_cloud(host: str) -> bool:
    """Tell whether a host is a portal in the cloud of Bitrix24."""
    name, _, zone = host.partition(".bitrix24.")
    # The HTTP library may read another host where other letters are.
    return bool(_CLOUD_NAME.fullmatch(name)) and zone in _CLOUD_ZONES


def _read_json(content: bytes) -> Any:
    """Decode JSON, or return None where it is none.

    surrogateescape keeps bytes that are no UTF-8, so that one text cannot cost the whole answer;
    a byte order mark comes from PHP files on servers of one's own.
    """
    try:
        return json.loads(content.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        return None


def _retry_after(response: requests.Response) -> float | None:
    """Read a Retry-After header that is given in seconds."""
    header = response.headers.get("Retry-After", "")
    return float(header) if header.isascii() and header.isdigit() else None
