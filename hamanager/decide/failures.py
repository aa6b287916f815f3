"""What a snapshot would be if something failed, or were otherwise, by what an engine shows then.

Pure. `hamanager what-if` puts a failure into the present state; `hamanager why` tries single
changes on a past one, to say what would have made a rule apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Contact, Observation, Process, Relation

Seen = Mapping[str, Observation]


def ended(seen: Seen, record: ServiceRecord, name: str) -> dict[str, Observation]:
    """Its process ended: the runtime says so, and whoever replicates from it has lost its link."""
    gone = Observation(Process.EXITED, Contact.REFUSED, detail="its process has ended")
    return _without_links(seen, record, name, gone, 0.0)


def silent(seen: Seen, record: ServiceRecord, name: str, seconds: float) -> dict[str, Observation]:
    """It hangs, or is cut off from all, for so long: its process runs, and nobody hears of it."""
    hung = Observation(
        Process.RUNNING, Contact.SILENT, silent_seconds=seconds, detail="no answer in time"
    )
    return _without_links(seen, record, name, hung, seconds)


def unreached(seen: Seen, name: str, seconds: float) -> dict[str, Observation]:
    """It has not answered the manager for so long; the others still hear of it."""
    process = seen[name].process
    quiet = Observation(process, Contact.SILENT, silent_seconds=seconds, detail="no answer in time")
    return {**seen, name: quiet}


def _without_links(
    seen: Seen, record: ServiceRecord, name: str, then: Observation, seconds: float
) -> dict[str, Observation]:
    failed = record.instance(name)
    address = failed.replication_address if failed is not None else ""
    changed = {**seen, name: then}
    for other, answer in seen.items():
        status = answer.status
        if other == name or status is None:
            continue
        if address in (status.source, status.believes_in):
            status = replace(status, link_up=False, link_age_seconds=seconds)
            changed[other] = replace(answer, status=status)
        if name == record.primary:
            # To whom nobody can be compared now.
            changed[other] = replace(changed[other], relation=Relation.UNKNOWN, errant_writes="")
    return changed
