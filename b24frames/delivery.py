"""What the command line takes and delivers: options, a table that fits a terminal, a file."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from b24frames.accessor import analysis
from b24frames.accessor.interchange import spreadsheet_safe, storable, to_json
from b24frames.arguments import check_columns, parse_age
from b24frames.credentials import redact_addresses
from b24frames.errors import B24Warning
from b24frames.filters import parse_where
from b24frames.frame import Layout, build_frame_of_lines
from b24frames.ids import parse_id_text
from b24frames.messages import one_line, short_repr

_OPTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(
    files("b24frames").joinpath("options.json").read_text("utf-8")
)
_EXCLUSIVE = ("portal", "store", "%portal")
# Control characters but line breaks, and what breaks a line or turns its direction elsewhere.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def print_table(frame: pd.DataFrame) -> None:
    """Print a frame as a table that fits a terminal; its head in colour where there are colours."""
    if frame.columns.empty and len(frame):  # the ids alone
        frame = frame.reset_index()
    with pd.option_context(
        "display.width", None, "display.max_columns", None, "display.max_colwidth", 40
    ):
        text = visible(str(frame))
    has_colours = os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")
    if has_colours and sys.stdout is not None and sys.stdout.isatty():
        text = re.sub("^.+", "\x1b[1;34m\\g<0>\x1b[0m", text, count=1)
    print(text)


def visible(text: str) -> str:
    """Write control characters visibly: those in a subject must not command the terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def check_file(path: Path | None) -> None:
    """Refuse a file that could not be written, before anything is read."""
    if path is None:
        return
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ValueError(f"--to {path}: accepted are files of {', '.join(_WRITERS)}")
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise ValueError(f"--to {path}: a folder, a pipe, or a file that must not be written")
    if not path.parent.is_dir():
        raise ValueError(f"--to {path}: there is no folder {path.parent}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError(f"--to {path} needs pyarrow: python -m pip install 'b24frames[arrow]'")


def parse_columns(text: str | None, labels: bool, names: bool) -> tuple[str, ...] | None:
    """Return the columns in a text; refuse those that labels or names could not be made of."""
    if not text:
        return None
    columns = check_columns(name.strip() for name in text.split(","))
    empty = build_frame_of_lines((), Layout(columns), ())
    if labels:
        analysis.labels(empty)
    if names:
        analysis.name_keys(empty)
    return columns


_WRITERS: Mapping[str, Callable[[pd.DataFrame, Path], object]] = {
    ".parquet": lambda frame, path: storable(frame).to_parquet(path),
    # The mark is for Excel.
    ".csv": lambda frame, path: spreadsheet_safe(frame).to_csv(path, encoding="utf-8-sig"),
    # What UTF-8 cannot write becomes an escape, which JSON reads as what it was.
    ".json": lambda frame, path: path.write_text(
        to_json(frame.reset_index()), encoding="utf-8", errors="backslashreplace"
    ),
}


def write_file(frame: pd.DataFrame, path: Path, what: str) -> None:
    """Write a frame to a file, of the form that its suffix names; all of it, or nothing."""
    target = path.resolve()  # a link stays one
    part = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        if target.exists():  # nobody else is to read what replaces it, not for a moment
            part.touch(0o600)
            shutil.copymode(target, part)
        _WRITERS[path.suffix.lower()](frame, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    print(f"{len(frame):,} {what} written to {path}")


def add_options(parser: argparse.ArgumentParser, *groups: str) -> None:
    """Add groups of arguments as ``options.json`` describes them; of some only one may be given."""
    for group in groups:
        place: Any = parser.add_mutually_exclusive_group() if group in _EXCLUSIVE else parser
        for name, about in _OPTIONS[group].items():
            parse = {"type": _TYPES[about["type"]]} if "type" in about else {}
            place.add_argument(name, **{**about, **parse})


def _option(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser of an argument of which argparse shows what is wrong."""

    def parse_argument(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{short_repr(text)} is not a number of at least 1")
    return int(text)


def _check_age(text: str, besides: str = "") -> str:
    """Check a time span; the message is of command lines, not of Python."""
    try:
        parse_age(text, "age")
    except ValueError:
        accepted = f"accepted are 1h, 30d and the like{besides}"
        raise ValueError(f"{short_repr(text)} is not a time span; {accepted}") from None
    return text


_TYPES: Mapping[str, Callable[[str], Any]] = {
    "age": _option(_check_age),
    "condition": _option(parse_where),
    "count": _option(_parse_count),
    "ids": _option(parse_id_text),
    "int": int,
    "max_age": _option(lambda text: None if text == "any" else _check_age(text, ", 0 and any")),
    "path": Path,
}


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
    if sys.stderr is not None:  # closed: print would write into the data
        print(one_line(redact_addresses(message)), file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and end."""
        sys.exit(fail(f"{message} (see {self.prog} --help)", 2))
