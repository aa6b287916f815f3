"""The set's configuration after the next change: pure.

A member enters without a vote, gets one when it holds the data, loses it before it leaves. Every
configuration differs from the one before in one vote at most, so that any majority of the one
has a member in common with any majority of the other.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from hamanager.model.service import Target
from hamanager_drivers.mongodb.config import SET_SETTINGS

HIGHEST_ID = 255
"""The engine takes no higher `_id` of a member."""

Config = dict[str, Any]


class Standing(StrEnum):
    """What a server is able to do for the set."""

    EMPTY = "empty"
    """It is copying everything for the first time; its vote could elect one that lacks what it
    has acknowledged before it lost its data."""
    FOLLOWING = "following"
    """It has data and is on its way."""
    READY = "ready"
    """It holds a full copy and has caught up."""


def first_config(name: str, target: Target) -> Config:
    """A set with one member."""
    member = {"_id": min(target.serial, HIGHEST_ID), "host": target.address}
    return {"_id": name, "version": 1, "members": [member], "settings": dict(SET_SETTINGS)}


def next_config(config: Config, target: Target, standing: Standing) -> Config | None:
    """The next step towards a full member; None when there is nothing to change."""
    changed = _next_version(config)
    member = _find(changed, target)
    if member is None:
        new = {"_id": _free_id(config, target), "host": target.address, "votes": 0, "priority": 0}
        changed["members"].append(new)
    elif member["host"] != target.address:
        member["host"] = target.address
    elif standing is Standing.READY and not is_voter(member):
        member.update(votes=1, priority=1)
    elif standing is Standing.EMPTY and is_voter(member):
        member.update(votes=0, priority=0)
    else:
        return None
    return changed


def config_without_vote(config: Config, target: Target) -> Config | None:
    """The member keeps following but counts no more; None when that is so already."""
    changed = _next_version(config)
    member = _find(changed, target)
    if member is None or not is_voter(member):
        return None
    member.update(votes=0, priority=0)
    return changed


def config_without_member(config: Config, target: Target) -> Config | None:
    """The member is no part of the set; None when that is so already."""
    changed = _next_version(config)
    member = _find(changed, target)
    if member is None:
        return None
    changed["members"].remove(member)
    return changed


def config_of_survivors(config: Config, addresses: Sequence[str]) -> Config:
    """Only these members, each with a vote: what an operator forces when the majority is lost."""
    changed = _next_version(config)
    changed["members"] = [m for m in changed["members"] if m["host"] in addresses]
    for member in changed["members"]:
        member.update(votes=1, priority=1)
    return changed


def is_voter(member: dict[str, Any]) -> bool:
    """It has a vote and may become primary; the two always change together here."""
    return bool(member.get("votes", 1)) and member.get("priority", 1) > 0


def voters(config: Config) -> list[str]:
    """Addresses of the members that vote."""
    return [str(member["host"]) for member in config["members"] if is_voter(member)]


def targets(addresses: Iterable[str]) -> list[Target]:
    """Members by nothing but their addresses."""
    found = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        found.append(Target(address, host, int(port), serial=-1))
    return found


def _next_version(config: Config) -> Config:
    changed = copy.deepcopy(config)
    changed["version"] = int(config["version"]) + 1
    return changed


def _find(config: Config, target: Target) -> dict[str, Any] | None:
    """By address, else by number: an instance that never joined may move to another port."""
    members: list[dict[str, Any]] = config["members"]
    for member in members:
        if member["host"] == target.address:
            return member
    return next((member for member in members if member["_id"] == target.serial), None)


def _free_id(config: Config, target: Target) -> int:
    """The serial number, which is never reused; the lowest free one when it is too high."""
    taken = {member["_id"] for member in config["members"]}
    if target.serial <= HIGHEST_ID and target.serial not in taken:
        return target.serial
    return next(number for number in range(HIGHEST_ID + 1) if number not in taken)
