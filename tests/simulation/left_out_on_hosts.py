"""What is left out of the product where there are several hosts, and the story that tells."""

from __future__ import annotations

import pytest

from hamanager.decide.rules import hosts, sync_set
from hamanager.decide.situation import Situation
from hamanager.model.host import LeftBehind
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.snapshot import Observation
from hamanager_playbooks import failover, placing
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


def one_that_left_has_left_for_long(patch: Patch) -> None:
    def has_left(
        s: Situation, instance: InstanceRecord, seen: Observation, primary: InstanceRecord, b: float
    ) -> bool:
        return seen.gone or (seen.status is not None and seen.status.link_up is False)

    patch.setattr(hosts, "_has_left", has_left)


def what_was_left_counts_for_nothing(patch: Patch) -> None:
    refuses = hosts.not_proven_to_refuse

    def without_it(s: Situation) -> str:
        nothing_left = altered(s.record, left_behind=())
        return refuses(Situation(s.spec, nothing_left, s.snapshot, s.capabilities))

    for module in (hosts, failover):
        patch.setattr(module, "not_proven_to_refuse", without_it)


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
        lambda: told.nobody_can_end_it("asynchronous, availability", "host is cut off"),
        rules=("beyond-reach",),
    ),
    Mutant(
        "a primary's promise counts when it was taken back",
        promises_are_never_taken_back,
        told.told_to_go_on_alone,
        rules=("refusal",),
    ),
    Mutant(
        "a primary is passed over while it counts on a standby that has just left it",
        one_that_left_has_left_for_long,
        told.they_leave_it_late,
        rules=("beyond-reach",),
    ),
    Mutant(
        "what was left on a silent host counts for nothing",
        what_was_left_counts_for_nothing,
        told.left_behind_keeps_it_writing,
        rules=("beyond-reach",),
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
