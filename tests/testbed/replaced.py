"""Programs that a host of the test bed cannot run as a machine would, and what is done instead.

A small program of the same name, found first, asks the test, which knows all hosts.
"""

from __future__ import annotations

import json
import re
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.document import CHECKOUT
from tests.testbed.etcd import UNPACKED
from tests.testbed.host import Host
from tests.testbed.process import TestbedError
from tests.testbed.systemd import Systemd

STAND_IN = """#!{python} -ES
import json, os, socket, sys
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({place!r})
    request = {{"machine": os.environ["BED_MACHINE"], "cwd": os.getcwd(), "words": words}}
    asked.sendall(json.dumps(request).encode() + b"\\n")
    answer = json.loads(asked.makefile().readline())
if answer["really"]:
    others = [p for p in os.environ["PATH"].split(":") if p != os.path.dirname(sys.argv[0])]
    os.environ["PATH"] = ":".join(others)
    os.execvp(words[0], words)
print(answer["said"], end="" if answer["said"].endswith("\\n") else "\\n")
sys.exit(answer["code"])
"""
"""`PATH` has the directory of these before others."""
REASONS = {
    "systemctl": "a host has no systemd: the unit's file is read, and its ExecStart is run",
    "journalctl": "likewise: what the unit has printed is shown",
    "apt-get": "a host has this machine's packages; etcd's are unpacked on it, and started as"
    " Debian starts them",
    "scp": "a host has no SSH server: the files are copied",
    "ssh": "likewise: the command is run there",
    "docker": "a host reaches no registry, and has what would be pulled: it is seen that it is"
    " there; everything else is Docker's",
    "git": "a pull brings the next version: the same with another number",
}
"""Each with why."""


class _ReallyError(Exception):
    """The real program is to be run."""


@dataclass(frozen=True)
class Request:
    """A program that was called."""

    machine: str
    cwd: Path
    name: str
    words: list[str]


class Replaced:
    """Answers for all of them, until it is closed."""

    def __init__(self, directory: Path, hosts: dict[str, Host], checkout: Path) -> None:
        """`hosts` by the name that the document gives them."""
        self.bin = directory / "bin"
        self.systemd = {name: Systemd(host) for name, host in hosts.items()}
        self._hosts = hosts
        self._checkout = checkout
        self.bin.mkdir(parents=True)
        place = directory / "socket"
        for name in REASONS:
            program = self.bin / name
            program.write_text(STAND_IN.format(python=sys.executable, place=str(place)))
            program.chmod(0o755)
        self._server = _Server(str(place), self.answer)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        for systemd in self.systemd.values():
            systemd.close()

    def answer(self, line: bytes) -> dict[str, object]:
        """What the stand-in is to say and to end with."""
        asked = json.loads(line)
        name, *words = asked["words"]
        do: Callable[[Request], str] = getattr(self, "_" + name.replace("-", "_"))
        try:
            said = do(Request(asked["machine"], Path(asked["cwd"]), name, words))
        except _ReallyError:
            return {"really": True}
        except (TestbedError, OSError, subprocess.SubprocessError) as error:
            return {"really": False, "code": 1, "said": f"{name}: {error}"}
        return {"really": False, "code": 0, "said": said}

    # --- One by one ----------------------------------------------------------------------------

    def _systemctl(self, asked: Request) -> str:
        self.systemd[asked.machine].control(asked.words)
        return ""

    def _journalctl(self, asked: Request) -> str:
        unit = asked.words[asked.words.index("-u") + 1]
        log = self._hosts[asked.machine].directory / f"{unit}.log"
        return log.read_text(errors="replace")

    def _apt_get(self, asked: Request) -> str:
        verb, *packages = [word for word in asked.words if not word.startswith("-")]
        there = {"docker.io", "docker-compose", "python3-venv", "etcd-client", "etcd-server"}
        if verb == "update":
            return ""
        if verb != "install" or set(packages) - there:
            raise TestbedError(f"the test bed cannot {verb} {' '.join(packages)}")
        if "etcd-server" in packages:
            self._install_etcd(asked.machine)
        return ""

    def _install_etcd(self, machine: str) -> None:
        host = self._hosts[machine]
        if UNPACKED.is_dir():
            root = UNPACKED.parents[1]
            host.must("cp", "-r", f"{root}/usr/.", "/usr/")
            host.must("cp", "-r", f"{root}/lib/.", "/usr/lib/")
        if host.call("id", "etcd").returncode:
            host.must("useradd", "--system", "--user-group", "--no-create-home", "etcd")
        host.must("install", "-d", "-o", "etcd", "-g", "etcd", "-m", "700", "/var/lib/etcd")
        self.systemd[machine].start("etcd")

    def _docker(self, asked: Request) -> str:
        match asked.words:
            case ["pull", image]:
                images = [image]
            case _:
                raise _ReallyError
        host = self._hosts[asked.machine]
        return host.must("docker", "image", "inspect", "--format", "{{.Id}}", *images)

    def _scp(self, asked: Request) -> str:
        *sources, target = [word for word in asked.words if word != "-r"]
        host, path = self._named(target)
        there = self._at(host, Path("/root") / path)
        for source in sources:
            here = self._here(asked, source)
            to = there / here.name if there.is_dir() else there
            if here.is_dir():
                shutil.copytree(here, to, dirs_exist_ok=True)
            else:
                shutil.copy(here, to)
        return ""

    def _ssh(self, asked: Request) -> str:
        host, _ = self._named(asked.words[0] + ":")
        return host.must("sh", "-c", f"cd /root && {' '.join(asked.words[1:])}")

    def _git(self, asked: Request) -> str:
        if asked.words != ["pull"] or asked.machine != CHECKOUT:
            raise TestbedError(f"the test bed knows no `git {' '.join(asked.words)}`")
        project = self._checkout / "pyproject.toml"
        text = project.read_text()
        project.write_text(re.sub(r'(?m)^version = "(.+)"$', r'version = "\1.post1"', text))
        return ""

    def _named(self, target: str) -> tuple[Host, str]:
        """Whose file that is, as `scp` writes it."""
        address, _, path = target.removeprefix("root@").partition(":")
        found = next((h for h in self._hosts.values() if h.address == address), None)
        if found is None:
            raise TestbedError(f"no machine has the address {address}")
        return found, path

    def _here(self, asked: Request, source: str) -> Path:
        path = asked.cwd / source
        return path if asked.machine == CHECKOUT else self._at(self._hosts[asked.machine], path)

    @staticmethod
    def _at(host: Host, path: Path) -> Path:
        return host.outside(path)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, place: str, answer: Callable[[bytes], dict[str, object]]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                said = answer(self.rfile.readline())
                self.wfile.write(json.dumps(said).encode() + b"\n")

        super().__init__(place, Handler)
