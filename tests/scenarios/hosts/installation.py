"""An installation that is made by following a document as it stands (`tests.testbed.document`), on
bare machines.

What the machines of a test bed cannot do is in `tests.testbed.replaced.REASONS`; beside that, an
installation of Python packages finds those that hamanager needs in place of an index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

from hamanager.chaos.services import wait_for
from hamanager.errors import HamanagerError
from tests.scenarios.harness import Result
from tests.testbed import Host, Testbed
from tests.testbed.document import CHECKOUT, Block, read, with_values
from tests.testbed.replaced import Replaced

ROOT = Path(__file__).parents[3]
SETTINGS = "compose/three-machines"
OWN = ("/etc", "/usr", "/opt", "/root", "/var")
"""What a bare machine has for itself."""
NOT_NEEDED = ("hamanager", "_editable", "__editable", "pip", "setuptools")
"""Begins of names in a directory of packages: what is installed on a machine by itself."""
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.7")
"""The document's, of its four machines."""
BLOCK_SECONDS = 300.0
WRITE_SECONDS = 60.0
WHOLE_SECONDS = 240.0


class Installation:
    """What the document makes."""

    def __init__(
        self, document: Path, bed: Testbed, values: Mapping[str, str], checkout: Path
    ) -> None:
        """`values` stand for the document's; `checkout` is a copy of this one."""
        self.document = read(document)
        assert set(values) == set(self.document.values)
        self.machines = dict(zip(("h1", "h2", "h3", "a1"), bed.hosts, strict=True))
        self.values = values
        self.program = "hamanager"
        """How an operator calls it, after logging in."""
        self.checkout = checkout
        self._replaced = Replaced(bed.directory / "replaced", self.machines, checkout)
        self._needed = _needed_packages(bed.directory / "needed")
        for machine in self.machines:
            self._provide(machine)

    def _provide(self, machine: str) -> None:
        """What hamanager needs of other packages is found there by the program once it is there."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        host, place = self.machines[machine], f"/opt/hamanager/lib/{version}/site-packages"
        host.must("mkdir", "-p", place)
        host.outside(Path(place, "needed.pth")).write_text(f"{self._needed}\n")

    def start_bare(self, machine: str) -> None:
        """Another machine takes its place, with its name and address and nothing else."""
        host = self.machines[machine]
        host.start_bare()
        self._provide(machine)

    def close(self) -> None:
        """The end."""
        self._replaced.close()

    def follow(self, section: str = "") -> None:
        """All blocks of a section, in order; of each, one machine after the other."""
        blocks = [block for block in self.document.blocks if block.section.startswith(section)]
        assert blocks, f"there are no commands in section {section}"
        for block in blocks:
            for machine in block.machines:
                self.follow_block(block, machine)

    def follow_to_a_service(self) -> None:
        """Sections 1 to 6, after which all that they make is there."""
        for number in range(1, 7):
            self.follow(f"{number}. ")
        view = self.wait_whole()
        assert len({instance["host"] for instance in view["instances"]}) == 2
        self.managers()

    def managers(self) -> list[dict[str, Any]]:
        """All three, alive."""
        rows: list[dict[str, Any]] = self.ask("managers")
        assert [row["alive"] for row in rows] == [True] * 3
        return rows

    def follow_block(self, block: Block, machine: str) -> None:
        """Its commands, on one of its machines."""
        began = time.monotonic()
        text = with_values(block.text, self.values)
        script = f"PATH={self._replaced.bin}:$PATH\nset -e -o pipefail\n{text}"
        here = {"BED_MACHINE": machine, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        if machine == CHECKOUT:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.checkout,
                env={**os.environ, **here},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=BLOCK_SECONDS,
            )
        else:
            done = self.run(machine, script, **here)
        seconds = time.monotonic() - began
        said = f"--- line {block.line}, on {machine}: {seconds:.1f} s\n{done.stdout}{done.stderr}"
        print(said)
        assert done.returncode == 0, f"{text}\n{said}\n{self.logs()}"

    def run(self, machine: str, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        """In a login shell of root's there."""
        environment = {
            "HOME": "/root",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            # There is no index to be reached: what hamanager needs is there.
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            **more,
        }
        words = ("bash", "-l", "-c", f"cd\n{script}")
        return self.machines[machine].call(*words, environment=environment, seconds=BLOCK_SECONDS)

    def ask(self, command: str) -> Any:
        """What a command prints as JSON, on the first machine that answers."""
        for name in ("h1", "h2", "h3"):
            if self.machines[name].runs:
                done = self.run(name, f"{self.program} {command} --output json")
                if done.returncode == 0:
                    return json.loads(done.stdout)
        return None

    def wait_whole(self) -> Any:
        """Until the service is healthy; what `info` shows then."""
        last: list[Any] = [None]

        def whole() -> bool:
            last[0] = self.ask("info db")
            return last[0] is not None and last[0]["state"] == "running"

        try:
            wait_for("db to be running", WHOLE_SECONDS, whole, 0.5)
        except HamanagerError as error:
            raise AssertionError(f"{error}: {last[0]}\n{self.logs()}") from None
        return last[0]

    def host_of_primary(self) -> Host:
        """Where it is."""
        view = self.ask("info db")
        [primary] = [i for i in view["instances"] if i["name"] == view["primary"]]
        return self.machines[primary["host"]]

    def logs(self) -> str:
        """The end of what all units have printed."""
        paths = [path for host in self.machines.values() for path in host.directory.glob("*.log")]
        told = [f"--- {p.parent.name} {p.name}\n{p.read_text()[-3000:]}" for p in sorted(paths)]
        return "\n".join(told)


