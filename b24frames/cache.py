"""The on-disk cache: one entry per portal, user, method and activity id; never a credential.

An entry's value is ``R <milliseconds> <JSON of the record>``, or ``M <milliseconds> <reason>`` for
an id of which the portal gave no record; the milliseconds (Unix time, 13 digits) say when the
portal was asked.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from requests_cache.backends.sqlite import SQLiteDict

from b24frames.ages import parse_age
from b24frames.errors import CacheError
from b24frames.ids import parse_ids
from b24frames.places import cache_file

_TABLE = "activities"
_METHOD = "crm.activity.get"
_HEAD = 16  # "R 1763900000000 "
MISSING_AGE = 600.0  # [s] an id may come into being: its absence is believed for a short time
_BUSY_TIMEOUT_MS = 30_000
_KEYS_IN_A_QUERY = 500

# Parts of an entry in SQL: the key without the activity id, and the milliseconds.
_PREFIX = "rtrim(key, '0123456789')"
_STAMP = "CAST(substr(value, 3, 13) AS INTEGER)"

T = TypeVar("T")


class PortalUser(Protocol):
    """Whose entries: a portal's address and a user of it."""

    @property
    def address(self) -> str:
        """Scheme and host of the portal."""

    @property
    def user_id(self) -> int:
        """The user as whom the portal is asked."""


@dataclass
class Hits:
    """What the cache knows of some ids.

    Attributes
    ----------
    records : dict of int to bytes
        The JSON text of each record that is fresh enough.
    missing : dict of int to str
        The reason why there is no record, where the portal was asked a short time ago.
    too_old : list of int
        Ids whose entry is older than asked for.
    """

    records: dict[int, bytes] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)
    too_old: list[int] = field(default_factory=list)


