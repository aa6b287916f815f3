"""The endpoint contract on HAProxy: one process for all services of a manager.

What is published is written into HAProxy's configuration first and told to the running HAProxy
then, so that neither its end nor the manager's ever brings an older target back. Which target is
used is the manager's word alone; see docs/decisions/0012.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from hamanager.contracts.endpoint import Listener
from hamanager.contracts.runtime import Runtime, Sidecar
from hamanager.endpoints.haproxy import shared
from hamanager.endpoints.haproxy.addresses import Addresses
from hamanager.endpoints.haproxy.backend import (
    CONFIGURATION,
    CONTROL,
    ETC,
    RUN,
    WAIT,
    Backend,
    Mode,
    arrange,
    changes,
    let_out,
    parse_queued,
    parse_states,
    render,
    retired,
    script,
)
from hamanager.endpoints.haproxy.control import CannotAskError, Control
from hamanager.endpoints.haproxy.occupants import Occupants
from hamanager.errors import EndpointFailedError, HamanagerError

SIDECAR = "haproxy"
IMAGE = "haproxy:3"
STATE, ADDRESSES = "listeners.json", "addresses.json"
UP_SECONDS = 10.0
"""How long a start or a reload may take."""
POLL_SECONDS = 0.02
IN_FORCE_SECONDS, IN_FORCE_POLL_SECONDS = 1.0, 0.002
"""How long HAProxy may take to put a change into force that it has accepted: it answers first, and
with a thousand clients waiting what is left to do comes tens of milliseconds later."""
SILENCES_BEFORE_ANEW = 2
"""A proxy that runs and has not answered that many checks is ended and made anew."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15.0, 240.0
"""Between two times of that, twice as long after each: what did not help is not done again and
again, as it ends every client's connection."""
CUT_AFTER_SECONDS = 0.2
"""Clients that were refused in a slot that is not used any more are sent on within one retry;
whoever is left there after this time has a connection to a former target."""


