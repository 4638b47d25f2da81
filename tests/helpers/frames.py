"""Building and comparing frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from b24frames.frame import Layout, build_frame_of_lines
from b24frames.serialization import encode_record


def build_frame(
    records: Iterable[Mapping[str, Any]], layout: Layout, extras: Sequence[str] | None = None
) -> pd.DataFrame:
    """Build the typed frame of records as a read does: each goes through its line."""
    return build_frame_of_lines(map(encode_record, records), layout, extras)


def assert_frame_equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Fail where frames differ in labels, dtypes or values, which are compared exactly.

    pandas looks at column after column for what to say about a difference, which takes more time
    than reading the frame: it is asked only where there is one.
    """
    if not _are_equal(left, right):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
        raise AssertionError("the frames differ in what pandas' own check does not look at")


def _are_equal(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Tell whether frames are equal; None and NaN differ."""
    return (
        left.index.identical(right.index)
        and left.columns.identical(right.columns)
        and left.dtypes.equals(right.dtypes)
        and left.equals(right)
        and all(
            left[name].tolist() == right[name].tolist()
            for name, dtype in left.dtypes.items()
            if pd.api.types.is_object_dtype(dtype)
        )
    )
