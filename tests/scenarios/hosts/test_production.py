"""docs/production.md followed as it stands, from bare machines to a service, and through what an
operator does with it afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from hamanager.chaos.services import wait_for
from tests.scenarios.harness import RESULTS, Result
from tests.scenarios.hosts.installation import (
    ROOT,
    Installation,
    application,
    fail_over,
    following,
    lose_a_machine,
)
from tests.support.images import image_of
from tests.testbed import why_not
from tests.testbed.document import CHECKOUT
from tests.testbed.etcd import why_no_etcd

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(why_not() or why_no_etcd()), reason=why_not() or why_no_etcd()),
]

DOCUMENT = ROOT / "docs" / "production.md"


@pytest.fixture
def images() -> Iterator[dict[str, str]]:
    """In place of the document's; the next version is the same with another label."""
    with closing(docker.from_env()) as here:
        mysql, haproxy = image_of(here, "mysql"), image_of(here, "haproxy")
        following = f"hamanager-production:{os.getpid()}"
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", following, "-"],
            input=f"FROM {mysql}\nLABEL following=1\n",
            text=True,
            check=True,
            capture_output=True,
            timeout=60,
        )
        try:
            yield {"mysql:8.4.6": mysql, "haproxy:3": haproxy, "mysql:8.4.7": following}
        finally:
            here.images.remove(following, force=True)


def test_the_document_leads_from_bare_machines_to_a_service(
    images: dict[str, str], tmp_path: Path
) -> None:
    result = Result("production.md followed", "mysql", lost=0)
    RESULTS.append(result)
    with following(DOCUMENT, images, tmp_path, list(images.values())) as made:
        made.follow_to_a_service()
        client = application(made, tmp_path)
        try:
            client.wait_for_write()
            made.follow("7. ")
            lose_a_machine(made, client, result)
            _follow_the_upgrades(made, images["mysql:8.4.7"])
            _follow_the_backup(made)
            made.wait_whole()
            client.wait_for_write()
            fail_over(made, client)  # as what was put back says
            _replace_a_machine(made)
            client.wait_for_write()
        except BaseException:
            print(made.logs())
            raise
        finally:
            client.stop()
        result.acknowledged, result.lost = len(client.acknowledged), client.lost()
        assert result.lost == 0
    result.passed = True


def _follow_the_upgrades(made: Installation, image: str) -> None:
    made.follow("9. ")
    view = made.wait_whole()
    assert view["upgrade"] is None
    assert view["image"] == image
    assert len(view["instances"]) == 2
    assert all(row["version"].endswith(".post1") for row in made.managers())


def _follow_the_backup(made: Installation) -> None:
    """With a change in between, which the copy lacks."""
    blocks = [block for block in made.document.blocks if block.section.startswith("10. ")]
    assert "start hamanager-backup" in blocks[0].text
    for block in blocks:
        for machine in block.machines:
            made.follow_block(block, machine)
        if block is blocks[0]:
            made.run("h1", "hamanager token create later --role read")
            assert [token["name"] for token in made.ask("token list")] == ["a1", "later"]
    assert [token["name"] for token in made.ask("token list")] == ["a1"]


def _replace_a_machine(made: Installation) -> None:
    """Section 8: h3 is gone for good, and another one has its name and address."""
    address = made.machines["h3"].address
    made.machines["h3"].power_off()

    def succeeds(script: str) -> bool:
        done = made.run("h1", f"set -e -o pipefail\n{script}")
        print(f"--- {script}\n{done.stdout}{done.stderr}")
        return done.returncode == 0

    # It is refused as long as it may be about to answer.
    wait_for("h3 to be lost", 60, lambda: succeeds("hamanager host remove h3 --lost"), 2)
    find = "id=$(etcdctl member list | awk -F ', ' '$3 == \"h3\" {print $1}')"
    assert succeeds(f"{find}\netcdctl member remove $id")
    assert succeeds(f"etcdctl member add h3 --peer-urls=https://{address}:2380")
    made.start_bare("h3")

    def follow(section: str, machine: str, change: Callable[[str], str] = str) -> None:
        for block in made.document.blocks:
            if block.section.startswith(section) and machine in block.machines:
                made.follow_block(replace(block, text=change(block.text)), machine)

    def for_it_alone(text: str) -> str:
        lines = [f"machine {name} {at}" for name, at in (("h1", "10.0.0.1"), ("h2", "10.0.0.2"))]
        return "".join(part for part in text.splitlines(True) if part.strip() not in lines)

    follow("1. ", CHECKOUT)
    follow("1. ", "h3")
    follow("2. ", "h1", for_it_alone)
    made.run("h3", "sed -i 's/CLUSTER_STATE=new/CLUSTER_STATE=existing/' /etc/hamanager/etcd.env")
    follow("3. ", "h3")
    tls = "/etc/hamanager/tls"
    add = f"hamanager host add h3 --docker tcp://{address}:2376 --address {address}"
    shown = f"--tls-ca {tls}/ca.pem --tls-cert {tls}/machine.pem --tls-key {tls}/machine.key"
    assert succeeds(f"{add} {shown}")
    follow("4. ", "h3")
    assert succeeds("etcdctl endpoint health --cluster")
    wait_for("three managers", 30, lambda: [r["alive"] for r in made.ask("managers")] == [True] * 3)
    made.wait_whole()