class HaproxyEndpoint:
    """Keeps its state in a directory of its own; two below it are shared with HAProxy, one that it
    reads and one that is its own. Thread-safe."""

    def __init__(
        self,
        directory: Path,
        runtime: Runtime,
        resolve: Callable[[str], str],
        sidecar: str = SIDECAR,
    ) -> None:
        """`resolve` gives the IP address of a host. `sidecar`: what its container is called by, as
        two managers of an installation may use the same engine."""
        self._sidecar = sidecar
        self._directory = directory
        self._runtime = runtime
        self._resolve = Addresses(directory / ADDRESSES, resolve, self._keep_addresses)
        self._etc, self._run = directory / "etc", directory / "run"
        self._control = Control(self._run / CONTROL)
        self._occupants = Occupants(self._run)
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._backends: dict[str, Backend] = {b.listener.name: b for b in _load(directory / STATE)}
        self._silences = 0
        """How many checks in a row it has not answered."""
        self._made_anew: float | None = None
        """When it was ended last because it did not answer (monotonic)."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._shape = self._shape_in_force = 0
        """Which change of what only a reload can change was written last, and which was read."""
        self._in_force: set[str] = set()
        """Listeners that are known to lead where they should."""
        self._to_cut: dict[tuple[str, int], float] = {}
        """Slots with connections to be ended, with when they fell out of use (monotonic)."""

    # --- The contract ------------------------------------------------------------------------

    def publish(self, service: str, listeners: Sequence[Listener], *, cut: bool = True) -> None:
        """Write it down, then tell HAProxy."""
        with self._lock:
            reshaped = self._note(service, listeners)
            if not reshaped:
                self._tell([listener.name for listener in listeners], cut=cut)
                return
            self._shape = shape = self._shape + 1
        # Not under the lock: while HAProxy starts, other services must be able to fail over.
        self._bring_up(shape)

    def published(self, service: str) -> tuple[Listener, ...]:
        """As the configuration has it."""
        with self._lock:
            return tuple(b.listener for b in self._backends.values() if b.service == service)

    def services(self) -> frozenset[str]:
        """As the configuration has them."""
        with self._lock:
            return frozenset(backend.service for backend in self._backends.values())

    def settle(self, service: str) -> None:
        """Of that service alone, at once; `check` does it for all, each second."""
        with self._lock:
            self._tell([n for n, b in self._backends.items() if b.service == service], cut=True)

    def connections(self, listener: str, instance: str) -> int:
        """HAProxy's own count of the requests (HTTP) or connections that it passes on now."""
        with self._lock:
            backend = self._backends.get(listener)
            slots = [
                f"s{number}"
                for number, slot in enumerate(backend.slots if backend else ())
                if slot.route.instance == instance
            ]
            answer = self._control.ask(["show stat"])
        lines = [line.split(",") for line in answer.splitlines() if line]
        columns = next((row for row in lines if row[0] == "# pxname"), None)
        if columns is None:
            raise EndpointFailedError("HAProxy does not tell its numbers of connections")
        current = columns.index("scur")
        return sum(int(row[current]) for row in lines if row[0] == listener and row[1] in slots)

    def check(self) -> None:
        """Start it when it is down; repair what differs."""
        if self._resolve.refresh():
            with self._lock:
                self._write(list(self._backends.values()))
            self._bring_up()
        with self._lock:
            names = list(self._backends)
            if names:
                try:
                    self._enforce_all()
                    self._cut(self._due(names))
                    self._well()
                    return
                except CannotAskError:
                    raise
                except EndpointFailedError:
                    self._silences += 1
        if names:
            self._bring_up()
            self._silences = 0

    def close(self) -> None:
        """What is published stays in force."""
        with self._lock:
            self._occupants.leave()

    def _well(self) -> None:
        self._silences = 0
        if self._pause_left() <= 0:
            self._made_anew, self._pause_seconds = None, FIRST_PAUSE_SECONDS

    # --- Writing down ------------------------------------------------------------------------

    def _note(self, service: str, listeners: Sequence[Listener]) -> bool:
        """Whether HAProxy has to read its configuration anew."""
        before = {n: b for n, b in self._backends.items() if b.service == service}
        after = {w.name: arrange(service, before.get(w.name), w) for w in listeners}
        if before == after:
            return False
        for name, backend in after.items():
            for number in retired(before.get(name), backend):
                self._to_cut[name, number] = time.monotonic()
        others = {n: b for n, b in self._backends.items() if b.service != service}
        changed = {**others, **after}
        self._in_force -= {n for n in after if before.get(n) != after[n]}
        self._in_force -= set(before) - set(after)
        self._write(list(changed.values()))
        reshaped = {b.shape for b in before.values()} != {b.shape for b in after.values()}
        self._backends = changed
        return reshaped

    def _write(self, backends: Sequence[Backend]) -> None:
        backends = sorted(backends, key=lambda backend: backend.listener.name)
        kept = json.dumps([backend.model_dump(mode="json") for backend in backends], indent=1)
        try:
            shared.own_directory(self._directory, shared.OWN)
            shared.own_directory(self._etc, shared.READABLE)
            shared.foreign_directory(self._run)
            shared.replace(self._etc / CONFIGURATION, render(backends, self._resolve))
            shared.replace(self._directory / STATE, kept)
        except OSError as error:
            raise EndpointFailedError(
                f"HAProxy's configuration cannot be written in {self._directory}"
                f" ({error.strerror}); clients are sent where they were"
            ) from error

    def _keep_addresses(self, text: str) -> None:
        with suppress(OSError):  # they are known all the same
            shared.own_directory(self._directory, shared.OWN)
            shared.replace(self._directory / ADDRESSES, text)

    # --- Telling HAProxy ---------------------------------------------------------------------

    def _tell(self, names: Sequence[str], *, cut: bool) -> None:
        due = self._due(names) if cut else []
        if self._in_force >= set(names) and not due:
            return
        if self._silences:
            # A proxy that hangs must not delay a failover by its time-outs.
            raise EndpointFailedError("HAProxy does not answer; it is being brought back")
        try:
            self._enforce(names)
            self._cut(due)
        except CannotAskError:
            raise
        except EndpointFailedError:
            self._silences += 1
            raise

    def _enforce(self, names: Sequence[str]) -> None:
        """Make the running HAProxy what is written down, and see that it is."""
        self._in_force -= set(names)
        for name in names:
            backend = self._backends[name]
            # Before another server gets the slot.
            self._cut([(n, s) for n, s in self._to_cut if n == name and _is_used(backend, s)])
            self._occupants.take([backend])
            told_at: float | None = None
            waited = False
            while True:
                told = self._control.ask([f"show servers state {name}"])
                actual = parse_states(told).get(name, {})
                if set(actual) != backend.servers:
                    raise EndpointFailedError(f"HAProxy does not know the address of {name} yet")
                wanted = changes(backend, actual, self._resolve)
                if not wanted:
                    if waited:
                        self._let_out(backend)
                        self._occupants.take([backend])
                    self._in_force.add(name)
                    break
                waits = backend.has_queue and actual[WAIT][2] is not Mode.MAINT
                waited |= waits and not backend.waits
                if told_at is None:
                    told_at = time.monotonic()
                elif time.monotonic() - told_at > IN_FORCE_SECONDS:
                    raise EndpointFailedError(f"HAProxy did not send the clients of {name} on")
                else:
                    time.sleep(IN_FORCE_POLL_SECONDS)
                self._control.ask(wanted)

    def _enforce_all(self) -> None:
        """The same for all listeners, with one question where nothing differs."""
        told = parse_states(self._control.ask(["show servers state"]))
        same, differs = [], []
        for name, backend in self._backends.items():
            actual = told.get(name, {})
            if set(actual) != backend.servers:
                if not self._starting.locked():  # else it is about to be read
                    differs.append(name)
            elif changes(backend, actual, self._resolve):
                differs.append(name)
            else:
                same.append(backend)
        self._occupants.take(same)
        self._in_force |= {backend.listener.name for backend in same}
        self._enforce(differs)

    def _let_out(self, backend: Backend) -> None:
        """Whoever waited goes where the listener leads now."""
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while time.monotonic() < deadline:
            told = self._control.ask([f"show stat {backend.listener.name} 2 -1"])
            if parse_queued(told) == 0:
                return
            self._control.ask(let_out(backend))

    def _due(self, names: Sequence[str]) -> list[tuple[str, int]]:
        now = time.monotonic()
        return [
            key
            for key, since in self._to_cut.items()
            if key[0] in names and now - since >= CUT_AFTER_SECONDS
        ]

    def _cut(self, slots: Sequence[tuple[str, int]]) -> None:
        if not slots:
            return
        self._control.ask([f"shutdown sessions server {name}/s{number}" for name, number in slots])
        for name in {name for name, _ in slots}:
            self._control.end_old_connections(name)
        for slot in slots:
            self._to_cut.pop(slot, None)

    # --- Bringing it up ----------------------------------------------------------------------

    def _bring_up(self, shape: int | None = None) -> None:
        """Have HAProxy run with the configuration that is written down; with a number given only
        when it has not read that change of it yet: those that come while it reads another one are
        read together."""
        with self._starting:
            with self._lock:
                if shape is not None and shape <= self._shape_in_force:
                    return
                reading = self._shape
                backends = list(self._backends.values())
                self._in_force.clear()
            if not backends:
                self._end()
                self._shape_in_force = reading
                return
            try:
                self._control.ask_master("show proc")
            except CannotAskError:
                raise
            except EndpointFailedError:
                if self._silences >= SILENCES_BEFORE_ANEW:
                    self._end_hung()
                self._start()
            else:
                self._control.ask_master("reload")
            self._await(backends)
            with self._lock:
                self._occupants.leave()
                self._shape_in_force = reading
                # What changed while it was reading was told to its predecessor.
                self._enforce_all()

    def _end_hung(self) -> None:
        left = self._pause_left()
        if left > 0:
            raise EndpointFailedError(
                "HAProxy does not answer although it was made anew; that is tried again in"
                f" {left:.0f} s"
            )
        if self._made_anew is not None:
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        self._made_anew = time.monotonic()
        self._end()

    def _pause_left(self) -> float:
        if self._made_anew is None:
            return 0.0
        return self._made_anew + self._pause_seconds - time.monotonic()

    def _start(self) -> None:
        try:
            image = self._runtime.resolve_image(SIDECAR, IMAGE)
            self._runtime.start_sidecar(
                Sidecar(
                    self._sidecar, image, script(), reads=(self._etc, ETC), writes=(self._run, RUN)
                )
            )
        except HamanagerError as error:
            raise EndpointFailedError(str(error)) from error

    def _end(self) -> None:
        try:
            self._runtime.remove_sidecar(self._sidecar)
        except HamanagerError as error:
            raise EndpointFailedError(str(error)) from error

    def _is_wanted(self, backend: Backend) -> bool:
        with self._lock:
            present = self._backends.get(backend.listener.name)
        return present is not None and present.shape == backend.shape

    def _await(self, backends: Sequence[Backend]) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while True:
            try:
                known = parse_states(self._control.ask(["show servers state"]))
                for backend in backends:
                    name = backend.listener.name
                    if not self._is_wanted(backend):
                        continue  # it was taken away before this was read
                    if set(known.get(name, {})) != backend.servers:
                        raise EndpointFailedError(f"{name} is not served yet")
                return
            except CannotAskError:
                raise
            except EndpointFailedError as error:
                if time.monotonic() > deadline:
                    ports = ", ".join(str(backend.listener.port) for backend in backends)
                    raise EndpointFailedError(
                        f"HAProxy does not serve the clients' addresses ({error}): perhaps one of"
                        f" the ports {ports} is taken by somebody else; its container's log says"
                        " which"
                    ) from error
            time.sleep(POLL_SECONDS)


def _is_used(backend: Backend, number: int) -> bool:
    return backend.slots[number].mode is not Mode.MAINT


def _load(path: Path) -> list[Backend]:
    text = shared.read(path)
    try:
        return [Backend.model_validate(entry) for entry in json.loads(text or "[]")]
    except (ValueError, ValidationError):
        # Every service publishes its own again in its next pass.
        return []
