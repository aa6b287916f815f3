"""What a MongoDB server does besides answering: it is a member of a set that elects, and caches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from hamanager.contracts.replication import HandOver
from hamanager.errors import ServerError, SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Relation, ServerStatus
from hamanager_drivers.certificates import FILE_NAMES
from hamanager_drivers.mongodb import config, membership, status
from hamanager_drivers.mongodb.chain import PREPARE_SECONDS, Chain
from hamanager_drivers.mongodb.connections import AnsweredError, Connections
from hamanager_drivers.mongodb.election import Election
from hamanager_drivers.mongodb.membership import Standing
from hamanager_drivers.mongodb.status import applied_up_to, missing_writes
from hamanager_drivers.mongodb.upgrade import upgrade_problem
from hamanager_drivers.naming import APPLICATION

CHANGE_SECONDS = 10.0
"""A new configuration is done when a majority has it, which takes a heartbeat or two."""
HAND_OVER_LAG_SECONDS = 10.0
CHECKPOINT_SECONDS = 0.3
"""So long a checkpoint is waited for."""

# Error codes of the server.
ALREADY_INITIALIZED = 23
USER_EXISTS = 51003

NO_ACKNOWLEDGED_WRITE = "nothing that a majority acknowledged"


class MongoDBReplication:
    """A replica set, which elects its primary."""

    def __init__(
        self,
        connections: Connections,
        election: Election,
        probe: Callable[[ServiceContext, Target], ServerStatus],
    ) -> None:
        self._connections, self._election, self._probe = connections, election, probe
        self._chain = Chain(connections)

    def relate(
        self,
        target: Target,
        standby: ServerStatus,
        primary_target: Target,  # noqa: ARG002
        primary: ServerStatus,
        members: Sequence[Target],  # noqa: ARG002
    ) -> Relation:
        """By the primary's list of members, then by the standby's state."""
        return status.relate(target, standby, primary)

    def has_applied(self, status: ServerStatus, primary: ServerStatus) -> bool:
        """By the last operation."""
        return applied_up_to(status) >= applied_up_to(primary)

    def errant_writes(self, status: ServerStatus, primary: ServerStatus) -> str:  # noqa: ARG002
        """A member rolls back what the set does not have; it is told from the files it leaves."""
        return ""

    def missing_writes(self, status: ServerStatus, primary: ServerStatus) -> str:
        """As seconds between the last operations."""
        return missing_writes(status, primary)

    def rank(self, standbys: Mapping[str, ServerStatus]) -> tuple[str, ...]:
        """By the last operation applied, among members that may be elected."""
        return status.rank(standbys)

    def upgrade_problem(self, present: str, wanted: str) -> str:
        """One major release at a time, and none back."""
        return upgrade_problem(present, wanted)

    def initialize(self, service: ServiceContext, target: Target) -> None:
        """A set with one member, and in it the application's user."""
        first = membership.first_config(service.name, target)
        try:
            self._connections.command(service, target, {"replSetInitiate": first}, CHANGE_SECONDS)
        except AnsweredError as error:
            if error.code != ALREADY_INITIALIZED:
                raise
        deadline = time.monotonic() + CHANGE_SECONDS
        while not self._election.leads(service, target):
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{target.name} did not become primary within {CHANGE_SECONDS:g} s"
                )
            time.sleep(0.01)
        user = {
            "createUser": APPLICATION,
            "pwd": service.secrets["password"],
            "roles": ["readWrite", "dbAdmin"],
        }
        try:
            self._connections.command(
                service, target, user, CHANGE_SECONDS, config.database(service)
            )
        except AnsweredError as error:
            if error.code != USER_EXISTS:
                raise

    def seed(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """A new member copies everything by itself."""
        self.attach(service, target, primary, ())

    def attach(
        self,
        service: ServiceContext,
        target: Target,
        primary: Target,
        members: Sequence[Target],  # noqa: ARG002
    ) -> None:
        """One change of the set: enter it without a vote, get the vote once caught up, or lose
        it when the data is gone."""
        seen = self._probe(service, target)
        if seen.sync is not None:
            standing = Standing.EMPTY
        else:
            standing = Standing.READY if status.has_caught_up(seen) else Standing.FOLLOWING
        present = self._config(service, primary)
        self._reconfigure(service, primary, membership.next_config(present, target, standing))

    def apply_received(self, service: ServiceContext, target: Target) -> str:
        """Nothing to wait for: an elected member applies all it has before it takes writes."""
        applied = self._probe(service, target).position.get("timestamp", "nothing")
        return f"it applies all it has when it is elected; so far {applied}"

    def promote(
        self,
        service: ServiceContext,
        target: Target,
        others: Sequence[Target],
        required_acks: int,  # noqa: ARG002
        term: int | None = None,  # noqa: ARG002
    ) -> str:
        """Start its election at once, without waiting for the election time-out.

        Raises:
            ServerError: another member has been elected meanwhile, or none could be.
        """
        self._election.step_up(service, target, others)
        return NO_ACKNOWLEDGED_WRITE

    def demote(self, service: ServiceContext, target: Target) -> None:
        """Step down by force; its clients' writes end with an error at once."""
        self._election.step_down(service, target)

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, terms: HandOver
    ) -> str:
        """An election of the target, when it has everything and a majority follows it."""
        if self._election.leads(service, target):
            return f"{target.name} was primary already"
        seen = self._probe(service, target)
        lag = seen.lag_seconds
        if "eligible" not in seen.position or lag is None or lag > HAND_OVER_LAG_SECONDS:
            raise ServerError(
                f"{target.name} is no full member less than {HAND_OVER_LAG_SECONDS:g} s behind"
                f" {primary.name}: nothing was changed"
            )
        voters = membership.voters(self._config(service, primary))
        others = membership.targets(h for h in voters if h not in (target.address, primary.address))
        within = 0.0 if terms.hurried else PREPARE_SECONDS
        self._chain.prepare(service, target, primary, others, len(voters), within)
        self._election.wait_until_it_has_all(service, target, primary)
        terms.before_stop()
        terms.before_promotion()
        began = time.monotonic()
        self._election.hand_over(service, target, primary)
        return f"no writes for {time.monotonic() - began:.3f} s, none lost"

    def detach(self, service: ServiceContext, target: Target, primary: Target | None) -> None:
        """Take its vote first and then the member out, which only the primary can do."""
        if primary is None:
            raise ServerError(
                f"{target.name} can only leave the set through a primary, and there is none:"
                " nothing was changed"
            )
        if target.address == primary.address:
            raise ServerError(
                f"{target.name} is the primary: another one has to be elected before it leaves"
            )
        for step in (membership.config_without_vote, membership.config_without_member):
            present = self._config(service, primary)
            self._reconfigure(service, primary, step(present, target))

    def force(self, service: ServiceContext, target: Target, survivors: Sequence[Target]) -> None:
        """The forced reconfiguration to the survivors, with `target` elected by them (MongoDB
        Manual, "Reconfigure a Replica Set with Unavailable Members")."""
        for survivor in survivors:
            self._election.hello(service, survivor)
        present = self._config(service, target)
        changed = membership.config_of_survivors(present, [m.address for m in survivors])
        command = {"replSetReconfig": changed, "force": True}
        self._connections.command(service, target, command, CHANGE_SECONDS)
        self._election.step_up(service, target, [m for m in survivors if m != target])

    def _config(self, service: ServiceContext, primary: Target) -> membership.Config:
        answer = self._connections.command(service, primary, {"replSetGetConfig": 1})
        found: membership.Config = answer["config"]
        return found

    def _reconfigure(
        self, service: ServiceContext, primary: Target, changed: membership.Config | None
    ) -> None:
        """The engine refuses a configuration that was made from an outdated one, and one that
        comes before the last is known to a majority: then the loop observes and tries again."""
        if changed is not None:
            command = {"replSetReconfig": changed}
            self._connections.command(service, primary, command, CHANGE_SECONDS)


