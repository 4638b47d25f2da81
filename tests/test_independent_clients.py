"""The practice portal as clients of other people see it, unmodified.

b24pysdk calls ``https://`` always, so it is given a portal with a certificate of a test authority,
by the environment variable of requests. fast_bitrix24 is content with the plain address.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from b24pysdk import BitrixWebhook, Client
from b24pysdk.errors import (
    BitrixAPIBadRequest,
    BitrixAPIOperationTimeLimit,
    BitrixResponseJSONDecodeError,
)
from b24pysdk.errors.oauth import BitrixOAuthNoAuthFound
from fast_bitrix24 import BitrixAsync

from b24frames.practice.faults import Fault
from b24frames.practice.server import PracticeServer

ACTIVITIES = 260
DELETED = (5, 77)
REFUSED = (9, 130)
EXISTING = [i for i in range(1, ACTIVITIES + 1) if i not in DELETED]
READABLE = [i for i in EXISTING if i not in REFUSED]


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    """Start a portal that speaks plain HTTP, with the request rate of the cloud."""
    with PracticeServer(activities=ACTIVITIES, deleted=DELETED, refused=REFUSED) as server:
        yield server


@pytest.fixture
def secure_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PracticeServer]:
    """Start a portal that speaks https, with a certificate that requests trusts."""
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with PracticeServer(
        activities=ACTIVITIES, deleted=DELETED, refused=REFUSED, ssl_context=context
    ) as server:
        yield server


@pytest.fixture
def sdk(secure_server: PracticeServer) -> Client:
    """Return the SDK's client of the secure portal."""
    domain = urlsplit(secure_server.address).netloc
    return Client(BitrixWebhook(domain=domain, webhook_token="1/practice"))


def expected(server: PracticeServer, ids: list[int]) -> list[dict[str, Any]]:
    """Return the server's own records."""
    records = [server.record(number) for number in ids]
    return [record for record in records if record is not None]


def listed(server: PracticeServer, ids: list[int]) -> list[dict[str, Any]]:
    """Return the server's own records as lists give them: without files."""
    return [
        {name: value for name, value in record.items() if name != "FILES"}
        for record in expected(server, ids)
    ]


# b24pysdk


def test_b24pysdk__reads_one_by_one(secure_server: PracticeServer, sdk: Client) -> None:
    """Single calls give the server's records."""
    records = [sdk.crm.activity.get(bitrix_id=number).result for number in READABLE[:30]]
    assert records == expected(secure_server, READABLE[:30])


def test_b24pysdk__understands_the_refusals(sdk: Client) -> None:
    """Missing and refused activities are the SDK's bad requests, with the portal's words."""
    for number, words in ((DELETED[0], "Not found"), (REFUSED[0], "configurable")):
        with pytest.raises(BitrixAPIBadRequest, match=words):
            _ = sdk.crm.activity.get(bitrix_id=number).result


def test_b24pysdk__reads_in_batches(secure_server: PracticeServer, sdk: Client) -> None:
    """A batch under names, and one under positions, which PHP answers with lists."""
    named = {f"a{i}": sdk.crm.activity.get(bitrix_id=i) for i in (1, DELETED[0], 2)}
    result = sdk.call_batch(named).result
    assert list(result.result.values()) == expected(secure_server, [1, 2])
    assert set(result.result_error) == {f"a{DELETED[0]}"}
    many = [sdk.crm.activity.get(bitrix_id=i) for i in READABLE[:120]]
    answers = sdk.call_batches(many).result.result
    values = answers.values() if isinstance(answers, dict) else answers
    assert list(values) == expected(secure_server, READABLE[:120])


def test_b24pysdk__lists_everything(secure_server: PracticeServer, sdk: Client) -> None:
    """Pages by ``start``, pages by ID that refer to one another, and ids are all the same."""
    whole = listed(secure_server, EXISTING)
    by_id = {"ID": "ASC"}
    assert list(sdk.crm.activity.list(select=["*"], order=by_id).as_list().result) == whole
    assert list(sdk.crm.activity.list(select=["*"]).as_list_fast().result) == whole
    some = sdk.crm.activity.list(select=["*"], filter={"@ID": EXISTING[:130]}, order=by_id)
    assert list(some.as_list().result) == whole[:130]


def test_b24pysdk__finds(secure_server: PracticeServer, sdk: Client) -> None:
    """A filter is kept on all pages, by ``start`` and by ID."""
    filters = {"!TYPE_ID": 2, ">=CREATED": "2022-01-20T00:00:00Z"}
    records = listed(secure_server, EXISTING)
    wanted = [
        r for r in records if str(r["TYPE_ID"]) != "2" and r["CREATED"] >= "2022-01-20T01:00:00+01"
    ]
    assert len(wanted) > 100
    call = sdk.crm.activity.list(select=["*"], filter=filters, order={"ID": "ASC"})
    assert list(call.as_list().result) == wanted
    fast = sdk.crm.activity.list(select=["*"], filter=filters).as_list_fast()
    assert list(fast.result) == wanted


def test_b24pysdk__loses_rows_without_an_order(secure_server: PracticeServer, sdk: Client) -> None:
    """Rows that start at the same time change places between pages, as they may on a portal."""
    for number in EXISTING:
        secure_server.touch(number, START_TIME="2026-01-01T00:00:00+01:00")
    rows = list(sdk.crm.activity.list(select=["ID"]).as_list().result)
    assert len(rows) == len(EXISTING)
    assert {int(row["ID"]) for row in rows} < set(EXISTING)


