"""From raw records to a typed DataFrame: pure, without network."""

from b24frames.frame.build import Layout, build_frame_of_columns, build_frame_of_lines, sort_extras

__all__ = ["Layout", "build_frame_of_columns", "build_frame_of_lines", "sort_extras"]
