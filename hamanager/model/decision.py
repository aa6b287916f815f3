"""What to do next, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What the loop can do. Each has a playbook, except the two that do nothing."""

    NOTHING = "nothing"
    WAIT = "wait"
    """Something is wrong, and waiting is what it takes for now."""
    RESERVE_ADDRESS = "reserve address"
    """The service gets an address of its own for its clients."""
    ADD_INSTANCE = "add instance"
    START_INSTANCE = "start instance"
    INITIALIZE = "initialize"
    SEED = "seed"
    ATTACH = "attach"
    MARK_SYNCHRONIZED = "mark synchronized"
    REBUILD = "rebuild"
    JOIN_SYNC_SET = "join sync set"
    """Let a standby acknowledge writes, and publish that it holds all of them."""
    LEAVE_SYNC_SET = "leave sync set"
    SET_REQUIRED_ACKS = "set required acks"
    """Let the primary wait for as many standbys as it should."""
    END_WAITING = "end waiting clients"
    """Their writes wait, they hold every connection, and nobody acknowledges."""
    PROMPT = "prompt acknowledgements"
    """Writes wait for standbys that have them, and whose acknowledgements were lost."""
    FAIL_OVER = "fail over"
    RESUME = "resume"
    """Let the primary on record take writes again after its restart."""
    ADOPT = "adopt"
    """The engine elected a primary by itself: write it down."""
    DEMOTE = "demote"
    FORCE = "force"
    """An operator decided who leads a set that has lost its majority."""
    SWITCHOVER = "switchover"
    ABANDON_SWITCHOVER = "abandon switchover"
    REFUSE = "refuse"
    """An operator's order cannot be carried out."""
    DISCARD = "discard"
    RESTART = "restart"
    UPGRADE = "upgrade"
    """Make an instance anew from another image, on the same data."""
    FINISH_RESTART = "finish restart"
    REMOVE_INSTANCE = "remove instance"
    MARK_READY = "mark ready"
    """Give an instance without data its share of the requests."""
    DRAIN = "drain"
    """Send it no more requests; those that it has may end."""
    TAKE_OUT = "take out"
    END_INSTANCE = "end instance"
    SET_MEMORY = "set memory"
    SHRINK = "shrink"
    """Let a server give memory back before it gets a smaller limit."""
    KEEP_MEMORY = "keep memory"
    """It did not give enough back for a smaller limit."""
    REPLACE = "replace"
    """Make an instance anew on another host, as its own does not answer."""
    CLEAR_LEFT = "clear what was left"
    """End what a host still runs that was made anew elsewhere."""
    NOTE_REFUSAL = "note refusal"
    """Put on record that the primary refuses writes while no standby is heard of."""
    LEAVE_PRIMARY = "leave primary"
    """Let a standby cease to follow a primary that nobody can end."""
    SETTLE = "settle"
    """An operator's order has been carried out by what was done since."""
    DESTROY = "destroy"


LEADING = (Action.FAIL_OVER, Action.ADOPT, Action.RESUME, Action.SWITCHOVER, Action.FORCE)
"""After these the instance named leads."""

_PHRASES = {
    Action.START_INSTANCE: "start {}",
    Action.END_INSTANCE: "end {}",
    Action.ADD_INSTANCE: "add {}",
    Action.REMOVE_INSTANCE: "remove {}",
    Action.SEED: "give {} its first copy",
    Action.ATTACH: "let {} follow the primary",
    Action.MARK_SYNCHRONIZED: "note that {} is in step",
    Action.JOIN_SYNC_SET: "take {} into the sync set",
    Action.LEAVE_SYNC_SET: "take {} out of the sync set",
    Action.SET_REQUIRED_ACKS: "tell {} for how many standbys its writes wait",
    Action.END_WAITING: "end the clients of {} whose writes wait",
    Action.PROMPT: "let the standbys of {} acknowledge once more",
    Action.FAIL_OVER: "fail over to {}",
    Action.RESUME: "let {} take writes again",
    Action.ADOPT: "put {} on record as the primary",
    Action.DEMOTE: "stop {} from taking writes",
    Action.FORCE: "let {} lead by force",
    Action.SWITCHOVER: "switch over to {}",
    Action.ABANDON_SWITCHOVER: "give up the switchover to {}",
    Action.FINISH_RESTART: "note that {} is back",
    Action.MARK_READY: "send requests to {}",
    Action.DRAIN: "send {} no more requests",
    Action.SET_MEMORY: "give {} its new memory limit",
    Action.SHRINK: "let {} give memory back",
    Action.KEEP_MEMORY: "leave {} its memory limit",
    Action.NOTE_REFUSAL: "note that {} refuses writes without a standby",
    Action.LEAVE_PRIMARY: "let {} leave the primary",
    Action.CLEAR_LEFT: "end what was left of {}",
}

_PHRASES_ALONE = {
    Action.NOTHING: "do nothing",
    Action.RESERVE_ADDRESS: "reserve an address",
    Action.REFUSE: "refuse the order",
    Action.DISCARD: "discard the volume",
    Action.SETTLE: "note that the order is carried out",
    Action.DESTROY: "destroy the service",
}


def phrase(action: Action, instance: str | None) -> str:
    """What is done, to whom, as after `to`: `fail over to db.1`. Whom a wait is about its reason
    says."""
    if instance is None or action in (Action.WAIT, Action.NOTHING):
        return _PHRASES_ALONE.get(action, action.value)
    return _PHRASES.get(action, f"{action.value} {{}}").format(instance)


@dataclass(frozen=True)
class Decision:
    """One action with its reason."""

    rule: str
    """The name of the row in the rule table that matched."""
    action: Action
    reason: str
    """One sentence for people, without a final stop."""
    instance: str | None = None
    """Whom the action is for: the one to promote, start, attach ..."""
    urgent: bool = False
    """Its rule is about who leads, or for whom writes wait: tried again soon after it failed."""

    def same_as(self, other: Decision) -> bool:
        """Whether both want the same done to the same instance."""
        return (self.action, self.instance) == (other.action, other.instance)


@dataclass(frozen=True)
class BackingOff:
    """A decision whose playbook failed a moment ago: not tried again before its pause is over."""

    rule: str
    action: Action
    instance: str | None
    tries: int
    pause_seconds: float
    """How long it is not tried after the last time."""
    error: str
    """Of the last time."""
    permanent: bool = False
    """It will not succeed before somebody has done something about that error."""

    def holds_up(self, rule: str, decision: Decision) -> bool:
        """Whether it is that decision of that rule."""
        wanted = (rule, decision.action, decision.instance)
        return (self.rule, self.action, self.instance) == wanted

    def __str__(self) -> str:
        """One sentence for people, without a final stop."""
        what = f"{self.action.value} {self.instance}" if self.instance else self.action.value
        times = "once" if self.tries == 1 else f"{self.tries} times"
        again = f"again within {self.pause_seconds:.2g} s"
        if self.permanent:
            again = f"in vain until somebody acts on it (tried {again} or when the spec changes)"
        return f"{what}: tried {times}, {again}: {self.error}"
