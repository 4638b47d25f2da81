"""Entries in one SQLite file of requests-cache: bulk reads and writes, and a bound on the size.

Any damage is handled in one way: the file is renamed, never deleted; a fresh one is created; and
the intact entries of the old one are copied.
"""

from __future__ import annotations

import glob
import json
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from requests_cache.backends.sqlite import SQLiteDict

from b24frames.cache.entries import LAYOUT, TIMESTAMP_END, DamageError, Entry, decode, is_intact
from b24frames.errors import CacheError, is_of_caller
from b24frames.ids import chunks

TABLE = "activities"
ASIDE = ".aside-"  # between the name of a damaged file and the time when it was found
LOCK_TIMEOUT = 10.0  # [s] how long to wait for another program's lock
# SQLite's own busy handler sleeps up to fifty times as long between two attempts [s].
_LOCK_POLL = 0.002
_APPLICATION_ID = 0x62323466  # "b24f"
_TAKEN_AT_ONCE = 1_000

# key, value and expires are the columns of requests-cache; read_hour is for eviction.
_LAYOUT_SQL = (
    f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, value BLOB, expires INTEGER, read_hour INTEGER)",
    f"CREATE INDEX read_hour_idx ON {TABLE} (read_hour)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {LAYOUT}",
)

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# SQLite's codes for a damaged file. The last: our statements are constant, so it can only mean that
# a table or a column is missing.
_DAMAGED = {
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB),
    sqlite3.SQLITE_ERROR,
}

# Connections inherited by a forked process, where SQLite allows neither to use nor to close them.
_of_parents: list[object] = []

T = TypeVar("T")


class _Connection(sqlite3.Connection):
    """A connection to an existing file: SQLite would create one that everyone can read."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__(f"{Path(path).as_uri()}?mode=rw", uri=True, **options)
        # Decoding damaged text would raise an error of its own.
        self.text_factory = bytes


class _Table(SQLiteDict):
    """The table of requests-cache, opened with a bounded wait for locks."""

    def init_db(self) -> None:
        """Create the tables of an empty file; leave another program's file unchanged."""
        try:
            with self.connection() as connection:
                with transaction(connection, "DEFERRED"):
                    laid_out = _is_laid_out(connection)
                # Write-ahead log: a writer does not block readers.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                if not laid_out:
                    _lay_out(connection)
        except BaseException:
            self.close()
            raise


