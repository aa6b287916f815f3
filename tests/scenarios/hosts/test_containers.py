"""docs/containers.md followed as it stands: etcd, managers and proxies as containers, by the
compose files that an operator copies."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.scenarios.harness import RESULTS, Result
from tests.scenarios.hosts.installation import (
    ROOT,
    application,
    fail_over,
    following,
    lose_a_machine,
)
from tests.support.images import image_of
from tests.testbed import why_not
from tests.testbed.etcd import UNPACKED, why_no_etcd

NO_COMPOSE = "" if shutil.which("docker-compose") else "docker-compose missing"
WHY_NOT = why_not() or why_no_etcd() or NO_COMPOSE
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]

DOCUMENT = ROOT / "docs" / "containers.md"
PYTHON = "hamanager/python:debian"
BUILD_SECONDS = 900


@pytest.fixture
def images(tmp_path: Path) -> Iterator[dict[str, str]]:
    """In place of the document's."""
    subprocess.run([ROOT / "compose/images/build.sh", "python"], check=True, timeout=BUILD_SECONDS)
    etcd = f"hamanager-containers-etcd:{os.getpid()}"
    programs = tmp_path / "etcd"
    programs.mkdir()
    for name in ("etcd", "etcdctl"):
        shutil.copy(shutil.which(name) or UNPACKED / name, programs)
    (programs / "Dockerfile").write_text(f"FROM {PYTHON}\nCOPY etcd etcdctl /usr/bin/\n")
    subprocess.run(["docker", "build", "--quiet", "--tag", etcd, programs], check=True, timeout=60)
    with closing(docker.from_env()) as here:
        mysql, haproxy = image_of(here, "mysql"), image_of(here, "haproxy")
        made = [f"hamanager-containers:{os.getpid()}-{number}" for number in (1, 2)]
        try:
            yield {
                "mysql:8.4.6": mysql,
                "haproxy:3": haproxy,
                "etcd:3.5": etcd,
                "python:3.11-slim": PYTHON,
                "hamanager:1": made[0],
                "hamanager:2": made[1],
            }
        finally:
            there = {tag for image in here.images.list() for tag in image.tags}
            for tag in there & {etcd, *made}:
                here.images.remove(tag, force=True)


def test_the_document_leads_to_a_service_in_containers(
    images: dict[str, str], tmp_path: Path
) -> None:
    result = Result("containers.md followed", "mysql", lost=0)
    RESULTS.append(result)
    pulled = [images[name] for name in ("mysql:8.4.6", "haproxy:3", "etcd:3.5")]
    with following(DOCUMENT, images, tmp_path, pulled) as made:
        made.program = "docker exec hamanager-manager hamanager"
        # A host of the test bed may not lower it.
        settings = made.checkout / "compose/three-machines/compose.yaml"
        settings.write_text(settings.read_text().replace("    oom_score_adj: -900\n", ""))
        made.follow_to_a_service()
        client = application(made, tmp_path)
        try:
            client.wait_for_write()
            lose_a_machine(made, client, result)
            made.follow("7. ")
            made.wait_whole()
            assert all(row["version"].endswith(".post1") for row in made.managers())
            fail_over(made, client)
        except BaseException:
            print(made.logs())
            raise
        finally:
            client.stop()
        result.acknowledged, result.lost = len(client.acknowledged), client.lost()
        assert result.lost == 0
    result.passed = True
