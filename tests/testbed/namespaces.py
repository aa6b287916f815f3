"""A machine of the test bed: its life, its programs and its Docker engine; `host.py` has what can
happen to it.

It is a set of namespaces (network, processes, mounts, name) with a disk, a Docker engine and
whatever `run` and `unit` start in it. All of its processes end with the first one, by the kernel,
at the same moment: that is how it crashes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import docker

from tests.testbed import disk
from tests.testbed.boot import BOOT, INIT
from tests.testbed.process import (
    COMMAND_SECONDS,
    PROC,
    Process,
    TestbedError,
    inside,
    namespace,
    only_child,
    send,
    sh,
    wait_until,
)

MARK = "hamanager-testbed"
"""What the first process of every host is called by."""
DOCKER_PORT = 2375
WITHOUT_TLS = ("--tls=false", "-H", f"tcp://0.0.0.0:{DOCKER_PORT}")
BOOT_SECONDS = 60.0
END_SECONDS = 30.0


@dataclass
class Unit:
    """A program that the host starts whenever it starts."""

    name: str
    words: tuple[str, ...]
    environment: Mapping[str, str] | None
    process: Process


class Namespaces:
    """A machine that nothing happens to."""

    def __init__(
        self,
        bed: int,
        number: int,
        address: str,
        gateway: str,
        directory: Path,
        hosts_file: Path,
        template: Path,
        engine_options: tuple[str, ...] = (),
        own: tuple[str, ...] = (),
    ) -> None:
        self.name = f"h{number}"
        self.address = address
        self.docker_url = f"tcp://{address}:{DOCKER_PORT}"
        self.bridge = f"hatb{bed}"
        self.link = f"{self.bridge}{self.name}"
        """Its network card's other end, on this machine."""
        self.directory = directory
        """On this machine: the disk's image and the logs, which outlive the host."""
        self.disk = directory / "disk"
        """The disk, as its own processes see it; see `path` and `outside`."""
        self._bed, self._number, self._gateway = bed, number, gateway
        self._hosts_file, self._template = hosts_file, template
        self._engine_options, self._own = engine_options, own
        self.engine_listens: tuple[str, ...] = WITHOUT_TLS
        """Where its Docker engine is reached from outside, and by whom."""
        self.units: dict[str, Unit] = {}
        self._processes: list[Process] = []
        self._first: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._pid_namespace = ""
        self._engine: Process | None = None
        self.disk.mkdir(parents=True)
        disk.make(directory / "disk.img")

    # --- Life ----------------------------------------------------------------------------------

    @property
    def runs(self) -> bool:
        """Whether it is up (or hangs)."""
        return self._first is not None and self._first.poll() is None

    def start(self) -> None:
        """Boot it: the network, the Docker engine, and every unit it had before.

        Raises:
            TestbedError: it did not come up; the logs say more.
        """
        if self.runs:
            raise TestbedError(f"{self.name} runs already")
        image, hosts_file = self.directory / "disk.img", self._hosts_file
        own = (" ".join(self._own),)
        words = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--mount-proc"]
        words += ["sh", "-c", BOOT, MARK, str(self._bed), self.name, str(image), str(self.disk)]
        with (self.directory / "boot.log").open("ab") as log:
            self._first = subprocess.Popen(
                (*words, str(hosts_file), str(self._template), sys.executable, INIT, *own),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the caller
            )
        assert self._first.stdout is not None
        if self._first.stdout.readline() != b"up\n":
            said = (self.directory / "boot.log").read_text().strip()
            raise TestbedError(f"{self.name} did not start: {said}")
        self._pid = only_child(self._first.pid)
        self._pid_namespace = namespace(self._pid, "pid")
        self._plug_in()
        self.start_engine()
        for unit in self.units.values():
            unit.process = self.run(unit.name, *unit.words, environment=unit.environment)

    def start_bare(self) -> None:
        """Boot with an empty disk, as another machine in the place of one that is gone."""
        disk.make(self.directory / "disk.img")
        self.units.clear()
        self.engine_listens = WITHOUT_TLS
        self.start()

    def _plug_in(self) -> None:
        with suppress(TestbedError):  # one of a life before, which the kernel has not removed yet
            sh("ip", "link", "delete", self.link)
        # The same hardware address in each life: others remember it.
        mac = f"02:00:0a:4d:{self._bed:02x}:{self._number:02x}"
        words = ("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0")
        sh(*words, "address", mac, "netns", str(self._pid))
        sh("ip", "link", "set", self.link, "master", self.bridge, "up")
        self._network("ip", "link", "set", "lo", "up")
        self._network("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self._network("ip", "link", "set", "eth0", "up")
        self._network("ip", "route", "add", "default", "via", self._gateway)

    def _network(self, *words: str) -> str:
        return sh("nsenter", f"--net=/proc/{self._pid}/ns/net", *words)

    def end(self) -> None:
        """Remove it, for good; the disk's file stays."""
        if self.runs:
            self._kill_all()

    def _kill_all(self) -> None:
        """All at once. Its connections are not closed in anybody's sight: the network was cut off
        before, or nobody looks any more."""
        assert self._first is not None
        send([self._pid], signal.SIGKILL)
        # They reap their programs, for which the kernel waits; stopped ones would not.
        send([p._entering.pid for p in self._processes], signal.SIGCONT)
        try:
            self._first.wait(END_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise TestbedError(f"{self.name} did not end") from error
        for process in self._processes:
            process.wait(END_SECONDS)
        for stream in (self._first.stdin, self._first.stdout):
            if stream is not None:
                stream.close()
        image = self.directory / "disk.img"
        wait_until(
            f"the end of {self.name}'s disk", END_SECONDS, lambda: not sh("losetup", "-j", image)
        )
        self._processes.clear()
        self._engine = None

    # --- What runs in it -----------------------------------------------------------------------

    def path(self, *parts: str) -> Path:
        """A path on its disk, as its own processes see it."""
        return self.disk.joinpath(*parts)

    def outside(self, path: Path) -> Path:
        """Where this machine sees a path of the host, while it runs."""
        return PROC / str(self._pid) / "root" / path.relative_to("/")

    def run(
        self, name: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program in it, which is part of it from now on."""
        log = self.directory / f"{name}.log"
        with log.open("ab") as file:
            entering = subprocess.Popen(
                (*self._entered, *words),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        process = Process(self.name, name, entering, log)
        self._processes = [p for p in self._processes if p.runs] + [process]
        return process

    def unit(
        self, name: str, *words: str | Path, environment: Mapping[str, str] | None = None
    ) -> Unit:
        """Start a program that is started again whenever the host is; a new one of the same name
        takes the place of the old."""
        old = self.units.get(name)
        if old is not None and old.process.runs:
            raise TestbedError(f"{name} runs on {self.name} already")
        process = self.run(name, *words, environment=environment)
        unit = Unit(name, tuple(str(word) for word in words), environment, process)
        self.units[name] = unit
        return unit

    def restart(self, name: str) -> Unit:
        """Start a unit that has ended."""
        unit = self.units[name]
        return self.unit(name, *unit.words, environment=unit.environment)

    def call(
        self,
        *words: str | Path,
        environment: Mapping[str, str] | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end, whatever comes of it.

        Raises:
            TestbedError: it has not ended within that time; it was killed.
        """
        with subprocess.Popen(
            (*self._entered, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as entering:
            try:
                out, err = entering.communicate(timeout=seconds)
            except subprocess.TimeoutExpired as error:
                with suppress(TestbedError):
                    send([only_child(entering.pid)], signal.SIGKILL)
                send([entering.pid], signal.SIGKILL)
                raise TestbedError(
                    f"`{' '.join(map(str, words))}` took more than {seconds:g} s on {self.name}"
                ) from error
        return subprocess.CompletedProcess(words, entering.returncode, out, err)

    def must(self, *words: str | Path, seconds: float = COMMAND_SECONDS) -> str:
        """The same for one that has to succeed; what it printed."""
        done = self.call(*words, seconds=seconds)
        if done.returncode:
            raise TestbedError(
                f"`{' '.join(map(str, words))}` failed on {self.name}: {done.stderr.strip()}"
            )
        return done.stdout

    @property
    def _entered(self) -> tuple[str, ...]:
        if not self.runs:
            raise TestbedError(f"{self.name} is down")
        words = ("nsenter", "--target", str(self._pid), "--mount", "--uts", "--net", "--pid")
        return (*words, "--")

    def processes(self) -> list[int]:
        """All of them, those of its containers too, with the numbers of this machine."""
        return inside(self._pid_namespace) if self.runs else []

    # --- Its Docker engine ---------------------------------------------------------------------

    def client(self) -> docker.DockerClient:
        """Its Docker engine, as this machine sees it whatever its network does; to be closed."""
        socket = self.outside(Path("/run/docker.sock"))
        return docker.DockerClient(base_url=f"unix://{socket}", timeout=30)

    def start_engine(self) -> None:
        """Start its Docker engine and wait until it answers.

        Raises:
            TestbedError: it does not; its log is named.
        """
        words = ["dockerd", "--data-root", str(self.path("docker"))]
        words += ["--cgroup-parent", f"/{self.link}", "-H", "unix:///run/docker.sock"]
        words += [*self.engine_listens, *self._engine_options]
        # One that was killed leaves these, which a new one believes.
        self.must("sh", "-c", "rm -f /run/docker.pid /run/docker.sock /run/docker/containerd/*.pid")
        # Databases open many files, and a container may have as many as its engine.
        limited = ("sh", "-c", 'ulimit -n 1048576 || ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh")
        self._engine = self.run("dockerd", *limited, *words)
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._engine.runs:
            if self.engine_answers():
                return
            time.sleep(0.1)
        raise TestbedError(f"the Docker engine of {self.name} did not start: {self._engine.log}")

    def engine_answers(self) -> bool:
        """Whether its Docker engine does."""
        if not self.outside(Path("/run/docker.sock")).exists():
            return False
        try:
            with closing(self.client()) as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False

    def restart_engine(self) -> None:
        """While it has no containers. An orderly end would unmount the layers that it is lent."""
        self.kill_engine()
        self.start_engine()

    def kill_engine(self) -> None:
        """SIGKILL to dockerd and containerd; containers live, and their shims."""
        pids = [pid for pid in self.processes() if _comm(pid) in ("dockerd", "containerd")]
        send(pids, signal.SIGKILL)
        if self._engine is not None:
            self._engine.wait(END_SECONDS)


def _comm(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().strip()
    return ""
