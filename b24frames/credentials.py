"""The one module that knows a secret: it holds it, uses it for an address, and hides it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

_REST_PATH = re.compile(r"/rest/([0-9]+)/([^/]+)(?:/[A-Za-z0-9_.]*)?/?", re.ASCII)
_HIDDEN = "***"
_EXPECTED = "expected https://PORTAL/rest/USER_ID/SECRET/"


class Webhook:
    """An incoming webhook: where a portal is, which user asks, and the secret that proves it.

    Parameters
    ----------
    url : str
        ``https://PORTAL/rest/USER_ID/SECRET/``; a trailing method name is tolerated. Plain
        ``http://`` is accepted for loopback addresses only.

    Attributes
    ----------
    address : str
        Scheme and host of the portal, without any secret.
    user_id : int
        The user as whom the webhook acts.

    Raises
    ------
    TypeError, ValueError
        Not a webhook URL. The message never repeats the path, which holds the secret.

    Examples
    --------
    >>> Webhook("https://acme.bitrix24.com/rest/1/abc123/")
    Webhook('https://acme.bitrix24.com', user_id=1)
    """

    __slots__ = ("_secret", "address", "user_id")

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise TypeError(f"the webhook is a {type(url).__name__}; {_EXPECTED}")
        self.address, path = _split_url(url.strip())
        match = _REST_PATH.fullmatch(path)
        if match is None:
            raise ValueError(f"the webhook for {self.address} has no valid path; {_EXPECTED}")
        self.user_id = int(match[1])
        self._secret = match[2]

    def url(self, method: str) -> str:
        """Return the address of a call. It holds the secret: never keep or show it."""
        return f"{self.address}/rest/{self.user_id}/{self._secret}/{method}"

    def body(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a call; a webhook adds nothing to it."""
        return dict(params)

    def redact(self, text: str) -> str:
        """Return the text with every occurrence of the secret hidden."""
        for secret in {self._secret, quote(self._secret, safe="")}:
            text = text.replace(secret, _HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r}, user_id={self.user_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is never pickled: make the Portal anew from its webhook URL")


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this very machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _split_url(url: str) -> tuple[str, str]:
    """Return address and path of a portal's URL, or raise without repeating the path."""
    scheme = host = ""
    # The error of a bad URL repeats parts of it: ours must be raised outside its handler.
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port
        scheme, host = parts.scheme, parts.hostname or ""
    if scheme not in ("http", "https") or not host:
        raise ValueError(f"the webhook is not a URL; {_EXPECTED}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"the webhook for {host} has more than a path; {_EXPECTED}")
    if scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"plain http:// would show the secret of {host} to the network; use https://"
        )
    try:
        # One spelling per portal: this is also how cache entries name it.
        host = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"the webhook has an invalid host name; {_EXPECTED}") from None
    netloc = f"[{host}]" if ":" in host else host
    default_port = 443 if scheme == "https" else 80
    netloc += f":{port}" if port not in (None, default_port) else ""
    return f"{scheme}://{netloc}", parts.path
