"""What only a replica set does, on real servers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from bson import Timestamp

from hamanager.errors import ServerError
from hamanager.model.snapshot import Relation, Role, ServerStatus
from hamanager_drivers.mongodb.chain import PREPARE_SECONDS, Chain
from hamanager_drivers.mongodb.connections import Connections
from hamanager_drivers.mongodb.driver import MongoDBDriver
from hamanager_testing.servers import LABEL, TERMS, Server, servers

MongoDBServer = Server[MongoDBDriver]

DRIVER = MongoDBDriver()
CONNECTIONS = Connections()
CHAIN = Chain(CONNECTIONS)


@pytest.fixture(scope="module")
def trio() -> Iterator[list[MongoDBServer]]:
    """Three full members; every test leaves three behind, whoever leads."""
    with servers(DRIVER, 3) as members:
        first, *others = members
        first.wait()
        DRIVER.replication.initialize(first.service, first.target)
        writer = DRIVER.workload.open_writer(first.service, first.target)
        writer.prepare()
        writer.fill(40_000_000)
        writer.close()
        for other in others:
            join(other, first)
        yield members


def test_a_new_member_copies_first_and_votes_afterwards(trio: list[MongoDBServer]) -> None:
    """Rebuilt from nothing it loses its vote, which could elect one that lacks writes."""
    primary, leaver, _ = settled(trio)
    renew(leaver)
    seen = join(leaver, primary)

    copying = [status for _, status in seen if status.sync is not None]
    assert copying, "the copy was never seen"
    assert not any(status.synchronized for status in copying)
    assert any(status.sync and status.sync.percent for status in copying)
    steps = [step for step, status in seen if status.sync is not None]
    assert steps[:2] == ["votes", "attach"], "its vote was not taken"
    assert set(steps[2:]) == {"follows"}
    assert seen[-1][0] == "attach", "it did not get its vote last"


def test_the_manager_logs_in_while_users_are_not_copied_yet(
    trio: list[MongoDBServer],
) -> None:
    primary, leaver, _ = settled(trio)
    renew(leaver)
    newcomer = MongoDBDriver()
    status = leaver.wait(lambda status: status.sync is not None)
    assert newcomer.probe(leaver.service, leaver.target).version == status.version
    newcomer.forget(leaver.target)
    join(leaver, primary)


def test_a_dead_primary_is_replaced_at_once(trio: list[MongoDBServer]) -> None:
    primary, target, other = settled(trio)
    primary.kill()
    began = time.monotonic()
    note = DRIVER.replication.promote(target.service, target.target, [other.target], 0)
    assert time.monotonic() - began < 1
    assert "majority" in note
    writer = DRIVER.workload.open_writer(target.service, target.target, timeout_seconds=5)
    writer.write(1)
    writer.close()
    primary.start_again()


def test_a_follower_of_the_dead_primary_finds_the_new_one_without_a_pause(
    trio: list[MongoDBServer],
) -> None:
    """It must not have looked for a source in vain: then it pauses for a second, and with it the
    first write of a majority."""
    primary, *standbys = settled(trio)
    for standby in standbys:
        assert made_to_follow(standby, primary, primary)
    in_vain = {s.target.name: searches_in_vain(s) for s in standbys}
    primary.container.kill()
    try:
        seen = {s.target.name: DRIVER.probe(s.service, s.target) for s in standbys}
        first, _ = DRIVER.replication.rank(seen)
        heir, other = sorted(standbys, key=lambda s: s.target.name != first)
        DRIVER.replication.promote(heir.service, heir.target, [other.target], 0)
        other.wait(lambda status: status.source == heir.target.address)
        assert searches_in_vain(other) == in_vain[other.target.name]
    finally:
        primary.container.wait(timeout=20)
        primary.start_again()


def test_a_member_in_step_asks_a_silent_source_for_a_second_at_a_time(
    trio: list[MongoDBServer],
) -> None:
    """The server's version has to take the value, or silent hosts cost a second more."""
    primary, member, _ = settled(trio)
    CHAIN.straighten(member.service, member.target, primary.target)
    question = {"getParameter": 1, "oplogRetriedFindMaxSeconds": 1}
    answer = CONNECTIONS.command(member.service, member.target, question)
    assert answer["oplogRetriedFindMaxSeconds"] == 0


