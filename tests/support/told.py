"""What `hamanager why` says after a dozen failures: the examples of docs/why.md, line by line.

Asserted after the real failures (tests/scenarios/test_why.py and test_operations.py) and on values
alone (tests/unit/test_told.py).
"""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "why.md"
WHEN = r"[0-9-]{10} [0-9:]{8} UTC(?: \(run [0-9a-f]+\))?"
MEASURED = (
    r"(?<!db\.)\b\d+\.\d\b(?! s only)|\d+(?= s ago| transactions)|(?<=again in )\d+"
    r"|(?<=the last )\d+|(?<=lag )\d+"
)
"""Numbers that are never the same twice; those of the settings are."""
VARYING = re.compile(f"{WHEN}|(?P<measured>{MEASURED})")
NUMBER = r"\d+(?:\.\d+)?"


def _examples() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    title = ""
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("#"):
            title = line.removeprefix("### ") if line.startswith("### ") else ""
        elif title and line.startswith("    ") and not line.startswith("    $ "):
            found.setdefault(title, []).append(line.removeprefix("    "))
    return found


TOLD = _examples()
"""By their headings."""


def untold(title: str, text: str, *names: str) -> list[str]:
    """The lines of that example that are missing in the text; [] is well. `names`: who was there
    in the place of db.0 (the primary before), db.1 and db.2 of the example."""
    lines = text.splitlines()
    wanted = [(line, _pattern(line, names)) for line in TOLD[title]]
    return [line for line, pattern in wanted if not any(map(pattern.fullmatch, lines))]


def _pattern(line: str, names: tuple[str, ...]) -> re.Pattern[str]:
    there = {f"db.{number}": name for number, name in enumerate(names)}
    line = re.sub(r"db\.\d", lambda match: there.get(match[0], match[0]), line)
    parts, end = [], 0
    for match in VARYING.finditer(line):
        varies = NUMBER if match.lastgroup == "measured" else WHEN
        parts += [re.escape(line[end : match.start()]), varies]
        end = match.end()
    return re.compile("".join([*parts, re.escape(line[end:])]))
