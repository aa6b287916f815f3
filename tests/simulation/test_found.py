"""Histories that the search found, as small as it made them."""

from __future__ import annotations

from hamanager.model.order import OrderKind
from tests.simulation.histories import begun


def test_what_waits_for_a_persons_discard_does_not_stop_it() -> None:
    """Two standbys break again and again, until five sets of data are kept."""
    simulation = begun("lossless, availability", 3)
    simulation.events(
        ("break", "db.0"),
        ("pass and be suspended", 0),
        ("pass and be suspended", 0),
        ("break", "db.0"),
        ("break", "db.1"),
        ("pass and be suspended", 0),
        ("pass and be suspended", 0),
        ("break", "db.0"),
        ("pass and be suspended", 0),
        ("break", "db.1"),
        ("pass and be suspended", 0),
        ("break", "db.0"),
        ("pass and be suspended", 0),
    )
    simulation.settle()


def test_a_standby_that_joins_lets_writes_wait_for_no_fewer() -> None:
    """Two members could not leave in the engine, as the third is silent; one of them joins anew."""
    simulation = begun("lossless, strict", 4)
    simulation.events(("cut off", "db.2"), ("hang", "db.3"), ("hang", "db.1"), ("live", 10))
    simulation.settle()


def test_a_standby_that_has_not_followed_the_new_primary_yet_is_in_nobodys_way() -> None:
    """It received from the former one what nobody else has, and waits for its turn to be rebuilt
    when the new one is restarted."""
    simulation = begun("asynchronous, strict", 3)
    simulation.events(("kill", "db.0"), ("switchover", "db.0"), ("live", 8), ("kill", "db.1"))
    simulation.settle()


def test_a_service_does_not_wait_for_the_promotion_of_one_that_was_removed() -> None:
    """Its failover was begun and failed, the primary came back, and it went with `scale`."""
    simulation = begun("asynchronous, strict", 2)
    simulation.events(
        ("hang", "db.0"),
        ("runtime down", True),
        ("pass and be suspended", 0),
        ("kill", "db.1"),
        ("scale", 1),
    )
    simulation.settle()


def test_a_majoritys_word_survives_a_power_failure() -> None:
    simulation = begun("electing", 3)
    simulation.events(("lose power", "db.1"), ("cut link", "db.0"), ("live", 1))
    simulation.settle()


def test_an_errant_standby_and_an_empty_primary_wait_for_a_person() -> None:
    simulation = begun("lossless, strict", 3)
    simulation.events(("write on standby", "db.1"), ("write", 0), ("lose a copy", "db.0"))
    simulation.settle()


def test_an_address_that_cannot_be_changed_holds_up_no_failover() -> None:
    """The old primary hangs, and neither it nor the address can be reached; its clients wait there
    until the address is right again, as it can acknowledge nothing without its standby."""
    simulation = begun("lossless, strict", 2)
    simulation.events(("runtime down", True), ("names lost", True), ("hang", "db.0"), ("live", 5))
    assert simulation.record.primary == "db.1"
    simulation.settle()
    assert simulation.world.led_to("db") == ("db.1",)


def test_ending_clients_that_wait_lets_nobody_acknowledge_who_left() -> None:
    """One was taken out of the sync set and could not be told; the other one hangs, and so many
    writes wait that their clients are ended."""
    simulation = begun("lossless, strict", 3)
    simulation.busy = 1
    simulation.events(("runtime down", True), ("hang", "db.2"), ("cut off", "db.1"), ("live", 6))
    simulation.settle()


def test_a_standby_that_has_just_attached_is_not_upgraded_while_another_is_missing() -> None:
    """It runs from another image than its primary, but it is not too old: it is attached."""
    simulation = begun("asynchronous, strict", 3)
    simulation.busy = 1
    simulation.events(
        ("upgrade", 1),
        ("live", 4),
        ("break", "db.1"),
        ("pass amid", (3, "kill", "db.0")),
        ("upgrade", 2),
        ("pass amid", (3, "kill", "db.0")),
        ("pass amid", (3, "break", "db.0")),
    )
    simulation.settle()


