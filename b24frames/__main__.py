"""The command line: ``python -m b24frames read 1-200,999 --practice``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import pandas as pd

from b24frames._version import __version__
from b24frames.activities import Missing, read_activities
from b24frames.errors import B24Error, B24Warning, MissingActivitiesError
from b24frames.frame import OnBadValue, nested_to_json
from b24frames.ids import parse_id_text
from b24frames.options import WEBHOOK_VARIABLE
from b24frames.practice import practice_portal
from b24frames.records import Via

_SHOWN_COLUMNS = ["TYPE_ID", "PROVIDER_ID", "SUBJECT", "START_TIME", "COMPLETED", "RESPONSIBLE_ID"]
_SUFFIXES = (".parquet", ".csv", ".json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with _one_line_warnings():
            status: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, and Python would say so again
        return 1
    except KeyboardInterrupt:
        return _fail("interrupted; what was received is in the cache", 130)
    except (B24Error, ValueError, TypeError, ImportError, OSError) as error:
        return _fail(str(error), 1)
    return status


def _read(options: argparse.Namespace) -> int:
    """Read activities, and print them or write them to a file."""
    if options.to is not None and options.to.suffix not in _SUFFIXES:
        raise ValueError(f"--to {options.to}: accepted are files of {', '.join(_SUFFIXES)}")
    with ExitStack() as stack:
        portal: Any = options.portal
        if options.practice:
            portal = stack.enter_context(practice_portal())
        try:
            frame, status = read_activities(options.ids, portal, **_keywords(options)), 0
        except MissingActivitiesError as error:
            frame, status = error.frame, _fail(str(error), 1)
    if options.to is None:
        _print(frame if options.columns else frame[_SHOWN_COLUMNS])
    else:
        _write(frame, options.to)
    return status


def _demo(options: argparse.Namespace) -> int:
    """Read from the practice portal twice: first over HTTP, then from the cache."""
    ids = range(1, options.activities + 1)
    with practice_portal(activities=options.activities) as portal:
        print(f"practice portal with {options.activities:,} activities at {portal.address}\n")
        for title in ("first read", "second read"):
            start = perf_counter()
            frame = read_activities(ids, portal, missing="ignore")
            seconds = perf_counter() - start
            print(f"{title}: {len(frame):,} rows in {seconds:.2f} s")
        print(f"\nthe second read in detail:\n{frame.b24.report}\n")
    _print(frame[_SHOWN_COLUMNS].head())
    print(f"\n{frame.dtypes.to_string()}")
    return 0


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `read_activities` that the options are."""
    cache = options.cache if options.cache is not None else not options.no_cache
    return {
        "columns": options.columns.split(",") if options.columns else None,
        "tz": options.tz,
        "missing": options.missing,
        "on_bad_value": options.on_bad_value,
        "cache": cache,
        "max_age": {"0": 0, "any": None}.get(options.max_age, options.max_age),
        "only_if_cached": options.only_if_cached,
        "stale_if_error": options.stale_if_error,
        "via": options.via,
        "progress": False if options.quiet else None,
    }


def _print(frame: pd.DataFrame) -> None:
    """Print a frame as a table that fits a terminal."""
    with pd.option_context(
        "display.width", None, "display.max_columns", None, "display.max_colwidth", 40
    ):
        print(frame)


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame to a file, of the form that its suffix names."""
    if path.suffix == ".csv":
        nested_to_json(frame).to_csv(path)
    elif path.suffix == ".json":
        frame.reset_index().to_json(path, orient="records", date_format="iso", date_unit="us")
    else:
        nested_to_json(frame).to_parquet(path)
    print(f"{len(frame):,} activities written to {path}")


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Show our warnings as one line each, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", B24Warning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {message}", file=sys.stderr
        )
        yield


def _fail(message: str, status: int) -> int:
    """Print an error in one line; return the exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m b24frames", description="Activities of a Bitrix24 CRM as a table."
    )
    parser.add_argument("--version", action="version", version=f"b24frames {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    read = commands.add_parser("read", help="read activities, and print or write them")
    read.set_defaults(run=_read)
    read.add_argument("ids", type=_ids, help="such as 1-200,999")
    place = read.add_mutually_exclusive_group()
    place.add_argument(
        "--portal",
        metavar="URL",
        help=f"webhook URL; better set {WEBHOOK_VARIABLE}, since others see command lines",
    )
    place.add_argument("--practice", action="store_true", help="read from a practice portal")
    read.add_argument("--to", type=Path, metavar="FILE", help=", ".join(_SUFFIXES))
    read.add_argument("--columns", metavar="A,B", help="fields to keep, in that order")
    read.add_argument("--tz", default="UTC", help="zone of the datetime columns")
    read.add_argument("--missing", choices=get_args(Missing), default="raise")
    read.add_argument("--on-bad-value", choices=get_args(OnBadValue), default="warn")
    store = read.add_mutually_exclusive_group()
    store.add_argument("--cache", metavar="PATH", help="folder or file of the cache")
    store.add_argument("--no-cache", action="store_true", help="keep nothing")
    read.add_argument("--max-age", default="1h", help="oldest entry to accept: 1h, 0, any")
    read.add_argument("--only-if-cached", action="store_true", help="never ask the portal")
    read.add_argument("--stale-if-error", action="store_true", help="older entries when offline")
    read.add_argument("--via", choices=get_args(Via), default="get")
    read.add_argument("--quiet", action="store_true", help="no progress bar")

    demo = commands.add_parser("demo", help="read from a practice portal twice, and show how fast")
    demo.set_defaults(run=_demo)
    demo.add_argument("--activities", type=int, default=2000)
    return parser


def _ids(text: str) -> list[int]:
    """Read the argument IDS; argparse shows the message of this error."""
    try:
        return parse_id_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
