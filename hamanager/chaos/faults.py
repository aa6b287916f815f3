"""Failures injected into the containers of one installation, each of which can be undone.

Used by drills, scenario tests and soaks, on the machine of the Docker engine. Packet filters are
set from the host in the network namespace of a container, so the container needs no tools and no
rights, and knows nothing about it. A fault in a process or its network ends with that process: one
that is started again afterwards is awake and well connected.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.errors import HamanagerError, NotFoundError
from hamanager.runtimes.docker.engine import Engine
from hamanager.runtimes.docker.names import INSTANCE, MANAGER

COMMAND_SECONDS = 10
LOCK_SECONDS = 5
"""How long `iptables` waits for others who change the rules."""
SLOW_SHARE = 0.05
PERIOD_MICROSECONDS = 100_000
NO_QUOTA = -1
FILL_NAME = "drill.fill"
REMARK = "hamanager-fault"
"""What every packet filter rule carries, so that an operator can find one that was left behind."""


class Faults:
    """Use as a context manager, or call `heal` at the end. An instance is named as in `info`."""

    def __init__(self, client: docker.DockerClient, installation_id: str) -> None:
        self._engine = Engine(client)
        self._installation_id = installation_id
        self._undo: dict[tuple[str, str], Callable[[], None]] = {}

    def __enter__(self) -> Faults:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.heal()

    def heal(self) -> None:
        """Undo whatever is still in force.

        Raises:
            HamanagerError: what could not be undone; everything else was.
        """
        problems = []
        for key in reversed(list(self._undo)):
            try:
                self._lift(*key)
            except HamanagerError as error:
                problems.append(str(error))
        if problems:
            raise HamanagerError("; ".join(problems))

    def look_for(self, instance: str) -> None:
        """See that it can be broken from here.

        Raises:
            NotFoundError: it runs on another machine, or not at all.
        """
        try:
            self._container(instance)
        except NotFoundError:
            raise NotFoundError(
                f"{instance} has no container on this machine, and it is broken on its own:"
                " use the manager that runs there; nothing was done"
            ) from None

    # --- The process -------------------------------------------------------------------------

    def kill(self, instance: str) -> None:
        """SIGKILL; returns when the process is gone."""
        container = self._container(instance)
        with self._engine.asked_to(f"kill {instance}"), contextlib.suppress(APIError):
            container.kill()  # refused when it has ended already

    def restart(self, instance: str) -> None:
        """Killed, and started again at once by somebody else, as by a supervisor."""
        container = self._container(instance)
        with self._engine.asked_to(f"restart {instance}"):
            container.kill()
            with contextlib.suppress(NotFound):  # the manager was quicker and made a new one
                container.start()

    def terminate(self, instance: str) -> None:
        """SIGTERM to its container's process, by somebody who thinks nothing of it."""
        container = self._container(instance)
        with self._engine.asked_to(f"end {instance}"), contextlib.suppress(APIError):
            container.kill(signal="SIGTERM")

    def stop(self, instance: str) -> None:
        """What `docker stop` does; returns when the process has ended."""
        container = self._container(instance)
        with self._engine.asked_to(f"stop {instance}"), contextlib.suppress(APIError):
            container.stop()

    def hang(self, instance: str) -> None:
        """SIGSTOP to all of its processes."""
        self._undo["hang", instance] = lambda: self._signal_all(instance, signal.SIGCONT)
        self._signal_all(instance, signal.SIGSTOP)

    def wake(self, instance: str) -> None:
        """SIGCONT."""
        self._lift("hang", instance)

    def slow(self, instance: str) -> None:
        """A few per cent of one CPU."""
        container = self._container(instance)
        with self._engine.asked_to(f"slow {instance} down"):
            _limit_cpu(container, int(SLOW_SHARE * PERIOD_MICROSECONDS))

        def undo() -> None:
            with self._engine.asked_to(f"give {instance} its CPU back"), _ended_is_fine():
                _limit_cpu(self._container(instance), NO_QUOTA)

        self._undo["slow", instance] = undo

    def quicken(self, instance: str) -> None:
        """All the CPU it had."""
        self._lift("slow", instance)

    # --- The network -------------------------------------------------------------------------

    def cut_off(self, instance: str) -> None:
        """Drop every packet from and to it."""
        self._filter(
            ("cut_off", instance),
            instance,
            ("INPUT", "!", "-i", "lo"),
            ("OUTPUT", "!", "-o", "lo"),
        )

    def reconnect(self, instance: str) -> None:
        """End that."""
        self._lift("cut_off", instance)

    def cut_link(self, instance: str, *ports: int) -> None:
        """Drop what it sends to the published ports of another instance; others still reach
        both."""
        rules = [("OUTPUT", "-p", "tcp", "--dport", str(port)) for port in ports]
        self._filter(("cut_link", f"{instance} {ports}"), instance, *rules)

    def mend_link(self, instance: str, *ports: int) -> None:
        """End that."""
        self._lift("cut_link", f"{instance} {ports}")

    def deafen(self, instance: str, *ports: int) -> None:
        """Drop what it gets from the published ports of another instance: its own packets arrive
        there, and the connection seems to be up for a while."""
        rules = [("INPUT", "-p", "tcp", "--sport", str(port)) for port in ports]
        self._filter(("deafen", f"{instance} {ports}"), instance, *rules)

    def undeafen(self, instance: str, *ports: int) -> None:
        """End that."""
        self._lift("deafen", f"{instance} {ports}")

    def cut_manager(self, *ports: int) -> None:
        """Drop what processes of the host send to those published ports: the manager and clients on
        its machine. The other instances go on reaching it.

        They come in through the bridge, where only the replies to them pass OUTPUT; and the rule
        stands before the translation of addresses, so it sees the published port, not the
        container's own.
        """
        for port in ports:
            rule = ("OUTPUT", "-p", "tcp", "--dport", str(port))
            self._lift("cut_manager", str(port))
            _iptables((), "raw", "-I", rule, self._remark)
            self._undo["cut_manager", str(port)] = partial(
                _iptables, (), "raw", "-D", rule, self._remark
            )

    def mend_manager(self, *ports: int) -> None:
        """End that."""
        for port in ports:
            self._lift("cut_manager", str(port))

    def disconnect(self, instance: str) -> None:
        """Take it off its Docker network, as pulling its cable would: connections break, and its
        published port refuses."""
        container = self._container(instance)
        names = list(container.attrs["NetworkSettings"]["Networks"])
        with self._engine.asked_to(f"disconnect {instance}") as client:
            for name in names:
                client.networks.get(name).disconnect(container)

        def undo() -> None:
            with self._engine.asked_to(f"connect {instance}") as client, _ended_is_fine():
                found = self._container(instance)
                for name in set(names) - set(found.attrs["NetworkSettings"]["Networks"]):
                    client.networks.get(name).connect(found)

        self._undo["disconnect", instance] = undo

    def connect(self, instance: str) -> None:
        """Put it back; its published port is the same as before."""
        self._lift("disconnect", instance)

    # --- The disk ----------------------------------------------------------------------------

    def fill_disk(self, instance: str) -> None:
        """Leave not one block on its data volume, which has to be a filesystem of its own."""
        path = self.small_disk(instance) / FILL_NAME

        def undo() -> None:
            path.unlink(missing_ok=True)

        self._undo["fill_disk", instance] = undo
        try:
            with path.open("wb") as file:
                _fill(file)
        except OSError as error:
            raise HamanagerError(f"{path} could not be written: {error.strerror}") from error

    def free_disk(self, instance: str) -> None:
        """Make room again."""
        self._lift("fill_disk", instance)

    def small_disk(self, instance: str) -> Path:
        """Where the data volume of an instance lies on this machine.

        Raises:
            HamanagerError: it is not a filesystem of its own: to fill it would fill the disk of
                the whole machine.
        """
        mounts = self._container(instance).attrs["Mounts"]
        [found] = [m for m in mounts if m["Destination"] == DATA_DIRECTORY]
        path = Path(found["Source"])
        with self._engine.asked_to("name its data directory") as client:
            root = Path(client.info()["DockerRootDir"])
        try:
            shared = path.stat().st_dev == root.stat().st_dev
        except OSError as error:
            raise HamanagerError(
                f"the volume of {instance} cannot be looked at ({error.strerror}): its disk is"
                " filled as root, on the machine of the Docker engine; nothing was changed"
            ) from error
        if shared:
            raise HamanagerError(
                f"the volume {found['Name']} of {instance} lies on the disk of the whole machine,"
                " which is not filled: before the service is created make it with `docker volume"
                f" create --label {MANAGER}={self._installation_id} --opt type=tmpfs"
                f" --opt device=tmpfs --opt o=size=700m {found['Name']}` and let a container hold"
                " it mounted; nothing was changed"
            )
        return path

    # --- Parts -------------------------------------------------------------------------------

    @property
    def _remark(self) -> str:
        return f"{REMARK} {self._installation_id}"

    def _lift(self, kind: str, what: str) -> None:
        undo = self._undo.pop((kind, what), None)
        if undo is not None:
            undo()

    def _filter(self, key: tuple[str, str], instance: str, *rules: tuple[str, ...]) -> None:
        """Drop packets in the namespace of an instance; the rules are gone with its process."""
        self._lift(*key)
        pid = self._pid(instance)
        if not pid:
            raise HamanagerError(f"{instance} does not run, so it cannot be cut off")
        into = ("nsenter", "-t", str(pid), "-n")
        done: list[tuple[str, ...]] = []

        def undo() -> None:
            try:
                while done and self._pid(instance) == pid:
                    _iptables(into, "filter", "-D", done[-1], self._remark)
                    done.pop()
            except HamanagerError:
                if self._pid(instance) == pid:  # else it ended in this very moment
                    raise

        self._undo[key] = undo
        for rule in rules:
            _iptables(into, "filter", "-I", rule, self._remark)
            done.append(rule)

    def _signal_all(self, instance: str, number: signal.Signals) -> None:
        """To the container's first process last, so that it does not see the others stop."""
        with self._engine.asked_to(f"signal {instance}"), _ended_is_fine(APIError):
            listed = self._container(instance).top(ps_args="-o pid")["Processes"]
            for (pid,) in reversed(listed):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), number)

    def _pid(self, instance: str) -> int:
        """On the host; 0 when there is none."""
        try:
            return int(self._container(instance).attrs["State"]["Pid"])
        except NotFoundError:
            return 0

    def _container(self, instance: str) -> Container:
        labels = [f"{MANAGER}={self._installation_id}", f"{INSTANCE}={instance}"]
        with self._engine.asked_to(f"look for {instance}") as client:
            found = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        if not found:
            raise NotFoundError(f"{instance} has no container; nothing was changed")
        return found[0]