def test_one_that_lost_its_disk_in_the_middle_of_its_promotion_is_not_promoted() -> None:
    """The answer to the hand-over was lost. What the former primary has was acknowledged."""
    simulation = begun("lossless, availability", 2)
    simulation.events(
        ("switchover", "db.1"),
        ("pass amid", (0, "lose a copy", "db.0")),
        ("pass", 0),
        ("pass", 0),
        ("pass amid", (0, "runtime down", True)),
        ("switchover", "db.0"),
        ("pass with a lost answer", 2),
        ("lose a copy", "db.0"),
    )
    simulation.settle()


def test_an_upgrade_that_was_changed_while_it_began_is_gone_back_to() -> None:
    """An older image was asked for the moment before the first instance used the newer one."""
    simulation = begun("electing", 2)
    simulation.events(
        ("upgrade", 3),
        ("pass amid", (0, "cut link", "db.0")),
        ("pass amid", (0, "upgrade", 2)),
    )
    simulation.settle()


def test_health_is_not_judged_by_a_look_from_before_an_instance_was_there() -> None:
    """The manager that has just taken over has not seen it yet."""
    simulation = begun("lossless, strict", 1)
    simulation.events(("pass", 0), ("pass and be suspended", 0), ("scale", 3))
    simulation.settle()


def test_what_is_set_aside_after_an_order_to_discard_all_is_kept() -> None:
    """Nobody has seen it yet when the order's turn comes."""
    simulation = begun("lossless, availability", 3)
    simulation.event("write on standby", "db.1")
    simulation.settle()
    [seen] = simulation.record.retained
    simulation.order(OrderKind.DISCARD)
    simulation.events(
        ("runtime out", frozenset({"discard_volume"})), ("write on standby", "db.2"), ("live", 10)
    )
    simulation.settle()
    [kept] = simulation.record.retained
    assert (seen.instance, kept.instance) == ("db.1", "db.2")


def test_a_start_by_somebody_else_from_the_former_image_is_no_upgrade() -> None:
    """The manager's own start, noted already, had failed."""
    simulation = begun("lossless, strict", 4)
    simulation.busy = 234
    simulation.passes_meanwhile = 2
    simulation.meanwhile = [("write", 0)]
    simulation.events(
        ("lose power", "db.3"),
        ("live", 4),
        ("write", 2),
        ("upgrade", 3),
        ("pass amid", (2, "runtime out", frozenset({"start", "memory_used"}))),
        ("lose power", "db.0"),
        ("runtime out", frozenset({"remove", "memory_used"})),
        ("live", 5),
        ("live", 5),
        ("runtime out", frozenset({"start", "file_names"})),
        ("pass amid", (16, "write", 1)),
        ("live", 7),
        ("lose power", "db.2"),
        ("runtime out", frozenset({"start", "file_names"})),
        ("start by somebody else", "db.2"),
    )
    simulation.settle()


def test_a_manager_that_is_new_takes_the_word_of_the_standbys_for_how_long_it_is_silent() -> None:
    """Their link had broken before the primary hung, which it cannot know."""
    simulation = begun("lossless, availability", 2)
    simulation.events(
        ("stall link", "db.1"),
        ("live", 2),
        ("hang", "db.0"),
        ("new manager", 0),
        ("live", 2),
    )
    simulation.settle()


def test_a_service_of_one_tells_that_its_upgrade_has_stopped() -> None:
    """Its data went to the newer version, which nobody wants any more, and the older one ends as
    soon as it is started."""
    simulation = begun("asynchronous, strict", 1)
    simulation.events(("upgrade", 2), ("pass", 0), ("pass amid", (0, "upgrade", 1)))
    simulation.settle()
