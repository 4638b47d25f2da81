"""An entry of the cache: whose it is, from when, and whether it is still as it was written.

::

    key    acme.bitrix24.com~1~crm.activity.get~999
           acme.bitrix24.com~1~user.get~57     a name, under the method that tells it
    value  R 1763900000000 {"ID":"999",…}    a record, as the bytes that were given
           M 1763900000000 not found         a reason why there is no record

The milliseconds (Unix time) say when the portal was asked. Four more bytes at the end of a value
are a checksum of it and its key, so a flipped byte is noticed wherever it is, and so is a value
under the wrong key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote
from zlib import crc32

LAYOUT = 1  # of keys, values and tables; it is part of each checksum
TIMESTAMP_END = 15
_TEXT = slice(TIMESTAMP_END + 1, -4)
_RIGHT = 0x2144DF1C  # the CRC-32 of whatever ends in its own CRC-32
ACTIVITY_METHOD = "crm.activity.get"
_KEY = re.compile(r"(.+)~([0-9]+)~([a-z0-9.]+)~([0-9]+)")


class PortalUser(Protocol):
    """Whose entries: a portal's address and a user of it."""

    @property
    def address(self) -> str:
        """Scheme and host of the portal."""

    @property
    def user_id(self) -> int:
        """The user as whom the portal is asked."""


Entry = tuple[bool, int, bytes]
"""Whether there is a record; when the portal was asked [ms]; the record, or why there is none."""


@dataclass
class Lookup:
    """What the cache knows of some ids.

    Attributes
    ----------
    records : dict of int to bytes
        The text of each record that is fresh enough, as it was written.
    missing : dict of int to str
        The reason why there is no record, where the portal was asked a short time ago.
    too_old : list of int
        Ids whose entry is older than asked for.
    age : float
        That of the oldest of the records [s].
    """

    records: dict[int, bytes] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    too_old: list[int] = field(default_factory=list)
    age: float = 0.0


class DamageError(ValueError):
    """Something in the cache is not as it was written."""


def prefix_of(portal: PortalUser) -> str:
    """Return how the keys of a portal and user begin: safe in SQL, as a file name, and in Redis."""
    host = portal.address.split("://", 1)[-1]
    return f"{quote(host, safe='')}~{portal.user_id}~"


class Key(NamedTuple):
    """What the key of an entry says."""

    host: str
    user: str
    method: str
    id: int


def parse_key(key: str) -> Key | None:
    """Return what a key says; None: it is no key of ours."""
    match = _KEY.fullmatch(key)
    return Key(unquote(match[1]), match[2], match[3], int(match[4])) if match else None


def encode(key: str, is_record: bool, timestamp: int, text: bytes) -> bytes:
    """Return the value of an entry."""
    value = b"%c %013d " % (b"R" if is_record else b"M", timestamp) + text
    return value + crc32(value, crc32(key.encode(), LAYOUT)).to_bytes(4, "little")


def decode(key: bytes, value: bytes) -> Entry:
    """Return what a value says, or raise `DamageError`."""
    if is_intact(key, value):
        return value[:1] == b"R", int(value[2:TIMESTAMP_END]), value[_TEXT]
    raise DamageError(f"the entry {key!r} is not as it was written")


def is_intact(key: Any, value: Any) -> bool:
    """Tell whether a key and a value are as they were written."""
    try:
        return crc32(value, crc32(key, LAYOUT)) == _RIGHT
    except TypeError:  # not even bytes
        return False


def timestamp_of(value: object) -> int:
    """Return when an entry was written [ms], from the beginning of its value; 0: not known."""
    digits = value[2:TIMESTAMP_END] if isinstance(value, bytes) else b""
    return int(digits) if digits.isdigit() else 0
