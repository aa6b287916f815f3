"""How a MySQL server is started."""

from __future__ import annotations

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, FileContent, LaunchSpec
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.certificates import AUTHORITIES, CERTIFICATE, KEY, certificate_files
from hamanager_drivers.guard import ending_with
from hamanager_drivers.naming import APPLICATION, database_of

PORT = 3306
ADMIN_PORT = 33062
"""The administrative interface, whose connections are not counted and need a right of their own
(MySQL Reference Manual, "Connection Interfaces")."""
MANAGER = "hamanager"
REPLICATOR = "hamanager_replication"
MARKER_SCHEMA = "hamanager"
"""Its creation is a service's first transaction: a server that has executed none is empty."""

RESERVED = (MARKER_SCHEMA, "mysql", "sys", "information_schema", "performance_schema")
"""Databases that no application may have for its own."""

HEARTBEAT_SECONDS = 0.5
"""How often an idle primary says on each replication link that it is alive."""
SILENT_LINK_SECONDS = 2
"""After so long a standby gives a link up and tries to connect anew, every second."""

MIB = 1024**2
DEFAULT_POOL_BYTES = 128 * MIB
SMALLEST_POOL_BYTES = 32 * MIB
POOL_CHUNK_BYTES = 32 * MIB
FIXED_BYTES = 256 * MIB
"""About what a server needs besides its data cache, whatever its size (measured on 9.7)."""
POOL_SHARE = 0.5
"""The part of the rest that caches data; the other half is for connections and their queries."""
CONNECTION_BYTES = MIB // 2
"""Of that half, for each client that may connect."""
FEWEST_CONNECTIONS, MOST_CONNECTIONS = 200, 10_000
DEFAULT_CONNECTIONS = 2000
LISTEN_BACKLOG = 4096
"""How many may come at once, as all do after a failover, before the server accepts the first; one
too many waits up to a second for the kernel's next try. Linux allows so many by default."""

# The data directory is made beside its place and renamed: what was begun and not finished is
# never taken for a server's data. Nothing in run/ and scratch/ outlives the process.
#
# The shell stays as a guard: a server that gets SIGTERM tells every client that waits for a
# standby that its write succeeded (semisync_source.cc, `commitTrx`), so nobody's SIGTERM may reach
# it. It is made for SIGKILL. A clean end is by the statement SHUTDOWN, after its clients are gone.
_SCRIPT = f"""\
set -eu
umask 077
cd {DATA_DIRECTORY}
rm -rf run scratch mysql.new
mkdir run scratch
if [ ! -d mysql ]; then
  mysqld --defaults-file={FILES_DIRECTORY}/my.cnf --initialize-insecure \\
    --datadir={DATA_DIRECTORY}/mysql.new --init-file={FILES_DIRECTORY}/accounts.sql
  mv mysql.new mysql
fi
"""
_SCRIPT += ending_with(
    f'mysqld --defaults-file={FILES_DIRECTORY}/my.cnf --admin-address="$HOSTNAME"',
    "trap 'kill -s KILL $server' TERM INT QUIT",
)

