"""The IPython face: ``%load_ext b24frames`` gives ``%activity`` and ``%activities``."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pandas as pd
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic_arguments import MagicArgumentParser

from b24frames.activities import find_activities, read_activities
from b24frames.credentials import looks_like_address
from b24frames.delivery import add_options
from b24frames.errors import B24Error
from b24frames.filters import parse_where
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
    """Add ``%activity`` and ``%activities`` to IPython or a notebook.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell, passed by ``%load_ext b24frames``.
    """
    manager: Any = shell.magics_manager  # its types are those of an unbound method
    make: Any = MagicArgumentParser  # it has no types
    for name, does, get_frame in (("activity", "Read", _read), ("activities", "Find", _find)):
        about = f"{does} activities; the frame is the cell's result, and so `_` in the next."
        parser: ArgumentParser = make(name, description=about)
        parser.allow_abbrev = False
        parser.add_argument("-h", "--help", action="help", help="show this")
        add_options(parser, f"%{name}", "%portal", "%words")
        magic = partial(_run, shell, parser, get_frame)
        magic.__doc__ = parser.format_help()
        manager.register_function(magic, "line", name)


def _read(options: Namespace, portal: Portal | None) -> pd.DataFrame:
    ids = parse_id_text(",".join(part.strip(",;") for part in options.ids))
    return read_activities(ids, portal)


def _find(options: Namespace, portal: Portal | None) -> pd.DataFrame:
    conditions = [parse_where(text) for text in options.conditions]
    return find_activities(conditions, portal, limit=options.limit)


def _run(
    shell: InteractiveShell,
    parser: ArgumentParser,
    get_frame: Callable[[Namespace, Portal | None], pd.DataFrame],
    line: str,
) -> pd.DataFrame | None:
    """Return the frame that a line asks for; what goes wrong is told in one line."""
    if looks_like_address(line):
        raise UsageError(_NO_URL)
    try:
        options = parser.parse_args(shlex.split(line))
        named = nullcontext(_portal(shell, options.portal))
        source: Any = practice_portal() if options.practice else named
        # warnings.warn would show a line of IPython's own code.
        with source as portal, redirect_warnings(lambda note: sys.stderr.write(f"{note}\n")):
            frame = get_frame(options, portal)
    except (B24Error, ValueError, TypeError, OSError) as error:
        problem = one_line(error)
    except SystemExit:  # raised by --help
        return None
    else:
        language = options.language or (options.labels and "en")
        return frame.assign(**frame.b24.labels(language=language)) if language else frame
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
