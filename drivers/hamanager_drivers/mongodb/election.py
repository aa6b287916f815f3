"""Changing who leads: elections are the set's own, the manager only starts them in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from hamanager.errors import ServerError
from hamanager.values.service import ServiceContext, Target
from hamanager_drivers.mongodb.connections import (
    COMMAND_FAILED,
    NOT_PRIMARY,
    AnsweredError,
    Connections,
    Document,
)
from hamanager_drivers.mongodb.membership import Config, voters

ELECTION_SECONDS = 5.0
CATCH_UP_GRACE_SECONDS = 0.3
STEPPED_DOWN_SECONDS = 20
"""For how long nobody else is elected during a planned change; lifted at its end."""


class Election:
    """Step-up, step-down, and both in the right order."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def hello(self, service: ServiceContext, target: Target) -> Document:
        """What it takes itself for."""
        return self._connections.command(service, target, {"hello": 1})

    def status(self, service: ServiceContext, target: Target) -> Document:
        """Its view of the set, with its own initial sync if there is one."""
        command = {"replSetGetStatus": 1, "initialSync": 1}
        return self._connections.command(service, target, command)

    def leads(self, service: ServiceContext, target: Target) -> bool:
        """Whether it accepts writes."""
        return bool(self.hello(service, target).get("isWritablePrimary"))

    def step_up(self, service: ServiceContext, target: Target, others: Sequence[Target]) -> None:
        """Make the set elect it, and wait until it accepts writes.

        A member that others are ahead of is refused (code 125), so that is tried again while it
        catches up.
        """
        hello = self.hello(service, target)
        if hello.get("isWritablePrimary"):
            return
        # Only the one that it believes in: another that hangs must not cost time here.
        believed = [other for other in others if other.address == hello.get("primary")]
        self._refuse_if_elected(service, believed)
        deadline = time.monotonic() + ELECTION_SECONDS
        while True:
            try:
                command = {"replSetStepUp": 1}
                self._connections.command(service, target, command, ELECTION_SECONDS)
                break
            except AnsweredError as error:
                self._refuse_if_elected(service, others)
                if error.code != COMMAND_FAILED or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
        self._wait_until_it_leads(service, target, others, deadline)

    def step_down(self, service: ServiceContext, target: Target, *, catch_up_seconds: int) -> None:
        """End its leadership: at once by force, or after a standby has caught up. Does nothing
        when it does not lead."""
        command = {
            "replSetStepDown": STEPPED_DOWN_SECONDS,
            "secondaryCatchUpPeriodSecs": catch_up_seconds,
            "force": catch_up_seconds == 0,
        }
        try:
            self._connections.command(service, target, command, catch_up_seconds + ELECTION_SECONDS)
        except AnsweredError as error:
            if error.code not in NOT_PRIMARY:
                raise

    def hand_over(
        self, service: ServiceContext, target: Target, primary: Target, config: Config
    ) -> None:
        """The primary steps down once a majority has all its writes, and `target` alone may
        follow it; when that fails the primary is elected again.

        Takes about 20 ms, but the first write that needs a majority may wait one second more:
        the old primary looks for a source before there is one ahead of it, and again after 1 s.
        (`replSetSyncFrom` beforehand is no way out: a source that is not ahead is refused.)
        """
        others = [
            Target(host, *_split(host), serial=-1)
            for host in voters(config)
            if host not in (target.address, primary.address)
        ]
        try:
            self._freeze(service, others, STEPPED_DOWN_SECONDS)
            self.step_down(service, primary, catch_up_seconds=int(ELECTION_SECONDS))
            self.step_up(service, target, [])
        except ServerError:
            self._freeze(service, [primary], 0)
            with contextlib.suppress(ServerError):
                self.step_up(service, primary, [])
            raise
        finally:
            self._freeze(service, [*others, primary], 0)

    def _wait_until_it_leads(
        self, service: ServiceContext, target: Target, others: Sequence[Target], deadline: float
    ) -> None:
        """Elected, it still catches up with whatever any member has (never something that a
        majority acknowledged). A member that hangs would delay that for seconds, so it is cut
        short when after a moment there is still no known position to catch up with."""
        patience = time.monotonic() + CATCH_UP_GRACE_SECONDS
        while not self.leads(service, target):
            now = time.monotonic()
            if now > deadline:
                self._refuse_if_elected(service, others)
                raise ServerError(
                    f"{target.name} was elected but took no writes within {ELECTION_SECONDS:g} s"
                )
            if now > patience:
                patience = deadline
                metrics = self.status(service, target).get("electionCandidateMetrics", {})
                if "targetCatchupOpTime" not in metrics:
                    abort = {"replSetAbortPrimaryCatchUp": 1}
                    with contextlib.suppress(AnsweredError):  # it is through meanwhile
                        self._connections.command(service, target, abort)
            time.sleep(0.002)

    def _refuse_if_elected(self, service: ServiceContext, others: Sequence[Target]) -> None:
        for other in others:
            with contextlib.suppress(ServerError):
                if self.leads(service, other):
                    break
        else:
            return
        raise ServerError(f"the set elected {other.name} meanwhile: nothing was changed")

    def _freeze(self, service: ServiceContext, members: Sequence[Target], seconds: int) -> None:
        """No election of these for so long (0: they may be elected again)."""
        for member in members:
            with contextlib.suppress(ServerError):
                self._connections.command(service, member, {"replSetFreeze": seconds})


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
