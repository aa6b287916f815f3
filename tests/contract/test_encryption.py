"""Servers that encrypt, each engine in one story: what the contract's replication does, what a
stranger gets, and other certificates while they run."""

from __future__ import annotations

import select
import time
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from hamanager.authority.certificates import Certified, Wanted, issue, new_authority
from hamanager.contracts.driver import Driver
from hamanager.errors import BusyError, ServerError
from hamanager.model.encryption import Encryption, identity
from hamanager.runtimes.docker.archive import launch_archive
from hamanager_drivers.mongodb.driver import MongoDBDriver
from hamanager_drivers.mysql.config import REPLICATOR
from hamanager_drivers.mysql.connections import connect
from hamanager_drivers.mysql.driver import MySQLDriver
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_testing.servers import TERMS, Server, encrypted, gateway
from hamanager_testing.standing import client, make_full_standby, rows, wait_for_same_rows, whole

INSECURE = 3159
"""MySQL: "Connections using insecure transport are prohibited"."""


@pytest.mark.parametrize(
    "engine", [MySQLDriver, RedisDriver, pytest.param(MongoDBDriver, marks=pytest.mark.long)]
)
def test_servers_encrypt_and_take_other_certificates_as_they_run(engine: type[Driver]) -> None:
    driver = encrypted(engine())
    with whole(driver, rows=5) as (old, [new, *more]):
        members = [old, new, *more]
        assert_keys_are_told_to_nobody(members)
        assert_strangers_are_asked_nothing(old)
        assert_nothing_goes_in_clear(old)
        if isinstance(driver, MySQLDriver):
            assert_mysql_accounts_are_refused_in_clear(old)
        if isinstance(driver, RedisDriver):
            assert_redis_replicates_nothing_in_clear(driver, old)
        assert driver.replication is not None
        driver.replication.hand_over(old.service, new.target, old.target, TERMS)
        with client(new) as writer:
            writer.write(6)
        for follower in (old, *more):
            make_full_standby(follower, new, members)
        wait_for_same_rows(members)

        take_another_authority(driver, members)
        old.kill()
        old.start_again()
        old.wait()
        make_full_standby(old, new, members)
        with client(new) as writer:
            writer.write(7)
        wait_for_same_rows(members)
        assert rows(old) == {0, 1, 2, 3, 4, 6, 7}

        wire = driver.open_tripwire(new.service, new.target)
        assert wire is not None
        with wire:
            # Nothing that TLS sends by itself looks like the server's end.
            assert select.select([wire], [], [], 1.0)[0] == []
            new.kill()
            assert select.select([wire], [], [], 5.0)[0] == [wire]


def assert_keys_are_told_to_nobody(members: list[Server[Driver]]) -> None:
    """Not by the container's description, its processes or its log."""
    for server in members:
        assert server.service.encryption is not None
        key = server.service.encryption.key.splitlines()[1]
        told = str(server.container.attrs) + str(server.container.top())
        assert key not in told
        assert key not in server.container.logs().decode(errors="replace")


def assert_strangers_are_asked_nothing(server: Server[Driver]) -> None:
    """A server of another authority, or of another service of the same."""
    own = server.service.encryption
    assert own is not None
    other = new_authority("another", time.time()).certificate
    believing = Encryption(trusted=other, certificate=own.certificate, key=own.key)
    for service in (
        replace(server.service, encryption=believing),
        replace(server.service, name="another"),
    ):
        server.driver.forget(server.target)
        # Alive, for all that can be known: it is no proof of a death.
        with pytest.raises(BusyError, match="shows a certificate that is not"):
            server.driver.probe(service, server.target)
    server.driver.forget(server.target)


def assert_nothing_goes_in_clear(server: Server[Driver]) -> None:
    """Neither the manager nor an application."""
    driver, plain = server.driver, replace(server.service, encryption=None)
    assert driver.workload is not None
    server.driver.forget(server.target)
    with pytest.raises(ServerError):
        driver.probe(plain, server.target)
    with pytest.raises(ServerError):
        driver.workload.open_writer(plain, server.target).write(999)
    server.driver.forget(server.target)


def assert_mysql_accounts_are_refused_in_clear(server: Server[Any]) -> None:
    """With the right password, before it was looked at: so a standby's, too."""
    secrets = server.service.secrets
    for user, password in (
        ("app", secrets["password"]),
        (REPLICATOR, secrets["replication_password"]),
        ("hamanager", secrets["manager_password"]),
    ):
        with pytest.raises(pymysql.MySQLError) as caught:
            connect(server.target, user, password, 2)
        assert caught.value.args[0] == INSECURE


def assert_redis_replicates_nothing_in_clear(driver: RedisDriver, primary: Server[Any]) -> None:
    """It never gets as far as a password."""
    plain = replace(primary.service, encryption=None)
    in_clear = Server(driver, plain, 7)
    try:
        in_clear.start().wait()
        driver.replication.attach(plain, in_clear.target, primary.target, ())
        for _ in range(15):
            assert not driver.probe(plain, in_clear.target).link_up
            time.sleep(0.1)
    finally:
        in_clear.remove()


def take_another_authority(driver: Driver, members: list[Server[Driver]]) -> None:
    """Trusted first, then shown, then alone: everywhere, step by step, as the manager does it."""
    assert driver.certificates is not None
    before = members[0].service.encryption
    assert before is not None
    other = new_authority("another", time.time())
    hosts = (identity("t"), gateway(members[0].client), "127.0.0.1", "localhost")
    made = issue(other, Wanted("t", hosts), time.time())
    old = Certified(before.certificate, before.key)
    both = before.trusted + other.certificate
    for trusted, shown in ((both, old), (both, made), (other.certificate, made)):
        later = replace(
            members[0].service,
            encryption=Encryption(trusted=trusted, certificate=shown.certificate, key=shown.key),
        )
        for server in members:
            launch = driver.launch_spec(later, server.target)
            only = {n: f for n, f in launch.files.items() if n in driver.certificates.file_names}
            server.container.put_archive("/", launch_archive(replace(launch, files=only)))
            driver.certificates.reload_certificates(server.service, server.target)
            server.service = later
            driver.probe(later, server.target)
    for server in members:
        driver.forget(server.target)
        driver.probe(server.service, server.target)
        driver.forget(server.target)
        with pytest.raises(BusyError):
            driver.probe(replace(server.service, encryption=before), server.target)
        driver.forget(server.target)
