"""The command line: ``python -m b24frames find --where TYPE_ID=call --practice``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
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
            status: int | None = options.run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, and Python would say so again
        return 1
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except (B24Error, ValueError, TypeError, AttributeError, ImportError, OSError) as error:
        return fail(str(error), 1)
    return status or 0


def _read(options: Namespace) -> int:
    """Read activities by their ids, and print or write them."""
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


def _find(options: Namespace) -> None:
    """Find activities by conditions, and print or write them."""
    keywords = _keywords(options)
    with _portal(options) as portal:
        frame = find_activities(options.where, portal, limit=options.limit, **keywords)
        _deliver(frame, options, portal)


def _users(options: Namespace) -> None:
    """Read users, all or some, and print or write them."""
    check_file(options.to)
    with _portal(options) as portal:
        ids = [*chain(*options.ids)] or None
        _deliver(read_users(ids, portal), options, portal, list(USER)[1:], "users")


def _calls(options: Namespace) -> None:
    """Read the statistics of calls, all or those of some activities, and print or write them."""
    check_file(options.to)
    with _portal(options) as portal:
        ids = [*chain(*options.ids)] or None
        frame = read_calls(ids, portal, filters=options.where, tz=options.tz)
        _deliver(frame, options, portal, _SHOWN_OF_CALLS, "calls")


def _count_matches(options: Namespace) -> None:
    """Count activities by conditions."""
    with _portal(options) as portal:
        print(count_activities(options.where, portal, tz=options.tz))


def _sync(options: Namespace) -> None:
    """Keep what conditions match in a Delta Lake table, and bring it up to date."""
    from b24frames.store import ActivityStore  # the other commands do without Arrow

    with _portal(options) as portal:
        store = ActivityStore(options.place, portal, options.where)
        report = asdict(store.sync(options.full, progress=False if options.quiet else None))
    print(
        f"{options.place}: {', '.join(f'{v:,} {n}' for n, v in report.items())}".replace("_", " ")
    )


def _demo(options: Namespace) -> None:
    """Find calls on a practice portal, with names."""
    filters = [("TYPE_ID", "==", "call"), ("OWNER_TYPE_ID", "==", "company")]
    with practice_portal(activities=options.activities) as portal:
        start = perf_counter()
        frame = find_activities(filters, portal, limit=8)
        frame = frame.assign(**frame.b24.labels()).join(frame.b24.names(portal))
        seconds = perf_counter() - start
    print("The newest calls of companies, on a practice portal of this machine:\n")
    print_table(frame[_SHOWN_IN_DEMO])
    print(f"\nFound among {options.activities:,} activities in {seconds:.2f} s.")


def _cache_info(options: Namespace) -> None:
    """Tell how many entries there are, from when, and of whom."""
    with closing(ActivityCache(options.cache)) as cache:
        facts = cache.info()
    users, set_aside = facts.pop("portals"), facts.pop("set_aside")
    facts |= {f"entries of {user}": entries for user, entries in users.items()}
    lines = [(name, f"{v:,}" if isinstance(v, int) else v or "-") for name, v in facts.items()]
    lines += [("set aside", path) for path in set_aside]
    for name, value in lines:
        print(visible(redact_addresses(f"{name}: {value}")))


def _cache_clear(options: Namespace) -> None:
    """Forget all entries, or those of some ids."""
    with closing(ActivityCache(options.cache)) as cache:
        print(f"{cache.clear(ids=options.ids):,} entries forgotten")


def _cache_prune(options: Namespace) -> None:
    """Forget old entries, or too many."""
    if options.older_than is None and options.max_size is None:
        raise ValueError("give --older-than, such as 30d, or --max-size, or both")
    with closing(ActivityCache(options.cache)) as cache:
        forgotten = cache.prune(options.older_than, max_size=options.max_size)
    print(f"{forgotten:,} entries forgotten")


def _portal(options: Namespace) -> AbstractContextManager[Any]:
    """Return the portal to ask, open for as long as the context lasts."""
    return practice_portal() if options.practice else nullcontext(options.portal)


def _keywords(options: Namespace) -> dict[str, Any]:
    """Return the keywords that reading and finding share; refuse a file that cannot be written."""
    check_file(options.to)
    return {
        "columns": parse_columns(
            options.columns, options.labels or bool(options.language), options.names
        ),
        "tz": options.tz,
        "on_bad_value": options.on_bad_value,
        "cache": options.cache,
        "progress": False if options.quiet else None,
    }


def _deliver(
    frame: pd.DataFrame,
    options: Namespace,
    portal: Any,
    shown: Sequence[str] = _SHOWN_COLUMNS,
    what: str = "activities",
) -> None:
    """Print a frame, or write it to a file."""
    names = frame.b24.names(portal, cache=options.cache) if options.names else frame[[]]
    if options.labels or options.language:
        frame = frame.assign(**frame.b24.labels(language=options.language or "en"))
    frame = frame.join(names)
    if options.to is not None:
        write_file(frame, options.to, what)
    else:
        print_table(frame if options.columns else frame[[*shown, *names.columns]])


def _parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m b24frames", description="Activities of a Bitrix24 CRM as a table."
    )
    parser.add_argument("--version", action="version", version=f"b24frames {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    shared = _add_portal, _add_zone, _add_frame, _add_output
    _add(commands, "read", _read, *shared, _add_read)
    find = _add(commands, "find", _find, _add_where, *shared)
    find.add_argument(
        "--limit", type=count_option, metavar="N", help="at most so many, the highest ids"
    )
    _add(commands, "count", _count_matches, _add_where, _add_portal, _add_zone)
    sync = _add(commands, "sync", _sync, _add_where, _add_portal)
    sync.add_argument("place", metavar="PLACE", help="a folder, or s3://bucket/activities")
    sync.add_argument("--full", action="store_true", help="also find deletions and new owners")
    sync.add_argument("--quiet", action="store_true", help="no progress bar")
    users = _add(commands, "users", _users, _add_portal)
    users.set_defaults(labels=False, language=None, names=False)
    calls = _add(commands, "calls", _calls, _add_where, _add_portal, _add_zone, _add_output)
    for command, of in ((users, "of users"), (calls, "of activities")):
        command.add_argument("ids", type=option(parse_id_text), nargs="*", help=f"{of}: 1-200,999")
        command.set_defaults(columns=None)
    _add_to(users)
    demo = _add(commands, "demo", _demo)
    text = "how many (default: 2000)"
    demo.add_argument("--activities", type=count_option, metavar="N", default=2000, help=text)
    _add_cache(commands)
    return parser


def _add(
    commands: Any,
    name: str,
    run: Callable[[Namespace], int | None],
    *add_options: Callable[[Parser], None],
) -> Parser:
    """Add a command, whose help is what its function says."""
    text = (run.__doc__ or "").rstrip(".")
    command: Parser = commands.add_parser(name, help=text[:1].lower() + text[1:])
    command.set_defaults(run=run)
    for add in add_options:
        add(command)
    return command


def _add_portal(command: Parser) -> None:
    """Add the options of all commands that ask a portal."""
    place = command.add_mutually_exclusive_group()
    place.add_argument(
        "--portal",
        metavar="URL",
        help=f"webhook URL; better set {WEBHOOK_VARIABLE}: others on the machine see command lines",
    )
    place.add_argument("--practice", action="store_true", help="ask a practice portal")


def _add_zone(command: Parser) -> None:
    command.add_argument("--tz", metavar="ZONE", default="UTC", help="zone of dates (default: UTC)")


def _add_where(command: Parser) -> None:
    """Add the option that says which activities are meant."""
    command.add_argument(
        "--where",
        type=option(parse_where),
        action="append",
        metavar="CONDITION",
        help="'CREATED>=2026-10-01', 'TYPE_ID in call,meeting' and the like; all must hold",
    )


def _add_frame(command: Parser) -> None:
    """Add the options of all commands that make a frame of activities."""
    command.add_argument("--columns", metavar="A,B", help="fields to keep, in that order")
    command.add_argument(
        "--on-bad-value",
        choices=get_args(OnBadValue),
        default="warn",
        help="what to do about values that are not understood (default: warn)",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_output(command: Parser) -> None:
    """Add the options that say what becomes of a frame."""
    _add_to(command)
    command.add_argument("--labels", action="store_true", help="words in place of codes")
    text = "the words in this language"
    command.add_argument("--language", choices=get_args(Language), help=text)
    command.add_argument("--names", action="store_true", help="names of users and owners, too")
    store = command.add_mutually_exclusive_group()
    store.add_argument("--cache", metavar="PATH", default=True, help="folder or file of the cache")
    store.add_argument("--no-cache", dest="cache", action="store_false", help="keep nothing")


def _add_to(command: Parser) -> None:
    command.add_argument("--to", type=Path, metavar="FILE", help=f"a file: {', '.join(SUFFIXES)}")


def _add_read(read: Parser) -> None:
    """Add what the command `read` has by itself."""
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


def _add_cache(commands: Any) -> None:
    """Add the command `cache`, with commands of its own."""
    text = "what is kept on this machine: how much, and forget it"
    actions = commands.add_parser("cache", help=text).add_subparsers(
        required=True, metavar="ACTION"
    )
    info = _add(actions, "info", _cache_info)
    clear = _add(actions, "clear", _cache_clear)
    clear.add_argument("--ids", type=option(parse_id_text), metavar="IDS", help="such as 1-200,999")
    prune = _add(actions, "prune", _cache_prune)
    prune.add_argument("--older-than", type=age_option, metavar="AGE", help="such as 30d")
    text = "keep what was read last, up to this size"
    prune.add_argument("--max-size", type=count_option, metavar="BYTES", help=text)
    for action in (info, clear, prune):
        action.add_argument("--cache", metavar="PATH", help="folder or file of the cache")


if __name__ == "__main__":
    sys.exit(main())
