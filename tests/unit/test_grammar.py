"""The words of commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamanager.api.grammar import (
    MEMORY_STEP_BYTES,
    MEMORY_TOP_BYTES,
    ScaleRequest,
    check_service_name,
    parse_memory,
    parse_scale,
    round_memory,
    service_of,
)
from hamanager.errors import UsageError

MB = 1024**2


def test_both_forms_of_instances_mean_the_same() -> None:
    assert parse_scale(["db:instances=2"]) == parse_scale(["db=2"]) == [ScaleRequest("db", 2)]


def test_several_targets_in_one_call() -> None:
    assert parse_scale(["db:instances=2", "other:memory=128M"]) == [
        ScaleRequest("db", instances=2),
        ScaleRequest("other", memory_bytes=128 * MB),
    ]


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        ("512M", 512),
        ("512MB", 512),
        ("512m", 512),
        ("1G", 1024),
        ("1GB", 1024),
        ("536870912", 512),
        ("536870912B", 512),
        ("65536K", 64),
        ("32M", 32),
        ("33M", 64),
        ("100M", 128),
        ("64G", 65536),
    ],
)
def test_memory(text: str, megabytes: int) -> None:
    assert parse_memory(text) == megabytes * MB


@pytest.mark.parametrize(
    "text",
    ["", "1K", "31M", "0", "-1", "65G", "1T", "1.5G", "M", "lots", "512 M", "9" * 15, "9" * 5000],
)
def test_memory_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError):
        parse_memory(text)


@given(st.integers(MEMORY_STEP_BYTES, MEMORY_TOP_BYTES))
def test_rounding_never_gives_less_and_is_stable(memory_bytes: int) -> None:
    rounded = round_memory(memory_bytes)
    assert memory_bytes <= rounded < memory_bytes + MEMORY_STEP_BYTES
    assert rounded % MEMORY_STEP_BYTES == 0
    assert round_memory(rounded) == rounded


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("db", "'db' says no value: write for example db:instances=2"),
        ("db=", "'db=' says no value: write for example db:instances=2"),
        ("db:memory=", "'db:memory=' says no value: write for example db:memory=512M"),
        ("db:memory", "'db:memory' says no value: write for example db:memory=512M"),
        ("db=1=2", "'db=1=2' has more than one '=': write one, as in db:instances=2"),
        (
            "db:colour=red",
            "'colour' is not something to scale: write db:instances=2 or db:memory=512M",
        ),
        ("db:=2", "'' is not something to scale: write db:instances=2 or db:memory=512M"),
        ("db:instances=zero", "instances takes a whole number from 1 on, not 'zero'"),
        ("db=0", "instances takes a whole number from 1 on, not '0'"),
        ("db=-1", "instances takes a whole number from 1 on, not '-1'"),
        ("db=٣", "instances takes a whole number from 1 on, not '٣'"),
        ("db=" + "9" * 5000, "instances takes a whole number from 1 on"),
        ("db:memory=1K", "memory must be from 32M to 64G, not 1K"),
        ("db:memory=much", "memory takes a size such as 512M or 1G, not 'much'"),
        ("=2", "'' cannot be a service's name"),
        ("Db=2", "'Db' cannot be a service's name"),
        ("db.0=2", "'db.0' cannot be a service's name"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_scale(["good=2", word])
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(word: str) -> None:
    try:
        (request,) = parse_scale([word])
    except UsageError:
        return
    assert (request.instances is None) != (request.memory_bytes is None)


@pytest.mark.parametrize("name", ["d", "db", "my-db2", "a" * 31])
def test_names_of_services(name: str) -> None:
    assert check_service_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "Db", "2db", "db.0", "a" * 32, "db\n", "-db", "dé"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError):
        check_service_name(name)


def test_the_service_of_an_instance() -> None:
    assert service_of("db.0") == "db"
    assert service_of("my-db.12") == "my-db"


@pytest.mark.parametrize("name", ["db", "db.", ".0", "db.x", "db.0.1", "db.-1", "a b.0", ""])
def test_names_that_are_not_of_an_instance(name: str) -> None:
    with pytest.raises(UsageError):
        service_of(name)
