"""Entries in one SQLite file: bulk reads and writes, and a bound on the size."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from b24frames.cache.entries import STAMP_END, Entry, decode
from b24frames.cache.sqlite_file import TABLE, SQLiteFile, pragma, transaction
from b24frames.ids import chunks

_AT_ONCE = 500
_HOUR = 3600
_ROOM = 0.1  # what eviction leaves free, so that not every write evicts


class SQLiteStore:
    """Entries in a file; see `Store`.

    Parameters
    ----------
    path : pathlib.Path
        The file; it and its folder are made by the first write.
    max_size : int or None
        What writing may let it grow to [bytes]; None: no bound.
    """

    def __init__(self, path: Path, max_size: int | None) -> None:
        self._file = SQLiteFile(path)
        self._max_size = max_size
        self.notices = self._file.notices

    def read(self, keys: Sequence[str], now: float) -> dict[str, Entry]:
        """Return the entries that there are, and note the hour of reading."""
        hour = int(now / _HOUR)
        query = f"SELECT key, value, read_hour FROM {TABLE} WHERE key IN "

        def read(connection: sqlite3.Connection) -> dict[str, Entry]:
            entries: dict[str, Entry] = {}
            unnoted: list[str] = []
            for chunk in chunks(keys, _AT_ONCE):
                for raw, value, read_hour in connection.execute(query + _marks(chunk), chunk):
                    entry = decode(raw, value)
                    entries[key := raw.decode()] = entry
                    if read_hour != hour:
                        unnoted.append(key)
            if unnoted:
                _note_reading(connection, unnoted, hour)
            return entries

        return self._file.look(read, {})

    def write(self, rows: Sequence[tuple[str, bytes]], now: float) -> None:
        """Keep entries in one transaction, and make room where there is too much."""
        hour = int(now / _HOUR)
        query = f"INSERT OR REPLACE INTO {TABLE} (key, value, read_hour) VALUES (?, ?, {hour})"

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany(query, rows)
                if self._max_size is not None:
                    _evict(connection, self._max_size)

        self._file.use(write)

    def heads(self) -> list[tuple[str, bytes]]:
        """Return each key, with the beginning of its value."""
        query = f"SELECT key, substr(value, 1, {STAMP_END}) FROM {TABLE}"

        def heads(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            rows = connection.execute(query)
            return [
                (key.decode(errors="replace"), head) for key, head in rows if type(key) is bytes
            ]

        return self._file.look(heads, [])

    def delete(self, keys: Sequence[str] | None) -> int:
        """Forget entries, or all, and give their room back; return how many there were."""

        def delete(connection: sqlite3.Connection) -> int:
            query = f"DELETE FROM {TABLE}"
            with transaction(connection):
                if keys is None:
                    deleted = connection.execute(query).rowcount
                else:
                    deleted = sum(
                        connection.execute(f"{query} WHERE key IN {_marks(chunk)}", chunk).rowcount
                        for chunk in chunks(keys, _AT_ONCE)
                    )
            if deleted:
                _give_room_back(connection)
            return deleted

        return self._file.look(delete, 0)

    def size(self) -> int:
        """Return the size of the file and its write-ahead log [bytes]."""
        return sum(file.stat().st_size for file in self._file.files() if file.name[-4:] != "-shm")

    def shrink(self, max_size: int) -> int:
        """Forget what was read longest ago until the rest fits; return how many."""

        def shrink(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                deleted = _evict(connection, max_size)
            _give_room_back(connection)
            return deleted

        return self._file.look(shrink, 0)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close()


def _marks(values: Sequence[Any]) -> str:
    """Return a list of one placeholder a value."""
    return f"({','.join('?' * len(values))})"


def _note_reading(connection: sqlite3.Connection, keys: Sequence[str], hour: int) -> None:
    """Note when entries were read: worth neither waiting nor failing."""
    with suppress(sqlite3.OperationalError), transaction(connection):
        for chunk in chunks(keys, _AT_ONCE):
            query = f"UPDATE {TABLE} SET read_hour = {hour} WHERE key IN {_marks(chunk)}"
            connection.execute(query, chunk)


def _evict(connection: sqlite3.Connection, max_size: int) -> int:
    """Delete what was read longest ago where the rest takes too much room; return how many."""
    oldest = f"SELECT rowid FROM {TABLE} ORDER BY read_hour, rowid LIMIT ?"
    deleted = 0
    while (used := _used(connection)) > max_size:
        entries = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]
        if not entries:
            break  # an empty file has a size, too
        too_many = math.ceil(entries * (1 - (1 - _ROOM) * max_size / used))
        query = f"DELETE FROM {TABLE} WHERE rowid IN ({oldest})"
        deleted += connection.execute(query, (too_many,)).rowcount
    return deleted


def _used(connection: sqlite3.Connection) -> int:
    """Return the size of the pages that are in use [bytes]."""
    pages = pragma(connection, "page_count") - pragma(connection, "freelist_count")
    return pages * pragma(connection, "page_size")


def _give_room_back(connection: sqlite3.Connection) -> None:
    """Shorten the file, so that what was deleted is in it no longer, unless others use it."""
    with suppress(sqlite3.OperationalError):
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