def _ended_is_fine(refusal: type[APIError] = NotFound) -> contextlib.suppress:
    """What was removed (or has ended) meanwhile took the fault with it."""
    return contextlib.suppress(refusal, NotFoundError)


def _limit_cpu(container: Container, quota_microseconds: int) -> None:
    container.update(cpu_period=PERIOD_MICROSECONDS, cpu_quota=quota_microseconds)


def _fill(file: BinaryIO) -> None:
    """Until a single block cannot be had any more."""
    room = os.fstatvfs(file.fileno())
    size = 0
    for block in (room.f_bavail * room.f_frsize, 1 << 20, room.f_frsize):
        with contextlib.suppress(OSError):
            for _ in range(1 << 10):
                os.posix_fallocate(file.fileno(), size, max(block, 1))
                size += block


def _iptables(
    into: tuple[str, ...], table: str, change: str, rule: tuple[str, ...], remark: str
) -> None:
    chain, *matches = rule
    words = (*into, "iptables", "-w", str(LOCK_SECONDS), "-t", table, change, chain, *matches)
    words += ("-m", "comment", "--comment", remark, "-j", "DROP")
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise HamanagerError(
            f"{words[0]} is not installed: packets are dropped with nsenter and iptables"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HamanagerError(f"`{' '.join(words)}` took more than {COMMAND_SECONDS} s") from error
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise HamanagerError(f"packets are dropped as root only, with iptables: {said}")
