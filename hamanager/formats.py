"""Sizes, durations and times for people, and the frame of a page. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "KB", "MB", "GB", "TB")


def size(size_bytes: float) -> str:
    """`512MB`, `1.5GB`: binary units with dotCloud's names, three digits at the most."""
    value = float(size_bytes)
    for unit in _UNITS[:-1]:
        if value < 1023.5:
            return f"{_short(value)}{unit}"
        value /= 1024
    return f"{_short(value)}{_UNITS[-1]}"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:.0f}"


def lag(seconds: float) -> str:
    """`0s`, `0.3s`, `12s`, `3m5s`: for whole seconds no fraction."""
    return f"{seconds:.1f}".removesuffix(".0") + "s" if seconds < 9.95 else duration(seconds)


def duration(seconds: float) -> str:
    """`12s`, `3m5s`, `2h10m`: to the second."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60}s"
    return f"{whole // 3600}h{whole % 3600 // 60}m"


def stopwatch(seconds: float) -> str:
    """`0.131 s`, `12.4 s`, `3m5s`: measured, so to the millisecond where that says something."""
    if seconds < 10:
        return f"{seconds:.3f} s"
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def moment(at: float) -> str:
    """`2026-01-31 12:00:00 UTC` of seconds since the epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def count(number: int, noun: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def html_page(title: str, style: str, body: str) -> str:
    """One that needs no network and no script; everything is escaped already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body><main>{body}</main></body>"
        "</html>\n"
    )
