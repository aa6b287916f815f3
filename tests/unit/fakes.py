"""A manager without servers for the tests of commands, API and command line: real commands on a
store in memory, and a loop that a test advances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from hamanager.api.environment import ConnectionView
from hamanager.api.reasons import Fault, ForecastView, ReasonsView
from hamanager.api.views import ManagerView, ServiceView
from hamanager.authority.authority import Authority
from hamanager.contracts.driver import Connection, Driver
from hamanager.contracts.runtime import InstanceRef, LogLine, Runtime
from hamanager.daemon.addresses import Addresses
from hamanager.daemon.certificates import Certificates
from hamanager.daemon.commands import Commands
from hamanager.daemon.drills import Drills
from hamanager.daemon.explanations import forecast, kept_facts, reasons_view
from hamanager.daemon.hosts import HostEngine, Hosts
from hamanager.daemon.tokens import Tokens
from hamanager.daemon.view_builder import service_view
from hamanager.errors import NotFoundError, RefusedError, RuntimeFailedError
from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.history import HistoryEntry
from hamanager.model.host import Host, HostSeen
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.kept import Facts
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.shell import ShellView
from hamanager.model.snapshot import (
    Contact,
    Observation,
    Process,
    Relation,
    Role,
    ServerStatus,
    Snapshot,
    SyncProgress,
)
from hamanager.stores.repository import (
    load_record,
    load_secrets,
    load_spec,
    save_record,
    secrets_key,
    service_names,
    spec_key,
)
from tests.support.memory_endpoint import MemoryEndpoint
from tests.support.memory_store import MemoryStore

MB = 1024**2
NOW = 1_790_000_000.0
SECRET = "s3cr3t-of-the-manager"


def capabilities(sizes: tuple[int, ...] = (1, 2, 3), *, elects: bool = False) -> Capabilities:
    """Of an imagined engine."""
    return Capabilities(
        allowed_instances=sizes,
        elects_itself=elects,
        minimum_memory_bytes=64 * MB,
        server_program="server",
        url_names_all=elects,
        durabilities=(Durability.MAJORITY,)
        if elects
        else (Durability.AVAILABILITY, Durability.STRICT),
    )


class FakeDriver:
    """As much of a driver as commands use."""

    def __init__(self, engine: str, capabilities: Capabilities) -> None:
        self.engine = engine
        self.capabilities = self.traits = capabilities
        self.replication = self.cache = self.workload = self
        self.made = 0

    def new_secrets(self) -> dict[str, str]:
        self.made += 1
        return {"password": f"app-{self.made}", "manager_password": SECRET}

    certificates = None
    version = "8.0.1"
    refused = ""

    def probe(self, service: ServiceContext, target: Target) -> ServerStatus:
        if self.refused:
            raise RefusedError(self.refused)
        return ServerStatus(Role.STANDBY, self.version)

    def upgrade_problem(self, present: str, wanted: str) -> str:
        return f"{wanted} is older than {present}" if wanted < present else ""

    cached = 0

    def cache_bytes(self, service: ServiceContext, target: Target) -> int:
        return self.cached

    def cache_limit_bytes(self, memory_bytes: int | None) -> int | None:
        return None if memory_bytes is None else memory_bytes // 2

    def connection(
        self, service: ServiceContext, address: tuple[str, int] | None, members: Sequence[Target]
    ) -> Connection | None:
        if address is None:
            return None
        host, port = address
        password = service.secrets["password"]
        return Connection(
            f"redis://app:{password}@{host}:{port}/0", "app", password, "0", host, port
        )


class FakeRuntime:
    """As much of a runtime as commands use."""

    missing_image = False
    seen: tuple[HostSeen, ...] = ()

    def hosts(self) -> Sequence[HostSeen]:
        return self.seen

    programs: tuple[str, ...] = ("server",)

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        """By the image's id."""

    used: int | None = None

    def memory_used(self, ref: InstanceRef) -> int | None:
        return self.used

    def resolve_image(self, engine: str, default: str, configured: str | None = None) -> str:
        if self.missing_image:
            raise RuntimeFailedError(f"there is no image for {engine}")
        return configured or f"{engine}:test"

    def pin_image(self, image: str) -> PinnedImage:
        return PinnedImage(id=f"sha256:{image}", digest=f"{image}@sha256:0")

    def image_version(self, image: str, program: str) -> str:
        if program not in self.programs:
            raise RuntimeFailedError(f"the image has no {program}")
        return self.versions.get(image, "8.0.1")


