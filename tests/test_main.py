"""The command line: tables, files, exit statuses, and errors in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import b24frames as b24
from b24frames.__main__ import main
from b24frames.activities import Missing
from b24frames.by_id import Via
from b24frames.cache import ActivityCache
from b24frames.delivery import print_table
from b24frames.filters import parse_where
from b24frames.practice import PracticePortal
from b24frames.schema import Language, OnBadValue
from tests.helpers.caches import ACME
from tests.helpers.practice import asked, posts


def assert_refused(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail where a bad argument is not named in one line, with a status that is not 0."""
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = int(str(stop.code))
    out, err = capsys.readouterr()
    assert status != 0
    assert named in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "s3cret" not in err
    assert out == ""


def test_read__table(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of the main columns is printed."""
    assert main(["read", "5-6,8", "--portal", portal.url]) == 0
    out, err = capsys.readouterr()
    assert "SUBJECT" in out
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["5", "6", "8"]
    assert err == ""


def test_read__several_arguments(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids may come in several arguments, as a shell makes them of a file; each is read once."""
    assert main(["read", "8", "5,6", "5", "--portal", portal.url]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-3:]] == [
        "8",
        "5",
        "6",
    ]
    assert asked(portal) == [8, 5, 6]


def test_read__missing(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing id is an error in one line, after the rows that were found."""
    assert main(["read", "5-8", "--portal", portal.url]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["5", "6", "8"]
    assert err.startswith("error: 1 of 4 activities have no record: 7 (not found")
    assert err.count("\n") == 1
    assert main(["read", "5-8", "--portal", portal.url, "--missing", "warn"]) == 0
    assert capsys.readouterr().err.startswith("warning: 1 of 4")
    assert main(["read", "5-8", "--portal", portal.url, "--missing", "ignore"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_read__to_file(
    portal: PracticePortal, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    """The frame is written in the form that the file's name says."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"out{suffix}"
    arguments = ["read", "10-109", "--portal", portal.url, "--missing", "ignore", "--to", str(file)]
    assert main(arguments) == 0
    assert "activities written to" in capsys.readouterr().out
    reader = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[suffix]
    frame = reader(file)  # type: ignore[operator]
    assert len(frame) == 100
    if suffix == ".parquet":
        assert frame.index.name == "ID"
        assert str(frame["OWNER_ID"].dtype) == "Int64"
    else:
        assert frame["ID"].tolist() == list(range(10, 110))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["read", "1-x", "--practice"], "'1-x'"),
        (["read", "1", "--practice", "--portal", "x"], "not allowed with"),
        (["read", "1"], "B24_WEBHOOK_URL"),
        (["read", "1", "--portal", "https://acme.bitrix24.com/rest/x/s3cret/"], "no valid path"),
        (["read", "1", "--practice", "--columns", "SUBJET"], "did you mean 'SUBJECT'"),
        (["read", "1", "--practice", "--to", "file.doc"], ".parquet"),
        (["read", "1", "--practice", "--tz", "Mars"], "'Mars'"),
        (["read", "1", "--practice", "--max-age", "soon"], "--max-age: 'soon' is not a time span"),
        (["read", "1", "--practice", "--only-if-cached", "--no-cache"], "cache=False"),
        (["read"], "ids"),
        (["read", "1", "--practice", "--max-age", "3600"], "30d and the like, 0 and any (see"),
        (["find", "--practice", "--where", "https://a.bitrix24.com/rest/1/s3cret/"], "--where"),
        (["find", "--practice", "--where", "DATE_CREATE>=2026-10-01"], "'DATE_CREATE' is not"),
        (["find", "--practice", "--where", "TYPE_ID=visit"], "'meeting', 'call'"),
        (["find", "--practice", "--where", "CREATED>yesterday"], "'yesterday'"),
        (["find", "--practice", "--limit", "0"], "--limit: '0'"),
        (["find", "--practice", "--limit", "²"], "--limit: '²' is not a number"),
        (["find", "--practice", "--columns", "SUBJET"], "did you mean 'SUBJECT'"),
        (["find", "TYPE_ID=call", "--practice"], "unrecognized arguments"),
        (["find", "--practice", "--to", "file.doc"], ".parquet"),
        (["find"], "B24_WEBHOOK_URL"),
        (["count", "--practice", "--where", "SUBJECT>a"], "'>' is not an operator of SUBJECT"),
        (["count", "--practice", "--to", "a.csv"], "unrecognized arguments"),
        (["demo", "--activities", "-5"], "-5"),
        (["cache", "info", "https://acme.bitrix24.com/rest/1/s3cret/"], "unrecognized arguments"),
        (["read", "1", "https://acme.bitrix24.com/rest/1/s3cret/"], "neither an id"),
        ([], "COMMAND"),
        (["cache"], "ACTION"),
        (["cache", "shrink"], "shrink"),
        (["cache", "prune"], "--older-than"),
        (
            ["cache", "prune", "--older-than", "soon"],
            "--older-than: 'soon' is not a time span; accepted",
        ),
        (["cache", "prune", "--older-than", "30"], "'30'"),
        (["cache", "prune", "--max-size", "1GB"], "'1GB'"),
        (["cache", "clear", "--ids", "1-x"], "'1-x'"),
        (["cache", "info", "--cache", "/dev/null/cache"], "/dev/null/cache"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_main__refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad argument is named."""
    assert_refused(arguments, named, capsys)


@pytest.mark.parametrize("command", [["read", "1-3"], ["find"]])
@pytest.mark.parametrize(
    ("columns", "option", "needed"),
    [("SUBJECT", "--labels", "TYPE_ID"), ("OWNER_ID,SUBJECT", "--names", "RESPONSIBLE_ID")],
)
def test_main__columns_without_codes(
    command: list[str],
    columns: str,
    option: str,
    needed: str,
    portal: PracticePortal,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Columns that labels or names cannot be made of are refused before any request."""
    arguments = [*command, "--portal", portal.url, "--columns", columns, option]
    assert_refused(arguments, needed, capsys)
    assert portal.server.requests == []


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("--language", Language),
        ("--missing", Missing),
        ("--on-bad-value", OnBadValue),
        ("--via", Via),
    ],
)
def test_options__choices(name: str, accepted: object) -> None:
    """What an option accepts is what the function behind it accepts."""
    groups = json.loads(files("b24frames").joinpath("options.json").read_text("utf-8")).values()
    choices = [group[name]["choices"] for group in groups if name in group]
    assert choices
    assert all(tuple(some) == get_args(accepted) for some in choices)


