"""What to do next: an ordered table of rules; the first that matches decides.

Pure: no I/O, no clock, no randomness, no engine names. The input is what the user wants (the
wish), what has been done so far (the record), what was just seen (the snapshot) and what the
engine is like (its capabilities). "What happens when the primary dies" is the block of rules
around `primary-dead`; what is then done is in the playbook `failover.py`.

A golden test prints the table: an edit here shows up as a reviewable diff there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hamanager.evidence import Verdict
from hamanager.situation import Situation, follows, has_role, restarted
from hamanager.values.capabilities import Capabilities
from hamanager.values.decision import Action, Decision
from hamanager.values.service import InstanceRecord, ServiceRecord, Wish, index_of
from hamanager.values.snapshot import Observation, Process, Relation, Role, Snapshot

STARTS_BEFORE_REBUILD = 5
"""A standby that does not come up after so many starts is rebuilt from nothing."""
STARTS_BEFORE_OTHERS = 3
"""An instance whose promotion was begun gets so many starts before others are considered."""
LONGEST_START_PAUSE_SECONDS = 60.0


Rule = Callable[[Situation], Decision | None]
RULES: list[tuple[str, Rule]] = []


def rule(name: str) -> Callable[[Rule], Rule]:
    """Adds a function to the table; the order in this file is the order of the table."""

    def add(function: Rule) -> Rule:
        RULES.append((name, function))
        return function

    return add


def decide(
    wish: Wish, record: ServiceRecord, snapshot: Snapshot, capabilities: Capabilities
) -> Decision:
    """The one thing to do now, with its reason."""
    situation = Situation(wish, record, snapshot, capabilities)
    for name, function in RULES:
        decision = function(situation)
        if decision is not None:
            return Decision(name, decision.action, decision.reason, decision.instance)
    raise AssertionError("the last rule always matches")


# --- Before anything else ---------------------------------------------------------------------


@rule("destroy")
def _destroy(s: Situation) -> Decision | None:
    """A person asked for the service to be destroyed."""
    if s.wish.destroy:
        return _do(Action.DESTROY, None, "it was asked for")
    return None


@rule("blind")
def _blind(s: Situation) -> Decision | None:
    """A manager that sees nothing at all distrusts itself, not the servers."""
    if s.all and all(seen.process is Process.UNKNOWN and not seen.alive for _, seen in s.all):
        return _do(
            Action.WAIT,
            None,
            "neither the runtime nor any server answers: the manager may be cut off",
        )
    return None


@rule("first-instance")
def _first_instance(s: Situation) -> Decision | None:
    """A new service starts with one instance."""
    if not s.record.instances:
        return _do(Action.ADD_INSTANCE, f"{s.wish.name}.0", "the service is new")
    return None


@rule("set-up")
def _set_up(s: Situation) -> Decision | None:
    """The first server of a new service is set up as its primary."""
    if s.record.initialized:
        return None
    first, seen = s.all[0]
    if seen.gone:
        return _start(s, first, seen)
    if seen.status is not None:
        return _do(Action.INITIALIZE, first.name, "the first server is up")
    return _do(Action.WAIT, first.name, f"{first.name} is starting")


# --- Who is primary? --------------------------------------------------------------------------


@rule("second-primary")
def _second_primary(s: Situation) -> Decision | None:
    """Nobody but the primary on record may take writes: an old one that woke up is stopped."""
    if s.capabilities.elects_itself:
        return None
    for instance, seen in s.standbys:
        if instance.name != s.record.promoting and has_role(seen, Role.PRIMARY):
            return _do(
                Action.DEMOTE,
                instance.name,
                f"{instance.name} takes writes, but {s.record.primary} is primary in term"
                f" {s.record.term}",
            )
    return None


@rule("unfinished-promotion")
def _unfinished_promotion(s: Situation) -> Decision | None:
    """A promotion that this or another manager began in this term is finished first. If its
    instance ended meanwhile it is started: it may have taken writes already."""
    instance, seen = s.record.instance(s.record.promoting), s.snapshot.of(s.record.promoting)
    if instance is None or seen is None or s.capabilities.elects_itself:
        return None
    unfinished = f"its promotion in term {s.record.term} was begun and not finished"
    if seen.alive:
        action = Action.RESUME if instance.name == s.record.primary else Action.FAIL_OVER
        return _do(action, instance.name, unfinished)
    if seen.gone and instance.starts < STARTS_BEFORE_OTHERS:
        return _do(Action.START_INSTANCE, instance.name, unfinished)
    return None


@rule("elected")
def _elected(s: Situation) -> Decision | None:
    """An engine that elects by itself chose another primary: write that down."""
    if not s.capabilities.elects_itself:
        return None
    if s.primary_works:
        if s.record.promoting is None:
            return None
        return _do(Action.ADOPT, s.record.primary, f"{s.record.primary} stayed primary")
    elected = [i.name for i, seen in s.standbys if has_role(seen, Role.PRIMARY)]
    if len(elected) != 1:
        return None
    return _do(Action.ADOPT, elected[0], f"the servers elected {elected[0]}")


@rule("planned-restart")
def _planned_restart(s: Situation) -> Decision | None:
    """While a person's restart of the primary runs, nobody takes its place."""
    primary, seen = s.primary, s.primary_seen
    if primary is None or seen is None or s.primary_works or not s.restart_runs(primary):
        return None
    if seen.gone:
        return _do(Action.START_INSTANCE, primary.name, "its planned restart has stopped it")
    if seen.status is not None and not s.capabilities.elects_itself:
        return _do(Action.RESUME, primary.name, "its planned restart is through")
    return _do(Action.WAIT, primary.name, f"{primary.name} is being restarted as planned")


