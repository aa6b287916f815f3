"""What to do next: an ordered table of rules; the first that matches decides.

Pure: no I/O, no clock, no randomness, no engine names. The input is what the user wants (the
wish), what has been done so far (the record), what was just seen (the snapshot) and what the
engine is like (its capabilities). "What happens when the primary dies" is the block of rules
around `primary-dead`; what is then done is in the playbook `failover.py`.

A golden test prints the table: an edit here shows up as a reviewable diff there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hamanager.rules import beginning, primary, standbys, stateless, syncing, wishes
from hamanager.situation import Situation
from hamanager.values.capabilities import Capabilities
from hamanager.values.decision import Decision
from hamanager.values.service import ServiceRecord, Wish
from hamanager.values.snapshot import Snapshot

Rule = Callable[[Situation], Decision | None]

RULES: list[tuple[str, Rule]] = [
    ("destroy", beginning.destroy),
    ("paused", beginning.paused),
    ("blind", beginning.blind),
    ("older-record", beginning.older_record),
    ("first-address", beginning.first_address),
    ("first-instance", beginning.first_instance),
    ("set-up", beginning.set_up),
    # Who is primary?
    ("second-primary", primary.second_primary),
    ("unfinished-promotion", primary.unfinished_promotion),
    ("elected", primary.elected),
    ("unfinished-switchover", primary.unfinished_switchover),
    ("planned-restart", primary.planned_restart),
    ("forced-failover", primary.forced_failover),
    ("refuse-switchover", wishes.refuse_switchover),
    ("majority-lost", primary.majority_lost),
    ("flapping", primary.flapping),
    ("primary-dead", primary.primary_dead),
    ("no-safe-candidate", primary.no_safe_candidate),
    ("primary-cut-off", primary.primary_cut_off),
    ("primary-suspect", primary.primary_suspect),
    ("primary-restarted", primary.primary_restarted),
    # For whom do writes wait?
    ("sync-leave", syncing.leave),
    ("sync-adjust", syncing.adjust),
    # Keep the instances running, and make the standbys follow.
    ("surplus", standbys.surplus),
    ("start", standbys.start_gone),
    ("primary-not-ready", standbys.primary_not_ready),
    ("restart-done", standbys.restart_done),
    ("synchronized", standbys.synchronized),
    ("sync-join", syncing.join),
    # Make the wish true.
    ("discard", wishes.discard),
    ("switchover", wishes.switchover),
    ("rejoin", standbys.rejoin),
    ("restart", wishes.restart),
    ("address", wishes.address),
    ("memory", wishes.memory),
    ("missing", wishes.missing),
    ("well", wishes.well),
]


STATELESS_RULES: list[tuple[str, Rule]] = [
    ("destroy", beginning.destroy),
    ("paused", beginning.paused),
    ("blind", beginning.blind),
    ("first-address", stateless.first_address),
    ("ready", stateless.ready),
    ("surplus", stateless.surplus),
    ("start", stateless.start_gone),
    ("hung", stateless.hung),
    ("recovered", stateless.recovered),
    ("restart", stateless.restart),
    ("memory", stateless.memory),
    ("missing", wishes.missing),
    ("well", stateless.well),
]
"""Of services without data."""


def decide(
    wish: Wish, record: ServiceRecord, snapshot: Snapshot, capabilities: Capabilities
) -> Decision:
    """The one thing to do now, with its reason."""
    situation = Situation(wish, record, snapshot, capabilities)
    for name, rule in STATELESS_RULES if capabilities.stateless else RULES:
        decision = rule(situation)
        if decision is not None:
            return Decision(name, decision.action, decision.reason, decision.instance)
    raise AssertionError("the last rule always matches")


def describe_rules() -> Iterator[tuple[str, str]]:
    """Both tables for people: each rule's name and its comment, in order."""
    yield from _described(RULES)
    yield "-- services without data --", ""
    yield from _described(STATELESS_RULES)


def _described(rules: list[tuple[str, Rule]]) -> Iterator[tuple[str, str]]:
    for name, rule in rules:
        yield name, " ".join((rule.__doc__ or "").split())
