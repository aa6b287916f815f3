"""One manager process on the simulated world: the real loop, rules and playbooks."""

from __future__ import annotations

from typing import cast

from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.errors import EndpointFailedError, RuntimeFailedError, SilentError
from hamanager.loop import ServiceLoop
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
    """Everything in it is forgotten when it dies."""

    def __init__(
        self, world: World, store: Store, owner: str, power: Power, causes: Causes
    ) -> None:
        self.power = power
        playbooks = WatchedPlaybooks(world.elects)
        self.loop = ServiceLoop(
            "db",
            PoweredStore(store, power, world.store),
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
            owner,
            playbooks,
        )
        observe, looks = self.loop.observer.observe, Looks(causes)

        def observed(service: ServiceContext, record: ServiceRecord) -> Snapshot:
            playbooks.truth = looks.truth()
            return observe(service, record)

        self.loop.observer.observe = observed  # type: ignore[method-assign]
