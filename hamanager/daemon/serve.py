"""`hamanager serve`: puts the daemon together and answers the API until it is told to stop."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn

from hamanager import paths
from hamanager.api.environment import EnvironmentFile
from hamanager.contracts.clock import SystemClock
from hamanager.contracts.driver import Driver
from hamanager.daemon import timeouts
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.canaries import Canaries
from hamanager.daemon.drilling import Drilling, in_process
from hamanager.daemon.http import make_app
from hamanager.daemon.leading import Leading
from hamanager.daemon.metrics import Metrics
from hamanager.daemon.places import Places
from hamanager.daemon.process import (
    log_to_standard_error,
    raise_descriptor_limit,
    shorten_collections,
    tell_ready,
)
from hamanager.daemon.remote import Listen, RemoteApi, offering
from hamanager.daemon.retained import Retained
from hamanager.daemon.supervisor import Daemon
from hamanager.daemon.telling import Telling
from hamanager.daemon.web import is_local, make_web, serving
from hamanager.discovery import load_drivers
from hamanager.endpoints.haproxy.endpoint import SIDECAR, HaproxyEndpoint
from hamanager.errors import HamanagerError, UsageError
from hamanager.model.manager import Manager
from hamanager.runtimes.docker.address import VARIABLE, bind_address
from hamanager.stores.opening import join, open_store, using
from hamanager.version import program_version

log = logging.getLogger("hamanager")

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def serve(
    home: Path,
    advertise_host: str | None = None,
    listen: Listen | None = None,
    store_url: str = "",
    name: str | None = None,
    on: str = "",
    web: tuple[str, int] | None = None,
    hooks: Path | None = None,
) -> None:
    """Run the daemon with that state directory and store until SIGINT or SIGTERM; `listen`: with
    the API also over TLS; `name`: what other managers on the store call this one; `on`: on the
    machine that is that host; `web`: with metrics and health there over plain HTTP;
    `hooks`: the file that names whom to tell of what happens.

    Raises:
        UsageError: there is no such store, the name cannot be one, or the hooks cannot be used.
        HamanagerError: the program's time-outs contradict each other.
        ConflictError: another daemon uses the directory, somebody the address, or the directory
            and the store do not go together.
        StoreError: the store cannot be used.
        RuntimeFailedError: the Docker engine does not answer.
    """
    log_to_standard_error()
    drivers = _checked(load_drivers())
    raise_descriptor_limit()
    shorten_collections()
    me = _manager(home, name)
    telling = Telling(hooks, me.name)
    with (
        paths.only_one(home),
        using(store_url, home),
        _listening(paths.socket_path(home)) as listener,
        offering(listen) as remote_listener,
        ExitStack() as while_serving,
    ):
        metrics, clock = Metrics(), SystemClock()
        store = metrics.heard(open_store(store_url, home, manages=True), clock, telling.note)
        manager_id = paths.manager_id(home)
        installation = join(store, store_url, home)
        places = Places(store, installation, advertise_host, on)
        runtime = places.runtime
        sidecar = SIDECAR if installation == manager_id else f"{SIDECAR}-{manager_id}"
        directory = paths.endpoint_directory(home)
        proxy = HaproxyEndpoint(directory, runtime.here, bind_address, sidecar)
        reached = places.address or advertise_host or os.environ.get(VARIABLE)
        own = reached if store_url else None
        addresses = Addresses(store, proxy, own)
        leading = Leading(store, clock, me, alone=not store_url)
        daemon = Daemon(
            store,
            drivers,
            runtime,
            addresses,
            clock,
            leading,
            EnvironmentFile(paths.environment_path(home), own),
            places.hosts(drivers.values(), SystemClock()),
        )
        metrics.watch(daemon.queries.watched)
        page = make_app(daemon, gated=True) if web and is_local(web[0]) else None
        while_serving.enter_context(serving(web, make_web(daemon.queries, metrics, page)))
        canaries = Canaries(store, clock, daemon.queries.canaries)
        daemon.queries.audited_by(canaries.problem)
        metrics.watch_canaries(canaries.acknowledged_seconds)
        while_serving.enter_context(canaries)
        retained = Retained(runtime, daemon.queries.watched)
        if web:
            metrics.watch_retained(retained.counted_bytes)
            while_serving.enter_context(retained)
        while_serving.enter_context(telling.watch(daemon.queries.states))
        # By hand or by schedule: a drill asks the manager on its own machine.
        own_socket = {"HAMANAGER_HOME": str(home), "HAMANAGER_MANAGER": ""}
        carry = in_process({**own_socket, "HAMANAGER_STORE": store_url})
        while_serving.enter_context(Drilling(store, clock, me.name, leading.leads, carry))
        addresses.begin(several=bool(store_url))
        daemon.start()
        log.info("hamanager %s is watching; state in %s", me.name, home)
        try:
            config = uvicorn.Config(
                make_app(daemon), log_level="warning", lifespan="off", timeout_graceful_shutdown=2
            )
            if listen is not None and remote_listener is not None:
                while_serving.enter_context(
                    RemoteApi(listen, remote_listener, daemon, SystemClock(), home, advertise_host)
                )
            # uvicorn ends at these by itself and then raises them once more.
            for ending in (signal.SIGINT, signal.SIGTERM):
                signal.signal(ending, lambda *_: None)
            tell_ready()  # who asks from now on is answered
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            while_serving.close()
            daemon.stop()
            addresses.close()
            proxy.close()
            runtime.close()
            store.close()
            log.info("stopped watching; the databases go on")


def _checked(drivers: Mapping[str, Driver]) -> Mapping[str, Driver]:
    """Those that can be used. Time-outs that contradict each other would show in the middle of a
    failover; a driver's cost its own engine alone."""
    found = timeouts.problems(timeouts.present({}))
    if found:
        raise HamanagerError(
            f"the time-outs of this hamanager contradict each other: {'; '.join(found)};"
            " nothing was started"
        )
    sound = {}
    for engine, driver in drivers.items():
        found = timeouts.problems(timeouts.present({engine: driver}))
        if found:
            log.error("the driver of '%s' was left out: %s", engine, "; ".join(found))
        else:
            sound[engine] = driver
    if not sound:
        raise HamanagerError(
            "no driver of any engine was found: install hamanager anew, with its entry points;"
            " nothing was started"
        )
    return sound


def _manager(home: Path, name: str | None) -> Manager:
    """What this one tells the others of itself."""
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' cannot be a manager's name: use up to 63 small letters, digits, dots and"
            " hyphens, such as host-1; nothing was started"
        )
    return Manager(
        name=name or paths.manager_id(home),
        incarnation=secrets.token_hex(8),
        place=paths.place(home),
        version=program_version(),
        started_at=time.time(),
    )


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A Unix socket that only its owner may use."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        previous = os.umask(stat.S_IRWXG | stat.S_IRWXO)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        listener.listen(128)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)
