"""The command line's view of the cache."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from b24frames.__main__ import main
from b24frames.cache import ActivityCache
from tests.test_main import assert_refused


class User:
    """A portal and a user of it."""

    address = "https://acme.bitrix24.com"
    user_id = 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a cache of 1 500 entries, of which five are old."""
    file = tmp_path / "cache.sqlite"
    with closing(ActivityCache(file)) as cache:
        cache.write(User, dict.fromkeys(range(6, 1501), b"r" * 500), {})
        cache.write(User, dict.fromkeys(range(1, 6), b"r"), {}, now=1_763_900_000.0)
    return file


def test_info__prints(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How many, how large, from when, of whom."""
    assert main(["cache", "info", "--cache", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:2] == [f"path: {file}", "entries: 1,500"]
    assert "oldest: 2025-11-23T12:13:20+00:00" in out
    assert "entries of acme.bitrix24.com 1: 1,500" in out


def test_info__default_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path it is the default cache, which looking at does not make."""
    assert main(["cache", "info"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[1:] == ["entries: 0", "size: 0", "oldest: -", "newest: -"]
    assert list(tmp_path.iterdir()) == []


def test_info__damaged(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file is a warning in one line; it is listed from then on."""
    file.write_bytes(b"no database" * 1000)
    for first in (True, False):
        assert main(["cache", "info", "--cache", str(file)]) == 0
        out, err = capsys.readouterr()
        assert err.count("\n") == first
        assert err.startswith("warning: the cache ") == first
        assert f"set aside: {file}.aside-" in out


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
def test_forget__tells_how_many(
    file: Path,
    arguments: list[str],
    forgotten: str,
    left: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is forgotten is what was named."""
    assert main(["cache", *arguments, "--cache", str(file)]) == 0
    assert capsys.readouterr() == (f"{forgotten} entries forgotten\n", "")
    with closing(ActivityCache(file)) as cache:
        assert cache.info()["entries"] == left


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "ACTION"),
        (["shrink"], "shrink"),
        (["prune"], "--older-than"),
        (["prune", "--older-than", "soon"], "--older-than: 'soon' is not a time span; accepted"),
        (["prune", "--older-than", "30"], "'30'"),
        (["prune", "--max-size", "1GB"], "'1GB'"),
        (["clear", "--ids", "1-x"], "'1-x'"),
        (["info", "--cache", "/dev/null/cache"], "/dev/null/cache"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_cache__refused(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad argument of `cache` is named."""
    assert_refused(["cache", *arguments], named, capsys)