class FakeClock:
    """Stands still."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


def drivers() -> dict[str, Driver]:
    """Two engines."""
    made = {
        "redis": FakeDriver("redis", capabilities()),
        "mongodb": FakeDriver("mongodb", capabilities((1, 3, 5), elects=True)),
    }
    return cast("dict[str, Driver]", made)


def commands(store: MemoryStore, runtime: FakeRuntime | None = None) -> Commands:
    """The real commands."""
    return Commands(store, drivers(), cast("Runtime", runtime or FakeRuntime()), FakeClock())


def instance(name: str, **fields: Any) -> InstanceRecord:
    """A synchronized instance on record."""
    number = int(name.rpartition(".")[2])
    filled = {
        "serial": number,
        "generation": number + 1,
        "host": "10.0.0.1",
        "port": 7000 + number,
        "joined": True,
        "synchronized": True,
        "synchronized_term": 99,
        **fields,
    }
    return InstanceRecord(name=name, **filled)


def primary_seen(**fields: Any) -> Observation:
    """A primary that is well."""
    return Observation(
        Process.RUNNING,
        Contact.ANSWERS,
        ServerStatus(Role.PRIMARY, "8.0", synchronized=True, facts={"offset": "42"}),
        **{"memory_used_bytes": 25 * MB, **fields},
    )


def standby_seen(
    relation: Relation = Relation.ATTACHED,
    sync: SyncProgress | None = None,
    lag_seconds: float | None = 0.0,
    **fields: Any,
) -> Observation:
    """A standby that answers; attached and synchronized unless said otherwise."""
    status = ServerStatus(
        Role.STANDBY,
        "8.0",
        link_up=relation is Relation.ATTACHED,
        lag_seconds=lag_seconds,
        synchronized=relation is Relation.ATTACHED,
        sync=sync,
    )
    broken = None if relation in (Relation.ATTACHED, Relation.SEEDING) else NOW - 185
    seen = {"lag_seconds": lag_seconds, "broken_since": broken, **fields}
    return Observation(Process.RUNNING, Contact.ANSWERS, status, relation, **seen)


def no_engine(host: Host) -> HostEngine:
    """There are no hosts here."""
    raise RuntimeFailedError(f"no engine answers at {host.docker}")


class FakeManager:
    """What the API talks to. `steps` are done one per look, as a loop would between polls."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.runtime = FakeRuntime()
        self.commands = commands(self.store, self.runtime)
        self.hosts = Hosts(self.store, cast("Runtime", self.runtime), FakeClock(), no_engine, list)
        self.tokens = Tokens(self.store, FakeClock())
        self.authority = Authority(self.store, FakeClock())
        self.certificates = Certificates(self.store, self.authority, FakeClock())
        self.drills = Drills(self.store, drivers(), FakeClock(), self.authority)
        self.seen: dict[str, Observation] = {}
        self.steps: list[Callable[[], None]] = []
        self.woken: list[str] = []
        self.message = ""
        self.lines: dict[str, list[LogLine]] = {}
        self.addresses = Addresses(self.store, MemoryEndpoint())
        self.routes = self.addresses.desk(self.wake)

    @property
    def queries(self) -> FakeManager:
        return self

    def wake(self, name: str) -> None:
        self.woken.append(name)

    def view(self, name: str) -> ServiceView:
        if self.steps:
            self.steps.pop(0)()
        loaded = load_spec(self.store, name)
        if loaded is None:
            raise NotFoundError(f"there is no service '{name}'")
        record, _ = load_record(self.store, name)
        password = load_secrets(self.store, name)["password"]
        leads = record.instance(record.primary)
        return service_view(
            loaded[0],
            record,
            Snapshot(NOW, self.seen),
            f"redis://:{password}@{leads.address}/0" if leads else None,
            capabilities(),
            self.message,
        )

    def views(self) -> Sequence[ServiceView]:
        return [self.view(name) for name in service_names(self.store)]

    def managers(self) -> Sequence[ManagerView]:
        def manager(name: str, silent_seconds: float | None, leads: list[str]) -> ManagerView:
            return ManagerView(
                name=name,
                me=silent_seconds is None,
                alive=silent_seconds is None,
                silent_seconds=silent_seconds,
                started_at=1_700_000_000.0,
                version="1.0",
                addresses=[],
                leads=leads,
            )

        return [manager("one", None, ["db"]), manager("two", 75.0, [])]

    def probe(self, name: str) -> ServiceView:
        return self.view(name)

    def connection(self, name: str) -> ConnectionView:
        spec = self.view(name)
        if spec.url is None:
            raise NotFoundError(f"'{name}' is still being set up: there is no address yet")
        return ConnectionView(
            service=name,
            engine=spec.engine,
            url=spec.url,
            host="10.0.0.1",
            port=7000,
            login="app",
            password=load_secrets(self.store, name)["password"],
            database="0",
        )

    def shell(self, name: str, instance: str | None) -> ShellView:
        found = instance or self.view(name).primary
        if found is None:
            raise NotFoundError(f"'{name}' has no primary yet")
        return ShellView(
            instance=found, container=f"c-{found}", preparation="export A=1", default=["cli"]
        )

    def logs(self, name: str, instance: str, lines: int, after: str) -> Sequence[LogLine]:
        self.view(name)
        return [line for line in self.lines.get(instance, []) if line.at > after][-lines:]

    def history(self, name: str, limit: int | None = None) -> Sequence[HistoryEntry]:
        return self.store.history(name, limit)

    def reasons(self, name: str, at: float | None = None, run: str | None = None) -> ReasonsView:
        history = self.history(name)
        if at is None and run is None:
            return reasons_view(name, self._facts(name), capabilities(), history)
        entry, facts = kept_facts(history, name, at, run)
        return reasons_view(name, facts, capabilities(), history, entry)

    def forecast(self, name: str, faults: Sequence[Fault]) -> ForecastView:
        return forecast(name, self._facts(name), capabilities(), None, faults)

    def _facts(self, name: str) -> Facts:
        loaded = load_spec(self.store, name)
        if loaded is None:
            raise NotFoundError(f"there is no service '{name}'")
        record = load_record(self.store, name)[0]
        standbys = tuple(i.name for i in record.instances if i.name != record.primary)
        return Facts(loaded[0], record, Snapshot(NOW, self.seen, standbys))

    # --- What a loop would do ----------------------------------------------------------------

    def fulfil(self, name: str, observation: Observation | None = None) -> None:
        """Give the service all it wants; the last standby may look otherwise than well."""
        loaded = load_spec(self.store, name)
        assert loaded is not None
        spec = loaded[0]
        limit = spec.memory_bytes
        names = [f"{name}.{number}" for number in range(spec.instances)]
        joined = observation is None or observation.relation is Relation.ATTACHED
        instances = tuple(
            instance(
                n,
                memory_bytes=limit,
                joined=joined or n != names[-1],
                restarts_done=spec.restarts.get(n, 0),
            )
            for n in names
        )
        self.seen = {names[0]: primary_seen(), **{n: standby_seen() for n in names[1:]}}
        if observation is not None:
            self.seen[names[-1]] = observation
        record = ServiceRecord(term=1, primary=names[0], initialized=True, instances=instances)
        save_record(self.store, name, record, load_record(self.store, name)[1])

    def forget(self, name: str) -> None:
        """Remove what is kept about it."""
        for key in (secrets_key(name), spec_key(name)):
            kept = self.store.get(key)
            assert kept is not None
            self.store.delete(key, kept.version)
