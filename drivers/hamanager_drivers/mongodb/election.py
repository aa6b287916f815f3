"""Changing who leads: elections are the set's own, the manager only starts them in time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from bson import Timestamp

from hamanager.errors import ServerError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb.connections import (
    COMMAND_FAILED,
    NOT_PRIMARY,
    AnsweredError,
    Connections,
    Document,
)

ELECTION_SECONDS = 5.0
VOTE_SECONDS = 2.0
"""How long the members may take to vote. One that hangs may keep a majority from it; then the dead
one, started again, is who makes it up, and an election that is won later is found out."""
CATCH_UP_GRACE_SECONDS = 0.3
CAUGHT_UP_SECONDS = 0.2
"""What the primary had so long ago is recent enough for a planned change."""
STEPPED_DOWN_SECONDS = 20
"""For how long one that was demoted does not stand for election."""


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
                self._connections.command(service, target, command, VOTE_SECONDS)
                break
            except AnsweredError as error:
                self._refuse_if_elected(service, others)
                if error.code != COMMAND_FAILED or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)
        self._wait_until_it_leads(service, target, others, deadline)

    def step_down(self, service: ServiceContext, target: Target) -> None:
        """End its leadership at once. Does nothing when it does not lead."""
        command = {
            "replSetStepDown": STEPPED_DOWN_SECONDS,
            "secondaryCatchUpPeriodSecs": 0,
            "force": True,
        }
        try:
            self._connections.command(service, target, command, ELECTION_SECONDS)
        except AnsweredError as error:
            if error.code not in NOT_PRIMARY:
                raise

    def hand_over(self, service: ServiceContext, target: Target, primary: Target) -> None:
        """The target, which has caught up, stands for election, and the primary gives way to the
        new term; when that fails the primary is elected again.

        Writes that arrive in between are fetched by the target before it leads (its catch-up), and
        none that a majority acknowledged can be missing from it. Stepping the primary down first
        takes longer: until the target is elected nobody leads, and members drop a source that
        has none itself.
        """
        try:
            self.step_up(service, target, [])
        except ServerError:
            if not self.leads(service, primary):
                self.step_up(service, primary, [])
            raise

    def wait_until_it_has_all(
        self, service: ServiceContext, target: Target, primary: Target
    ) -> None:
        """Until it has applied what the primary had a moment ago."""
        deadline = time.monotonic() + ELECTION_SECONDS
        while True:
            began = time.monotonic()
            wanted = self._applied(service, primary)
            while self._applied(service, target) < wanted:
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{target.name} did not catch up with {primary.name} within"
                        f" {ELECTION_SECONDS:g} s: nothing was changed"
                    )
                time.sleep(0.005)
            if time.monotonic() - began < CAUGHT_UP_SECONDS:
                return

    def _applied(self, service: ServiceContext, target: Target) -> tuple[int, int, int]:
        optime = self.status(service, target)["optimes"]["appliedOpTime"]
        return int(optime["t"]), int(optime["ts"].time), int(optime["ts"].inc)

    def _wait_until_it_leads(
        self, service: ServiceContext, target: Target, others: Sequence[Target], deadline: float
    ) -> None:
        """Elected, it still catches up with whatever any member has (never something that a
        majority acknowledged). A member that hangs would delay that for seconds, so it is cut
        short when nobody who answers is ahead, or when after a moment there is still no known
        position to catch up with."""
        patience = time.monotonic() + CATCH_UP_GRACE_SECONDS
        while not self.leads(service, target):
            now = time.monotonic()
            if now > deadline:
                self._refuse_if_elected(service, others)
                raise ServerError(
                    f"{target.name} was elected but took no writes within {ELECTION_SECONDS:g} s"
                )
            status: Document = {}
            with contextlib.suppress(ServerError):  # it is about to lead all the same
                status = self.status(service, target)
            # In a planned change the old primary may have written after it was heard of last.
            nobody = bool(others) and nobody_is_ahead(status)
            if nobody or (now > patience and status and not _has_target(status)):
                abort = {"replSetAbortPrimaryCatchUp": 1}
                with contextlib.suppress(AnsweredError):  # it is through meanwhile
                    self._connections.command(service, target, abort)
            time.sleep(0.005)

    def _refuse_if_elected(self, service: ServiceContext, others: Sequence[Target]) -> None:
        for other in others:
            with contextlib.suppress(ServerError):
                if self.leads(service, other):
                    break
        else:
            return
        raise ServerError(f"the set elected {other.name} meanwhile: nothing was changed")


def nobody_is_ahead(status: Document) -> bool:
    """Whether the member that tells this, just elected, has heard since then of everybody who is
    not down, and has all that they have. (One that is down by its count was silent for
    `heartbeatTimeoutSecs` before.) With nobody down the server finds that out by itself: False.

    Both times are by its own clock: `lastHeartbeat` is when it had the member's last answer, and
    `optime` is from that (MongoDB Manual, "replSetGetStatus").
    """
    elected = status.get("electionCandidateMetrics", {}).get("lastElectionDate")
    if elected is None:
        return False
    mine = next(_position(m) for m in status["members"] if m.get("self"))
    others = [member for member in status["members"] if not member.get("self")]
    away = [m for m in others if not m["health"] and m.get("lastHeartbeat", elected) <= elected]
    heard = [m for m in others if m.get("lastHeartbeat", elected) > elected]
    everybody = len(away) + len(heard) == len(others)
    return bool(away) and everybody and all(_position(m) <= mine for m in heard)


def _position(member: Document) -> tuple[int, Any]:
    optime = member.get("optime") or {"t": -1, "ts": Timestamp(0, 0)}
    return int(optime["t"]), optime["ts"]


def _has_target(status: Document) -> bool:
    """Whether it knows a position that it still has to reach."""
    return "targetCatchupOpTime" in status.get("electionCandidateMetrics", {})
