"""A thousand plain clients in one light program, for `make crowd`.

Each has a socket of its own, notices at once when it ends, connects again to the same address,
logs in and writes; a failed attempt is repeated after a pause. MongoDB's clients go to the primary
that a monitor finds, as a driver's connections do; a driver would open two at a time, they connect
all at once.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Generator

from benchmarks.crowd_wires import WIRES, Link, MongoWire, TurnedAwayError, Wire

ANSWER_SECONDS = 12.0
"""Longer than a connection may wait at the address for a primary."""
PAUSE_SECONDS = 0.01
"""After a failed attempt."""
PERIOD_SECONDS = 5.0
"""About so often an undisturbed client writes."""
EVENTS = 256
"""Looked at before the time is looked at again."""

Life = Generator[float | None, None, None]


class Client:
    """One of them: at any time it has a connection, is opening one, or waits to do so."""

    def __init__(self, crowd: Crowd, name: int) -> None:
        self.crowd, self.name = crowd, name
        self.link: Link | None = None
        self.address: tuple[str, int] | None = None
        self.life: Life | None = None
        self.connecting = self.idle = self.written = False
        self.number = 0
        self.turn = 0
        """Grows with everything that happens: what was planned before is off."""
        self.began = 0.0
        """When it began to come back (monotonic)."""
        self.fresh: list[tuple[float, float]] = []
        """With when its first write (or question) after that was answered."""

    def lead_life(self, link: Link) -> Life:
        """From the login on."""
        wire = self.crowd.wire
        yield from wire.log_in(link)
        while True:
            self.number += 1
            if self.crowd.writing or self.written:
                yield from wire.write(link, self.name, self.number)
            else:
                yield from wire.ask_nothing(link)
            if not self.written:
                self.written = True
                self.fresh.append((self.began, time.monotonic()))
            yield PERIOD_SECONDS * random.uniform(0.5, 1.5)

    def where(self) -> tuple[str, int] | None:
        """Where to connect to; None while nobody knows."""
        return self.crowd.primary

    def failed(self, error: Exception) -> None:
        """It has no connection any more."""
        if isinstance(error, TurnedAwayError):
            what = str(error)
        else:
            what = "ended in use" if self.written else type(error).__name__
        self.crowd.failures[what] += 1
        self.crowd.lost_primary(self.address)
        self.crowd.plan(self, 0.0 if self.written else PAUSE_SECONDS)


class Preparer(Client):
    """Makes what the others need, and leaves."""

    def lead_life(self, link: Link) -> Life:
        """Once."""
        yield from self.crowd.wire.log_in(link)
        yield from self.crowd.wire.prepare(link)
        self.crowd.begin()
        yield float("inf")


class Monitor(Client):
    """Asks MongoDB's members in turn who leads."""

    def lead_life(self, link: Link) -> Life:
        """Until one says that it does."""
        assert isinstance(self.crowd.wire, MongoWire)
        yield from self.crowd.wire.leads(link)
        assert self.address is not None
        self.crowd.found_primary(self.address)
        yield float("inf")

    def where(self) -> tuple[str, int]:
        """The next one."""
        addresses = self.crowd.wire.addresses
        return addresses[self.number % len(addresses)]

    def failed(self, error: Exception) -> None:  # noqa: ARG002
        """Ask the next one."""
        self.number += 1
        if self.crowd.primary is None:
            self.crowd.plan(self, PAUSE_SECONDS)


