"""Before each statement of a driver is asked whether it may still be sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

import pymysql
import pytest

from hamanager.contracts.assurance import assure, assured_by
from hamanager.errors import RefusedError, ServerError, StaleVersionError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb import connections as mongodb
from hamanager_drivers.mysql.connections import Session
from hamanager_drivers.redis import connections as redis

NOBODY = Target(name="db.0", host="127.0.0.1", port=1, serial=1)
SERVICE = ServiceContext("db", "e", None, {"manager_password": "p", "key": "k"})


def over() -> None:
    raise StaleVersionError("this manager's session is over")


def test_elsewhere_nothing_is_asked() -> None:
    assure()


def test_inside_it_is_asked_and_afterwards_no_more() -> None:
    with assured_by(over):
        with assured_by(lambda: None):
            assure()
        with pytest.raises(StaleVersionError):
            assure()
    assure()


def test_a_thread_asks_with_the_context_of_who_started_it() -> None:
    with ThreadPoolExecutor(1) as pool, assured_by(over):
        assert pool.submit(assure).exception() is None
        asked = pool.submit(copy_context().run, assure)
        assert isinstance(asked.exception(), StaleVersionError)


def test_mysql() -> None:
    class Reached:
        def cursor(self, kind: object) -> None:
            raise AssertionError("it was sent")

    session = Session(cast("pymysql.Connection[Any]", Reached()))
    with assured_by(over), pytest.raises(StaleVersionError):
        session.run("SET GLOBAL super_read_only = OFF")
    with pytest.raises(AssertionError):
        session.run("SET GLOBAL super_read_only = OFF")


def test_redis() -> None:
    client = redis.Connections().manager(SERVICE, NOBODY)
    transaction = client.pipeline(transaction=True)
    transaction.set("a", "b")
    for send in (lambda: client.replicaof("NO", "ONE"), transaction.execute):
        with assured_by(over), pytest.raises(StaleVersionError):
            send()
        with pytest.raises(RefusedError), redis.told_apart(NOBODY):
            send()


def test_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reached:
        client = {"admin": None}  # noqa: RUF012

        def await_server(self) -> None:
            return None

    def sent(*_: object) -> None:
        raise ServerError("it was sent")

    connections = mongodb.Connections()
    monkeypatch.setattr(connections, "_get", lambda *_: (Reached(), False))
    monkeypatch.setattr(mongodb, "_run", sent)
    with assured_by(over), pytest.raises(StaleVersionError):
        connections.command(SERVICE, NOBODY, {"replSetStepUp": 1})
    with pytest.raises(ServerError, match="it was sent"):
        connections.command(SERVICE, NOBODY, {"replSetStepUp": 1})
