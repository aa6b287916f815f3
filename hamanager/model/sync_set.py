"""For whom writes wait, and who may be promoted, by spec, record and engine. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hamanager.model.capabilities import Capabilities
from hamanager.model.durability import Durability
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import ServerStatus
from hamanager.model.spec import Spec


def required_acks(
    spec: Spec, record: ServiceRecord, capabilities: Capabilities, members: int | None = None
) -> int:
    """For how many standbys each write has to wait: for every member of the sync set (`members`
    when it is another number than on record), and in strict mode for one at least."""
    strict = spec.durability is Durability.STRICT and record.guarded and spec.instances > 1
    if not capabilities.acknowledges:
        return int(strict)
    return max(int(strict), len(record.sync_set) if members is None else members)


def eligible(
    record: ServiceRecord, capabilities: Capabilities, statuses: Mapping[str, ServerStatus]
) -> dict[str, ServerStatus]:
    """Those of the answering standbys that may be promoted without an operator's order.

    Where standbys acknowledge: the sync set, whatever was seen of the primary. Elsewhere those
    that have been seen to hold a full copy and to follow, in the latest term that any of them was:
    one that has not followed the present primary yet may have data of its own.
    """
    names = {i.name for i in record.instances if i.synchronized}
    if capabilities.acknowledges:
        names = set(record.sync_set)
    elif not capabilities.elects_itself:
        standbys = [i for i in record.instances if i.name in names and i.name in statuses]
        terms = [i.synchronized_term for i in standbys if i.name != record.primary]
        names = {i.name for i in standbys if i.synchronized_term == max(terms, default=0)}
    return {
        name: status
        for name, status in statuses.items()
        if name in names and name != record.primary
    }
