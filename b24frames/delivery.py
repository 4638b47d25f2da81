"""What the command line prints and writes: tables that fit a terminal, files, one-line errors."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from b24frames.accessor.interchange import spreadsheet_safe, storable, to_json
from b24frames.credentials import hide_addresses
from b24frames.errors import B24Warning
from b24frames.messages import one_line

SHOWN_COLUMNS = ["TYPE_ID", "PROVIDER_ID", "SUBJECT", "START_TIME", "COMPLETED", "RESPONSIBLE_ID"]
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


def deliver(
    frame: pd.DataFrame,
    options: argparse.Namespace,
    portal: Any,
    shown: Sequence[str] = SHOWN_COLUMNS,
    what: str = "activities",
) -> None:
    """Print a frame, or write it to a file."""
    cache = options.cache or not options.no_cache
    names = frame.b24.names(portal, cache=cache) if options.names else frame[[]]
    if options.labels:
        frame = frame.assign(**frame.b24.labels())
    frame = frame.join(names)
    if options.to is not None:
        write_file(frame, options.to, what)
    else:
        print_table(frame if options.columns else frame[[*shown, *names.columns]])


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show our warnings as one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", B24Warning)
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
        yield


def fail(message: str, status: int) -> int:
    """Print an error in one line; return the exit status."""
    say(f"error: {message}")
    return status


def say(message: str) -> None:
    """Print one line on stderr; arguments in it may be a webhook in the wrong place."""
    print(one_line(hide_addresses(message)), file=sys.stderr)
