"""The format of cache entries: owner, timestamp, content and checksum.

::

    key    acme.bitrix24.com~1~crm.activity.get~999
           acme.bitrix24.com~1~user.get~57     a name, under the method that tells it
    value  R 1763900000000 {"ID":"999",…}    a record, as the bytes that were given
           M 1763900000000 not found         a reason why there is no record

The timestamp (Unix time in milliseconds) is that of the request. The last four bytes of a value are
a checksum of value and key, which detects any flipped byte and a value under the wrong key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote
from zlib import crc32

# The version of keys, values and tables. It seeds each checksum: other versions are not read.
LAYOUT = 1
TIMESTAMP_END = 15
_TEXT = slice(TIMESTAMP_END + 1, -4)
# The CRC-32 of any data followed by its own CRC-32 in little-endian order, a constant.
_RIGHT = 0x2144DF1C
ACTIVITY_METHOD = "crm.activity.get"
_KEY = re.compile(r"(.+)~([0-9]+)~([a-z0-9.]+)~([0-9]+)")


class PortalUser(Protocol):
    """The owner of entries: a portal and a user of it."""

    @property
    def address(self) -> str:
        """Scheme and host of the portal."""

    @property
    def user_id(self) -> int:
        """The user who makes the calls."""


Entry = tuple[bool, int, bytes]
"""Whether there is a record; Unix time of the request [ms]; the record, or why it is missing."""


@dataclass
class Lookup:
    """The result of looking up some ids.

    Attributes
    ----------
    records : dict of int to bytes
        The JSON text of each fresh record, as written.
    missing : dict of int to str
        The reason why there is no record, from a fresh entry.
    too_old : list of int
        Ids whose record is stale.
    age : float
        The age of the oldest record [s].
    """

    records: dict[int, bytes] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    too_old: list[int] = field(default_factory=list)
    age: float = 0.0


class DamageError(ValueError):
    """A file of the cache is damaged; the message says how."""


def prefix_of(portal: PortalUser) -> str:
    """Return the common prefix of the keys of an owner."""
    # Quoted, so that keys are safe in SQL, as file names, and in Redis.
    host = portal.address.split("://", 1)[-1]
    return f"{quote(host, safe='')}~{portal.user_id}~"


class Key(NamedTuple):
    """What the key of an entry says."""

    owner: str  # host and user
    method: str
    id: int


def parse_key(key: str) -> Key | None:
    """Return what a key says; None: it is no key of ours."""
    match = _KEY.fullmatch(key)
    return Key(f"{unquote(match[1])} {match[2]}", match[3], int(match[4])) if match else None


def encode(key: str, is_record: bool, timestamp: int, text: bytes) -> bytes:
    """Return the value of an entry."""
    value = b"%c %013d " % (b"R" if is_record else b"M", timestamp) + text
    return value + crc32(value, crc32(key.encode(), LAYOUT)).to_bytes(4, "little")


def decode(key: bytes, value: bytes) -> Entry:
    """Return the content of a value, or raise `DamageError`."""
    if is_intact(key, value):
        return value[:1] == b"R", int(value[2:TIMESTAMP_END]), value[_TEXT]
    raise DamageError(f"the entry {key!r} is not as it was written")


def is_intact(key: Any, value: Any) -> bool:
    """Return whether the checksum of key and value is right."""
    try:
        return crc32(value, crc32(key, LAYOUT)) == _RIGHT
    except TypeError:  # not even bytes
        return False


def timestamp_of(value: object) -> int:
    """Return the timestamp at the beginning of a value [ms]; 0 if there is none."""
    digits = value[2:TIMESTAMP_END] if isinstance(value, bytes) else b""
    return int(digits) if digits.isdigit() else 0
