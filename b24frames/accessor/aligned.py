"""Read the activities that a column names, row by row."""

from __future__ import annotations

import pandas as pd

from b24frames.activities import ReadOptions, check_columns, read_activities
from b24frames.ids import parse_column
from b24frames.portal import Portal


def read_aligned(ids: pd.Series, portal: Portal, options: ReadOptions) -> pd.DataFrame:
    """Read the distinct ids once, and give each position its row."""
    for name in ("index_col", "chunksize"):
        if name in options:
            raise TypeError(f"{name} is not accepted here: the frame has the index of the ids")
    names = check_columns(options.get("columns"))
    needed = None if names is None else dict.fromkeys((*names, "ID"))
    options = {**options, "columns": needed, "index_col": None}
    wanted = parse_column(None if na else value for value, na in zip(ids, ids.isna(), strict=True))
    distinct = [i for i in dict.fromkeys(wanted) if i is not None]
    frame = read_activities(distinct, portal, **options)
    rows = {i: row for row, i in enumerate(frame["ID"])}
    aligned: pd.DataFrame = frame.reindex([rows.get(i, -1) for i in wanted])
    for name in aligned.select_dtypes("object").columns:  # pandas has put NaN there
        aligned[name] = aligned[name].where(aligned[name].notna(), None)
    aligned.index = ids.index
    return aligned if names is None else aligned[list(names)]
