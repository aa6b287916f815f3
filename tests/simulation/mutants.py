"""How to leave a safety rule out of the product, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

import pytest

from hamanager.act import runner, session
from hamanager.act.context import Playbook, PlaybookContext, Step, needed
from hamanager.act.lock import ServiceLock, owner_of
from hamanager.act.runner import Runner
from hamanager.act.session import Others, Session
from hamanager.contracts.driver import LaunchSpec
from hamanager.contracts.replication import Replication
from hamanager.decide import situation
from hamanager.decide import table as decide
from hamanager.decide.evidence import Evidence, Verdict, weigh
from hamanager.decide.leading import DEAD_SECONDS, Sighting
from hamanager.decide.routing import leader
from hamanager.decide.rules import primary
from hamanager.decide.rules import standbys as standby_rules
from hamanager.decide.rules import sync_set as syncing_rules
from hamanager.decide.rules import upgrade as upgrading_rules
from hamanager.loop import KeptRecords
from hamanager.model import upgrade as upgrading
from hamanager.model.capabilities import Capabilities
from hamanager.model.decision import Action, Decision
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Observation, ServerStatus
from hamanager.model.spec import Spec
from hamanager.observe import observer as observe
from hamanager.observe import standing
from hamanager.routes.book import Book
from hamanager_playbooks import create, failover, syncing
from hamanager_playbooks.registry import PLAYBOOKS
from tests.simulation.driver import SimDriver
from tests.simulation.runtime import SimRuntime
from tests.support.altered import altered
from tests.support.memory_store import MemoryStore

Patch = pytest.MonkeyPatch


def without_rule(name: str) -> Callable[[Patch], None]:
    rules = [rule for rule in decide.RULES if rule.name != name]
    assert len(rules) == len(decide.RULES) - 1
    return lambda patch: patch.setattr(decide, "RULES", rules)


def with_rule(
    patch: Patch, name: str, decides: Callable[[situation.Situation], Decision | None]
) -> None:
    """The rule of that name decides otherwise."""
    rules = [replace(r, decides=decides) if r.name == name else r for r in decide.RULES]
    patch.setattr(decide, "RULES", rules)


def with_playbook(
    action: Action, change: Callable[[PlaybookContext, list[Step]], list[Step]]
) -> Callable[[Patch], None]:
    """The action's playbook, its steps changed."""
    original = PLAYBOOKS[action]

    def mutated(ctx: PlaybookContext) -> Sequence[Step]:
        return change(ctx, list(original(ctx)))

    return lambda patch: patch.setitem(cast(dict[Action, Playbook], PLAYBOOKS), action, mutated)


def without_step(action: Action, words: str) -> Callable[[Patch], None]:
    def change(ctx: PlaybookContext, steps: list[Step]) -> list[Step]:
        left = [step for step in steps if words not in step.name]
        assert len(left) == len(steps) - 1
        return left

    return with_playbook(action, change)


def with_step_before(action: Action, words: str, other: str) -> Callable[[Patch], None]:
    """Two steps change places."""

    def change(ctx: PlaybookContext, steps: list[Step]) -> list[Step]:
        (early,) = [step for step in steps if words in step.name]
        steps.remove(early)
        (at,) = [number for number, step in enumerate(steps) if other in step.name]
        return [*steps[:at], early, *steps[at:]]

    return with_playbook(action, change)


def with_evidence(
    change: Callable[[list[Observation], float], tuple[list[Observation], float]],
) -> Callable[[Patch], None]:
    """The verdict on other standbys, or with another `down_after`."""

    def mutated(
        primary: Observation, address: str, standbys: Any, down_after_seconds: float, *host: float
    ) -> Evidence:
        return weigh(primary, address, *change(list(standbys), down_after_seconds), *host)

    return lambda patch: patch.setattr(situation, "weigh", mutated)


def any_word_is_the_last(patch: Patch) -> None:
    """Whoever speaks last about where clients are led is believed."""
    patch.setattr(Book, "_merged", lambda book, told: {**book._words, **told.words})


def no_fence(patch: Patch) -> None:
    patch.setattr(failover, "fence", lambda *_, **__: "passed over")


def left_out_and_not_fenced(patch: Patch) -> None:
    patch.setattr(failover, "fence_left_out", lambda ctx, name: "left alone")


def fence_that_passes_everybody_over(patch: Patch) -> None:
    fence = failover.fence
    patch.setattr(failover, "fence", lambda ctx, old, **_: fence(ctx, old, lossless=True))


def no_drain(patch: Patch) -> None:
    patch.setattr(failover, "apply_received", lambda ctx: "")


