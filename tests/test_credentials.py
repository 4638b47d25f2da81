"""Credentials: webhook URLs are read, refused, and never shown."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest

import b24frames as b24
from b24frames.credentials import (
    AccessToken,
    TokenPair,
    Webhook,
    is_loopback,
    redact_addresses,
    remove_tokens,
)
from b24frames.practice import PracticePortal
from b24frames.serialization import decode_record, encode_record

SECRET = "s3cr3tw0rd"


@pytest.mark.parametrize(
    "url",
    [
        f"https://acme.bitrix24.com/rest/12/{SECRET}/",
        f"https://acme.bitrix24.com/rest/12/{SECRET}",
        f"  https://ACME.bitrix24.com:443/rest/12/{SECRET}/crm.activity.get  ",
        f"https://acme.bitrix24.com/rest/12/{SECRET}/crm.activity.get.json",
        f"https://acme.bitrix24.com/rest/12/{SECRET}/profile/",
    ],
)
def test_webhook__accepted(url: str) -> None:
    """A webhook URL may end in a slash or a method; its host has one spelling."""
    webhook = Webhook(url)
    assert (webhook.address, webhook.user_id) == ("https://acme.bitrix24.com", 12)
    assert webhook.path("m") == f"/rest/12/{SECRET}/m"
    assert webhook.body({"id": 5}) == {"id": 5}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080/rest/1/s/", "http://127.0.0.1:8080"),
        ("http://localhost/rest/1/s/", "http://localhost"),
        ("http://[::1]:80/rest/1/s/", "http://[::1]"),
        ("https://crm.example.org:8443/rest/1/s/", "https://crm.example.org:8443"),
        ("https://пример.рф/rest/1/s/", "https://xn--e1afmkfd.xn--p1ai"),
    ],
)
def test_webhook__address(url: str, address: str) -> None:
    """Loopback may speak plain HTTP; ports and international names are kept."""
    assert Webhook(url).address == address


@pytest.mark.parametrize("url", [f"/rest/api/12/{SECRET}/", f"/rest/api/12/{SECRET}/profile"])
def test_webhook__of_another_version(url: str) -> None:
    """The address of another version of REST is told how it is meant, and hidden everywhere."""
    with pytest.raises(ValueError, match="'api/'.*left out; expected .*/rest/USER_ID/SE") as caught:
        Webhook(f"https://acme.bitrix24.com{url}")
    assert SECRET not in str(caught.value)
    assert SECRET not in redact_addresses(f"POST {url} HTTP/1.1")


REFUSED_URLS: list[Any] = [
    f"http://acme.bitrix24.com/rest/12/{SECRET}/",
    f"https://acme.bitrix24.com/{SECRET}/",
    f"https://acme.bitrix24.com/rest/{SECRET}/",
    f"https://acme.bitrix24.com/rest/one/{SECRET}/",
    f"https://acme.bitrix24.com/rest/1/{SECRET}/a/b",
    f"https://user:{SECRET}@acme.bitrix24.com/rest/1/x/",
    f"https://acme.bitrix24.com/rest/1/{SECRET}/?auth={SECRET}",
    f"https://acme.bitrix24.com:{SECRET}/rest/1/x/",
    f"ftp://acme.bitrix24.com/rest/12/{SECRET}/",
    f"acme.bitrix24.com/rest/12/{SECRET}/",
    f"https://{'a' * 70}.com/rest/12/{SECRET}/",
    f"https://acme.bitrix24.com%2Frest%2F1%2F{SECRET}%2F",
    f"https://acme.bitrix24.com\\rest\\1\\{SECRET}\\",
    f"https://acme.bitrix24.com,rest,1,{SECRET}",
    f"https://faß.example/rest/1/{SECRET}/",  # fass.example, or another host
    f"/rest/12/{SECRET}/",
    "",
    12,
    None,
    f"https://acme.bitrix24.com/rest/12/{SECRET}/".encode(),
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_webhook__refused(url: Any) -> None:
    """What is no webhook URL is refused, and the message repeats no secret."""
    with pytest.raises((TypeError, ValueError), match="webhook|https") as caught:
        Webhook(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_webhook__shows_no_secret() -> None:
    """Neither repr nor attributes show the secret, and pickling and copying are refused."""
    webhook = Webhook(f"https://acme.bitrix24.com/rest/12/{SECRET}/")
    assert SECRET not in f"{webhook!r} {webhook!s}"
    assert not hasattr(webhook, "__dict__")
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            copier(webhook)


def test_redact__hides_every_occurrence() -> None:
    """Text that repeats the address called is safe to show."""
    webhook = Webhook("https://acme.bitrix24.com/rest/12/s3cr3t/")
    assert webhook.redact("a s3cr3t b s3cr3t") == "a *** b ***"


def test_redact__hides_all_that_an_application_holds() -> None:
    """Both tokens and the secret of the application are hidden, as they are and quoted."""
    tokens = TokenPair("acc/1", "ref 1")
    token = AccessToken(
        "https://acme.bitrix24.com", tokens, client_id="app", client_secret="cl&1", user_id=5
    )
    assert token.redact("app acc/1 acc%2F1 ref 1 ref%201 cl&1 cl%261") == f"app{6 * ' ***'}"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)]
    + [("10.0.0.1", False), ("127.0.0.1.example.org", False), ("localhost.example.org", False)],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    """Only this very machine is loopback."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("user_id", [None, "", "5", 0, -1, True, SECRET, f"5~{SECRET}", [1]])
