"""What HAProxy is told: which slot of which listener leads where. Pure.

A listener has a fixed number of slots (HAProxy's servers), whose addresses change while it runs. A
new route gets a slot of its own, so that the connections of the former one can be told apart and
ended.

New clients of a listener that leads to nobody wait in HAProxy's queue, which it empties the moment
that a slot is taken into use. It queues only for servers that are busy, not for those in
maintenance: so there is one more server then, `wait`, which takes a single connection, and that one
is the manager's own (see `Occupants`). Should it be missing, the first client is held in its stead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from hamanager.contracts.endpoint import Listener, ListenerKind, Route

RETRY_MS = 10
"""Time-out of a connection to a server, and the pause before the next try."""
WAIT_SECONDS = 10
"""How long a new connection waits for a server that accepts it."""
NOBODY = Route(instance="", host="127.0.0.1", port=1)
"""Where a slot leads that has never been used."""
WAIT = "wait"
"""The server whose one place is taken: who else comes to it waits in the queue."""
MOST_CONNECTIONS = 60_000
"""Of a slot. HAProxy lets none out of the queue to a server without a limit (3.0.11)."""
MOST_RELOADS = 50
"""Connections live on through so many reloads, about one for each service that is made or removed;
whoever is connected for longer has to come again. Each costs a process of some 10 MB meanwhile."""
ETC, RUN = "/hamanager/etc", "/hamanager/run"
"""Where the two directories shared with the manager are mounted in the container: the manager's,
which HAProxy only reads, and HAProxy's own."""
CONFIGURATION, CONTROL = "haproxy.cfg", "control.sock"
HOLD = f"{RUN}/hold.sock"
"""Where the server `wait` leads: connections are accepted there, and nothing is said."""


class Mode(StrEnum):
    """Whether a slot is used; HAProxy's own words."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Slot(_Frozen):
    """One of HAProxy's servers."""

    route: Route = NOBODY
    mode: Mode = Mode.MAINT


class Backend(_Frozen):
    """A listener and its slots."""

    service: str
    listener: Listener
    slots: tuple[Slot, ...]
    turn: int = 0
    """The slot that was taken into use last."""

    @property
    def has_queue(self) -> bool:
        """Whether its clients wait while it leads to nobody."""
        return self.listener.kind is ListenerKind.PRIMARY

    @property
    def waits(self) -> bool:
        """Whether they do now."""
        return self.has_queue and all(slot.mode is Mode.MAINT for slot in self.slots)

    @property
    def servers(self) -> set[str]:
        """What HAProxy knows of it."""
        slots = {f"s{number}" for number in range(len(self.slots))}
        return slots | {WAIT} if self.has_queue else slots

    @property
    def shape(self) -> tuple[object, ...]:
        """What only a reload can change."""
        told = self.listener
        return (told.name, told.kind, told.host, told.port, told.health_path, len(self.slots))


def arrange(service: str, present: Backend | None, wanted: Listener) -> Backend:
    """The slots for that listener: those that lead where they should stay as they are."""
    size = max(wanted.capacity, len(wanted.routes), len(present.slots) if present else 0)
    slots = list(present.slots) if present else []
    slots += [Slot()] * (size - len(slots))
    turn = present.turn if present else size - 1
    missing = []
    kept: dict[int, Slot] = {}
    for route in wanted.routes:
        mode = Mode.DRAIN if route.draining else Mode.READY
        at = _slot_of(slots, route)
        if at is None:
            missing.append((route, mode))
        else:
            kept[at] = Slot(route=route, mode=mode)
    for route, mode in missing:
        others = [i % size for i in range(turn + 1, turn + 1 + size)]
        free = [i for i in others if slots[i].mode is Mode.MAINT]
        turn = next(i for i in [*free, *others] if i not in kept)
        kept[turn] = Slot(route=route, mode=mode)
    arranged = tuple(
        kept.get(i, Slot(route=slot.route, mode=Mode.MAINT)) for i, slot in enumerate(slots)
    )
    return Backend(service=service, listener=wanted, slots=arranged, turn=turn)


def _slot_of(slots: list[Slot], route: Route) -> int | None:
    for number, slot in enumerate(slots):
        same = (slot.route.instance, slot.route.host, slot.route.port) == (
            route.instance,
            route.host,
            route.port,
        )
        if same and slot.mode is not Mode.MAINT:
            return number
    return None


def retired(before: Backend | None, after: Backend) -> set[int]:
    """Slots that were in use and are not any more."""
    if before is None:
        return set()
    return {
        number
        for number, slot in enumerate(before.slots)
        if slot.mode is not Mode.MAINT and not _leads_there_still(slot, after.slots[number])
    }


def _leads_there_still(before: Slot, after: Slot) -> bool:
    a, b = before.route, after.route
    return after.mode is not Mode.MAINT and (a.host, a.port) == (b.host, b.port)


# --- Commands -----------------------------------------------------------------------------------

# Of the bits in `srv_admin_state`: "disabled" in the configuration (0x04) only says how it began.
_MAINTENANCE, _DRAIN = 0x63, 0x18

_STATE_COLUMNS = ("be_name", "srv_name", "srv_addr", "srv_port", "srv_admin_state")

Actual = Mapping[str, tuple[str, int, Mode]]
"""Per slot name, where it leads now and whether it is used."""


