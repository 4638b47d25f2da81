"""What the kinds of activities hold beyond what all have in common."""

from __future__ import annotations

import json
from datetime import timedelta

from b24frames.practice.dates import NO_DEADLINE, write_date
from b24frames.practice.draft import Draft, Edit
from b24frames.practice.texts import BB_CODES, MAILS, MESSAGES


def _plan(draft: Draft) -> None:
    """Fill in a plan: some have BB-code, some a reminder among the settings."""
    rng = draft.rng
    if rng.random() < 0.25:
        draft.set(DESCRIPTION=rng.choice(BB_CODES), DESCRIPTION_TYPE="2")
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
    rng, name = draft.rng, draft.word("name")
    draft.set(
        DESCRIPTION=rng.choice(MAILS).format(name=name),
        DESCRIPTION_TYPE="3",
        DEADLINE=rng.choice(NO_DEADLINE),
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
        DESCRIPTION=rng.choice(BB_CODES),
        DESCRIPTION_TYPE="2",
        PROVIDER_DATA=json.dumps(data, ensure_ascii=False),
    )
    if rng.random() < 0.4:
        never = rng.choice(NO_DEADLINE)
        draft.set(START_TIME=never, END_TIME=never, DEADLINE=never)


def _message(draft: Draft) -> None:
    """Fill in a message: short, with what the sender's service reported."""
    rng = draft.rng
    draft.set(
        DESCRIPTION=rng.choice(MESSAGES).format(name=draft.word("name")),
        DEADLINE=rng.choice(NO_DEADLINE),
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
                {"caption": "Имя", "value": [draft.word("name")], "required": True},
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


FAMILIES: dict[str, Edit] = {
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
