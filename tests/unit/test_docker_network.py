"""The network of an engine that runs without its userland proxy, and of one without room."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from docker import DockerClient
from docker.errors import APIError, NotFound

from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker import networks
from hamanager.runtimes.docker.names import Names
from hamanager.runtimes.docker.networks import BETWEEN_CONTAINERS, Network

ID = "0123456789abcdef"


class FakeEngine:
    """Of the engine's API what a network needs."""

    def __init__(self, *, refuses: str = "") -> None:
        self.refuses = refuses
        self.network: dict[str, Any] | None = None
        self.started: list[str] = []
        self.api = self

    def inspect_network(self, name: str) -> dict[str, Any]:
        if self.network is None:
            raise NotFound(f"no network {name}")
        return self.network

    def create_network(self, name: str, **options: Any) -> None:
        if self.refuses:
            raise APIError("refused", explanation=self.refuses)
        self.network = {
            "Id": ID,
            "Name": name,
            "Labels": options["labels"],
            "Options": options["options"],
            "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]},
        }

    def remove_network(self, name: str) -> None:
        self.network = None

    def start(self, name: str) -> None:
        self.started.append(name)

    def remove_container(self, name: str, **_: bool) -> None:
        self.started.remove(name)


@pytest.mark.parametrize(("hairpin", "between"), [("1", "true"), ("0", "false")])
def test_containers_are_kept_apart_where_their_published_ports_can_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hairpin: str, between: str
) -> None:
    port = tmp_path / f"br-{ID[:12]}" / "brif" / "veth0"
    port.mkdir(parents=True)
    (port / "hairpin_mode").write_text(f"{hairpin}\n")
    monkeypatch.setattr(networks, "INTERFACES", tmp_path)
    network, engine = Network(Names("m1")), FakeEngine()
    client = cast(DockerClient, engine)
    made: list[str] = []
    network.attach(client, made.append)
    network.start(client, "db-0", lambda: made.append("again"))
    assert engine.network is not None
    assert engine.network["Options"][BETWEEN_CONTAINERS] == between
    assert engine.started == ["db-0"]
    assert made == (["hamanager-m1", "again"] if hairpin == "1" else ["hamanager-m1"])
    network.start(client, "db-1", lambda: made.append("again"))
    assert engine.started == ["db-0", "db-1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("failed to add the host veth to sandbox bridge: exchange full", "carries 1023 containers"),
        ("no available IPv4 addresses on this network's address pools: n", r"10\.1\.0\.0/24"),
        ("the disk is full", None),
    ],
)
def test_a_network_without_room_is_told(words: str, told: str | None) -> None:
    network, engine = Network(Names("m1")), FakeEngine()
    client = cast(DockerClient, engine)
    network.attach(client, lambda _: None)
    full = network.full(client, APIError("refused", explanation=words))
    if told is None:
        assert full is None
    else:
        assert full is not None
        assert full.permanent
        with pytest.raises(RuntimeFailedError, match=told):
            raise full


@pytest.mark.parametrize(
    "words",
    [
        "could not find an available, non-overlapping IPv4 address pool among the defaults",
        "all predefined address pools have been fully subnetted",
    ],
)
def test_an_engine_without_a_range_of_addresses_left_is_told(words: str) -> None:
    network, engine = Network(Names("m1")), FakeEngine(refuses=words)
    with pytest.raises(RuntimeFailedError, match=r"no range of addresses left.*HAMANAGER_NETWORK"):
        network.attach(cast(DockerClient, engine), lambda _: None)
