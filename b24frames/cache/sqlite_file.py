"""An SQLite file of requests-cache, guarded against what can happen to a file.

There is one way for all damages: the file is set aside under another name, never deleted; a fresh
one is started; and what is intact in the old one is taken over.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from requests_cache.backends.sqlite import SQLiteDict

from b24frames.cache.entries import LAYOUT, DamageError, is_intact
from b24frames.errors import CacheError
from b24frames.ids import chunks

TABLE = "activities"
ASIDE = ".aside-"  # between the name of a damaged file and the time when it was found
LOCK_TIMEOUT = 10.0  # [s] how long another program's lock is waited for
_LOCK_POLL = 0.002  # [s] SQLite itself would sleep up to fifty times as long between two looks
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

# SQLite's codes for a file that is not, or no longer, as it was laid out.
_DAMAGED = {
    sqlite3.SQLITE_ERROR,  # our statements are constant, so a table or a column is not there
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_NOTADB,
}

# Connections that a forked process has inherited: closing them is the parent's.
_of_parents: list[object] = []

T = TypeVar("T")


class _DamagedFileError(Exception):
    """The file is to be set aside; the message says why."""


class _Connection(sqlite3.Connection):
    """A connection to a file that is there: SQLite would make one that all can read."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__(f"{Path(path).as_uri()}?mode=rw", uri=True, **options)
        self.text_factory = bytes  # damaged text must not end in an error of its own


class _Table(SQLiteDict):
    """The table of requests-cache, opened without waiting for a lock for ever."""

    def init_db(self) -> None:
        """Lay the file out, unless it is; nothing of another program's file is changed."""
        try:
            with self.connection() as connection:
                with transaction(connection, "DEFERRED"):
                    laid_out = _is_laid_out(connection)
                connection.execute("PRAGMA journal_mode = WAL")  # a writer keeps no reader waiting
                connection.execute("PRAGMA synchronous = NORMAL")
                if not laid_out:
                    _lay_out(connection)
        except BaseException:
            self.close()
            raise


class SQLiteFile:
    """A file with the table of entries; one thread at a time.

    Parameters
    ----------
    path : pathlib.Path
        The file; it and its folder are made when something is to be written.

    Attributes
    ----------
    notices : list of str
        What the user has to be told about damages that were found.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._table: _Table | None = None
        self._opened: tuple[int, int] | None = None
        self._process = os.getpid()
        self._lock = threading.RLock()

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the file, which is made where there is none.

        The work is done again from its beginning when a lock is met, or the file is damaged.

        Raises
        ------
        CacheError
            The file cannot be used.
        """
        return self._guarded(lambda: work(self._open()))

    def look(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do the same where there is a file; looking at a cache makes none."""
        return self._guarded(lambda: otherwise if self._identity() is None else work(self._open()))

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._own_lock():
            if self._table is not None:
                self._table.close()
                self._table = None

    def files(self) -> list[Path]:
        """Return the files that there are: the side files of SQLite first, then the database."""
        names = [self.path.with_name(f"{self.path.name}{end}") for end in ("-shm", "-wal", "")]
        return [name for name in names if name.exists()]

    def _guarded(self, attempt: Callable[[], T]) -> T:
        """Do something; once more with a fresh file where it is damaged."""
        with self._own_lock():
            try:
                return self._try(attempt)
            except _DamagedFileError as damage:
                self._start_anew(damage)
            try:
                return self._try(attempt)
            except _DamagedFileError as damage:
                raise CacheError(f"the cache {self.path} is damaged again ({damage})") from damage

    def _try(self, attempt: Callable[[], T]) -> T:
        """Do something, wait a limited time for others, and sort the errors."""
        end = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                return attempt()
            except DamageError as error:
                raise _DamagedFileError(str(error)) from error
            except (OSError, sqlite3.Error) as error:
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
                if code in _DAMAGED:
                    raise _DamagedFileError(str(error)) from error
                moved = code == sqlite3.SQLITE_CANTOPEN and self._identity() != self._opened
                if not (moved or code in _BUSY) or time.monotonic() > end:
                    message = f"the cache {self.path} cannot be used: {error}"
                    raise CacheError(message) from error
            time.sleep(_LOCK_POLL)

    def _open(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._identity() != self._opened:
            self.close()
        if self._table is None:
            self._make_private_file()
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
        """Return which file is at the path; None: none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _make_private_file(self) -> None:
        """Make folder and file for the user alone; SQLite gives its side files the same mode."""
        if not self.path.exists():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    @contextmanager
    def _own_lock(self) -> Iterator[None]:
        """Let in one thread at a time; a forked process leaves what is open to its parent."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
            if self._table is not None:
                _of_parents.append(self._table._connection)
                self._table._connection = None
                self._table = None
        with self._lock:
            yield

    def _start_anew(self, damage: _DamagedFileError) -> None:
        """Set the damaged file aside, and begin a fresh one with what is intact."""
        aside = self._set_aside(damage)
        if aside is None:
            return
        notice = f"the cache {self.path} was damaged ({damage}): it is kept as {aside}"
        try:
            taken = self._try(lambda: self._take_over(aside))
            notice += f", and {taken:,} intact entries of it were taken over"
        finally:
            self.notices.append(notice)

    def _set_aside(self, damage: Exception) -> Path | None:
        """Give the damaged file another name; None: another process was faster."""
        self.close()
        now = datetime.now(UTC)
        aside = self.path.with_name(f"{self.path.name}{ASIDE}{now:%Y%m%dT%H%M%S%f}")
        try:
            with self._alone():
                if self._identity() != self._opened:
                    return None
                # The database last: without it, SQLite makes nothing of a write-ahead log.
                for file in self.files():
                    file.rename(file.with_name(file.name.replace(self.path.name, aside.name, 1)))
        except (OSError, sqlite3.Error) as error:
            message = f"the cache {self.path} is damaged ({damage}) and cannot be set aside"
            raise CacheError(f"{message}: {error}") from error
        return aside

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let in one process at a time; the system opens this lock when a process ends."""
        lock = self.path.with_name(f"{self.path.name}.lock")
        with closing(sqlite3.connect(lock, timeout=LOCK_TIMEOUT, isolation_level=None)) as alone:
            alone.execute("BEGIN EXCLUSIVE")
            yield

    def _take_over(self, aside: Path) -> int:
        """Copy the intact entries of a file that was set aside; return how many were found."""
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


def set_aside(path: Path) -> list[Path]:
    """Return the damaged files that were set aside; they are the user's to delete."""
    asides = sorted(path.parent.glob(f"{glob.escape(path.name)}{ASIDE}*"))
    return [file for file in asides if not file.name.endswith(("-wal", "-shm"))]


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Write all or nothing, and say so when it is nothing.

    The transactions of requests-cache roll back without an error when the disk is full.
    """
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return one of the numbers that SQLite tells of a file."""
    number: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return number


def _is_laid_out(connection: sqlite3.Connection) -> bool:
    """Tell whether the file is of this layout; raise where it is not, but not empty either."""
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
    """Make the table, unless another process was faster."""
    with transaction(connection):
        if not _is_laid_out(connection):
            for statement in _LAYOUT_SQL:
                connection.execute(statement)
