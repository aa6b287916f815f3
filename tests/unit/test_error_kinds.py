"""Which errors do not pass by themselves, as those who raise them know."""

from __future__ import annotations

import pymysql
import pytest
import redis
import requests
from docker.errors import APIError
from pymongo.errors import OperationFailure

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager.runtimes.docker.engine import failed
from hamanager_drivers.mongodb import connections as mongodb
from hamanager_drivers.mysql.connections import in_words
from hamanager_drivers.redis import connections as redis_connections

TARGET = Target("db.0", "10.0.0.1", 20001, 0)
SERVICE = ServiceContext("db", "mysql", None, {"manager_password": "secret"})


def api_error(status: int, words: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(words, response=response, explanation=words)


@pytest.mark.parametrize(
    ("status", "words", "permanent"),
    [
        (500, "write /var/lib/docker/tmp: no space left on device", True),
        (400, 'exec: "mysqld": executable file not found in $PATH', True),
        (500, "driver failed programming external connectivity: address already in use", False),
        (409, "the container is being removed", False),
        (404, "No such container", False),
    ],
)
def test_the_runtime(status: int, words: str, permanent: bool) -> None:
    assert failed("start db.0", api_error(status, words)).permanent is permanent


@pytest.mark.parametrize(
    ("number", "permanent"),
    [(1021, True), (1205, False), (1040, False), (1045, False), (2013, False)],
)
def test_mysql(number: int, permanent: bool) -> None:
    error = in_words(TARGET, SERVICE, pymysql.OperationalError(number, "words"))
    assert error.permanent is permanent


@pytest.mark.parametrize(
    ("words", "permanent"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", True),
        ("NOREPLICAS Not enough good replicas to write.", False),
        ("BUSY a script runs", False),
    ],
)
def test_redis(words: str, permanent: bool) -> None:
    with pytest.raises(ServerError) as caught, redis_connections.told_apart(TARGET):
        raise redis.ResponseError(words)
    assert caught.value.permanent is permanent


@pytest.mark.parametrize(("code", "permanent"), [(14031, True), (93, False), (18, False)])
def test_mongodb(code: int, permanent: bool) -> None:
    with pytest.raises(ServerError) as caught, mongodb.told_apart(TARGET):
        raise OperationFailure("words", code)
    assert caught.value.permanent is permanent
