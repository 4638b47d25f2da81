"""The cache of activities: reading, writing and managing its entries."""

from __future__ import annotations

import html
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from requests_cache.backends.base import BaseCache

from b24frames.arguments import parse_age
from b24frames.cache.backends import BackendStore
from b24frames.cache.entries import (
    ACTIVITY_METHOD,
    Lookup,
    PortalUser,
    encode,
    parse_key,
    prefix_of,
    timestamp_of,
)
from b24frames.cache.sqlite import SQLiteStore, quarantined
from b24frames.credentials import scrub_traceback
from b24frames.errors import CacheError, CacheWarning
from b24frames.ids import parse_ids
from b24frames.messages import facts_html, short_repr, visible, warn_at_caller
from b24frames.paths import cache_file

# A missing id may be created any time: its absence is trusted for a short time only [s].
MISSING_AGE = 600.0
MAX_SIZE = 1_000_000_000  # [bytes]


class ActivityCache:
    """Activities kept on this machine in one SQLite file, or in a backend of requests-cache.

    Parameters
    ----------
    path : path-like, optional
        A folder, or a file with the suffix ``.sqlite``, ``.sqlite3`` or ``.db``. By default the
        environment variable ``B24FRAMES_CACHE``, or else the user's cache folder.
    max_size : int or None, default 1 000 000 000
        The approximate size of the file [bytes]; beyond it the least recently read entries, to
        the hour, are evicted. None for no bound.
    backend : requests_cache.BaseCache, optional
        A store to use in place of a file, such as ``requests_cache.RedisCache()``, which must be
        for b24frames alone. Its own limits hold, not `max_size`.

    Attributes
    ----------
    path : pathlib.Path or None
        The file. It and its folder are created by the first write, for the user alone.

    Warns
    -----
    CacheWarning
        The file was damaged. It is renamed, never deleted; a fresh file takes over its intact
        entries.

    Notes
    -----
    Entries belong to a portal's address and a user id: two users of one portal never see each
    other's. No webhook secret or token is stored. Threads and processes may share a file. A pickled
    cache is its path.

    Examples
    --------
    >>> cache = ActivityCache(folder)
    >>> cache.info()["entries"]
    0
    """

    @scrub_traceback
    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_size: int | None = MAX_SIZE,
        backend: BaseCache | None = None,
    ) -> None:
        self._max_size = _check_max_size(max_size)
        self.path: Path | None = None
        self._store: SQLiteStore | BackendStore
        if backend is None:
            self.path = cache_file(path)
            self._store = SQLiteStore(self.path, max_size)
        elif path is not None or max_size != MAX_SIZE:
            raise ValueError("a backend has a place and limits of its own: no path, no max_size")
        elif isinstance(backend, BaseCache):
            self._store = BackendStore(backend)
        else:
            kind = type(backend).__name__
            raise TypeError(f"backend is of type {kind}; a requests_cache.BaseCache is needed")

    def __repr__(self) -> str:
        place = repr(str(self.path)) if self.path else f"backend={self._store!r}"
        return f"{type(self).__name__}({place})"

    def _repr_html_(self) -> str:
        try:
            facts = self.info()
        except CacheError as error:
            return f"<p>{html.escape(str(error))}</p>"
        users = facts.pop("portals")
        facts |= {f"entries of {user}": entries for user, entries in users.items()}
        return facts_html([(name, _readable(value)) for name, value in facts.items()])

    def __reduce__(self) -> tuple[Callable[[Path], ActivityCache], tuple[Path]]:
        """Pickle the path alone: an open file cannot be moved to another process."""
        if self.path is None:
            raise TypeError(f"{self!r} cannot be pickled: its backend may hold a connection")
        return partial(type(self), max_size=self._max_size), (self.path,)

    def read(
        self,
        portal: PortalUser,
        ids: Iterable[int],
        max_age: float | None,
        missing_age: float | None = MISSING_AGE,
        now: float | None = None,
        method: str = ACTIVITY_METHOD,
    ) -> Lookup:
        """Return the entries of the ids.

        Parameters
        ----------
        portal : Portal
            Whose entries.
        ids : iterable of int
            The activities.
        max_age : float or None
            The greatest age of a record [s]; None for any age. An entry from the future (the clock
            was moved) is too old.
        missing_age : float or None
            The same for missing ids, if it is less; None for any age.
        now : float, optional
            The present, as Unix time [s].
        method : str, default "crm.activity.get"
            What the entries are of: names are kept under other methods.

        Returns
        -------
        Lookup
            Records, reasons for missing ones, and ids whose entries are too old.

        Raises
        ------
        CacheError
            The cache cannot be read.
        """
        hits = Lookup()
        prefix = f"{prefix_of(portal)}{method}~"
        keys = {f"{prefix}{i}": i for i in ids}
        entries = self._store.read(list(keys), time.time() if now is None else now)
        # Only now: an entry that another process wrote during the read must not be in the future.
        now = time.time() if now is None else now
        record_limit = math.inf if max_age is None else max_age
        missing_limit = min(record_limit, math.inf if missing_age is None else missing_age)
        oldest = now * 1000
        for key, (is_record, timestamp, text) in entries.items():
            # Not negative: a clock that was set back would make an entry fresh for too long.
            fresh = 0 <= now - timestamp / 1000 < (record_limit if is_record else missing_limit)
            if fresh and is_record:
                hits.records[keys[key]] = text
                oldest = min(oldest, timestamp)
            elif fresh:
                hits.missing[keys[key]] = text.decode()
            elif is_record:
                hits.too_old.append(keys[key])
        hits.age = now - oldest / 1000
        return hits

    def write(
        self,
        portal: PortalUser,
        records: Mapping[int, bytes],
        missing: Mapping[int, str],
        now: float | None = None,
        method: str = ACTIVITY_METHOD,
    ) -> None:
        """Store records, and reasons for missing ones, in one transaction.

        Parameters
        ----------
        portal : Portal
            Whose entries.
        records : mapping of int to bytes
            The JSON text of each record.
        missing : mapping of int to str
            The reason why there is no record.
        now : float, optional
            When the records were requested, as Unix time [s].
        method : str, default "crm.activity.get"
            What the entries are of: names are kept under other methods.

        Raises
        ------
        CacheError
            The cache cannot be written; nothing was stored.
        """
        now = time.time() if now is None else now
        prefix, timestamp = f"{prefix_of(portal)}{method}~", int(now * 1000)
        texts = [(f"{prefix}{i}", True, record) for i, record in records.items()]
        # The reason is the portal's text, which may hold lone surrogates.
        texts += [(f"{prefix}{i}", False, visible(why).encode()) for i, why in missing.items()]
        rows = [(key, encode(key, is_record, timestamp, text)) for key, is_record, text in texts]
        self._store.write(rows, now)

    def info(self) -> dict[str, Any]:
        """Return size, age and owners of the entries.

        Returns
        -------
        dict
            ``path``, ``entries`` (activities), ``names`` (of users and owners), ``size`` [bytes],
            ``oldest`` and ``newest`` (ISO 8601, UTC, or None), ``portals``: entries by
            ``"host user"``, ``set_aside``: damaged files.

        Examples
        --------
        >>> ActivityCache(folder).info()["portals"]
        {}
        """
        portals: Counter[str] = Counter()
        timestamps: list[int] = []
        names = 0
        for key, head in self._store.keys_with_times():
            # A damaged key or value has no owner or no timestamp.
            if (parsed := parse_key(key)) and (timestamp := timestamp_of(head)):
                if parsed.method != ACTIVITY_METHOD:
                    names += 1
                    continue
                portals[parsed.owner] += 1
                timestamps.append(timestamp)
        facts = {
            "path": str(self.path or self._store),
            "entries": len(timestamps),
            "names": names,
            "size": self._store.size(),
            "oldest": _iso(min(timestamps)) if timestamps else None,
            "newest": _iso(max(timestamps)) if timestamps else None,
            "portals": dict(sorted(portals.items())),
            "set_aside": [str(file) for file in quarantined(self.path)] if self.path else [],
        }
        self._warn()
        return facts

    @scrub_traceback
    def clear(self, ids: object = None, portal: PortalUser | None = None) -> int:
        """Delete entries: all, or those of some activities, of a portal and user, or of both.

        Parameters
        ----------
        ids : int, str, or iterable of them, optional
            As in `b24frames.read_activities`; by default all.
        portal : Portal, optional
            Whose entries; by default those of all portals and users.

        Returns
        -------
        int
            The number of deleted entries.

        Examples
        --------
        >>> ActivityCache(folder).clear(ids=[1, 2])
        0
        """
        # The message names the type alone: a webhook URL given here holds a secret.
        if portal is not None and not hasattr(portal, "address"):
            raise TypeError(f"portal is of type {type(portal).__name__}; a Portal is needed")
        if ids is None and portal is None:
            return self._forget(None)
        wanted = None if ids is None else {(ACTIVITY_METHOD, i) for i in parse_ids(ids)}
        prefix = "" if portal is None else prefix_of(portal)
        return self._forget(
            key
            for key, _ in self._store.keys_with_times()
            if key.startswith(prefix)
            and (wanted is None or ((parsed := parse_key(key)) and parsed[1:] in wanted))
        )

    @scrub_traceback
    def prune(self, older_than: Any = None, *, max_size: int | None = None) -> int:
        """Delete entries that are older than a time span, or the least recently read ones.

        Parameters
        ----------
        older_than : str, timedelta or the like, optional
            A time span, such as ``"30d"``.
        max_size : int, optional
            Delete the least recently read entries until the rest takes no more [bytes].

        Returns
        -------
        int
            The number of deleted entries.

        Raises
        ------
        ValueError
            Neither is given, or one is invalid.

        Examples
        --------
        >>> ActivityCache(folder).prune(older_than="30d")
        0
        """
        age, bound = parse_age(older_than, "older_than"), _check_max_size(max_size)
        if age is None and max_size is None:
            raise ValueError("older_than=None is not a time span; write for example '30d'")
        # By age first, which may already make enough room.
        forgotten = 0
        if age is not None:
            limit = (time.time() - age) * 1000
            old = (key for key, head in self._store.keys_with_times() if timestamp_of(head) < limit)
            forgotten = self._forget(old)
        if bound is not None:
            forgotten += self._store.evict(bound)
            self._warn()
        return forgotten

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._store.close()

    def take_warnings(self) -> list[str]:
        """Return, once, the warnings about damage that was found."""
        # Popped one by one: another thread may append a warning meanwhile.
        pending_warnings = self._store.pending_warnings
        return [pending_warnings.pop(0) for _ in range(len(pending_warnings))]

    def _forget(self, keys: Iterable[str] | None) -> int:
        forgotten = self._store.delete(None if keys is None else list(keys))
        self._warn()
        return forgotten

    def _warn(self) -> None:
        if pending_warnings := self.take_warnings():
            warn_at_caller("; ".join(pending_warnings), CacheWarning)


def _check_max_size(max_size: Any) -> int | None:
    # `type` and not isinstance, since True is an int.
    if max_size is None or (type(max_size) is int and max_size > 0):
        return max_size
    given = short_repr(max_size)
    raise ValueError(f"max_size={given} is not a number of bytes; accepted are ints and None")


def _readable(value: object) -> str:
    """Return a fact as text: numbers with thousands separators, lists joined."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
