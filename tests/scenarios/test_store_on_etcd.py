"""A manager whose store lies on a real etcd of three members, and what may happen to these."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hamanager import paths
from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.errors import HamanagerError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Role
from tests.support.etcd_cluster import EtcdCluster


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdCluster]:
    with EtcdCluster(tmp_path / "etcd", 3) as cluster:
        yield cluster


@pytest.fixture
def sandbox(etcd: EtcdCluster) -> Iterator[Sandbox]:
    with Sandbox(store_url=etcd.url) as made:
        made.command("create", "db", "--engine", "redis", "--instances", "2")
        made.wait_for_state("db", "running", 120, 2)
        yield made
        for member in etcd.members:
            member.signal(signal.SIGCONT)
        print(f"--- daemon log\n{made.daemon_log()[-20_000:]}")


@pytest.mark.long
def test_primary_killed_while_the_leader_of_etcd_hangs(etcd: EtcdCluster, sandbox: Sandbox) -> None:
    old, term = sandbox.primary("db").name, sandbox.record("db").term
    writer = sandbox.start_writer("db")
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > 50)
    hung = etcd.leader()
    hung.signal(signal.SIGSTOP)
    sandbox.container(old).kill()
    wait_for("a failover", 30, lambda: sandbox.primary("db").name != old)
    before = len(writer.acknowledged())
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > before + 50)
    hung.signal(signal.SIGCONT)
    sandbox.wait_until_in_step("db", term, 120)
    sandbox.wait_for_state("db", "running", 120, 2)
    writer.stop()
    told = sandbox.ask("history", "db")
    assert any("fail over" in entry["text"] or entry["playbook"] == "fail_over" for entry in told)
    assert [entry["at"] for entry in told] == sorted(entry["at"] for entry in told)


@pytest.mark.long
def test_etcd_is_away_and_the_databases_go_on(etcd: EtcdCluster, sandbox: Sandbox) -> None:
    """Nothing is promoted meanwhile; what has to be done is done when it is back."""
    old, members, service = sandbox.primary("db").name, sandbox.members("db"), sandbox.context("db")
    writer = sandbox.start_writer("db")
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > 50)
    for member in etcd.members:
        member.signal(signal.SIGSTOP)
    before = len(writer.acknowledged())
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > before + 1000)
    told = sandbox.run("info", "db")
    assert "cannot be used" in told.stdout + told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    writer.stop()
    new = next(target for target in members if target.name != old)
    sandbox.container(old).kill()
    with pytest.raises(HamanagerError):
        wait_for("a failover", 10, lambda: leads(sandbox, service, new))
    for member in etcd.members:
        member.signal(signal.SIGCONT)
    wait_for("a failover", 60, lambda: sandbox.primary("db").name != old)
    sandbox.wait_for_state("db", "running", 120, 2)
    assert "Traceback" not in sandbox.daemon_log()


@pytest.mark.long
def test_etcd_is_put_back_from_an_older_snapshot(
    etcd: EtcdCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    """While the manager runs: it does nothing more; and when it starts, before a person's word."""
    snapshot = tmp_path / "snapshot"
    etcd.ctl("snapshot", "save", str(snapshot), members=etcd.members[:1])
    old = sandbox.primary("db").name
    sandbox.container(old).kill()
    wait_for("a failover", 30, lambda: sandbox.primary("db").name != old)
    sandbox.wait_for_state("db", "running", 120, 2)
    new = sandbox.primary("db").name
    writer = sandbox.start_writer("db")
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > 50)
    etcd.restore(snapshot)
    wait_for("it to be told", 60, lambda: "has gone back" in said(sandbox, "info", "db"))
    before = len(writer.acknowledged())
    wait_for("writes", 20, lambda: len(writer.acknowledged()) > before + 50)
    writer.stop()
    sandbox.kill_daemon()
    assert "has gone back" in said(sandbox, "serve")
    assert "as it is now" in said(sandbox, "store", "accept")
    sandbox.start_daemon()
    wait_for(
        "info to say that the store is older",
        30,
        lambda: "the store is older than the servers" in sandbox.ask("info", "db")["message"],
    )
    sandbox.command("failover", "db", "--to", new, "--force")
    sandbox.wait_for_state("db", "running", 120, 2)
    assert sandbox.lost("db", writer) == 0


@pytest.mark.long
def test_from_etcd_to_a_file_and_back(etcd: EtcdCluster, sandbox: Sandbox) -> None:
    file = f"sqlite://{paths.database_path(sandbox.home)}"
    assert "is running" in said(sandbox, "store", "copy", "--from", etcd.url, "--to", file)
    primary, entries = sandbox.primary("db").name, len(sandbox.ask("history", "db"))
    end(sandbox)
    print(sandbox.command("store", "copy", "--from", etcd.url, "--to", file))
    assert "was copied to" in said(sandbox, "serve")
    sandbox.environment["HAMANAGER_STORE"] = ""
    sandbox.start_daemon()
    assert sandbox.ask("info", "db")["state"] == "running"
    assert len(sandbox.ask("history", "db")) >= entries
    end(sandbox)
    sandbox.environment["HAMANAGER_STORE"] = etcd.url
    assert "is not empty" in said(sandbox, "store", "copy", "--from", file, "--to", etcd.url)
    again = etcd.url + "-again"
    print(sandbox.command("store", "copy", "--from", file, "--to", again))
    assert "was copied to" in said(sandbox, "store", "copy", "--from", file, "--to", f"{again}-2")
    sandbox.environment["HAMANAGER_STORE"] = again
    sandbox.start_daemon()
    sandbox.container(primary).kill()
    wait_for("a failover", 30, lambda: sandbox.ask("info", "db")["term"] > 1)
    sandbox.wait_for_state("db", "running", 120, 2)


def leads(sandbox: Sandbox, service: ServiceContext, target: Target) -> bool:
    return sandbox.drivers[service.engine].probe(service, target).role is Role.PRIMARY


def end(sandbox: Sandbox) -> None:
    sandbox.kill_daemon()


def said(sandbox: Sandbox, *words: str) -> str:
    """What a command prints, whatever comes of it."""
    done = sandbox.run(*words)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr
