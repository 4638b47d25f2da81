"""Credentials: webhook URLs are read, refused, and never shown."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import b24frames as b24
from b24frames.credentials import (
    AccessToken,
    TokenPair,
    Webhook,
    hide_addresses,
    is_loopback,
)

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
    assert SECRET not in hide_addresses(f"POST {url} HTTP/1.1")


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
    """What cannot be called is refused before the old tokens are spent, and so is no token."""
    given: dict[str, Any] = {"access_token": "a", "user_id": 1}
    for options in ({"on_refresh": "keep"}, {"access_token": ""}):
        with pytest.raises((TypeError, ValueError), match=r"cannot be called|is empty"):
            b24.Portal.from_oauth("https://acme.bitrix24.com", **{**given, **options})


@pytest.mark.parametrize("secret", [SECRET, "ab'cd", "ab&cd", "ab%27cd"])
def test_hide_addresses__whole_secret(secret: str) -> None:
    """A secret of any letters is hidden to its end."""
    line = f'http://127.0.0.1:1 "POST /rest/1/{secret}/profile HTTP/1.1" 200'
    assert hide_addresses(line) == 'http://127.0.0.1:1 "POST /rest/1/***/profile HTTP/1.1" 200'
    assert hide_addresses(f"?refresh_token={SECRET}&x=1") == "?refresh_token=***&x=1"
