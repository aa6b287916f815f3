"""The API over TLS, on real sockets: who gets in, and what the command line says otherwise."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hamanager.authority.authority import Authority
from hamanager.authority.certificates import Certified, Wanted, described, issue, new_authority
from hamanager.cli import progress as waiting
from hamanager.cli.main import app
from hamanager.contracts.clock import SystemClock
from hamanager.daemon import remote
from hamanager.daemon.certificates import Certificates
from hamanager.daemon.remote import Listen, RemoteApi, offering
from hamanager.daemon.tokens import Tokens
from hamanager.errors import ConflictError, UsageError
from hamanager.model.access import AccessRole
from tests.unit.fakes import FakeManager

Run = Callable[..., Result]
DAY = 86400.0


class Machine:
    """A manager that listens, and the files of whoever asks it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.manager = FakeManager()
        self.manager.authority = Authority(self.manager.store, SystemClock())
        self.manager.certificates = Certificates(
            self.manager.store, self.manager.authority, SystemClock()
        )
        self.manager.tokens = Tokens(self.manager.store, SystemClock())
        self.api = self.listen()
        self.url = f"https://127.0.0.1:{self.api.port}"
        self.ca = self.file("ca.pem", self.manager.authority.trust().bundle)
        self.token = self.file("token", self.manager.tokens.create("ops", AccessRole.ADMIN))

    def listen(self, own: Certified | None = None) -> RemoteApi:
        """Another listener of the same manager."""
        listen = Listen.at("127.0.0.1:0", own=own)
        listener = self.stack.enter_context(offering(listen))
        assert listener is not None
        made = RemoteApi(listen, listener, self.manager, SystemClock(), self.directory)
        return self.stack.enter_context(made)

    def connected(self, plain: socket.socket) -> ssl.SSLSocket:
        """That connection, encrypted; nothing was asked on it yet."""
        trusted = self.manager.authority.trust().bundle
        context = ssl.create_default_context(cadata=trusted)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def ask(self, connection: ssl.SSLSocket) -> bytes:
        """The answer, an object."""
        connection.sendall(b"GET /v1/services HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            more = connection.recv(65536)
            assert more, answer
            answer += more
        return answer

    def file(self, name: str, text: str) -> Path:
        """That text in a file."""
        path = self.directory / name
        path.write_text(text)
        return path

    def pair(self, made: Certified) -> list[str]:
        """The options for that certificate."""
        cert, key = self.file("client.pem", made.certificate), self.file("client.key", made.key)
        return ["--cert", str(cert), "--key", str(key)]

    def run(self, *words: str, **options: object) -> Result:
        """A command as somebody on another machine gives it; options as named."""
        given = {"manager": self.url, "token_file": self.token, "ca": self.ca, **options}
        named = [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if value]
        return CliRunner().invoke(app, [*named, *words], prog_name="hamanager")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    for what in ("MANAGER", "TOKEN_FILE", "CA", "CERT", "KEY"):
        monkeypatch.delenv(f"HAMANAGER_{what}", raising=False)
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path / "nothing-here"))
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.05)
    with ExitStack() as stack:
        yield Machine(tmp_path, stack)


def sentence(result: Result) -> str:
    """The one that is printed."""
    assert result.exit_code in (1, 2), result.output
    [line] = result.stderr.strip().splitlines()
    return line


def test_commands_from_another_machine_wait_and_show_progress(machine: Machine) -> None:
    machine.manager.steps = [lambda: None, lambda: None, lambda: machine.manager.fulfil("db")]
    result = machine.run("create", "db", "--engine", "redis")
    assert result.exit_code == 0, result.output
    assert result.output == "db.0: up\ndb: running, 1 of 1 instance up (db.0 primary)\n"
    told = machine.run("history", "db")
    assert "token ops asked: create db" in told.output


def test_a_certificate_with_a_role_lets_in(machine: Machine) -> None:
    made = machine.manager.authority.issue(Wanted("laptop", role=AccessRole.READ))
    client = machine.pair(made)
    result = CliRunner().invoke(
        app, [f"--manager={machine.url}", f"--ca={machine.ca}", *client, "list"]
    )
    assert result.exit_code == 0, result.output
    refused = CliRunner().invoke(
        app, [f"--manager={machine.url}", f"--ca={machine.ca}", *client, "pause", "db"]
    )
    assert sentence(refused) == (
        "hamanager: certificate laptop has the role 'read' and this takes 'operate'; nothing was"
        " changed"
    )


