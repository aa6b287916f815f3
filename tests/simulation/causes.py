"""Whether a manager has cause for what it does: its decision against the truth of the world.

The truth is that of the manager's last look, so that what happens between looking and acting is not
held against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hamanager.act.context import Playbook, PlaybookContext, Step
from hamanager.decide.situation import RESTART_BOUND_SECONDS
from hamanager.errors import TransitionError
from hamanager.model.decision import Action, Decision
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Role
from hamanager.model.spec import Spec
from hamanager_playbooks.registry import PLAYBOOKS
from tests.simulation.servers import SimServer
from tests.simulation.world import World

LONGEST_GAP_SECONDS = 5.0
"""As the observer's, and not the observer's own: a mutant changes that one."""


@dataclass(frozen=True)
class Truth:
    """How the world was when a manager looked."""

    blind: bool
    """The runtime was away, and no server answered."""
    leading: tuple[str, ...]
    """Servers that answer and take themselves for primaries."""
    running: tuple[str, ...]
    answering: tuple[str, ...]
    followed: tuple[str, ...]
    """Servers from which one that answers replicates."""
    following: tuple[str, ...]
    """Servers that replicate from one that leads."""
    silent_seconds: Mapping[str, float]
    """For how long each has not answered (at least; of those that ever did)."""


class Causes:
    """Knows when each server answered last."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answered: dict[str, float] = {}

    def note(self) -> None:
        """Called whenever something has happened."""
        for server in self.world.servers.values():
            if answers(server):
                self.answered[server.ref.instance] = self.world.clock.monotonic()


class Looks:
    """What one manager could know from its looks, had it seen rightly."""

    def __init__(self, causes: Causes) -> None:
        self._causes = causes
        self._last: float | None = None
        self._answered: dict[str, float] = {}
        """When a look found it answering; between two looks far apart, when it did answer."""
        self._seen: set[str] = set()
        """Those that a look found answering since it began or looked away."""

    def truth(self) -> Truth:
        """As it is now, at this look."""
        self._causes.note()
        world, now = self._causes.world, self._causes.world.clock.monotonic()
        servers = {server.ref.instance: server for server in world.servers.values()}
        heard = {name: server for name, server in servers.items() if answers(server)}
        if self._last is None or now - self._last > LONGEST_GAP_SECONDS:
            self._answered = dict(self._causes.answered)
            self._seen.clear()
        self._seen.update(heard)
        self._answered.update(dict.fromkeys(heard, now))
        self._last = now
        witnessed = self._witnessed(heard, now)
        sources = {server.source for server in heard.values() if world.linked(server)}
        return Truth(
            blind=world.runtime_down and not heard,
            leading=tuple(name for name, s in heard.items() if s.role is Role.PRIMARY),
            running=tuple(name for name, s in servers.items() if s.running),
            answering=tuple(heard),
            followed=tuple(name for name, s in servers.items() if s.address in sources),
            following=tuple(name for name, s in heard.items() if self._follows_a_primary(s)),
            silent_seconds={
                name: max(now - at, 0.0 if name in self._seen else witnessed.get(name, 0.0))
                for name, at in self._answered.items()
            },
        )

    def _witnessed(self, heard: Mapping[str, SimServer], now: float) -> dict[str, float]:
        """For how long at least nothing has come over the links from each: a manager that has not
        seen it answer itself cannot tell whether they broke before."""
        found: dict[str, float] = {}
        for server in heard.values():
            source = self._causes.world.at(server.source)
            if source is not None and server.stalled_at is not None:
                name, age = source.ref.instance, now - server.stalled_at
                found[name] = min(age, found.get(name, age))
        return found

    def _follows_a_primary(self, server: SimServer) -> bool:
        source = self._causes.world.at(server.source)
        leads = source is not None and answers(source) and source.role is Role.PRIMARY
        return leads and self._causes.world.linked(server)


def answers(server: SimServer) -> bool:
    """Whether a manager reaches it."""
    return server.awake and not server.cut_off


class WatchedPlaybooks(Mapping[Action, Playbook]):
    """The product's playbooks; each asks for its cause when it is begun."""

    def __init__(self, elects: bool) -> None:
        self._elects = elects
        self.truth: Truth | None = None
        """Of the manager's last look."""

    def __getitem__(self, action: Action) -> Playbook:
        def watched(ctx: PlaybookContext) -> object:
            record = ctx.records.read()
            if self.truth is not None:
                why_not = no_cause(
                    ctx.decision, self.truth, ctx.spec, record, ctx.snapshot.at, self._elects
                )
                assert not why_not, f"{ctx.decision.action} {ctx.decision.instance}: {why_not}"
            return [_never_refused(step) for step in PLAYBOOKS[action](ctx)]

        return watched  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Action]:
        return iter(PLAYBOOKS)

    def __len__(self) -> int:
        return len(PLAYBOOKS)


def _never_refused(step: Step) -> Step:
    """What the record refuses is a fault of the playbook, whatever the world did."""

    def run() -> str | None:
        try:
            return step.run()
        except TransitionError as error:
            raise AssertionError(f"{step.name}: {error}") from error

    return replace(step, run=run)


def no_cause(
    decision: Decision, truth: Truth, spec: Spec, record: ServiceRecord, at: float, elects: bool
) -> str:
    """Why this should not be done now; '' when it may be."""
    if decision.action is Action.DESTROY:
        return ""
    if truth.blind:
        return "the manager sees nothing at all"
    expected = (record.primary, record.promoting, record.switching_to)
    others = [name for name in truth.leading if name not in expected]
    if others and record.primary and not elects and decision.action is not Action.DEMOTE:
        return f"{others} may take writes, which comes first"
    if decision.action is Action.FAIL_OVER and decision.rule == "primary-dead":
        return _may_not_be_replaced(truth, spec, record, at)
    if decision.action is Action.LEAVE_PRIMARY:
        return _may_not_be_replaced(truth, spec, record, at)
    if decision.action is Action.UPGRADE:
        return _may_not_be_upgraded(decision.instance or "", truth, record, elects)
    return ""


def _may_not_be_upgraded(name: str, truth: Truth, record: ServiceRecord, elects: bool) -> str:
    primary = record.primary or ""
    others = [i.name for i in record.instances if i.name not in (name, primary)]
    if name == primary:
        return f"{others} could take its place" if others else ""
    if name not in truth.following and not elects:
        return ""  # nobody misses it, and it may be too old to follow
    missing = [other for other in others if other not in truth.following]
    return f"{missing} are missing already" if missing else ""


def _may_not_be_replaced(truth: Truth, spec: Spec, record: ServiceRecord, at: float) -> str:
    name = record.primary or ""
    primary = record.instance(name)
    if name not in truth.running:
        since = primary.restarting_since if primary else None
        if since is not None and 0 <= at - since < RESTART_BOUND_SECONDS:
            return f"{name} is being restarted as planned"
        return ""
    if name in truth.answering:
        return f"{name} answers"
    if name in truth.followed:
        return f"a standby replicates from {name}"
    if truth.silent_seconds.get(name, spec.down_after_seconds) < spec.down_after_seconds:
        return f"{name} has not been silent for long"
    last = record.last_failover
    if last and not last.forced and 0 <= at - last.at < spec.failover_period_seconds:
        return f"the last failover was a moment ago, and {name} is not proven dead"
    return ""