def test_b24pysdk__reads_names_and_calls(secure_server: PracticeServer, sdk: Client) -> None:
    """Users, owners, links and statistics have the form that the SDK expects."""
    users = list(sdk.user.get(filter={"ID": [1, 299]}).as_list().result)
    assert [user["ID"] for user in users] == ["1", "299"]
    deals = sdk.crm.item.list(entity_type_id=2, filter={"@id": [1, 2]}, select=["id", "title"])
    assert [deal["id"] for deal in deals.result["items"]] == [1, 2]
    links = sdk.crm.activity.binding.list(1).result
    assert links[0]["entityId"] == int((secure_server.record(1) or {})["OWNER_ID"])
    assert sdk.voximplant.statistic.get().result


def test_b24pysdk__reads_fields_and_enumerations(sdk: Client) -> None:
    """The descriptions of fields and codes have the form that the SDK expects."""
    assert sdk.crm.activity.fields().result["OWNER_TYPE_ID"]["type"] == "crm_enum_ownertype"
    assert {"ID": 2, "NAME": "Deal", "SYMBOL_CODE": "DEAL"} in sdk.crm.enum.ownertype().result
    assert sdk.user.current().result["ID"] == "1"


def test_b24pysdk__understands_the_errors(secure_server: PracticeServer, sdk: Client) -> None:
    """A wrong secret, a limit and a gateway's page are what the SDK knows them as."""
    stranger = BitrixWebhook(domain=urlsplit(secure_server.address).netloc, webhook_token="1/no")
    with pytest.raises(BitrixOAuthNoAuthFound):
        _ = Client(stranger).crm.activity.get(bitrix_id=1).result
    secure_server.faults.append(Fault("OPERATION_TIME_LIMIT", times=1))
    with pytest.raises(BitrixAPIOperationTimeLimit):
        _ = sdk.crm.activity.get(bitrix_id=1).result
    secure_server.faults.append(Fault("html", times=1))
    with pytest.raises(BitrixResponseJSONDecodeError):
        _ = sdk.crm.activity.get(bitrix_id=1).result


# fast_bitrix24


def test_fast_bitrix24__reads_by_ids(server: PracticeServer) -> None:
    """Batches of gets give the server's records under their ids."""

    async def read() -> Any:
        return await BitrixAsync(server.url, verbose=False).get_by_ID("crm.activity.get", READABLE)

    records = asyncio.run(read())
    assert [records[str(number)] for number in READABLE] == expected(server, READABLE)
    assert {request.method for request in server.requests} == {"batch"}


def test_fast_bitrix24__lists_everything(server: PracticeServer) -> None:
    """The first page and batches of the others give every record once."""

    async def read() -> Any:
        return await BitrixAsync(server.url, verbose=False).get_all("crm.activity.list")

    records = sorted(asyncio.run(read()), key=lambda record: int(record["ID"]))
    assert records == listed(server, EXISTING)


def test_fast_bitrix24__filters(server: PracticeServer) -> None:
    """A filter in a query string with brackets is understood."""
    params = {"filter": {"OWNER_TYPE_ID": 2, ">ID": 20}}

    async def read() -> Any:
        bitrix = BitrixAsync(server.url, verbose=False)
        return await bitrix.get_all("crm.activity.list", params)

    records = sorted(asyncio.run(read()), key=lambda record: int(record["ID"]))
    deals = [r for r in listed(server, EXISTING) if int(r["OWNER_TYPE_ID"]) == 2]
    assert records == [record for record in deals if int(record["ID"]) > 20]


def test_fast_bitrix24__reads_owners(server: PracticeServer) -> None:
    """Items of a type, which a list wraps once more, are all there once."""

    async def read() -> Any:
        bitrix = BitrixAsync(server.url, verbose=False)
        return await bitrix.get_all("crm.item.list", {"entityTypeId": 1038, "select": ["id"]})

    ids = [item["id"] for item in asyncio.run(read())]
    assert len(ids) == len(set(ids)) > 4_000


def test_fast_bitrix24__batch(server: PracticeServer) -> None:
    """A batch of the caller's own."""
    commands = {"one": "crm.activity.get?id=1", "two": "crm.activity.get?id=2"}

    async def read() -> Any:
        bitrix = BitrixAsync(server.url, verbose=False)
        return await bitrix.call_batch({"halt": 0, "cmd": commands})

    assert list(asyncio.run(read()).values()) == expected(server, [1, 2])


def test_fast_bitrix24__with_a_token(server: PracticeServer) -> None:
    """A token that is no longer accepted is renewed, once."""
    tokens = iter(["expired", server.access_token])

    async def renew() -> str:
        return next(tokens)

    async def read() -> Any:
        bitrix = BitrixAsync(f"{server.address}/rest/", renew, verbose=False)
        return await bitrix.get_by_ID("crm.activity.get", READABLE[:3])

    assert list(asyncio.run(read()).values()) == expected(server, READABLE[:3])
    assert [request.status for request in server.requests] == [401, 200]


def test_fast_bitrix24__repeats_what_is_worth_it(server: PracticeServer) -> None:
    """Two refusals by the request rate are overcome."""
    server.faults.append(Fault("QUERY_LIMIT_EXCEEDED", times=2))

    async def read() -> Any:
        return await BitrixAsync(server.url, verbose=False).get_by_ID("crm.activity.get", [1, 2])

    assert list(asyncio.run(read()).values()) == expected(server, [1, 2])
    assert [request.status for request in server.requests] == [503, 503, 200]
