"""Versions of servers, as numbers."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...]:
    """(8, 4, 3) of `8.4.3-log`; () when there are none."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
