"""Other engines read a store as it is: each is really run where it is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import b24frames as b24
from b24frames.practice import practice_portal

pytest.importorskip("deltalake", reason="deltalake is the extra store")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[b24.ActivityStore]:
    """Make a store that was written to several times."""
    with practice_portal(activities=2_000, limits="self-hosted") as portal:
        store = b24.ActivityStore(tmp_path_factory.mktemp("store") / "activities", portal)
        store.sync()
        for i in range(10, 60):
            if portal.server.record(i):
                portal.server.touch(i, SUBJECT="changed")
        portal.server.create(SUBJECT="new", UF_CRM_NEW="a")
        store.sync()
        yield store


@pytest.fixture(scope="module")
def by_user(store: b24.ActivityStore) -> dict[int, int]:
    """Return how many activities each user is responsible for, by pandas from our own frame."""
    counts = store.read(["RESPONSIBLE_ID"]).groupby("RESPONSIBLE_ID").size()
    return {int(user): int(number) for user, number in counts.items()}


def test_duckdb__sql(store: b24.ActivityStore, by_user: dict[int, int]) -> None:
    """DuckDB takes the table's dataset for a table, and pushes filters down into it."""
    duckdb = pytest.importorskip("duckdb")
    activities = store.table.to_pyarrow_dataset()
    assert activities is not None  # found by its name in the query
    query = "SELECT RESPONSIBLE_ID, count(*) FROM activities GROUP BY ALL"
    assert dict(duckdb.sql(query).fetchall()) == by_user
    query = "SELECT ID FROM activities WHERE SUBJECT = 'changed' AND TYPE_ID = 2 ORDER BY ID"
    calls = store.read(["SUBJECT"], [("SUBJECT", "==", "changed"), ("TYPE_ID", "==", "call")])
    assert [i for (i,) in duckdb.sql(query).fetchall()] == calls.index.tolist()


def test_polars__scan(store: b24.ActivityStore, by_user: dict[int, int]) -> None:
    """Polars scans the table lazily."""
    polars = pytest.importorskip("polars")
    counts = polars.scan_delta(store.table).group_by("RESPONSIBLE_ID").len().collect()
    assert dict(counts.iter_rows()) == by_user


def test_pandas__parquet(store: b24.ActivityStore) -> None:
    """Pandas reads the files that are current; their typed columns are those of the store."""
    files = store.table.file_uris()
    frame = pd.concat([pd.read_parquet(file) for file in files])
    frame = frame.sort_values("ID").set_index("ID")
    own = store.read()
    for name in ("SUBJECT", "TYPE_ID", "CREATED", "COMPLETED"):
        assert frame[name].dropna().tolist() == own[name].dropna().tolist()
    assert store.table.to_pandas()["UF_CRM_NEW"].dropna().tolist() == ["a"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Make a Dask cluster of two workers, each with less memory than its share may take."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="400MB",
            dashboard_address=None,
            processes=True,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")  # of Dask's own
def test_dask__groupby_and_join(
    store: b24.ActivityStore, by_user: dict[int, int], cluster: Any
) -> None:
    """Two workers of Dask read files each by itself, group them, and join them."""
    dd = pytest.importorskip("dask.dataframe")
    columns = ["ID", "RESPONSIBLE_ID", "AUTHOR_ID"]
    activities = dd.read_parquet(store.table.file_uris(), columns=columns)
    counts = activities.groupby("RESPONSIBLE_ID").size().compute()
    assert {int(user): int(number) for user, number in counts.items()} == by_user
    joined = activities.merge(
        activities, left_on="RESPONSIBLE_ID", right_on="AUTHOR_ID", suffixes=("", "_written")
    )
    frame = store.read(["RESPONSIBLE_ID", "AUTHOR_ID"])
    written = frame["AUTHOR_ID"].value_counts()
    assert len(joined) == frame["RESPONSIBLE_ID"].map(written).fillna(0).sum()


S3_SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
print(server.get_host_and_port()[1], flush=True)
input()
server.stop()
"""


def test_s3__store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: b24.ActivityStore
) -> None:
    """A store in an S3-compatible place is synced and read as one in a folder."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto.server")
    # In a process of its own: deltalake lets no other thread run while it looks for a table.
    command = [sys.executable, "-c", S3_SERVER]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as server:
        port = [server.stdout.readline() for _ in range(2)][1].strip()
        options = {
            "AWS_ACCESS_KEY_ID": "k3y",
            "AWS_SECRET_ACCESS_KEY": "s3cretK3y",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ALLOW_HTTP": "true",
        }
        client = boto3.client(
            "s3",
            endpoint_url=options["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="k3y",
            aws_secret_access_key="s3cretK3y",
        )
        client.create_bucket(Bucket="crm")
        with practice_portal(activities=200, limits="self-hosted") as portal:
            remote = b24.ActivityStore("s3://crm/activities", portal, storage_options=options)
            assert "s3cretK3y" not in repr(remote)
            added = remote.sync().added
            portal.server.touch(5, SUBJECT="changed")
            assert remote.sync().changed == 1
            assert len(remote.read(["SUBJECT"])) == added
            assert remote.read(["SUBJECT"]).loc[5, "SUBJECT"] == "changed"
            missing = b24.ActivityStore("s3://none/x", portal, storage_options=options)
            with pytest.raises(b24.errors.StoreError, match="s3://none/x") as caught:
                missing.sync()
            assert "s3cretK3y" not in str(caught.value)
        server.communicate("\n")
