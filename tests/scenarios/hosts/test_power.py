"""A single machine loses its power, with all instances of a service: what was acknowledged and
synced is there when it is back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest

from hamanager.chaos.services import wait_for
from tests.scenarios.harness import LOSSLESS, RESULTS, SIZES, Result
from tests.scenarios.hosts.harness import ENGINES, SYNCED_WITHIN_SECONDS
from tests.support.images import image_of
from tests.testbed import Testbed, why_not
from tests.testbed.etcd import why_no_etcd
from tests.testbed.fleet import Machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
ROUNDS = 3


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if reason := why_not() or why_no_etcd():
        pytest.skip(reason)
    with closing(docker.from_env()) as here:
        images = [image_of(here, name) for name in (*ENGINES, "haproxy")]
    with Testbed(hosts=1, images=images) as bed, Machine(bed) as made:
        yield made


@pytest.mark.parametrize("engine", ENGINES)
def test_machine_loses_its_power_under_load(machine: Machine, engine: str) -> None:
    result = Result("the only machine loses its power", engine, lost=0)
    RESULTS.append(result)
    size = SIZES[engine]
    machine.command("create", "db", "--engine", engine, "--instances", str(size))
    machine.wait_for_state("db", "running", 240, size)
    writer = machine.start_writer("db", 0.002)
    [host] = machine.hosts
    try:
        for _ in range(ROUNDS):
            time.sleep(3)
            off = time.monotonic()
            host.power_off()
            host.start()
            machine.wait_for_state("db", "running", 240, size)
            whole = time.monotonic()
            result.whole_seconds = max(whole - off, result.whole_seconds or 0.0)
            wait_for("a write", 30, lambda at=whole: writer.acknowledged()[-1].at > at)  # type: ignore[misc]
            with closing(
                machine.driver("db").workload.open_writer(  # type: ignore[union-attr]
                    machine.context("db"), machine.primary("db"), 10
                )
            ) as reader:
                held = reader.numbers()
            missing = [w for w in writer.acknowledged() if w.number not in held and w.at < whole]
            result.lost = (result.lost or 0) + len(missing)
            old = [w for w in missing if w.at < off - SYNCED_WITHIN_SECONDS]
            assert not (missing if engine in LOSSLESS else old), f"{len(missing)} are gone"
            if missing:
                break  # they would be counted again
    except BaseException:
        print(machine.run("history", "db")[1], machine.logs())
        raise
    finally:
        writer.stop()
        result.acknowledged = len(writer.acknowledged())
        machine.run("destroy", "db", "--yes")
    result.passed = True
