"""One manager process on the simulated world: the real loop, rules and playbooks."""

from __future__ import annotations

from typing import cast

from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.daemon.leading import Leading
from hamanager.decide.leading import BEAT_SECONDS
from hamanager.errors import EndpointFailedError, RuntimeFailedError, SilentError
from hamanager.loop import ServiceLoop
from hamanager.model.decision import Action
from hamanager.model.manager import Manager as ManagerRow
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext
from hamanager.model.snapshot import Snapshot
from hamanager.observe.questions import Threads
from tests.simulation import driver, endpoint, runtime
from tests.simulation.causes import Causes, Looks, WatchedPlaybooks
from tests.simulation.driver import SimDriver
from tests.simulation.endpoint import SimEndpoint
from tests.simulation.power import InlineExecutor, Power, PoweredStore, Wire
from tests.simulation.runtime import SimRuntime
from tests.simulation.world import World


class Manager:
    """Everything in it is forgotten when it dies. Its session goes on beside its passes."""

    def __init__(
        self, world: World, store: Store, owner: str, power: Power, causes: Causes
    ) -> None:
        self.power = power
        self.name = owner
        self.suspended = False
        self.shared = PoweredStore(store, power, world.store, owner)
        self._clock = world.clock
        self._beat_at = 0.0
        Manager.started += 1
        me = ManagerRow(name=owner, incarnation=str(Manager.started), place=owner)
        self.leading = Leading(self.shared, world.clock, me)
        playbooks = WatchedPlaybooks(world.elects)
        self.loop = ServiceLoop(
            "db",
            self.shared,
            cast(Driver, Wire(SimDriver(world, power), power, SilentError, driver.EFFECTS)),
            cast(
                Runtime,
                Wire(SimRuntime(world, power), power, RuntimeFailedError, runtime.EFFECTS),
            ),
            cast(
                Endpoint,
                Wire(SimEndpoint(world, power), power, EndpointFailedError, endpoint.EFFECTS),
            ),
            world.clock,
            Threads.all_in(InlineExecutor()),
            self.leading.lock_of("db"),
            playbooks,
        )
        observe, looks = self.loop.observer.observe, Looks(causes)

        def observed(service: ServiceContext, record: ServiceRecord) -> Snapshot:
            playbooks.truth = looks.truth()
            return observe(service, record)

        self.loop.observer.observe = observed  # type: ignore[method-assign]
        lock = self.leading.lock_of("db")
        take = lock.take

        def asked() -> bool:
            """It may be suspended after its look, before it asks whether it leads."""
            power.question()
            return take()

        lock.take = asked  # type: ignore[method-assign]
        self.breathe()

    started = 0
    """How many there have been."""

    @property
    def leads(self) -> bool:
        """Whether it acts on the service."""
        return not self.power.dead and self.leading.lock_of("db").is_held

    def breathe(self) -> None:
        """What its threads do beside its passes, once in half a second."""
        if self.power.dead or self.suspended:
            return
        with self.power.in_background():
            if self._clock.monotonic() - self._beat_at >= BEAT_SECONDS:
                pause = self.leading.beat()
                self._beat_at = self._clock.monotonic() - (BEAT_SECONDS - pause)
            self.leading.look()

    def run_pass(self) -> None:
        """As the daemon does: whoever leads the service has a worker for it, and hands it over when
        another one should."""
        if not self.leading.lead("db"):
            return
        done = self.loop.run_pass()
        if done is None:
            self.leading.leave("db")
        elif done.decision.action is Action.NOTHING and done.unfinished_seconds is None:
            self.leading.hand_over("db")
