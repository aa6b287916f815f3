"""What `systemctl` does with a unit, on a host of the test bed, which has no systemd.

The unit's own file is read, with its drop-ins: a directive that is not known here is an error.
"""

from __future__ import annotations

import re
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.host import Host
from tests.testbed.process import TestbedError

PLACES = ("etc/systemd/system", "usr/lib/systemd/system")
READY_SECONDS = 90.0
STOP_SECONDS = 30.0
ONESHOT_SECONDS = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEEDED = {
    "Type", "Environment", "EnvironmentFile", "ExecStart", "StateDirectory", "StateDirectoryMode",
    "User", "Restart",
}  # fmt: skip
WITHOUT_EFFECT_HERE = {
    "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "LimitNOFILE", "LimitNPROC",
    "LimitCORE", "TasksMax", "OOMScoreAdjust", "NoNewPrivileges", "ProtectHome", "ProtectSystem",
    "PrivateTmp", "PermissionsStartOnly", "ExecReload", "Delegate", "StartLimitBurst",
    "StartLimitInterval",
}  # fmt: skip
AGAIN = """
trap 'trap - TERM; kill $child 2>/dev/null; wait $child; exit 0' TERM
while :; do
    "$@" &
    child=$!
    wait $child
    sleep 1
done
"""
"""Restart=always, after RestartSec=1."""


@dataclass
class UnitFile:
    """The section [Service] of a unit, drop-ins included."""

    name: str
    host: str
    directives: dict[str, list[str]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """A file of it; an empty value takes back what was said before.

        Raises:
            TestbedError: it says something that is not known here.
        """
        section = ""
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[] ")
            elif section == "Service" and line.strip() and line[0] not in "#;":
                key, _, value = line.partition("=")
                if key not in HEEDED | WITHOUT_EFFECT_HERE or line.endswith("\\"):
                    raise TestbedError(f"{self.name}.service: the test bed knows no '{line}'")
                said = self.directives.setdefault(key, [])
                if value:
                    said.append(self._specified(value))
                else:
                    said.clear()

    def last(self, key: str, default: str = "") -> str:
        """The value that counts."""
        return (self.directives.get(key) or [default])[-1]

    def all(self, key: str) -> list[str]:
        """Every value."""
        return self.directives.get(key, [])

    def words(self, environment: dict[str, str]) -> list[str]:
        """The program and its arguments."""
        [line] = self.directives["ExecStart"]
        words: list[str] = []
        for word in shlex.split(line):
            if whole := re.fullmatch(r"\$(\w+)", word):
                words += environment.get(whole[1], "").split()
            else:
                words.append(
                    re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), word)
                )
        return words

    def _specified(self, value: str) -> str:
        known = {"%%": "%", "%p": self.name, "%H": self.host}
        return re.sub("%.", lambda found: known[found[0]], value)


def parse_environment(text: str) -> dict[str, str]:
    """A file of `EnvironmentFile=`."""
    found = {}
    for line in text.splitlines():
        if line.strip() and line.lstrip()[0] not in "#;":
            key, _, value = line.partition("=")
            found[key.strip()] = " ".join(shlex.split(value))
    return found