def sync_set_not_consulted(patch: Patch) -> None:
    def anybody(
        record: ServiceRecord, capabilities: object, statuses: Mapping[str, ServerStatus]
    ) -> dict[str, ServerStatus]:
        names = {i.name for i in record.instances if i.synchronized and i.name != record.primary}
        return {name: status for name, status in statuses.items() if name in names}

    patch.setattr(standing, "eligible", anybody)


def left_by_the_engine_first(ctx: PlaybookContext, steps: list[Step]) -> list[Step]:
    def relax() -> None:
        record = ctx.records.read()
        needed(ctx.driver.required_acks).set_required_acks(
            ctx.service, ctx.target(record.primary), ctx.required_acks(len(record.sync_set) - 1)
        )

    return [Step("relax first", relax), *steps]


def primary_compared_with_nobody(patch: Patch) -> None:
    rank = standing._rank
    patch.setattr(standing, "_rank", lambda *a: (rank(*a)[0], True))


def empty_primary_taken_for_full(patch: Patch) -> None:
    rank = standing._rank

    def mutated(
        replication: Replication,
        capabilities: Capabilities,
        record: ServiceRecord,
        seen: Mapping[str, Observation],
    ) -> tuple[tuple[str, ...], bool]:
        look = seen.get(record.primary or "")
        if look is not None and look.status is not None and record.primary is not None:
            full = replace(look, status=replace(look.status, empty=False))
            seen = {**seen, record.primary: full}
        return rank(replication, capabilities, record, seen)

    patch.setattr(standing, "_rank", mutated)


def no_lease_guard(patch: Patch) -> None:
    patch.setattr(runner, "_Guarded", lambda inner, assure: inner)
    patch.setattr(runner, "assured_by", lambda check: nullcontext())


def clients_led_without_the_lease(patch: Patch) -> None:
    def mutated(self: Runner, ctx: PlaybookContext) -> str:
        return ctx.send_clients_to(leader(ctx.records.read())) or ""

    patch.setattr(Runner, "lead_clients", mutated)


def clients_led_by_an_old_look(patch: Patch) -> None:
    patch.setattr(KeptRecords, "is_present", lambda self: True)


def lock_taken_anew(patch: Patch) -> None:
    """A run goes on when its manager leads again, whoever did so in between."""
    assure = ServiceLock.assure
    patch.setattr(ServiceLock, "assure", lambda self, tenure: assure(self, self.tenure))


def sessions_never_run_out(patch: Patch) -> None:
    patch.setattr(Session, "epoch", property(lambda self: self._state[0]))


def a_store_that_is_back_has_answered_all_the_time(patch: Patch) -> None:
    patch.setattr(session, "is_dead", lambda seen, looks: _unchanged(seen))


def _unchanged(seen: Sighting) -> bool:
    return seen.last_at - seen.first_at >= DEAD_SECONDS


def the_living_are_buried(patch: Patch) -> None:
    patch.setattr(Others, "bury", lambda self, name: True)
    patch.setattr(Others, "led", lambda self, living: set())


def the_dead_are_not_buried(patch: Patch) -> None:
    def mutated(self: Others, name: str) -> bool:
        return name not in self.living()

    patch.setattr(Others, "bury", mutated)


def own_locks_are_only_read(patch: Patch) -> None:
    take = ServiceLock._take

    def mutated(self: ServiceLock) -> bool:
        epoch = self._session.epoch
        if epoch is None or owner_of(self._store, "db") != self._session.name:
            return take(self)
        self.tenure, self._epoch = self.tenure + 1, epoch
        return True

    patch.setattr(ServiceLock, "_take", mutated)


def statements_ask_for_nothing(patch: Patch) -> None:
    patch.setattr(runner, "assured_by", lambda check: nullcontext())


def no_compare_and_swap(patch: Patch) -> None:
    patch.setattr(MemoryStore, "_check", lambda self, key, expected: None)


def suspension_counts_as_silence(patch: Patch) -> None:
    patch.setattr(observe, "LONGEST_GAP_SECONDS", 1e9)


def nothing_is_kept(patch: Patch) -> None:
    remove = SimRuntime.remove
    patch.setattr(
        SimRuntime,
        "remove",
        lambda self, ref, discard_data: remove(self, ref, discard_data=True),
    )


def restarted_standby_stays_synchronized(ctx: PlaybookContext, steps: list[Step]) -> list[Step]:
    before = ctx.instance().synchronized

    def put_back() -> None:
        ctx.change_instance(lambda i: altered(i, synchronized=before))

    return [*steps, Step("put it back", put_back)]


