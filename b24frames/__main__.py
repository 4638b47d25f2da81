"""The command line: ``python -m b24frames find --where TYPE_ID=call --practice``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from io import TextIOWrapper
from itertools import chain
from time import perf_counter
from typing import Any

import pandas as pd

from b24frames._version import __version__
from b24frames.activities import count_activities, find_activities, read_activities
from b24frames.cache import ActivityCache
from b24frames.calls import read_calls
from b24frames.credentials import redact_addresses
from b24frames.delivery import (
    Parser,
    add_options,
    check_file,
    fail,
    one_line_warnings,
    parse_columns,
    print_table,
    visible,
    write_file,
)
from b24frames.errors import B24Error, MissingActivitiesError
from b24frames.messages import name_some
from b24frames.names import read_users
from b24frames.practice import practice_portal
from b24frames.schema import USER

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
            check_file(options.to)
            source: Any = practice_portal() if options.practice else nullcontext(options.portal)
            with source as portal:
                status: int | None = options.run(options, portal)
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


def _read(options: Namespace, portal: Any) -> int:
    """Read activities by their ids, and print or write them."""
    names = ("missing", "max_age", "only_if_cached", "stale_if_error", "via")
    keywords = _keywords(options, *names)
    try:
        frame, status = read_activities(chain(*options.ids), portal, **keywords), 0
        missing = frame.attrs["b24"]["missing"]
        if options.missing == "keep" and missing:
            status = fail(f"rows without a record: {name_some(missing)}", 1)
    except MissingActivitiesError as error:
        frame, status = error.frame, fail(str(error), 1)
    _deliver(frame, options, portal)
    return status


def _find(options: Namespace, portal: Any) -> None:
    """Find activities by conditions, and print or write them."""
    keywords = _keywords(options)
    frame = find_activities(options.where, portal, limit=options.limit, **keywords)
    _deliver(frame, options, portal)


def _users(options: Namespace, portal: Any) -> None:
    """Read users, all or some, and print or write them."""
    ids = [*chain(*options.ids)] or None
    _deliver(read_users(ids, portal), options, portal, list(USER)[1:], "users")


def _calls(options: Namespace, portal: Any) -> None:
    """Read the statistics of calls, all or those of some activities, and print or write them."""
    ids = [*chain(*options.ids)] or None
    frame = read_calls(ids, portal, filters=options.where, tz=options.tz)
    _deliver(frame, options, portal, _SHOWN_OF_CALLS, "calls")


def _count_matches(options: Namespace, portal: Any) -> None:
    """Count activities by conditions."""
    print(count_activities(options.where, portal, tz=options.tz))


def _sync(options: Namespace, portal: Any) -> None:
    """Keep what conditions match in a Delta Lake table, and bring it up to date."""
    from b24frames.store import ActivityStore  # the other commands do without Arrow

    store = ActivityStore(options.place, portal, options.where)
    report = asdict(store.sync(options.full, progress=False if options.quiet else None))
    facts = ", ".join(f"{v:,} {n}" for n, v in report.items())
    print(f"{options.place}: {facts}".replace("_", " "))


def _demo(options: Namespace, _: None) -> None:
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


def _cache_info(options: Namespace, _: None) -> None:
    """Tell how many entries there are, from when, and of whom."""
    with closing(ActivityCache(options.cache)) as cache:
        facts = cache.info()
    users, set_aside = facts.pop("portals"), facts.pop("set_aside")
    facts |= {f"entries of {user}": entries for user, entries in users.items()}
    lines = [(name, f"{v:,}" if isinstance(v, int) else v or "-") for name, v in facts.items()]
    lines += [("set aside", path) for path in set_aside]
    for name, value in lines:
        print(visible(redact_addresses(f"{name}: {value}")))


def _cache_clear(options: Namespace, _: None) -> None:
    """Forget all entries, or those of some ids."""
    with closing(ActivityCache(options.cache)) as cache:
        print(f"{cache.clear(ids=options.ids):,} entries forgotten")


def _cache_prune(options: Namespace, _: None) -> None:
    """Forget old entries, or too many."""
    if options.older_than is None and options.max_size is None:
        raise ValueError("give --older-than, such as 30d, or --max-size, or both")
    with closing(ActivityCache(options.cache)) as cache:
        forgotten = cache.prune(options.older_than, max_size=options.max_size)
    print(f"{forgotten:,} entries forgotten")


def _keywords(options: Namespace, *names: str) -> dict[str, Any]:
    """Return the keywords that reading and finding share, and further ones by name."""
    words = options.labels or options.language is not None
    columns = parse_columns(options.columns, words, options.names)
    keywords = {"columns": columns, "progress": False if options.quiet else None}
    shared = ("tz", "on_bad_value", "cache")
    return keywords | {name: getattr(options, name) for name in (*shared, *names)}


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


# What each command runs, and the groups of its options in options.json.
_COMMANDS: Mapping[str, tuple[Callable[[Namespace, Any], int | None], str]] = {
    "read": (_read, "portal zone frame file words store read"),
    "find": (_find, "where portal zone frame file words store find"),
    "count": (_count_matches, "where portal zone"),
    "sync": (_sync, "where portal sync"),
    "users": (_users, "portal file users"),
    "calls": (_calls, "where portal zone file words store calls"),
    "demo": (_demo, "demo"),
}
_CACHE_COMMANDS: Mapping[str, tuple[Callable[[Namespace, Any], int | None], str]] = {
    "info": (_cache_info, "cache"),
    "clear": (_cache_clear, "clear cache"),
    "prune": (_cache_prune, "prune cache"),
}


def _parser() -> Parser:
    """Return the parser of the command line."""
    about = "Activities of a Bitrix24 CRM as a table."
    parser = Parser(prog="python -m b24frames", description=about)
    parser.add_argument("--version", action="version", version=f"b24frames {__version__}")
    # Of commands that have no such options.
    parser.set_defaults(portal=None, practice=False, to=None)
    parser.set_defaults(columns=None, labels=False, language=None, names=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_commands(commands, _COMMANDS)
    about = "what is kept on this machine: how much, and forget it"
    cache = commands.add_parser("cache", help=about)
    _add_commands(cache.add_subparsers(required=True, metavar="ACTION"), _CACHE_COMMANDS)
    return parser


def _add_commands(parsers: Any, commands: Mapping[str, Any]) -> None:
    """Add commands, whose help is what their functions say."""
    for name, (run, groups) in commands.items():
        text = run.__doc__.rstrip(".")
        command = parsers.add_parser(name, help=text[:1].lower() + text[1:])
        command.set_defaults(run=run)
        add_options(command, *groups.split())


if __name__ == "__main__":
    sys.exit(main())