class Systemd:
    """The service manager of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._listening: dict[str, socket.socket] = {}

    def control(self, words: Sequence[str]) -> None:
        """`systemctl WORDS`.

        Raises:
            TestbedError: it fails, or is not known here.
        """
        options = [word for word in words if word.startswith("-")]
        verb, *names = [word for word in words if not word.startswith("-")]
        if set(options) - {"--now", "--no-block"}:
            raise TestbedError(f"the test bed knows no `systemctl {' '.join(words)}`")
        if verb not in ("daemon-reload", "enable", "start", "stop", "restart"):
            raise TestbedError(f"the test bed knows no `systemctl {verb}`")
        for name in names:
            # Of a timer: nobody waits for the hour, what it does is done now.
            unit = name.removesuffix(".timer")
            self.read(unit)
            if verb in ("stop", "restart"):
                self.stop(unit)
            if verb in ("start", "restart") or "--now" in options:
                self.start(unit, block="--no-block" not in options)

    def read(self, name: str) -> UnitFile:
        """The unit as it is written there."""
        unit = UnitFile(name, self._host.name)
        files = [self._outside(f"/{place}/{name}.service") for place in PLACES]
        found = next((path for path in files if path.is_file()), None)
        if found is None:
            raise TestbedError(f"there is no {name}.service on {self._host.name}")
        unit.add(found.read_text())
        for path in sorted(self._outside(f"/{PLACES[0]}/{name}.service.d").glob("*.conf")):
            unit.add(path.read_text())
        return unit

    def stop(self, name: str) -> None:
        """SIGTERM, and its end."""
        unit = self._host.units.pop(name, None)
        if unit is not None and unit.process.runs:
            unit.process.terminate(STOP_SECONDS)

    def start(self, name: str, *, block: bool = True) -> None:
        """Start it, and wait until it says that it is ready where it does."""
        if name == "docker":
            self._docker()
            return
        running = self._host.units.get(name)
        if running is not None and running.process.runs:
            return
        unit = self.read(name)
        environment = self.environment(unit)
        words = unit.words(environment)
        if user := unit.last("User"):
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]
        if directory := unit.last("StateDirectory"):
            mode = unit.last("StateDirectoryMode", "0755")
            self._host.must("install", "-d", "-m", mode, f"/var/lib/{directory}")
        if unit.last("Type") == "oneshot":
            done = self._host.call(*words, environment=environment, seconds=ONESHOT_SECONDS)
            if done.returncode:
                raise TestbedError(f"{name} failed: {done.stdout}{done.stderr}")
            return
        if unit.last("Type") == "notify":
            environment["NOTIFY_SOCKET"] = self._listen(name)
        if unit.last("Restart", "no") not in ("no", "on-abnormal"):
            words = ["sh", "-c", AGAIN, "sh", *words]
        self._host.units.pop(name, None)
        self._host.unit(name, *words, environment=environment)
        if block and unit.last("Type") == "notify":
            self._wait_until_ready(name)

    def environment(self, unit: UnitFile) -> dict[str, str]:
        """What its program is given."""
        found = {"PATH": PATH, "LANG": "C.UTF-8"}
        for line in unit.all("Environment"):
            found |= dict(word.split("=", 1) for word in shlex.split(line))
        for path in unit.all("EnvironmentFile"):
            file = self._outside(path.removeprefix("-"))
            if file.is_file() or not path.startswith("-"):
                found |= parse_environment(file.read_text())
        return found

    def _docker(self) -> None:
        """The test bed has started that engine with a directory of its own; from now on it is
        reached as the unit says."""
        unit = self.read("docker")
        words = unit.words(self.environment(unit))
        ours = [word for word in words[1:] if not word.startswith("--containerd=")]
        while "fd://" in ours:
            at = ours.index("fd://")
            del ours[at - 1 : at + 1]
        self._host.engine_listens = tuple(ours)
        self._host.restart_engine()

    def _listen(self, name: str) -> str:
        """Where the unit says that it is ready."""
        if old := self._listening.pop(name, None):
            old.close()
        inside = Path(f"/run/ready-{name}")
        outside = self._outside(str(inside))
        outside.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(outside))
        outside.chmod(0o666)
        self._listening[name] = listening
        return str(inside)

    def _wait_until_ready(self, name: str) -> None:
        listening, deadline = self._listening[name], time.monotonic() + READY_SECONDS
        listening.settimeout(0.5)
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in listening.recv(4096):
                    return
            except TimeoutError:
                continue
        printed = self._host.units[name].process.printed()[-3000:]
        raise TestbedError(f"{name} on {self._host.name} was not ready in time: {printed}")

    def close(self) -> None:
        """Listen no more."""
        for listening in self._listening.values():
            listening.close()

    def _outside(self, path: str) -> Path:
        return self._host.outside(Path(path))
