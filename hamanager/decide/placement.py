"""On which host an instance is placed. Pure.

| host                                          | for a new instance                          |
|-----------------------------------------------|---------------------------------------------|
| does not answer, or is to be left             | never                                       |
| still has what an instance of its was         | never, before that is ended                 |
| has no instance of the service                | first                                       |
| has one already                               | only when there is no other, which is told  |
| among equals                                  | most memory that is promised to nobody      |
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from hamanager.model.host import HostSeen, Occupant
from hamanager.model.record import ServiceRecord

Score = tuple[int, float, int, str]


def usable(hosts: Iterable[HostSeen], record: ServiceRecord) -> list[HostSeen]:
    """Those on which anything may be placed for that service now."""
    occupied = {left.placed_on for left in record.left_behind}
    return [h for h in hosts if h.answers and not h.draining and h.name not in occupied]


def places(
    hosts: Iterable[HostSeen],
    record: ServiceRecord,
    occupants: Sequence[Occupant],
    memory_bytes: int | None,
    moving: Collection[str] = (),
) -> list[str]:
    """The hosts on which another instance of the service can be placed, the best one first; an
    instance that moves away does not count."""
    there = [i.placed_on for i in record.instances if i.name not in moving]

    def score(host: HostSeen) -> Score:
        here = [one for one in occupants if one.placed_on == host.name]
        promised = sum(one.memory_bytes or 0 for one in here) + (memory_bytes or 0)
        left = (host.memory_bytes or 0) - promised
        # Nobody knows how much those without a limit take: what is left is shared out among them.
        unlimited = sum(one.memory_bytes is None for one in here) + (memory_bytes is None)
        return there.count(host.name), -left / max(1, unlimited), len(here), host.name

    return [host.name for host in sorted(usable(hosts, record), key=score)]


def free_places(hosts: Iterable[HostSeen], record: ServiceRecord) -> list[str]:
    """Hosts that have no instance of the service and could have one."""
    taken = {instance.placed_on for instance in record.instances}
    return [host.name for host in usable(hosts, record) if host.name not in taken]


def shared(record: ServiceRecord) -> Mapping[str, list[str]]:
    """Hosts that have several instances of the service, with their names."""
    found: dict[str, list[str]] = {}
    for instance in record.instances:
        if instance.placed_on:
            found.setdefault(instance.placed_on, []).append(instance.name)
    return {host: names for host, names in found.items() if len(names) > 1}


def sharing_words(record: ServiceRecord) -> str:
    """For people: which instances share a host; '' when none do."""
    told = [f"{' and '.join(names)} share the host {h}" for h, names in shared(record).items()]
    return f"{'; '.join(told)}: they fail together" if told else ""
