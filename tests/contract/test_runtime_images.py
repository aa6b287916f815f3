"""Images of the Docker runtime: what a service was made from goes on being what it runs from."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import docker
import pytest

from hamanager.contracts.driver import DATA_DIRECTORY
from hamanager.contracts.runtime import Container
from hamanager.errors import RuntimeFailedError
from hamanager.runtimes.docker import pinning as docker_images
from hamanager.runtimes.docker import version as docker_version
from hamanager.runtimes.docker.names import MANAGER
from hamanager.runtimes.docker.runtime import DockerRuntime
from tests.support.runtimes import REF, SLEEP, inspect, wait_until, with_script


@pytest.fixture
def name(client: docker.DockerClient, manager_id: str) -> Iterator[str]:
    """Of images that a test makes."""
    repository = f"hamanager-{manager_id}"
    yield f"{repository}:latest"
    for image in client.images.list(repository):
        for tag in image.tags:
            if tag.startswith(f"{repository}:"):  # it may be another name of somebody's image
                client.images.remove(tag, force=True)


def tiny(client: docker.DockerClient, name: str, content: bytes) -> str:
    """An image of one file; its id."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    repository, _, tag = name.partition(":")
    client.api.import_image_from_data(archive.getvalue(), repository, tag)
    return str(client.images.get(name).id)


def test_a_name_that_moves_does_not_matter(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    name: str,
) -> None:
    image = client.images.get(container.image)
    image.tag(*name.split(":"))
    pinned = runtime.pin_image(name)
    assert pinned.id == image.id
    other = tiny(client, name, b"other")
    assert runtime.pin_image(name).id == other != pinned.id
    runtime.start(REF, replace(container, image=pinned.id, image_sources=(name,)))
    assert inspect(client, manager_id)["Image"] == pinned.id
    runtime.kill(REF)
    runtime.start(REF, replace(container, image=pinned.id, image_sources=(name,)))
    assert inspect(client, manager_id)["Image"] == pinned.id


def test_a_locally_built_image_has_no_digest(
    runtime: DockerRuntime, client: docker.DockerClient, name: str
) -> None:
    made = tiny(client, name, b"mine")
    pinned = runtime.pin_image(name)
    assert (pinned.id, pinned.digest) == (made, None)


def test_what_is_not_there_cannot_be_pinned(runtime: DockerRuntime, name: str) -> None:
    with pytest.raises(RuntimeFailedError, match="could not tell what the image"):
        runtime.pin_image(name)


Pulled = Callable[[docker.DockerClient, str], str | None]


def told_after(runtime: DockerRuntime, container: Container, words: str) -> str:
    """What the start that fails says once these words are in it."""
    told = [""]

    def says() -> bool:
        with pytest.raises(RuntimeFailedError) as failed:
            runtime.start(REF, container)
        told[0] = str(failed.value)
        return words in told[0]

    wait_until(says)
    return told[0]


def test_an_image_that_is_gone_is_pulled_while_nobody_waits(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tiny(client, name, b"gone")
    saved = b"".join(client.images.get(name).save(named=True))
    client.images.remove(name)
    asked = []

    def pull(client: docker.DockerClient, source: str) -> str | None:
        asked.append(source)
        if "@" in source:
            return "no such digest"
        client.images.load(saved)
        return None

    monkeypatch.setattr(docker_images, "pull", pull)
    wanted = replace(container, image=gone, image_sources=("x@sha256:0", name))
    with pytest.raises(RuntimeFailedError, match="it is being pulled"):
        runtime.start(REF, wanted)
    wait_until(lambda: any(image.id == gone for image in client.images.list()))
    assert asked == ["x@sha256:0", name]


def test_another_image_of_that_name_is_not_taken_for_it(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tiny(client, name, b"gone")
    client.images.remove(name)
    tiny(client, name, b"another")
    monkeypatch.setattr(docker_images, "pull", lambda client, source: None)
    wanted = replace(container, image=gone, image_sources=(name,))
    told = told_after(runtime, wanted, "load it into the engine again")
    assert f"{name} names another image now" in told


# --- Versions -----------------------------------------------------------------------------------


def leftovers(client: docker.DockerClient, manager_id: str) -> list[str]:
    """Containers of this manager's."""
    found = client.api.containers(all=True, filters={"label": f"{MANAGER}={manager_id}"})
    return [name for container in found for name in container["Names"]]


def test_a_program_tells_its_version(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, manager_id: str
) -> None:
    image = str(client.images.get(container.image).id)
    version = runtime.image_version(image, "redis-server")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert leftovers(client, manager_id) == []


@pytest.mark.parametrize("program", ["mysqld", "./no/such/thing"])
def test_an_image_without_the_program(
    runtime: DockerRuntime, container: Container, program: str
) -> None:
    with pytest.raises(RuntimeFailedError, match=f"the image has no {program}"):
        runtime.image_version(container.image, program)


def test_an_image_without_even_a_shell(
    runtime: DockerRuntime, client: docker.DockerClient, manager_id: str, name: str
) -> None:
    tiny(client, name, b"no program at all")
    with pytest.raises(RuntimeFailedError, match="the image has no redis-server"):
        runtime.image_version(name, "redis-server")
    assert leftovers(client, manager_id) == []


def test_a_program_that_says_something_else(runtime: DockerRuntime, container: Container) -> None:
    with pytest.raises(RuntimeFailedError, match="its false does not tell its version"):
        runtime.image_version(container.image, "false")


def test_a_program_that_does_not_end_is_ended(
    runtime: DockerRuntime,
    container: Container,
    client: docker.DockerClient,
    manager_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docker_version, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(docker_version, "SCRIPT", "exec sleep 1000")
    with pytest.raises(RuntimeFailedError, match="does not tell its version within 1 s"):
        runtime.image_version(container.image, "redis-server")
    assert leftovers(client, manager_id) == []


def test_it_tells_what_a_container_was_made_from(
    runtime: DockerRuntime, container: Container
) -> None:
    assert runtime.started_from(REF) is None
    runtime.start(REF, container)
    assert runtime.started_from(REF) == container.image


def test_another_image_on_the_same_volume(
    runtime: DockerRuntime, container: Container, client: docker.DockerClient, name: str
) -> None:
    client.images.get(container.image).tag(*name.split(":"))
    keep = f"echo kept > {DATA_DIRECTORY}/kept; {SLEEP}"
    runtime.start(REF, with_script(container, keep))
    wait_until(lambda: "kept" in runtime.file_names(REF, "."))
    runtime.kill(REF)
    runtime.start(REF, replace(with_script(container, SLEEP), image=name))
    assert runtime.started_from(REF) == name
    assert "kept" in runtime.file_names(REF, ".")
