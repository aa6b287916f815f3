"""Without any one of its safety rules the product fails in the simulation.

Each mutant leaves out one rule; its story is green with the rule and red without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hamanager.model.decision import Action
from hamanager.model.snapshot import Role
from tests.simulation import mutants
from tests.simulation import test_acknowledgements as acks
from tests.simulation import test_during_operations as operations
from tests.simulation import test_failures as failures
from tests.simulation import test_found as found
from tests.simulation import test_manager_fails as manager_fails
from tests.simulation import test_older_store as older_store
from tests.simulation import test_standby_fails as standby_fails
from tests.simulation import test_upgrade as upgrades
from tests.simulation.modes import running
from tests.simulation.simulation import PASSES_MEANWHILE, SUSPENDED_SECONDS
from tests.simulation.stories import STORIES, Story, until

BUSY = 255
LATEST = 40


@dataclass(frozen=True)
class Mutant:
    """What is left out, and the story that tells."""

    name: str
    leave_out: Callable[[pytest.MonkeyPatch], None]
    story: Callable[[], None]


# --- The stories that no other test tells ----------------------------------------------------


def a_standby_follows_and_has_not_joined_yet() -> None:
    simulation = running("lossless, availability")
    simulation.event("kill", "db.1")
    simulation.event("pass")
    until(simulation, Action.JOIN_SYNC_SET)
    simulation.events(("write", 0), ("kill", "db.0"))
    simulation.live(3, writing=False)
    assert simulation.record.primary == "db.0"
    simulation.settle()


def each_step_under_load(action: Action, happened: str, argument: object) -> None:
    """With a write before every effect, and something else before one of them."""
    mode = "lossless, availability"
    for story in stories_of(action, mode):
        for effect in range(LATEST):
            simulation = story.brink(mode)
            simulation.busy = BUSY
            simulation.interject(effect, happened, argument)
            simulation.run_pass(0)
            simulation.check("the pass")
            if simulation.interjected:
                break


def stories_of(action: Action, mode: str) -> list[Story]:
    return [story for story in STORIES if story.action is action and mode in story.modes]


def two_restarts_one_after_the_other() -> None:
    """The one that is back acknowledges for the other."""
    simulation = running("lossless, availability", 3, BUSY)
    simulation.events(("restart", "db.1"), ("restart", "db.2"))
    simulation.settle()


def an_old_primary_wakes_up_while_there_is_other_work() -> None:
    simulation = running("lossless, availability", 3)
    simulation.events(("runtime down", True), ("hang", "db.0"))
    simulation.live(6)
    simulation.events(("runtime down", False), ("wake", "db.0"), ("kill", "db.2"))
    assert simulation.server("db.0").role is Role.PRIMARY
    simulation.event("pass")
    assert simulation.server("db.0").role is Role.STANDBY


def manager_dies_after_the_promotion(mode: str, fate: str) -> None:
    """Before it is on record. Then the new primary takes a write and comes to its own `fate`, and
    the old one is back."""
    for effect in range(LATEST):
        simulation = running(mode, 3)
        simulation.event("break", "db.0")
        simulation.run_pass(0, dies_at=effect)
        died = simulation.managers[0].power.dead
        simulation.new_manager()
        leads = simulation.server("db.1").role is Role.PRIMARY
        unfinished = leads and simulation.record.primary == "db.0"
        simulation.events(("write", 0), ("repair", "db.0"), ("start by somebody else", "db.0"))
        if unfinished:
            simulation.event(fate, "db.1")
        simulation.live(3, writing=False)
        simulation.settle()
        assert not unfinished or simulation.record.primary == "db.1"
        if not died:
            return
    raise AssertionError("it never comes to an end")


def it_is_blind_when_asked_for_a_switchover() -> None:
    """It tells nobody that the primary does not answer: perhaps nothing answers it alone."""
    simulation = running("lossless, availability")
    simulation.event("runtime down", True)
    simulation.events(("cut off", "db.0"), ("cut off", "db.1"))
    simulation.event("switchover", "db.1")
    simulation.live(2)
    assert simulation.record.order_result is None
    simulation.event("runtime down", False)
    simulation.events(("reach again", "db.0"), ("reach again", "db.1"))
    simulation.live(2)
    assert simulation.record.primary == "db.1"


def received_and_not_applied() -> None:
    """The standby has acknowledged a write that it has not applied when the primary dies."""
    simulation = running("lossless, availability")
    assert simulation.writes()
    simulation.event("kill", "db.0")
    simulation.settle()


def suspended(
    action: Action,
    mode: str,
    *meanwhile: tuple[str, object],
    passes: int = PASSES_MEANWHILE,
) -> None:
    """At every question of the action, while another manager works for so many passes."""
    for story in stories_of(action, mode):
        for question in range(LATEST):
            simulation = story.brink(mode)
            simulation.busy = BUSY
            simulation.meanwhile, simulation.passes_meanwhile = list(meanwhile), passes
            began = simulation.world.clock.seconds
            simulation.event("pass and be suspended", question)
            simulation.settle()
            if simulation.world.clock.seconds < began + SUSPENDED_SECONDS:
                break


MUTANTS = [
    Mutant(
        "no fence before a promotion",
        mutants.no_fence,
        lambda: failures.test_primary_hangs_and_wakes_up("asynchronous, availability"),
    ),
    Mutant(
        "a primary that waits for nobody is passed over",
        mutants.fence_that_passes_everybody_over,
        lambda: failures.test_hanging_primary_that_cannot_be_fenced_and_waits_for_nobody(
            "asynchronous, availability"
        ),
    ),
    Mutant(
        "members that a forced change leaves out are not fenced",
        mutants.left_out_and_not_fenced,
        standby_fails.test_a_majority_that_is_merely_cut_off,
    ),
    Mutant(
        "any synchronized standby is promoted",
        mutants.sync_set_not_consulted,
        a_standby_follows_and_has_not_joined_yet,
    ),
    Mutant(
        "the sync set is left in the engine first",
        mutants.with_playbook(Action.LEAVE_SYNC_SET, mutants.left_by_the_engine_first),
        lambda: each_step_under_load(Action.LEAVE_SYNC_SET, "write", 1),
    ),
    Mutant(
        "the sync set is published before it is confirmed",
        mutants.with_step_before(Action.JOIN_SYNC_SET, "publish", "confirm"),
        lambda: each_step_under_load(Action.JOIN_SYNC_SET, "cut link", "db.1"),
    ),
    Mutant(
        "one more acknowledges before the count is raised",
        mutants.with_step_before(Action.JOIN_SYNC_SET, "acknowledge writes", "let writes wait"),
        lambda: each_step_under_load(Action.JOIN_SYNC_SET, "write", 1),
    ),
    Mutant(
        "others go on acknowledging",
        mutants.others_go_on_acknowledging,
        two_restarts_one_after_the_other,
    ),
    Mutant(
        "the number falls while a departed standby's acknowledgements are stored",
        mutants.without_step(Action.LEAVE_SYNC_SET, "has received everything"),
        lambda: acks.test_what_a_departed_standby_had_acknowledged_counts_for_nobody(
            "lossless, strict"
        ),
    ),
    Mutant(
        "the same, after a manager that died",
        mutants.without_step(Action.SET_REQUIRED_ACKS, "has received everything"),
        lambda: acks.test_the_same_after_a_manager_that_died("lossless, strict"),
    ),
    Mutant(
        "a number that cannot fall yet keeps the rest of the work waiting",
        mutants.silent_members_are_asked,
        lambda: acks.test_one_member_is_silent_and_the_rest_of_the_work_goes_on("lossless, strict"),
    ),
    Mutant(
        "a server that waits for standbys is shut down by a signal",
        mutants.signals_shut_down,
        lambda: acks.test_a_clean_shutdown_by_somebody_else_tells_waiting_clients_nothing(
            "lossless, strict"
        ),
    ),
    Mutant(
        "a member's acknowledgements need not be on its disk",
        mutants.everybody_seems_to_sync,
        lambda: acks.test_a_member_puts_on_its_disk_what_it_acknowledges("lossless, strict"),
    ),
    Mutant(
        "an old copy of the store is believed",
        mutants.without_rule("older-record"),
        lambda: older_store.test_a_primary_of_a_former_term_does_not_come_back(
            "lossless, availability"
        ),
    ),
    Mutant(
        "clients whose writes wait hold every connection for ever",
        mutants.without_rule("stuck-clients"),
        lambda: acks.test_clients_whose_writes_wait_do_not_keep_others_out("lossless, strict"),
    ),
    Mutant(
        "clients that wait are ended, and one who left the sync set goes on acknowledging",
        mutants.with_playbook(Action.END_WAITING, mutants.ends_waiting_by_the_record_alone),
        found.test_ending_clients_that_wait_lets_nobody_acknowledge_who_left,
    ),
    Mutant(
        "a run leaves no trace in the record",
        mutants.runs_leave_no_trace,
        lambda: suspended(Action.JOIN_SYNC_SET, "lossless, availability", passes=1),
    ),
    Mutant(
        "a second primary is left alone",
        mutants.without_rule("second-primary"),
        an_old_primary_wakes_up_while_there_is_other_work,
    ),
    Mutant(
        "a promotion without a term of its own",
        mutants.without_step(Action.FAIL_OVER, "begin a new term"),
        lambda: manager_dies_after_the_promotion("asynchronous, availability", "wake"),
    ),
    Mutant(
        "a promotion that is not published",
        mutants.without_step(Action.FAIL_OVER, "may take writes"),
        lambda: manager_dies_after_the_promotion("lossless, availability", "break"),
    ),
    Mutant(
        "a promotion that was begun is forgotten",
        mutants.without_rule("unfinished-promotion"),
        lambda: manager_dies_after_the_promotion("asynchronous, availability", "kill"),
    ),
    Mutant(
        "a promotion that was begun never led",
        mutants.promotion_never_led,
        lambda: manager_dies_after_the_promotion("lossless, availability", "break"),
    ),
    Mutant(
        "a primary resumes without being compared",
        mutants.primary_compared_with_nobody,
        lambda: failures.test_primary_returns_empty("lossless, availability"),
    ),
    Mutant(
        "an empty primary leads",
        mutants.empty_primary_taken_for_full,
        lambda: failures.test_primary_returns_empty_while_its_standby_is_away(
            "asynchronous, availability"
        ),
    ),
    Mutant(
        "an empty one is promoted to the end",
        mutants.empty_one_is_promoted_to_the_end,
        found.test_one_that_lost_its_disk_in_the_middle_of_its_promotion_is_not_promoted,
    ),
    Mutant(
        "a blind manager acts",
        mutants.without_rule("blind"),
        it_is_blind_when_asked_for_a_switchover,
    ),
    Mutant(
        "a standby that still replicates is no veto",
        mutants.with_evidence(lambda standbys, seconds: ([], seconds)),
        lambda: failures.test_primary_cut_off_from_the_manager_only("lossless, availability"),
    ),
    Mutant(
        "silence is proof at once",
        mutants.with_evidence(lambda standbys, seconds: (standbys, 0.0)),
        lambda: failures.test_primary_hangs_for_a_moment("lossless, availability"),
    ),
    Mutant(
        "a suspended manager counts silence",
        mutants.suspension_counts_as_silence,
        lambda: manager_fails.test_suspended_manager_has_seen_no_silence("lossless, availability"),
    ),
    Mutant(
        "the role flaps",
        mutants.without_rule("flapping"),
        lambda: operations.test_second_silent_failure_soon_after_the_first_needs_proof(
            "lossless, availability"
        ),
    ),
    Mutant(
        "a planned restart is a failure",
        mutants.without_rule("planned-restart"),
        lambda: failures.test_primary_restarted_on_purpose("lossless, availability"),
    ),
    Mutant(
        "no lease guards what is done",
        mutants.no_lease_guard,
        lambda: suspended(Action.LEAVE_SYNC_SET, "lossless, availability", ("repair", "db.1")),
    ),
    Mutant(
        "clients are led without the lease",
        mutants.clients_led_without_the_lease,
        lambda: manager_fails.test_suspended_manager_sends_nobody_to_a_former_primary(
            "lossless, availability"
        ),
    ),
    Mutant(
        "clients are led by what was seen before the lease was taken",
        mutants.clients_led_by_an_old_look,
        lambda: manager_fails.test_suspended_manager_has_seen_clients_sent_nowhere(
            "lossless, availability"
        ),
    ),
    Mutant(
        "a lock that was lost is taken anew",
        mutants.lock_taken_anew,
        lambda: suspended(Action.JOIN_SYNC_SET, "lossless, availability", passes=1),
    ),
    Mutant(
        "no compare-and-swap",
        mutants.no_compare_and_swap,
        lambda: suspended(Action.FAIL_OVER, "lossless, availability"),
    ),
    Mutant(
        "the primary is upgraded first",
        mutants.primary_upgraded_first,
        lambda: upgrades.test_standbys_first_and_the_primary_last("asynchronous, availability", 2),
    ),
    Mutant(
        "several are upgraded at once",
        mutants.several_upgraded_at_once,
        lambda: upgrades.test_an_image_that_does_not_come_up_stops_it("lossless, availability"),
    ),
    Mutant(
        "a first copy is made by another version",
        mutants.first_copies_by_another_version,
        lambda: upgrades.test_a_standby_that_is_added_meanwhile_copies_from_one_of_its_version(
            "lossless, availability"
        ),
    ),
    Mutant(
        "an image that never worked is kept",
        mutants.image_that_never_worked_is_kept,
        lambda: upgrades.test_one_instance_and_a_bad_image_and_back("lossless, availability"),
    ),
    Mutant("what was received is not applied", mutants.no_drain, received_and_not_applied),
    Mutant(
        "nothing is kept",
        mutants.nothing_is_kept,
        lambda: failures.test_primary_returns_with_writes_nobody_else_has(
            "asynchronous, availability"
        ),
    ),
    Mutant(
        "a restarted standby counts as synchronized",
        mutants.with_playbook(Action.START_INSTANCE, mutants.restarted_standby_stays_synchronized),
        lambda: standby_fails.test_standby_dies_just_before_the_primary(
            "asynchronous, availability", returns=True
        ),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_rule_is_missed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.story()
    mutant.leave_out(monkeypatch)
    with pytest.raises(AssertionError):
        mutant.story()