def test_a_servers_certificate_lets_nobody_in(machine: Machine) -> None:
    made = machine.manager.authority.issue(Wanted("etcd-1", hosts=("10.0.0.1",)))
    client = machine.pair(made)
    result = CliRunner().invoke(
        app, [f"--manager={machine.url}", f"--ca={machine.ca}", *client, "list"]
    )
    assert "the certificate of 'etcd-1' carries no role" in sentence(result)


@pytest.mark.parametrize("expired", [False, True], ids=["of another authority", "expired"])
def test_a_certificate_that_counts_nowhere(machine: Machine, expired: bool) -> None:
    wanted = Wanted("laptop", role=AccessRole.ADMIN, days=1)
    if expired:
        signer = machine.manager.authority.trust().signer.certified
        made = issue(signer, wanted, time.time() - 2 * DAY)
    else:
        made = issue(new_authority("somebody else's", time.time()), wanted, time.time())
    result = CliRunner().invoke(
        app, [f"--manager={machine.url}", f"--ca={machine.ca}", *machine.pair(made), "list"]
    )
    told = sentence(result)
    assert "our certificate" in told or "does not let this certificate in" in told


def test_tokens_that_do_not_count(machine: Machine) -> None:
    assert sentence(machine.run("list", token_file=None)) == (
        "hamanager: the manager lets nobody in without proof of who it is: name a token"
        " (--token-file) or a certificate (--cert, --key)"
    )
    machine.manager.tokens.revoke("ops")
    assert "the token 'ops' is unknown here, or was revoked" in sentence(machine.run("list"))
    absent = machine.directory / "absent"
    assert f"the file {absent} holds no token" in sentence(machine.run("list", token_file=absent))


def test_a_manager_of_another_authority_hears_no_token(machine: Machine) -> None:
    other = machine.file("other.pem", new_authority("other", time.time()).certificate)
    assert sentence(machine.run("list", ca=other)) == (
        f"hamanager: {machine.url} shows a certificate of an authority that is not trusted here:"
        " name the installation's with --ca (`hamanager ca show` prints it there); nothing was"
        " asked of it"
    )
    assert "is not trusted here" in sentence(machine.run("list", ca=None))


def test_a_listeners_certificate_that_has_expired_or_is_for_another_host(machine: Machine) -> None:
    signer = machine.manager.authority.trust().signer.certified
    old = issue(signer, Wanted("m", ("127.0.0.1",), days=1), time.time() - 2 * DAY)
    url = f"https://127.0.0.1:{machine.listen(old).port}"
    assert "a certificate that has expired" in sentence(machine.run("list", manager=url))
    elsewhere = issue(signer, Wanted("m", ("10.9.9.9",)), time.time())
    url = f"https://127.0.0.1:{machine.listen(elsewhere).port}"
    told = sentence(machine.run("list", manager=url))
    assert "that is not made out to that name or address" in told


def test_the_next_manager_is_asked_when_one_is_away_or_silent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamanager.api.reach.CONNECT_SECONDS", 0.3)
    with socket.socket() as closed, socket.socket() as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        others = [f"https://127.0.0.1:{s.getsockname()[1]}" for s in (closed, silent)]
        assert machine.run("list", manager=",".join([*others, machine.url])).exit_code == 0
        created = machine.run(
            "create", "db", "--engine=redis", "--no-wait", manager=f"{others[1]},{machine.url}"
        )
        assert created.exit_code == 0, created.output
        told = sentence(machine.run("list", manager=",".join(others)))
        assert told.startswith(f"hamanager: none of the managers {', '.join(others)} answers; ")


