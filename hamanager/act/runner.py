"""The runner: the only place where playbooks are carried out.

Before the first step it takes the service's lock, observes again and confirms that the decision
still holds. It numbers, times and journals every step. It needs no recovery of its own: after
a crash the loop observes and decides again, and every step is idempotent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from hamanager.act.context import Playbook, PlaybookContext, Step
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint, Listener, ListenerKind
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.decide.routing import leader
from hamanager.errors import HamanagerError, StaleVersionError
from hamanager.model.capabilities import Traits
from hamanager.model.decision import Action, Decision
from hamanager.model.history import HistoryEntry
from hamanager.stores.repository import lock_key

LEASE_SECONDS = 60.0
ASSURED_SECONDS = 40.0
"""So much of the lease is left whenever a driver or the runtime is asked for something: longer than
any of these calls may take (checked at the start: `hamanager.daemon.timeouts`)."""


ELSEWHERE = "another manager is acting on this service"


class _Lease(BaseModel):
    owner: str
    expires_at: float
    """Seconds since the epoch."""

    @classmethod
    def read(cls, text: str) -> _Lease | None:
        """None when it is damaged."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None


class ServiceLock:
    """One manager at a time acts on a service. Kept while its owner lives, so that a failover
    does not wait for it; another manager may take it when the lease has run out. The term is
    what makes a mistake here harmless: its compare-and-swap has one winner."""

    def __init__(self, store: Store, service: str, owner: str, clock: Clock) -> None:
        self._store, self._key, self._owner, self._clock = store, lock_key(service), owner, clock
        self._held_until = -1.0
        """Monotonic seconds."""
        self._damaged: tuple[int, float] | None = None
        """The version that could not be read, and since when (monotonic seconds)."""
        self.refusal = ""
        """Why it could not be taken."""

    def take(self) -> bool:
        """Whether this manager holds it now, with at least what is assured left."""
        held = self._store.get(self._key)
        now = self._clock.now()
        lease = _Lease.read(held.value) if held is not None else None
        self.refusal = ELSEWHERE
        if lease is not None:
            remaining = lease.expires_at - now
            if lease.owner != self._owner and 0 < remaining <= LEASE_SECONDS:
                return False
            if lease.owner == self._owner and ASSURED_SECONDS < remaining <= LEASE_SECONDS:
                self._held_until = self._clock.monotonic() + remaining
                return True
        elif held is not None and not self._outlived(held.version):
            return False
        lease = _Lease(owner=self._owner, expires_at=now + LEASE_SECONDS)
        try:
            self._store.put(self._key, lease.model_dump_json(), held.version if held else 0)
        except StaleVersionError:
            return False
        self._held_until = self._clock.monotonic() + LEASE_SECONDS
        return True

    def _outlived(self, version: int) -> bool:
        """Whether a lock that cannot be read has run out, whoever has it: nobody can extend it."""
        now = self._clock.monotonic()
        if self._damaged is None or self._damaged[0] != version:
            self._damaged = version, now
        left = LEASE_SECONDS - (now - self._damaged[1])
        self.refusal = (
            f"its lock in the store ('{self._key}') is damaged: another manager may hold it, so it"
            f" is taken when that has run out, within {LEASE_SECONDS:g} s"
        )
        return left <= 0

    def keep(self) -> bool:
        """Whether it was held without interruption since it was taken, for some time to come. Taken
        anew in between it would be worth nothing: another manager may have acted meanwhile."""
        held = self._store.get(self._key)
        now, began = self._clock.now(), self._clock.monotonic()
        if held is None or began >= self._held_until:
            return False
        lease = _Lease.read(held.value)
        if lease is None or lease.owner != self._owner:
            return False
        remaining = min(lease.expires_at - now, self._held_until - began)
        if ASSURED_SECONDS < remaining <= LEASE_SECONDS:
            return True
        extended = _Lease(owner=self._owner, expires_at=now + LEASE_SECONDS)
        try:
            self._store.put(self._key, extended.model_dump_json(), held.version)
        except StaleVersionError:
            return False
        self._held_until = began + LEASE_SECONDS
        return True

    def assure(self) -> None:
        """See to it that what is assured is left of it; the store is asked only when less is, by
        this process's own clock.

        Raises:
            StaleVersionError: the lease has run out, or somebody else has it.
        """
        left = self._held_until - self._clock.monotonic()
        if left < ASSURED_SECONDS and not self.keep():
            raise StaleVersionError(
                "this manager's lease on the service has run out: nothing more done"
            )


class _Guarded:
    """A driver, runtime or endpoint whose every call, also of a driver's parts, first assures the
    lease: a manager that was suspended in the middle of a playbook would act on what has long been
    overtaken, and one whose calls take long would be overtaken in the middle of one."""

    def __init__(self, inner: object, assure: Callable[[], None]) -> None:
        self._inner, self._assure = inner, assure

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if attribute is None or isinstance(attribute, str | Traits):
            return attribute
        if not callable(attribute):
            return _Guarded(attribute, self._assure)  # a part of a driver

        def guarded(*arguments: Any, **named: Any) -> Any:
            self._assure()
            return attribute(*arguments, **named)

        return guarded


