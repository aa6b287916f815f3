"""A round as a picture: what clients could write, who was what, and when what happened. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from hamanager.chaos.drill.rounds import Round
from hamanager.chaos.watch import Look, Seen, duplicates

WIDTH = 1080
LEFT, RIGHT = 78, 150
"""The right margin holds the labels of markers near the end."""
BARS_HEIGHT = 120
LANE_HEIGHT, LANE_GAP = 18, 7
LABEL_HEIGHT = 17
CHARACTER_WIDTH = 6.4
"""Of the labels' font, at the most on average: enough to keep labels apart."""
BAR_SECONDS = 0.1
CLOSE_UP_BARS = 60
CLOSE_UP_SHARE = 0.2
"""Events within the first fifth of a round deserve a picture of their own."""
SHORTEST_CLOSE_UP_SECONDS = 0.2

LANE_WORDS = {
    Seen.PRIMARY: "takes writes",
    Seen.STANDBY: "standby",
    Seen.DOWN: "does not answer",
}


@dataclass(frozen=True)
class Window:
    """A part of a round, in seconds since the fault, and the width of its bars."""

    begin: float
    end: float
    bar_seconds: float

    def x(self, at: float) -> float:
        """Where that moment is in the picture."""
        share = (at - self.begin) / (self.end - self.begin)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


@dataclass(frozen=True)
class Marker:
    """A moment with a name."""

    at: float
    """Seconds since the fault."""
    kind: str
    """The class that gives it its colour."""
    label: str


def windows(done: Round) -> list[Window]:
    """All of the round; and what happened right after the fault, if it was much shorter."""
    whole = Window(done.began_at, done.ended_at, BAR_SECONDS)
    result = done.result
    known = (result.detect_seconds, result.promote_seconds, result.first_write_seconds)
    reach = 1.3 * max((seconds for seconds in known if seconds is not None), default=math.inf)
    reach = max(reach, SHORTEST_CLOSE_UP_SECONDS)
    if reach > CLOSE_UP_SHARE * (whole.end - whole.begin):
        return [whole]
    begin = max(-reach / 3, whole.begin)
    bar_seconds = _nice((reach - begin) / CLOSE_UP_BARS)
    return [whole, Window(begin, reach, bar_seconds)]


def timeline(done: Round, window: Window, fault: str) -> str:
    """The picture of that part of the round, as SVG."""
    markers = [m for m in _markers(done, fault) if window.begin <= m.at <= window.end]
    rows = label_rows([(window.x(m.at), m.label) for m in markers])
    top = (max(rows, default=0) + 1) * LABEL_HEIGHT + 10
    lanes_top = top + BARS_HEIGHT + 12
    bottom = lanes_top + len(done.looks) * (LANE_HEIGHT + LANE_GAP)
    parts = [
        *_bars(done, window, top),
        *_lanes(done, window, lanes_top),
        *_time_axis(window, bottom),
        *_marks(markers, rows, window, top, bottom),
    ]
    words = f"Round {done.result.number}: writes, roles and events over time"
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 40}" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}</svg>"
    )


def label_rows(labels: Sequence[tuple[float, str]]) -> list[int]:
    """The row of each label, 0 being the lowest, so that none overlaps another and no marker's
    line crosses a label. Labels stand to the right of their markers (x and text)."""
    rows = [0] * len(labels)
    placed: list[tuple[float, int]] = []
    for index in sorted(range(len(labels)), key=lambda i: (labels[i][0], i), reverse=True):
        x, text = labels[index]
        end = x + len(text) * CHARACTER_WIDTH + 14
        rows[index] = 1 + max((row for other, row in placed if other < end), default=-1)
        placed.append((x, rows[index]))
    return rows


# --- Events -------------------------------------------------------------------------------------


def _markers(done: Round, fault: str) -> list[Marker]:
    result = done.result
    found = [Marker(0.0, "fault", f"{fault} {result.instance}")]
    events = (
        ("detected", "detected", result.detect_seconds),
        ("promoted", f"promoted {result.primary}", result.promote_seconds),
        ("written", f"first write on {result.first_write_on}", result.first_write_seconds),
        ("undone", "fault undone", done.undone_at),
        ("healthy", "healthy", result.healthy_seconds),
    )
    for kind, words, at in events:
        if at is not None:
            found.append(Marker(at, kind, f"{words} {_moment(at)}"))
    return sorted(found, key=lambda marker: marker.at)


def _marks(
    markers: Sequence[Marker], rows: Sequence[int], window: Window, top: float, bottom: float
) -> Iterator[str]:
    for marker, row in zip(markers, rows, strict=True):
        x = window.x(marker.at)
        y = top - 10 - row * LABEL_HEIGHT
        yield (
            f'<g class="mark {marker.kind}"><path d="M{x:.1f} {y - 11:.1f}V{bottom:.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="3.5"/>'
            f'<text x="{x + 7:.1f}" y="{y:.1f}">{escape(marker.label)}</text></g>'
        )


