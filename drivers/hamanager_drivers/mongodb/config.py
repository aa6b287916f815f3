"""How a MongoDB server is started, and what a new set agrees on."""

from __future__ import annotations

import json
from typing import Any

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, FileContent, LaunchSpec
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import AUTHORITIES, BOTH, certificate_files
from hamanager_drivers.guard import guarded
from hamanager_drivers.naming import APPLICATION, database_of

PORT = 27017
RESERVED = ("admin", "config", "local")
"""Databases of the server's own."""
GIGABYTE = 1024**3
SMALLEST_CACHE_BYTES = GIGABYTE // 4
"""The engine takes no less."""
DEFAULT_CACHE_BYTES = GIGABYTE // 2
"""Without a limit: the engine's own default, half of the machine, would be taken by each member."""
OUTSIDE_CACHE_BYTES = GIGABYTE // 8
"""Connections, queries and the engine itself."""

SET_SETTINGS: dict[str, Any] = {
    # The manager steps a standby up as soon as the primary counts as failed (3 s of silence unless
    # the service says otherwise). The set must not be faster than that, and a short stall of
    # a disk must not cause an election; by itself it only acts when the manager is away.
    "electionTimeoutMillis": 5000,
    # How fast members hear of a death that closes no connection, of a new configuration, and of
    # each other's positions: a member without a source has to know that the new primary is ahead.
    "heartbeatIntervalMillis": 100,
    "heartbeatTimeoutSecs": 2,
    # A new primary first fetches what others have and it lacks; that is never anything that a
    # majority acknowledged, and a hung member would delay it for as long as this.
    "catchUpTimeoutMillis": 2000,
}


def database(service: ServiceContext) -> str:
    """The application's own."""
    return database_of(service.name, RESERVED)


def launch_spec(service: ServiceContext, target: Target) -> LaunchSpec:  # noqa: ARG001
    """All members are started alike; who is who is written in the set's own configuration."""
    # It takes four fifths of the soft limit of open files for clients, and leaves that as it finds
    # it: with 1,024, as containers often have it, 819.
    return LaunchSpec(
        script=f'ulimit -n "$(ulimit -Hn)" && mkdir -p {DATA_DIRECTORY}/mongodb || exit\n'
        + guarded(f"mongod --config {FILES_DIRECTORY}/mongod.conf"),
        port=PORT,
        holds_stop=True,
        files={
            "mongod.conf": FileContent(_configuration(service)),
            "keyfile": FileContent(service.secrets["key"], mode=0o400),
            ".mongoshrc.js": FileContent(_client(service)),
        }
        | certificate_files(service.encryption),
    )


def _client(service: ServiceContext) -> str:
    """What mongosh runs first (MongoDB Shell documentation, "Execute Code From a .mongoshrc.js
    File"): it connects as the application."""
    name = database(service)
    url = f"mongodb://{APPLICATION}:{service.secrets['password']}@127.0.0.1:{PORT}/{name}"
    if service.encryption is not None:
        url += f"?tls=true&tlsCAFile={AUTHORITIES}"
    return f"db = connect({json.dumps(url)});\n"


def cache_bytes(memory_bytes: int | None) -> int:
    """Size of the storage engine's cache under that limit."""
    if memory_bytes is None:
        return DEFAULT_CACHE_BYTES
    return max(SMALLEST_CACHE_BYTES, memory_bytes // 2 - OUTSIDE_CACHE_BYTES)


def _encrypted(service: ServiceContext) -> list[str]:
    """Members prove who they are by the key file, as ever, and clients by their passwords."""
    if service.encryption is None:
        return []
    return [
        "  tls:",
        "    mode: requireTLS",
        f"    certificateKeyFile: {BOTH}",
        f"    CAFile: {AUTHORITIES}",
        "    allowConnectionsWithoutCertificates: true",
        "    disabledProtocols: TLS1_0,TLS1_1",
    ]


def _configuration(service: ServiceContext) -> str:
    parameters = {
        # Metrics files for the vendor's support: 200 MB of disk and a steady write load.
        "diagnosticDataCollectionEnabled": False,
        # An idle primary writes a marker this often: so a standby's lag is measured against
        # something recent, and a link that carries nothing shows.
        "periodicNoopIntervalSecs": 1,
        # How long a stopping member waits for others to catch up and for clients to leave; the
        # default of 15 s is spent in full.
        "shutdownTimeoutMillisForSignaledShutdown": 2000,
        # A hung sync source is left after half an election time-out and this (default 5 s).
        "oplogNetworkTimeoutBufferSeconds": 1,
        # A member that gives up a dead source while nobody is ahead of it waits for a second, and
        # with it the first write of a majority. With so many attempts (their pauses double, a
        # second in all) it is still trying when the new primary has begun to lead.
        "oplogFetcherSteadyStateMaxFetcherRestarts": 10,
        # An attempt on a host that does not answer takes this and the buffer (default 7 s), before
        # the member asks itself again who is ahead; `chain.py` makes it less while it runs.
        "oplogRetriedFindMaxSeconds": 1,
    }
    lines = [
        "storage:",
        f"  dbPath: {DATA_DIRECTORY}/mongodb",
        "  wiredTiger:",
        "    engineConfig:",
        f"      cacheSizeGB: {cache_bytes(service.memory_bytes) / GIGABYTE:.3f}",
        "net:",
        f"  port: {PORT}",
        "  bindIpAll: true",
        "  unixDomainSocket:",
        "    enabled: false",
        *_encrypted(service),
        "security:",
        "  authorization: enabled",
        f"  keyFile: {FILES_DIRECTORY}/keyfile",
        "replication:",
        f"  replSetName: {json.dumps(service.name)}",
        "systemLog:",
        "  quiet: true",
        "setParameter:",
        *(f"  {name}: {json.dumps(value)}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"
