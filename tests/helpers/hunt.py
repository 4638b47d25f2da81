"""The secret hunt: all that a read leaves behind is searched for what was planted."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pandas as pd
import pytest
import requests
import urllib3

import b24frames as b24
from b24frames.practice import PracticePortal
from tests.helpers.clocks import WaitlessClock

PLAIN = "pl4ntedS3cret"
QUOTED = "pl4nted Sécret(42)"
ACCESS, REFRESH, CLIENT = "acc3ss-t0ken+one", "r3fresh/t0ken one", "cl1ent&s3cret"
NEW_ACCESS, NEW_REFRESH = "acc3ss-t0ken+two", "r3fresh/t0ken two"
PLANTED = (PLAIN, QUOTED, ACCESS, REFRESH, CLIENT, NEW_ACCESS, NEW_REFRESH)

# The frames of errors that are searched: those of a test hold what the test has planted.
SEARCHED = tuple(str(Path(module.__file__ or "").parent) for module in (b24, requests, urllib3))


def spellings(secret: str) -> set[str]:
    """Return the ways in which a secret may be written."""
    escaped = json.dumps(secret)[1:-1]
    in_addresses = {requests.utils.requote_uri(secret), quote_plus(secret)}
    return {secret, quote(secret), quote(secret, safe=""), escaped} | in_addresses


class Hunt:
    """Collects what a read leaves behind, under the name of the place."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}

    def add(self, place: str, *things: object) -> None:
        """Search these too: text, bytes, or the repr and str of anything else."""
        for thing in things:
            if isinstance(thing, bytes):
                text = thing.decode("utf-8", "replace")
            else:
                text = thing if isinstance(thing, str) else f"{thing!r}\n{thing!s}"
            self.places[place] = f"{self.places.get(place, '')}\n{text}"

    def add_error(self, error: BaseException) -> None:
        """Search an error, all that led to it, its pickle, and the frames it passed."""
        place = f"{type(error).__name__} {len(self.places)}"
        chain, seen = [error], {id(error)}
        for link in chain:
            self.add(f"{place}: text", link, repr(vars(link)), repr(link.args))
            self.add(f"{place}: notes", getattr(link, "__notes__", []))
            for more in (link.__cause__, link.__context__):
                if more is not None and id(more) not in seen:
                    seen.add(id(more))
                    chain.append(more)
            with suppress(TypeError, AttributeError, pickle.PicklingError):
                self.add(f"{place}: pickle", pickle.dumps(link))
            self._add_frames(place, link)

    def _add_frames(self, place: str, error: BaseException) -> None:
        """Search the frames that an error has passed, with their local variables."""
        summary = traceback.TracebackException.from_exception(error, capture_locals=True)
        for frame in summary.stack:
            if frame.filename.startswith(SEARCHED):
                where = f"{place}: {Path(frame.filename).name}:{frame.lineno} {frame.name}"
                self.add(where, str(frame.locals), frame.line or "")

    def add_frame(self, frame: pd.DataFrame) -> None:
        """Search a frame in every form in which it is shown or kept."""
        report = frame.b24.report
        self.add("attrs", json.dumps(frame.attrs), frame.attrs)
        self.add("report", report, report._repr_html_(), vars(report))
        self.add("frame", frame.to_dict("list"), frame.to_html(), repr(frame))
        self.add("pickle of the frame", pickle.dumps(frame))

    def add_portal(self, portal: b24.Portal) -> None:
        """Search a portal; it is never pickled or copied."""
        self.add("portal", portal, vars(portal), vars(portal._scheduler))
        http = portal._http
        self.add("transport", vars(http), vars(http.connections), vars(portal._session))
        for copier in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                copier(portal)

    def add_folder(self, folder: Path) -> None:
        """Search all files of a folder, and their names."""
        for file in folder.rglob("*"):
            self.add("file names", str(file))
            if file.is_file():
                self.add(f"file {file.name}", file.read_bytes())

    def found(self) -> list[str]:
        """Name the places where anything planted is to be read."""
        return [
            f"{place}: {secret!r}"
            for place, text in self.places.items()
            for secret in PLANTED
            if any(spelling in text for spelling in spellings(secret))
        ]


@contextmanager
def hunting(capfd: pytest.CaptureFixture[str]) -> Iterator[Hunt]:
    """Collect log lines, outputs and warnings of all libraries while something goes on."""
    hunt, stream, root = Hunt(), StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(threadName)s %(pathname)s %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            yield hunt
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    hunt.add("log", stream.getvalue())
    hunt.add("warnings", *[str(warning) for warning in told])
    hunt.add("outputs", *capfd.readouterr())
    hunt.add("environment", json.dumps(dict(os.environ)))


def client_of(practice: PracticePortal, url: str, **options: Any) -> b24.Portal:
    """Make a client that waits for almost no time, and keeps its request rate in a file."""
    settings: dict[str, Any] = {"clock": WaitlessClock(), "max_wait": 300.0, **options}
    return b24.Portal(url, limits=(10_000, 10_000), **settings)
