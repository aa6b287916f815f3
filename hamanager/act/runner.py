"""The runner: the only place where playbooks are carried out.

Before the first step it sees to it that this manager leads the service, observes again and
confirms that the decision still holds. It numbers, times and journals every step. It needs no
recovery of its own: after a crash the loop observes and decides again, and every step is
idempotent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from hamanager.act.context import Playbook, PlaybookContext, Step
from hamanager.act.lock import ServiceLock
from hamanager.contracts.assurance import assured_by
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.endpoint import Endpoint, Listener, ListenerKind
from hamanager.contracts.runtime import Runtime
from hamanager.contracts.store import Store
from hamanager.decide.routing import leader
from hamanager.errors import HamanagerError
from hamanager.model.capabilities import Traits
from hamanager.model.decision import Action, Decision
from hamanager.model.history import HistoryEntry
from hamanager.model.kept import packed

LONGEST_CALL_SECONDS = 40.0
"""No call of a driver or the runtime may take longer (checked at the start:
`hamanager.daemon.timeouts`): nothing else is done about the service meanwhile."""


class _Guarded:
    """A driver, runtime or endpoint whose every call, also of a driver's parts, first assures that
    this manager still leads: one that was suspended in the middle of a playbook would act on what
    has long been overtaken. Inside a call drivers ask before each statement
    (`hamanager.contracts.assurance`)."""

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
        lock: ServiceLock,
        playbooks: Mapping[Action, Playbook],
    ) -> None:
        self._service = service
        self._store = store
        self._clock = clock
        self._playbooks = playbooks
        self._lock = lock

    def run(self, decision: Decision, recheck: Callable[[], PlaybookContext]) -> Outcome:
        """Carry out the decision's playbook, if after a re-check it still is the decision."""
        if not self._lock.take():
            return Outcome(False, self._lock.refusal)
        assure = partial(self._lock.assure, self._lock.tenure)
        ctx = recheck()
        if not ctx.decision.same_as(decision):
            return Outcome(False, f"not needed any more: {ctx.decision.reason}")
        with assured_by(assure):
            return self._carry_out(_guarded(ctx, assure), assure)

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
            assure = partial(self._lock.assure, self._lock.tenure)
            # Before it had the lease another manager may have changed who leads.
            if not ctx.records.is_present():
                return "what is known of the service has just changed"
            with assured_by(assure):
                guarded = _guarded(ctx, assure)
                problem = guarded.send_clients_to(leader(ctx.records.read())) or ""
        except HamanagerError as error:
            return f"not in force yet: {error}"
        after = _writers_go_to(ctx.endpoint.published(service))
        if after and after != _writers_go_to(present):
            self._journal("", "", "note", f"clients are sent to {', '.join(after)}")
        return problem

    def _carry_out(self, ctx: PlaybookContext, assure: Callable[[], None]) -> Outcome:
        decision = ctx.decision
        run = secrets.token_hex(4)
        playbook = decision.action.value
        title = f"{playbook} {decision.instance or self._service}"
        text = f"{title}: {decision.reason}"
        self._journal(run, playbook, "decision", text, seen=packed(ctx.facts), rule=decision.rule)
        began = self._clock.monotonic()
        try:
            # From here on whoever is in the middle of another run can write nothing any more,
            # even one that was suspended right before it writes.
            ctx.records.change(lambda record: record.begin_run())
            for number, step in enumerate(self._playbooks[decision.action](ctx), 1):
                assure()
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
                name=step.name,
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
        seen: str = "",
        rule: str = "",
        name: str = "",
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
                seen=seen,
                rule=rule,
                step=name,
            )
        )


def _guarded(ctx: PlaybookContext, assure: Callable[[], None]) -> PlaybookContext:
    return replace(
        ctx,
        driver=cast(Driver, _Guarded(ctx.driver, assure)),
        runtime=cast(Runtime, _Guarded(ctx.runtime, assure)),
        endpoint=cast(Endpoint, _Guarded(ctx.endpoint, assure)),
    )


def _writers_go_to(published: Sequence[Listener]) -> list[str]:
    routes = [told.routes for told in published if told.kind is ListenerKind.PRIMARY]
    return [route.instance for of_one in routes for route in of_one]
