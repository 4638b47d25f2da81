"""Which kinds of activities the practice portal has, in what mixture, and whom they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from random import Random

REFUSED_PROVIDER = "CONFIGURABLE_REST_APP"
"""The provider whose activities ``crm.activity.get`` refuses."""

PEOPLE = (
    ("Andrew", "Johnson"),
    ("Anna", "Müller"),
    ("Иван", "Петров"),
    ("Мария", "Соколова"),
    ("José", "García"),
    ("Ольга", "Ёлкина"),
    ("Łukasz", "Woźniak"),
    ("Дмитрий", "Щербаков"),
    ("Chloé", "Lefèvre"),
    ("Сергей", "Ким"),
    ("Aylin", "Yılmaz"),
    ("Наталья", "Ковальчук"),
)
"""Given name and family name of the portal's users (ids 1, 2, …) and of its customers."""

_COMPANIES = ("Acme GmbH", "ООО «Ромашка»", "Globex & Sons", "ИП Щукин", "Initech", "ЗАО «Вектор»")


@dataclass(frozen=True)
class Kind:
    """One kind of activity.

    Attributes
    ----------
    provider : str
        PROVIDER_ID.
    weight : float
        How frequent it is, relative to the others.
    subject : str
        Template of SUBJECT.
    provider_types : tuple of str
        What PROVIDER_TYPE_ID is drawn from.
    type_ids, owner_types, directions : tuple of str
        What TYPE_ID, OWNER_TYPE_ID and DIRECTION are drawn from.
    family : str
        What else the record holds: see `b24frames.practice.draft`.
    """

    provider: str
    weight: float
    subject: str
    provider_types: tuple[str, ...]
    type_ids: tuple[str, ...] = ("6",)
    owner_types: tuple[str, ...] = ("2", "2", "2", "1", "1", "3", "3", "4", "1038", "150", "19")
    directions: tuple[str, ...] = ("0",)
    family: str = "plan"

    def draw_subject(self, rng: Random) -> str:
        """Draw a subject."""
        return self.subject.format_map(_Words(rng))


def draw_name(rng: Random) -> str:
    """Draw the name of a customer."""
    return " ".join(rng.choice(PEOPLE))


class _Words(dict[str, str]):
    """The words that templates may ask for, drawn only when they do."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng

    def __missing__(self, word: str) -> str:
        return _DRAW[word](self._rng)


_DRAW: dict[str, Callable[[Random], str]] = {
    "name": draw_name,
    "company": lambda rng: rng.choice(_COMPANIES),
    "phone": lambda rng: f"+7 9{rng.randrange(10**8, 10**9):09}",
    "number": lambda rng: str(rng.randrange(1, 10_000)),
}


_incoming = partial(Kind, directions=("1",))
_both_ways = partial(Kind, directions=("1", "2"))
_message = partial(Kind, directions=("1", "2", "2"), family="message")
_task = partial(Kind, family="task")
_document = partial(Kind, family="document")
_external = partial(Kind, family="external")
_CALL_TYPES = ("CALL",) * 9 + ("CALLBACK",)

_KINDS: tuple[Kind, ...] = (
    Kind("CRM_TODO", 16, "Follow up with {name}", ("TODO",)),
    Kind("CRM_MEETING", 6, "Встреча: {name}", ("MEETING",), ("6", "6", "6", "1", "5")),
    _task("CRM_TASKS_TASK", 8, "Подготовить договор для {company}", ("TASKS_TASK",)),
    _task("TASKS", 3, "Prepare the contract for {company}", ("TASK",), ("3",)),
    Kind("CRM_TASKS_TASK_COMMENT", 1, "Comments: {company}", ("TASKS_TASK_COMMENT",)),
    _both_ways("VOXIMPLANT_CALL", 22, "Call {name}", _CALL_TYPES, ("2",), family="call"),
    Kind("CALL_LIST", 1, "Обзвон «{company}»", ("CALL_LIST",), directions=("2",)),
    _both_ways("CRM_CALL_TRACKER", 2, "{phone}", ("CALL_TRACKER",), family="tracker"),
    _both_ways("CRM_EMAIL", 15, "Re: {company}", ("EMAIL",), ("4",), family="email"),
    _message("CRM_SMS", 3, "SMS: {name}", ("SMS",)),
    _message("CRM_NOTIFICATION", 1, "Notification to {name}", ("NOTIFICATION",)),
    _message("CRM_WHATSAPP", 2, "WhatsApp: {name}", ("WHATSAPP",)),
    _message("CRM_TELEGRAM", 2, "Telegram: {name}", ("TELEGRAM",)),
    _incoming("IMOPENLINES_SESSION", 4, "Чат: {name}", ("3", "12"), family="chat"),
    _incoming("CRM_WEBFORM", 3, 'Form "Contact us": {name}', ("7", "21"), family="form"),
    Kind("CRM_LF_MESSAGE", 0.6, "Сообщение в ленте", ("MESSAGE",)),
    _external("CRM_EXTERNAL_CHANNEL", 1, "Order from the shop", ("ACTIVITY",)),
    Kind("CRM_REQUEST", 1, "Request of {company}", ("REQUEST",)),
    _external("REST_APP", 1.5, "Made by an application", ("LINK",)),
    Kind("CRM_DELIVERY", 0.6, "Доставка заказа № {number}", ("DELIVERY",), ("6",), ("2", "14")),
    Kind("CRM_PAYMENT", 1, "Payment {number}", ("PAYMENT",), ("6",), ("2", "31"), family="payment"),
    Kind("STORE_DOCUMENT", 0.6, "Приход № {number}", ("PRODUCT",), ("6",), ("33",)),
    _document("CRM_DOCUMENT", 0.8, "Invoice {number}", ("DOCUMENT",), ("6",), ("2", "31", "7")),
    _document("CRM_SIGN_DOCUMENT", 0.6, "Договор {number}", ("SIGN",), ("6",), ("36",)),
    _document("CRM_SIGN_B2E_DOCUMENT", 0.6, "Приказ {number}", ("B2E",), ("6",), ("39",)),
    Kind("CRM_CALENDAR_SHARING", 0.7, "Slot booked by {name}", ("CALENDAR_SHARING",)),
    Kind("CRM_BOOKING", 0.7, "Booking: {name}", ("BOOKING",)),
    Kind("CRM_WAIT_LIST_ITEM", 0.6, "Waiting list: {name}", ("WAIT_LIST_ITEM",)),
    Kind("CRM_BIZPROC_WORKFLOW", 0.8, "Согласование скидки", ("WORKFLOW",)),
    Kind("CRM_BIZPROC_WORKFLOW_COMMENT", 0.6, "Комментарий", ("WORKFLOW_COMMENT",)),
    _task("CRM_BIZPROC_TASK", 0.8, "Approve the discount", ("WORKFLOW_TASK",)),
    _incoming("VISIT_TRACKER", 0.6, "Visit of {name}", ("VISIT",)),
    Kind("ZOOM", 0.6, "Zoom: {company}", ("ZOOM_CONF_START",)),
    Kind("CRM_REPEAT_SALE", 0.6, "Повторная продажа: {company}", ("REPEAT_SALE",)),
)
REFUSED_KIND = _external(REFUSED_PROVIDER, 0, "Card of an application", ("CONFIGURABLE",))

_CUMULATED_WEIGHTS = tuple(accumulate(kind.weight for kind in _KINDS))


def choose_kind(rng: Random) -> Kind:
    """Draw one of the kinds by their weights."""
    return rng.choices(_KINDS, cum_weights=_CUMULATED_WEIGHTS)[0]