def test_oauth__user_id_refused(user_id: Any) -> None:
    """Without a user's number two users would share the cache; the value may be a token."""
    with pytest.raises(ValueError, match="user_id") as caught:
        b24.Portal.from_oauth("https://acme.bitrix24.com", access_token="a", user_id=user_id)
    assert SECRET not in str(caught.value)


def test_oauth__on_refresh_refused() -> None:
    """What is not callable is refused before the old tokens are spent, and so is no token."""
    given: dict[str, Any] = {"access_token": "a", "user_id": 1}
    for options in ({"on_refresh": "keep"}, {"access_token": ""}):
        with pytest.raises((TypeError, ValueError), match=r"not callable|is empty"):
            b24.Portal.from_oauth("https://acme.bitrix24.com", **{**given, **options})


@pytest.mark.parametrize("secret", [SECRET, "ab'cd", "ab&cd", "ab%27cd"])
def test_redact_addresses__whole_secret(secret: str) -> None:
    """A secret of any letters is hidden to its end."""
    line = f'http://127.0.0.1:1 "POST /rest/1/{secret}/profile HTTP/1.1" 200'
    assert redact_addresses(line) == 'http://127.0.0.1:1 "POST /rest/1/***/profile HTTP/1.1" 200'
    assert redact_addresses(f"rest/1/{secret}/") == "rest/1/***/"
    assert redact_addresses("an interest/5/percent") == "an interest/5/percent"
    assert redact_addresses(f"?refresh_token={SECRET}&x=1") == "?refresh_token=***&x=1"


TOKEN = "s3cr3t-T0ken.~_x%2Fy%3D"
ADDRESSES = [
    "/bitrix/tools/crm_show_file.php?fileId=5&ownerTypeId=6&auth={}",
    "https://acme.bitrix24.com/show.php?auth={}&a=1",
    "https://acme.bitrix24.com/show.php?a=1&amp;auth={}&amp;b=2",
    "https://acme.bitrix24.com/show.php?a=1;sessid={};b=2",
    "https://acme.bitrix24.com/disk?token={}#page",
    "https://acme.bitrix24.com/cb#access_token={}&token_type=bearer",
    "https://acme.bitrix24.com/cb?refresh_token={}&client_secret={}",
    "https://acme.bitrix24.com/?AUTH={}&PHPSESSID={}",
    "https://s3.example/x.mp3?X-Amz-Signature={}&X-Amz-Security-Token={}&X-Amz-Date=20260101",
    "https://sso.example/?next=https%3A%2F%2Facme.bitrix24.com%2F%3Fauth%3D{}%26a%3D1",
    "https://sso.example/?next=https%253A%252F%252Facme%252F%253Fa%253D1%2526auth%253D{}",
    "https://anna:{}@acme.example/log",
    "<img src='https://acme.bitrix24.com/?auth={}'><b>text</b>",
    "[url=https://acme.bitrix24.com/?auth={}]open[/url] (https://acme.bitrix24.com/?auth={})",
    json.dumps({"link": "https://acme.bitrix24.com/?a=1&auth={}", "b": 1}),
]


