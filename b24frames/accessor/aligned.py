"""Read the activities that a column names, row by row."""

from __future__ import annotations

import pandas as pd

from b24frames.activities import ReadOptions, read_activities
from b24frames.ids import parse_column
from b24frames.portal import Portal


def read_aligned(ids: pd.Series, portal: Portal, options: ReadOptions) -> pd.DataFrame:
    """Read the distinct ids once, and give each position its row."""
    for name in ("index_col", "chunksize"):
        if name in options:
            raise TypeError(f"{name} is not accepted here: the frame has the index of the ids")
    wanted = parse_column(None if na else value for value, na in zip(ids, ids.isna(), strict=True))
    distinct = [i for i in dict.fromkeys(wanted) if i is not None]
    frame = read_activities(distinct, portal, **options)
    rows = {i: row for row, i in enumerate(frame.index)}
    if options.get("columns") is None:
        frame = frame.reset_index()
    aligned = frame.set_axis(range(len(frame))).reindex([rows.get(i, -1) for i in wanted])
    return aligned.set_axis(ids.index)