def test_a_member_is_made_to_follow_the_coming_primary(trio: list[MongoDBServer]) -> None:
    primary, heir, other = settled(trio)
    made_to_follow(heir, other, primary)
    CHAIN.prepare(heir.service, heir.target, primary.target, [other.target], 3)
    assert CHAIN.source(other.service, other.target) == heir.target.address
    assert made_to_follow(other, heir, primary), "it follows already"


def test_a_member_keeps_its_source_in_a_hand_over(trio: list[MongoDBServer]) -> None:
    primary, heir, other = settled(trio)
    in_vain: list[int] = []
    terms = replace(TERMS, before_stop=lambda: in_vain.append(searches_in_vain(other)))
    DRIVER.replication.hand_over(heir.service, heir.target, primary.target, terms)
    other.wait(follows(heir))
    assert searches_in_vain(other) == in_vain[0]


def test_a_checkpoint_is_made_when_asked_for(trio: list[MongoDBServer]) -> None:
    """Within a moment, as a client of one's own sees it; by itself the server makes one a minute.
    Asked again and again, so that one of its own in this very moment proves nothing."""
    primary, standby, _ = settled(trio)
    with contextlib.closing(DRIVER.workload.open_writer(primary.service, primary.target)) as writer:
        for number in range(90_001, 90_004):
            writer.write(number)
            last, committed = checkpoint(standby)
            deadline = time.monotonic() + 5
            while committed <= last:  # it hears of that a moment later
                assert time.monotonic() < deadline, "the write is not known to be a majority's"
                last, committed = checkpoint(standby)
            DRIVER.checkpointing.checkpoint(standby.service, standby.target)
            while checkpoint(standby)[0] < committed:
                assert time.monotonic() < deadline, "no checkpoint"
                time.sleep(0.01)


def test_a_hung_primary_does_not_delay_its_successor(trio: list[MongoDBServer]) -> None:
    primary, target, other = settled(trio)
    with paused(primary):
        seen = target.wait(lambda status: status.link_up is False)
        assert seen.believes_in == primary.target.address
        began = time.monotonic()
        DRIVER.replication.promote(target.service, target.target, [other.target], 0)
        assert time.monotonic() - began < 1.5
    primary.wait(follows(target))


def test_nobody_is_promoted_over_one_that_was_elected_meanwhile(
    trio: list[MongoDBServer],
) -> None:
    elected, late, other = settled(trio)
    with pytest.raises(ServerError, match=f"elected {elected.target.name} meanwhile"):
        DRIVER.replication.promote(late.service, late.target, [elected.target, other.target], 0)
    assert DRIVER.probe(elected.service, elected.target).role is Role.PRIMARY


def test_the_hand_over_reaches_the_member_it_was_meant_for(
    trio: list[MongoDBServer],
) -> None:
    primary, target, other = settled(trio)
    DRIVER.replication.hand_over(target.service, target.target, primary.target, TERMS)
    assert DRIVER.probe(target.service, target.target).role is Role.PRIMARY
    began = time.monotonic()
    writer = DRIVER.workload.open_writer(target.service, target.target, timeout_seconds=5)
    writer.write(2)
    writer.close()
    assert time.monotonic() - began < 2
    for old in (primary, other):
        old.wait(follows(target))


def test_a_hand_over_that_fails_leaves_the_old_primary_in_place(
    trio: list[MongoDBServer],
) -> None:
    primary, target, _ = settled(trio)
    with paused(target), pytest.raises(ServerError):
        DRIVER.replication.hand_over(target.service, target.target, primary.target, TERMS)
    assert DRIVER.probe(primary.service, primary.target).role is Role.PRIMARY


def test_demote_makes_it_refuse_writes(trio: list[MongoDBServer]) -> None:
    primary, *_ = settled(trio)
    DRIVER.replication.demote(primary.service, primary.target)
    DRIVER.replication.demote(primary.service, primary.target)
    assert DRIVER.probe(primary.service, primary.target).role is Role.STANDBY
    settled(trio)


