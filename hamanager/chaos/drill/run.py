"""The drill itself: round after round, a fault into the primary of a healthy service."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

import docker
from docker.errors import DockerException

from hamanager.api.client import Client
from hamanager.api.goals import complete, summary
from hamanager.api.views import ServiceView
from hamanager.chaos.drill.local import LocalService
from hamanager.chaos.drill.plan import PLANS
from hamanager.chaos.drill.rounds import Round, Trace, failures, measure, median, worst
from hamanager.chaos.drill.text import verdict
from hamanager.chaos.drill.turn import Turn
from hamanager.chaos.drill.values import DrillReport
from hamanager.chaos.faults import Faults
from hamanager.chaos.watch import Seen, Watch
from hamanager.chaos.workload import LoadWriter
from hamanager.discovery import load_drivers
from hamanager.errors import HamanagerError
from hamanager.model.drill import DrillFault
from hamanager.model.durability import Durability

DOCKER_SECONDS = 30
POLL_SECONDS = 0.1
WARM_UP_SECONDS = 2.0
"""Of writing, before each fault."""
FIRST_WRITE_SECONDS = 10.0
RECOVERY_SECONDS = 120.0
"""From the end of the fault to full health, at the most."""
STEADY_SECONDS = 1.5
"""Health has to last so long: the manager looks once a second, so what it shows may be older."""
HISTORY_ENTRIES = 2000
"""More than a round can make."""
ROUND_SECONDS = 300.0
"""A round takes no longer, beside its pause, its fault and what it waits for before."""

Say = Callable[[str], None]


def refusal(view: ServiceView) -> str | None:
    """Why no drill is begun with that service, in one sentence; None when one may be. Pure."""
    name = view.name
    if not view.allow_drills:
        return (
            f"'{name}' is not marked for drills, which break it on purpose;"
            f" `hamanager set {name} --allow-drills` marks it; nothing was done"
        )
    if view.destroying or view.paused:
        doing = "being destroyed" if view.destroying else "paused, so nothing would be repaired"
        return f"'{name}' is {doing}; nothing was done"
    if view.desired.instances < 2:
        return (
            f"'{name}' has one instance, and nobody could take over from it;"
            f" `hamanager scale {name}:instances=2` adds one; nothing was done"
        )
    if view.upgrade is not None:
        return f"'{name}' is being upgraded to {view.upgrade.to}; nothing was done"
    if going := [i.name for i in view.instances if i.restarting or i.draining]:
        return f"{' and '.join(going)} of '{name}' is being restarted; nothing was done"
    if not complete(view):
        return f"a drill begins with a healthy service, but {summary(view)}; nothing was done"
    return None


def is_lossless(view: ServiceView) -> bool:
    """Whether the service promises not to lose what it has acknowledged. Pure."""
    if view.durability is None:
        return False
    majority = view.durability.mode is Durability.MAJORITY
    return majority or view.durability.synchronized is not None


def run_drill(
    client: Client,
    name: str,
    fault: DrillFault,
    rounds: int,
    pause_seconds: float,
    say: Say,
    due_at: float | None = None,
) -> tuple[DrillReport, list[Round]]:
    """Run the rounds; whatever was broken is undone at the end, also when it is interrupted.
    `due_at`: of a drill by schedule.

    Raises:
        HamanagerError: the drill was refused, or could not be carried out.
    """
    with (
        LocalService(name) as service,
        Turn(service.store, name, fault, rounds, due_at) as turn,
    ):
        view = client.view(name)
        if reason := refusal(view) or service.refusal():
            raise HamanagerError(reason)
        try:
            engine = docker.from_env(timeout=DOCKER_SECONDS)
        except DockerException as error:
            raise HamanagerError(
                "the Docker engine does not answer here: a drill runs on its machine; nothing was"
                " done"
            ) from error
        with closing(engine), Faults(engine, service.installation_id) as faults:
            faults.look_for(view.primary or f"{name}'s primary")
            if fault is DrillFault.DISK_FULL:
                for target in service.members():
                    faults.small_disk(target.name)
            own_driver = load_drivers()[view.engine]
            members = service.members()
            with Watch(own_driver, service.context, lambda: members) as watch:
                promised = is_lossless(view)
                drill = _Drill(client, service, fault, faults, watch, say, promised, turn)
                report = drill.run(view, rounds, pause_seconds)
                turn.done(report, verdict(report))
                return report, drill.rounds


@dataclass
class _Health:
    """Full health as the daemon tells it and our own looks confirm it."""

    left: bool = False
    since: float | None = None
    """Monotonic seconds."""

    def note(self, *, healthy: bool) -> None:
        if not healthy:
            self.left, self.since = True, None
        elif self.since is None:
            self.since = time.monotonic()


@dataclass
class _Drill:
    client: Client
    service: LocalService
    fault: DrillFault
    faults: Faults
    watch: Watch
    say: Say
    lossless: bool
    turn: Turn
    rounds: list[Round] = field(default_factory=list)
    acknowledged: array[int] = field(default_factory=lambda: array("q"))
    """The numbers of all rounds."""
    written_before: int | None = None
    lost_at_end: int | None = None

    def run(self, view: ServiceView, wanted: int, pause_seconds: float) -> DrillReport:
        started_at = time.time()
        problems: list[str] = []
        for number in range(1, wanted + 1):
            if number > 1:
                time.sleep(pause_seconds)
            self.turn.begin_round(ROUND_SECONDS + pause_seconds + view.failover_period_seconds)
            view = self._wait_for_proofless_failover()
            if reason := refusal(view) or self.service.refusal():
                problems.append(f"round {number} was not begun: {reason}")
                break
            done = self._round(number, wanted)
            self.rounds.append(done)
            if not done.result.recovered:
                break
        results = [done.result for done in self.rounds]
        return DrillReport(
            service=self.service.name,
            engine=view.engine,
            version=view.version,
            durability=view.durability.mode if view.durability else None,
            lossless=self.lossless,
            instances=view.desired.instances,
            fault=self.fault,
            started_at=round(started_at, 3),
            rounds_wanted=wanted,
            rounds=results,
            median=median(results),
            worst=worst(results),
            acknowledged=len(self.acknowledged),
            lost=self.lost_at_end,
            duplicate_primaries=sum(result.duplicate_primaries for result in results),
            failures=[*failures(results, self.lost_at_end, lossless=self.lossless), *problems],
        )

    def _wait_for_proofless_failover(self) -> ServiceView:
        """Soon after a failover the manager wants proof before another one; a fault that gives
        none waits until that is over."""
        view = self.client.view(self.service.name)
        if not PLANS[self.fault].silent or view.last_failover is None:
            return view
        over_at = view.last_failover.at + view.failover_period_seconds
        seconds = over_at - time.time()
        if seconds <= 0:
            return view
        self.say(
            f"waiting {seconds:.0f} s: within {view.failover_period_seconds:g} s of a failover"
            f" another one needs proof of death, which '{self.fault}' does not give"
        )
        time.sleep(seconds + 1)
        return self.client.view(self.service.name)

    # --- One round -----------------------------------------------------------------------------

    def _round(self, number: int, wanted: int) -> Round:
        began_at = time.monotonic()
        writer = self.service.start_writer(self.written_before)
        try:
            if writer.wait_for_write(after=0, not_on="", timeout_seconds=FIRST_WRITE_SECONDS):
                time.sleep(WARM_UP_SECONDS)
            else:
                raise HamanagerError(
                    f"'{self.service.name}' took no write for {FIRST_WRITE_SECONDS:g} s, so nothing"
                    " was broken; look with `hamanager status`"
                )
            instance = self.client.view(self.service.name).primary
            assert instance is not None
            self.say(f"round {number} of {wanted}: {instance} is {PLANS[self.fault].words}")
            self.turn.broken()
            fault_at = time.monotonic()
            undone_at, health = self._break_and_watch(instance, fault_at, writer)
        finally:
            writer.stop()
        ended_at = time.monotonic()
        view = self.client.view(self.service.name)
        trace = Trace(
            number=number,
            instance=instance,
            primary=view.primary,
            fault_at=fault_at,
            undone_at=undone_at,
            healthy_at=health.since if health.left else None,
            recovered=health.since is not None,
            ended_at=ended_at,
            epoch_at_zero=time.time() - time.monotonic(),
            writes=writer.acknowledged(),
            looks=self.watch.since(began_at),
            history=self.client.history(self.service.name, HISTORY_ENTRIES),
            lost=self._count_lost(writer),
            message=view.message,
        )
        done = measure(trace)
        self.say(f"round {number} of {wanted}: {_words(done)}")
        return done

    def _break_and_watch(
        self, instance: str, fault_at: float, writer: LoadWriter
    ) -> tuple[float | None, _Health]:
        """Inject the fault, undo it after its time, wait for full health; when it was undone, and
        the health."""
        plan = PLANS[self.fault]
        plan.inject(self.faults, instance)
        injected_at = over_at = time.monotonic()
        undone_at: float | None = None
        missed = (look for looks in self.watch.since(fault_at).values() for look in looks)
        health = _Health(left=any(look.seen is Seen.DOWN for look in missed))
        deadline = injected_at + plan.hold_seconds + RECOVERY_SECONDS
        while time.monotonic() < deadline:
            if (
                plan.undo
                and undone_at is None
                and time.monotonic() > injected_at + plan.hold_seconds
            ):
                plan.undo(self.faults, instance)
                undone_at = over_at = time.monotonic()
            seen = self.watch.latest(injected_at)
            if seen is not None:
                health.note(healthy=self._is_healthy(seen))
            over = plan.undo is None or undone_at is not None
            if over and _is_steady(health, over_at, writer):
                return undone_at, health
            time.sleep(POLL_SECONDS)
        health.note(healthy=False)
        return undone_at, health

    def _is_healthy(self, seen: Mapping[str, Seen]) -> bool:
        try:
            view = self.client.view(self.service.name)
        except HamanagerError:
            return False  # a daemon that is being restarted is back soon
        leading = [name for name, what in seen.items() if what is Seen.PRIMARY]
        return complete(view) and leading == [view.primary] and Seen.DOWN not in seen.values()

    def _count_lost(self, writer: LoadWriter) -> int | None:
        """Of this round; the sum of all rounds is counted, too, as it may be the last one."""
        numbers = [write.number for write in writer.acknowledged()]
        self.acknowledged.extend(numbers)
        self.lost_at_end = None
        with suppress(HamanagerError):
            held = self.service.numbers()
            self.lost_at_end = sum(number not in held for number in self.acknowledged)
            self.written_before = max(max(held, default=0), max(self.acknowledged, default=0))
            return writer.lost(held)
        return None


def _is_steady(health: _Health, over_at: float, writer: LoadWriter) -> bool:
    """Healthy for a while, and clients write again."""
    if health.since is None:
        return False
    since = max(health.since, over_at)
    writes = writer.acknowledged()
    written = bool(writes) and writes[-1].at > since
    return written and time.monotonic() - since > STEADY_SECONDS


def _words(done: Round) -> str:
    result = done.result
    lost = "an unknown number" if result.lost is None else f"{result.lost}"
    how = "did not recover" if not result.recovered else "never left full health"
    if result.healthy_seconds is not None:
        how = f"healthy again after {result.healthy_seconds:.1f} s"
    return f"{how}; {result.acknowledged} writes acknowledged, {lost} of them lost"