def test_read__portal_down(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong secret is said in one line."""
    assert main(["read", "5", "--portal", portal.url.replace("practice", "wrong")]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert "NO_AUTH_FOUND" in err
    assert err.count("\n") == 1
    assert "/rest/" not in out + err


def test_read__hostile_text(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Text of the CRM commands no terminal, and half a character breaks no file."""
    portal.server.touch(5, SUBJECT="\x1b[31mred\x1b]0;title\x07\u202eder")
    assert main(["read", "5", "--portal", portal.url]) == 0
    out, _ = capsys.readouterr()
    assert "\\x1b[31mred" in out
    assert "\\u202eder" in out
    assert "\x1b" not in out
    portal.server.touch(6, SUBJECT="half \ud800")
    file = tmp_path / "out.csv"
    assert main(["read", "6", "--portal", portal.url, "--to", str(file)]) == 0
    assert pd.read_csv(file).loc[0, "SUBJECT"] == "half \\ud800"


def test_read__keep(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A row of NA is no record: the exit status says so."""
    assert main(["read", "6-7", "--portal", portal.url, "--missing", "keep"]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["6", "7"]
    assert err == "error: rows without a record: 7\n"


def test_read__options(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Columns, zone, cache and age are those asked for."""
    common = ["read", "5", "--portal", portal.url, "--cache", str(tmp_path / "c")]
    assert main([*common, "--columns", "CREATED,SUBJECT", "--tz", "Asia/Kolkata"]) == 0
    assert "+05:30" in capsys.readouterr().out
    assert main([*common, "--only-if-cached", "--max-age", "any"]) == 0
    assert posts(portal) == 1
    assert main([*common, "--max-age", "0"]) == 0
    assert posts(portal) == 2


def test_read__practice(capsys: pytest.CaptureFixture[str]) -> None:
    """The practice portal needs nothing but the command."""
    assert main(["read", "1-20", "--practice", "--missing", "ignore"]) == 0
    out, err = capsys.readouterr()
    assert "SUBJECT" in out
    assert err == ""


@pytest.mark.parametrize(
    ("file", "words"), [("nofolder/a.csv", "no folder nofolder"), ("a.txt", "accepted are files")]
)
def test_read__file_that_cannot_be(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str], file: str, words: str
) -> None:
    """A file that could not be written is refused before anything is read."""
    assert main(["read", "5", "--portal", portal.url, "--to", file]) == 1
    assert words in capsys.readouterr().err
    assert posts(portal) == 0


def test_read__folder_as_file(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """So is a folder, and so are texts in place of codes of which none are read."""
    folder = tmp_path / "a.csv"
    folder.mkdir()
    assert main(["read", "5", "--portal", portal.url, "--to", str(folder)]) == 1
    columns = ["--columns", "SUBJECT", "--language", "ru"]
    assert main(["read", "5", "--portal", portal.url, *columns]) == 1
    said = capsys.readouterr().err
    assert "a.csv: a folder" in said
    assert "labels needs one of" in said
    assert posts(portal) == 0


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_write__all_or_nothing(tmp_path: Path, suffix: str) -> None:
    """Where the disk is full, the file that was there stays, and nothing is left beside it."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    resource = pytest.importorskip("resource", reason="this system has no such limit")
    file, link = tmp_path / f"a{suffix}", tmp_path / f"link{suffix}"
    file.write_text("precious")
    file.chmod(0o600)
    link.symlink_to(file)
    read = ["read", "1-300", "--practice", "--missing", "ignore", "--no-cache", "--quiet", "--to"]
    command = [*read, str(link)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    process = [sys.executable, "-m", "b24frames", *command]
    full = subprocess.run(process, capture_output=True, text=True, preexec_fn=limit)
    assert (full.returncode, full.stderr.count("\n")) == (1, 1)
    assert file.read_text() == "precious"
    assert main(command) == 0
    assert file.stat().st_size > 8_000
    assert file.stat().st_mode & 0o777 == 0o600
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_read__to_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no file is refused, and not replaced by one."""
    pipe = tmp_path / "a.csv"
    os.mkfifo(pipe)
    assert main(["read", "1", "--practice", "--to", str(pipe)]) == 1
    assert "a pipe" in capsys.readouterr().err
    assert pipe.is_fifo()


def test_read__ids_alone(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """The ids are a column where there is no other."""
    assert main(["read", "3-5", "--portal", portal.url, "--columns", "ID"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID"]
    assert [row.split()[-1] for row in rows] == ["3", "4", "5"]


def test_read__part_of_a_webhook(capsys: pytest.CaptureFixture[str]) -> None:
    """A part of a webhook given as an id is not repeated, wherever it begins."""
    for text in ("rest/1/s3cret0s3cret/", "/rest/1/s3cret0s3cret/", "x.ru/rest/1/s3cret0s3cret"):
        with pytest.raises(SystemExit):
            main(["read", text])
        assert "s3cret" not in capsys.readouterr().err


def test_read__parquet_without_pyarrow(
    portal: PracticePortal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one of a form that nothing installed can write."""
    monkeypatch.setattr("b24frames.delivery.find_spec", lambda _: None)
    assert main(["read", "5", "--portal", portal.url, "--to", "a.parquet"]) == 1
    assert "needs pyarrow: python -m pip install" in capsys.readouterr().err
    assert posts(portal) == 0


def test_names__beside_ids(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """Names are columns beside the ids, in tables and in files, of `read` and `find`."""
    place = ["--portal", portal.url, "--names"]
    for command in (["read", "3"], ["find", "--where", "ID=3", "--labels"]):
        assert main([*command, *place]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "José García" in out
        assert "Deal no. 3177" in out


def test_names__to_file(portal: PracticePortal, tmp_path: Path) -> None:
    """Names are written to files, too."""
    file = tmp_path / "a.csv"
    arguments = ["read", "3", "--portal", portal.url, "--names", "--columns", "AUTHOR_ID"]
    assert main([*arguments, "--to", str(file)]) == 0
    assert file.read_text(encoding="utf-8").splitlines()[1] == "3,5,José García"


def test_names__cache(portal: PracticePortal, tmp_path: Path) -> None:
    """Names are kept where activities are, or nowhere."""
    place = ["--portal", portal.url, "--names", "--cache", str(tmp_path / "c")]
    for requests in (2, 0):
        before = posts(portal)
        assert main(["read", "3", *place]) == 0
        assert posts(portal) == before + requests
    assert main(["read", "4", "--portal", portal.url, "--names", "--no-cache"]) == 0
    with closing(ActivityCache(tmp_path / "c")) as cache:
        assert cache.info()["entries"] == 1


def test_users__some_and_all(
    portal: PracticePortal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users are printed or written; whoever is not told is named on stderr."""
    assert main(["users", "5,50", "--portal", portal.url]) == 0
    out, err = capsys.readouterr()
    assert "José García" in out
    assert err.startswith("warning: 1 name could not be read: user 50")
    assert err.count("\n") == 1
    file = tmp_path / "users.csv"
    assert main(["users", "--portal", portal.url, "--to", str(file)]) == 0
    assert capsys.readouterr().out == f"290 users written to {file}\n"
    assert len(pd.read_csv(file)) == 290


def test_calls__conditions(
    make_portal: Callable[..., PracticePortal],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Calls are printed or written, with words and names on request."""
    portal = make_portal(activities=300)
    where = ["--where", "CALL_TYPE=incoming", "--where", "CALL_FAILED_CODE=304"]
    missed = b24.read_calls(None, portal, filters=[parse_where(text) for text in where[1::2]])
    assert main(["calls", *where, "--portal", portal.url, "--labels", "--names"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1].isdigit()]
    assert {int(line.split()[0]) for line in lines} == set(missed.index)  # once in each part
    assert sum("missed" in line for line in lines) == len(missed)
    file = tmp_path / "calls.csv"
    assert main(["calls", "1-300", "--portal", portal.url, "--to", str(file)]) == 0
    frame = pd.read_csv(file)
    assert len(frame) > 20
    assert frame["CRM_ACTIVITY_ID"].between(1, 300).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["calls", "--where", "SUBJECT=x"], "not a field of a call"),
        (["calls", "--to", "a.txt"], "accepted are files"),
        (["users", "x"], "'x' is neither an id"),
        (["read", "3", "--names", "--columns", "SUBJECT"], "needs one of RESPONSIBLE_ID"),
        (["calls", "--portal", "none"], "not a URL"),
    ],
)
def test_names_and_calls__refused(
    arguments: list[str], named: str, portal: PracticePortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not accepted is named in one line."""
    place = [] if "--portal" in arguments else ["--portal", portal.url]
    assert_refused([*arguments, *place], named, capsys)


def test_calls__without_the_scope(
    make_portal: Callable[..., PracticePortal], capsys: pytest.CaptureFixture[str]
) -> None:
    """The scope to tick is named."""
    portal = make_portal(activities=9, scopes=["crm"])
    assert_refused(["calls", "--portal", portal.url], "scope 'telephony'", capsys)


# --- cache -------------------------------------------------------------------------------------


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    """Make a cache of 1 500 entries, of which five are old."""
    path = tmp_path / "cache.sqlite"
    with closing(ActivityCache(path)) as cache:
        cache.write(ACME, dict.fromkeys(range(6, 1501), b"r" * 500), {})
        cache.write(ACME, dict.fromkeys(range(1, 6), b"r"), {}, now=1_763_900_000.0)
    return path


def test_cache_info__prints(cache_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many, how large, from when, of whom."""
    assert main(["cache", "info", "--cache", str(cache_file)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:2] == [f"path: {cache_file}", "entries: 1,500"]
    assert "oldest: 2025-11-23T12:13:20+00:00" in out
    assert "entries of acme.bitrix24.com 1: 1,500" in out


def test_cache_info__default_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path it is the default cache, which looking at does not make."""
    assert main(["cache", "info"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[1:] == ["entries: 0", "names: 0", "size: 0", "oldest: -", "newest: -"]
    assert list(tmp_path.iterdir()) == []


def test_cache_info__damaged(cache_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file is a warning in one line; it is listed from then on."""
    cache_file.write_bytes(b"no database" * 1000)
    for first in (True, False):
        assert main(["cache", "info", "--cache", str(cache_file)]) == 0
        out, err = capsys.readouterr()
        assert err.count("\n") == first
        assert err.startswith("warning: the cache ") == first
        assert f"set aside: {cache_file}.aside-" in out


@pytest.mark.parametrize(
    ("arguments", "forgotten", "left"),
    [
        (["clear", "--ids", "1-10,999,5000"], "11", 1489),
        (["clear"], "1,500", 0),
        (["prune", "--older-than", "30d"], "5", 1495),
        (["prune", "--max-size", "1"], "1,500", 0),
        (["prune", "--older-than", "30d", "--max-size", "100000000"], "5", 1495),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_cache_forget__tells_how_many(
    cache_file: Path,
    arguments: list[str],
    forgotten: str,
    left: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is forgotten is what was named."""
    assert main(["cache", *arguments, "--cache", str(cache_file)]) == 0
    assert capsys.readouterr() == (f"{forgotten} entries forgotten\n", "")
    with closing(ActivityCache(cache_file)) as cache:
        assert cache.info()["entries"] == left


def test_find__table(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """What matches all conditions is printed, with names in place of codes on request."""
    place = ["--where", "ID in 1,2,3,5", "--where", "TYPE_ID=call", "--portal", portal.url]
    calls = [i for i in (1, 2, 3, 5) if (portal.server.record(i) or {})["TYPE_ID"] == "2"]
    assert main(["find", *place, "--language", "ru", "--columns", "TYPE_ID"]) == 0
    assert capsys.readouterr().out.count("звонок") == len(calls) > 0
    assert main(["find", *place, "--labels", "--columns", "TYPE_ID"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[2:]] == [[str(i), "call"] for i in calls]
    assert err == ""
    assert main(["count", *place]) == 0
    assert capsys.readouterr().out == f"{len(calls)}\n"


def test_find__limit(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit leaves the highest ids; nothing found is no error."""
    common = ["find", "--portal", portal.url, "--columns", "SUBJECT"]
    assert main([*common, "--limit", "3"]) == 0
    found = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in found] == ["300", "299", "298"]
    assert main([*common, "--where", "CREATED<1990-01-01"]) == 0
    assert "Empty" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_find__to_file(portal: PracticePortal, tmp_path: Path, suffix: str) -> None:
    """Names in place of codes are written to files of any form."""
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"out{suffix}"
    where = ["--where", "TYPE_ID in call,meeting", "--where", "ID<=40"]
    assert main(["find", *where, "--portal", portal.url, "--labels", "--to", str(file)]) == 0
    reader = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[suffix]
    frame = reader(file)  # type: ignore[operator]
    assert set(frame["TYPE_ID"]) == {"call", "meeting"}


def test_find__cache(portal: PracticePortal, tmp_path: Path) -> None:
    """What was found is read again without a request, but for the columns of a few."""
    place = ["--portal", portal.url, "--cache", str(tmp_path / "c")]
    assert main(["find", "--where", "ID<=5", *place]) == 0
    before = posts(portal)
    assert main(["read", "1-5", *place]) == 0
    assert posts(portal) == before
    assert main(["find", "--where", "ID in 8", "--columns", "SUBJECT", *place]) == 0
    assert main(["read", "8", "--only-if-cached", *place]) == 1


def test_find__zone(portal: PracticePortal, capsys: pytest.CaptureFixture[str]) -> None:
    """Dates without a zone are meant in that of the frame."""
    created = b24.read_activities(5, portal, tz="Asia/Almaty")["CREATED"].iloc[0]
    where = ["--where", f"CREATED={created:%Y-%m-%dT%H:%M:%S}", "--where", "ID=5"]
    for zone, found in (("Asia/Almaty", "1"), ("UTC", "0")):
        assert main(["count", *where, "--portal", portal.url, "--tz", zone]) == 0
        assert capsys.readouterr().out.strip() == found


# --- in a process of its own -------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, where every warning is an error."""
    command = [sys.executable, "-W", "error", "-m", "b24frames", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")


def test_process__demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstration shows calls with names, and no colours where there is no terminal."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # as on Windows, when redirected
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "RESPONSIBLE_NAME" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("1925 "))
    assert "outgoing" in row
    assert row.endswith("Initech")
    assert "\x1b" not in done.stdout


class Terminal(StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb", "NO_COLOR": ""}, False),
        ({"TERM": None, "NO_COLOR": None}, False),
    ],
)
def test_print_table__colour(
    environment: dict[str, str | None], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is in colour where the terminal has colours and the user wants them."""
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_table(pd.DataFrame({"SUBJECT": ["a\x1b[31mb"]}, index=[7]))
    head, row, _ = sys.stdout.getvalue().split("\n")
    assert head == ("\x1b[1;34m   SUBJECT\x1b[0m" if coloured else "   SUBJECT")
    assert row.split() == ["7", "a\\x1b[31mb"]


def test_process__pipe_closed() -> None:
    """A reader that goes away early causes no traceback."""
    command = [sys.executable, "-m", "b24frames", "demo", "--activities", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert b"Traceback" not in error
    assert b"Exception" not in error


def test_process__stderr_closed() -> None:
    """Without a place for warnings, none gets into the data."""
    run = (
        "import os, runpy, sys; os.close(2); sys.stderr = None; "
        "sys.argv[1:] = ['read', '1-3,99999', '--practice', '--missing', 'warn', '--quiet']; "
        "runpy.run_module('b24frames', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", run], stdout=subprocess.PIPE, check=True)
    assert b"warning" not in done.stdout
    assert done.stdout.count(b"\n") > 3