# One line per reason; `loose-` where a release of the range 8.0.23 to 9.x lacks the option.
_SETTINGS = f"""\
[mysqld]
datadir = {DATA_DIRECTORY}/mysql
socket = {DATA_DIRECTORY}/run/mysqld.sock
pid-file = {DATA_DIRECTORY}/run/mysqld.pid
tmpdir = {DATA_DIRECTORY}/scratch
secure-file-priv = NULL
port = {PORT}
admin-port = {ADMIN_PORT}
create-admin-listener-thread = ON
bind-address = *
mysqlx = OFF
local-infile = OFF
skip-name-resolve = ON

# Only a promotion lets it take writes, and only the manager starts replication.
super-read-only = ON
loose-skip-replica-start = ON
event-scheduler = OFF

# Replication by GTID, from every server to every other. (Row format is the default.) Many
# workers commit in larger groups: 16 catch up in half the time that 4 need, on two cores.
gtid-mode = ON
enforce-gtid-consistency = ON
log-bin = binlog
loose-log-replica-updates = ON
binlog-expire-logs-seconds = 604800
# All of the current log is read for each standby that connects: see semisync.py, `shorten_log`.
max-binlog-size = 32M
relay-log = relay
loose-replica-parallel-workers = 16
loose-replica-preserve-commit-order = ON
loose-replica-net-timeout = {SILENT_LINK_SECONDS}

# What was acknowledged survives a crash, on a standby too: what it has received and not applied
# is never thrown away at a start. (Whether each write of the relay log is synced depends on
# whether it acknowledges: see docs/decisions/0007.)
sync-binlog = 1
innodb-flush-log-at-trx-commit = 1
relay-log-recovery = OFF

# Semi-synchronous replication: off at every start, so that only the manager says who waits for
# whom; no time-out ever turns it off by itself.
plugin-load-add = semisync_source.so
plugin-load-add = semisync_replica.so
loose-rpl-semi-sync-source-enabled = OFF
loose-rpl-semi-sync-replica-enabled = OFF
loose-rpl-semi-sync-source-wait-point = AFTER_SYNC
loose-rpl-semi-sync-source-wait-no-replica = ON
loose-rpl-semi-sync-source-timeout = 4294967295

# A clone copies InnoDB's tables only and leaves those of other engines empty.
plugin-load-add = mysql_clone.so
disabled-storage-engines = MyISAM,MRG_MyISAM,MEMORY,ARCHIVE,BLACKHOLE,FEDERATED,CSV

# Names of databases in grants are meant literally, also those with an underscore.
partial-revokes = ON
loose-log-bin-trust-function-creators = ON

# All clients come back at the same moment.
back-log = {LISTEN_BACKLOG}

# Small by default.
max-connect-errors = 1000000
table-open-cache = 800
table-definition-cache = 600
innodb-log-buffer-size = 8M
loose-temptable-max-ram = 64M
key-buffer-size = 64K
performance-schema-accounts-size = 0
performance-schema-users-size = 0
performance-schema-hosts-size = 0
performance-schema-error-size = 0
performance-schema-max-memory-classes = 0
performance-schema-max-digest-length = 512
performance-schema-digests-size = 500
performance-schema-max-sql-text-length = 256
loose-innodb-numa-interleave = OFF
"""

# Read by 8.0 only, whose first releases have the old names.
_SETTINGS_8_0 = f"""
[mysqld-8.0]
skip-slave-start = ON
slave-net-timeout = {SILENT_LINK_SECONDS}
slave-parallel-workers = 16
slave-preserve-commit-order = ON
slave-parallel-type = LOGICAL_CLOCK
binlog-transaction-dependency-tracking = WRITESET
"""

# Whatever lets an account write on a standby, change the server's settings, leave the binary log
# out or make accounts (one named hamanager@ADDRESS would lock the manager out) is the manager's.
_ACCOUNTS = """\
SET SESSION sql_log_bin = 0;
CREATE USER '{manager}'@'%' IDENTIFIED BY '{manager_password}';
GRANT RELOAD, PROCESS, SHUTDOWN, REPLICATION CLIENT ON *.* TO '{manager}'@'%';
GRANT SELECT ON performance_schema.* TO '{manager}'@'%';
GRANT ALL ON {marker}.* TO '{manager}'@'%';
GRANT CREATE ON `{database}`.* TO '{manager}'@'%';
GRANT SYSTEM_USER, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, REPLICATION_SLAVE_ADMIN, CLONE_ADMIN,
  BACKUP_ADMIN, SERVICE_CONNECTION_ADMIN ON *.* TO '{manager}'@'%';
GRANT CREATE USER ON *.* TO '{manager}'@'%';
GRANT REPLICATION SLAVE, SERVICE_CONNECTION_ADMIN ON *.* TO '{manager}'@'%' WITH GRANT OPTION;
CREATE USER '{replicator}'@'%' IDENTIFIED BY '{replication_password}';
GRANT REPLICATION SLAVE ON *.* TO '{replicator}'@'%';
GRANT SYSTEM_USER, BACKUP_ADMIN, SERVICE_CONNECTION_ADMIN ON *.* TO '{replicator}'@'%';
CREATE USER '{application}'@'%' IDENTIFIED BY '{password}';
GRANT ALL ON `{database}`.* TO '{application}'@'%';
DROP USER 'root'@'localhost';
"""


