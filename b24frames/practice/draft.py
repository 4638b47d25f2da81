"""Records in the making: what all activities have in common, and what each family of kinds adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from b24frames.practice.forms import write_date
from b24frames.practice.kinds import PEOPLE, Kind, draw_name

Record = dict[str, Any]

# The database's greatest date, which means that there is none.
_NO_DEADLINE = ("9999-12-31T00:00:00+01:00", "9999-12-31T00:00:00+03:00")

_SMALL_TALK = (
    "",
    "",
    "Call back next week",
    "Обсудили сроки поставки, ждём договор",
    "Wants a quote for 12 pcs.; prefers e-mail",
    "Клиент просит скидку 5 %",
)
_BB_CODES = (
    "[b]Agenda[/b]\n[list][*]prices[*]delivery[/list]",
    "Позвонить [user=3]Ивану[/user] и уточнить [i]адрес[/i]",
    "See [url=https://example.com/offer?a=1&b=2]the offer[/url]",
    "[p]Подготовить счёт[/p]\n[quote]Срочно![/quote]",
)
_MAILS = (
    "<p>Dear {name},</p><p>please find the offer attached.</p><br>Regards",
    "<div>Добрый день, {name}!<br>Счёт во вложении.</div>",
    '<p>Hello {name}</p><script>alert(1)</script><img src=x onerror="alert(2)">',
    '<a href="javascript:alert(3)">{name}</a><style>p{{display:none}}</style>&lt;b&gt; &amp;amp;',
    "<table><tr><td>№</td><td>{name}</td></tr><tr><td>1</td><td>1 500,50 €</td></tr></table>",
)
_MESSAGES = (
    "Hi {name}, your order is ready.",
    "Здравствуйте, {name}! Ваш заказ готов 📦",
    "Is tomorrow at 10:00 fine?",
    "Напоминаем о записи завтра.",
)


@dataclass(frozen=True)
class Draft:
    """A record in the making.

    Attributes
    ----------
    record : dict of str to object
        The record so far.
    rng : random.Random
        What the rest of it is drawn from.
    created : datetime.datetime
        When the activity was created, in UTC.
    """

    record: Record
    rng: Random
    created: datetime

    def set(self, **fields: Any) -> None:
        """Set fields; new ones come after the known ones."""
        self.record.update(fields)


Edit = Callable[[Draft], None]
"""Changes a record in the making."""


def new_draft(number: int, kind: Kind, rng: Random, created: datetime) -> Draft:
    """Return a draft that holds all that an activity of this kind usually does."""
    draft = Draft(_common_fields(number, kind, rng, created), rng, created)
    _FAMILIES[kind.family](draft)
    return draft


def _common_fields(number: int, kind: Kind, rng: Random, created: datetime) -> Record:
    """Return what all kinds have, every field of the method's page in its order."""
    user = str(rng.randrange(1, len(PEOPLE) + 1))
    hour = created.replace(minute=0, second=0)
    start = hour + timedelta(minutes=15 * rng.randrange(-96, 960))
    completed = rng.random() < 0.7
    planned = rng.random() < 0.8
    begins = write_date(start)
    return {
        "ID": str(number),
        "OWNER_ID": str(rng.randrange(1, 5_000)),
        "OWNER_TYPE_ID": rng.choice(kind.owner_types),
        "TYPE_ID": rng.choice(kind.type_ids),
        "PROVIDER_ID": kind.provider,
        "PROVIDER_TYPE_ID": rng.choice(kind.provider_types),
        "PROVIDER_GROUP_ID": None,
        "ASSOCIATED_ENTITY_ID": "0",
        "SUBJECT": kind.draw_subject(rng),
        "CREATED": write_date(created),
        "LAST_UPDATED": write_date(created + timedelta(seconds=int(rng.expovariate(1e-6)))),
        "START_TIME": begins,
        "END_TIME": write_date(start + timedelta(minutes=rng.choice((15, 30, 60, 60, 360)))),
        "DEADLINE": begins if planned else rng.choice(_NO_DEADLINE),
        "COMPLETED": "Y" if completed else "N",
        "STATUS": rng.choice(("2", "2", "2", "3")) if completed else "1",
        "RESPONSIBLE_ID": user,
        "PRIORITY": rng.choice(("2", "2", "2", "1", "3", "0")),
        "NOTIFY_TYPE": rng.choice(("0", "1", "1", "2", "3")),
        "NOTIFY_VALUE": rng.choice(("0", "15", "15", "60")),
        "DESCRIPTION": rng.choice(_SMALL_TALK),
        "DESCRIPTION_TYPE": rng.choice(("1", "1", "0")),
        "DIRECTION": rng.choice(kind.directions),
        "LOCATION": rng.choice(("", "", "", "Berlin, Alexanderplatz 1", "ул. Ленина, 5")),
        "SETTINGS": [],
        "ORIGINATOR_ID": None,
        "ORIGIN_ID": None,
        "AUTHOR_ID": user,
        "EDITOR_ID": str(rng.randrange(1, len(PEOPLE) + 1)),
        "PROVIDER_PARAMS": [],
        "PROVIDER_DATA": None,
        "RESULT_MARK": rng.choice(("0", "0", "0", "1", "2", "3")),
        "RESULT_VALUE": None,
        "RESULT_SUM": None,
        "RESULT_CURRENCY_ID": None,
        "RESULT_STATUS": "0",
        "RESULT_STREAM": "0",
        "RESULT_SOURCE_ID": None,
        "AUTOCOMPLETE_RULE": rng.choice(("0", "0", "0", "1")),
    }


