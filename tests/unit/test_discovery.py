"""Which drivers are found, with packages made of their entry points."""

from __future__ import annotations

import logging
from importlib.metadata import Distribution, EntryPoint
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hamanager.act.runner import LONGEST_CALL_SECONDS
from hamanager.daemon.serve import _checked
from hamanager.discovery import GROUP, load_drivers
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.stateless.driver import StatelessDriver

HERE = "tests.unit.test_discovery"


class CacheDriver(RedisDriver):
    engine = "cache"


class Incomplete(RedisDriver):
    engine = "incomplete"

    def __init__(self) -> None:
        raise ZeroDivisionError


class HalfSemiSync(MySQLDriver):
    engine = "half"
    required_acks = cast(Any, property(lambda _: None, lambda *_: None))


class Slow(CacheDriver):
    engine = "slow"

    def __init__(self) -> None:
        super().__init__()
        self.traits = cast(Any, SimpleNamespace(**vars(RedisDriver.traits)))


def point(name: str, target: str, package: str = "foreign") -> EntryPoint:
    made = EntryPoint(name, target if ":" in target else f"{HERE}:{target}", GROUP)
    vars(made)["dist"] = cast(Distribution, SimpleNamespace(name=package))
    return made


def ours() -> EntryPoint:
    return point("redis", "hamanager_drivers.redis.driver:RedisDriver", "hamanager")


def test_our_own_are_registered_as_any_other() -> None:
    found = load_drivers()
    assert {"mysql", "redis", "mongodb", "stateless"} <= set(found)
    assert all(driver.engine == engine for engine, driver in found.items())
    assert found["mysql"].capabilities.acknowledges
    assert found["mongodb"].capabilities.elects_itself
    assert found["stateless"].capabilities.stateless


@pytest.mark.parametrize(
    ("name", "target", "sentence"),
    [
        ("gone", "no_such_module:Driver", "loading it failed: ModuleNotFoundError"),
        ("gone", "NoSuchClass", "loading it failed: AttributeError"),
        ("incomplete", "Incomplete", "loading it failed: ZeroDivisionError"),
        ("dict", "builtins:dict", "it does not derive from hamanager.contracts.driver.Driver"),
        ("other", "CacheDriver", "it calls its engine 'cache'"),
        ("No Name", "CacheDriver", "an engine's name has small letters"),
        ("half", "HalfSemiSync", "no primary that could wait for them"),
        ("slow", "Slow", "its traits are no hamanager.model.capabilities.Traits"),
    ],
)
def test_a_broken_driver_costs_only_itself(
    name: str, target: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(load_drivers([point(name, target), ours()])) == ["redis"]
    [record] = caplog.records
    assert record.getMessage().startswith(
        f"the driver of '{name}' from the package foreign was left out: "
    )
    assert sentence in record.getMessage()
    assert record.exc_info is None


def test_a_driver_whose_calls_outlast_the_lease_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = CacheDriver()
    endless.traits = type(endless.traits)(
        **{**vars(endless.traits), "call_seconds": LONGEST_CALL_SECONDS}
    )
    assert list(_checked({"cache": endless, "stateless": StatelessDriver()})) == ["stateless"]
    assert "the longest call of the cache driver" in caplog.text


def test_nobody_takes_the_place_of_one_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    found = load_drivers([point("redis", "CacheDriver"), ours()])
    assert type(found["redis"]) is RedisDriver
    assert caplog.messages == [
        (
            "the engine 'redis' has a driver in each of the packages foreign, hamanager:"
            " hamanager's is used and no other; uninstall all but one"
        )
    ]


def test_of_two_others_with_one_name_none_is_used(caplog: pytest.LogCaptureFixture) -> None:
    both = [point("cache", "CacheDriver", "one"), point("cache", "CacheDriver", "two")]
    assert list(load_drivers([*both, ours()])) == ["redis"]
    assert caplog.messages == [
        (
            "the engine 'cache' has a driver in each of the packages one, two: none of them is"
            " used; uninstall all but one"
        )
    ]
    assert caplog.records[0].levelno == logging.ERROR
