"""What the command line does with a frame: a table that fits a terminal, or a file."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from b24frames.accessor.interchange import spreadsheet_safe, storable, to_json

SUFFIXES = (".parquet", ".csv", ".json")
# Control characters but line breaks, and what breaks a line or turns its direction elsewhere.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def print_table(frame: pd.DataFrame) -> None:
    """Print a frame as a table that fits a terminal."""
    with pd.option_context(
        "display.width", None, "display.max_columns", None, "display.max_colwidth", 40
    ):
        print(visible(str(frame)))


def visible(text: str) -> str:
    """Write control characters visibly: those in a subject must not command the terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def check_file(path: Path | None) -> None:
    """Refuse a file that could not be written, before anything is read."""
    if path is None:
        return
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"--to {path}: accepted are files of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"--to {path}: there is no folder {path.parent}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(f"--to {path} needs pyarrow: python -m pip install 'b24frames[arrow]'")


def write_file(frame: pd.DataFrame, path: Path, what: str) -> None:
    """Write a frame to a file, of the form that its suffix names."""
    if path.suffix.lower() == ".csv":
        spreadsheet_safe(frame).to_csv(path)
    elif path.suffix.lower() == ".json":
        # What UTF-8 cannot write becomes an escape, which JSON reads as what it was.
        text = to_json(frame.reset_index())
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    else:
        storable(frame).to_parquet(path)
    print(f"{len(frame):,} {what} written to {path}")
