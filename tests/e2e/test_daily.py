"""`run`, `logs` and `list` on real servers."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from hamanager.chaos.sandbox import PROGRAM, Sandbox, wait_for

SECONDS = 30


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        made.command("create", "cache", "--engine", "redis", "--instances", "2", "--no-wait")
        made.command("create", "my-db", "--engine", "mysql")
        made.wait_for_state("cache", "running", SECONDS, instances=2)
        yield made


def run(sandbox: Sandbox, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "run", *words],
        env=sandbox.environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_command_with_credentials(sandbox: Sandbox) -> None:
    done = run(sandbox, "my-db", "--", "mysql", "-N", "-e", "SELECT DATABASE(), CURRENT_USER()")
    assert done.stdout.split() == ["my_db", "app@%"], done.stderr
    assert run(sandbox, "cache", "--", "redis-cli", "SET", "a", "1").stdout == "OK\n"


def test_standard_input_goes_to_the_shell(sandbox: Sandbox) -> None:
    table = "CREATE TABLE t (n INT PRIMARY KEY); INSERT INTO t VALUES (1), (2);"
    done = run(sandbox, "my-db", given=f"{table} SELECT SUM(n) FROM t;")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "3"


def test_the_exit_code_is_the_command_s(sandbox: Sandbox) -> None:
    done = run(sandbox, "my-db", "--", "mysql", "-e", "SELECT nonsense")
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert run(sandbox, "cache", "--", "sh", "-c", "exit 7").returncode == 7


def test_one_instance(sandbox: Sandbox) -> None:
    standby = next(t.name for t in sandbox.members("cache") if t != sandbox.primary("cache"))
    done = run(sandbox, standby, "--", "redis-cli", "SET", "a", "2")
    assert "READONLY" in done.stdout
    missing = run(sandbox, "cache.7")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1


def test_a_program_that_the_image_lacks(sandbox: Sandbox) -> None:
    done = run(sandbox, "cache", "--", "mysqldump")
    assert done.returncode == 127
    assert "the image has no mysqldump" in done.stderr


def test_no_secret_is_on_a_command_line_or_told_by_the_engine(sandbox: Sandbox) -> None:
    secrets = [
        *sandbox.context("my-db").secrets.values(),
        *sandbox.context("cache").secrets.values(),
    ]
    for service, command in (("my-db", ("mysql",)), ("cache", ("redis-cli",))):
        process = subprocess.Popen(
            [*PROGRAM, "run", service, "--", *command],
            env=sandbox.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        container = sandbox.container(sandbox.primary(service).name)
        try:

            def listed(container_id: str = container.id or "") -> list[str]:
                found = sandbox.docker.api.inspect_container(container_id)
                return list(found["ExecIDs"] or [])

            wait_for("the command to run", 10, lambda: bool(listed()))
            shown = subprocess.check_output(["ps", "axww"], text=True)
            shown += str([sandbox.docker.api.exec_inspect(number) for number in listed()])
            for secret in secrets:
                assert secret not in shown
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


WHERE = b"\x1b[6n"
"""Where is the cursor? Terminals answer that."""


def test_a_terminal(sandbox: Sandbox) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    process = subprocess.Popen(
        [*PROGRAM, "run", "cache"],
        env=sandbox.environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    asked, positions_told = False, 0
    deadline = time.monotonic() + SECONDS
    try:
        while b"PONG" not in seen and time.monotonic() < deadline:
            if not asked and b"> " in seen:
                os.write(master, b"PING\r")
                asked = True
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 4096)
            # A shell that starts before it was told the size asks the terminal for it.
            while seen.count(WHERE) > positions_told:
                os.write(master, b"\x1b[1;80R")
                positions_told += 1
        assert b"PONG" in seen, seen
        os.write(master, b"\x04")  # the end of input, as an operator's Ctrl-D
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
        os.close(master)


def test_logs(sandbox: Sandbox) -> None:
    told = sandbox.command("logs", "cache", "-n", "20")
    assert "cache.0 | " in told
    assert "cache.1 | " in told
    one = sandbox.command("logs", "cache.0", "-n", "3")
    assert len(one.splitlines()) == 3
    assert " | " not in one.split(" ")[0]
    wrong = sandbox.run("logs", "cache.9")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_logs_are_followed_through_a_restart(sandbox: Sandbox) -> None:
    standby = next(t.name for t in sandbox.members("cache") if t != sandbox.primary("cache"))
    path = sandbox.home / "followed"
    with path.open("w") as file:
        process = subprocess.Popen(
            [*PROGRAM, "logs", "cache", "-f"], env=sandbox.environment, stdout=file
        )
    try:
        wait_for("the first lines", 10, lambda: f"{standby} | " in path.read_text())
        before = path.read_text().count("Server initialized")
        sandbox.command("restart", standby)
        wait_for(
            "the lines of the new process",
            10,
            lambda: path.read_text().count("Server initialized") > before,
        )
    finally:
        process.terminate()
        process.wait(10)
    lines = [line for line in path.read_text().splitlines() if "DB loaded" in line]
    assert len(lines) == len(set(lines)), "none is told twice"


def test_the_list(sandbox: Sandbox) -> None:
    lines = sandbox.command("list").splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "INSTANCES", "STATE", "MEMORY"]
    assert [line.split()[:2] for line in lines[1:]] == [["cache", "redis"], ["my-db", "mysql"]]


def test_completion(sandbox: Sandbox) -> None:
    def completed(line: str) -> list[str]:
        done = subprocess.run(
            PROGRAM,
            env={
                **sandbox.environment,
                "_HAMANAGER_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split(" ")) - 1),
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.stdout.split()

    assert "switchover" in completed("hamanager sw")
    assert completed("hamanager info my") == ["my-db"]
    assert completed("hamanager logs cache.") == ["cache.0", "cache.1"]
    assert completed("hamanager scale cache:m") == ["cache:memory="]
