"""From raw records to a typed DataFrame: pure, without network."""

from b24frames.frame.build import (
    Layout,
    build_frame,
    build_frame_of_columns,
    build_frame_of_lines,
    sort_extras,
    text_array,
)

__all__ = [
    "Layout",
    "build_frame",
    "build_frame_of_columns",
    "build_frame_of_lines",
    "sort_extras",
    "text_array",
]