def wrapped(text: str) -> list[dict[str, Any]]:
    """Return records that hold a text in any of the ways in which records hold texts."""
    php = json.dumps({"a": [text]}).replace("/", r"\/").replace("&", r"\u0026")
    return [
        {"DESCRIPTION": text},
        {"PROVIDER_DATA": php},
        {"SETTINGS": {"a": [{"b": text}]}},
        {"SETTINGS": {"a": php}},
        {"FILES": [{"id": 5, "url": text}]},
        {"UF_CRM_LINK": text},
        {"NEW": {"a": [text]}},
        {"SUBJECT": f"half \ud83d {text}"},
        {"SUBJECT": "Ж", "COMMUNICATIONS": {"1": {"VALUE": text}}},
    ]


@pytest.mark.parametrize("place", range(len(wrapped(""))))
@pytest.mark.parametrize("address", ADDRESSES)
def test_encode_record__no_token(address: str, place: int) -> None:
    """No value of a token is in a line; all else of the address and of the record is."""
    record, expected = (wrapped(address.replace("{}", text))[place] for text in (TOKEN, ""))
    line = encode_record({"ID": "5", **record})
    assert b"s3cr3t" not in line
    assert line == encode_record({"ID": "5", **expected})
    assert "ID" in decode_record(line)


def test_encode_record__no_webhook() -> None:
    """The secret of a webhook that somebody wrote into a record is not kept either."""
    url = "https://acme.bitrix24.com/rest/{}1/abc123def456ghij/crm.deal.list?id=5"
    for part in ("", "api/"):
        line = encode_record({"DESCRIPTION": url.format(part), "SETTINGS": {"a": url.format(part)}})
        assert b"abc123" not in line
        assert line.count(f"/rest/{part}1//crm.deal.list?id=5".encode()) == 2


@pytest.mark.parametrize(
    "text",
    [
        "auth=abc",
        "the token = 5; author=Anna",
        "?author=Anna&tokens=5&sessions=3&design=x",
        "https://acme.bitrix24.com/crm/deal/details/5/?auth=&a=1",
        "https://acme.bitrix24.com:8080/rest/1/short/",
        "mail anna@acme.example: 12:30",
        "a/b = c & d",
        "https://jira.example/rest/api/2/issue/AB-1?fields=key",
    ],
)
def test_encode_record__other_text_stays(text: str) -> None:
    """What is no token in an address is kept character by character."""
    assert decode_record(encode_record({"DESCRIPTION": text})) == {"DESCRIPTION": text}


@pytest.mark.parametrize("via", ["get", "list"])
def test_read__keeps_no_token(
    portal: PracticePortal, tmp_path: Path, via: Literal["get", "list"]
) -> None:
    """A token in a file's address is neither in the cache nor in the frame, nor in a CSV file."""
    url = f"https://acme.bitrix24.com/show.php?fileId=5&auth={SECRET}&a=1"
    portal.server.touch(5, FILES=[{"id": 5, "url": url}], DESCRIPTION=f'<img src="{url}">')
    cache = tmp_path / "cache.sqlite"
    frame = b24.read_activities([5], portal, via=via, cache=cache)
    shown = url.replace(SECRET, "")
    assert frame.at[5, "FILES"] == [{"id": 5, "url": shown}]
    assert frame.at[5, "DESCRIPTION"] == f'<img src="{shown}">'
    assert SECRET not in frame.to_csv()
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("cache.sqlite*"))
    assert b"fileId=5&auth=" in kept
    assert SECRET.encode() not in kept


def test_remove_tokens__with_bars() -> None:
    """A token with bars, as of files, goes whole; a bar between words stays."""
    text = b'{"url":"https://a/rest/download.json?token=disk|aWQ9NDc|ImRv.Lup1","b":"?auth=a | b"}'
    assert remove_tokens(text) == b'{"url":"https://a/rest/download.json?token=","b":"?auth= | b"}'
