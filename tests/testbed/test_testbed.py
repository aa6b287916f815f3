"""The test bed does to its hosts what it says, and leaves nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.support.images import image_of
from tests.testbed import Host, Process, Testbed, why_not
from tests.testbed.namespaces import MARK
from tests.testbed.process import TestbedError, command_lines, sh, wait_until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

PORT = 7000
SERVER = f"""
import socket
server = socket.create_server(("", {PORT}))
while True:
    connection, _ = server.accept()
    connection.send(b"hello")
    connection.close()
"""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with closing(docker.from_env()) as here:
        images = [image_of(here, "redis")]
    with Testbed(hosts=2, images=images) as made:
        yield made


@pytest.fixture
def pair(bed: Testbed) -> Iterator[tuple[Host, Host]]:
    """Two hosts that are up; the first one serves."""
    for host in bed.hosts:
        if not host.runs:
            host.start()
        host.heal()
    first, second = bed.hosts
    server = serve(first)
    yield first, second
    if server.runs:
        server.kill()


def serve(host: Host) -> Process:
    server = host.run("server", sys.executable, "-c", SERVER)
    wait_until("the server to listen", 10, lambda: reaches(host, host))
    return server


def reaches(source: Host, target: Host, seconds: float = 0.5) -> bool:
    """Whether a process of the one is answered by the other's server."""
    code = f"import socket; s = socket.create_connection(('{target.address}', {PORT}), {seconds})"
    code += "; assert s.recv(5) == b'hello'"
    return source.call(sys.executable, "-S", "-c", code).returncode == 0


def test_hosts_have_engines_of_their_own_and_reach_each_other(pair: tuple[Host, Host]) -> None:
    first, second = pair
    ids = set()
    for host in pair:
        with closing(host.client()) as client:
            ids.add(client.info()["ID"])
    assert len(ids) == 2
    assert reaches(second, first)
    assert second.must("hostname").strip() == second.name
    assert "h1" in first.must("cat", "/etc/hosts")
    with socket.create_connection((first.address, PORT), 2) as from_here:
        assert from_here.recv(5) == b"hello"


def test_crash_ends_every_process_and_no_connection_is_closed_in_sight(
    pair: tuple[Host, Host],
) -> None:
    first, second = pair
    kept = first.path("kept")
    first.must("sh", "-c", f"echo it > {kept}")
    with socket.create_connection((first.address, 2375), 2) as open_connection:
        pids = first.processes()
        assert len(pids) >= 4  # the first one, dockerd, containerd, the server
        first.crash()
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        open_connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            open_connection.recv(1)
    assert not reaches(second, first)
    first.start()
    assert first.must("cat", str(kept)) == "it\n"
    serve(first)
    assert reaches(second, first)


@pytest.mark.long
def test_power_off_loses_what_was_not_synced(pair: tuple[Host, Host]) -> None:
    first, _ = pair
    synced, unsynced = first.path("synced"), first.path("unsynced")
    first.must("sh", "-c", f"echo it > {synced}; sync {synced} {first.disk}; echo it > {unsynced}")
    first.power_off()
    first.start()
    assert first.must("cat", str(synced)) == "it\n"
    assert first.call("cat", str(unsynced)).stdout != "it\n"


def test_cut_off_and_back(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.cut_off()
    assert not reaches(second, first)
    assert reaches(first, first)
    first.heal()
    assert reaches(second, first)


@pytest.mark.long
def test_cut_off_from_one_host_only(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.cut_off_from(second)
    assert not reaches(second, first)
    with socket.create_connection((first.address, PORT), 2) as from_here:
        assert from_here.recv(5) == b"hello"
    first.heal()
    assert reaches(second, first)


def test_hang_stops_every_process_until_it_is_woken(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.hang()
    assert not reaches(second, first)
    first.wake()
    assert reaches(second, first, 5)
    first.hang()
    first.crash()  # also one that hangs
    first.start()


@pytest.mark.long
def test_clean_shutdown_asks_everybody_to_end(pair: tuple[Host, Host]) -> None:
    first, _ = pair
    asked = first.path("asked")
    first.must("rm", "-f", str(asked))
    first.run("polite", "sh", "-c", f"trap 'echo yes > {asked}; exit' TERM; sleep 60 & wait")
    first.shut_down()
    assert not first.runs
    first.start()
    assert first.must("cat", str(asked)) == "yes\n"


@pytest.mark.long
def test_slow_network_loses_packets(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.slow(loss=0.5)
    said = second.call("ping", "-c", "40", "-i", "0.01", "-W", "1", first.address).stdout
    if said:  # else there is no ping here
        assert " 0% packet loss" not in said
        assert " 100% packet loss" not in said
    first.heal()
    assert reaches(second, first)


@pytest.mark.long
def test_engine_dies_and_comes_back_while_the_rest_lives(pair: tuple[Host, Host]) -> None:
    first, second = pair
    first.kill_engine()
    assert reaches(second, first)
    assert second.call("docker", "-H", first.docker_url, "version").returncode != 0
    first.start_engine()
    assert second.call("docker", "-H", first.docker_url, "version").returncode == 0


@pytest.mark.long
def test_a_container_is_reached_from_another_hosts_and_outlives_its_engine(
    bed: Testbed, pair: tuple[Host, Host]
) -> None:
    first, second = pair
    with closing(docker.from_env()) as here:
        image = image_of(here, "redis")
    with closing(first.client()) as client:
        server = client.containers.run(
            image,
            ["redis-server", "--protected-mode", "no"],
            detach=True,
            ports={"6379/tcp": (first.address, 6379)},
        )
        name = str(server.id)
        pid = client.api.inspect_container(name)["State"]["Pid"]
    assert pid  # in the host's own numbers
    ping = ("redis-cli", "-h", first.address, "ping")

    def answers() -> bool:
        done = second.call("docker", "run", "--rm", image, *ping)
        return done.stdout.strip() == "PONG"

    wait_until("the server to answer another host's container", 20, answers)
    assert len(first.processes()) > 6
    first.kill_engine()
    assert answers()
    first.start_engine()  # which ends it: that is how Docker is set by default
    first.crash()
    first.start()
    with closing(first.client()) as client:
        assert client.containers.get(name).status == "exited"
        client.containers.get(name).remove()


@pytest.mark.long
def test_unit_is_started_again_with_its_host(pair: tuple[Host, Host]) -> None:
    first, _ = pair
    unit = first.unit("sleeper", "sleep", "600")
    before = unit.process
    first.crash()
    assert not before.runs
    first.start()
    assert unit.process.runs
    unit.process.suspend()
    unit.process.resume()
    unit.process.kill()
    assert first.restart("sleeper").process.runs


@pytest.mark.timeout(120)
def test_nothing_is_left_when_whoever_made_it_is_killed() -> None:
    code = """
from tests.testbed import Testbed
import sys
with Testbed(hosts=1) as bed:
    print(bed.number, flush=True)
    bed.hosts[0].hang()
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        number = killed.stdout.readline().strip()
        time.sleep(0.5)
        killed.kill()
    assert number.isdecimal()
    try:
        with Testbed(hosts=1, number=int(number)):
            pass
    except TestbedError:
        return  # another one took the number just now, and has removed what was left
    mine = [MARK, number]
    assert not [w for _, w in command_lines() if w[-2:] == mine or mine == w[2:4]]
    assert f"hatb{number}" not in sh("ip", "link")
    assert not Path("/tmp").joinpath(f"{MARK}-{number}").exists()
