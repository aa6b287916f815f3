"""The arithmetic of drills, from records to what is reported; and what is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import docker
import pytest

from hamanager.api.views import (
    DesiredView,
    DurabilityView,
    InstanceState,
    InstanceView,
    MemoryView,
    ServiceState,
    ServiceView,
    UpgradeView,
)
from hamanager.chaos.drill.local import LocalService
from hamanager.chaos.drill.rounds import Round, Trace, failures, measure, median, worst
from hamanager.chaos.drill.run import is_lossless, refusal
from hamanager.chaos.drill.values import Measures, RoundResult
from hamanager.chaos.faults import Faults
from hamanager.chaos.watch import Look, Looks, Seen, duplicates, rivals
from hamanager.chaos.workload import Acknowledged
from hamanager.errors import HamanagerError, NotFoundError
from hamanager.model.durability import Durability
from hamanager.model.history import HistoryEntry
from hamanager.model.order import Order, OrderKind, OrderResult
from hamanager.model.record import ServiceRecord
from hamanager.model.spec import Spec
from hamanager.stores.repository import save_record, save_spec
from hamanager.stores.sqlite import SqliteStore
from tests.support.altered import altered

EPOCH = 1_790_000_000.0
FAULT = 100.0
"""Monotonic seconds."""


def entry(
    after_fault: float, kind: str, playbook: str = "", text: str = "", ok: bool = True
) -> HistoryEntry:
    at = EPOCH + FAULT + after_fault
    return HistoryEntry(at=at, service="db", kind=kind, playbook=playbook, text=text, ok=ok)


def writes(*pairs: tuple[float, str]) -> list[Acknowledged]:
    """Of moments since the fault and instances."""
    return [Acknowledged(n, FAULT + at, name) for n, (at, name) in enumerate(pairs, 1)]


def looks(**seen: str) -> Looks:
    """One letter a look, every 0.1 s: P(rimary), S(tandby), D(own); the servers are asked one
    after the other."""
    letters = {"P": Seen.PRIMARY, "S": Seen.STANDBY, "D": Seen.DOWN}
    return {
        name.replace("_", "."): [
            Look(0.1 * n + 0.01 * index, 0.1 * n + 0.01 * index + 0.005, letters[letter])
            for n, letter in enumerate(word)
        ]
        for index, (name, word) in enumerate(seen.items())
    }


FAILED_OVER = [
    entry(-5.0, "decision", "attach", "attach db.1: it is empty"),
    entry(0.030, "note"),
    entry(0.040, "decision", "fail over", "fail over db.1: db.0: its process has ended"),
    entry(0.050, "step", "fail over"),
    entry(0.060, "outcome", "fail over", "fail over db.1: done"),
    entry(0.700, "outcome", "start instance", "start instance db.0: done"),
]


def trace(**changes: object) -> Trace:
    filled: dict[str, object] = {
        "number": 1,
        "instance": "db.0",
        "primary": "db.1",
        "fault_at": FAULT,
        "undone_at": None,
        "healthy_at": FAULT + 2.5,
        "recovered": True,
        "ended_at": FAULT + 4.0,
        "epoch_at_zero": EPOCH,
        "writes": writes(
            (-1.0, "db.0"), (-0.9, "db.0"), (0.001, "db.0"), (0.080, "db.1"), (4.0, "db.1")
        ),
        "looks": {},
        "history": FAILED_OVER,
        "lost": 0,
        "message": "nothing to do",
        **changes,
    }
    return Trace(**filled)  # type: ignore[arg-type]


# --- One round ----------------------------------------------------------------------------------


def test_a_fail_over() -> None:
    result = measure(trace()).result
    assert result.detect_seconds == 0.04
    assert result.promote_seconds == 0.06
    assert result.first_write_seconds == 0.08
    assert result.first_write_on == "db.1"
    assert result.healthy_seconds == 2.5
    assert result.acknowledged == 5
    assert result.fault_at == EPOCH + FAULT
    assert result.recovered
    assert result.message == ""


def test_a_failed_promotion_and_one_of_the_old_primary_do_not_count() -> None:
    history = [
        entry(0.1, "outcome", "fail over", "fail over db.1: failed", ok=False),
        entry(0.2, "outcome", "adopt", "adopt db.0: done"),
        entry(0.3, "outcome", "resume", "resume db.0: done"),
    ]
    assert measure(trace(history=history)).result.promote_seconds is None
    elected = entry(0.4, "outcome", "adopt", "adopt db.2: done")
    assert measure(trace(history=[*history, elected])).result.promote_seconds == 0.4


def test_nothing_happened() -> None:
    steady = writes(*[(0.1 * n - 1, "db.0") for n in range(30)])
    quiet = trace(writes=steady, history=[], healthy_at=None, primary="db.0", ended_at=FAULT + 1.9)
    result = measure(quiet).result
    assert result.detect_seconds is None
    assert result.promote_seconds is None
    assert result.first_write_seconds is None
    assert result.healthy_seconds is None
    assert result.longest_gap_seconds == pytest.approx(0.1)


def test_the_same_primary_takes_writes_again() -> None:
    pairs = [(0.1 * n - 1, "db.0") for n in range(10)] + [(0.8, "db.0"), (0.9, "db.0")]
    result = measure(trace(writes=writes(*pairs), history=[], ended_at=FAULT + 1)).result
    assert result.first_write_seconds == 0.8
    assert result.first_write_on == "db.0"
    assert result.longest_gap_seconds == pytest.approx(0.9)


def test_the_gap_before_the_fault_does_not_count_and_an_open_one_does() -> None:
    early = writes((-9.0, "db.0"), (-1.0, "db.0"), (0.2, "db.1"), (0.3, "db.1"))
    assert measure(trace(writes=early, ended_at=FAULT + 1)).result.longest_gap_seconds == 1.2
    assert measure(trace(writes=early, ended_at=FAULT + 9)).result.longest_gap_seconds == 8.7
    assert measure(trace(writes=[])).result.longest_gap_seconds is None


def test_a_round_that_did_not_recover_says_what_the_manager_said() -> None:
    result = measure(trace(recovered=False, healthy_at=None, message="no standby is left")).result
    assert result.message == "no standby is left"
    assert failures([result], 0, lossless=False) == [
        "round 1: not healthy again within two minutes (no standby is left)"
    ]


# --- Two primaries ------------------------------------------------------------------------------


def test_a_change_of_primary_is_not_two_primaries() -> None:
    assert duplicates(looks(db_0="PPPDDSS", db_1="SSSPPPP")) == []
    assert duplicates(looks(db_0="PPPSSSS", db_1="SSPPPPP")) == []  # in the same turn
    assert duplicates(looks(db_0="PPPPDSS", db_1="SSSPPPP")) == []


def test_two_primaries_are_seen() -> None:
    assert duplicates(looks(db_0="PPPPPSS", db_1="SSPPPPP")) == pytest.approx(
        [0.21, 0.3, 0.31, 0.4]
    )
    woken = duplicates(looks(db_0="PPDDPDS", db_1="SSPPPPP"))
    assert woken == pytest.approx([0.4]), "one look at the old one, between looks at the new one"


def test_only_the_newest_term_of_an_electing_set_counts() -> None:
    old = [Look(k.asked_at, k.answered_at, k.seen, 1) for k in looks(x="PPPPPPP")["x"]]
    new = [Look(k.asked_at, k.answered_at, k.seen, 2) for k in looks(x="SSPPPPP")["x"]]
    assert duplicates({"db.0": old, "db.1": new}) == []


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, ()),
        ({"db.0": 0}, ()),
        ({"db.1": 0, "db.0": 0}, ("db.0", "db.1")),
        ({"db.0": 1, "db.1": 2}, ()),
        ({"db.0": 2, "db.1": 1, "db.2": 2}, ("db.0", "db.2")),
    ],
)
def test_at_one_moment(terms: dict[str, int], expected: tuple[str, ...]) -> None:
    assert rivals(terms) == expected


def test_who_does_not_answer_in_between_proves_nothing() -> None:
    assert duplicates(looks(db_0="SSPSSSS", db_1="PPDPPPP")) == []


# --- All rounds ---------------------------------------------------------------------------------


def test_median_and_worst_leave_out_what_did_not_happen() -> None:
    rounds = [
        Measures(detect_seconds=0.1, healthy_seconds=3.0),
        Measures(detect_seconds=0.3, healthy_seconds=1.0),
        Measures(detect_seconds=None, healthy_seconds=2.0),
    ]
    assert median(rounds) == Measures(detect_seconds=0.2, healthy_seconds=2.0)
    assert worst(rounds) == Measures(detect_seconds=0.3, healthy_seconds=3.0)


def test_what_makes_a_drill_fail() -> None:
    def result(done: Round, **changes: object) -> RoundResult:
        return altered(done.result, **changes)

    done = measure(trace())
    assert failures([done.result], 0, lossless=True) == []
    lost = result(done, lost=3)
    assert failures([lost], 3, lossless=False) == [], "this engine does not promise it"
    assert failures([lost], 3, lossless=True) == [
        "round 1: 3 acknowledged writes lost, although the service promises none"
    ]
    assert failures([result(done, duplicate_primaries=1)], 0, lossless=False) == [
        "round 1: two servers took writes at once, in 1 look"
    ]
    assert failures([done.result], 2, lossless=True) == [
        "2 acknowledged writes of earlier rounds lost by the end of the drill"
    ]
    assert "could not be asked" in failures([done.result], None, lossless=False)[0]


# --- Refusals -----------------------------------------------------------------------------------


def view(**changes: object) -> ServiceView:
    """A service that a drill may be begun with."""
    names = ("db.0", "db.1")
    filled: dict[str, object] = {
        "name": "db",
        "engine": "mysql",
        "version": "8.4",
        "state": ServiceState.RUNNING,
        "desired": DesiredView(instances=2, memory_bytes=None),
        "primary": "db.0",
        "term": 1,
        "url": None,
        "instances": [
            InstanceView(
                name=name,
                role="primary" if name == "db.0" else "standby",
                state=InstanceState.UP,
                address="10.0.0.1:7000",
                lag_seconds=None,
                sync=None,
                memory=MemoryView(reserved_bytes=None, used_bytes=None),
            )
            for name in names
        ],
        "last_failover": None,
        "created_at": EPOCH,
        "allow_drills": True,
        **changes,
    }
    return ServiceView(**filled)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"allow_drills": False}, "`hamanager set db --allow-drills` marks it"),
        ({"paused": True}, "paused"),
        ({"destroying": True}, "being destroyed"),
        ({"desired": DesiredView(instances=1, memory_bytes=None)}, "has one instance"),
        ({"desired": DesiredView(instances=3, memory_bytes=None)}, "begins with a healthy"),
        ({"state": ServiceState.DEGRADED}, "but db: degraded"),
        ({"upgrade": UpgradeView(to="x:2", done=[], left=["db.0"])}, "being upgraded to x:2"),
    ],
)
def test_what_is_refused(changes: dict[str, object], words: str) -> None:
    sentence = refusal(view(**changes))
    assert sentence is not None
    assert words in sentence
    assert sentence.endswith("nothing was done")


def test_while_an_instance_is_being_restarted_it_is_refused() -> None:
    whole = view()
    restarting = altered(whole.instances[1], restarting=True)
    sentence = refusal(view(instances=[whole.instances[0], restarting]))
    assert sentence == "db.1 of 'db' is being restarted; nothing was done"


def test_while_an_order_is_under_way_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path))
    with closing(SqliteStore(tmp_path / "hamanager.db")) as store:
        order = Order(number=2, kind=OrderKind.SWITCHOVER, asked_at=EPOCH)
        spec = Spec(name="db", engine="redis", instances=2, image="i", created_at=EPOCH)
        save_spec(store, spec.ordering(order), 0)
        with LocalService("db") as service:
            assert service.refusal() == "a switchover of 'db' is under way; nothing was done"
            done = OrderResult(number=2, ok=True, text="done", at=EPOCH)
            save_record(store, "db", ServiceRecord(order_result=done), 0)
            assert service.refusal() is None


def test_what_is_not_refused() -> None:
    assert refusal(view()) is None


def test_who_promises_to_lose_nothing() -> None:
    def promises(mode: Durability, synchronized: list[str] | None) -> bool:
        durability = DurabilityView(mode=mode, synchronized=synchronized, lost_at=None, note="")
        return is_lossless(view(durability=durability))

    assert promises(Durability.AVAILABILITY, ["db.1"])
    assert promises(Durability.MAJORITY, None)
    assert not promises(Durability.AVAILABILITY, None)
    assert not promises(Durability.STRICT, None)


def test_it_runs_where_the_daemon_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMANAGER_HOME", str(tmp_path / "state"))
    with pytest.raises(HamanagerError, match="no daemon keeps its state in"):
        LocalService("db")
    assert not (tmp_path / "state").exists()
    SqliteStore(tmp_path / "state" / "hamanager.db").close()
    with pytest.raises(NotFoundError, match="there is no service 'db'"):
        LocalService("db")


def test_a_primary_on_another_machine_is_not_broken_from_here() -> None:
    nothing = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: []))
    words = "db.0 has no container on this machine, .* use the manager that runs there; nothing was"
    with pytest.raises(NotFoundError, match=words):
        Faults(cast("docker.DockerClient", nothing), "0f3a9c11").look_for("db.0")
