"""A service runs from what its image's name stood for when it was made."""

from __future__ import annotations

from typing import Any, cast

import pytest
from docker import DockerClient

from hamanager.model.image import PinnedImage
from hamanager.model.spec import Spec
from hamanager.runtimes.docker.pinning import pin
from tests.simulation.modes import running
from tests.simulation.simulation import Simulation


def test_every_instance_runs_from_the_pinned_image() -> None:
    simulation = Simulation()
    simulation.spec(image="db:1", pinned=PinnedImage(id="sha256:1", digest="db@sha256:2"))
    simulation.settle()
    simulation.event("scale", 3)
    simulation.settle()
    started = simulation.world.images["db.2"]
    assert (started.image, started.image_sources) == ("sha256:1", ("db@sha256:2", "db:1"))


def test_a_service_of_an_older_version_runs_from_the_name() -> None:
    simulation = running("asynchronous, availability")
    simulation.event("scale", 3)
    simulation.settle()
    started = simulation.world.images["db.2"]
    assert (started.image, started.image_sources) == ("image", ())
    spec = Spec(name="db", engine="sim", instances=1, image="db:1", created_at=0)
    assert Spec.model_validate_json(spec.model_dump_json()).pinned is None


@pytest.mark.parametrize(
    ("name", "digests", "chosen"),
    [
        ("redis:8", ["other@sha256:1", "redis@sha256:2"], "redis@sha256:2"),
        ("host:5000/redis", ["host:5000/redis@sha256:2"], "host:5000/redis@sha256:2"),
        (
            "host:5000/redis:8",
            ["a@sha256:1", "host:5000/redis@sha256:2"],
            "host:5000/redis@sha256:2",
        ),
        ("redis@sha256:2", ["a@sha256:2", "redis@sha256:2"], "redis@sha256:2"),
        ("built:1", [], None),
        ("built:1", None, None),
        ("retagged:1", ["redis@sha256:2"], "redis@sha256:2"),
    ],
)
def test_the_digest_of_the_name_s_own_repository(
    name: str, digests: list[str] | None, chosen: str | None
) -> None:
    class Images:
        def get(self, asked: str) -> Any:
            assert asked == name
            return type("Image", (), {"attrs": {"Id": "sha256:0", "RepoDigests": digests}})

    client = cast(DockerClient, type("Client", (), {"images": Images()}))
    assert pin(client, name) == PinnedImage(id="sha256:0", digest=chosen)
