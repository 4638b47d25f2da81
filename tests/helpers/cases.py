"""Tables of cases that several test files go through."""

from __future__ import annotations

import array
import decimal
import fractions
from collections import UserString
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import numpy as np
import pandas as pd

from b24frames.errors import (
    AuthenticationError,
    OperatingTimeError,
    PermissionDeniedError,
    PortalBlockedError,
    PortalError,
    PortalUnavailableError,
    RateLimitError,
)

# HTTP status, code, kind, retryable: the table of system errors of the REST documentation.
SYSTEM_ERRORS: list[tuple[int, str, type[PortalError], bool]] = [
    (500, "INTERNAL_SERVER_ERROR", PortalUnavailableError, True),
    (500, "ERROR_UNEXPECTED_ANSWER", PortalUnavailableError, True),
    (503, "QUERY_LIMIT_EXCEEDED", RateLimitError, True),
    (429, "OPERATION_TIME_LIMIT", OperatingTimeError, True),
    (405, "ERROR_BATCH_METHOD_NOT_ALLOWED", PortalError, False),
    (400, "ERROR_BATCH_LENGTH_EXCEEDED", PortalError, False),
    (401, "NO_AUTH_FOUND", AuthenticationError, False),
    (400, "INVALID_REQUEST", PortalError, False),
    (503, "OVERLOAD_LIMIT", PortalBlockedError, False),
    (403, "ACCESS_DENIED", PermissionDeniedError, False),
    (403, "INVALID_CREDENTIALS", PermissionDeniedError, False),
    (404, "ERROR_MANIFEST_IS_NOT_AVAILABLE", PortalError, False),
    (404, "ERROR_METHOD_NOT_FOUND", PortalError, False),
    (403, "insufficient_scope", PermissionDeniedError, False),
    (401, "expired_token", AuthenticationError, False),
    (403, "user_access_error", PermissionDeniedError, False),
    (500, "PORTAL_DELETED", PortalBlockedError, False),
]

REFUSED_IDS: list[tuple[Any, str]] = [
    (True, "True"),
    (False, "False"),
    (0, "0"),
    (-1, "-1"),
    (1.5, "1.5"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (2**63, str(2**63)),
    ("abc", "'abc'"),
    ("9" * 5000, "'99999"),
    ("", "''"),
    ("-5", "'-5'"),
    ("1.0", "'1.0'"),
    ("1_000", "'1_000'"),
    ("٣", "'٣'"),
    ("1-5", "'1-5'"),
    (None, "a NoneType was given"),
    (b"12", "a bytes was given"),
    ({"ID": 1}, "a dict was given"),
    (object, "a type was given"),
    ([5, 0], "0 at position 1"),
    ([2**63], f"{2**63} at position 0"),
    ([1, True], "True at position 1"),
    ([1, 2, "x"], "'x' at position 2"),
    ([None], "None at position 0"),
    ([pd.NA], "<NA> at position 0"),
    ([pd.NaT], "NaT at position 0"),
    ([[1, 2]], r"\[1, 2\] at position 0"),
    ([decimal.Decimal("1.5")], r"Decimal\('1.5'\) at position 0"),
    ([decimal.Decimal("NaN")], r"Decimal\('NaN'\) at position 0"),
    ([decimal.Decimal("sNaN")], r"Decimal\('sNaN'\) at position 0"),
    ([decimal.Decimal("-Infinity")], "at position 0"),
    ([decimal.Decimal("1E+999999999")], r"Decimal\('1E\+999999999'\)"),
    (decimal.Decimal(0), "Decimal"),
    ([1, HTTPStatus.OK], "OK.* at position 1 .a HTTPStatus"),
    (HTTPStatus.OK, "OK"),
    ([StrEnum("Names", {"A": "12"}).A], "A.* at position 0"),
    ([1, b"12"], "b'12' at position 1"),
    (np.array([b"12"]), "b'12'"),
    (bytearray(b"12"), "a bytearray was given"),
    (memoryview(b"12"), "a memoryview was given"),
    (UserString("12"), "a UserString was given"),
    (array.array("u", "12"), "an? array was given"),
    (np.ma.array([1, 2], mask=[False, True]), "masked at position 1"),
    (np.ma.array([1.0, 2.0], mask=[False, True]), "masked at position 1"),
    ([np.ma.array(5, mask=True)], "at position 0"),
    (np.ma.masked, "0 dimensions"),
    (np.array([1, None], dtype=object), "None at position 1"),
    (np.array([1, True], dtype=object), "True at position 1"),
    (np.array(5), "0 dimensions"),
    ([np.array([5])], r"array\(\[5\]\) at position 0"),
    ([np.array(True)], r"array\(True\) at position 0"),
    ([1, np.bool_(True)], "True.* at position 1"),
    (np.array([5], dtype="m8[s]"), "at position 0"),
    (np.array(["NaT"], dtype="m8[s]"), "NaT.* at position 0"),
    (np.array(["NaT"], dtype="M8[s]"), "NaT.* at position 0"),
    (np.array([(1,)], dtype=[("ID", int)]), r"\(1,\).* at position 0"),
    (array.array("d", [1.0, float("nan")]), "nan at position 1"),
    (pd.Series([1, 2]).astype("datetime64[ns]"), "at position 0"),
    (pd.Series([True, False], dtype="boolean"), "True_? at position 0"),
    (pd.array([1, None], dtype="Int64"), "<NA> at position 1"),
    (pd.arrays.SparseArray([1.0, None]), "nan at position 1"),
    ({1: 2}.items(), r"\(1, 2\) at position 0"),
    ([1j], "1j"),
    ([np.timedelta64(5, "s")], "timedelta64"),
    ([fractions.Fraction(10**400)], "Fraction"),
    ([["https://acme.bitrix24.com/rest/1/abc/"]], "an address at position 0"),
    (np.array([True]), "True"),
    (np.array([1.5]), "1.5"),
    (np.array([[1, 2]]), "2 dimensions"),
    (pd.Series([1.0, None]), "nan at position 1"),
    (pd.Series([1, None], dtype="Int64"), "<NA> at position 1"),
    (pd.DataFrame({"ID": [1]}), "2 dimensions"),
    ({1: 0, -2: 0}.keys(), "-2 at position 1"),
]
"""Arguments that are no ids, and what the message must name."""