class SQLiteFile:
    """A file with the table of entries, for one thread at a time.

    Parameters
    ----------
    path : pathlib.Path
        The file; it and its folder are created when something is written.

    Attributes
    ----------
    pending_warnings : list of str
        Warnings about damage that was found, to be shown to the user.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending_warnings: list[str] = []
        self._table: _Table | None = None
        self._opened: tuple[int, int] | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function with a connection to the file, which is created if it does not exist.

        The function is called again if the file is locked or damaged.

        Raises
        ------
        CacheError
            The file cannot be used.
        """
        return self._guarded(lambda: work(self._open()))

    def read(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do the same with an existing file; return `otherwise` if there is none."""
        return self._guarded(lambda: otherwise if self._identity() is None else work(self._open()))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._own_lock():
            if self._table is not None:
                self._table.close()
                self._table = None

    def files(self) -> list[Path]:
        """Return the existing files: the side files of SQLite first, then the database."""
        names = [self.path.with_name(f"{self.path.name}{end}") for end in ("-shm", "-wal", "")]
        return [name for name in names if name.exists()]

    def _guarded(self, attempt: Callable[[], T]) -> T:
        """Call a function; once more with a fresh file if this one is damaged."""
        with self._own_lock():
            try:
                return self._try(attempt)
            except DamageError as damage:
                self._start_anew(damage)
            try:
                return self._try(attempt)
            except DamageError as damage:
                raise CacheError(f"the cache {self.path} is damaged again ({damage})") from damage

    def _try(self, attempt: Callable[[], T]) -> T:
        """Call a function, repeat it while the file is locked, and translate errors."""
        end = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return attempt()
            except (OSError, sqlite3.Error) as error:
                if is_of_caller(error):
                    raise
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
                if code in _DAMAGED:
                    raise DamageError(str(error)) from error
                # Another process may have quarantined the file between two statements.
                moved = code == sqlite3.SQLITE_CANTOPEN and self._identity() != self._opened
                if not (moved or code in _BUSY) or time.monotonic() > end:
                    message = f"the cache {self.path} cannot be used: {error}"
                    raise CacheError(message) from error
            time.sleep(_LOCK_POLL)

    def _open(self) -> sqlite3.Connection:
        """Return a connection to the present file at the path."""
        if self._identity() != self._opened:
            self.close()
        if self._table is None:
            if not self.path.exists():
                # For the user alone; SQLite creates its side files with the same mode.
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._opened = self._identity()
            self._table = _Table(
                self.path,
                table_name=TABLE,
                serializer=None,
                busy_timeout=0,  # see _try
                factory=_Connection,
            )
        with self._table.connection() as connection:
            return connection

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file at the path; None if there is none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def _own_lock(self) -> Iterator[None]:
        """Admit one thread at a time; leave open connections to the parent after a fork."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
            if self._table is not None:
                _of_parents.append(self._table._connection)
                self._table._connection = None
                self._table = None
        with self._lock:
            yield

    def _start_anew(self, damage: DamageError) -> None:
        """Quarantine the damaged file, and fill a fresh one with its intact entries."""
        aside = self._quarantine(damage)
        if aside is None:
            return
        notice = f"the cache {self.path} was damaged ({damage}): it is kept as {aside}"
        try:
            taken = self._try(lambda: self._salvage(aside))
            notice += f", and {taken:,} intact entries of it were taken over"
        finally:
            self.pending_warnings.append(notice)

    def _quarantine(self, damage: Exception) -> Path | None:
        """Rename the damaged file; return None if another process was faster."""
        self.close()
        now = datetime.now(UTC)
        aside = self.path.with_name(f"{self.path.name}{ASIDE}{now:%Y%m%dT%H%M%S%f}")
        try:
            with self._alone():
                if self._identity() != self._opened:
                    return None
                # The database last: otherwise a new one could meet the old write-ahead log.
                for file in self.files():
                    file.rename(file.with_name(file.name.replace(self.path.name, aside.name, 1)))
        except (OSError, sqlite3.Error) as error:
            if is_of_caller(error):
                raise
            message = f"the cache {self.path} is damaged ({damage}) and cannot be set aside"
            raise CacheError(f"{message}: {error}") from error
        return aside

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Admit one process at a time."""
        # A lock of the system, which is released even when a process is killed.
        lock = self.path.with_name(f"{self.path.name}.lock")
        with closing(sqlite3.connect(lock, timeout=LOCK_TIMEOUT, isolation_level=None)) as alone:
            alone.execute("BEGIN EXCLUSIVE")
            yield

    def _salvage(self, aside: Path) -> int:
        """Copy the intact entries of a quarantined file; return how many there were."""
        taken = 0
        connection = self._open()
        with (
            suppress(sqlite3.DatabaseError),
            closing(sqlite3.connect(f"{aside.as_uri()}?mode=ro", uri=True)) as old,
        ):
            old.text_factory = bytes
            rows = old.execute(f"SELECT key, value, read_hour FROM {TABLE}")
            intact = ((key.decode(), *rest) for key, *rest in rows if is_intact(key, rest[0]))
            for batch in chunks(intact, _TAKEN_AT_ONCE):
                with transaction(connection):
                    connection.executemany(
                        f"INSERT OR IGNORE INTO {TABLE} (key, value, read_hour) VALUES (?, ?, ?)",
                        batch,
                    )
                taken += len(batch)
        return taken


def quarantined(path: Path) -> list[Path]:
    """Return the quarantined files, which are the user's to delete."""
    asides = sorted(path.parent.glob(f"{glob.escape(path.name)}{ASIDE}*"))
    return [file for file in asides if not file.name.endswith(("-wal", "-shm"))]


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Write all or nothing, and say so when it is nothing.

    The transactions of requests-cache roll back without an error when the disk is full.
    """
    try:
        # Within, since an interruption right after it would leave the transaction open.
        connection.execute(f"BEGIN {kind}")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of an integer pragma."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_laid_out(connection: sqlite3.Connection) -> bool:
    """Return whether the file has this layout; False if it is empty, else raise."""
    application, version = pragma(connection, "application_id"), pragma(connection, "user_version")
    if (application, version) == (_APPLICATION_ID, LAYOUT):
        return True
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if TABLE.encode() in names or application == _APPLICATION_ID:
        raise DamageError(f"its layout has the version {version}, not {LAYOUT}")
    if names:  # not ours to move
        raise sqlite3.DatabaseError("it is a database of another program")
    return False


def _lay_out(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        if not _is_laid_out(connection):
            for statement in _LAYOUT_SQL:
                connection.execute(statement)


# A list in one parameter, since SQLite bounds their number.
_KEY_IN_LIST = "key IN (SELECT value FROM json_each(?))"
_HOUR = 3600
_ROOM = 0.1  # the share that eviction frees, so that not every write evicts


class SQLiteStore:
    """Entries in a file.

    Each method raises `CacheError` if the file cannot be used.

    Parameters
    ----------
    path : pathlib.Path
        The file; it and its folder are created by the first write.
    max_size : int or None
        The size beyond which writing evicts entries [bytes]; None for no bound.
    """

    def __init__(self, path: Path, max_size: int | None) -> None:
        self._file = SQLiteFile(path)
        self._max_size = max_size
        self.pending_warnings = self._file.pending_warnings
        self.close = self._file.close

    def read(self, keys: Sequence[str], now: float) -> dict[str, Entry]:
        """Return the existing entries, and record the hour of reading."""
        hour = int(now / _HOUR)
        query = f"SELECT key, value, read_hour FROM {TABLE} WHERE {_KEY_IN_LIST}"

        def read(connection: sqlite3.Connection) -> dict[str, Entry]:
            entries: dict[str, Entry] = {}
            unnoted: list[str] = []
            for raw, value, read_hour in connection.execute(query, [json.dumps(keys)]):
                entries[key := raw.decode()] = decode(raw, value)
                if read_hour != hour:
                    unnoted.append(key)
            if unnoted:
                # A locked or read-only file goes without.
                with suppress(sqlite3.OperationalError), transaction(connection):
                    note = f"UPDATE {TABLE} SET read_hour = {hour} WHERE {_KEY_IN_LIST}"
                    connection.execute(note, [json.dumps(unnoted)])
            return entries

        return self._file.read(read, {})

    def write(self, rows: Sequence[tuple[str, bytes]], now: float) -> None:
        """Write entries in one transaction, and evict others beyond the maximum size."""
        hour = int(now / _HOUR)
        query = f"INSERT OR REPLACE INTO {TABLE} (key, value, read_hour) VALUES (?, ?, {hour})"

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany(query, rows)
                if self._max_size is not None:
                    _evict(connection, self._max_size)

        self._file.write(write)

    def keys_with_times(self) -> list[tuple[str, bytes]]:
        """Return each key, with the beginning of its value."""
        query = f"SELECT key, substr(value, 1, {TIMESTAMP_END}) FROM {TABLE}"

        def keys_with_times(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
            rows = (row for row in connection.execute(query) if type(row[0]) is bytes)
            return [(key.decode(errors="replace"), head) for key, head in rows]

        return self._file.read(keys_with_times, [])

    def delete(self, keys: Sequence[str] | None) -> int:
        """Delete entries, or all, and vacuum the file; return how many existed."""

        def delete(connection: sqlite3.Connection) -> int:
            is_meant, values = (_KEY_IN_LIST, [json.dumps(keys)]) if keys is not None else ("1", [])
            with transaction(connection):
                query = f"DELETE FROM {TABLE} WHERE {is_meant}"
                deleted = connection.execute(query, values).rowcount
            if deleted:
                _vacuum(connection)
            return deleted

        return self._file.read(delete, 0)

    def size(self) -> int:
        """Return the size of the file and its write-ahead log [bytes]."""
        return sum(file.stat().st_size for file in self._file.files() if file.name[-4:] != "-shm")

    def evict(self, max_size: int) -> int:
        """Delete the least recently read entries until the rest fits; return how many."""

        def evict(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                deleted = _evict(connection, max_size)
            _vacuum(connection)
            return deleted

        return self._file.read(evict, 0)


def _evict(connection: sqlite3.Connection, max_size: int) -> int:
    """Delete the least recently read entries beyond `max_size`; return how many."""
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
    """Return the size of the pages in use [bytes]."""
    pages = pragma(connection, "page_count") - pragma(connection, "freelist_count")
    return pages * pragma(connection, "page_size")


def _vacuum(connection: sqlite3.Connection) -> None:
    """Shrink the file, unless others use it."""
    # Deleted records are personal data, which SQLite would leave in free pages.
    with suppress(sqlite3.OperationalError):
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