class MongoDBCertificates:
    """Others without a restart."""

    file_names = FILE_NAMES

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def reload_certificates(self, service: ServiceContext, target: Target) -> None:
        """`rotateCertificates`: for new connections, coming and going."""
        self._connections.command(service, target, {"rotateCertificates": 1})


class MongoDBCheckpoints:
    """Of the storage engine, which makes one a minute (`syncdelay`) when it lives that long."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def checkpoint(self, service: ServiceContext, target: Target) -> None:
        """`fsync`, which locks nothing; the server goes on with it when nobody waits any more.

        What a rollback undoes is what came after the last checkpoint when the member has just been
        started, and each version of one document costs it a walk over the others: after 4 minutes
        of one client's writes it did not end in 2 minutes (decision 0035)."""
        with contextlib.suppress(SilentError):
            self._connections.command(service, target, {"fsync": 1}, CHECKPOINT_SECONDS)


class MongoDBCache:
    """The storage engine's."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        """The storage engine's cache."""
        return config.cache_bytes(memory_bytes)

    def cache_bytes(self, service: ServiceContext, target: Target) -> int | None:
        """What of the storage engine's cache is filled. A server whose election is under way may
        leave the storage engine out of its answer."""
        sections = dict.fromkeys(("repl", "metrics", "locks", "opcounters", "network"), 0)
        answer = self._connections.command(service, target, {"serverStatus": 1, **sections})
        engine = answer.get("wiredTiger")
        return None if engine is None else int(engine["cache"]["bytes currently in the cache"])

    def resize(self, service: ServiceContext, target: Target, memory_bytes: int | None) -> None:
        """The storage engine's cache; what it gives up goes back to the machine at once."""
        megabytes = config.cache_bytes(memory_bytes) // 1024**2
        for parameter in (
            {"wiredTigerEngineRuntimeConfig": f"cache_size={megabytes}M"},
            {"tcmallocAggressiveMemoryDecommit": 1},
        ):
            command = {"setParameter": 1, **parameter}
            self._connections.command(service, target, command, CHANGE_SECONDS)
