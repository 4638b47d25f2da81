"""Decoding of lines into the raw values of each field, some rows at a time."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from operator import itemgetter
from typing import Any

from b24frames.frame.convert import Column, as_objects
from b24frames.ids import chunks
from b24frames.schema import ACTIVITY, COLUMNS
from b24frames.serialization import OTHER, merge_other

# Few, since the garbage collector traverses all dicts that are alive.
_DICTS_AT_ONCE = 200
_BYTES_AT_ONCE = 2**20


@dataclass(frozen=True)
class Fields:
    """The fields to decode.

    Attributes
    ----------
    names : tuple of str
        The fields to decode in any case.
    extras : bool
        Whether to decode all fields besides the 39 of every frame, too.
    """

    names: tuple[str, ...]
    extras: bool

    def __contains__(self, name: str) -> bool:
        return name in self.names or (self.extras and name not in COLUMNS)


@contextmanager
def without_gc() -> Iterator[None]:
    """Pause the cyclic garbage collector: decoding creates no cycles."""
    # It would traverse each of many new dicts several times, which takes a fifth of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _block_of_records(rows: Iterable[Mapping[str, Any]], fields: Fields) -> dict[str, Column]:
    """Return the values of each field of records; None if a record lacks it."""
    block: dict[str, Any] = {name: [] for name in fields.names}
    done = 0
    for some in chunks(rows, _DICTS_AT_ONCE):
        if fields.extras and set(map(len, some)) != {len(COLUMNS)}:
            for name in set().union(*some) - block.keys():
                block[name] = [None] * done
        # itemgetter takes all fields of a record at once; field by field is five times as slow.
        nulls = dict.fromkeys((*block, OTHER))
        take = itemgetter(*block, OTHER)  # at least two, so that it gives tuples
        values = zip(*(take({**nulls, **record}) for record in some), strict=True)
        for column, part in zip(block.values(), values, strict=False):
            column.extend(part)
        done += len(some)
    return block


def block_of_lines(lines: Sequence[bytes], fields: Fields) -> dict[str, Column]:
    """Decode lines; where pyarrow is installed, into columns at once."""
    return (_block_by_arrow if find_spec("pyarrow") else _block_by_json)(lines, fields)


def _block_by_json(lines: Sequence[bytes], fields: Fields) -> dict[str, Column]:
    records: Iterator[dict[str, Any]] = (
        merge_other(record)
        for some in chunks(lines, _DICTS_AT_ONCE)
        for record in json.loads(b"[" + b",".join(some) + b"]")
    )
    return _block_of_records(records, fields)


def _block_by_arrow(lines: Sequence[bytes], fields: Fields) -> dict[str, Column]:
    """Decode lines into columns at once, if all have the usual form."""
    import pyarrow as pa  # optional: the extra "arrow"
    import pyarrow.json

    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(b"\n".join(lines)),
            pyarrow.json.ReadOptions(block_size=max(_BYTES_AT_ONCE, *map(len, lines)) + 1),
            pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(name, pa.string()) for name in (*ACTIVITY, OTHER)]),
                unexpected_field_behavior="error",
            ),
            # The system's allocator reuses the memory of the lines just decoded.
            memory_pool=pa.system_memory_pool(),
        )
    except pa.ArrowInvalid:  # lone surrogates, for example
        return _block_by_json(lines, fields)
    block: dict[str, Column] = {
        name: table[name]
        for name in ACTIVITY
        if name in fields and (name in COLUMNS or table[name].null_count < len(lines))
    }
    _put_other(block, table, fields)
    return block


def _put_other(block: dict[str, Column], table: Any, fields: Fields) -> None:
    """Put the values that lines have under the empty name into their columns."""
    for row, text in enumerate(as_objects(table[OTHER])):
        for name, value in json.loads(text).items() if text is not None else ():
            if name in fields:
                column = block.get(name)
                if not isinstance(column, list):
                    known = name in ACTIVITY
                    column = as_objects(table[name]) if known else [None] * len(table)
                    block[name] = column
                column[row] = value
