"""The words that practice records are made of: names, subjects, descriptions, awkward texts."""

from __future__ import annotations

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

COMPANIES = ("Acme GmbH", "ООО «Ромашка»", "Globex & Sons", "ИП Щукин", "Initech", "ЗАО «Вектор»")

SMALL_TALK = (
    "",
    "",
    "Call back next week",
    "Обсудили сроки поставки, ждём договор",
    "Wants a quote for 12 pcs.; prefers e-mail",
    "Клиент просит скидку 5 %",
)
BB_CODES = (
    "[b]Agenda[/b]\n[list][*]prices[*]delivery[/list]",
    "Позвонить [user=3]Ивану[/user] и уточнить [i]адрес[/i]",
    "See [url=https://example.com/offer?a=1&b=2]the offer[/url]",
    "[p]Подготовить счёт[/p]\n[quote]Срочно![/quote]",
)
MAILS = (
    "<p>Dear {name},</p><p>please find the offer attached.</p><br>Regards",
    "<div>Добрый день, {name}!<br>Счёт во вложении.</div>",
    '<p>Hello {name}</p><script>alert(1)</script><img src=x onerror="alert(2)">',
    '<a href="javascript:alert(3)">{name}</a><style>p{{display:none}}</style>&lt;b&gt; &amp;amp;',
    "<table><tr><td>№</td><td>{name}</td></tr><tr><td>1</td><td>1 500,50 €</td></tr></table>",
)
MESSAGES = (
    "Hi {name}, your order is ready.",
    "Здравствуйте, {name}! Ваш заказ готов 📦",
    "Is tomorrow at 10:00 fine?",
    "Напоминаем о записи завтра.",
)
AWKWARD_SUBJECTS: tuple[str | None, ...] = (
    "=1+1",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+7 900 123-45-67",
    "-2+3",
    "Встреча 🤝 👩‍👩‍👧 ✅",
    "שיחה עם דוד – متابعة العميل",
    "two\nlines,\ta tab",
    "quotes \"and\" 'more'; a \\ backslash, <b>markup</b> & ampersands",
    "",
    None,
)
"""Subjects that spoil careless exports, tables and pages."""
