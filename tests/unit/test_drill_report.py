"""A drill's report: the table, the picture, the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from hamanager.chaos.drill.page import page
from hamanager.chaos.drill.plan import PLANS
from hamanager.chaos.drill.rounds import Round, failures, measure, median, worst
from hamanager.chaos.drill.text import cells, verdict
from hamanager.chaos.drill.timeline import Window, bar_heights, label_rows, spans, timeline, windows
from hamanager.chaos.drill.values import DrillReport
from hamanager.chaos.watch import Look, Seen
from hamanager.model.drill import DrillFault
from hamanager.model.durability import Durability
from tests.unit.test_drill import EPOCH, FAULT, trace, writes

BUSY = writes(
    *[(0.01 * n - 1, "db.0") for n in range(100)], *[(0.01 * n + 0.085, "db.1") for n in range(300)]
)


def seen(name: str, *changes: tuple[float, Seen]) -> tuple[str, list[Look]]:
    """Looks twenty times a second, from two seconds before the fault to four after it."""
    found = []
    for n in range(120):
        at = FAULT - 2 + n * 0.05
        role = [what for since, what in changes if since <= at - FAULT][-1]
        found.append(Look(at, at + 0.002, role))
    return name, found


LOOKS = dict(
    [
        seen("db.0", (-9, Seen.PRIMARY), (0, Seen.DOWN), (1, Seen.STANDBY)),
        seen("db.1", (-9, Seen.STANDBY), (0.06, Seen.PRIMARY)),
    ]
)


def done(**changes: object) -> Round:
    return measure(trace(writes=BUSY, looks=LOOKS, **changes))


def report(*rounds: Round, service: str = "db", lossless: bool = True) -> DrillReport:
    results = [r.result for r in rounds]
    return DrillReport(
        service=service,
        engine="mysql",
        version="8.4.3",
        durability=Durability.AVAILABILITY,
        lossless=lossless,
        instances=2,
        fault=DrillFault.KILL,
        started_at=EPOCH,
        rounds_wanted=len(results),
        rounds=results,
        median=median(results),
        worst=worst(results),
        acknowledged=sum(r.acknowledged for r in results),
        lost=sum(r.lost or 0 for r in results),
        duplicate_primaries=sum(r.duplicate_primaries for r in results),
        failures=failures(results, 0, lossless=lossless),
    )


def test_every_fault_has_a_plan_and_whoever_lasts_is_undone() -> None:
    assert set(PLANS) == set(DrillFault)
    assert all((plan.undo is not None) == (plan.hold_seconds > 0) for plan in PLANS.values())


def test_the_json_is_a_contract() -> None:
    made = report(done()).model_dump(mode="json")
    assert list(made) == [
        "service",
        "engine",
        "version",
        "durability",
        "lossless",
        "instances",
        "fault",
        "started_at",
        "rounds_wanted",
        "rounds",
        "median",
        "worst",
        "acknowledged",
        "lost",
        "duplicate_primaries",
        "failures",
    ]
    assert set(made["rounds"][0]) == {
        "number",
        "instance",
        "primary",
        "fault_at",
        "detect_seconds",
        "promote_seconds",
        "first_write_seconds",
        "first_write_on",
        "healthy_seconds",
        "longest_gap_seconds",
        "acknowledged",
        "lost",
        "duplicate_primaries",
        "recovered",
        "message",
    }


def test_a_line_of_the_table() -> None:
    assert cells(done().result) == [
        "1",
        "db.0 to db.1",
        "0.040 s",
        "0.060 s",
        "0.085 s",
        "2.500 s",
        "0.925 s",
        "400",
        "0",
        "never",
        "yes",
    ]


def test_the_verdict() -> None:
    assert (
        verdict(report(done())) == "passed: 400 writes acknowledged, none lost; never two primaries"
    )
    lossy = report(done(lost=4), lossless=False)
    assert "4 lost (this service does not promise" in verdict(lossy)
    assert verdict(report(done(lost=4))).startswith("FAILED: round 1: 4 acknowledged writes lost")


# --- The picture --------------------------------------------------------------------------------


def test_bars_are_counted_from_the_fault() -> None:
    heights = bar_heights(done(), Window(-1.0, 4.0, 0.1))
    assert len(heights) == 50
    assert sum(heights) == 400
    assert heights[9] == 10, "the last bar before the fault"
    assert heights[10] == 2, "the first one after it"


def test_a_fail_over_that_is_quick_gets_a_second_picture() -> None:
    whole, close = windows(done())
    assert (whole.begin, whole.end) == (-1.0, 4.0)
    assert (close.end, close.bar_seconds) == (0.2, 0.005)
    assert len(windows(measure(trace(history=[], writes=[])))) == 1, "nothing happened"


def test_labels_keep_apart() -> None:
    assert label_rows([(100, "kill"), (500, "healthy")]) == [0, 0]
    assert label_rows([(100, "kill"), (101, "detected"), (102, "promoted")]) == [2, 1, 0]
    assert label_rows([(100, "a"), (100, "b")]) == [1, 0]
    # The line of the middle one would cross the first label if that stood as low as the last.
    assert label_rows([(100, "x" * 12), (160, "x" * 12), (220, "x" * 12)]) == [2, 1, 0]


def test_spans_of_roles() -> None:
    looks = [Look(n, n + 0.1, what) for n, what in enumerate([Seen.STANDBY] * 2 + [Seen.DOWN])]
    assert list(spans(looks, 5.0)) == [(0, 2, Seen.STANDBY), (2, 5.0, Seen.DOWN)]
    assert list(spans([], 5.0)) == []


def test_the_picture_is_well_formed() -> None:
    for window in windows(done()):
        svg = ET.fromstring(timeline(done(), window, "kill"))
        words = [text.text for text in svg.iter("text")]
        assert {"kill db.0", "detected +40 ms", "first write on db.1 +85 ms", "db.1"} <= set(words)


def test_a_round_without_writes_can_be_shown() -> None:
    bare = measure(trace(writes=[], looks={}, history=[], primary=None, healthy_at=None))
    assert "<svg" in page(report(bare), [bare])


# --- The page -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a browser would load, and checks that elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [(k, v) for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself() -> None:
    text = page(report(done(), done()), [done(), done()])
    read = Page()
    read.feed(text)
    assert read.loads == []
    assert read.open == []
    assert not re.search(r"https?:|//|url\(|@import|<script|<link|<iframe", text)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x>'])
def test_what_comes_from_outside_is_escaped(hostile: str) -> None:
    made = done(recovered=False, healthy_at=None, message=hostile)
    text = page(report(made, service=hostile), [made])
    assert "<script" not in text
    assert "<img" not in text


def test_the_page_says_what_failed() -> None:
    made = done(recovered=False, healthy_at=None, message="no standby is left")
    text = page(report(made), [made])
    assert 'class="verdict failed"' in text
    assert "not healthy again within two minutes (no standby is left)" in text
    assert '<tr class="bad">' in text
