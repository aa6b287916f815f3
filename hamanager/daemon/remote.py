"""`serve --listen`: the API over TLS. The certificate is made by the installation's authority, and
made anew in time; callers prove who they are by a certificate of it or by a token."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hamanager.authority.certificates import Certified, Wanted, due
from hamanager.contracts.clock import Clock
from hamanager.daemon.gate import PEER
from hamanager.daemon.http import ManagerPort, make_app
from hamanager.daemon.listening import listening
from hamanager.errors import HamanagerError, UsageError

log = logging.getLogger("hamanager")

CERTIFICATE_DAYS = 90
LOOK_SECONDS = 10.0
"""So often it is looked whether the certificate is due, or the authority another one."""
CONNECTIONS = 512
GRACE_SECONDS = 2


def address_of(text: str) -> tuple[str, int]:
    """Where to listen, as an operator writes it.

    Raises:
        UsageError: that is no HOST:PORT.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise UsageError(
            f"'{text}' is no address to listen at: write HOST:PORT, such as 0.0.0.0:7432"
        )
    return host, int(port)


@dataclass(frozen=True)
class Listen:
    """Where the API is offered."""

    host: str
    port: int
    names: tuple[str, ...] = ()
    """More names that the certificate is made out to."""
    own: Certified | None = None
    """An operator's own certificate."""

    @classmethod
    def at(cls, address: str, names: Sequence[str] = (), own: Certified | None = None) -> Listen:
        """As an operator writes it.

        Raises:
            UsageError: that is no HOST:PORT.
        """
        return cls(*address_of(address), tuple(names), own)


class PeerProtocol(H11Protocol):
    """Leaves the caller's certificate, which the handshake has verified, with each request."""

    context: ssl.SSLContext | None = None
    """With which the handshake was made."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection was accepted."""
        super().connection_made(transport)
        found = transport.get_extra_info("ssl_object")
        self.context = found.context if found else None
        self.app_state = {**self.app_state, PEER: found.getpeercert() if found else None}


class RemoteApi:
    """The API over TLS: a socket, and a server on it in a thread of its own. A context manager."""

    def __init__(
        self,
        listen: Listen,
        listener: socket.socket,
        manager: ManagerPort,
        clock: Clock,
        directory: Path,
        advertise_host: str | None = None,
    ) -> None:
        self._listen = listen
        self._app = make_app(manager, gated=True)
        self._authority = manager.authority
        self._clock = clock
        self._directory = directory
        self._names = _names(listen, advertise_host)
        self._socket = listener
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remote-api", daemon=True)
        self._present: Certified | None = None
        self._context: ssl.SSLContext | None = None
        """What new connections are made with."""
        self._trusted = ""
        self._problem = ""

    def __enter__(self) -> RemoteApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=GRACE_SECONDS + 5)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._renew()
            except (HamanagerError, OSError) as error:
                self._warn("the API is not offered", error)
                self._stopping.wait(1.0)
                continue
            server = self._server()
            watching = threading.Thread(target=self._watch, args=(server,), daemon=True)
            watching.start()
            log.info("the API is offered at https://%s:%d", self._listen.host, self.port)
            with suppress(OSError):
                server.run(sockets=[self._socket.dup()])
            server.should_exit = True
            watching.join()

    def _watch(self, server: uvicorn.Server) -> None:
        """The server goes on while its certificate or the authority changes: whoever is being
        answered is, and each new connection is made with the latest."""
        while not server.should_exit and not self._stopping.wait(LOOK_SECONDS):
            if not self._changed():
                continue
            try:
                self._renew()
            except (HamanagerError, OSError) as error:
                self._warn("the API keeps its former certificate", error)
                continue
            for accepting in server.servers:
                accepting.get_loop().call_soon_threadsafe(self._hang_up, server)
        server.should_exit = True

    def _hang_up(self, server: uvicorn.Server) -> None:
        """End the connections of before: at once where a request was answered, and those which
        nobody has asked anything yet in a moment."""
        for connection in list(server.server_state.connections):
            assert isinstance(connection, PeerProtocol)
            if connection.context is self._context or connection.context is None:
                continue
            if connection.cycle is not None:
                connection.shutdown()
            else:
                connection.loop.call_later(GRACE_SECONDS, connection.shutdown)

    def _warn(self, what: str, error: Exception) -> None:
        if str(error) != self._problem:
            log.warning("%s at %s: %s", what, self._listen.host, error)
        self._problem = str(error)

    def _changed(self) -> bool:
        try:
            is_due = self._listen.own is None and (
                self._present is None or due(self._present.certificate, self._clock.now())
            )
            return is_due or self._authority.trust().bundle != self._trusted
        except HamanagerError as error:
            log.debug("the authority was not looked at: %s", error)
            return False

    def _renew(self) -> None:
        trusted = self._authority.trust().bundle
        if self._listen.own is not None:
            self._present = self._listen.own
        elif (
            self._present is None
            or trusted != self._trusted
            or due(self._present.certificate, self._clock.now())
        ):
            wanted = Wanted("hamanager-manager", self._names, days=CERTIFICATE_DAYS)
            self._present = self._authority.issue(wanted)
        self._context = self._context_of(self._present, trusted)
        self._trusted = trusted
        self._problem = ""

    def _server(self) -> uvicorn.Server:
        config = uvicorn.Config(
            self._app,
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        config.load()
        assert self._context is not None
        config.ssl = self._context
        config.ssl.sni_callback = self._use_the_latest
        return uvicorn.Server(config)

    def _use_the_latest(self, handshake: ssl.SSLObject, *_: object) -> None:
        """In each handshake, whether or not the client names whom it wants."""
        assert self._context is not None
        handshake.context = self._context

    def _context_of(self, present: Certified, trusted: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_OPTIONAL
        # Nobody comes back by a session of before, whose certificate would not be looked at again.
        context.num_tickets = 0
        context.load_verify_locations(cadata=trusted)
        # Python takes a key from a file only: a private one, gone when it was read.
        with tempfile.NamedTemporaryFile("w", dir=self._directory, suffix=".pem") as file:
            file.write(present.certificate + present.key)
            file.flush()
            try:
                context.load_cert_chain(file.name, password="")
            except (ssl.SSLError, ValueError):
                raise UsageError(
                    "the listener's certificate and key do not belong together, or are none"
                ) from None
        return context


@contextmanager
def offering(listen: Listen | None) -> Iterator[socket.socket | None]:
    """A socket at that address; none where none is wanted.

    Raises:
        ConflictError: the address cannot be had.
    """
    if listen is None:
        yield None
        return
    with listening(listen.host, listen.port, "the API", "--listen") as listener:
        yield listener


def _names(listen: Listen, advertise_host: str | None) -> tuple[str, ...]:
    """Every name and address that a caller may know this machine by."""
    found = [*listen.names, "localhost", "127.0.0.1", "::1", socket.gethostname()]
    if advertise_host:
        found.append(advertise_host)
    if listen.host in ("0.0.0.0", "::"):  # noqa: S104 - an operator's word
        found += _addresses()
    else:
        found.append(listen.host)
    return tuple(dict.fromkeys(name for name in found if name))


def _addresses() -> list[str]:
    """This machine's own: those of its name, and the one that leads out."""
    found = []
    with suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)]
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("192.0.2.1", 9))  # sends nothing
        found.append(str(asking.getsockname()[0]))
    return [address for address in found if "%" not in address]
