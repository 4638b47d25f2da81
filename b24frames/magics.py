"""The IPython extension: ``%load_ext b24frames`` adds ``%activity``."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

import pandas as pd
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic_arguments import MagicArgumentParser

from b24frames.activities import read_activities
from b24frames.credentials import looks_like_address
from b24frames.errors import B24Error
from b24frames.ids import parse_id_text
from b24frames.messages import one_line, redirect_warnings
from b24frames.portal import WEBHOOK_VARIABLE, Portal
from b24frames.practice import practice_portal

_NO_URL = (
    "a webhook URL in a cell would be saved in the notebook and in IPython's history, for everyone "
    f"who gets them: delete it here, put it into the environment variable {WEBHOOK_VARIABLE}, or "
    "name a variable that holds a Portal: --portal NAME"
)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add ``%activity`` to IPython or a notebook.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell, passed by ``%load_ext b24frames``.
    """

    def activity(line: str) -> pd.DataFrame | None:
        return _activity(shell, line)

    activity.__doc__ = _parser().format_help()
    manager: Any = shell.magics_manager  # its types are those of an unbound method
    manager.register_function(activity, "line", "activity")


def _parser() -> ArgumentParser:
    # It raises UsageError where argparse raises SystemExit; it has no types.
    make: Any = MagicArgumentParser
    parser: ArgumentParser = make(
        "activity",
        description="Read activities; the frame is the cell's result, and so `_` in the next one.",
    )
    parser.allow_abbrev = False
    parser.add_argument("-h", "--help", action="help", help="show this")
    parser.add_argument("ids", nargs="+", help="such as 999 1000-1010")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--portal",
        metavar="NAME",
        help="a variable that holds a Portal; by default the portal of the webhook URL in the "
        f"environment variable {WEBHOOK_VARIABLE}",
    )
    source.add_argument(
        "--practice", action="store_true", help="read from a practice portal on this machine"
    )
    parser.add_argument("--labels", action="store_true", help="names in place of codes")
    return parser


def _activity(shell: InteractiveShell, line: str) -> pd.DataFrame | None:
    if looks_like_address(line):
        raise UsageError(_NO_URL)
    try:
        options = _parser().parse_args(shlex.split(line))
        ids = parse_id_text(",".join(part.strip(",;") for part in options.ids))
        with ExitStack() as stack:
            portal = (
                stack.enter_context(practice_portal())
                if options.practice
                else _portal(shell, options.portal)
            )
            # warnings.warn would show a line of IPython's own code.
            stack.enter_context(redirect_warnings(_tell))
            frame = read_activities(ids, portal)
    except (B24Error, ValueError, TypeError, OSError) as error:
        problem = one_line(error)
    except SystemExit:  # raised by --help
        return None
    else:
        return frame.assign(**frame.b24.labels()) if options.labels else frame
    # Outside the handler, so that the error has no context.
    raise UsageError(problem)


def _portal(shell: InteractiveShell, name: str | None) -> Portal | None:
    """Return the portal that a variable holds."""
    # Messages do not repeat the name: it may be a secret given by mistake.
    if name is None:
        return None
    portal = shell.user_ns.get(name)
    if not isinstance(portal, Portal):
        problem = "holds no Portal" if name in shell.user_ns else "is not there"
        raise ValueError(
            f"--portal: the variable {problem}; --portal NAME takes one made as in "
            "NAME = b24frames.Portal(...)"
        )
    return portal


def _tell(note: str) -> None:
    sys.stderr.write(f"{note}\n")
