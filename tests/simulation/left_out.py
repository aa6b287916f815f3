"""What is left out of the product, one safety rule at a time, and the story that tells.

Each story is green with the rule and red without it (`test_mutations.py`); which rules of the table
have one is in docs/rules.md.
"""

from __future__ import annotations

from hamanager.model.decision import Action
from tests.simulation import mutant_stories as told
from tests.simulation import mutants
from tests.simulation import test_acknowledgements as acks
from tests.simulation import test_during_operations as operations
from tests.simulation import test_elsewhere as elsewhere
from tests.simulation import test_failures as failures
from tests.simulation import test_found as found
from tests.simulation import test_manager_fails as manager_fails
from tests.simulation import test_managers as managers
from tests.simulation import test_older_store as older_store
from tests.simulation import test_standby_fails as standby_fails
from tests.simulation import test_upgrade as upgrades
from tests.simulation.left_out_on_hosts import ON_HOSTS
from tests.simulation.mutant import Mutant
from tests.support.memory_store import MemoryStore
from tests.unit import test_managers as among_managers
from tests.unit import test_runner as running_books

MUTANTS = [
    Mutant(
        "no fence before a promotion",
        mutants.no_fence,
        lambda: failures.test_primary_hangs_and_wakes_up("asynchronous, availability"),
        rules=("primary-dead",),
    ),
    Mutant(
        "a primary that waits for nobody is passed over",
        mutants.fence_that_passes_everybody_over,
        lambda: failures.test_hanging_primary_that_cannot_be_fenced_and_waits_for_nobody(
            "asynchronous, availability"
        ),
        rules=("primary-dead",),
    ),
    Mutant(
        "members that a forced change leaves out are not fenced",
        mutants.left_out_and_not_fenced,
        standby_fails.test_a_majority_that_is_merely_cut_off,
        rules=("forced-failover",),
    ),
    Mutant(
        "any synchronized standby is promoted",
        mutants.sync_set_not_consulted,
        told.a_standby_follows_and_has_not_joined_yet,
        rules=("primary-dead",),
    ),
    Mutant(
        "the sync set is left in the engine first",
        mutants.with_playbook(Action.LEAVE_SYNC_SET, mutants.left_by_the_engine_first),
        lambda: told.each_step_under_load(Action.LEAVE_SYNC_SET, "write", 1),
        rules=("sync-leave",),
    ),
    Mutant(
        "the sync set is published before it is confirmed",
        mutants.with_step_before(Action.JOIN_SYNC_SET, "publish", "confirm"),
        lambda: told.each_step_under_load(Action.JOIN_SYNC_SET, "cut link", "db.1"),
        rules=("sync-join",),
    ),
    Mutant(
        "one more acknowledges before the count is raised",
        mutants.with_step_before(Action.JOIN_SYNC_SET, "acknowledge writes", "let writes wait"),
        lambda: told.each_step_under_load(Action.JOIN_SYNC_SET, "write", 1),
        rules=("sync-join",),
    ),
    Mutant(
        "others go on acknowledging",
        mutants.others_go_on_acknowledging,
        told.two_restarts_one_after_the_other,
        rules=(
            "sync-leave",
            "sync-adjust",
        ),
    ),
    Mutant(
        "the number falls while a departed standby's acknowledgements are stored",
        mutants.without_step(Action.LEAVE_SYNC_SET, "has received everything"),
        lambda: acks.test_what_a_departed_standby_had_acknowledged_counts_for_nobody(
            "lossless, strict"
        ),
        rules=("sync-leave",),
    ),
    Mutant(
        "the same, after a manager that died",
        mutants.without_step(Action.SET_REQUIRED_ACKS, "has received everything"),
        lambda: acks.test_the_same_after_a_manager_that_died("lossless, strict"),
        rules=("sync-adjust",),
    ),
    Mutant(
        "a number that cannot fall yet keeps the rest of the work waiting",
        mutants.silent_members_are_asked,
        lambda: acks.test_one_member_is_silent_and_the_rest_of_the_work_goes_on("lossless, strict"),
        rules=("sync-adjust",),
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
        rules=("sync-join",),
    ),
    Mutant(
        "an old copy of the store is believed",
        mutants.without_rule("older-record"),
        lambda: older_store.test_a_primary_of_a_former_term_does_not_come_back(
            "lossless, availability"
        ),
        rules=("older-record",),
    ),
    Mutant(
        "clients whose writes wait hold every connection for ever",
        mutants.without_rule("stuck-clients"),
        lambda: acks.test_clients_whose_writes_wait_do_not_keep_others_out("lossless, strict"),
        rules=("stuck-clients",),
    ),
    Mutant(
        "what a standby has without having been asked waits for ever",
        mutants.without_rule("unheard"),
        lambda: acks.test_a_write_whose_acknowledgement_was_lost_is_told_all_the_same(
            "lossless, availability"
        ),
        rules=("unheard",),
    ),
    Mutant(
        "clients that wait are ended, and one who left the sync set goes on acknowledging",
        mutants.with_playbook(Action.END_WAITING, mutants.ends_waiting_by_the_record_alone),
        found.test_ending_clients_that_wait_lets_nobody_acknowledge_who_left,
        rules=("stuck-clients",),
    ),
    Mutant(
        "a run leaves no trace in the record",
        mutants.runs_leave_no_trace,
        lambda: told.suspended(Action.JOIN_SYNC_SET, "lossless, availability", passes=1),
    ),
    Mutant(
        "a second primary is left alone",
        mutants.without_rule("second-primary"),
        told.an_old_primary_wakes_up_while_there_is_other_work,
        rules=("second-primary",),
    ),
    Mutant(
        "a promotion without a term of its own",
        mutants.without_step(Action.FAIL_OVER, "begin a new term"),
        lambda: told.manager_dies_after_the_promotion("asynchronous, availability", "wake"),
        rules=("primary-dead",),
    ),
    Mutant(
        "a promotion that is not published",
        mutants.without_step(Action.FAIL_OVER, "may take writes"),
        lambda: told.manager_dies_after_the_promotion("lossless, availability", "break"),
        rules=("primary-dead",),
    ),
    Mutant(
        "a promotion that was begun is forgotten",
        mutants.without_rule("unfinished-promotion"),
        lambda: told.manager_dies_after_the_promotion("asynchronous, availability", "kill"),
        rules=("unfinished-promotion",),
    ),
    Mutant(
        "a promotion that was begun never led",
        mutants.promotion_never_led,
        lambda: told.manager_dies_after_the_promotion("lossless, availability", "break"),
        rules=(
            "primary-dead",
            "no-safe-candidate",
            "another-may-have-led",
        ),
    ),
    Mutant(
        "a primary goes on without one that may have led",
        mutants.without_rule("another-may-have-led"),
        lambda: manager_fails.test_dies_in_a_failover_that_passed_the_primary_over(
            "lossless, availability", 2, ("cut off", "db.1")
        ),
        rules=("another-may-have-led",),
    ),
    Mutant(
        "a primary resumes without being compared",
        mutants.primary_compared_with_nobody,
        lambda: failures.test_primary_returns_empty("lossless, availability"),
        rules=("primary-restarted",),
    ),
    Mutant(
        "an empty primary leads",
        mutants.empty_primary_taken_for_full,
        lambda: failures.test_primary_returns_empty_while_its_standby_is_away(
            "asynchronous, availability"
        ),
        rules=("primary-restarted",),
    ),
    Mutant(
        "an empty one is promoted to the end",
        mutants.empty_one_is_promoted_to_the_end,
        found.test_one_that_lost_its_disk_in_the_middle_of_its_promotion_is_not_promoted,
        rules=("unfinished-promotion",),
    ),
    Mutant(
        "a promotion goes on whatever has happened since it was begun",
        mutants.promotion_goes_on_whatever_has_happened,
        lambda: manager_fails.test_dies_in_a_failover_and_the_primary_wakes_up(
            "lossless, availability"
        ),
        rules=("unfinished-promotion",),
    ),
    Mutant(
        "one that hangs in the middle of its promotion is left alone",
        mutants.whoever_hangs_is_left_alone,
        lambda: operations.test_hangs_in_the_middle_of_its_promotion(
            "lossless, availability", ("switchover", "db.1")
        ),
        rules=("unfinished-promotion",),
    ),
    Mutant(
        "a primary that works does not lead, as another one was to",
        mutants.whoever_hangs_is_left_alone,
        lambda: operations.test_hangs_in_the_middle_of_its_promotion(
            "asynchronous, availability", ("switchover", "db.1")
        ),
        rules=("unfinished-promotion",),
    ),
    Mutant(
        "a blind manager acts",
        mutants.without_rule("blind"),
        told.it_is_blind_when_asked_for_a_switchover,
        rules=("blind",),
    ),
    Mutant(
        "a standby that still replicates is no veto",
        mutants.with_evidence(lambda standbys, seconds: ([], seconds)),
        lambda: failures.test_primary_cut_off_from_the_manager_only("lossless, availability"),
        rules=("primary-cut-off",),
    ),
    Mutant(
        "silence is proof at once",
        mutants.with_evidence(lambda standbys, seconds: (standbys, 0.0)),
        lambda: failures.test_primary_hangs_for_a_moment("lossless, availability"),
        rules=("primary-suspect",),
    ),
    Mutant(
        "a suspended manager counts silence",
        mutants.suspension_counts_as_silence,
        lambda: manager_fails.test_suspended_manager_has_seen_no_silence("lossless, availability"),
        rules=("primary-suspect",),
    ),
    Mutant(
        "the role flaps",
        mutants.without_rule("flapping"),
        lambda: operations.test_second_silent_failure_soon_after_the_first_needs_proof(
            "lossless, availability"
        ),
        rules=("flapping",),
    ),
    Mutant(
        "a planned restart is a failure",
        mutants.without_rule("planned-restart"),
        lambda: failures.test_primary_restarted_on_purpose("lossless, availability"),
        rules=("planned-restart",),
    ),
    Mutant(
        "no lease guards what is done",
        mutants.no_lease_guard,
        lambda: told.suspended(Action.LEAVE_SYNC_SET, "lossless, availability", ("repair", "db.1")),
    ),
    Mutant(
        "clients are led without the lease",
        mutants.clients_led_without_the_lease,
        lambda: manager_fails.test_suspended_manager_sends_nobody_to_a_former_primary(
            "lossless, availability", again=False
        ),
        rules=("route-clients",),
    ),
    Mutant(
        "clients are led by what was seen before the lease was taken",
        mutants.clients_led_by_an_old_look,
        lambda: manager_fails.test_suspended_manager_has_seen_clients_sent_nowhere(
            "lossless, availability", again=True
        ),
        rules=("route-clients",),
    ),
    Mutant(
        "a lock that was lost is taken anew",
        mutants.lock_taken_anew,
        lambda: told.suspended(
            Action.JOIN_SYNC_SET, "lossless, availability", passes=1, again=True
        ),
    ),
    Mutant(
        "a holder does not count its own session",
        mutants.sessions_never_run_out,
        lambda: told.suspended(Action.LEAVE_SYNC_SET, "lossless, availability", ("repair", "db.1")),
    ),
    Mutant(
        "an observer does not wait after the store was away",
        mutants.a_store_that_is_back_has_answered_all_the_time,
        lambda: managers.test_a_store_that_was_away_changes_nobodys_place("lossless, availability"),
    ),
    Mutant(
        "an owner is taken over while it is alive",
        mutants.the_living_are_buried,
        lambda: managers.test_only_one_manager_leads("lossless, availability"),
    ),
    Mutant(
        "the row of a dead manager is left as it is",
        mutants.the_dead_are_not_buried,
        lambda: told.bench_of_managers(among_managers.test_its_own_clock_stood_still),
    ),
    Mutant(
        "a lock of one's own is confirmed by reading it",
        mutants.own_locks_are_only_read,
        lambda: told.bench_of_managers(
            among_managers.test_whoever_wanted_to_take_over_comes_too_late_when_the_owner_is_back
        ),
    ),
    Mutant(
        "a driver's call is not interrupted between two statements",
        mutants.statements_ask_for_nothing,
        lambda: running_books.test_a_call_of_many_statements_is_ended_between_two(MemoryStore()),
    ),
    Mutant(
        "no compare-and-swap",
        mutants.no_compare_and_swap,
        lambda: told.suspended(Action.FAIL_OVER, "lossless, availability"),
    ),
    Mutant(
        "the primary is upgraded first",
        mutants.primary_upgraded_first,
        lambda: upgrades.test_standbys_first_and_the_primary_last("asynchronous, availability", 2),
        rules=("upgrade",),
    ),
    Mutant(
        "several are upgraded at once",
        mutants.several_upgraded_at_once,
        lambda: upgrades.test_an_image_that_does_not_come_up_stops_it("lossless, availability"),
        rules=("upgrade",),
    ),
    Mutant(
        "a first copy is made by another version",
        mutants.first_copies_by_another_version,
        lambda: upgrades.test_a_standby_that_is_added_meanwhile_copies_from_one_of_its_version(
            "lossless, availability"
        ),
        rules=("missing",),
    ),
    Mutant(
        "an image that never worked is kept",
        mutants.image_that_never_worked_is_kept,
        lambda: upgrades.test_one_instance_and_a_bad_image_and_back("lossless, availability"),
        rules=("upgrade",),
    ),
    Mutant(
        "what was received is not applied",
        mutants.no_drain,
        told.received_and_not_applied,
        rules=("primary-dead",),
    ),
    Mutant(
        "nothing is kept",
        mutants.nothing_is_kept,
        lambda: failures.test_primary_returns_with_writes_nobody_else_has(
            "asynchronous, availability"
        ),
        rules=(
            "rejoin",
            "start",
        ),
    ),
    Mutant(
        "a restarted standby counts as synchronized",
        mutants.with_playbook(Action.START_INSTANCE, mutants.restarted_standby_stays_synchronized),
        lambda: standby_fails.test_standby_dies_just_before_the_primary(
            "asynchronous, availability", returns=True
        ),
        rules=(
            "start",
            "synchronized",
        ),
    ),
    Mutant(
        "a switchover that was begun is forgotten",
        mutants.without_rule("unfinished-switchover"),
        lambda: told.manager_dies_amid_a_switchover("lossless, availability"),
        rules=("unfinished-switchover",),
    ),
    Mutant(
        "whom the members elected is not written down",
        mutants.without_rule("elected"),
        told.the_members_elect_another,
        rules=("elected",),
    ),
    Mutant(
        "the primary is removed",
        mutants.primary_removed,
        told.fewer_instances_are_wanted,
        rules=("surplus",),
    ),
    Mutant(
        "an address elsewhere follows whoever speaks last",
        mutants.any_word_is_the_last,
        elsewhere.answers_come_in_any_order,
        rules=("route-clients",),
    ),
    Mutant(
        "a sixth set of data is set aside, whatever has to go for it",
        mutants.always_room,
        lambda: operations.test_unproven_data_are_never_let_go("lossless, availability"),
        rules=("no-room", "rejoin"),
    ),
    *ON_HOSTS,
]