@rule("majority-lost")
def _majority_lost(s: Situation) -> Decision | None:
    """Without a majority no election is possible, and none is forced: only processes that
    ended are started again (by the rule `start`, further down)."""
    if s.capabilities.elects_itself and s.evidence.given_up and not s.majority_is_up:
        if start := _start_one_that_ended(s):
            return start
        up = sum(seen.alive for _, seen in s.all)
        return _do(
            Action.WAIT,
            None,
            f"the majority is lost: {up} of {len(s.all)} members are up, no primary can be elected",
        )
    return None


@rule("primary-dead")
def _primary_dead(s: Situation) -> Decision | None:
    """The primary is proven dead, or silent for too long: the best standby takes over. (The
    playbook makes sure first that a silent one can take no more writes.)"""
    if not s.evidence.given_up or not s.snapshot.candidates:
        return None
    stood_in_vain = s.capabilities.elects_itself and s.record.promoting is not None
    if stood_in_vain and (start := _start_one_that_ended(s)):
        return start  # it may take the ended ones to reach a majority
    return _do(
        Action.FAIL_OVER, s.snapshot.candidates[0], f"{s.record.primary}: {s.evidence.reason}"
    )


@rule("primary-cut-off")
def _primary_cut_off(s: Situation) -> Decision | None:
    """We cannot reach the primary, but its standbys can: it is we who are cut off."""
    if s.evidence.verdict is not Verdict.CUT_OFF:
        return None
    return _do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary} does not answer the manager, but {s.evidence.reason}: no fail-over",
    )


@rule("primary-suspect")
def _primary_suspect(s: Situation) -> Decision | None:
    """Silence is not proof: wait for `down_after`."""
    if s.evidence.verdict is not Verdict.SUSPECT:
        return None
    return _do(Action.WAIT, s.record.primary, f"{s.record.primary}: {s.evidence.reason}")


@rule("primary-restarted")
def _primary_restarted(s: Situation) -> Decision | None:
    """The primary crashed and was started again before anybody saw it dead. It refuses writes
    (every server starts so) and resumes only if no standby has what it lacks."""
    seen = s.primary_seen
    if s.capabilities.elects_itself or not has_role(seen, Role.STANDBY):
        return None
    if s.snapshot.primary_has_all:
        return _do(Action.RESUME, s.record.primary, "it was restarted and has all the data")
    if s.snapshot.candidates:
        return _do(
            Action.FAIL_OVER,
            s.snapshot.candidates[0],
            f"{s.record.primary} was restarted and may lack what its standby has",
        )
    return _do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary} was restarted, and its data cannot be compared with any standby's",
    )


# --- Keep the instances running ---------------------------------------------------------------


@rule("surplus")
def _surplus(s: Situation) -> Decision | None:
    """More instances than wanted: one standby goes, a broken one first, the primary never."""
    if not s.primary_works or len(s.all) <= s.wish.instances:
        return None
    order = sorted(
        s.standbys,
        key=lambda pair: (pair[1].relation is Relation.ATTACHED, -index_of(pair[0].name)),
    )
    leaver = order[0][0].name
    return _do(
        Action.REMOVE_INSTANCE, leaver, f"{s.wish.instances} of {len(s.all)} instances are wanted"
    )


@rule("start")
def _start_gone(s: Situation) -> Decision | None:
    """A process that ended is started again, the primary's first (no standby could take over,
    or we would not be here)."""
    waiting: Decision | None = None
    for instance, seen in sorted(s.all, key=lambda pair: pair[0].name != s.record.primary):
        if not seen.gone:
            continue
        if (
            instance.starts >= STARTS_BEFORE_REBUILD
            and instance.name != s.record.primary
            and s.primary_works
        ):
            return _do(
                Action.REBUILD,
                instance.name,
                f"it did not come up after {instance.starts} starts",
            )
        decision = _start(s, instance, seen)
        if decision.action is Action.START_INSTANCE:
            return decision
        waiting = waiting or decision
    return waiting if not s.primary_works else None


@rule("primary-not-ready")
def _primary_not_ready(s: Situation) -> Decision | None:
    """What follows needs a working primary."""
    if s.primary_works:
        return None
    detail = s.primary_seen.detail if s.primary_seen else ""
    return _do(
        Action.WAIT,
        s.record.primary,
        f"{s.record.primary or 'no instance'} is not ready to take writes"
        + (f": {detail}" if detail else ""),
    )


