"""A document whose commands are run: indented blocks, each after a line that says where.

    On h1, h2 and a1:

        systemctl restart docker

A block that says nothing like that, or that is fenced, is an error: it would not be run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = "the checkout"
_WHERE = re.compile(
    r"(?:On|In) (?P<where>the checkout|[a-z][a-z0-9]*(?:(?:, | and )[a-z][a-z0-9]*)*):"
)
_VALUES = re.compile(r"`([^`]+)`")


class DocumentError(Exception):
    """What cannot be followed, with its line."""


@dataclass(frozen=True)
class Block:
    """Some commands."""

    section: str
    line: int
    machines: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Document:
    """What is to be done, in order."""

    blocks: tuple[Block, ...]
    values: tuple[str, ...]
    """What stands for the reader's own, in the first column of the first table."""

    @property
    def sections(self) -> list[str]:
        """Those with commands, in order."""
        return list(dict.fromkeys(block.section for block in self.blocks))


def read(path: Path) -> Document:
    """Raises:
    DocumentError: it has commands without a place.
    """
    lines = path.read_text().splitlines()
    blocks: list[Block] = []
    section, last, at = "", "", 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            raise DocumentError(f"line {at + 1}: indent commands instead of fencing them")
        if not line.startswith("    "):
            section = line.removeprefix("## ") if line.startswith("## ") else section
            last = line or last
            at += 1
            continue
        found, begin = _WHERE.fullmatch(last), at
        if found is None:
            raise DocumentError(f"line {at + 1}: where are these commands to be run?")
        while at < len(lines) and (lines[at].startswith("    ") or _goes_on(lines, at)):
            at += 1
        text = "\n".join(line[4:] for line in lines[begin:at])
        where = found["where"]
        machines = (where,) if where == CHECKOUT else tuple(re.split(", | and ", where))
        blocks.append(Block(section, begin + 1, machines, text.rstrip() + "\n"))
        last = ""
    return Document(tuple(blocks), _values(lines))


def _goes_on(lines: list[str], at: int) -> bool:
    """An empty line inside a block."""
    return not lines[at] and at + 1 < len(lines) and lines[at + 1].startswith("    ")


def _values(lines: list[str]) -> tuple[str, ...]:
    begin = next((n for n, line in enumerate(lines) if line.startswith("|---")), len(lines))
    found: list[str] = []
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        found += _VALUES.findall(line.split("|")[1])
    return tuple(found)


def with_values(text: str, values: Mapping[str, str]) -> str:
    """With the reader's own in place of the document's."""
    if not values:
        return text
    longest_first = sorted(values, key=len, reverse=True)
    pattern = "|".join(re.escape(value) for value in longest_first)
    return re.sub(rf"(?<![\w.])(?:{pattern})(?![\w.]*\w)", lambda found: values[found[0]], text)