def database(service: ServiceContext) -> str:
    """The application's own."""
    return database_of(service.name, RESERVED)


def launch_spec(service: ServiceContext, target: Target) -> LaunchSpec:
    """A server that refuses writes and replicates from nobody; the first start makes its data
    directory and, outside the binary log, its accounts."""
    accounts = _ACCOUNTS.format(
        manager=MANAGER,
        replicator=REPLICATOR,
        application=APPLICATION,
        marker=MARKER_SCHEMA,
        database=database(service),
        **service.secrets,
    )
    own = (
        f"server-id = {target.serial + 1}\n"
        f"report-host = {target.host}\n"
        f"report-port = {target.port}\n"
    )
    files = {
        "my.cnf": FileContent(
            _SETTINGS + _memory(service.memory_bytes) + own + encrypted(service) + _SETTINGS_8_0
        ),
        "accounts.sql": FileContent(accounts),
        ".my.cnf": FileContent(_client(service)),
    }
    return LaunchSpec(
        script=_SCRIPT,
        port=PORT,
        admin_port=ADMIN_PORT,
        stop_signal="SIGKILL",
        files=files | certificate_files(service.encryption),
    )


def encrypted(service: ServiceContext) -> str:
    """Nobody is let in whose connection is not encrypted, except at the local socket."""
    if service.encryption is None:
        return ""
    return (
        f"ssl-ca = {AUTHORITIES}\n"
        f"ssl-cert = {CERTIFICATE}\n"
        f"ssl-key = {KEY}\n"
        "tls-version = TLSv1.2,TLSv1.3\n"
        "require-secure-transport = ON\n"
        # A copy: whom the recipient believes.
        f"loose-clone-ssl-ca = {AUTHORITIES}\n"
    )


def _client(service: ServiceContext) -> str:
    """What MySQL's programs read in an operator's home directory."""
    return (
        "[client]\n"
        f"user = {APPLICATION}\n"
        f"password = {service.secrets['password']}\n"
        f"socket = {DATA_DIRECTORY}/run/mysqld.sock\n"
        f"[mysql]\ndatabase = {database(service)}\n"
    )


def pool_bytes(memory_bytes: int | None) -> int:
    """Size of the data cache (the buffer pool) under that limit."""
    pool = DEFAULT_POOL_BYTES
    if memory_bytes is not None:
        pool = max(SMALLEST_POOL_BYTES, int((memory_bytes - FIXED_BYTES) * POOL_SHARE))
    # The server rounds it up to a multiple of chunks x instances.
    step = POOL_CHUNK_BYTES * _pool_instances(pool)
    return max(step, pool // step * step)


def connections(memory_bytes: int | None) -> int:
    """How many clients may be connected under that limit."""
    if memory_bytes is None:
        return DEFAULT_CONNECTIONS
    room = memory_bytes - FIXED_BYTES - pool_bytes(memory_bytes)
    return min(MOST_CONNECTIONS, max(FEWEST_CONNECTIONS, room // CONNECTION_BYTES))


def _pool_instances(pool: int) -> int:
    return 1 if pool < 1024 * MIB else 4


def _memory(memory_bytes: int | None) -> str:
    pool = pool_bytes(memory_bytes)
    return (
        f"max-connections = {connections(memory_bytes)}\n"
        f"innodb-buffer-pool-size = {pool}\n"
        f"innodb-buffer-pool-instances = {_pool_instances(pool)}\n"
        f"innodb-buffer-pool-chunk-size = {POOL_CHUNK_BYTES}\n"
    )
