"""Several managers on one store: who is dead, who leads, and what a mistake there costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hamanager.daemon.leading import Leading
from hamanager.decide.leading import (
    ANSWERING_SECONDS,
    DEAD_SECONDS,
    LATE_SECONDS,
    LOOK_SECONDS,
    SETTLED_SECONDS,
    TAKEOVER_SECONDS,
    VALID_SECONDS,
    Looks,
    is_dead,
    may_claim,
    preferred,
    sighted,
    successor,
)
from hamanager.errors import ConflictError, StaleVersionError, StoreError
from hamanager.model.spec import Spec
from hamanager.stores.managers import load_manager, manager_key
from hamanager.stores.repository import forget_service, lock_key, save_spec
from tests.simulation.power import SimClock
from tests.support.managers import manager
from tests.support.memory_store import MemoryStore

# --- Which one should lead ------------------------------------------------------------------------

SERVICES = [f"s{number}" for number in range(300)]


def test_each_manager_gets_its_share_and_one_that_goes_moves_no_other() -> None:
    three = {service: preferred(service, ["a", "b", "c"]) for service in SERVICES}
    for name in ("a", "b", "c"):
        assert 70 < sum(led == name for led in three.values()) < 130
    for service, led in three.items():
        if led != "c":
            assert preferred(service, ["b", "a"]) == led
    assert preferred("s", []) is None


def test_whoever_should_lead_takes_at_once_and_others_a_little_later() -> None:
    best = preferred("db", ["a", "b"])
    other = "b" if best == "a" else "a"
    assert best is not None
    assert may_claim("db", best, [other], 0.0)
    assert not may_claim("db", other, [best], LATE_SECONDS / 2)
    assert may_claim("db", other, [best], LATE_SECONDS)
    assert may_claim("db", other, [], 0.0)


def test_a_service_is_handed_over_to_one_that_has_lived_for_a_while() -> None:
    best = preferred("db", ["a", "b"])
    other = "b" if best == "a" else "a"
    assert best is not None
    assert successor("db", other, {best: SETTLED_SECONDS}) == best
    assert successor("db", other, {best: SETTLED_SECONDS / 2}) is None
    assert successor("db", best, {other: SETTLED_SECONDS}) is None
    assert successor("db", other, {}) is None


# --- Which one is dead ----------------------------------------------------------------------------


def looked(*looks: tuple[float, int], seconds: float = 0.0) -> tuple[bool, float]:
    """What comes of looks that begin then and see that version; and when the last one ended."""
    seen, so_far = None, Looks()
    for at, version in looks:
        so_far = so_far.after(at, at + seconds)
        seen = sighted(seen, version, at, at + seconds)
    assert seen is not None
    return is_dead(seen, so_far), looks[-1][0] + seconds


def every(since: float, until: float, version: int = 1) -> list[tuple[float, int]]:
    count = int((until - since) / LOOK_SECONDS)
    return [(since + number * LOOK_SECONDS, version) for number in range(count + 1)]


def test_a_row_that_does_not_change_is_that_of_a_dead_manager() -> None:
    assert not looked(*every(0, DEAD_SECONDS - LOOK_SECONDS))[0]
    assert looked(*every(0, DEAD_SECONDS))[0]
    assert not looked(*every(0, DEAD_SECONDS), (DEAD_SECONDS + 0.5, 2))[0]


def test_it_counts_from_the_end_of_the_look_that_saw_it_first() -> None:
    """The row may have been written while that look was under way."""
    assert not looked(*every(0, DEAD_SECONDS), seconds=0.2)[0]
    assert looked(*every(0, DEAD_SECONDS + LOOK_SECONDS), seconds=0.2)[0]


def test_after_the_store_was_away_whoever_lives_has_time_to_say_so() -> None:
    before, back = every(0, 1), 20.0
    assert not looked(*before, *every(back, back + ANSWERING_SECONDS - LOOK_SECONDS))[0]
    assert looked(*before, *every(back, back + ANSWERING_SECONDS))[0]
    seen = sighted(sighted(None, 1, 0, 0), 1, 20, 20)
    assert not is_dead(seen, Looks())


def test_a_store_that_answered_slowly_did_not_answer() -> None:
    so_far = Looks().after(0, 0).after(0.5, 0.5).after(1, 6)
    assert so_far.answering_since == 6


# --- Sessions -------------------------------------------------------------------------------------


class Bench:
    """Managers on one store, a clock, and what is wrong with the store for some of them."""

    def __init__(self) -> None:
        self.inner, self.clock = MemoryStore(), SimClock()
        self.away: set[str] = set()
        self.asleep: set[str] = set()
        self.managers: dict[str, Leading] = {}
        save_spec(self.inner, Spec(name="db", engine="e", instances=1, image="i", created_at=0), 0)

    def start(self, name: str, place: str = "", *, alone: bool = False) -> Leading:
        store = Reached(self.inner, lambda: name in self.away)
        made = manager(
            *(store, self.clock, name),  # type: ignore[arg-type]
            place=place,
            alone=alone,
            sleep=self.pass_time,
        )
        self.managers[name] = made
        return made

    def pass_time(self, seconds: float) -> None:
        until = self.clock.seconds + seconds
        beats = dict.fromkeys(self.managers, self.clock.seconds)
        while self.clock.seconds < until:
            self.clock.sleep(LOOK_SECONDS / 2)
            for name, led in self.managers.items():
                if name not in self.asleep:
                    if beats[name] <= self.clock.seconds:
                        beats[name] = self.clock.seconds + led.beat()
                    led.look()

    def leaders(self) -> list[str]:
        """Who takes itself for the leader, when everybody has asked."""
        for name, led in self.managers.items():
            if name not in self.asleep:
                led.lead("db")
        return [name for name, led in self.managers.items() if led.lock_of("db").is_held]


class Reached:
    """A store, unless it is away for this one."""

    def __init__(self, inner: MemoryStore, is_away: Callable[[], bool]) -> None:
        self._inner, self._is_away = inner, is_away

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> object:
            if self._is_away():
                raise StoreError("the store does not answer")
            return getattr(self._inner, name)(*arguments)

        return call


@pytest.fixture
def bench() -> Bench:
    return two_managers()


def two_managers() -> Bench:
    """The first one leads, and should."""
    made = Bench()
    made.start("a")
    made.start("b")
    assert preferred("db", ["a", "b"]) == "a"
    assert made.leaders() == ["a"]
    return made


@pytest.mark.parametrize("ends", [lambda bench: bench.asleep.add("a"), lambda b: b.away.add("a")])
def test_a_manager_that_is_silent_is_followed_by_another_in_time(
    bench: Bench, ends: Callable[[Bench], None]
) -> None:
    bench.pass_time(10)
    ends(bench)
    bench.pass_time(VALID_SECONDS)
    assert bench.leaders() == []
    bench.pass_time(TAKEOVER_SECONDS - VALID_SECONDS)
    assert bench.leaders() == ["b"]
    (dead, alive) = bench.managers["b"].view()
    assert (dead.name, dead.alive, alive.name, alive.leads) == ("a", False, "b", ["db"])


def test_one_that_wakes_up_does_nothing_more_and_gets_its_services_back(bench: Bench) -> None:
    bench.asleep.add("a")
    bench.pass_time(TAKEOVER_SECONDS)
    assert bench.leaders() == ["b"]
    bench.asleep.clear()
    assert bench.leaders() == ["b"], "before it has given a sign of life"
    bench.pass_time(5)
    assert bench.leaders() == ["b"]
    assert not bench.managers["b"].hand_over("db"), "it has not lived for long"
    bench.pass_time(SETTLED_SECONDS)
    assert bench.managers["b"].hand_over("db")
    assert not bench.managers["b"].lead("db")
    bench.pass_time(1)
    assert bench.leaders() == ["a"]


def test_its_own_clock_stood_still(bench: Bench) -> None:
    """As that of a virtual machine that was halted: it learns of it by its next sign of life."""
    held = bench.managers["a"].lock_of("db")
    bench.asleep.add("a")
    bench.pass_time(TAKEOVER_SECONDS)
    assert bench.leaders() == ["b"]
    bench.managers["a"].session._state = 1, bench.clock.seconds + 1
    held.assure(held.tenure)
    bench.managers["a"].beat()
    assert not held.is_held
    assert bench.leaders() == ["b"]


def test_a_manager_that_ends_is_followed_at_once(bench: Bench) -> None:
    bench.managers["a"].end()
    bench.asleep.add("a")
    bench.managers["b"].look()
    assert bench.leaders() == ["b"]
    assert [view.name for view in bench.managers["b"].view()] == ["b"]


def test_one_that_is_started_again_leads_at_once(bench: Bench) -> None:
    """Nobody else can be in its state directory."""
    bench.start("a")
    assert bench.leaders() == ["a"]


def test_a_copy_of_its_state_directory_does_not_get_in(bench: Bench) -> None:
    with pytest.raises(ConflictError, match="another manager called 'a' is alive"):
        bench.start("a", place="elsewhere")
    assert bench.leaders() == ["a"]


def test_a_copy_gets_in_when_the_other_one_is_dead(bench: Bench) -> None:
    bench.asleep.update({"a", "b"})
    began, dead = bench.clock.seconds, bench.managers["a"]
    bench.start("a", place="elsewhere")
    assert bench.clock.seconds - began >= DEAD_SECONDS
    with pytest.raises(StaleVersionError):
        dead.session.renew()
    with pytest.raises(ConflictError):
        dead.session.renew()


def test_a_store_that_was_away_for_all_ends_nobody(bench: Bench) -> None:
    bench.pass_time(3)
    bench.away.update({"a", "b"})
    bench.pass_time(30)
    assert bench.leaders() == []
    assert "this manager has lost the store" in bench.managers["a"].problem
    bench.away.clear()
    bench.pass_time(6)
    assert bench.leaders() == ["a"]
    assert bench.managers["a"].problem == ""
    assert all(view.alive for view in bench.managers["b"].view())


def test_a_session_that_ran_out_begins_another_tenure_though_nobody_took_its_lock(
    bench: Bench,
) -> None:
    lock = bench.managers["a"].lock_of("db")
    tenure = lock.tenure
    bench.away.add("a")
    bench.pass_time(VALID_SECONDS)
    bench.away.clear()
    bench.managers["a"].beat()
    assert not lock.is_held
    assert bench.leaders() == ["a"]
    with pytest.raises(StaleVersionError):
        lock.assure(tenure)
    lock.assure(lock.tenure)


def test_whoever_wanted_to_take_over_comes_too_late_when_the_owner_is_back(bench: Bench) -> None:
    """It had found the owner dead, and was suspended before it took the lock."""
    bench.asleep.add("a")
    bench.pass_time(TAKEOVER_SECONDS)
    second = bench.managers["b"]
    put = bench.inner.put

    def late(key: str, value: str, expected: int) -> int:
        if key == lock_key("db"):
            bench.inner.put = put  # type: ignore[method-assign]
            for _ in range(2):  # the first one tells it
                bench.managers["a"].beat()
            assert bench.managers["a"].lead("db")
        return put(key, value, expected)

    bench.inner.put = late  # type: ignore[method-assign]
    assert not second.lead("db")
    assert bench.leaders() == ["a"]


def test_an_owner_that_gives_a_sign_of_life_at_that_moment_is_not_ended(bench: Bench) -> None:
    bench.asleep.add("a")
    bench.pass_time(TAKEOVER_SECONDS)
    get = bench.inner.get

    def late(key: str) -> object:
        found = get(key)
        if key == manager_key("a"):
            bench.inner.get = get  # type: ignore[method-assign]
            bench.managers["a"].session.renew()
        return found

    bench.inner.get = late  # type: ignore[method-assign, assignment]
    assert not bench.managers["b"].lead("db")
    row = load_manager(bench.inner, "a")
    assert row is not None
    assert row[0].ended_at is None


def test_an_answer_that_was_lost_costs_nothing(bench: Bench) -> None:
    lock = bench.managers["a"].lock_of("db")
    put = bench.inner.put

    def unanswered(key: str, value: str, expected: int) -> int:
        put(key, value, expected)
        raise StoreError("the answer was lost")

    bench.inner.put = unanswered  # type: ignore[method-assign]
    assert bench.managers["a"].beat() < 1
    bench.inner.put = put  # type: ignore[method-assign]
    bench.pass_time(10)
    assert lock.is_held


def test_a_service_that_is_no_more_is_not_led(bench: Bench) -> None:
    forget_service(bench.inner, "db")
    bench.managers["a"].leave("db")
    assert bench.leaders() == []
    assert bench.inner.keys("services/") == []


def test_a_manager_that_is_alone_writes_once_and_leads_what_any_other_led(bench: Bench) -> None:
    bench.asleep.update({"a", "b"})
    only = bench.start("c", alone=True)
    assert bench.leaders() == ["a", "c"]
    row = load_manager(bench.inner, "c")
    bench.pass_time(300)
    assert load_manager(bench.inner, "c") == row
    assert only.lock_of("db").is_held
    bench.clock.sleep(61)
    assert not only.lock_of("db").is_held, "it was suspended, and looks anew"
    only.beat()
    assert bench.leaders() == ["c"]
    assert [view.name for view in only.view() if view.alive] == ["c"]
