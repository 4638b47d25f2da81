"""The command line: ``python -m b24frames find --where TYPE_ID=call --practice``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import pandas as pd

from b24frames._version import __version__
from b24frames.activities import Missing, count_activities, find_activities, read_activities
from b24frames.by_id import Via
from b24frames.cache import ActivityCache
from b24frames.calls import read_calls
from b24frames.credentials import redact_addresses
from b24frames.delivery import (
    SUFFIXES,
    Parser,
    age_option,
    check_file,
    count_option,
    fail,
    max_age_option,
    one_line_warnings,
    option,
    parse_columns,
    print_table,
    visible,
    write_file,
)
from b24frames.errors import B24Error, MissingActivitiesError
from b24frames.filters import parse_where
from b24frames.ids import parse_id_text
from b24frames.messages import name_some
from b24frames.names import read_users
from b24frames.portal import WEBHOOK_VARIABLE
from b24frames.practice import practice_portal
from b24frames.schema import USER, Language, OnBadValue

_SHOWN_COLUMNS = ["TYPE_ID", "PROVIDER_ID", "SUBJECT", "START_TIME", "COMPLETED", "RESPONSIBLE_ID"]
_SHOWN_IN_DEMO = ["START_TIME", "SUBJECT", "DIRECTION", "RESPONSIBLE_NAME", "OWNER_NAME"]
_SHOWN_OF_CALLS = ["CALL_START_DATE", "CALL_TYPE", "CALL_DURATION", "CALL_FAILED_CODE"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal may not know all letters of a subject
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        with one_line_warnings():
            status: int = options.run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, and Python would say so again
        return 1
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except (B24Error, ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        return fail(str(error), 1)
    return status


def _read(options: argparse.Namespace) -> int:
    """Read activities, and print them or write them to a file."""
    keywords = _keywords(options) | {
        name: getattr(options, name)
        for name in ("missing", "max_age", "only_if_cached", "stale_if_error", "via")
    }
    with _portal(options) as portal:
        try:
            frame, status = read_activities(chain(*options.ids), portal, **keywords), 0
            missing = frame.attrs["b24"]["missing"]
            if options.missing == "keep" and missing:
                status = fail(f"rows without a record: {name_some(missing)}", 1)
        except MissingActivitiesError as error:
            frame, status = error.frame, fail(str(error), 1)
        _deliver(frame, options, portal)
    return status


def _find(options: argparse.Namespace) -> int:
    """Find activities, and print them or write them to a file."""
    keywords = _keywords(options)
    with _portal(options) as portal:
        frame = find_activities(options.where, portal, limit=options.limit, **keywords)
        _deliver(frame, options, portal)
    return 0


def _users(options: argparse.Namespace) -> int:
    """Read users, and print them or write them to a file."""
    check_file(options.to)
    with _portal(options) as portal:
        ids = [*chain(*options.ids)] or None
        _deliver(read_users(ids, portal), options, portal, list(USER)[1:], "users")
    return 0


def _calls(options: argparse.Namespace) -> int:
    """Read the statistics of calls, and print them or write them to a file."""
    check_file(options.to)
    with _portal(options) as portal:
        ids = [*chain(*options.ids)] or None
        frame = read_calls(ids, portal, filters=options.where, tz=options.tz)
        _deliver(frame, options, portal, _SHOWN_OF_CALLS, "calls")
    return 0


def _count_matches(options: argparse.Namespace) -> int:
    """Print how many activities match."""
    with _portal(options) as portal:
        print(count_activities(options.where, portal, tz=options.tz))
    return 0


def _sync(options: argparse.Namespace) -> int:
    """Bring a store up to date, and print one line that says what has changed."""
    from b24frames.store import ActivityStore  # the other commands do without Arrow

    with _portal(options) as portal:
        store = ActivityStore(options.place, portal, options.where)
        report = asdict(store.sync(options.full, progress=False if options.quiet else None))
    print(
        f"{options.place}: {', '.join(f'{v:,} {n}' for n, v in report.items())}".replace("_", " ")
    )
    return 0


def _demo(options: argparse.Namespace) -> int:
    """Find calls on the practice portal, and show them with names."""
    filters = [("TYPE_ID", "==", "call"), ("OWNER_TYPE_ID", "==", "company")]
    with practice_portal(activities=options.activities) as portal:
        start = perf_counter()
        frame = find_activities(filters, portal, limit=8)
        frame = frame.assign(**frame.b24.labels()).join(frame.b24.names(portal))
        seconds = perf_counter() - start
    print("The newest calls of companies, on a practice portal of this machine:\n")
    print_table(frame[_SHOWN_IN_DEMO])
    print(f"\nFound among {options.activities:,} activities in {seconds:.2f} s.")
    return 0


def _cache_info(options: argparse.Namespace) -> int:
    """Print how much a cache holds."""
    with closing(ActivityCache(options.cache)) as cache:
        facts = cache.info()
    users, set_aside = facts.pop("portals"), facts.pop("set_aside")
    facts |= {f"entries of {user}": entries for user, entries in users.items()}
    lines = [(name, f"{v:,}" if isinstance(v, int) else v or "-") for name, v in facts.items()]
    lines += [("set aside", path) for path in set_aside]
    for name, value in lines:
        print(visible(redact_addresses(f"{name}: {value}")))
    return 0


def _cache_clear(options: argparse.Namespace) -> int:
    """Forget all entries, or those of some ids."""
    with closing(ActivityCache(options.cache)) as cache:
        print(f"{cache.clear(ids=options.ids):,} entries forgotten")
    return 0


def _cache_prune(options: argparse.Namespace) -> int:
    """Forget old entries, or those that were not read for the longest time."""
    if options.older_than is None and options.max_size is None:
        raise ValueError("give --older-than, such as 30d, or --max-size, or both")
    with closing(ActivityCache(options.cache)) as cache:
        forgotten = cache.prune(options.older_than, max_size=options.max_size)
    print(f"{forgotten:,} entries forgotten")
    return 0


def _portal(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Return the portal to ask, open for as long as the context lasts."""
    return practice_portal() if options.practice else nullcontext(options.portal)


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords that reading and finding share; refuse a file that cannot be written."""
    check_file(options.to)
    cache = options.cache if options.cache is not None else not options.no_cache
    return {
        "columns": parse_columns(options.columns, options.labels, options.names),
        "tz": options.tz,
        "on_bad_value": options.on_bad_value,
        "cache": cache,
        "progress": False if options.quiet else None,
    }


def _deliver(
    frame: pd.DataFrame,
    options: argparse.Namespace,
    portal: Any,
    shown: Sequence[str] = _SHOWN_COLUMNS,
    what: str = "activities",
) -> None:
    """Print a frame, or write it to a file."""
    cache = options.cache or not options.no_cache
    names = frame.b24.names(portal, cache=cache) if options.names else frame[[]]
    if options.labels or options.language:
        frame = frame.assign(**frame.b24.labels(language=options.language or "en"))
    frame = frame.join(names)
    if options.to is not None:
        write_file(frame, options.to, what)
    else:
        print_table(frame if options.columns else frame[[*shown, *names.columns]])


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m b24frames", description="Activities of a Bitrix24 CRM as a table."
    )
    parser.add_argument("--version", action="version", version=f"b24frames {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    portal, conditions, output = _portal_options(), _condition_options(), _output_options()
    frame = _frame_options()
    zone = Parser(add_help=False)
    zone.add_argument("--tz", metavar="ZONE", default="UTC", help="zone of dates (default: UTC)")
    text = "read activities by their ids, and print or write them"
    _add_read(commands.add_parser("read", parents=[portal, zone, frame, output], help=text))
    text = "find activities by conditions, and print or write them"
    find = commands.add_parser("find", parents=[conditions, portal, zone, frame, output], help=text)
    find.set_defaults(run=_find)
    find.add_argument(
        "--limit", type=count_option, metavar="N", help="at most so many, the highest ids"
    )
    text = "count activities by conditions"
    count = commands.add_parser("count", parents=[conditions, portal, zone], help=text)
    count.set_defaults(run=_count_matches)
    text = "keep what conditions match in a Delta Lake table, and bring it up to date"
    sync = commands.add_parser("sync", parents=[conditions, portal], help=text)
    sync.set_defaults(run=_sync)
    sync.add_argument("place", metavar="PLACE", help="a folder, or s3://bucket/activities")
    sync.add_argument("--full", action="store_true", help="also find deletions and new owners")
    sync.add_argument("--quiet", action="store_true", help="no progress bar")
    text = "read users, all or some, and print or write them"
    users = commands.add_parser("users", parents=[portal], help=text)
    users.set_defaults(run=_users, labels=False, language=None, names=False)
    users.set_defaults(cache=None, no_cache=True)
    text = "read the statistics of calls, all or those of some activities, and print or write them"
    calls = commands.add_parser("calls", parents=[conditions, portal, zone, output], help=text)
    calls.set_defaults(run=_calls)
    for command, of in ((users, "of users"), (calls, "of activities")):
        command.add_argument("ids", type=option(parse_id_text), nargs="*", help=f"{of}: 1-200,999")
        command.set_defaults(columns=None)
    _add_to(users)
    _add_demo(commands)
    _add_cache(commands)
    return parser


def _portal_options() -> Parser:
    """Return the options of all commands that ask a portal."""
    options = Parser(add_help=False)
    place = options.add_mutually_exclusive_group()
    place.add_argument(
        "--portal",
        metavar="URL",
        help=f"webhook URL; better set {WEBHOOK_VARIABLE}: others on the machine see command lines",
    )
    place.add_argument("--practice", action="store_true", help="ask a practice portal")
    return options


def _condition_options() -> Parser:
    """Return the options that say which activities are meant."""
    options = Parser(add_help=False)
    options.add_argument(
        "--where",
        type=option(parse_where),
        action="append",
        metavar="CONDITION",
        help="'CREATED>=2026-10-01', 'TYPE_ID in call,meeting' and the like; all must hold",
    )
    return options


def _frame_options() -> Parser:
    """Return the options of all commands that make a frame."""
    options = Parser(add_help=False)
    options.add_argument("--columns", metavar="A,B", help="fields to keep, in that order")
    options.add_argument(
        "--on-bad-value",
        choices=get_args(OnBadValue),
        default="warn",
        help="what to do about values that are not understood (default: warn)",
    )
    options.add_argument("--quiet", action="store_true", help="no progress bar")
    return options


def _output_options() -> Parser:
    """Return the options that say what becomes of a frame."""
    options = Parser(add_help=False)
    _add_to(options)
    options.add_argument("--labels", action="store_true", help="words in place of codes")
    text = "the words in this language"
    options.add_argument("--language", choices=get_args(Language), help=text)
    options.add_argument("--names", action="store_true", help="names of users and owners, too")
    store = options.add_mutually_exclusive_group()
    store.add_argument("--cache", metavar="PATH", help="folder or file of the cache")
    store.add_argument("--no-cache", action="store_true", help="keep nothing")
    return options


def _add_to(options: argparse.ArgumentParser) -> None:
    options.add_argument("--to", type=Path, metavar="FILE", help=f"a file: {', '.join(SUFFIXES)}")


def _add_read(read: argparse.ArgumentParser) -> None:
    """Add what the command `read` has by itself."""
    read.set_defaults(run=_read)
    read.add_argument("ids", type=option(parse_id_text), nargs="+", help="such as 1-200,999")
    read.add_argument(
        "--missing",
        choices=get_args(Missing),
        default="raise",
        help="what to do about ids without a record (default: raise)",
    )
    text = "oldest entry to accept: 1h (default), 0, any"
    read.add_argument("--max-age", type=max_age_option, metavar="AGE", default="1h", help=text)
    read.add_argument("--only-if-cached", action="store_true", help="never ask the portal")
    read.add_argument("--stale-if-error", action="store_true", help="older entries when offline")
    read.add_argument(
        "--via", choices=get_args(Via), default="get", help="list: 2,500 ids in a request, not 50"
    )


def _add_demo(commands: Any) -> None:
    """Add the command `demo`."""
    demo = commands.add_parser("demo", help="find calls on a practice portal, with names")
    demo.set_defaults(run=_demo)
    text = "how many (default: 2000)"
    demo.add_argument("--activities", type=count_option, metavar="N", default=2000, help=text)


def _add_cache(commands: Any) -> None:
    """Add the command `cache`, with commands of its own."""
    text = "what is kept on this machine: how much, and forget it"
    actions = commands.add_parser("cache", help=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    info = actions.add_parser("info", help="how many entries there are, from when, and of whom")
    info.set_defaults(run=_cache_info)
    clear = actions.add_parser("clear", help="forget all entries, or those of some ids")
    clear.set_defaults(run=_cache_clear)
    clear.add_argument("--ids", type=option(parse_id_text), metavar="IDS", help="such as 1-200,999")
    prune = actions.add_parser("prune", help="forget old entries, or too many")
    prune.set_defaults(run=_cache_prune)
    prune.add_argument("--older-than", type=age_option, metavar="AGE", help="such as 30d")
    text = "keep what was read last, up to this size"
    prune.add_argument("--max-size", type=count_option, metavar="BYTES", help=text)
    for action in (info, clear, prune):
        action.add_argument("--cache", metavar="PATH", help="folder or file of the cache")


if __name__ == "__main__":
    sys.exit(main())
