"""Credentials: the only module that holds secrets, uses them for calls, and redacts them."""

from __future__ import annotations

import logging
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from ipaddress import ip_address
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

_REST_PATH = re.compile(r"/rest/([0-9]+)/([^/]+)(?:/[A-Za-z0-9_.]*)?/?", re.ASCII)
P = ParamSpec("P")
R = TypeVar("R")

AUTHORIZATION_SERVER = "https://oauth.bitrix.info"
_HIDDEN = "***"
_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"  # not percent-encoded by requests
# The secret of a webhook in the path of a call, and tokens in the query of a refresh.
_LOGGED_SECRET = re.compile(
    r"((?<![\w.-])rest/(?:api/)?[0-9]+/)[^/\s\"]+|((?:secret|token|auth|sessid|session|password)=)[^&\s\"']+"
)
# A URL, or a part of one that was copied without the host.
_ADDRESS_LIKE = re.compile(r"://|(?<![\w.-])rest/(?:api/)?[0-9]+/|[?&]auth=")
_TOKEN_NAMES = (
    "auth token sessid session session_id sessionid secret password passwd signature credential "
    "api_key apikey api-key access_key jwt"
).split()
_NAMED = "|".join(f"(?<={name})" for name in _TOKEN_NAMES)
# In JSON, where "/" and "&" may be escaped; an address inside an address is percent-encoded. Three
# patterns, since one of three alternatives takes ten times as long to search.
_TOKENS = (
    re.compile(
        rf"([?&;#%\\][\w.-]++(?=[=%])(?i:{_NAMED})(?:=|%(?:25)*3[dD]))"
        r"(?:[^&#;\s\"'<>()\[\]{}|\\%]|\|(?=[\w=.-])|\\+/|%(?!(?:25)*(?:2[0236-9]|3[BCEbce])))+".encode()
    ),
    re.compile(rb"(/rest\\*/(?:api\\*/)?[0-9]+\\*/)[\w-]{10,}"),  # a webhook
    re.compile(rb"(:\\*/\\*/[^\s\"'@/\\:?#&<>]*:)[^\s\"'@/\\<>]+(?=@)"),  # user:password@host
)
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
# IDNA 2003 and IDNA 2008 map these to different hosts.
_READ_DIFFERENTLY = frozenset("ßẞς\u200c\u200d")
_WEBHOOK = "expected https://PORTAL/rest/USER_ID/SECRET/"
_ADDRESS = "expected https://PORTAL"


def scrub_traceback(function: Callable[P, R]) -> Callable[P, R]:
    """Strip the frames that hold secret arguments from errors: some debuggers show them."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        given, named = [args], [kwargs]
        # IPython's tracebacks show the local variables of this frame, too.
        args, kwargs = (), {}
        try:
            return function(*given.pop(), **named.pop())
        # Raised again outside the handler, or this error would be its context.
        except (ImportError, TypeError, ValueError, AttributeError) as error:
            refused = error.with_traceback(None)
        refused.__context__ = refused.__cause__ = None
        raise refused

    return call


class Credential(ABC):
    """Address, user and secret of a portal; never shown, never pickled.

    Attributes
    ----------
    address : str
        Scheme and host of the portal, without any secret.
    user_id : int
        The user who makes the calls.
    renewals : int
        How often the access token has been renewed.
    """

    __slots__ = ("address", "renewals", "user_id")

    def __init__(self, address: str, user_id: int) -> None:
        self.address = address
        self.user_id = user_id
        self.renewals = 0

    @abstractmethod
    def path(self, method: str) -> str:
        """Return the path of a call. It may hold a secret: never keep or show it."""

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call. It may hold a secret: never keep or show it."""
        return dict(params)

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return the secrets, for `redact`."""

    def redact(self, text: str) -> str:
        """Return the text with every occurrence of a secret hidden, and those in addresses."""
        for secret in self.secrets():
            # As given, percent-encoded, and as requests encodes it in a path.
            for spelling in {secret, quote(secret, safe=""), quote(secret, safe=_UNQUOTED)}:
                text = text.replace(spelling, _HIDDEN)
        return redact_addresses(text)

    def __repr__(self) -> str:
        # Debuggers show objects whose __init__ has raised.
        if not hasattr(self, "address"):
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}({self.address!r}, user_id={self.user_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is never pickled: make the Portal anew where it is needed")


class Webhook(Credential):
    """An incoming webhook: the secret is in the path of every call.

    Parameters
    ----------
    url : str
        ``https://PORTAL/rest/USER_ID/SECRET/``; a trailing method name is tolerated. Plain
        ``http://`` is accepted for loopback addresses only.

    Raises
    ------
    TypeError, ValueError
        Not a webhook URL. The message never repeats the path, which holds the secret.

    Examples
    --------
    >>> Webhook("https://acme.bitrix24.com/rest/1/abc123/")
    Webhook('https://acme.bitrix24.com', user_id=1)
    """

    __slots__ = ("_secret",)

    def __init__(self, url: str) -> None:
        address, path = split_address(url, "webhook", _WEBHOOK)
        match = _REST_PATH.fullmatch(path)
        if match is None:
            fault = "has no valid path"
            if path.startswith("/rest/api/"):
                fault = "has 'api/' in its path, which has to be left out"
            raise ValueError(f"the webhook for {address} {fault}; {_WEBHOOK}")
        super().__init__(address, int(match[1]))
        self._secret = match[2]

    def path(self, method: str) -> str:
        """Return the path of a call, with the secret."""
        return f"/rest/{self.user_id}/{self._secret}/{method}"

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets, for `redact`."""
        return (self._secret,)