def _plan(draft: Draft) -> None:
    """Fill in a plan: some have BB-code, some a reminder among the settings."""
    rng = draft.rng
    if rng.random() < 0.25:
        draft.set(DESCRIPTION=rng.choice(_BB_CODES), DESCRIPTION_TYPE="2")
    if rng.random() < 0.2:
        draft.set(SETTINGS={"COLOR": rng.choice(("0", "3")), "PING_OFFSETS": [0, 15]})


def _call(draft: Draft) -> None:
    """Fill in a call: most are made by telephony, and have the times of the talk."""
    rng = draft.rng
    if rng.random() < 0.25:
        return
    direction = draft.record["DIRECTION"]
    missed = direction == "1" and rng.random() < 0.25
    talk = 0 if missed else int(rng.lognormvariate(4.5, 1))
    begins = write_date(draft.created)
    draft.set(
        START_TIME=begins,
        END_TIME=write_date(draft.created + timedelta(seconds=talk)),
        DEADLINE=begins,
        ORIGIN_ID=f"VI_{rng.getrandbits(64):016x}.{rng.randrange(10**9, 10**10)}",
        RESULT_STREAM="4" if missed else direction,
        RESULT_STATUS="1" if missed else "2",
        RESULT_SOURCE_ID=f"line{rng.randrange(1, 4)}",
    )
    if missed:
        draft.set(SETTINGS={"MISSED_CALL": True})
    elif draft.record["PROVIDER_TYPE_ID"] == "CALLBACK":
        draft.set(RESULT_STREAM="3")


def _tracker(draft: Draft) -> None:
    """Fill in a call of a mobile phone: its length [s] is among the settings."""
    draft.set(
        SETTINGS={"DURATION": draft.rng.randrange(900), "SIM": "1"},
        RESULT_STREAM=draft.record["DIRECTION"],
    )


def _email(draft: Draft) -> None:
    """Fill in an e-mail: HTML, harmless or hostile."""
    rng = draft.rng
    name = draw_name(rng)
    draft.set(
        DESCRIPTION=rng.choice(_MAILS).format(name=name),
        DESCRIPTION_TYPE="3",
        DEADLINE=rng.choice(_NO_DEADLINE),
        SETTINGS={
            "EMAIL_META": {"from": "sales@example.com", "to": f"{name} <client@example.org>"},
            "IS_BATCH_EMAIL": rng.choice((True, False, None)),
        },
    )


