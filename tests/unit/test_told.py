"""The sentences of `hamanager why` after each failure, on values as the engines gave them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hamanager.cli.reasons_text import reasons_text
from hamanager.daemon.explanations import reasons_view
from hamanager.model.capabilities import Capabilities
from hamanager.model.history import HistoryEntry
from hamanager.model.kept import Facts
from hamanager.model.order import Order, OrderKind
from hamanager.model.snapshot import Observation, Relation, Role, Snapshot
from tests.support.altered import altered
from tests.support.told import TOLD, untold
from tests.unit.test_decide import (
    ACKNOWLEDGING,
    ELECTING,
    GONE,
    NOW,
    PROMOTED,
    REFUSED,
    SILENT,
    instance,
    up,
)
from tests.unit.test_why import RECENT, RECORD, SPEC

LEADS = up(Role.PRIMARY)
FOLLOWS = replace(up(), lag_seconds=0.04)
LOST = replace(up(link_up=False, relation=Relation.UNKNOWN), lag_seconds=0.0)
BROKEN = replace(
    up(link_up=False, link_age_seconds=3.0, relation=Relation.UNKNOWN), lag_seconds=0.0
)
HEARS = up(link_age_seconds=0.3, relation=Relation.UNKNOWN)
HUNG = replace(SILENT, silent_seconds=3.1)


def facts(
    primary: Observation,
    standby: Observation,
    *others: Observation,
    candidates: tuple[str, ...] = ("db.1",),
    spec: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    **snapshot: Any,
) -> Facts:
    seen = {f"db.{number}": one for number, one in enumerate((primary, standby, *others))}
    wanted = altered(SPEC, instances=len(seen), **(spec or {}))
    kept = altered(RECORD, instances=tuple(map(instance, seen)), **(record or {}))
    return Facts(wanted, kept, Snapshot(NOW, seen, candidates, **snapshot))


ORDER = Order(number=1, kind=OrderKind.SWITCHOVER, asked_at=NOW - 0.2)
FACTS: dict[str, tuple[Facts, Capabilities]] = {
    "The primary is killed": (facts(GONE, LOST), PROMOTED),
    "The primary hangs": (facts(HUNG, BROKEN), PROMOTED),
    "It hangs for a moment": (facts(SILENT, BROKEN), PROMOTED),
    "It is cut off from the manager alone": (facts(HUNG, HEARS), PROMOTED),
    "It hangs soon after a failover": (
        facts(HUNG, BROKEN, record={"last_failover": RECENT}),
        PROMOTED,
    ),
    "It is killed while the service is paused": (
        facts(GONE, BROKEN, spec={"paused": True}),
        PROMOTED,
    ),
    "Somebody else stops it": (
        facts(replace(LEADS, asked_to_end_seconds=0.05), FOLLOWS, primary_has_all=True),
        PROMOTED,
    ),
    "A switchover is ordered": (
        facts(LEADS, FOLLOWS, spec={"order": ORDER}, primary_has_all=True),
        PROMOTED,
    ),
    "A standby is killed": (facts(LEADS, GONE, candidates=()), PROMOTED),
    "No standby is in step when it dies": (
        facts(
            REFUSED,
            BROKEN,
            candidates=(),
            record={
                "sync_lost_at": NOW - 7,
                "guarded": True,
            },
            unsafe_candidates=("db.1",),
            missing_writes={"db.1": "at least 12 transactions"},
        ),
        ACKNOWLEDGING,
    ),
    "Two of three members are lost": (facts(HUNG, BROKEN, HUNG), ELECTING),
}


def text_of(title: str) -> str:
    known, capabilities = FACTS[title]
    entry = HistoryEntry(at=NOW, service="db", kind="decision", text="t", run="3f2a91cc")
    asked_later = "now" not in TOLD[title][0]
    view = reasons_view("db", known, capabilities, [], entry if asked_later else None)
    return reasons_text(view)


@pytest.mark.parametrize("title", FACTS)
def test_what_is_told(title: str) -> None:
    text = text_of(title)
    assert untold(title, text) == [], text


def test_each_example_of_the_document_is_asserted() -> None:
    assert FACTS.keys() == TOLD.keys()
    assert all(len(lines) > 1 for lines in TOLD.values())
