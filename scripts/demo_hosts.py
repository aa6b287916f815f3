"""The demo on several hosts: the machine with the active manager, all primaries and the leader of
the store is lost, told to somebody who has never seen it.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hamanager.chaos.demo import Narrator
from hamanager.chaos.services import wait_for
from hamanager.chaos.workload import Acknowledged, LoadWriter
from hamanager.contracts.driver import Driver
from hamanager.decide.leading import preferred
from hamanager.errors import HamanagerError
from hamanager.runtimes.docker.images import ImageUnavailable, ensure_images
from hamanager_drivers.redis.driver import RedisDriver
from hamanager_drivers.redis.writer import RedisWorkload
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import Fleet, images
from tests.testbed.host import Host
from tests.testbed.process import TestbedError

HOSTS = 3
PAUSE_SECONDS = 0.001
"""Of each client between two writes."""
WRITE_SECONDS = 60.0
AWAY_SECONDS = 15.0
"""The machine is back after so long."""
WHOLE_SECONDS = 300.0


@dataclass
class Part:
    """One service, its client, and what came of it."""

    title: str
    engine: str
    base: str
    """Of its name, which has to fall to the manager on the machine that will be lost."""
    size: int
    options: tuple[str, ...] = ()
    driver: Driver | None = None
    """With a workload that is not the usual one."""
    may_lose: bool = False
    name: str = ""
    writer: LoadWriter | None = None
    first: Acknowledged | None = None
    gap_seconds: float = 0.0
    whole_seconds: float = 0.0
    acknowledged: int = 0
    lost: int = 0


def parts() -> list[Part]:
    """MySQL, MongoDB, and Redis twice: with a client that believes its primary, and with one that
    asks for a standby's word."""
    careful = RedisDriver()
    careful.workload = RedisWorkload(confirmed_by=1)
    safe = ("--durability", "strict")
    return [
        Part("MySQL", "mysql", "shop", 2),
        Part("MongoDB", "mongodb", "docs", 3),
        Part("Redis", "redis", "cache", 3, safe, may_lose=True),
        Part("Redis, WAIT 1", "redis", "queue", 3, safe, careful),
    ]