def _moment(seconds: float) -> str:
    return f"+{seconds * 1000:.0f} ms" if seconds < 1 else f"+{seconds:.2f} s"


# --- Writes -------------------------------------------------------------------------------------


def bar_heights(done: Round, window: Window) -> list[int]:
    """How many writes were acknowledged in each bar's time. Bars are counted from the fault, so
    that none mixes what was before it with what was after."""
    first = math.floor(window.begin / window.bar_seconds)
    counts = [0] * max(1, math.ceil(window.end / window.bar_seconds) - first)
    for at in done.write_times:
        index = math.floor(at / window.bar_seconds) - first
        if 0 <= index < len(counts):
            counts[index] += 1
    return counts


def _bars(done: Round, window: Window, top: float) -> Iterator[str]:
    counts = bar_heights(done, window)
    step = _nice(max(max(counts), 1) / 3)
    scale = math.ceil(max(max(counts), 1) / step) * step
    for tick in range(round(scale / step) + 1):
        y = top + BARS_HEIGHT * (1 - tick * step / scale)
        yield (
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="tick" text-anchor="end" x="{LEFT - 7}" y="{y + 4:.1f}">'
            f"{tick * step:,g}</text>"
        )
    first = math.floor(window.begin / window.bar_seconds)
    path = []
    for index, count in enumerate(counts):
        if count:
            begin = window.x((first + index) * window.bar_seconds)
            end = window.x((first + index + 1) * window.bar_seconds)
            height = BARS_HEIGHT * count / scale
            gap = 0.6 if end - begin > 2 else 0.0
            path.append(f"M{begin:.1f} {top + BARS_HEIGHT}v{-height:.1f}h{end - begin - gap:.1f}")
            path.append(f"v{height:.1f}z")
    yield f'<path class="writes" d="{"".join(path)}"/>'
    words = f"writes per {window.bar_seconds * 1000:g} ms"
    middle = top + BARS_HEIGHT / 2
    yield (
        f'<text class="axis" text-anchor="middle" transform="translate(14 {middle:.0f})'
        f' rotate(-90)">{words}</text>'
    )


# --- Roles --------------------------------------------------------------------------------------


def spans(looks: Sequence[Look], end: float) -> Iterator[tuple[float, float, Seen]]:
    """From when to when each role was seen, until that moment."""
    begun: Look | None = None
    for look in looks:
        if begun is not None and look.seen is not begun.seen:
            yield begun.asked_at, look.asked_at, begun.seen
        if begun is None or look.seen is not begun.seen:
            begun = look
    if begun is not None:
        yield begun.asked_at, end, begun.seen


def _lanes(done: Round, window: Window, top: float) -> Iterator[str]:
    for number, (name, looks) in enumerate(sorted(done.looks.items())):
        y = top + number * (LANE_HEIGHT + LANE_GAP)
        middle = y + LANE_HEIGHT / 2 + 4
        yield f'<text class="lane" text-anchor="end" x="{LEFT - 7}" y="{middle:.1f}">'
        yield f"{escape(name)}</text>"
        for begin, end, seen in spans(looks, done.ended_at):
            if end <= window.begin or begin >= window.end:
                continue
            x = window.x(begin)
            words = f"{name} {LANE_WORDS[seen]} from {begin:.2f} s to {end:.2f} s"
            yield (
                f'<rect class="{seen}" x="{x:.1f}" y="{y}" height="{LANE_HEIGHT}"'
                f' width="{max(window.x(end) - x, 0.5):.1f}"><title>{escape(words)}</title></rect>'
            )
    height = len(done.looks) * (LANE_HEIGHT + LANE_GAP) - LANE_GAP
    for at in duplicates(done.looks):
        if window.begin <= at <= window.end:
            yield f'<path class="duplicate" d="M{window.x(at):.1f} {top}v{height}"/>'


def _time_axis(window: Window, y: float) -> Iterator[str]:
    span = window.end - window.begin
    step = _nice(span / 10)
    in_ms = step < 0.1
    yield f'<path class="base" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
    for tick in range(math.ceil(window.begin / step), math.floor(window.end / step) + 1):
        x = window.x(tick * step)
        shown = f"{tick * step * 1000:.0f}" if in_ms else f"{tick * step:g}"
        yield f'<path class="base" d="M{x:.1f} {y}v5"/>'
        yield f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{y + 17}">{shown}</text>'
    words = f"{'ms' if in_ms else 's'} since the fault"
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="axis" text-anchor="middle" x="{middle:.0f}" y="{y + 34}">{words}</text>'


def _nice(at_least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= at_least * 0.9999)
