"""What is left out of the product where there are several hosts, and the story that tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hamanager.decide.rules import hosts, sync_set
from hamanager.decide.situation import Situation
from hamanager.model.decision import Decision
from hamanager.model.host import LeftBehind
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Contact, Observation, Process
from hamanager_playbooks import failover, placing
from tests.simulation import test_beyond_reach as beyond_reach
from tests.simulation import test_hosts as told
from tests.simulation.driver import SimDriver
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import with_rule, without_rule
from tests.support.altered import altered

Patch = pytest.MonkeyPatch


def everybody_seems_to_refuse(patch: Patch) -> None:
    for module in (hosts, failover):
        patch.setattr(module, "not_proven_to_refuse", lambda s: "")


def promises_are_never_taken_back(patch: Patch) -> None:
    patch.setattr(ServiceRecord, "forget_refusal", lambda record: record)


def one_that_hears_nothing_has_left(patch: Patch) -> None:
    def has_left(seen: Observation, primary: InstanceRecord, bound: float) -> bool:
        return seen.gone or (seen.status is not None and seen.status.link_up is False)

    patch.setattr(hosts, "_has_left", has_left)


def one_that_left_has_left_for_long(patch: Patch) -> None:
    has_left = hosts._has_left

    def mutated(seen: Observation, primary: InstanceRecord, bound: float) -> bool:
        return has_left(replace(seen, same_source_seconds=bound), primary, bound)

    patch.setattr(hosts, "_has_left", mutated)


def one_that_does_not_answer_has_left(patch: Patch) -> None:
    has_left = hosts._has_left

    def mutated(seen: Observation, primary: InstanceRecord, bound: float) -> bool:
        return seen.status is None or has_left(seen, primary, bound)

    patch.setattr(hosts, "_has_left", mutated)


def they_leave_whoever_is_out_of_sight(patch: Patch) -> None:
    def decides(s: Situation) -> Decision | None:
        answering = {n: seen for n, seen in s.snapshot.observations.items() if seen.status}
        answering |= {s.record.primary or "": s.primary_seen} if s.primary_seen else {}
        gone = Observation(Process.EXITED, Contact.REFUSED)
        all_others = {i.name: answering.get(i.name, gone) for i in s.record.instances}
        return hosts.leave_primary(
            replace(s, snapshot=replace(s.snapshot, observations=all_others))
        )

    with_rule(patch, "leave-primary", decides)


def what_was_left_counts_for_nothing(patch: Patch) -> None:
    may_go_on = hosts._may_go_on

    def without_it(s: Situation) -> str:
        nothing_left = altered(s.record, left_behind=())
        return may_go_on(Situation(s.spec, nothing_left, s.snapshot, s.capabilities))

    patch.setattr(hosts, "_may_go_on", without_it)


def nobody_is_shut_out(patch: Patch) -> None:
    def shut_out(driver: SimDriver, service: ServiceContext, primary: Target, serial: int) -> None:
        driver._act(primary)

    patch.setattr(SimDriver, "shut_out", shut_out)


def one_that_answers_is_lost(patch: Patch) -> None:
    def lost(s: Situation) -> object:
        for instance, _ in s.standbys:
            if s.primary_works and s.host_is_silent(instance):
                return hosts._replacement(s, instance, "its host is silent")
        return None

    with_rule(patch, "lost", lost)  # type: ignore[arg-type]


def nothing_is_kept_of_what_was_left(patch: Patch) -> None:
    patch.setattr(placing, "LeftBehind", lambda **told: LeftBehind(**{**told, "keep": False}))


def the_one_that_moves_goes_at_once(patch: Patch) -> None:
    patch.setattr(sync_set, "in_place", lambda s, instance, seen: True)


ON_HOSTS = [
    Mutant(
        "a primary that nobody can end is passed over",
        everybody_seems_to_refuse,
        lambda: beyond_reach.nobody_can_end_it("asynchronous, availability", "host is cut off"),
        rules=("beyond-reach",),
    ),
    Mutant(
        "a primary's promise counts when it was taken back",
        promises_are_never_taken_back,
        beyond_reach.told_to_go_on_alone,
        rules=("refusal",),
    ),
    Mutant(
        "a primary is passed over while it counts on a standby that has just left it",
        one_that_left_has_left_for_long,
        beyond_reach.they_leave_it_late,
        rules=("beyond-reach",),
    ),
    Mutant(
        "a primary is passed over while it hears a standby to which nothing comes",
        one_that_hears_nothing_has_left,
        beyond_reach.they_are_heard_of_and_hear_nothing,
        rules=("beyond-reach", "leave-primary"),
    ),
    Mutant(
        "a primary is passed over while a standby that nobody sees is with it",
        one_that_does_not_answer_has_left,
        beyond_reach.one_is_out_of_sight_before_it_is_told,
        rules=("beyond-reach",),
    ),
    Mutant(
        "a primary is left while another standby is with it",
        they_leave_whoever_is_out_of_sight,
        beyond_reach.another_standby_is_with_it,
        rules=("leave-primary",),
    ),
    Mutant(
        "what was left on a silent host counts for nothing",
        what_was_left_counts_for_nothing,
        beyond_reach.left_behind_keeps_it_writing,
        rules=("beyond-reach", "leave-primary"),
    ),
    Mutant(
        "a standby that the manager does not see goes on acknowledging",
        nobody_is_shut_out,
        told.goes_away_and_acknowledges,
        rules=("sync-leave", "lost"),
    ),
    Mutant(
        "one that answers is made anew, as its host's engine does not",
        one_that_answers_is_lost,
        lambda: told.one_whose_server_answers("asynchronous, strict"),
        rules=("lost",),
    ),
    Mutant(
        "what was left on a silent host goes on when that is back",
        without_rule("left-behind"),
        lambda: told.made_anew_elsewhere("lossless, strict"),
        rules=("left-behind",),
    ),
    Mutant(
        "nothing is kept of what was left on a silent host",
        nothing_is_kept_of_what_was_left,
        lambda: told.made_anew_elsewhere("lossless, strict"),
        rules=("left-behind", "lost"),
    ),
    Mutant(
        "an instance leaves its host before another one is in step",
        the_one_that_moves_goes_at_once,
        lambda: told.a_host_is_drained("lossless, strict", "standby"),
        rules=("surplus",),
    ),
]