class TokenPair(NamedTuple):
    """The tokens of an OAuth refresh; the repr hides them.

    Attributes
    ----------
    access_token, refresh_token : str
        Both new; the previous ones are invalid.
    """

    access_token: str
    refresh_token: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_HIDDEN}, {_HIDDEN})"


class AccessToken(Credential):
    """An OAuth access token, sent in the body of every call, and what is needed to renew it.

    Parameters
    ----------
    address : str
        ``https://PORTAL``.
    tokens : TokenPair
        The access token, and the refresh token or "" if there is none.
    client_id, client_secret : str
        Those of the application.
    user_id : int
        The user who granted the token.
    on_refresh : callable, optional
        Called with the new `TokenPair` before a read goes on with it.
    authorization_server : str
        The server that renews tokens.
    """

    __slots__ = (
        "_client",
        "_lock",
        "_on_refresh",
        "_passing_on",
        "_tokens",
        "authorization_server",
    )

    def __init__(
        self,
        address: str,
        tokens: TokenPair,
        *,
        client_id: str = "",
        client_secret: str = "",
        user_id: int,
        on_refresh: Callable[[TokenPair], object] | None = None,
        authorization_server: str = AUTHORIZATION_SERVER,
    ) -> None:
        if not all(isinstance(text, str) for text in (*tokens, client_id, client_secret)):
            raise TypeError("tokens, client_id and client_secret must be text")
        if not tokens.access_token:
            raise ValueError("the access token is empty")
        if type(user_id) is not int or user_id < 1:
            # Not the value, which may be a token given as the wrong argument.
            kind = type(user_id).__name__
            raise ValueError(f"user_id (a {kind}) is not a positive int: entries are kept by user")
        if on_refresh is not None and not callable(on_refresh):
            raise TypeError(f"on_refresh is of type {type(on_refresh).__name__}, not callable")
        address, path = split_address(address, "address", _ADDRESS)
        if path.strip("/") not in ("", "rest"):
            raise ValueError(f"the address for {address} has a path; {_ADDRESS}")
        super().__init__(address, user_id)
        self._tokens = tokens
        self._client = (client_id, client_secret)
        self._on_refresh = on_refresh
        self.authorization_server = split_address(authorization_server, "server", _ADDRESS)[0]
        self.after_fork()

    def path(self, method: str) -> str:
        """Return the path of a call."""
        return f"/rest/{method}"

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call, with the access token."""
        return {**params, "auth": self._tokens.access_token}

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets, for `redact`."""
        return tuple(secret for secret in (*self._tokens, self._client[1]) if secret)

    @property
    def renewable(self) -> bool:
        """Whether there is everything that a refresh needs."""
        return bool(self._tokens.refresh_token and all(self._client))

    def refresh_query(self) -> dict[str, str]:
        """Return the query of a refresh. It holds secrets: never keep or show it."""
        return {
            "grant_type": "refresh_token",
            "client_id": self._client[0],
            "client_secret": self._client[1],
            "refresh_token": self._tokens.refresh_token,
        }

    @contextmanager
    def renewing(self, renewals: int) -> Iterator[bool]:
        """Admit one thread to renew the token; yield whether none has since so many renewals."""
        with self._lock:
            yield renewals == self.renewals

    def is_passed_on(self, renewals: int) -> bool:
        """Return whether `on_refresh` still runs for that renewal, for which no thread may wait."""
        return self._passing_on and renewals == self.renewals

    def renew(self, tokens: TokenPair) -> None:
        """Take new tokens, and pass them to the caller, whose function may use the portal."""
        self._tokens = tokens
        self.renewals += 1
        if self._on_refresh is not None:
            self._passing_on = True
            try:
                self._on_refresh(tokens)
            finally:
                self._passing_on = False

    def after_fork(self) -> None:
        """Forget renewals that threads of the parent are at."""
        self._lock, self._passing_on = threading.Lock(), False


