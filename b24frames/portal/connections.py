"""Connections to a portal: sessions, proxies, certificates, and why a request failed.

Errors are returned, not raised: those of requests hold the URL, and so the secret, and would stay
reachable as the context of any error raised while handling them.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, NewConnectionError

from b24frames._version import __version__
from b24frames.credentials import is_loopback, redact_addresses
from b24frames.errors import PortalError, PortalUnavailableError
from b24frames.messages import one_line

_HEADERS = {
    "Accept": "application/json",
    "Cache-Control": "no-store",
    "Content-Type": "application/json",
    "User-Agent": f"b24frames/{__version__}",
}
_FINAL = {"retryable": False, "ends_all": True}
# Whatever user and password hold, the host comes after them.
_PROXY_HOST = re.compile(r"(?s)^(?:.*://)?(?:.*@)?(\[.*?\]|[^:/?#]*).*$")
_CONNECT_STATUS = re.compile(r"Tunnel connection failed: (\d{3})")
STATUSES_THAT_PASS = frozenset({408, 425, 429})
# OpenSSL's names of failures that a retry cannot fix; a dropped connection is not among them.
_TLS_REASON = re.compile(
    r"\[(?:SSL|X509)[^\[\]]*: (\w*(?:CERT|_CA|HANDSHAKE|VERSION|PROTOCOL)\w*)\]"
    r"(?: certificate verify failed: ([\w -]+\w))?"
)
_of_parents: list[object] = []


class Connections:
    """Send the requests of all threads.

    Parameters
    ----------
    session : requests.Session
        The caller's, or one of `make_session`.
    timeout : (float, float)
        Longest wait for a connection, and for an answer [s].

    Raises
    ------
    TypeError
        The session caches answers.
    """

    def __init__(self, session: requests.Session, timeout: tuple[float, float]) -> None:
        if any(kind.__module__.startswith("requests_cache") for kind in type(session).__mro__):
            raise TypeError(
                "session is one of requests_cache, whose file would hold the webhook or tokens in "
                "clear, and whose answers may be older than max_age: b24frames has a cache of its "
                "own. Make a plain session: with requests_cache.disabled(): requests.Session()"
            )
        self._session = session
        self._timeout = timeout

    def most(self, url: str) -> float:
        """Return how many connections are pooled; any more would be closed after each use."""
        try:
            adapter = self._session.get_adapter(url)
        except requests.exceptions.InvalidSchema:
            raise ValueError(f"session has no adapter for {url}: mount one") from None
        return getattr(adapter, "_pool_maxsize", math.inf)

    def forget(self) -> None:
        """Leave open connections to the parent of a forked process."""
        adapters = [a for a in self._session.adapters.values() if isinstance(a, HTTPAdapter)]
        adapter: Any  # its types lack how it is pickled
        for adapter in adapters:
            # Kept alive, or the garbage collector would close sockets that the parent still uses.
            _of_parents.append(vars(adapter).copy())
            adapter.__setstate__(adapter.__getstate__())  # as if it had been pickled

    def send(
        self,
        verb: str,
        url: str,
        method: str,
        *,
        data: str | None = None,
        query: dict[str, str] | None = None,
    ) -> requests.Response | PortalError:
        """Send one HTTP request; return the response, read to its end, or what prevented it.

        Parameters
        ----------
        verb, url : str
            The HTTP method and the URL.
        method : str
            The REST method, for error messages.
        data : str, optional
            The body.
        query : dict of str to str, optional
            The query.

        Returns
        -------
        requests.Response or PortalError
            The response, whatever its status.
        """
        settings = self._settings(url)
        settings |= {"params": query, "data": data, "timeout": self._timeout, "headers": _HEADERS}
        # Otherwise requests sends the password that ~/.netrc has for this host, and to the
        # authorization server, which alone has a query, that of a gate before the portal.
        auth = None if self._session.auth and not query else lambda request: request
        try:
            try:
                return self._session.request(
                    verb, url, auth=auth, allow_redirects=False, **settings
                )
            except requests.HTTPError as error:  # of a hook that raises for the status
                if error.response is None:
                    raise
                _ = error.response.content  # reads it to its end
                return error.response
        except (OSError, ValueError, HTTPError) as error:  # those of requests are OSErrors
            host, proxy = urlsplit(url).hostname or "", select_proxy(url, settings["proxies"])
            name = one_line(_PROXY_HOST.sub(r"\1", proxy or ""))
            failure = self._failure(error, host, name)
            failure.method = method
            return failure

    def _settings(self, url: str) -> Any:
        """Return proxies and certificates of the session, else of the environment."""
        session, parts = self._session, urlsplit(url)
        host = parts.hostname or ""
        # Requests to this machine must bypass the proxy of the environment.
        proxies = {"no_proxy": host} if is_loopback(host) else {}
        keys = (f"{parts.scheme}://{host}", parts.scheme, f"all://{host}", "all")
        # Passed as arguments, since requests prefers the environment to the session's proxies.
        for proxy in [session.proxies[key] for key in keys if key in session.proxies][:1]:
            proxies[keys[0]] = proxy or ""
        verify = None if session.verify is True else session.verify
        return session.merge_environment_settings(url, proxies, False, verify, None)

    def _failure(self, error: Exception, host: str, proxy: str) -> PortalError:
        """Return the error of a failed request; the message of requests would hold the URL."""
        text, connect_and_read = str(error), "{:g} s + {:g} s".format(*self._timeout)
        way = f"{host} by the proxy {proxy}" if proxy else host
        if isinstance(error, requests.Timeout):
            words = f"no answer from {way} within {connect_and_read}"
            if isinstance(error, requests.ReadTimeout):
                return _unavailable(words, code="TIMEOUT")
            return _unavailable(words, reached=False)
        if reason := _TLS_REASON.search(text):
            words = f"no TLS connection to {way}: {reason[1].replace('_', ' ').lower()}"
            if "VERIFY_FAILED" in reason[1]:
                words = f"the TLS certificate of {way} cannot be verified: {reason[2]}"
            return _unavailable(words, code="TLS", **_FINAL)
        if isinstance(error, requests.exceptions.ProxyError):
            return _refused_by_proxy(_CONNECT_STATUS.search(text), host, proxy)
        if isinstance(error, requests.exceptions.RetryError):  # of a session that repeats by itself
            return _unavailable(f"{host} keeps refusing the request")
        if isinstance(error, requests.ConnectionError):
            reason = getattr(error.args[0], "reason", None) if error.args else None
            is_new = isinstance(reason, NewConnectionError)
            return _unavailable(f"no connection to {way}", reached=not is_new)
        if isinstance(error, (ChunkedEncodingError, ContentDecodingError, HTTPError)):
            return _unavailable(f"the answer of {host} was damaged")
        _, is_missing, path = text.partition("invalid path: ")
        if is_missing:
            words = f"there is no file {redact_addresses(one_line(path))} of TLS certificates"
            return _unavailable(words, code="TLS", **_FINAL)
        # For example an unusable proxy, or a redirect to an invalid URL.
        words = f"{way} cannot be asked ({type(error).__name__})"
        return _unavailable(words, code="PROXY" if proxy else "", **_FINAL)


def make_session(connections: int) -> requests.Session:
    """Return a session with a pool of so many connections, which caches no answers."""
    # requests_cache.install_cache() replaces requests.Session by a subclass that caches answers.
    kinds = requests.Session.__mro__
    plain = next(kind for kind in kinds if kind.__module__ == "requests.sessions")
    session: requests.Session = plain()
    session.mount("https://", HTTPAdapter(pool_maxsize=connections))
    session.mount("http://", HTTPAdapter(pool_maxsize=connections))
    return session


def _refused_by_proxy(refusal: re.Match[str] | None, host: str, proxy: str) -> PortalError:
    """Return the error of an unreachable proxy, or of one that refuses to connect."""
    if refusal is None:
        words = f"no connection to the proxy {proxy}"
        return _unavailable(words, code="PROXY", reached=False)
    status = int(refusal[1])
    words = f"the proxy {proxy} does not connect to {host}: HTTP {status}"
    if status == 407:
        words = f"the proxy {proxy} wants a user and a password (HTTP 407)"
    if status >= 500 or status in STATUSES_THAT_PASS:
        return _unavailable(words, code="PROXY", reached=False)
    return _unavailable(words, code="PROXY", **_FINAL)


def _unavailable(words: str, code: str = "", **changes: bool) -> PortalError:
    error = PortalUnavailableError(words, code=code)
    vars(error).update(changes)
    return error