def test_a_lost_majority_is_reported(trio: list[MongoDBServer]) -> None:
    primary, second, third = settled(trio)
    primary.kill()
    second.kill()
    status = third.wait(lambda status: "majority" in status.facts)
    assert status.facts["majority"] == "lost: 1 of 3 members up"
    assert status.role is Role.STANDBY
    assert status.link_up is False
    with pytest.raises(ServerError):
        DRIVER.replication.promote(third.service, third.target, [second.target], 0)
    primary.start_again()
    second.start_again()


def test_the_primary_itself_is_not_detached(trio: list[MongoDBServer]) -> None:
    primary, second, _ = settled(trio)
    with pytest.raises(ServerError):
        DRIVER.replication.detach(primary.service, primary.target, primary.target)
    with pytest.raises(ServerError):
        DRIVER.replication.detach(second.service, second.target, None)


def made_to_follow(member: MongoDBServer, source: MongoDBServer, primary: MongoDBServer) -> bool:
    deadline = time.monotonic() + PREPARE_SECONDS
    targets = member.target, source.target, primary.target
    return CHAIN.follow(member.service, *targets, deadline)


def searches_in_vain(server: MongoDBServer) -> int:
    """How often it found no member to replicate from."""
    found = CONNECTIONS.command(server.service, server.target, {"serverStatus": 1})
    return int(found["metrics"]["repl"]["syncSource"]["numTimesCouldNotFind"])


def checkpoint(server: MongoDBServer) -> tuple[Timestamp, Timestamp]:
    """Up to where its last one goes, and what a majority is known to have."""
    found = CONNECTIONS.command(server.service, server.target, {"replSetGetStatus": 1})
    return found["lastStableRecoveryTimestamp"], found["optimes"]["lastCommittedOpTime"]["ts"]


def follows(leader: MongoDBServer) -> Callable[[ServerStatus], bool]:
    address = leader.target.address
    return lambda status: status.role is Role.STANDBY and status.believes_in == address


def settled(members: list[MongoDBServer]) -> tuple[MongoDBServer, ...]:
    """The primary and its standbys, once all of them are full members."""
    deadline = time.monotonic() + 60
    statuses: dict[str, ServerStatus] = {}
    while time.monotonic() < deadline:
        with contextlib.suppress(ServerError):
            statuses = {m.target.name: DRIVER.probe(m.service, m.target) for m in members}
            ordered = sorted(members, key=lambda m: statuses[m.target.name].role)
            primary, *standbys = ordered
            if statuses[primary.target.name].role is Role.PRIMARY and all(
                relation(standby, primary) is Relation.ATTACHED for standby in standbys
            ):
                return tuple(ordered)
        time.sleep(0.05)
    pytest.fail(f"no three full members after 60 s: {statuses}")


def relation(standby: MongoDBServer, primary: MongoDBServer) -> Relation:
    own = DRIVER.probe(standby.service, standby.target)
    led = DRIVER.probe(primary.service, primary.target)
    return DRIVER.replication.relate(standby.target, own, primary.target, led, [])


def join(server: MongoDBServer, primary: MongoDBServer) -> list[tuple[str, ServerStatus]]:
    """What the loop does until it is a full member, and everything seen on the way."""
    seen: list[tuple[str, ServerStatus]] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(ServerError):
            own = DRIVER.probe(server.service, server.target)
            led = DRIVER.probe(primary.service, primary.target)
            related = DRIVER.replication.relate(server.target, own, primary.target, led, [])
            if related is Relation.ATTACHED:
                return seen
            votes = server.target.address in json.loads(led.position["voting"])
            seen.append(("votes" if votes else "follows", own))
            if related is Relation.DETACHED:
                DRIVER.replication.attach(server.service, server.target, primary.target, [])
                seen.append(("attach", own))
        time.sleep(0.01)
    pytest.fail(f"{server.target.name} is no full member after 60 s: {seen[-1:]}")


def renew(server: MongoDBServer) -> None:
    """Start it again at the same address with nothing of its data."""
    DRIVER.forget(server.target)
    server.container.remove(force=True)
    server.client.volumes.get(server.volume).remove(force=True)
    server.client.volumes.create(server.volume, labels={LABEL: "1"})
    server.start()


@contextlib.contextmanager
def paused(server: MongoDBServer) -> Iterator[None]:
    server.container.pause()
    try:
        yield
    finally:
        server.container.unpause()
