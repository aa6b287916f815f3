"""Handles of the containers' processes, where the engine runs on this kernel.

A pidfd becomes readable the moment its process is gone, long before the engine's own state says
so (about 1 ms against 100 ms), and it goes on telling the truth while the engine hangs. The end
of a container's first process is the end of all its processes: the kernel ends the PID
namespace first (pid_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hamanager.model.snapshot import Process

TRUST_SECONDS = 1.0
"""For how long an ended process is reported without asking the engine, which blocks while it
clears up; afterwards it is asked whether somebody else started the container again."""


@dataclass
class _Handle:
    pid: int
    started_at: str
    descriptor: int
    noticed_at: float | None = None
    """Monotonic seconds when its end was first noticed."""


class ProcessHandles:
    """One pidfd per running container, by the container's name. Thread-safe."""

    def __init__(self, *, elsewhere: bool = False) -> None:
        """`elsewhere`: the engine is another machine's by its address, whatever this kernel has."""
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._handles: dict[str, _Handle] = {}

    def word(self, name: str) -> Process | None:
        """RUNNING or EXITED as the kernel knows it; None when the engine has to be asked."""
        with self._lock:
            handle = self._handles.get(name)
            if handle is None:
                return None
            if not _ended(handle.descriptor):
                return Process.RUNNING
            now = time.monotonic()
            if handle.noticed_at is None:
                handle.noticed_at = now
            return Process.EXITED if now - handle.noticed_at < TRUST_SECONDS else None

    def learn(self, name: str, container: Mapping[str, Any]) -> Process:
        """What the engine's description of a container means, in the light of its handle; a
        container that was started since gets a new handle."""
        state = container["State"]
        if not state["Running"]:
            self.forget(name)
            return Process.EXITED
        with self._lock:
            handle = self._handles.get(name)
            if handle and (handle.pid, handle.started_at) == (state["Pid"], state["StartedAt"]):
                return Process.EXITED if _ended(handle.descriptor) else Process.RUNNING
        opened = None if self._elsewhere else _open(container)
        with self._lock:
            replaced = self._handles.pop(name, None)
            if opened is not None:
                self._handles[name] = opened
        if replaced is not None:
            os.close(replaced.descriptor)
        return Process.RUNNING

    def has_ended(self, name: str) -> bool:
        """Whether the last process known under that name is proven gone."""
        with self._lock:
            handle = self._handles.get(name)
            return handle is not None and _ended(handle.descriptor)

    def pid(self, name: str) -> int | None:
        """The number of the running process."""
        with self._lock:
            handle = self._handles.get(name)
            return handle.pid if handle and not _ended(handle.descriptor) else None

    def duplicate(self, name: str) -> int | None:
        """A copy of the descriptor, which the caller closes; None when there is no handle."""
        with self._lock:
            handle = self._handles.get(name)
            return os.dup(handle.descriptor) if handle else None

    def kill(self, name: str, wait_seconds: float) -> bool:
        """SIGKILL past the engine; whether the process was gone within that time. A frozen one
        is not: it dies when it is thawed."""
        descriptor = self.duplicate(name)
        if descriptor is None:
            return False
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return _ended(descriptor, wait_seconds)
        except OSError:
            return False  # not ours to kill: the engine is asked
        finally:
            os.close(descriptor)

    def forget(self, name: str) -> None:
        """Close the handle: whatever runs next under that name is another process."""
        with self._lock:
            handle = self._handles.pop(name, None)
        if handle is not None:
            os.close(handle.descriptor)

    def close(self) -> None:
        """Close all handles."""
        for name in list(self._handles):
            self.forget(name)


def _ended(descriptor: int, wait_seconds: float = 0) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_seconds * 1000))


def _open(container: Mapping[str, Any]) -> _Handle | None:
    """A handle, if the number that the engine gives is that container's process *here*: a remote
    engine's, or one in another PID namespace, names some other process of this machine."""
    pid = int(container["State"]["Pid"])
    if pid <= 0 or not hasattr(os, "pidfd_open"):
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        # The control group carries the container's id. Read after the handle was opened and
        # checked against it, so that a reused number cannot be mistaken either.
        is_it = str(container["Id"]) in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        is_it = False
    if is_it and not _ended(descriptor):
        return _Handle(pid, str(container["State"]["StartedAt"]), descriptor)
    os.close(descriptor)
    return None
