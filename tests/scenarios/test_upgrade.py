"""Another image, on real servers under load."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator

import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from hamanager.discovery import load_drivers
from hamanager.model.upgrade import wanted_image
from hamanager.stores.repository import load_spec
from tests.scenarios.conftest import ENGINES
from tests.scenarios.harness import Scenario

REPOSITORY = "hamanager-upgrades"
OLDER = {"mysql": "5.7.44", "redis": "5.0.14", "mongodb": "4.4.29"}
long = pytest.mark.long


def all_but_one_are_long(one: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "engine", [e if e == one else pytest.param(e, marks=long) for e in ENGINES]
    )


class Images:
    """Made of the one that the service `db` runs from."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._tags: list[str] = []

    def like(self, tag: str, wrapper: str = "") -> str:
        """One that differs by a label, and by what stands before the engine's server program: a
        shell script, `$real` being the program itself."""
        loaded = load_spec(self._sandbox.store, "db")
        assert loaded is not None
        spec = loaded[0]
        program = load_drivers()[spec.engine].traits.server_program
        name = f"{REPOSITORY}:{self._sandbox.manager_id}-{tag}"
        lines = [f"FROM {wanted_image(spec).id}", f"LABEL upgrade={tag}"]
        files = {}
        if wrapper:
            files[program] = (
                f"#!/bin/sh\nreal=/usr/bin/{program}\n"
                f'[ -x "$real" ] || real=/usr/sbin/{program}\n{wrapper}\n'
            )
            lines.append(f"COPY {program} /usr/local/sbin/{program}")
        files["Dockerfile"] = "\n".join(lines) + "\n"
        self._sandbox.docker.images.build(
            fileobj=_archive(files), custom_context=True, tag=name, rm=True
        )
        self._tags.append(name)
        return name

    def id(self, name: str) -> str:
        return str(self._sandbox.docker.images.get(name).id)

    def remove(self) -> None:
        for tag in self._tags:
            self._sandbox.docker.images.remove(tag, force=True)


def _archive(files: dict[str, str]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    archive.seek(0)
    return archive


@pytest.fixture
def images(sandbox: Sandbox) -> Iterator[Images]:
    made = Images(sandbox)
    yield made
    for service in sandbox.ask("info") or []:
        sandbox.command("destroy", service["name"], "--yes")
    made.remove()


def running_from(sandbox: Sandbox) -> set[str]:
    """By the runtime's own word."""
    filters: dict[str, str | list[str] | bool] = {
        "label": [f"hamanager.manager={sandbox.manager_id}", "hamanager.service=db"]
    }
    return {str(c.attrs["Image"]) for c in sandbox.docker.containers.list(filters=filters)}


@all_but_one_are_long("mysql")
def test_upgrade_under_load_loses_nothing(sandbox: Sandbox, engine: str, images: Images) -> None:
    """Nothing is lost, nobody fails over, and the primary's role is handed over once."""
    with Scenario(sandbox, engine, "upgrade under load") as run:
        old, image = run.primary, images.like("next")
        run.fault(lambda: None)
        done = sandbox.command("upgrade", "db", "--image", image)
        assert f"upgraded to {image}" in done
        assert running_from(sandbox) == {images.id(image)}
        view = run.info()
        assert view["upgrade"] is None
        assert {i["image_id"] for i in view["instances"]} == {images.id(image)}
        assert view["last_failover"] is None
        assert view["last_switchover"]["from"] == old
        assert view["kept"] == []
        again = sandbox.command("upgrade", "db", "--image", image)
        assert f"it runs from {image}" in again
        assert "already" in again


@all_but_one_are_long("redis")
def test_upgrade_to_a_bad_image_stops_at_the_first_standby_and_is_undone(
    sandbox: Sandbox, engine: str, images: Images
) -> None:
    with Scenario(sandbox, engine, "upgrade to a bad image, and back") as run:
        old, primary, first = running_from(sandbox), run.primary, load_spec(sandbox.store, "db")
        assert first is not None
        run.fault(lambda: None)
        older = images.like("older", f'echo "v{OLDER[engine]}"')
        refused = sandbox.run("upgrade", "db", "--image", older)
        assert refused.returncode == 1
        assert OLDER[engine] in refused.stderr
        assert "nothing was changed" in refused.stderr
        other = {"mysql": "redis", "redis": "mysql", "mongodb": "redis"}[engine]
        refused = sandbox.run("upgrade", "db", "--image", f"hamanager/{other}:debian")
        assert refused.returncode == 1
        assert "nothing was changed" in refused.stderr
        assert running_from(sandbox) == old
        bad = images.like("bad", '[ "$1" = --version ] && exec "$real" "$@"; exit 1')
        stopped = sandbox.run("upgrade", "db", "--image", bad)
        assert stopped.returncode == 1
        assert "the upgrade has stopped" in stopped.stderr
        assert f"--image {first[0].image}` goes back" in stopped.stderr
        assert run.primary == primary
        assert run.info()["upgrade"]["problem"]
        sandbox.command("upgrade", "db", "--image", first[0].image)
        assert run.primary == primary
        assert running_from(sandbox) == old
        assert run.info()["kept"] == []


@all_but_one_are_long("")
def test_primary_killed_in_the_middle_of_an_upgrade_loses_nothing(
    sandbox: Sandbox, engine: str, images: Images
) -> None:
    """An upgraded standby takes over while the other one is away; whoever was not upgraded is, and
    follows it from the new image."""
    with Scenario(sandbox, engine, "primary killed during an upgrade", instances=3) as run:
        primary, image = run.primary, images.like("next")
        sandbox.command("upgrade", "db", "--image", image, "--no-wait")
        wait_for("the second standby's turn", 90, lambda: _second_is_stopped(sandbox))
        run.fault(lambda: run.faults.kill(primary))
        run.wait_for_write()
        wait_for("the rest", 150, lambda: run.info()["upgrade"] is None)
        run.wait_whole()
        assert running_from(sandbox) == {images.id(image)}


@all_but_one_are_long("")
def test_manager_killed_in_the_middle_of_an_upgrade_and_the_next_one_finishes_it(
    sandbox: Sandbox, engine: str, images: Images
) -> None:
    with Scenario(sandbox, engine, "manager killed during an upgrade") as run:
        image = images.like("next")
        run.fault(lambda: None)
        sandbox.command("upgrade", "db", "--image", image, "--no-wait")
        for _ in range(3):
            time.sleep(1.5)  # wherever it is then
            sandbox.kill_daemon()
            sandbox.start_daemon()
        wait_for("the rest", 150, lambda: run.info()["upgrade"] is None)
        run.wait_whole()
        assert running_from(sandbox) == {images.id(image)}
        assert run.info()["last_failover"] is None


@all_but_one_are_long("")
def test_upgrade_of_one_instance_restarts_it(sandbox: Sandbox, engine: str, images: Images) -> None:
    with Scenario(sandbox, engine, "upgrade of one instance", instances=1) as run:
        image = images.like("next")
        run.fault(lambda: None)
        told = sandbox.command("upgrade", "db", "--image", image)
        assert "so nothing can be written while it is restarted" in told
        assert running_from(sandbox) == {images.id(image)}


def _second_is_stopped(sandbox: Sandbox) -> bool:
    second = sandbox.record("db").instance("db.1")
    return second is not None and second.restarting_since is not None
