"""How much the retained volumes take on disk: each is counted once, and nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from hamanager.contracts.runtime import InstanceRef, Runtime
from hamanager.daemon import retained as module
from hamanager.daemon.metrics import Metrics, Watched
from hamanager.daemon.retained import Retained
from hamanager.errors import RuntimeFailedError
from hamanager.model.kept import Facts
from hamanager.model.record import RetainedVolume
from tests.support.altered import altered
from tests.unit.test_web import FACTS


def volume(number: int, placed_on: str = "h1") -> RetainedVolume:
    return RetainedVolume(
        instance="db.1",
        volume=f"v{number}",
        generation=number,
        placed_on=placed_on,
        at=1.0,
        reason="it has more",
    )


def with_retained(*volumes: RetainedVolume) -> Facts:
    return Facts(FACTS.spec, altered(FACTS.record, retained=volumes), FACTS.snapshot)


@dataclass
class Disks:
    """What the runtime is asked."""

    sizes: dict[int, int] = field(default_factory=lambda: {1: 4096, 2: 1 << 30})
    asked: list[tuple[InstanceRef, str]] = field(default_factory=list)

    def volume_bytes(self, ref: InstanceRef, image: str) -> int:
        self.asked.append((ref, image))
        if ref.generation not in self.sizes:
            raise RuntimeFailedError("the host does not answer")
        return self.sizes[ref.generation]


@dataclass
class Service:
    """Of one service, what this manager knows."""

    facts: Facts | None
    leads: bool = True

    def watched(self) -> Mapping[str, Watched]:
        return {"db": Watched(self.facts, self.leads)}


def test_each_is_counted_once_where_it_lies() -> None:
    disks, service = Disks(), Service(with_retained(volume(1), volume(2, "h2")))
    retained = Retained(cast(Runtime, disks), service.watched)
    assert retained.counted_bytes() == {}, "nothing is told before it is known"
    retained.look()
    retained.look()
    assert retained.counted_bytes() == {"db": 4096 + (1 << 30)}
    image = FACTS.spec.image
    assert disks.asked == [
        (InstanceRef("db", "db.1", 1, "h1"), image),
        (InstanceRef("db", "db.1", 2, "h2"), image),
    ]
    service.facts = with_retained(volume(2, "h2"))
    assert retained.counted_bytes() == {"db": 1 << 30}
    retained.look()
    service.facts = with_retained(volume(1))
    assert retained.counted_bytes() == {}, "one of that name may be another one now"


def test_a_service_without_any_has_none() -> None:
    disks, service = Disks(), Service(with_retained())
    retained = Retained(cast(Runtime, disks), service.watched)
    retained.look()
    assert retained.counted_bytes() == {"db": 0}
    assert disks.asked == []
    service.facts = None
    assert retained.counted_bytes() == {}


def test_who_does_not_lead_counts_nothing() -> None:
    disks, service = Disks(), Service(with_retained(volume(1)), leads=False)
    retained = Retained(cast(Runtime, disks), service.watched)
    retained.look()
    assert disks.asked == []
    assert retained.counted_bytes() == {}


def test_what_cannot_be_counted_is_left_out_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disks, service = Disks({1: 4096}), Service(with_retained(volume(1), volume(2)))
    retained = Retained(cast(Runtime, disks), service.watched)
    retained.look()
    retained.look()
    assert [ref.generation for ref, _ in disks.asked] == [1, 2]
    assert retained.counted_bytes() == {}
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    disks.sizes[2] = 8192
    retained.look()
    assert retained.counted_bytes() == {"db": 12288}


def test_a_scrape_does_not_wait_for_a_runtime_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    class Hangs(Disks):
        def volume_bytes(self, ref: InstanceRef, image: str) -> int:
            asked.set()
            answer.wait(30)
            return 1

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    service = Service(with_retained(volume(1)))
    metrics = Metrics()
    with Retained(cast(Runtime, Hangs()), service.watched) as retained:
        metrics.watch_retained(retained.counted_bytes)
        assert asked.wait(10)
        assert b"hamanager_retained_bytes{" not in metrics.text()
        answer.set()