class Crowd:
    """All of them, and what they wait for."""

    def __init__(self, engine: str, url: str, clients: int) -> None:
        self.wire: Wire = WIRES[engine](url)
        self.clients = [Client(self, name) for name in range(clients)]
        self.writing = True
        """Whether a new connection writes at once; otherwise it only asks something."""
        self.failures: Counter[str] = Counter()
        """Attempts that failed, and connections that ended, by what was seen."""
        self.primary: tuple[str, int] | None = self.wire.addresses[0]
        self._monitor = Monitor(self, -1) if isinstance(self.wire, MongoWire) else None
        self._waiting: list[Client] = []
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Client] = {}
        self._plans: list[tuple[float, int, Client, int]] = []
        self._numbers = itertools.count()

    # --- Orders ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Let all of them connect and write."""
        self.plan(Preparer(self, -2), 0.0)
        if self._monitor:
            self.lost_primary(self.primary)

    def begin(self) -> None:
        """There is something to write to."""
        for client in self.clients:
            self.plan(client, 0.0)

    def again(self) -> None:
        """Close every connection, and let all of them come back at once, without writing."""
        self.writing = False
        for client in self.clients:
            self._close(client)
            self.plan(client, 0.0)

    def forget(self) -> None:
        """Begin to count anew."""
        self.writing = True
        self.failures.clear()
        for client in self.clients:
            client.fresh.clear()

    def back_since(self, moment: float) -> list[float]:
        """When each of those had written again that began to come back after that moment."""
        firsts = (
            next((done for began, done in client.fresh if began >= moment), None)
            for client in self.clients
        )
        return [at for at in firsts if at is not None]

    def sockets(self) -> int:
        """How many have written on the connection that they have."""
        return sum(client.written for client in self.clients)

    # --- What clients do -------------------------------------------------------------------------

    def plan(self, client: Client, seconds: float) -> None:
        """Let it connect after that time."""
        client.began = time.monotonic()
        client.written = False
        self._later(client, seconds)

    def lost_primary(self, address: tuple[str, int] | None) -> None:
        """Where nobody answers any more; the only address there is stays."""
        if self._monitor is not None and self.primary is not None and address == self.primary:
            self.primary = None
            self.plan(self._monitor, 0.0)

    def found_primary(self, address: tuple[str, int]) -> None:
        """Everybody goes there."""
        self.primary = address
        waiting, self._waiting = self._waiting, []
        for client in waiting:
            self._later(client, 0.0)

    def _later(self, client: Client, seconds: float) -> None:
        client.turn += 1
        due = time.monotonic() + seconds
        heapq.heappush(self._plans, (due, next(self._numbers), client, client.turn))

    # --- The machine -----------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let them live for that time."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            while self._plans and self._plans[0][0] <= now:
                _, _, client, turn = heapq.heappop(self._plans)
                if client.turn == turn:
                    self._on_time(client)
            next_plan = self._plans[0][0] if self._plans else end
            for descriptor, _ in self._poll.poll(max(0.0, min(end, next_plan) - now), EVENTS):
                if descriptor in self._by_descriptor:
                    self._on_event(self._by_descriptor[descriptor])

    def close(self) -> None:
        """End all connections."""
        for client in list(self._by_descriptor.values()):
            self._close(client)
        self._poll.close()

    def _on_time(self, client: Client) -> None:
        if client.link is None:
            self._connect(client)
        elif client.idle:
            self._go_on(client)
        else:
            self._fail(client, TimeoutError())

    def _connect(self, client: Client) -> None:
        address = client.where()
        if address is None:
            self._waiting.append(client)
            return
        opened = socket.socket()
        opened.setblocking(False)
        opened.connect_ex(address)  # its outcome is told by the first event
        client.link, client.address = Link(opened), address
        client.connecting, client.idle = True, False
        self._by_descriptor[opened.fileno()] = client
        self._poll.register(opened, select.EPOLLOUT)
        self._later(client, ANSWER_SECONDS)

    def _on_event(self, client: Client) -> None:
        link = client.link
        assert link is not None
        try:
            if client.connecting:
                if error := link.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(error, "not connected")
                client.connecting = False
                self._poll.modify(link.socket, select.EPOLLIN)
                client.life = client.lead_life(link)
            else:
                data = link.socket.recv(65536)
                if not data or client.idle:
                    raise EOFError
                link.received += data
        except BlockingIOError:
            return
        except (OSError, EOFError) as error:
            self._fail(client, error)
            return
        self._go_on(client)

    def _go_on(self, client: Client) -> None:
        assert client.life is not None
        try:
            idle_seconds = next(client.life)
        except (OSError, TurnedAwayError) as error:
            self._fail(client, error)
            return
        client.idle = idle_seconds is not None
        if idle_seconds == float("inf"):
            self._close(client)
        else:
            self._later(client, ANSWER_SECONDS if idle_seconds is None else idle_seconds)

    def _fail(self, client: Client, error: Exception) -> None:
        self._close(client)
        client.failed(error)

    def _close(self, client: Client) -> None:
        client.turn += 1
        link, client.link, client.life = client.link, None, None
        if link is not None:
            self._by_descriptor.pop(link.socket.fileno(), None)
            link.socket.close()
