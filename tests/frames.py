"""Comparing frames."""

from __future__ import annotations

import pandas as pd


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