def _task(draft: Draft) -> None:
    """Fill in a task: it is due at its end; many have no date at all."""
    rng = draft.rng
    task = rng.randrange(1, 9_000)
    data = {"TASK_ID": task, "TITLE": draft.record["SUBJECT"], "TAGS": ["срочно", "q1"]}
    draft.set(
        ASSOCIATED_ENTITY_ID=str(task),
        DEADLINE=draft.record["END_TIME"],
        DESCRIPTION=rng.choice(_BB_CODES),
        DESCRIPTION_TYPE="2",
        PROVIDER_DATA=json.dumps(data, ensure_ascii=False),
    )
    if rng.random() < 0.4:
        never = rng.choice(_NO_DEADLINE)
        draft.set(START_TIME=never, END_TIME=never, DEADLINE=never)


def _message(draft: Draft) -> None:
    """Fill in a message: short, with what the sender's service reported."""
    rng = draft.rng
    draft.set(
        DESCRIPTION=rng.choice(_MESSAGES).format(name=draw_name(rng)),
        DEADLINE=rng.choice(_NO_DEADLINE),
        PROVIDER_PARAMS={"SENDER_ID": "sms_ru", "MESSAGE": {"ID": rng.randrange(10**6)}},
    )


def _chat(draft: Draft) -> None:
    """Fill in a chat of an open channel, with a flag that no others have."""
    rng = draft.rng
    connector = rng.choice(("livechat", "telegrambot", "whatsappbytwilio"))
    draft.set(
        ASSOCIATED_ENTITY_ID=str(rng.randrange(1, 3_000)),
        PROVIDER_GROUP_ID=connector,
        PROVIDER_PARAMS={"USER_CODE": f"{connector}|3|{rng.randrange(1_000)}"},
        IS_INCOMING_CHANNEL=rng.choice(("Y", "Y", "N")),
    )


def _form(draft: Draft) -> None:
    """Fill in the submission of a form, nested."""
    draft.set(
        PROVIDER_PARAMS={
            "FORM": {"LINK": "https://example.com/contact", "IP": "203.0.113.7"},
            "FIELDS": [
                {"caption": "Имя", "value": [draw_name(draft.rng)], "required": True},
                {"caption": "Budget", "value": [], "required": False},
            ],
            "VISITED_PAGES": [],
        }
    )


def _external(draft: Draft) -> None:
    """Fill in the ids that another system gave, all digits now and then."""
    rng = draft.rng
    draft.set(
        ORIGINATOR_ID=rng.choice(("1C", "shop", "7")),
        ORIGIN_ID=rng.choice(("{:06}", "order-{}")).format(rng.randrange(1_000)),
        ORIGIN_VERSION=str(rng.randrange(1, 4)),
    )


def _payment(draft: Draft) -> None:
    """Fill in a payment: a sum in a currency."""
    rng = draft.rng
    amount = rng.randrange(100, 5_000_000) / 100
    draft.set(
        RESULT_VALUE=f"{amount:.4f}",
        RESULT_SUM=f"{amount * rng.choice((1, 1, 90)):.4f}",
        RESULT_CURRENCY_ID=rng.choice(("EUR", "RUB", "USD")),
    )


def _document(draft: Draft) -> None:
    """Fill in a document, with the provider's data as JSON text."""
    number = draft.rng.randrange(1, 800)
    draft.set(
        ASSOCIATED_ENTITY_ID=str(number),
        PROVIDER_DATA=f'{{"documentId":{number},"signers":[],"title":"№ {number}\\/А"}}',
    )


_FAMILIES: dict[str, Edit] = {
    "plan": _plan,
    "call": _call,
    "tracker": _tracker,
    "email": _email,
    "task": _task,
    "message": _message,
    "chat": _chat,
    "form": _form,
    "external": _external,
    "payment": _payment,
    "document": _document,
}