def looks_like_address(text: object) -> bool:
    """Return whether a text may contain a webhook, which messages must not repeat.

    Examples
    --------
    >>> looks_like_address("https://acme.bitrix24.com/rest/1/abc123/"), looks_like_address("1-5")
    (True, False)
    """
    return _ADDRESS_LIKE.search(str(text)) is not None


def redact_addresses(text: str) -> str:
    """Return the text without the secret of any webhook URL in it.

    Examples
    --------
    >>> redact_addresses("https://acme.bitrix24.com/rest/1/abc123/ is not an id")
    'https://acme.bitrix24.com/rest/1/***/ is not an id'
    """
    return _LOGGED_SECRET.sub(rf"\1\2{_HIDDEN}", text)


def without_query(address: str) -> str:
    """Return an address without its query, in which sessions and tokens are, and without a login.

    Examples
    --------
    >>> without_query("https://acme.bitrix24.com/disk/7/?token=abc123")
    'https://acme.bitrix24.com/disk/7/'
    """
    return re.sub(r"(?s)[?#].*|(?<=://)[^/@]*@", "", address)


def remove_tokens(text: bytes) -> bytes:
    """Return JSON without the tokens, sessions and passwords in the addresses in it.

    Examples
    --------
    >>> remove_tokens(b'{"url": "/show_file.php?fileId=5&auth=abc123&a=1"}')
    b'{"url": "/show_file.php?fileId=5&auth=&a=1"}'
    """
    for pattern in _TOKENS:
        text = pattern.sub(rb"\1", text)
    return text


def _redact_record(record: logging.LogRecord) -> bool:
    """Redact secrets in a log record that shows the path of a call; a filter of logging."""
    record.msg = redact_addresses(record.getMessage())
    record.args = ()
    # The text of an exception repeats the URL, too.
    record.exc_info = record.exc_text = None
    return True


def redact_logs() -> None:
    """Redact secrets in the log lines of the HTTP library, which show the URL."""
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_redact_record)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_address(url: str, what: str, expected: str) -> tuple[str, str]:
    """Return address and path of a URL, or raise without repeating the path.

    Raises
    ------
    TypeError, ValueError
        An invalid URL, or plain HTTP to another machine.
    """
    if not isinstance(url, str):
        raise TypeError(f"the {what} is of type {type(url).__name__}; {expected}")
    scheme = host = ""
    # The error of urlsplit repeats parts of the URL: ours must not have it as its context.
    with suppress(ValueError):
        parts = urlsplit(url.strip())
        port = parts.port
        scheme, host = parts.scheme, parts.hostname or ""
    if scheme not in ("http", "https") or not host:
        raise ValueError(f"the {what} is not a URL; {expected}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"the {what} for {host} has more than a path; {expected}")
    if scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"plain http:// would show the secret of {host} to the network; use https://"
        )
    if ":" not in host:
        # One spelling per portal, since keys of cache entries contain it.
        with suppress(UnicodeError):
            host = host if _READ_DIFFERENTLY & set(host) else host.encode("idna").decode("ascii")
        if not _HOST.fullmatch(host) or max(map(len, host.split("."))) > 63:
            raise ValueError(f"the {what} has an invalid host name; {expected}")
    netloc = f"[{host}]" if ":" in host else host
    default_port = 443 if scheme == "https" else 80
    netloc += f":{port}" if port not in (None, default_port) else ""
    return f"{scheme}://{netloc}", parts.path
