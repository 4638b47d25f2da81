"""Several programs on one cache file, and programs that end suddenly."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from b24frames.cache import ActivityCache
from tests.helpers.caches import ACME


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a program that knows a portal's user and what a record of an id is."""
    names = """
import os, random, signal, sys
from b24frames.cache import ActivityCache
class User: address, user_id = "https://acme.bitrix24.com", 1
def record(i): return b'{"ID":"%d"}' % i * 100
"""
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]  # numpy has threads, we fork
    command = [*python, "-c", names + code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def record(i: int) -> bytes:
    """Return what the programs write for an id."""
    return b'{"ID":"%d"}' % i * 100


KILLS = """
def write_until_killed(path, out):
    cache = ActivityCache(path)
    for batch in range(500):
        ids = range(batch * 20, batch * 20 + 20)
        cache.write(User, {i: record(i) for i in ids}, {})
        os.write(out, b".")

folder, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
wrong = lost = torn = 0
for number in range(rounds):
    path = f"{folder}/{number % 5}.sqlite"  # a file is killed again and again
    if number < 5 or dice.random() < 0.2:
        for name in os.listdir(folder):
            if name.startswith(f"{number % 5}.sqlite"):
                os.unlink(f"{folder}/{name}")
    source, out = os.pipe()
    child = os.fork()
    if not child:
        try:
            write_until_killed(path, out)
        finally:
            os._exit(0)
    os.close(out)
    wanted = dice.randrange(40)
    told = 0
    while told < wanted:
        told += len(os.read(source, wanted - told))
    for _ in range(dice.randrange(20_000)):  # a moment within the next write
        pass
    os.kill(child, signal.SIGKILL)
    while more := os.read(source, 1000):
        told += len(more)
    os.close(source)
    os.waitpid(child, 0)
    cache = ActivityCache(path)
    records = cache.read(User, range(10_000), None).records
    assert not cache.take_warnings()
    cache.close()
    wrong += sum(text != record(i) for i, text in records.items())
    lost += sum(i not in records for i in range(told * 20))
    batches = [sum(i in records for i in range(b, b + 20)) for b in range(0, 10_000, 20)]
    torn += any(size not in (0, 20) for size in batches)
print(wrong, lost, torn)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork and no SIGKILL")
@pytest.mark.thorough
def test_write__killed(tmp_path: Path) -> None:
    """Killed at any moment, a program leaves whole batches: all that were written, none wrong."""
    out, err = run(KILLS, tmp_path, 2 * settings().max_examples, 1).communicate()
    assert (out, err) == ("0 0 0\n", "")


SHARED = """
first, *paths = sys.argv[1:]
ids = list(range(int(first), int(first) + 500)) + list(range(500))  # a half is common
for path in paths:
    print("ready", flush=True)
    sys.stdin.readline()
    cache = ActivityCache(path)
    for start in range(0, 1000, 50):
        some = ids[start : start + 50]
        hits = cache.read(User, some, None)
        assert all(text == record(i) for i, text in hits.records.items())
        cache.write(User, {i: record(i) for i in some if i not in hits.records}, {})
        again = cache.read(User, some, None).records
        assert again == {i: record(i) for i in some}, "a write is lost"
    assert len(cache.take_warnings()) <= 1
"""


def test_cache__four_processes(tmp_path: Path) -> None:
    """Processes that begin together on one file, a half of the ids in common, lose nothing."""
    new, damaged = tmp_path / "new folder" / "cache.sqlite", tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database" * 1000)
    programs = [run(SHARED, 1000 * (number + 1), new, damaged) for number in range(4)]
    for _ in (new, damaged):
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("go\n")
            program.stdin.flush()
    for program in programs:
        _, err = program.communicate()
        assert (program.returncode, err) == (0, "")
    wanted = [*range(500), *(1000 * (n + 1) + i for n in range(4) for i in range(500))]
    for file in (new, damaged):
        with closing(ActivityCache(file)) as cache:
            assert cache.read(ACME, wanted, None).records == {i: record(i) for i in wanted}
            assert cache.info()["entries"] == len(wanted)


FORK = """
import threading
cache = ActivityCache(sys.argv[1])
cache.write(User, {1: record(1)}, {})
child = os.fork()
if not child:
    cache.write(User, {2: record(2)}, {})
    good = cache.read(User, [1, 2], None).records == {1: record(1), 2: record(2)}
    cache.close()
    os._exit(0 if good else 1)
_, status = os.waitpid(child, 0)
assert status == 0
cache.write(User, {3: record(3)}, {})
assert cache.read(User, [1, 2, 3], None).records == {i: record(i) for i in (1, 2, 3)}

inside, leave = threading.Event(), threading.Event()
def hold(connection):
    inside.set()
    leave.wait()
thread = threading.Thread(target=lambda: cache._store._file.write(hold))
thread.start()
inside.wait()
child = os.fork()
if not child:
    os._exit(0 if cache.read(User, [1], None).records else 1)
_, status = os.waitpid(child, 0)
leave.set()
thread.join()
assert status == 0
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_cache__forked(tmp_path: Path) -> None:
    """A forked process opens the file anew, whatever its parent's threads and connection do."""
    out, err = run(FORK, tmp_path / "cache.sqlite").communicate(timeout=120)
    assert (out, err) == ("fine\n", "")