def changes(backend: Backend, actual: Actual, address: Callable[[str], str]) -> list[str]:
    """The commands that make the running HAProxy what is written down: what is taken into use
    first, so that there is never nothing."""
    first, then = [], []
    if backend.has_queue:
        waits, server = actual[WAIT][2] is not Mode.MAINT, f"{backend.listener.name}/{WAIT}"
        if backend.waits and not waits:
            first.append(f"set server {server} state ready")
        elif waits and not backend.waits:
            # Whoever is held there comes again at once.
            then += [f"set server {server} state maint", f"shutdown sessions server {server}"]
    for number, slot in enumerate(backend.slots):
        name = f"s{number}"
        host, port, mode = actual[name]
        wanted = address(slot.route.host), slot.route.port
        server = f"{backend.listener.name}/{name}"
        if slot.mode is Mode.MAINT:
            if mode is not Mode.MAINT:
                then.append(f"set server {server} state maint")
            continue
        if (host, port) != wanted:
            first.append(f"set server {server} addr {wanted[0]} port {wanted[1]}")
        if mode is not slot.mode:
            first.append(f"set server {server} state {slot.mode}")
    return first + then


def parse_states(text: str) -> dict[str, dict[str, tuple[str, int, Mode]]]:
    """The answer to `show servers state`, by listener."""
    columns: list[str] = []
    of = name = addr = port = state = 0
    found: dict[str, dict[str, tuple[str, int, Mode]]] = {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith("# "):
            columns = words[1:]
            of, name, addr, port, state = (columns.index(column) for column in _STATE_COLUMNS)
        elif columns and len(words) == len(columns):
            admin = int(words[state])
            mode = (
                Mode.MAINT if admin & _MAINTENANCE else Mode.DRAIN if admin & _DRAIN else Mode.READY
            )
            found.setdefault(words[of], {})[words[name]] = (words[addr], int(words[port]), mode)
    return found


def let_out(backend: Backend) -> list[str]:
    """The commands that let out of the queue whoever is still in it: HAProxy lets a few hundred go
    when a slot is taken into use (`tune.maxpollevents`), and as many with each of these."""
    used = [f"s{n}" for n, slot in enumerate(backend.slots) if slot.mode is Mode.READY]
    return [
        f"set maxconn server {backend.listener.name}/{name} {MOST_CONNECTIONS}" for name in used
    ]


def parse_queued(text: str) -> int:
    """How many wait, from the answer to `show stat NAME 2 -1` (2: what is told of the backend)."""
    lines = [line.removeprefix("# ").split(",") for line in text.splitlines() if line]
    return sum(int(row[lines[0].index("qcur")]) for row in lines[1:])


# --- The configuration --------------------------------------------------------------------------

_HEAD = f"""\
# Written by hamanager, which changes it and HAProxy together: what is written here is in force.
global
    log stdout format raw daemon notice
    fd-hard-limit 65536
    # Each reload leaves a worker behind that serves who was connected; so many at the most.
    mworker-max-reloads {MOST_RELOADS}

defaults
    log global
    option redispatch 1
    option clitcpka
    option srvtcpka
    retries {WAIT_SECONDS * 1000 // RETRY_MS}
    timeout connect {RETRY_MS}ms
    timeout check 2s
    timeout queue {WAIT_SECONDS}s
    # Databases' clients keep idle connections for as long as they like.
    timeout client 20d
    timeout server 20d

frontend hold
    mode tcp
    bind unix@{HOLD} mode 600
    tcp-request inspect-delay {WAIT_SECONDS}s
    tcp-request content reject if WAIT_END
"""
_HTTP = """\
    mode http
    balance roundrobin
    option forwardfor
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout connect 50ms
    retries 200
    default-server check inter 500ms fall 2 rise 1
"""


def render(backends: Iterable[Backend], address: Callable[[str], str]) -> str:
    """The whole configuration; it holds no secret."""
    return "\n".join([_HEAD, *(_section(backend, address) for backend in backends)])


def _section(backend: Backend, address: Callable[[str], str]) -> str:
    listener = backend.listener
    lines = [f"listen {listener.name}"]
    if listener.kind is ListenerKind.HTTP:
        lines += _HTTP.splitlines()
        if listener.health_path is not None:
            lines += [
                f"    option httpchk GET {listener.health_path}",
                "    http-check expect status 200-399",
            ]
    else:
        lines.append("    mode tcp")
        if listener.kind is ListenerKind.READS:
            lines.append("    balance leastconn")
    lines.append(f"    bind {address(listener.host)}:{listener.port}")
    if backend.has_queue:
        used = "" if backend.waits else " disabled"
        lines += [
            # Who comes this way is the one that takes the place, whether it is in use or not.
            f"    bind unix@{RUN}/{way_in(backend)} mode 600 id 2",
            "    force-persist if { so_id 2 }",
            f"    use-server {WAIT} if {{ so_id 2 }}",
            f"    server {WAIT} unix@{HOLD} maxconn 1{used}",
        ]
    limit = f" maxconn {MOST_CONNECTIONS}" if backend.has_queue else ""
    for number, slot in enumerate(backend.slots):
        used = "" if slot.mode is Mode.READY else " disabled"
        where = f"{address(slot.route.host)}:{slot.route.port}"
        lines.append(f"    server s{number} {where}{limit}{used}")
    return "\n".join(lines) + "\n"


def way_in(backend: Backend) -> str:
    """The name of the socket by which the place in `wait` is taken."""
    return f"wait-{backend.listener.port}.sock"


def script() -> str:
    """How HAProxy is started in its container."""
    return f"exec haproxy -W -db -S {RUN}/{CONTROL},mode,600 -f {ETC}/{CONFIGURATION}"
