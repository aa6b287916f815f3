"""What people ask about drills, and their schedules. Whoever leads a service runs them
(`hamanager.daemon.drilling`)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from hamanager.api.drills import (
    MOST_ROUNDS,
    ScheduleView,
    SignedReport,
    checked_every,
    quarter_bounds,
    quarter_of,
    time_of_day,
)
from hamanager.authority.authority import Authority
from hamanager.authority.certificates import described
from hamanager.contracts.clock import Clock
from hamanager.contracts.driver import Driver
from hamanager.contracts.store import Store
from hamanager.daemon.drill_report import as_json, as_page, summarized
from hamanager.daemon.specs import Specs
from hamanager.decide.drills import next_at
from hamanager.errors import ConflictError, UsageError
from hamanager.formats import count
from hamanager.model.drill import DrillFault, DrillResult, Schedule
from hamanager.stores import drills

MINUTES = 24 * 60


class Drills:
    """Thread-safe."""

    def __init__(
        self, store: Store, drivers: Mapping[str, Driver], clock: Clock, authority: Authority
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._clock = clock
        self._authority = authority
        self._specs = Specs(store, drivers, clock)

    def schedule(
        self, name: str, every_seconds: int, at_minute: int, fault: DrillFault, rounds: int
    ) -> ScheduleView:
        """From now on that service is drilled so.

        Raises:
            UsageError: a number that cannot be, or an engine that cannot be drilled.
            NotFoundError: there is no such service.
            ConflictError: it is not marked for drills, or is being destroyed.
        """
        checked_every(every_seconds)
        if not 0 <= at_minute < MINUTES or not 1 <= rounds <= MOST_ROUNDS:
            raise UsageError(
                f"a drill by schedule has 1 to {MOST_ROUNDS} rounds, at a minute of the day from 0"
                f" to {MINUTES - 1}; nothing was changed"
            )
        spec, _ = self._specs.standing(name)
        driver = self._drivers[spec.engine]
        if driver.workload is None or driver.replication is None:
            raise UsageError(
                f"services of the engine '{spec.engine}' cannot be drilled: there is nothing to"
                f" write to '{name}' and to read again; nothing was changed"
            )
        if not spec.allow_drills:
            raise ConflictError(
                f"'{name}' is not marked for drills, which break it on purpose;"
                f" `hamanager set {name} --allow-drills` marks it; nothing was changed"
            )
        made = Schedule(
            service=name,
            every_seconds=every_seconds,
            at_minute=at_minute,
            fault=fault,
            rounds=rounds,
            since=self._clock.now(),
        )
        drills.change_schedule(self._store, name, made)
        words = f"{fault}, {count(rounds, 'round')}, from {time_of_day(at_minute)} UTC"
        self._specs.note(name, f"drill {name} every {every_seconds // 3600} h: {words}")
        return self._view(made)

    def never(self, name: str) -> bool:
        """That service is no longer drilled by schedule; whether it was.

        Raises:
            NotFoundError: there is no such service.
        """
        self._specs.readable(name)
        was = drills.change_schedule(self._store, name, None)
        if was:
            self._specs.note(name, f"drill {name} never")
        return was

    def schedules(self) -> Sequence[ScheduleView]:
        """All of them, by service."""
        found = drills.schedules(self._store)
        return [self._view(schedule) for _, (schedule, _) in sorted(found.items())]

    def results(self, name: str) -> Sequence[DrillResult]:
        """What became of its drills, oldest first; also of a service that is no more.

        Raises:
            NotFoundError: there is neither such a service nor anything kept of one.
        """
        found = drills.results(self._store, name)
        if not found:
            self._specs.readable(name)
        return found

    def report(self, name: str, quarter: str | None, *, page: bool) -> SignedReport:
        """What became of its drills in that quarter (None: the present one), signed by the
        installation's authority.

        Raises:
            UsageError: it is no quarter.
            NotFoundError: there is neither such a service nor anything kept of one.
        """
        now = self._clock.now()
        named = (quarter or quarter_of(now)).strip().upper()
        begins_at, ends_at = quarter_bounds(named)
        found = [r for r in self.results(name) if begins_at <= r.at < ends_at]
        signer = self._authority.trust().signer
        fingerprint = described(signer.certificate).fingerprint
        report = summarized(name, named, found, now, fingerprint)
        content = as_page(report) if page else as_json(report)
        signature = self._authority.sign(content.encode(), signer)
        return SignedReport(content=content, signature=base64.b64encode(signature).decode())

    def _view(self, schedule: Schedule) -> ScheduleView:
        now = self._clock.now()
        claim = drills.claimed(self._store, schedule.service)
        return ScheduleView(
            service=schedule.service,
            every_seconds=schedule.every_seconds,
            at=time_of_day(schedule.at_minute),
            fault=schedule.fault,
            rounds=schedule.rounds,
            since=schedule.since,
            next_at=next_at(schedule, now),
            under_way=claim is not None and now < claim.until,
            last=drills.last_result(self._store, schedule.service),
        )
