"""The commands from another machine, by token and by certificate, and a service that encrypts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml

from hamanager.chaos.sandbox import PROGRAM, Sandbox, wait_for
from hamanager.model.host import Host
from hamanager.stores.repository import host_key
from hamanager_testing.servers import free_port, gateway


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    client = docker.from_env()
    address = gateway(client)
    client.close()
    at = f"{address}:{free_port(address)}"
    with Sandbox(serve_options=["--listen", at]) as running:
        # With a host on record new services encrypt.
        here = Host(name="here", docker="unix:///var/run/docker.sock", address=address)
        running.store.put(host_key("here"), here.model_dump_json(), 0)
        running.environment["SANDBOX_API"] = f"https://{at}"
        yield running
        print(running.daemon_log()[-20_000:])


class Elsewhere:
    """A machine that has nothing of the manager's but what an operator was given."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self.url = sandbox.environment["SANDBOX_API"]
        self.environment = {
            **sandbox.environment,
            "HAMANAGER_HOME": str(directory / "none"),
            "HAMANAGER_MANAGER": f"https://127.0.0.1:9,{self.url}",
            "HAMANAGER_CA": str(directory / "ca.pem"),
        }
        (directory / "ca.pem").write_text(sandbox.command("ca", "show"))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_an_encrypted_service_by_commands_from_another_machine(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(sandbox, tmp_path)
    wait_for("the API to be offered", 20, lambda: "is offered at" in sandbox.daemon_log())
    refused = elsewhere.run("info")
    assert refused.returncode == 1
    assert "lets nobody in without proof" in refused.stderr
    token = tmp_path / "token"
    token.write_text(sandbox.command("token", "create", "ops", "--role", "operate"))
    elsewhere.environment["HAMANAGER_TOKEN_FILE"] = str(token)

    made = elsewhere.run("create", "db", "--engine", "redis", "--instances", "2")
    assert made.returncode == 0, made.stderr
    assert "db.1: up" in made.stdout
    assert yaml.safe_load(elsewhere.run("info", "db").stdout)["state"] == "running"
    assert "token ops asked: create db" in sandbox.command("history", "db")
    url = elsewhere.run("url", "db").stdout.strip()
    assert url.startswith("rediss://")
    assert url.endswith("?ssl_ca_certs=ca.pem")
    assert "OK" in sandbox.command("run", "db", "--", "redis-cli", "--tls", "--cacert",
                                   "/hamanager/etc/ca.pem", "SET", "a", "1")  # fmt: skip
    destroy = elsewhere.run("destroy", "db", "--yes")
    assert "this takes 'admin'; nothing was changed" in destroy.stderr

    before = sandbox.ask("info", "db")["primary"]
    sandbox.container(before).kill()
    wait_for("the other one to lead", 20, lambda: sandbox.ask("info", "db")["primary"] != before)
    wait_for("both to be up", 60, lambda: sandbox.ask("info", "db")["state"] == "running")


def test_a_certificate_watches_and_the_token_is_in_no_process_list(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    elsewhere = Elsewhere(sandbox, tmp_path)
    sandbox.command("ca", "issue", "viewer", "--role", "read", "--directory", str(tmp_path))
    elsewhere.environment["HAMANAGER_CERT"] = str(tmp_path / "viewer.pem")
    elsewhere.environment["HAMANAGER_KEY"] = str(tmp_path / "viewer.key")
    with subprocess.Popen(
        [*PROGRAM, "info", "--watch"],
        env=elsewhere.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert "TYPE" in watching.stdout.readline().upper()
        words = Path(f"/proc/{watching.pid}/cmdline").read_text().split("\0")
        assert words[-3:] == ["info", "--watch", ""]
        watching.terminate()


@pytest.mark.long
def test_a_change_of_the_authority_under_a_running_service(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nobody is restarted, nobody is turned away; in the end the former one counts nowhere."""
    sandbox.command("create", "turn", "--engine", "redis", "--instances", "2")
    started = {
        name: sandbox.container(name).attrs["State"]["StartedAt"] for name in ("turn.0", "turn.1")
    }
    before = Elsewhere(sandbox, tmp_path)
    token = tmp_path / "token"
    token.write_text(sandbox.command("token", "create", "turner", "--role", "admin"))
    before.environment["HAMANAGER_TOKEN_FILE"] = str(token)
    assert "trusted beside" in before.run("ca", "rotate").stdout
    assert "does not sign yet" in before.run("ca", "rotate", "--finish").stderr
    wait_for(
        "the new authority to sign",
        120,
        lambda: "the new authority signs" in sandbox.command("ca", "show", "--text"),
    )
    (tmp_path / "ca.pem").write_text(sandbox.command("ca", "show"))
    wait_for(
        "the change to be finished",
        120,
        lambda: before.run("ca", "rotate", "--finish").returncode == 0,
    )
    after = tmp_path / "after"
    after.mkdir()
    elsewhere = Elsewhere(sandbox, after)
    elsewhere.environment["HAMANAGER_TOKEN_FILE"] = str(token)
    wait_for("the listener to follow", 30, lambda: elsewhere.run("list").returncode == 0)
    assert sandbox.ask("info", "turn")["state"] == "running"
    for name, at in started.items():
        assert sandbox.container(name).attrs["State"]["StartedAt"] == at
    # Whoever connects from now on sees the new certificates.
    primary = sandbox.ask("info", "turn")["primary"]
    sandbox.container(primary).kill()
    wait_for("the other one to lead", 30, lambda: sandbox.ask("info", "turn")["primary"] != primary)
    wait_for("both to be up", 90, lambda: sandbox.ask("info", "turn")["state"] == "running")
