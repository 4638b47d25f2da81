"""What is tested only where it is installed."""

from __future__ import annotations

import os
import re
from typing import NoReturn

import pytest


def skip_or_fail(name: str, lacking: str) -> NoReturn:
    """Skip a test for what is lacking; fail where B24FRAMES_REQUIRE, a list of names, has it."""
    required = re.split(r"[,\s]+", os.environ.get("B24FRAMES_REQUIRE", ""))
    (pytest.fail if name in required else pytest.skip)(lacking)
