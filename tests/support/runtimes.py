"""What the tests of the Docker runtime share. The servers are shell scripts in the Redis image:
what counts there is their processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import docker

from hamanager.contracts.runtime import Container, InstanceRef, LogLine
from hamanager.runtimes.docker.names import Names

MB = 1 << 20
REF = InstanceRef("db", "db.0")
SLEEP = "exec sleep 1000"
LISTEN = "exec redis-server --port 6000 --bind 0.0.0.0 --protected-mode no --save ''"
CLEAN_END = "trap 'echo ended cleanly; exit 0' TERM; echo up; while :; do sleep 0.05; done"


def with_script(container: Container, script: str) -> Container:
    return replace(container, launch=replace(container.launch, script=script))


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def inspect(client: docker.DockerClient, manager_id: str, ref: InstanceRef = REF) -> dict[str, Any]:
    found: dict[str, Any] = client.api.inspect_container(Names(manager_id).container(ref))
    return found


def run_inside(client: docker.DockerClient, manager_id: str, command: str) -> str:
    inside = client.containers.get(Names(manager_id).container(REF))
    output = inside.exec_run(["/bin/sh", "-c", command]).output
    assert isinstance(output, bytes)
    return output.decode()


def told(lines: Sequence[LogLine]) -> str:
    """A log as one text."""
    return "\n".join(line.text for line in lines)
