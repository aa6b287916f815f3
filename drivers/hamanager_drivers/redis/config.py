"""How a Redis server is started."""

from __future__ import annotations

import hashlib

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, FileContent, LaunchSpec
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import AUTHORITIES, CERTIFICATE, KEY, certificate_files
from hamanager_drivers.guard import guarded
from hamanager_drivers.redis.torn import CUT_ZEROS

PORT = 6379
MANAGER = "hamanager"
REPLICATOR = "replicator"
APPLICATION = "default"
"""The user of clients that give no name."""
NOWHERE = ("127.0.0.1", 1)
"""The primary of a server that nobody has spoken to: nothing listens there. A server that
follows it refuses writes, and it never gives a full copy of itself to a former standby."""
MAX_LAG_SECONDS = 2
"""In strict mode a primary refuses writes when no standby was heard of for so long (standbys report
every second): what a cut-off primary accepts meanwhile can be lost."""
REFUSES_ALONE_SECONDS = MAX_LAG_SECONDS + 3.0
"""From a standby's last report until every write is refused: a report counts for MAX_LAG_SECONDS by
a clock of whole seconds (one more), which is looked at once a second (one more; Redis's
replication.c, `refreshGoodSlavesCount` and `replicationCron`); and one in case it is slow."""
CLIENT_PASSWORD = "client-password"  # noqa: S105
LARGEST_BACKLOG_BYTES = 64 * 1024**2
BACKLOG_SHARE = 0.1
LISTEN_BACKLOG = 4096
"""How many clients may come at once, as all do after a failover; Linux's own default limit."""
MEMORY_SHARE = 0.7
"""The part of the container's limit for data; the rest is for buffers and copy-on-write."""


def launch_spec(service: ServiceContext, target: Target, program: str) -> LaunchSpec:
    """One configuration file; nothing in it is ever rewritten by the server, so that it starts
    as a standby of nobody whoever starts it."""
    return LaunchSpec(
        script=CUT_ZEROS + guarded(f"{program} {FILES_DIRECTORY}/redis.conf"),
        port=PORT,
        holds_stop=True,
        files={
            "redis.conf": FileContent(_configuration(service, target)),
            CLIENT_PASSWORD: FileContent(service.secrets["password"]),
        }
        | certificate_files(service.encryption),
    )


def data_bytes(memory_bytes: int | None) -> int | None:
    """`maxmemory` under that limit; None is none."""
    return None if memory_bytes is None else int(memory_bytes * MEMORY_SHARE)


def backlog_bytes(memory_bytes: int | None) -> int:
    """How much of the stream is kept for standbys that were away for a moment; the engine counts it
    as data."""
    return (
        LARGEST_BACKLOG_BYTES
        if memory_bytes is None
        else min(LARGEST_BACKLOG_BYTES, int(memory_bytes * BACKLOG_SHARE))
    )


def _configuration(service: ServiceContext, target: Target) -> str:
    secrets = service.secrets
    # MIGRATE would send data away, SWAPDB takes it from under other clients.
    application = f"user {APPLICATION} on {_hashed(secrets['password'])} ~* &* +@all -@admin"
    lines = [
        *(_ports(service)),
        "bind * -::*",
        "protected-mode no",
        f"dir {DATA_DIRECTORY}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "replicaof {} {}".format(*NOWHERE),
        f"masteruser {REPLICATOR}",
        f"masterauth {secrets['replication_password']}",
        f"replica-announce-ip {target.host}",
        f"replica-announce-port {target.port}",
        # A silent link shows within seconds, and a copy starts at once.
        "repl-ping-replica-period 1",
        "repl-timeout 10",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        f"repl-backlog-size {backlog_bytes(service.memory_bytes)}",
        "tcp-keepalive 10",
        f"tcp-backlog {LISTEN_BACKLOG}",
        f"{application} -migrate -swapdb",
        f"user {MANAGER} on {_hashed(secrets['manager_password'])} ~* &* +@all",
        f"user {REPLICATOR} on {_hashed(secrets['replication_password'])} +psync +replconf +ping",
    ]
    lines.append(f"maxmemory {data_bytes(service.memory_bytes) or 0}")
    lines.append("maxmemory-policy noeviction")
    return "\n".join(lines) + "\n"


def _ports(service: ServiceContext) -> list[str]:
    """Standbys and the manager come as clients do. These prove who they are by their passwords, and
    the server by its certificate, before it hears one."""
    if service.encryption is None:
        return [f"port {PORT}"]
    return [
        "port 0",
        f"tls-port {PORT}",
        f"tls-ca-cert-file {AUTHORITIES}",
        f"tls-cert-file {CERTIFICATE}",
        f"tls-key-file {KEY}",
        "tls-auth-clients no",
        "tls-replication yes",
        'tls-protocols "TLSv1.2 TLSv1.3"',
    ]


def _hashed(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()