def promotion_never_led(patch: Patch) -> None:
    patch.setattr(situation.Situation, "promotion_may_have_led", False)


def others_go_on_acknowledging(patch: Patch) -> None:
    patch.setattr(syncing, "silence", lambda ctx, name: None)


def silent_members_are_asked(patch: Patch) -> None:
    patch.setattr(syncing_rules, "_member_is_silent", lambda s: False)


def signals_shut_down(patch: Patch) -> None:
    patch.setattr(SimDriver, "launch_spec", lambda self, service, target: LaunchSpec("", 1))


def everybody_seems_to_sync(patch: Patch) -> None:
    probe = SimDriver.probe

    def mutated(self: SimDriver, *asked: Any) -> ServerStatus:
        return replace(probe(self, *asked), acknowledges_from_disk=True)

    patch.setattr(SimDriver, "probe", mutated)


def runs_leave_no_trace(patch: Patch) -> None:
    change = KeptRecords.change

    def mutated(self: KeptRecords, what: Callable[[ServiceRecord], ServiceRecord]) -> ServiceRecord:
        return change(self, lambda record: altered(what(record), runs=record.runs))

    patch.setattr(KeptRecords, "change", mutated)


def primary_upgraded_first(patch: Patch) -> None:
    def mutated(s: situation.Situation) -> str | None:
        outdated = s.primary_works and s.primary and upgrading.outdated(s.spec, s.primary)
        ready = outdated and s.primary is not None and not s.primary.upgrading
        return s.record.primary if ready else None

    patch.setattr(upgrading_rules, "next_to_upgrade", mutated)


def several_upgraded_at_once(patch: Patch) -> None:
    patch.setattr(upgrading_rules, "_others_in_place", lambda s, name: True)


def first_copies_by_another_version(patch: Patch) -> None:
    """A new instance is made from the image that is wanted, whatever its primary runs from."""

    def mutated(spec: Spec, record: ServiceRecord, instance: InstanceRecord) -> PinnedImage:
        if instance.joined:
            return upgrading.to_start(spec, record, instance)
        return upgrading.wanted_image(spec)

    patch.setattr(create, "to_start", mutated)


def image_that_never_worked_is_kept(patch: Patch) -> None:
    def mutated(spec: Spec, record: ServiceRecord, instance: InstanceRecord) -> PinnedImage:
        proven = altered(instance, former_image=None)
        return upgrading.to_start(spec, record, proven)

    patch.setattr(create, "to_start", mutated)


def ends_waiting_by_the_record_alone(ctx: PlaybookContext, steps: list[Step]) -> list[Step]:
    """Whoever may acknowledge, and for however many the primary waits now."""

    def end() -> str:
        return ctx.semisync.end_waiting(ctx.service, ctx.target(), ctx.required_acks())

    return [Step(steps[-1].name, end)]


def empty_one_is_promoted_to_the_end(patch: Patch) -> None:
    """Whatever became of its data since its promotion was begun."""
    unfinished = primary.unfinished_promotion

    def mutated(s: situation.Situation) -> Decision | None:
        seen = s.snapshot.of(s.record.promoting)
        if seen is not None and seen.status is not None:
            full = replace(seen, status=replace(seen.status, empty=False))
            observations = {**s.snapshot.observations, s.record.promoting or "": full}
            s = replace(s, snapshot=replace(s.snapshot, observations=observations))
        return unfinished(s)

    with_rule(patch, "unfinished-promotion", mutated)


def promotion_goes_on_whatever_has_happened(patch: Patch) -> None:
    """The former primary may work, and the other one may have left the sync set."""
    unfinished = primary.unfinished_promotion

    def mutated(s: situation.Situation) -> Decision | None:
        s = replace(s, record=altered(s.record, sync_set=(s.record.promoting or "",)))
        vars(s)["primary_works"] = False
        return unfinished(s)

    with_rule(patch, "unfinished-promotion", mutated)


def whoever_hangs_is_left_alone(patch: Patch) -> None:
    """In the middle of a promotion."""
    evidence_on = situation.Situation.evidence_on

    def mutated(s: situation.Situation, instance: InstanceRecord, seen: Observation) -> Evidence:
        found = evidence_on(s, instance, seen)
        amid = instance.name == s.record.promoting
        return replace(found, verdict=Verdict.SUSPECT) if amid else found

    patch.setattr(situation.Situation, "evidence_on", mutated)


def primary_removed(patch: Patch) -> None:
    patch.setattr(standby_rules, "leaver", lambda s: s.record.primary)


def always_room(patch: Patch) -> None:
    patch.setattr(standby_rules, "_has_room", lambda s: True)