# --- Make the standbys follow -----------------------------------------------------------------


@rule("restart-done")
def _restart_done(s: Situation) -> Decision | None:
    """A restarted instance is back in its place."""
    for instance, seen in s.all:
        back = has_role(seen, Role.PRIMARY) or follows(seen)
        if instance.restarting_since is not None and back and restarted(instance):
            return _do(Action.FINISH_RESTART, instance.name, "it is back in its place")
    return None


@rule("synchronized")
def _synchronized(s: Situation) -> Decision | None:
    """A standby that was seen to hold a full copy and to follow becomes a candidate."""
    for instance, seen in s.standbys:
        settled = instance.synchronized and not instance.has_led and instance.starts == 0
        if follows(seen) and not settled:
            return _do(Action.MARK_SYNCHRONIZED, instance.name, "it holds a full copy and follows")
    return None


@rule("rejoin")
def _rejoin(s: Situation) -> Decision | None:
    """A standby that does not follow the primary is seeded, attached or rebuilt."""
    for instance, seen in s.standbys:
        name = instance.name
        match seen.relation:
            case Relation.EMPTY:
                return _do(Action.SEED, name, "it has no data yet")
            case Relation.DETACHED:
                return _do(
                    Action.ATTACH, name, f"it is not yet a full standby of {s.record.primary}"
                )
            case Relation.UNPROVEN if not instance.has_led:
                return _do(
                    Action.ATTACH,
                    name,
                    "its data came from a primary and is replaced by a new copy",
                )
            case Relation.UNPROVEN:
                return _do(
                    Action.REBUILD,
                    name,
                    "it was primary, and its data cannot be proven to be elsewhere",
                )
            case Relation.DIVERGED:
                return _do(
                    Action.REBUILD,
                    name,
                    f"its data is not a part of what {s.record.primary} can send",
                )
            case _:
                continue
    return None


# --- Make the wish true -----------------------------------------------------------------------


@rule("restart")
def _restart(s: Situation) -> Decision | None:
    """A person asked for an instance to be restarted."""
    for instance, seen in s.all:
        if s.wish.restarts.get(instance.name, 0) > instance.restarts_done and not seen.gone:
            return _do(Action.RESTART, instance.name, "a person asked for it")
    return None


@rule("memory")
def _memory(s: Situation) -> Decision | None:
    """The memory limit changed."""
    for instance, seen in s.all:
        if instance.memory_bytes != s.wish.memory_bytes and not seen.gone:
            return _do(Action.SET_MEMORY, instance.name, "another limit is wanted")
    return None


@rule("missing")
def _missing(s: Situation) -> Decision | None:
    """Fewer instances than wanted: one is added."""
    if len(s.all) >= s.wish.instances:
        return None
    taken = {index_of(instance.name) for instance, _ in s.all}
    index = next(i for i in range(len(taken) + 1) if i not in taken)
    return _do(
        Action.ADD_INSTANCE,
        f"{s.wish.name}.{index}",
        f"{s.wish.instances} instances are wanted, there are {len(s.all)}",
    )


@rule("well")
def _well(s: Situation) -> Decision | None:
    """Nothing to do."""
    following = [i.name for i, seen in s.standbys if follows(seen)]
    copying = [i.name for i, seen in s.standbys if seen.relation is Relation.SEEDING]
    text = f"{s.record.primary} is primary"
    if s.standbys:
        text += f", standbys following: {len(following)} of {len(s.standbys)}"
    if copying:
        text += f", {' and '.join(copying)} copies the data"
    return _do(Action.NOTHING, None, text)


# --- Helpers ----------------------------------------------------------------------------------


def _do(action: Action, instance: str | None, reason: str) -> Decision:
    return Decision("", action, reason, instance)


def _start(s: Situation, instance: InstanceRecord, seen: Observation) -> Decision:
    """Start it, unless it was started again and again: then pause longer and longer."""
    pause = min(LONGEST_START_PAUSE_SECONDS, 2.0 ** max(0, instance.starts - 2))
    if instance.starts > 2 and instance.started_at is not None:
        remaining = instance.started_at + pause - s.snapshot.at
        if remaining > 0:
            return _do(
                Action.WAIT,
                instance.name,
                f"{instance.name} ended after each of {instance.starts} starts, next try within"
                f" {pause:g} s",
            )
    missing = seen.process is Process.MISSING
    return _do(
        Action.START_INSTANCE,
        instance.name,
        "it has no container" if missing else "its process has ended",
    )


def _start_one_that_ended(s: Situation) -> Decision | None:
    for instance, seen in s.all:
        if seen.gone and (start := _start(s, instance, seen)).action is Action.START_INSTANCE:
            return start
    return None


def describe_rules() -> Iterator[tuple[str, str]]:
    """The table for people: each rule's name and its comment, in order."""
    for name, function in RULES:
        yield name, " ".join((function.__doc__ or "").split())
