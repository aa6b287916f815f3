"""Descriptors whose end is the first sign of death: idle connections and process handles.

One thread watches them all and says once which one ended: milliseconds after a death, where the
next observation would come within a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("hamanager")

LIMIT = 8000
"""Watched at once, two for each instance; more are refused, as descriptors are what the manager
cannot run out of."""
SHARE = 0.4
"""Of the descriptors that the process may have."""
CLOSE_SECONDS = 5.0

Key = tuple[str, str, str]


@dataclass(eq=False)
class _Wire:
    key: Key
    fileobj: socket.socket | int
    dropped: bool = False
    """Closed; only the watching thread looks at this."""


class Tripwires:
    """Watches descriptors by (service, instance, kind). Thread-safe.

    A watched descriptor belongs to this object: it is closed when it trips, when it is no longer
    watched, and at the end. Anything readable counts, data as well as the end: nothing is ever
    asked on these connections, so whatever a server says there is a farewell.
    """

    def __init__(self, on_trip: Callable[[str, str, str], None]) -> None:
        """`on_trip(service, instance, kind)` is called once per trip, in the watching thread: it
        has to return soon."""
        self._on_trip = on_trip
        self._share = int(SHARE * resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._lock = threading.Lock()
        self._wires: dict[Key, _Wire] = {}
        self._changed: list[_Wire] = []
        self._closing = False
        # Only the thread touches the selector and closes descriptors: one closed elsewhere
        # could be another's by the time the selector speaks of it.
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="tripwires", daemon=True)
        self._thread.start()

    def watch(self, service: str, instance: str, kind: str, fileobj: socket.socket | int) -> bool:
        """Watch a descriptor from now on. False, and it is closed at once, when one is watched
        under that name already, when there are too many, or after `close`."""
        wire = _Wire((service, instance, kind), fileobj)
        with self._lock:
            accepted = (
                not self._closing
                and wire.key not in self._wires
                and len(self._wires) < min(LIMIT, self._share)
            )
            if accepted:
                self._wires[wire.key] = wire
                self._changed.append(wire)
                self._wake()
        if not accepted:
            _close(fileobj)
        return accepted

    def unwatch(self, service: str, instance: str | None = None, kind: str | None = None) -> None:
        """Watch no more: one descriptor, all of an instance, or all of a service. Those calls of
        `on_trip` that have not begun yet do not come."""
        with self._lock:
            for key in list(self._wires):
                if key[0] == service and instance in (None, key[1]) and kind in (None, key[2]):
                    self._changed.append(self._wires.pop(key))
            self._wake()

    def has(self, service: str, instance: str, kind: str) -> bool:
        """Whether a descriptor is watched under that name."""
        with self._lock:
            return (service, instance, kind) in self._wires

    def close(self) -> None:
        """Stop watching and close everything; safe to repeat."""
        with self._lock:
            self._closing = True
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    # --- The thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while self._take_changes():
            for ready, _ in self._selector.select():
                if ready.data is None:
                    with contextlib.suppress(BlockingIOError):
                        self._wake_receiver.recv(4096)
                else:
                    self._trip(ready.data)
        for registered in list(self._selector.get_map().values()):
            if registered.data is not None:
                self._drop(registered.data)
        self._selector.close()
        self._wake_receiver.close()
        with self._lock:
            self._wake_sender.close()

    def _take_changes(self) -> bool:
        """Register what is new, drop what is no longer watched; False at the end."""
        with self._lock:
            changed, self._changed = self._changed, []
            if self._closing:
                self._wires.clear()
            wanted = [self._wires.get(wire.key) is wire for wire in changed]
            going_on = not self._closing
        for wire, is_wanted in zip(changed, wanted, strict=True):
            if is_wanted:
                self._register(wire)
            else:
                self._drop(wire)
        return going_on

    def _register(self, wire: _Wire) -> None:
        try:
            self._selector.register(wire.fileobj, selectors.EVENT_READ, wire)
        except (OSError, ValueError, KeyError) as error:
            log.debug("%s of %s cannot be watched: %s", wire.key[2], wire.key[1], error)
            with self._lock:
                if self._wires.get(wire.key) is wire:
                    del self._wires[wire.key]
            if not isinstance(error, KeyError):  # which means: it is another wire's too
                self._drop(wire)

    def _drop(self, wire: _Wire) -> None:
        # One may be among the changes twice; its number may be another descriptor's by then.
        if not wire.dropped:
            wire.dropped = True
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(wire.fileobj)
            _close(wire.fileobj)

    def _trip(self, wire: _Wire) -> None:
        with self._lock:
            wanted = self._wires.get(wire.key) is wire
            if wanted:
                del self._wires[wire.key]
        if not wanted:
            return  # it is among the changes to be taken, which closes it
        self._drop(wire)
        try:
            self._on_trip(*wire.key)
        except Exception:
            # The caller's bug must not end the watch over everything else.
            log.exception("the end of %s could not be reported", wire.key[1])

    def _wake(self) -> None:
        """With the lock held: let the thread look at the changes."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_sender.send(b"\0")


def _close(fileobj: socket.socket | int) -> None:
    with contextlib.suppress(OSError):
        if isinstance(fileobj, int):
            os.close(fileobj)
        else:
            fileobj.close()
