"""For how long writes have been waiting, as two probes of a MySQL primary tell."""

from __future__ import annotations

from hamanager_drivers.mysql.led import Waits


def test_the_time_begins_anew_with_each_that_is_acknowledged() -> None:
    waits = Waits()
    assert waits.note("db", 3, ("7", "7", "0"), 10.0) == 0.0
    assert waits.note("db", 4, ("7", "7", "0"), 11.5) == 1.5
    assert waits.note("other", 1, ("7", "7", "0"), 11.5) == 0.0
    assert waits.note("db", 3, ("8", "7", "0"), 12.0) == 0.0
    assert waits.note("db", 0, ("8", "8", "0"), 14.0) == 0.0
    assert waits.note("db", 1, ("8", "8", "0"), 15.0) == 0.0
    assert waits.note("db", 1, ("8", "8", "0"), 16.0) == 1.0
