"""Activities as Arrow tables: made of records, compared, filtered, and made into frames.

Needs the extra ``arrow``.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from b24frames.filters import BINDINGS, Alternative, Condition, Selection
from b24frames.frame.build import Layout, build_frame_of_lines, sort_extras
from b24frames.frame.decode import without_gc
from b24frames.schema import ACTIVITY, Backend, Wire
from b24frames.serialization import extra_names

BLOCK, IDS_A_BLOCK = "ID_BLOCK", 100_000
"""The column that tables are partitioned by, and how many ids are in a part."""

ROWS_A_GROUP = 30_000
"""How many rows files keep together: smaller groups skip more, and take less memory."""

FEW_AHEAD = {"fragment_readahead": 1, "batch_readahead": 2}
"""How a dataset is read in less memory: 140 MB in place of 260 for a row in 1 000 of a million."""

_MOST_RUNS = 1_000  # of rows in order: where there are more, they are copied one by one

_COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def to_arrow(lines: Sequence[bytes], names: Iterable[str] = ()) -> pa.Table:
    """Return records as a table of the 39 columns, these, and others that the records have.

    Examples
    --------
    >>> to_arrow([b'{"ID":"7","SUBJECT":"x"}']).select(["ID", "SUBJECT"]).to_pylist()
    [{'ID': 7, 'SUBJECT': 'x'}]
    """
    extras = sort_extras({*extra_names(lines), *names})
    frame = build_frame_of_lines(lines, Layout(index_col=None, dtype_backend="pyarrow"), extras)
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()


def sort_by_id(rows: pa.Table) -> pa.Table:
    """Return rows in the order of their ids, in which long runs of them are already."""
    order = np.argsort(rows["ID"].to_numpy(), kind="stable")
    starts = np.flatnonzero(np.diff(order, prepend=-2) != 1).tolist()
    if not 0 < len(starts) <= _MOST_RUNS:
        return rows.take(order)
    ends = [*starts[1:], len(order)]
    runs = zip(order[starts].tolist(), starts, ends, strict=True)
    return pa.concat_tables([rows.slice(first, end - start) for first, start, end in runs])


def add_blocks(rows: pa.Table) -> pa.Table:
    """Return rows with the column that tables are partitioned by."""
    return rows.append_column(BLOCK, pc.divide(rows["ID"], IDS_A_BLOCK))


def rewrite_blocks(
    dataset: Any, blocks: Iterable[int], rows: pa.Table, replaced: pa.ChunkedArray
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some blocks, ascending by ID: those of a dataset but for some, and these.

    One block is held at a time.
    """
    # deltalake's merge leaves rows unsorted, and text of a type that pandas cannot take [1.6].
    for block in blocks:
        is_here = pc.field(BLOCK) == block
        is_kept = is_here & ~pc.field("ID").isin(replaced)
        kept = dataset.to_table(filter=is_kept, **FEW_AHEAD)
        both = pa.concat_tables([kept, rows.filter(is_here)], promote_options="default")
        ordered = sort_by_id(both.select(rows.schema.names))
        yield from ordered.to_batches(max_chunksize=ROWS_A_GROUP)


def is_different(rows: pa.Table, others: pa.Table) -> pa.Array:
    """Return which rows are not equal to those of the other table in the same places.

    Examples
    --------
    >>> is_different(pa.table({"A": [1, None, 3]}), pa.table({"A": [1, None, None]})).to_pylist()
    [False, False, True]
    """
    different = pa.array([False] * len(rows), pa.bool_())
    for name in rows.schema.names:
        one, other = rows[name].combine_chunks(), others[name].combine_chunks()
        is_one_null = pc.xor(one.is_null(), other.is_null())
        different = pc.or_(different, pc.fill_null(pc.not_equal(one, other), is_one_null))
    return different


def to_expression(alternatives: Sequence[Alternative]) -> pc.Expression | None:
    """Return the filter of a dataset that selects the same activities; None: all.

    Raises
    ------
    ValueError
        A condition on BINDINGS, which no row tells.
    """
    either = [[part for selection in some for part in _parts(selection)] for some in alternatives]
    if not all(either):
        return None
    every = (reduce(operator.and_, parts) for parts in either)
    return reduce(operator.or_, every, pc.scalar(False))


def _parts(selection: Selection) -> Iterator[pc.Expression]:
    """Yield what must hold for a row."""
    if selection.first > 1:
        yield pc.field("ID") >= selection.first
    if selection.last < 2**63 - 1:
        yield pc.field("ID") <= selection.last
    if selection.ids is not None:
        yield pc.field("ID").isin(list(selection.ids))
    yield from map(_holds, selection.conditions)


def _holds(condition: Condition) -> pc.Expression:
    """Return whether a condition holds: the portal's rules, on columns."""
    name, prefix, values = condition.field, condition.prefix, list(condition.values)
    if name == BINDINGS:
        raise ValueError("filters: no table has BINDINGS; find_activities asks the portal for them")
    field, wire = pc.field(name), ACTIVITY[name].wire
    if values == [None]:
        return field.is_valid() if prefix == "<" else field.is_null()
    if prefix == "%":
        return pc.match_substring(field, values[0], ignore_case=True)
    if wire is Wire.TEXT:
        # To the portal, an empty text is as none.
        field = pc.coalesce(pc.utf8_lower(pc.utf8_upper(field)), pc.scalar(""))
        # As the column, and by way of capitals: Σ has two small letters.
        values = pc.utf8_lower(pc.utf8_upper(pa.array(values, pa.string()))).to_pylist()
    wanted = pa.array(values, pa.timestamp("us", tz="UTC") if wire is Wire.DATETIME else None)
    if prefix in _COMPARISONS:
        return _COMPARISONS[prefix](field, wanted[0])
    is_in = field.isin(wanted)
    return ~is_in if "!" in prefix else is_in


def to_pandas(rows: pa.Table, names: Sequence[str], backend: Backend, tz: tzinfo) -> pd.DataFrame:
    """Return rows as the frame that `find_activities` would have made of their records.

    Examples
    --------
    >>> from datetime import UTC
    >>> to_pandas(pa.table({"ID": [7], "SETTINGS": ['{"A": 1}']}), ["SETTINGS"], "pyarrow", UTC)
        SETTINGS
    ID
    7   {"A": 1}
    """
    empty = build_frame_of_lines([], Layout(tuple(names), "ID", backend, tz), ())
    index = pd.Index(_array(rows, "ID", empty.index.dtype), name="ID")
    columns = {}
    with without_gc():
        for name, dtype in zip(empty.columns, empty.dtypes, strict=True):
            is_held = name in rows.schema.names
            array = _array(rows, name, dtype) if is_held else [None] * len(index)
            columns[name] = pd.Series(array, index, dtype=dtype, copy=False)
    return pd.DataFrame(columns, index=index, columns=empty.columns, copy=False)


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return columns as doubles, which are exact here, by ID."""
    # By way of Float64, since pandas 2.2 makes no NaN of Arrow's nulls.
    return frame.astype("int64[pyarrow]").astype("Float64").astype("float64").set_index("ID")


def _array(rows: pa.Table, name: str, dtype: Any) -> Any:
    """Return a column as an array of its dtype; nested values are decoded all at once."""
    if pd.api.types.is_extension_array_dtype(dtype):
        return dtype.__from_arrow__(rows[name])
    texts = rows[name].to_pylist()
    if name not in ACTIVITY:  # of what is not documented, text may be JSON or not
        return texts
    return json.loads(f"[{','.join(text or 'null' for text in texts)}]")
