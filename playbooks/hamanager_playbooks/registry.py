"""Which playbook carries out which action."""

from __future__ import annotations

from collections.abc import Mapping

from hamanager.act.context import Playbook
from hamanager.model.decision import Action
from hamanager_playbooks import (
    create,
    destroy,
    failover,
    memory,
    orders,
    placing,
    rejoin,
    restart,
    scale,
    stateless,
    switchover,
    syncing,
)

STATELESS_PLAYBOOKS: Mapping[Action, Playbook] = {
    Action.RESERVE_ADDRESS: create.reserve_address,
    Action.ADD_INSTANCE: create.add_instance,
    Action.START_INSTANCE: create.start_instance,
    Action.MARK_READY: stateless.mark_ready,
    Action.DRAIN: stateless.drain,
    Action.TAKE_OUT: stateless.take_out,
    Action.RESTART: stateless.restart,
    Action.UPGRADE: stateless.upgrade,
    Action.END_INSTANCE: restart.end_instance,
    Action.SET_MEMORY: stateless.set_memory,
    Action.DESTROY: destroy.destroy,
}
"""For services without data."""

PLAYBOOKS: Mapping[Action, Playbook] = {
    Action.REPLACE: placing.replace,
    Action.CLEAR_LEFT: placing.clear_left,
    Action.NOTE_REFUSAL: placing.note_refusal,
    Action.LEAVE_PRIMARY: failover.leave_primary,
    Action.SETTLE: orders.settle,
    Action.RESERVE_ADDRESS: create.reserve_address,
    Action.ADD_INSTANCE: create.add_instance,
    Action.START_INSTANCE: create.start_instance,
    Action.INITIALIZE: create.initialize,
    Action.SEED: rejoin.seed,
    Action.ATTACH: rejoin.attach,
    Action.MARK_SYNCHRONIZED: rejoin.mark_synchronized,
    Action.REBUILD: rejoin.rebuild,
    Action.JOIN_SYNC_SET: syncing.join,
    Action.LEAVE_SYNC_SET: syncing.leave,
    Action.SET_REQUIRED_ACKS: syncing.set_required_acks,
    Action.END_WAITING: syncing.end_waiting,
    Action.PROMPT: syncing.prompt,
    Action.FAIL_OVER: failover.fail_over,
    Action.RESUME: failover.resume,
    Action.ADOPT: failover.adopt,
    Action.DEMOTE: failover.demote,
    Action.FORCE: failover.force,
    Action.SWITCHOVER: switchover.switch_over,
    Action.ABANDON_SWITCHOVER: switchover.abandon,
    Action.REFUSE: orders.refuse,
    Action.DISCARD: orders.discard,
    Action.RESTART: restart.restart,
    Action.UPGRADE: restart.upgrade,
    Action.FINISH_RESTART: restart.finish_restart,
    Action.END_INSTANCE: restart.end_instance,
    Action.REMOVE_INSTANCE: scale.remove_instance,
    Action.SET_MEMORY: memory.set_memory,
    Action.SHRINK: memory.shrink,
    Action.KEEP_MEMORY: memory.keep,
    Action.DESTROY: destroy.destroy,
}