def main() -> int:
    """The exit code: 0 when nothing acknowledged was lost and everything is back."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if reason := why_not() or why_no_etcd():
        print(f"hamanager: {reason}", file=sys.stderr)
        return 1
    tell = Narrator()
    story = parts()
    try:
        chosen = dict(ensure_images(images(sorted({part.engine for part in story}))))
        tell.say(f"{HOSTS} hosts are made on this machine, each with a Docker engine of its own")
        with Testbed(HOSTS, [choice.image for choice in chosen.values()]) as bed:
            tell.say("on each: a member of etcd, and `hamanager serve --store etcd://...`")
            with Fleet(bed, tell.show) as fleet:
                try:
                    play(fleet, tell, story)
                except HamanagerError:
                    print(fleet.logs(), file=sys.stderr)
                    raise
            tell.say("done; hosts, networks and data are removed now")
    except KeyboardInterrupt:
        print("\ninterrupted; whatever the demo made has been removed")
        return 130
    except (HamanagerError, TestbedError, ImageUnavailable) as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    summarize(story)
    return 1 if any(part.lost and not part.may_lose for part in story) else 0


def play(fleet: Fleet, tell: Narrator, story: Sequence[Part]) -> None:
    """From nothing to everything back."""

    def command(*words: str) -> None:
        tell.say(f"$ hamanager {' '.join(words)}")
        fleet.command(*words)

    doomed = fleet.hosts[0]
    managers = [host.name for host in fleet.hosts]
    command("host", "list")
    for part in story:
        part.name = _named(part.base, doomed.name, managers)
        size = ("--instances", str(part.size))
        command("create", part.name, "--engine", part.engine, *size, *part.options)
    for part in story:
        fleet.wait_for_state(part.name, "running", WHOLE_SECONDS, part.size)
        gather(fleet, tell, part, doomed)
    fleet.etcd.lead(doomed)
    wait_for(
        f"all services to be led by {doomed.name}",
        60,
        lambda: all(fleet.leader_of(part.name) is doomed for part in story),
    )
    command("managers")
    for part in story:
        part.writer = fleet.start_writer(part.name, PAUSE_SECONDS, part.driver)
    try:
        tell.say("a client of each service writes numbered rows and counts what is acknowledged")
        time.sleep(3)
        lose(fleet, tell, story, doomed)
        time.sleep(AWAY_SECONDS)
        tell.say(f"{doomed.name} is switched on again, with what is on its disk")
        switched_on = time.monotonic()
        doomed.start()
        for part in story:
            fleet.wait_for_state(part.name, "running", WHOLE_SECONDS, part.size)
            part.whole_seconds = time.monotonic() - switched_on
            tell.say(f"{part.name} has all {part.size} instances {part.whole_seconds:.1f} s later")
        time.sleep(1)
    finally:
        for part in story:
            if part.writer is not None:
                part.writer.stop()
    for part in story:
        assert part.writer is not None
        part.acknowledged = len(part.writer.acknowledged())
        part.lost = fleet.lost(part.name, part.writer)
    command("managers")
    command("info", story[0].name)
    command("history", story[0].name)


def gather(fleet: Fleet, tell: Narrator, part: Part, doomed: Host) -> None:
    """Bring the primary to the machine that will be lost."""
    record = fleet.record(part.name)
    here = [i.name for i in record.instances if i.placed_on == doomed.name]
    if not here:
        raise HamanagerError(f"no instance of {part.name} was placed on {doomed.name}")
    if record.primary != here[0]:
        words = ("switchover", part.name, "--to", here[0])
        tell.say(f"$ hamanager {' '.join(words)}")
        fleet.command(*words)
        fleet.wait_for_state(part.name, "running", WHOLE_SECONDS, part.size)


def lose(fleet: Fleet, tell: Narrator, story: Sequence[Part], doomed: Host) -> None:
    """The machine is gone from one moment to the next."""
    old = {part.name: fleet.primary(part.name).name for part in story}
    tell.say(
        f"now {doomed.name} loses its power: the active manager, the leader of etcd, and the"
        f" primaries {', '.join(old.values())}"
    )
    lost = time.monotonic()
    doomed.power_off()
    for part in story:
        assert part.writer is not None
        patience = WRITE_SECONDS - (time.monotonic() - lost)
        part.first = part.writer.wait_for_write(
            after=lost, not_on=old[part.name], timeout_seconds=patience
        )
        if part.first is None:
            raise HamanagerError(
                f"no instance of {part.name} but {old[part.name]} accepted a write within"
                f" {WRITE_SECONDS:g} s"
            )
        part.gap_seconds = part.first.at - lost
        tell.say(
            f"{part.first.instance} accepted a write {part.gap_seconds:.2f} s after the machine"
            " was lost"
        )


def summarize(story: Sequence[Part]) -> None:
    """The table."""
    print("\n=== what was measured " + "=" * 69)
    print(f"{'':<16}{'loss to first write':>20}{'whole again':>13}{'acknowledged':>14}{'lost':>6}")
    for part in story:
        print(
            f"{part.title:<16}{part.gap_seconds:>18.2f} s{part.whole_seconds:>11.1f} s"
            f"{part.acknowledged:>14}{part.lost:>6}"
        )
    print(
        "\nThe machine that was lost carried the active manager, every primary and the leader of\n"
        "etcd; `whole again` counts from its return. Redis replicates asynchronously: a client\n"
        "that believes its primary can lose the last moment's writes, one that asks `WAIT 1` does\n"
        "not."
    )


def _named(base: str, leader: str, managers: Sequence[str]) -> str:
    """A service that this manager should lead."""
    names = (base, *(f"{base}{number}" for number in range(2, 100)))
    return next(name for name in names if preferred(name, managers) == leader)


if __name__ == "__main__":
    sys.exit(main())