@dataclass(frozen=True)
class Outcome:
    """What came of a decision."""

    done: bool
    text: str
    failure: HamanagerError | None = None
    """Why the playbook, once begun, did not reach its goal; None when it did or was not begun."""


class Runner:
    """Carries out playbooks for one service."""

    def __init__(
        self,
        service: str,
        store: Store,
        clock: Clock,
        owner: str,
        playbooks: Mapping[Action, Playbook],
    ) -> None:
        self._service = service
        self._store = store
        self._clock = clock
        self._playbooks = playbooks
        self._lock = ServiceLock(store, service, owner, clock)

    def run(self, decision: Decision, recheck: Callable[[], PlaybookContext]) -> Outcome:
        """Carry out the decision's playbook, if after a re-check it still is the decision."""
        if not self._lock.take():
            return Outcome(False, self._lock.refusal)
        ctx = recheck()
        if not ctx.decision.same_as(decision):
            return Outcome(False, f"not needed any more: {ctx.decision.reason}")
        return self._carry_out(self._guarded(ctx))

    def lead_clients(self, ctx: PlaybookContext) -> str:
        """Let the service's addresses lead where they should by what was seen, if they do not:
        beside whatever was decided, and without a re-check, as writes may be waiting for that.
        Returns why they do not, or ''. Needs no lease unless something has to be changed."""
        service = ctx.spec.name
        present = ctx.endpoint.published(service)
        try:
            if set(present) == set(ctx.wanted_listeners(leader(ctx.records.read()))):
                ctx.endpoint.settle(service)
                return ""
            if not self._lock.take():
                return self._lock.refusal
            # Before it had the lease another manager may have changed who leads.
            if not ctx.records.is_present():
                return "what is known of the service has just changed"
            guarded = self._guarded(ctx)
            problem = guarded.send_clients_to(leader(ctx.records.read())) or ""
        except HamanagerError as error:
            return f"not in force yet: {error}"
        after = _writers_go_to(ctx.endpoint.published(service))
        if after and after != _writers_go_to(present):
            self._journal("", "", "note", f"clients are sent to {', '.join(after)}")
        return problem

    def _guarded(self, ctx: PlaybookContext) -> PlaybookContext:
        return replace(
            ctx,
            driver=cast(Driver, _Guarded(ctx.driver, self._lock.assure)),
            runtime=cast(Runtime, _Guarded(ctx.runtime, self._lock.assure)),
            endpoint=cast(Endpoint, _Guarded(ctx.endpoint, self._lock.assure)),
        )

    def _carry_out(self, ctx: PlaybookContext) -> Outcome:
        decision = ctx.decision
        run = secrets.token_hex(4)
        playbook = decision.action.value
        title = f"{playbook} {decision.instance or self._service}"
        self._journal(run, playbook, "decision", f"{title}: {decision.reason}")
        began = self._clock.monotonic()
        try:
            # From here on whoever is in the middle of another run can write nothing any more,
            # even one that was suspended right before it writes.
            ctx.records.change(lambda record: record.begin_run())
            for number, step in enumerate(self._playbooks[decision.action](ctx), 1):
                self._carry_out_step(run, playbook, number, step)
        except HamanagerError as error:
            seconds = self._clock.monotonic() - began
            self._journal(run, playbook, "outcome", f"{title}: failed", seconds=seconds, ok=False)
            return Outcome(False, f"{title} failed: {error}", error)
        self._journal(
            run, playbook, "outcome", f"{title}: done", seconds=self._clock.monotonic() - began
        )
        return Outcome(True, f"{title}: done")

    def _carry_out_step(self, run: str, playbook: str, number: int, step: Step) -> None:
        if not self._lock.keep():
            raise StaleVersionError(
                "another manager may have taken over this service: nothing more done"
            )
        began = self._clock.monotonic()
        ok, text = False, step.name
        try:
            note = step.run()
            ok, text = True, f"{step.name}: {note}" if note else step.name
        except HamanagerError as error:
            text = f"{step.name}: {error}"
            raise
        finally:
            self._journal(
                run,
                playbook,
                "step",
                text,
                number=number,
                seconds=self._clock.monotonic() - began,
                ok=ok,
            )

    def _journal(
        self,
        run: str,
        playbook: str,
        kind: str,
        text: str,
        *,
        number: int | None = None,
        seconds: float | None = None,
        ok: bool = True,
    ) -> None:
        self._store.append(
            HistoryEntry(
                at=self._clock.now(),
                service=self._service,
                kind=kind,
                text=text,
                run=run,
                playbook=playbook,
                number=number,
                seconds=None if seconds is None else round(seconds, 4),
                ok=ok,
            )
        )


def _writers_go_to(published: Sequence[Listener]) -> list[str]:
    routes = [told.routes for told in published if told.kind is ListenerKind.PRIMARY]
    return [route.instance for of_one in routes for route in of_one]
