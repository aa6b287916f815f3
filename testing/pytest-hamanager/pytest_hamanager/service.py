"""One database service in a test's hands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hamanager.chaos.faults import Faults
from hamanager.chaos.installation import Installation
from hamanager.chaos.workload import LoadWriter

HEALTHY_SECONDS = 60.0


def assert_no_lost_writes(acknowledged: Iterable[object], present: Iterable[object]) -> None:
    """Whatever the database acknowledged is there now.

    Raises:
        AssertionError: it is not; it names some of what is missing.
    """
    there = set(present)
    lost = [one for one in acknowledged if one not in there]
    assert not lost, f"{len(lost)} acknowledged writes are lost, such as {lost[:5]}"


@dataclass
class _Done:
    """What the test did to it."""

    at: float
    text: str


@dataclass
class Service:
    """A primary and its standbys behind one URL, watched by a manager that replaces a primary that
    fails. Faults are undone at the end of the test."""

    installation: Installation
    name: str
    engine: str
    _done: list[_Done] = field(default_factory=list)
    _writers: list[LoadWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._faults = Faults(self.installation.docker, self.installation.manager_id)

    # --- What there is -------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """For the application; the same for ever, whoever is primary."""
        return self.installation.command("url", self.name).strip()

    @property
    def primary(self) -> str:
        """Its name, such as `test-mysql.0`."""
        return self.installation.primary(self.name).name

    @property
    def standbys(self) -> list[str]:
        """The others' names."""
        primary = self.primary
        return [one.name for one in self.installation.members(self.name) if one.name != primary]

    def info(self) -> Any:
        """What `hamanager info --output json` shows."""
        return self.installation.ask("info", self.name)

    # --- What can be done to it ----------------------------------------------------------------

    def kill_primary(self) -> str:
        """SIGKILL to the primary's process; whom it hit. Returns when the process is gone; another
        one leads some milliseconds later."""
        primary = self.primary
        self._do(f"kill {primary}")
        self._faults.kill(primary)
        return primary

    def hang(self, instance: str | None = None) -> str:
        """Its processes stop and answer nobody: the primary's, unless another one is named."""
        name = instance or self.primary
        self._do(f"hang {name}")
        self._faults.hang(name)
        return name

    def wake(self, instance: str) -> None:
        """End a hang."""
        self._do(f"wake {instance}")
        self._faults.wake(instance)

    def partition(self, instance: str | None = None) -> str:
        """Nothing gets to it or from it: the primary, unless another one is named. As root."""
        name = instance or self.primary
        self._do(f"cut {name} off")
        self._faults.cut_off(name)
        return name

    def slow(self, instance: str | None = None) -> str:
        """A few per cent of one CPU: for the primary, unless another one is named."""
        name = instance or self.primary
        self._do(f"slow {name} down")
        self._faults.slow(name)
        return name

    @contextmanager
    def lag(self) -> Iterator[str]:
        """Inside, one standby stands still and gets ever further behind; its name. For less than
        the manager takes for a standby's failure (some seconds)."""
        name = self.standbys[0]
        self.hang(name)
        try:
            yield name
        finally:
            self.wake(name)

    def switchover(self) -> str:
        """A planned change of primary; who leads then."""
        self._do("switchover")
        self.installation.command("switchover", self.name)
        return self.primary

    def heal(self) -> None:
        """Undo every fault."""
        for writer in self._writers:
            writer.stop()
        self._faults.heal()

    def wait_healthy(self, seconds: float = HEALTHY_SECONDS) -> None:
        """Until the primary works and every standby follows.

        Raises:
            HamanagerError: that takes longer.
        """
        self.installation.wait_for_state(self.name, "running", seconds)

    # --- Writes --------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[LoadWriter]:
        """Inside, a client of ours writes one row after the other, by its own table, and connects
        again whenever it has to: `assert_no_lost_writes` looks for all of them."""
        writer = self.installation.start_writer(self.name)
        self._writers.append(writer)
        try:
            yield writer
        finally:
            writer.stop()

    def assert_no_lost_writes(self) -> None:
        """Every write that was acknowledged to `writing` is there. (Redis replicates
        asynchronously: the last moment's may be lost with a killed primary.)

        Raises:
            AssertionError: some are not, or nothing was written.
        """
        assert self._writers, "nothing was written: use `with service.writing():`"
        for writer in self._writers:
            assert writer.acknowledged(), "nothing was acknowledged"
            lost = self.installation.lost(self.name, writer)
            assert not lost, f"{lost} of {len(writer.acknowledged())} acknowledged writes are lost"

    # --- The report ----------------------------------------------------------------------------

    def timeline(self, since: float) -> str:
        """What the test and the manager did, from that time on (seconds since the epoch)."""
        entries = self.installation.ask("history", self.name) or []
        told = [(one.at, f"the test: {one.text}") for one in self._done]
        told += [(entry["at"], _words(entry)) for entry in entries if entry["at"] >= since]
        lines = [f"{at - since:9.3f}  {text}" for at, text in sorted(told)]
        return "\n".join(lines) or "nothing"

    def _do(self, text: str) -> None:
        self._done.append(_Done(time.time(), text))


def _words(entry: dict[str, Any]) -> str:
    took = f" ({entry['seconds']:.3f} s)" if entry["seconds"] is not None else ""
    indent = "    " if entry["kind"] in ("step", "outcome") else ""
    return f"{indent}{'' if entry['ok'] else 'FAILED: '}{entry['text']}{took}"
