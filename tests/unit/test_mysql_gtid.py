"""GTID sets against plain Python sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamanager_drivers.mysql.gtid import NOTHING, GtidSet, parse

UUIDS = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562")
ORIGINS = (*UUIDS, f"{UUIDS[0]}:backup", f"{UUIDS[0]}:batch_1")
Plain = frozenset[tuple[str, int]]

plain_sets = st.frozensets(st.tuples(st.sampled_from(ORIGINS), st.integers(1, 30)))


def written(members: Plain) -> str:
    return ",".join(f"{origin}:{number}" for origin, number in sorted(members, reverse=True))


def members_of(gtids: GtidSet) -> Plain:
    return frozenset(
        (origin, number)
        for origin, intervals in gtids.intervals.items()
        for first, last in intervals
        for number in range(first, last + 1)
    )


@given(plain_sets)
def test_text_there_and_back(members: Plain) -> None:
    gtids = parse(written(members))
    assert members_of(gtids) == members
    assert parse(str(gtids)) == gtids
    assert gtids.count == len(members)
    assert bool(gtids) == bool(members)


@given(plain_sets, plain_sets)
def test_set_arithmetic(ours: Plain, theirs: Plain) -> None:
    a, b = parse(written(ours)), parse(written(theirs))
    assert members_of(a | b) == ours | theirs
    assert members_of(a - b) == ours - theirs
    assert (a <= b) == (ours <= theirs)
    assert a | b == b | a
    assert (a - b) | (b - a) | (a - (a - b)) == a | b


@given(plain_sets, plain_sets)
def test_without_tail_keeps_what_the_reading_could_have_shown(ours: Plain, read: Plain) -> None:
    a, known = parse(written(ours)), parse(written(read))
    last = {origin: max((n for o, n in read if o == origin), default=0) for origin in ORIGINS}
    expected = {(o, n) for o, n in ours if not o.startswith(UUIDS[0]) or n <= last[o]}
    assert members_of(a.without_tail(UUIDS[0].upper(), known)) == expected


def test_the_forms_that_servers_write() -> None:
    tagged = parse(f"{UUIDS[0]}:1-3:5:backup:1-2:batch_1:7,\n{UUIDS[1].upper()}:2-4")
    assert tagged.intervals == {
        UUIDS[0]: ((1, 3), (5, 5)),
        f"{UUIDS[0]}:backup": ((1, 2),),
        f"{UUIDS[0]}:batch_1": ((7, 7),),
        UUIDS[1]: ((2, 4),),
    }
    assert str(parse(f"{UUIDS[0]}:1:2:3")) == f"{UUIDS[0]}:1-3"
    assert parse("") == NOTHING == parse(" \n")
    assert not NOTHING


@pytest.mark.parametrize("text", ["nonsense", "1-5", f"{UUIDS[0][:-1]}:1"])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        parse(text)
