"""Caches of some users, and of some age."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from b24frames.cache import ActivityCache
from b24frames.cache.entries import decode, encode


class User(NamedTuple):
    """A portal and a user of it."""

    address: str
    user_id: int


ACME = User("https://acme.bitrix24.com", 1)
ACME_2 = User("https://acme.bitrix24.com", 2)
LOOPBACK = User("http://127.0.0.1:8080", 1)


def make_older(cache: ActivityCache, seconds: int) -> None:
    """Shift the time of all entries of a cache into the past."""
    cache.close()
    with closing(sqlite3.connect(str(cache.path))) as connection, connection:
        for key, value in connection.execute("SELECT key, value FROM activities").fetchall():
            is_record, stamp, text = decode(key.encode(), value)
            older = encode(key, is_record, stamp - seconds * 1000, text)
            connection.execute("UPDATE activities SET value = ? WHERE key = ?", (older, key))