class ActivityCache:
    """Activities kept on this machine, in one SQLite file.

    Parameters
    ----------
    path : path-like, optional
        A folder, or a file with the suffix ``.sqlite``, ``.sqlite3`` or ``.db``. By default the
        environment variable ``B24FRAMES_CACHE``, or else the user's cache folder.

    Attributes
    ----------
    path : pathlib.Path
        The file. It and its folder are made by the first write, readable for the user alone.

    Notes
    -----
    Entries belong to a portal's address and a user id: two users of one portal never see each
    other's. No webhook secret or token is stored. Records are kept as the portal sent them.

    Examples
    --------
    >>> cache = ActivityCache(folder)
    >>> cache.info()["entries"]
    0
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = cache_file(path)
        self._storage: SQLiteDict | None = None
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def read(
        self,
        portal: PortalUser,
        ids: Iterable[int],
        max_age: float | None,
        missing_age: float | None = MISSING_AGE,
        now: float | None = None,
    ) -> Hits:
        """Return what is known of the ids.

        Parameters
        ----------
        portal : Portal
            Whose entries.
        ids : iterable of int
            The activities.
        max_age : float or None
            The age to which a record is accepted [s]; None: any age. An entry of the future (the
            clock was moved) is too old.
        missing_age : float or None
            The same for what is known of missing ones, if it is less; None: any age.
        now : float, optional
            The time to count from, as Unix time [s].

        Returns
        -------
        Hits
        """
        hits = Hits()
        record_limit = math.inf if max_age is None else max_age
        missing_limit = min(record_limit, math.inf if missing_age is None else missing_age)
        now = time.time() if now is None else now
        prefix = _prefix(portal)
        for chunk in _chunks(ids, _KEYS_IN_A_QUERY):
            keys = {f"{prefix}{i}": i for i in chunk}
            query = f"SELECT key, value FROM {_TABLE} WHERE key IN ({_marks(chunk)})"
            for key, value in self._query(query, list(keys)):
                age = now - int(value[2 : _HEAD - 1]) / 1000
                is_record = value[:1] == b"R"
                if not 0 <= age < (record_limit if is_record else missing_limit):
                    if is_record:
                        hits.too_old.append(keys[key])
                elif is_record:
                    hits.records[keys[key]] = value[_HEAD:]
                else:
                    hits.missing[keys[key]] = value[_HEAD:].decode()
        return hits

    def write(
        self, portal: PortalUser, records: Mapping[int, bytes], missing: Mapping[int, str]
    ) -> None:
        """Keep records and reasons for missing ones, in one transaction.

        Raises
        ------
        CacheError
            The file cannot be written; nothing was kept.
        """
        prefix, stamp = _prefix(portal), b"%d " % int(time.time() * 1000)
        rows = [(f"{prefix}{i}", b"R " + stamp + record) for i, record in records.items()]
        rows += [(f"{prefix}{i}", b"M " + stamp + why.encode()) for i, why in missing.items()]
        with self._transaction() as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO {_TABLE} (key, value) VALUES (?, ?)", rows
            )

    def info(self) -> dict[str, Any]:
        """Return how much is kept, from when, and of whom.

        Returns
        -------
        dict
            ``path``, ``entries``, ``size`` [bytes], ``oldest`` and ``newest`` (ISO 8601, UTC, or
            None), ``portals``: entries by ``"host user"``.

        Examples
        --------
        >>> ActivityCache(folder).info()["portals"]
        {}
        """
        portals: dict[str, int] = {}
        stamps: list[int] = []
        query = (
            f"SELECT {_PREFIX} AS prefix, count(*), min({_STAMP}), max({_STAMP})"
            f" FROM {_TABLE} GROUP BY prefix"
        )
        for prefix, entries, oldest, newest in self._query(query):
            portals[" ".join(prefix.replace("_", ":").split("~")[:2])] = entries
            stamps += [oldest, newest]
        return {
            "path": str(self.path),
            "entries": sum(portals.values()),
            "size": sum(file.stat().st_size for file in self._files()),
            "oldest": _iso(min(stamps)) if stamps else None,
            "newest": _iso(max(stamps)) if stamps else None,
            "portals": portals,
        }

    def clear(self, ids: object = None, portal: PortalUser | None = None) -> int:
        """Forget entries: all, or those of some ids, of a portal and user, or of both.

        Returns
        -------
        int
            How many entries were forgotten.

        Examples
        --------
        >>> ActivityCache(folder).clear(ids=[1, 2])
        0
        """
        if portal is not None and not hasattr(portal, "address"):
            raise TypeError(f"portal is a {type(portal).__name__}; a Portal is needed")
        if portal is not None:
            prefixes = [_prefix(portal)]
        else:
            prefixes = [row[0] for row in self._query(f"SELECT DISTINCT {_PREFIX} FROM {_TABLE}")]
        if ids is None:
            return sum(self._delete(f"{_PREFIX} = ?", [prefix]) for prefix in prefixes)
        keys = [f"{prefix}{i}" for i in parse_ids(ids) for prefix in prefixes]
        return sum(
            self._delete(f"key IN ({_marks(chunk)})", chunk)
            for chunk in _chunks(keys, _KEYS_IN_A_QUERY)
        )

    def prune(self, older_than: Any) -> int:
        """Forget entries that are older than a time span, such as ``"30d"``.

        Returns
        -------
        int
            How many entries were forgotten.

        Raises
        ------
        ValueError
            Not a time span.

        Examples
        --------
        >>> ActivityCache(folder).prune(older_than="30d")
        0
        """
        age = parse_age(older_than, "older_than")
        if age is None:
            raise ValueError("older_than=None is not a time span; write for example '30d'")
        return self._delete(f"{_STAMP} < ?", [(time.time() - age) * 1000])

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._storage is not None:
                self._storage.close()  # type: ignore[no-untyped-call]  # requests-cache has no type here
                self._storage = None

    def _query(self, query: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT; none where there is no file yet."""
        if not self._exists():
            return []
        with self._connection() as connection:
            return connection.execute(query, tuple(values)).fetchall()

    def _delete(self, condition: str, values: Iterable[object]) -> int:
        """Delete the entries of which a condition holds; return how many."""
        if not self._exists():
            return 0
        with self._transaction() as connection:
            query = f"DELETE FROM {_TABLE} WHERE {condition}"
            return connection.execute(query, tuple(values)).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing, and say so when it is nothing.

        The transactions of requests-cache roll back without an error when the disk is full.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file on first use; one thread at a time."""
        with self._lock:
            try:
                if self._storage is None:
                    self._make_private_file()
                    self._storage = SQLiteDict(
                        self.path,
                        table_name=_TABLE,
                        serializer=None,
                        wal=True,
                        busy_timeout=_BUSY_TIMEOUT_MS,
                    )
                with self._storage.connection() as connection:
                    yield connection
            except (OSError, sqlite3.Error) as error:
                raise CacheError(f"the cache {self.path} cannot be used: {error}") from error

    def _exists(self) -> bool:
        """Tell whether there is a file; looking at a cache makes none."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CacheError(f"the cache {self.path} cannot be used: {error}") from error
        return True

    def _make_private_file(self) -> None:
        """Make folder and file for the user alone; SQLite gives its side files the same mode."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _files(self) -> list[Path]:
        """Return the files that there are: the database and its write-ahead log."""
        names = (self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm")
        return [file for name in names if (file := self.path.with_name(name)).exists()]


def _prefix(portal: PortalUser) -> str:
    """Return how the keys of a portal and user begin; safe as a file name."""
    host = portal.address.split("://", 1)[-1].replace(":", "_")
    return f"{host}~{portal.user_id}~{_METHOD}~"


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable into lists of at most so many items."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def _marks(values: list[Any]) -> str:
    """Return one placeholder a value."""
    return ",".join("?" * len(values))


def _iso(milliseconds: int) -> str:
    """Return Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
