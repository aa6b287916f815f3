"""The words of commands: `db:instances=2`, `db=2`, `other:memory=128M`, `db.0`. Pure.

The scale grammar is dotCloud's (its public command-line client, 0.9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hamanager.errors import UsageError

MEMORY_STEP_BYTES = 32 * 1024**2
"""Limits are multiples of this, and at least this."""
MEMORY_TOP_BYTES = 64 * 1024**3

_SERVICE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_MEMORY = re.compile(r"([0-9]{1,15})([KMG]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True)
class ScaleRequest:
    """One target of a scale command; what is None stays as it is."""

    service: str
    instances: int | None = None
    memory_bytes: int | None = None


def parse_scale(words: Sequence[str]) -> list[ScaleRequest]:
    """What the words of a scale command ask for, in their order.

    Raises:
        UsageError: one of them is not in the grammar.
    """
    return [_parse_target(word) for word in words]


def parse_memory(text: str) -> int:
    """Bytes, rounded up to a step: `512M`, `512MB`, `1G`, `536870912`.

    Raises:
        UsageError: not such a size, or out of bounds.
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise UsageError(f"memory takes a size such as 512M or 1G, not '{text}'")
    return round_memory(int(match[1]) * _UNITS[match[2].upper()], text)


def round_memory(memory_bytes: int, text: str | None = None) -> int:
    """The next multiple of the step: nobody gets less than was asked for. `text` is what the
    person wrote.

    Raises:
        UsageError: under 32 MB or above 64 GB.
    """
    rounded = -(-memory_bytes // MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES
    if memory_bytes < MEMORY_STEP_BYTES or rounded > MEMORY_TOP_BYTES:
        raise UsageError(f"memory must be from 32M to 64G, not {text or memory_bytes}")
    return rounded


def check_service_name(name: str) -> str:
    """The name itself when a service may be called so.

    Raises:
        UsageError: it may not.
    """
    if _SERVICE.fullmatch(name) is None:
        raise UsageError(
            f"'{name}' cannot be a service's name: a lower-case letter, then up to 30 lower-case"
            " letters, digits or hyphens, such as 'db'"
        )
    return name


def service_of(instance_name: str) -> str:
    """The service that an instance's name belongs to: `db` for `db.0`.

    Raises:
        UsageError: it is not the name of an instance.
    """
    service, dot, number = instance_name.rpartition(".")
    if not dot or _SERVICE.fullmatch(service) is None or _NUMBER.fullmatch(number) is None:
        raise UsageError(
            f"'{instance_name}' is not the name of an instance: write a service and a number,"
            " such as db.0"
        )
    return service


def _parse_target(word: str) -> ScaleRequest:
    target, equals, value = word.partition("=")
    if "=" in value:
        raise UsageError(f"'{word}' has more than one '=': write one, as in db:instances=2")
    service, colon, action = target.partition(":")
    check_service_name(service)
    action = action if colon else "instances"
    if action not in ("instances", "memory"):
        raise UsageError(
            f"'{action}' is not something to scale: write {service}:instances=2 or"
            f" {service}:memory=512M"
        )
    if not equals or not value:
        example = "512M" if action == "memory" else "2"
        raise UsageError(f"'{word}' says no value: write for example {service}:{action}={example}")
    if action == "memory":
        return ScaleRequest(service, memory_bytes=parse_memory(value))
    if _NUMBER.fullmatch(value) is None or int(value) == 0:
        raise UsageError(f"instances takes a whole number from 1 on, not '{value}'")
    return ScaleRequest(service, instances=int(value))