class Application:
    """A client on the applications' machine: it writes numbered rows, and remembers which of them
    were acknowledged."""

    def __init__(self, url: str, authority: Path) -> None:
        parts = urlsplit(url)
        self._options: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port,
            "user": parts.username,
            "password": unquote(parts.password or ""),
            "database": parts.path.strip("/"),
            "ssl": {"ca": str(authority), "check_hostname": False},
            "autocommit": True,
            "connect_timeout": 2,
            "read_timeout": 2,
            "write_timeout": 2,
        }
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.acknowledged: list[int] = []
        self.last_at = 0.0
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE numbers (number INT PRIMARY KEY)")
        self._thread.start()

    def _connect(self) -> Any:
        return pymysql.connect(**self._options)

    def _write(self) -> None:
        number = 0
        while not self._stopping.is_set():
            with suppress(pymysql.Error, OSError), closing(self._connect()) as connection:
                while not self._stopping.wait(0.02):
                    number += 1  # one that failed is not tried again
                    with connection.cursor() as cursor:
                        cursor.execute("INSERT INTO numbers VALUES (%s)", (number,))
                    self.acknowledged.append(number)
                    self.last_at = time.monotonic()
            self._stopping.wait(0.1)

    def wait_for_write(self) -> None:
        """One that is acknowledged from now on."""
        now = time.monotonic()
        wait_for("a write", WRITE_SECONDS, lambda: self.last_at > now)

    def stop(self) -> None:
        """Write no more."""
        self._stopping.set()
        self._thread.join(10)

    def lost(self) -> int:
        """How many acknowledged rows are not there."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT number FROM numbers")
            held = {number for (number,) in cursor.fetchall()}
        return len(set(self.acknowledged) - held)


def application(installation: Installation, directory: Path) -> Application:
    """On the applications' machine, at the service's address there."""
    address = installation.machines["a1"].address
    done = installation.run("h1", f"{installation.program} url db --at {address}")
    authority = directory / "services.pem"
    shutil.copy(installation.machines["a1"].outside(Path("/etc/hamanager/services.pem")), authority)
    return Application(done.stdout.strip(), authority)


def lose_a_machine(made: Installation, client: Application, result: Result) -> None:
    """The primary's loses its power."""
    lost = made.host_of_primary()
    off = time.monotonic()
    lost.power_off()
    client.wait_for_write()
    result.longest_gap_seconds = time.monotonic() - off
    lost.start()
    made.wait_whole()
    result.whole_seconds = time.monotonic() - off


def fail_over(made: Installation, client: Application) -> None:
    name = made.ask("info db")["primary"]
    with closing(made.host_of_primary().client()) as engine:
        [server] = engine.containers.list(filters={"label": f"hamanager.instance={name}"})
        server.kill()
    wait_for("another primary", 60, lambda: made.ask("info db")["primary"] != name)
    client.wait_for_write()
    made.wait_whole()


@contextmanager
def following(
    document: Path, images: Mapping[str, str], directory: Path, pulled: Sequence[str]
) -> Iterator[Installation]:
    """Four bare machines, of which nothing is left; `images` in place of the document's, of which
    those are there to be pulled."""
    with Testbed(hosts=4, images=pulled, own=OWN) as bed:
        values = {**images, **{a: h.address for a, h in zip(ADDRESSES, bed.hosts, strict=True)}}
        made = Installation(document, bed, values, _checkout(directory / "checkout", values))
        try:
            yield made
        finally:
            made.close()


def _needed_packages(directory: Path) -> Path:
    """What hamanager needs of other packages, and nothing of itself."""
    directory.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(NOT_NEEDED):
            (directory / path.name).symlink_to(path)
    return directory


def _checkout(directory: Path, values: Mapping[str, str]) -> Path:
    """A copy of this one, with the addresses and images written into the settings."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
    for path in (directory / SETTINGS).iterdir():
        path.write_text(with_values(path.read_text(), values))
    return directory
