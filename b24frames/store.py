"""`ActivityStore`: what a filter matches, as a Delta Lake table that is brought up to date.

What the next sync has to know (up to which id all rows are there, and since when changes may be
missing) are application transactions of the Delta log [1]_: they change in the same commit as the
rows, outlive compaction and vacuum, and of two programs that write them at once one is refused.
What never changes is in the table's properties.

References
----------
.. [1] https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from importlib.util import find_spec
from itertools import chain, repeat
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd

from b24frames import arguments
from b24frames.arguments import ProgressBar
from b24frames.by_filter import Search
from b24frames.credentials import looks_like_address, scrub_traceback
from b24frames.errors import StoreBusyError, StoreError
from b24frames.filters import Alternative, Filters, parse_filters
from b24frames.frame import Layout, sort_extras
from b24frames.frame.convert import unix_seconds
from b24frames.messages import one_line, short_repr
from b24frames.output import attrs_of, iter_frames, progress_bar
from b24frames.portal import Portal, as_portal
from b24frames.records import ReadReport, Records, SyncReport
from b24frames.schema import COLUMNS, Backend

with suppress(ImportError):  # ActivityStore says what is lacking
    import deltalake as dl
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake.exceptions import CommitFailedError, TableNotFoundError

    from b24frames.frame import arrow

_SCHEMA_VERSION = "1"
_HIGHEST, _SINCE = "b24frames.highest_id", "b24frames.changed_since"
_ROWS_A_COMMIT = 20_000  # each is a file, which takes 1.5 ms to open; 30 000 take 50 MB more
_AT_ONCE = 4  # requests: twelve would take 120 MB more, and 2 a second need no more
_MARGIN = 500  # ids below the highest that may be committed after it
_OVERLAP = 600  # [s] by which changes may be committed after their time
# By the statistics of these, engines pass over files; those of 44 would take longer to read.
_STATS = {"delta.dataSkippingStatsColumns": "ID,CREATED,LAST_UPDATED,START_TIME,END_TIME,DEADLINE"}
# What a merged or converted owner rewrites, and what any other change does.
_TRACES = ("ID", "OWNER_TYPE_ID", "OWNER_ID", "LAST_UPDATED")
_HOUR = 3_600 * 1_000_000
# In messages of deltalake: colours, and logins in addresses.
_UNSHOWN = re.compile(r"\x1b\[\d+m|(?<=//)[^/@\s]*:[^/@\s]*@")


class ActivityStore:
    """Activities of a portal in a Delta Lake table [1]_, which every engine reads.

    Parameters
    ----------
    place : str or path-like
        A folder, or any other address that deltalake takes, such as ``s3://bucket/activities``.
    portal : Portal or str, optional
        As of `read_activities`; needed by `sync` only.
    filters : list of tuple, or list of list of tuple, optional
        What the table holds, as of `find_activities`, by default every activity that the user may
        see; needed by `sync` only. Dates without a zone are meant in UTC.
    storage_options : dict of str to str, optional
        What deltalake needs to reach the place. It is kept nowhere.

    Raises
    ------
    TypeError, ValueError
        An argument that is not accepted.
    ImportError
        The extra ``store`` is not installed.

    Notes
    -----
    One row an activity, with the dtypes of ``dtype_backend="pyarrow"``: nested fields are JSON
    text, datetimes are in UTC. The table is partitioned by ``ID_BLOCK``, which is ID // 100 000.

    References
    ----------
    .. [1] https://delta.io

    Examples
    --------
    >>> store = ActivityStore(folder / "calls", portal, [("TYPE_ID", "==", "call")])
    >>> report = store.sync()
    >>> len(store.read(["SUBJECT", "CREATED"])) == report.added
    True
    """

    @scrub_traceback
    def __init__(
        self,
        place: str | os.PathLike[str],
        portal: Portal | str | None = None,
        filters: Filters | None = None,
        *,
        storage_options: dict[str, str] | None = None,
    ) -> None:
        if find_spec("deltalake") is None or find_spec("pyarrow") is None:
            raise ImportError("ActivityStore needs: python -m pip install 'b24frames[store]'")
        if not isinstance(place, (str, os.PathLike)) or not str(place):
            raise TypeError(f"place={short_repr(place)} is not a folder or another address")
        self._place = os.path.expanduser(place)  # noqa: PTH111 - a Path would spoil s3://
        if looks_like_address(self._place) and re.search(r"/rest/\d+/", self._place):
            raise ValueError("place is the address of a portal, not of a table")
        if _UNSHOWN.search(self._place) or re.search(r"://.*\?", self._place):
            raise ValueError("place has a login or query, which belongs into storage_options")
        self._portal = None if portal is None else as_portal(portal)
        given = arguments.fixed(filters)
        self._selection = _canonical(parse_filters(given, UTC))
        given = given or [("ID", ">", 0)]
        self._filters = [given] if isinstance(given[0], tuple) else given
        self._options = options = storage_options or {}
        texts = chain(*options.items()) if isinstance(options, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("storage_options is not a dict of str to str")  # it may hold secrets

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place!r})"

    def __getstate__(self) -> dict[str, Any]:
        if self._options:
            raise TypeError("a store with storage_options, which may be secrets, is not pickled")
        return vars(self)

    @property
    def table(self) -> Any:
        """The `deltalake.DeltaTable` as it is now, for other engines and for maintenance."""
        with _storing(self._place):
            return dl.DeltaTable(self._place, storage_options=self._options)

    def sync(self, full: bool = False, progress: bool | ProgressBar | None = None) -> SyncReport:
        """Bring the table up to date; the first time, read all that matches.

        Parameters
        ----------
        full : bool, default False
            Also go through all ids that match, for what leaves no trace in LAST_UPDATED: changed
            owners, deletions, and what this user may no longer read. One request more for each
            2 500 rows.
        progress : bool or ProgressBar, optional
            As of `read_activities`.

        Returns
        -------
        SyncReport
            What has changed. The portal does not tell why a row is gone: it was deleted, is no
            longer visible to this user, or no longer matches.

        Raises
        ------
        ValueError
            The table holds other filters, or the activities of another portal or user.
        StoreBusyError
            Another program has written to the table meanwhile; sync again.
        StoreError
            The table cannot be read or written.
        PortalError
            As of `find_activities`. What was committed stays; the next sync goes on from there.

        Notes
        -----
        Rows change in one commit together with what the next sync has to know; more than 20 000
        are committed in parts, each of which ends at an id. New activities are found by their
        ids, so that calls are found which telephony enters under an earlier time; what was
        changed is found by LAST_UPDATED, from ten minutes before the last sync on, by the
        portal's own clock.
        """
        start = perf_counter()
        arguments.check_choice("full", full, Literal[True, False])
        arguments.check_progress(progress)
        portal = as_portal(self._portal)
        table = self._open(portal)
        report = SyncReport()
        with progress_bar(1, progress) as bar:
            _Sync(self._place, table, portal, self._filters, bar, report).run(full)
        with _storing(self._place):
            report.unchanged = table.count() - report.added - report.changed
        report.seconds = round(perf_counter() - start, 1)
        return report

    def read(
        self,
        columns: Iterable[str] | None = None,
        filters: Filters | None = None,
        *,
        dtype_backend: Backend = "numpy_nullable",
        tz: str | tzinfo = "UTC",
    ) -> pd.DataFrame:
        """Read activities from the table, without any request.

        Parameters
        ----------
        columns, filters, dtype_backend, tz : optional
            As of `find_activities`, but BINDINGS. Only these columns are read, and only those
            parts of the files in which rows may match. COMMUNICATIONS and IS_INCOMING_CHANNEL are
            in no table, and so NA.

        Returns
        -------
        pandas.DataFrame, shape (m, k)
            As of `find_activities`: one row for each activity, ascending by ID, which is the
            index.

        Raises
        ------
        TypeError, ValueError
            An argument that is not accepted.
        StoreError
            There is no table, or it cannot be read.
        """
        names, zone = arguments.check_columns(columns), arguments.check_tz(tz)
        arguments.check_backend(dtype_backend)
        expression = arrow.to_expression(parse_filters(filters, zone))
        table = self.table
        facts = _facts(table, self._place)
        with _storing(self._place):
            dataset = table.to_pyarrow_dataset()
            held = [name for name in dataset.schema.names if name != arrow.BLOCK]
            names = (*COLUMNS, *sort_extras(held)) if names is None else names
            wanted = [name for name in held if name == "ID" or name in names]
            rows = arrow.sort_by_id(dataset.to_table(columns=wanted, filter=expression))
        frame = arrow.to_pandas(rows, names, dtype_backend, zone)
        owner: Any = SimpleNamespace(address=facts["portal"], user_id=facts["user_id"])
        report = ReadReport(len(frame), len(frame), read_at=facts["synced_at"])
        frame.attrs["b24"] = attrs_of(owner, report)
        return frame

    def info(self) -> dict[str, Any]:
        """Return what the table holds, and of whom.

        Returns
        -------
        dict of str to object
            ``portal``, ``user_id``, ``filters`` as they are sent, ``highest_id``, ``synced_at``
            (by the portal's clock, the start of the last sync that changed anything), ``rows``,
            ``files``, ``size`` [bytes], and ``version`` of the Delta table.
        """
        table = self.table
        facts = _facts(table, self._place)
        with _storing(self._place):
            sizes = table.get_add_actions()["size_bytes"].to_pylist()
            rows = table.count()
        facts["filters"] = json.loads(facts["filters"])
        size = {"rows": rows, "files": len(sizes), "size": sum(sizes)}
        return facts | size | {"version": table.version()}

    def _open(self, portal: Portal, mode: Literal["ignore", "overwrite"] = "ignore") -> Any:
        """Return the table, made if there is none, or raise where it is not of these rows."""
        mine = {
            "portal": portal.address,
            "user_id": portal.user_id,
            "filters": self._selection,
            "schema": _SCHEMA_VERSION,
        }
        with _storing(self._place, "no table can be made there"):
            dl.DeltaTable.create(
                self._place,
                arrow.add_blocks(arrow.to_arrow([])).schema,
                mode=mode,
                partition_by=[arrow.BLOCK],
                configuration=_STATS | {f"b24frames.{n}": str(fact) for n, fact in mine.items()},
                storage_options=self._options,
                raise_if_key_not_exists=False,
            )
        table = self.table
        facts = _facts(table, self._place)
        for name in (name for name, fact in mine.items() if facts[name] != fact):
            # Made by a sync that failed before its first commit: there is nothing to lose.
            if mode == "ignore" and not (facts["highest_id"] or table.count()):
                return self._open(portal, "overwrite")
            raise ValueError(
                f"{self._place} holds {name} {facts[name]}, not {name} {mine[name]}; "
                "what else is to be kept needs a place of its own"
            )
        return table


@dataclass
class _Sync:
    """A sync under way: it reads by the filters, writes to the table, and fills the report."""

    place: str
    table: dl.DeltaTable
    portal: Portal
    filters: list[Any]
    bar: ProgressBar | None
    report: SyncReport
    now: int = 0  # the portal's time when it was asked first [s since 1970]

    def __post_init__(self) -> None:
        self.highest = self.table.transaction_version(_HIGHEST) or 0
        self.since = self.table.transaction_version(_SINCE) or 0

    def run(self, full: bool) -> None:
        """Read what may have changed, and commit what has."""
        # What is created while alternatives are read, one may see and another not: the table is
        # complete up to an id that was there before all of them.
        newest = [i for ids in self._search([[("ID", ">", 0)]], ("ID",), {}, 1) for i in ids]
        suspects: set[int] = set()
        if self.highest:
            moment = datetime.fromtimestamp(max(self.since - _OVERLAP, 0), UTC)
            changed = [("LAST_UPDATED", ">=", moment), ("ID", "<=", self.highest)]
            suspects.update(*self._search([changed], ("ID",), {}))
            if full:
                suspects.update(self._reconcile())
        has_suspects = bool(suspects)
        # All suspects are asked for again, by the filters: those that do not come are gone.
        bounds = (("ID", ">", self.highest - _MARGIN), ("ID", "in", sorted(suspects)))
        filters = [[*conditions, bound] for bound in bounds for conditions in self.filters]
        records: Records = {}
        ready: list[int] = []
        for ids in self._search(filters, None, records):
            ready += ids
            suspects.difference_update(ids)
            while len(ready) > _ROWS_A_COMMIT:
                some, ready = ready[:_ROWS_A_COMMIT], ready[_ROWS_A_COMMIT:]
                self.highest = max(self.highest, min([some[-1], *newest]))
                self._commit([*map(records.pop, some)], [], self.since or self.now)
        self.highest = max([self.highest, *newest])
        lines, since = [*map(records.pop, ready)], self.now or self.since
        self._commit(lines, list(suspects), since, even_if_same=has_suspects)

    def _search(
        self,
        filters: list[Any],
        columns: tuple[str, ...] | None,
        records: Records,
        limit: int | None = None,
    ) -> Iterator[list[int]]:
        """Yield the ids of what matches, once their records are there."""
        alternatives = parse_filters(filters, UTC)
        search = Search(
            self.portal, alternatives, columns, None, records, self.bar, limit, _AT_ONCE
        )
        with closing(iter(search)) as steps:
            for ids in steps:
                self.now = self.now or unix_seconds(search.report.portal_time)
                yield ids
        self.now = self.now or unix_seconds(search.report.portal_time)
        self.report.http_requests += search.report.http_requests

    def _reconcile(self) -> Iterator[int]:
        """Yield the ids of rows that are not as the portal lists them, or in one place only."""
        records: Records = {}
        found = self._search(self.filters, _TRACES, records)
        layout = Layout(_TRACES, None, dtype_backend="pyarrow")
        parts = iter_frames(records, found, arrow.ROWS_A_GROUP, layout, repeat({}))
        listed = pd.concat([arrow.as_numbers(part) for part in parts])
        with _storing(self.place):
            rows = self.table.to_pyarrow_dataset().to_table(columns=list(_TRACES))
        held = arrow.as_numbers(rows.to_pandas(types_mapper=pd.ArrowDtype))
        off = (listed - held).abs()
        # Where few fields are asked for, dates may be an hour off.
        off["LAST_UPDATED"] %= _HOUR
        yield from off.index[(off != 0).any(axis=1)].tolist()

    def _commit(
        self, lines: list[bytes], suspects: list[int], since: int, *, even_if_same: bool = False
    ) -> None:
        """Write rows, remove suspects, and note how far the table goes, in one commit."""
        with _storing(self.place):
            dataset = self.table.to_pyarrow_dataset()
            names = set(dataset.schema.names) - {arrow.BLOCK}
            rows = arrow.sort_by_id(arrow.add_blocks(arrow.to_arrow(lines, names)))
            ids = rows["ID"].to_pylist()
            wanted = pa.array(ids + suspects, pa.int64())
            blocks = pc.unique(pc.divide(wanted, arrow.IDS_A_BLOCK))
            is_wanted = pc.field(arrow.BLOCK).isin(blocks) & pc.field("ID").isin(wanted)
            held = arrow.sort_by_id(dataset.to_table(filter=is_wanted, **arrow.FEW_AHEAD))
            held = pa.concat_tables([held, rows.slice(0, 0)], promote_options="default")
            is_gone = pc.is_in(held["ID"], pa.array(suspects, pa.int64()))
            is_known = pc.is_in(rows["ID"], held["ID"].combine_chunks())
            known, gone = rows.filter(is_known), held.filter(is_gone)
            changed = known.filter(arrow.is_different(known, held.filter(pc.invert(is_gone))))
            new = rows.filter(pc.invert(is_known))
            if len(new) or len(changed) or len(gone) or even_if_same:
                self._write(new, changed, gone, since)
        self.report.added += len(new)
        self.report.changed += len(changed)
        self.report.gone += len(gone)

    def _write(self, new: pa.Table, changed: pa.Table, gone: pa.Table, since: int) -> None:
        """Make one commit of rows and of what the next sync has to know."""
        state = [dl.Transaction(_HIGHEST, self.highest), dl.Transaction(_SINCE, since)]
        options: Any = {
            "commit_properties": dl.CommitProperties(app_transactions=state),
            "writer_properties": dl.WriterProperties(
                compression="ZSTD", max_row_group_size=arrow.ROWS_A_GROUP
            ),
        }
        if not len(changed) and not len(gone):
            dl.write_deltalake(self.table, new, mode="append", schema_mode="merge", **options)
            return
        rows = pa.concat_tables([new, changed])
        replaced = pa.chunked_array([*changed["ID"].chunks, *gone["ID"].chunks], pa.int64())
        blocks = sorted({*rows[arrow.BLOCK].to_pylist(), *gone[arrow.BLOCK].to_pylist()})
        batches = arrow.rewrite_blocks(self.table.to_pyarrow_dataset(), blocks, rows, replaced)
        dl.write_deltalake(
            self.table,
            pa.RecordBatchReader.from_batches(rows.schema, batches),
            mode="overwrite",
            predicate=f"{arrow.BLOCK} IN ({', '.join(map(str, blocks))})",
            schema_mode="merge",
            **options,
        )


@contextmanager
def _storing(place: str, why: str = "there is no table; the first sync makes it") -> Iterator[None]:
    """Raise errors of our own in place of those of deltalake and Arrow."""
    try:
        yield
    except CommitFailedError:
        raise StoreBusyError(
            f"{place}: another program has written to the table meanwhile; sync again"
        ) from None
    except TableNotFoundError:
        raise StoreError(f"{place}: {why}") from None
    except BaseException as error:
        # Bare exceptions of deltalake, too, and its PanicException, which is none.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        error.__traceback__ = None  # its frames have the storage options
        message = _UNSHOWN.sub("", str(error))
        raise StoreError(f"{place}: {one_line(message)}") from None


def _canonical(alternatives: Sequence[Alternative]) -> str:
    """Return filters as JSON text that does not depend on the order of their parts."""
    sent = [[selection.as_json() for selection in some] for some in alternatives]
    for value in (value for some in sent for filters in some for value in filters.values()):
        if isinstance(value, list):
            value.sort(key=str)
    return json.dumps(sorted(sent, key=str), sort_keys=True)


def _facts(table: Any, place: str) -> dict[str, Any]:
    """Return of whom the rows of a table are, what they match, and how far they go."""
    given = table.metadata().configuration
    names = ("portal", "user_id", "filters", "schema")
    if any(f"b24frames.{name}" not in given for name in names):
        raise StoreError(f"{place} is a Delta table, but none that ActivityStore has made")
    facts: dict[str, Any] = {name: given[f"b24frames.{name}"] for name in names}
    since = table.transaction_version(_SINCE)
    return facts | {
        "user_id": int(facts["user_id"]),
        "highest_id": table.transaction_version(_HIGHEST) or 0,
        "synced_at": datetime.fromtimestamp(since, UTC).isoformat() if since else "",
    }
