"""The one module that knows secrets: it holds them, uses them for a call, and hides them."""

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
_UNQUOTED = "!#$%&'()*+,/:;=?@[]~"  # what requests leaves as it is
# The secret of a webhook in the path of a call, and tokens in the query of a refresh.
_LOGGED_SECRET = re.compile(
    r"(/rest/(?:api/)?[0-9]+/)[^/\s\"]+|((?:client_secret|refresh_token|auth|access_token)=)[^&\s\"']+"
)
# With a scheme, or cut off before the host.
_ADDRESS_LIKE = re.compile(r"://|/rest/(?:api/)?[0-9]+/|[?&]auth=")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_READ_DIFFERENTLY = frozenset("ßẞς\u200c\u200d")  # by the two versions of IDNA: another host
_WEBHOOK = "expected https://PORTAL/rest/USER_ID/SECRET/"
_ADDRESS = "expected https://PORTAL"


def hiding_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a refusal of secret arguments leave no frame that holds them: some debuggers show it."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        given, named = [args], [kwargs]
        args, kwargs = (), {}  # a traceback of IPython shows them
        try:
            return function(*given.pop(), **named.pop())
        except (TypeError, ValueError, AttributeError) as error:
            refused = error.with_traceback(None)
        refused.__context__ = refused.__cause__ = None
        raise refused

    return call


class Credential(ABC):
    """Where a portal is, which user asks, and what proves it; never shown, never pickled.

    Attributes
    ----------
    address : str
        Scheme and host of the portal, without any secret.
    user_id : int
        The user as whom the portal is asked.
    renewals : int
        How often what proves the user has been renewed.
    """

    __slots__ = ("address", "renewals", "user_id")

    def __init__(self, address: str, user_id: int) -> None:
        self.address = address
        self.user_id = user_id
        self.renewals = 0

    @abstractmethod
    def path(self, method: str) -> str:
        """Return the path of a call. It may hold a secret: never keep or show it."""

    @abstractmethod
    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call. It may hold a secret: never keep or show it."""

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown."""

    def redact(self, text: str) -> str:
        """Return the text with every occurrence of a secret hidden."""
        for secret in self.secrets():
            for spelling in {secret, quote(secret, safe=""), quote(secret, safe=_UNQUOTED)}:
                text = text.replace(spelling, _HIDDEN)
        return text

    def __repr__(self) -> str:
        if not hasattr(self, "address"):  # a debugger looks at one that was refused
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

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call; a webhook adds nothing to it."""
        return dict(params)

    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown."""
        return (self._secret,)


class TokenPair(NamedTuple):
    """The tokens that an OAuth refresh gave; its repr hides them.

    Attributes
    ----------
    access_token, refresh_token : str
        Both new; those before them are spent.
    """

    access_token: str
    refresh_token: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_HIDDEN}, {_HIDDEN})"


class AccessToken(Credential):
    """An OAuth access token, which goes into the body of every call, and what renews it.

    Parameters
    ----------
    address : str
        ``https://PORTAL``.
    tokens : TokenPair
        The access token, and the refresh token or "" where it cannot be renewed.
    client_id, client_secret : str
        Of the application.
    user_id : int
        The user who granted the token.
    on_refresh : callable, optional
        Given the new `TokenPair` before it is used.
    authorization_server : str
        Where tokens are renewed.
    """

    __slots__ = ("_client", "_lock", "_on_refresh", "_tokens", "authorization_server")

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
            kind = type(user_id).__name__  # not the value: it may be a token in the wrong place
            raise ValueError(f"user_id (a {kind}) is not a positive int: entries are kept by user")
        if on_refresh is not None and not callable(on_refresh):
            raise TypeError(f"on_refresh is a {type(on_refresh).__name__}, which cannot be called")
        address, path = split_address(address, "address", _ADDRESS)
        if path.strip("/") not in ("", "rest"):
            raise ValueError(f"the address for {address} has a path; {_ADDRESS}")
        super().__init__(address, user_id)
        self._tokens = tokens
        self._client = (client_id, client_secret)
        self._on_refresh = on_refresh
        self.authorization_server = split_address(authorization_server, "server", _ADDRESS)[0]
        self._lock = threading.Lock()

    def path(self, method: str) -> str:
        """Return the path of a call."""
        return f"/rest/{method}"

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call, with the access token."""
        return {**params, "auth": self._tokens.access_token}

    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown."""
        return tuple(secret for secret in (*self._tokens, self._client[1]) if secret)

    @property
    def renewable(self) -> bool:
        """Whether there is all that a refresh needs."""
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
        """Let one thread renew the token; tell whether it has not been since so many renewals.

        The threads that come later find that it has been renewed.
        """
        with self._lock:
            yield renewals == self.renewals

    def renew(self, tokens: TokenPair) -> None:
        """Take new tokens, once the caller has been given them."""
        try:
            if self._on_refresh is not None:
                self._on_refresh(tokens)
        finally:
            self._tokens = tokens  # whatever the caller did: the old pair is spent
            self.renewals += 1


def looks_like_address(text: object) -> bool:
    """Return whether a text may be, or hold, a webhook: it is repeated nowhere.

    Examples
    --------
    >>> looks_like_address("https://acme.bitrix24.com/rest/1/abc123/"), looks_like_address("1-5")
    (True, False)
    """
    return _ADDRESS_LIKE.search(str(text)) is not None


def hide_addresses(text: str) -> str:
    """Return the text without the secret of any webhook URL in it.

    Examples
    --------
    >>> hide_addresses("https://acme.bitrix24.com/rest/1/abc123/ is not an id")
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


class _RedactingFilter(logging.Filter):
    """Hides the secret in log lines that show the path of a call."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = hide_addresses(record.getMessage())
        record.args = ()
        record.exc_info = record.exc_text = None  # its text repeats the address, too
        return True


_redacting = _RedactingFilter()


def hide_in_logs() -> None:
    """Keep secrets out of the log lines of the HTTP library, which show the address called."""
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_redacting)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this very machine."""
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
        Not a URL of a portal; plain HTTP to another machine.
    """
    if not isinstance(url, str):
        raise TypeError(f"the {what} is a {type(url).__name__}; {expected}")
    scheme = host = ""
    # The error of a bad URL repeats parts of it: ours must be raised outside its handler.
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
        # One spelling per portal: this is also how cache entries name it.
        with suppress(UnicodeError):
            host = host if _READ_DIFFERENTLY & set(host) else host.encode("idna").decode("ascii")
        if not _HOST.fullmatch(host) or max(map(len, host.split("."))) > 63:
            raise ValueError(f"the {what} has an invalid host name; {expected}")
    netloc = f"[{host}]" if ":" in host else host
    default_port = 443 if scheme == "https" else 80
    netloc += f":{port}" if port not in (None, default_port) else ""
    return f"{scheme}://{netloc}", parts.path