def test_what_may_have_been_accepted_is_asked_of_nobody_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.run("create", "db", "--engine=redis", "--no-wait")

    def slowly(*_: object, **__: object) -> None:
        time.sleep(1.0)

    monkeypatch.setattr(machine.manager.commands, "pause", slowly)
    monkeypatch.setattr("hamanager.api.client.ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("hamanager.api.client.Client._ask.__defaults__", (None, 0.3))
    second = f"https://127.0.0.1:{machine.listen().port}"
    told = sentence(machine.run("pause", "db", manager=f"{machine.url},{second}"))
    assert told.startswith(f"hamanager: the daemon at {machine.url} did not answer in time")


def test_a_plain_http_address_and_one_that_speaks_no_tls(machine: Machine) -> None:
    told = sentence(machine.run("list", manager="http://127.0.0.1:7432"))
    assert "write https://HOST:PORT" in told


@pytest.mark.parametrize("command", [["run", "db"], ["drill", "db", "--fault", "kill"]])
def test_what_needs_the_managers_machine_says_so(machine: Machine, command: list[str]) -> None:
    told = sentence(machine.run(*command))
    assert "use it there, without --manager and HAMANAGER_MANAGER; nothing was done" in told


def test_tokens_and_certificates_by_command(machine: Machine) -> None:
    text = machine.run("token", "create", "ci", "--role", "read").output.strip()
    reader = machine.file("reader", text)
    assert machine.run("list", token_file=reader).exit_code == 0
    assert "ci  read  since" in machine.run("token", "list").output
    refused = machine.run("token", "create", "x", "--role", "read", token_file=reader)
    assert "has the role 'read' and this takes 'admin'" in sentence(refused)
    assert machine.run("token", "revoke", "ci").output == "ci: revoked\n"
    assert machine.run("ca", "show").output == machine.ca.read_text()
    issued = machine.run("ca", "issue", "etcd-1", "--host", "10.0.0.1", "--directory",
                         str(machine.directory))  # fmt: skip
    assert issued.exit_code == 0, issued.output
    found = described((machine.directory / "etcd-1.pem").read_text())
    assert (found.name, found.hosts, found.role) == ("etcd-1", ("10.0.0.1",), None)
    assert (machine.directory / "etcd-1.key").stat().st_mode & 0o777 == 0o600
    nothing = machine.run("ca", "issue", "x", "--directory", str(machine.directory))
    assert "what is the certificate for?" in sentence(nothing)


def test_a_new_authority_is_served_side_by_side_until_it_is_finished(machine: Machine) -> None:
    first = machine.manager.authority.trust().signer.certificate
    assert "is trusted beside" in machine.run("ca", "rotate").output
    found = machine.run("list")
    assert found.exit_code == 0, found.output
    refused = machine.run("ca", "rotate", "--finish")
    assert "the new authority does not sign yet" in sentence(refused)
    machine.manager.authority.sign_anew()
    machine.file("ca.pem", machine.run("ca", "show").output)
    _wait(lambda: _signer(machine) not in (first, ""))
    machine.file("ca.pem", machine.manager.authority.trust().bundle)
    assert machine.run("ca", "rotate", "--finish").exit_code == 0
    old = machine.file("old.pem", first)
    _wait(lambda: "is not trusted here" in machine.run("list", ca=old).output)
    machine.file("ca.pem", machine.manager.authority.trust().bundle)
    assert machine.run("list").exit_code == 0


def test_whoever_comes_while_the_authority_changes_is_not_turned_away(machine: Machine) -> None:
    earlier = socket.create_connection(("127.0.0.1", machine.api.port), 5)
    asked = machine.connected(socket.create_connection(("127.0.0.1", machine.api.port), 5))
    assert machine.ask(asked).startswith(b"HTTP/1.1 401")
    first = machine.manager.authority.trust().signer.certificate
    machine.run("ca", "rotate")
    machine.manager.authority.sign_anew()
    _wait(lambda: _signer(machine) not in (first, ""))
    with machine.connected(earlier) as connection:
        assert machine.ask(connection).startswith(b"HTTP/1.1 401")
    assert asked.recv(1) == b"", "what was let in by the former authority has to come anew"


def test_a_connection_of_before_cannot_be_kept_for_later(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "GRACE_SECONDS", 0.1)
    silent = machine.connected(socket.create_connection(("127.0.0.1", machine.api.port), 5))
    machine.run("ca", "rotate")
    assert silent.recv(1) == b""


def test_the_address_is_taken(machine: Machine) -> None:
    taken = Listen.at(f"127.0.0.1:{machine.api.port}")
    with pytest.raises(ConflictError, match="nothing was started"), offering(taken):
        pass
    for wrong in ("7432", "host:", "host:70000", "host:x"):
        with pytest.raises(UsageError, match="is no address to listen at"):
            Listen.at(wrong)


def _signer(machine: Machine) -> str:
    """The authority whose certificate the listener shows now."""
    for certificate in machine.manager.authority.trust().bundle.split("-----END CERTIFICATE-----"):
        if not certificate.strip():
            continue
        context = ssl.create_default_context(cadata=certificate + "-----END CERTIFICATE-----\n")
        try:
            plain = socket.create_connection(("127.0.0.1", machine.api.port), 5)
            with plain, context.wrap_socket(plain, server_hostname="127.0.0.1"):
                return certificate.lstrip() + "-----END CERTIFICATE-----\n"
        except OSError:
            continue
    return ""


def _wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
