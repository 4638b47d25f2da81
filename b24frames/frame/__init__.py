"""From raw records to a typed DataFrame: pure, without network."""

from b24frames.frame.frame import (
    Backend,
    Layout,
    OnBadValue,
    build_frame,
    build_frame_of_columns,
    build_frame_of_lines,
    is_column,
    sort_extras,
    text_array,
)

__all__ = [
    "Backend",
    "Layout",
    "OnBadValue",
    "build_frame",
    "build_frame_of_columns",
    "build_frame_of_lines",
    "is_column",
    "sort_extras",
    "text_array",
]
