"""Which image is chosen, with a Docker engine made of two sets of names."""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound

from hamanager.runtimes.docker import images
from hamanager.runtimes.docker.images import ImageUnavailable, built_image, resolve_image
from scripts import images as program

DEFAULT_IMAGES = {
    "mysql": "mysql:8.4",
    "redis": "redis:8",
    "mongodb": "mongo:7",
    "haproxy": "haproxy:3",
}
"""What the drivers, and the proxy, say."""
BUILT_IMAGES = {name: built_image(name) for name in DEFAULT_IMAGES}
ENGINES = sorted(DEFAULT_IMAGES)


class FakeEngine:
    """A Docker engine with some images in it and some in its registry."""

    def __init__(self, present: set[str], registry: set[str], hangs: bool = False) -> None:
        self.present = present
        self.registry = registry
        self.pulled: list[str] = []
        self.released = threading.Event()
        if not hangs:
            self.released.set()
        self.images = self.api = self

    def get(self, name: str) -> object:
        if name not in self.present:
            raise ImageNotFound(name)
        return object()

    def pull(self, name: str, stream: bool, decode: bool) -> Iterator[dict[str, Any]]:
        self.released.wait(10)
        if name not in self.registry:
            raise APIError("not found", explanation="manifest unknown")
        yield {"status": f"Pulling from {name}"}
        self.pulled.append(name)
        self.present.add(name)

    def close(self) -> None:
        pass


def client(present: set[str] | None = None, registry: set[str] | None = None) -> FakeEngine:
    return FakeEngine(present or set(), registry or set())


def resolve(engine: FakeEngine, name: str, configured: str | None = None, **options: Any) -> str:
    default = DEFAULT_IMAGES.get(name, "")
    return resolve_image(cast("docker.DockerClient", engine), name, default, configured, **options)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENGINES:
        monkeypatch.delenv(images.variable(name), raising=False)


@pytest.mark.parametrize("name", ENGINES)
def test_the_default_image_is_used_when_present(name: str) -> None:
    engine = client({DEFAULT_IMAGES[name], BUILT_IMAGES[name]}, {DEFAULT_IMAGES[name]})
    assert resolve(engine, name) == DEFAULT_IMAGES[name]
    assert engine.pulled == []


@pytest.mark.parametrize("name", ENGINES)
def test_a_built_image_is_used_before_a_pull(name: str) -> None:
    engine = client({BUILT_IMAGES[name]}, {DEFAULT_IMAGES[name]})
    assert resolve(engine, name) == BUILT_IMAGES[name]
    assert engine.pulled == []


def test_the_default_image_is_pulled_before_a_build() -> None:
    engine = client(registry={DEFAULT_IMAGES["redis"]})
    assert resolve(engine, "redis", build=pytest.fail) == DEFAULT_IMAGES["redis"]
    assert engine.pulled == [DEFAULT_IMAGES["redis"]]


def test_an_image_is_built_when_none_can_be_pulled() -> None:
    built: list[str] = []
    assert resolve(client(), "redis", build=built.append) == BUILT_IMAGES["redis"]
    assert built == ["redis"]


def test_without_a_build_the_error_says_how_to_get_an_image() -> None:
    with pytest.raises(ImageUnavailable, match=r"manifest unknown.*make images.*--image"):
        resolve(client(), "redis")


def test_a_named_image_is_used_when_present() -> None:
    engine = client({"my/redis:1", DEFAULT_IMAGES["redis"], BUILT_IMAGES["redis"]})
    assert resolve(engine, "redis", "my/redis:1") == "my/redis:1"


def test_a_named_image_is_pulled_when_absent() -> None:
    engine = client({DEFAULT_IMAGES["redis"], BUILT_IMAGES["redis"]}, {"my/redis:1"})
    assert resolve(engine, "redis", "my/redis:1") == "my/redis:1"


def test_a_named_image_is_never_replaced() -> None:
    engine = client({DEFAULT_IMAGES["redis"], BUILT_IMAGES["redis"]})
    with pytest.raises(ImageUnavailable, match=r"my/redis:1.*manifest unknown"):
        resolve(engine, "redis", "my/redis:1", build=pytest.fail)


def test_a_variable_names_an_image_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMANAGER_IMAGE_REDIS", "my/redis:2")
    assert resolve(client({"my/redis:2"}), "redis") == "my/redis:2"
    assert resolve(client({"my/redis:1"}), "redis", "my/redis:1") == "my/redis:1"
    with pytest.raises(ImageUnavailable, match="HAMANAGER_IMAGE_REDIS"):
        resolve(client({BUILT_IMAGES["redis"]}), "redis", build=pytest.fail)


def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMANAGER_IMAGE_REDIS", "")
    assert resolve(client({BUILT_IMAGES["redis"]}), "redis") == BUILT_IMAGES["redis"]


def test_a_registry_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FIRST_WORD_SECONDS", 0.01)
    engine = FakeEngine(set(), {DEFAULT_IMAGES["redis"]}, hangs=True)
    try:
        assert resolve(engine, "redis", build=lambda _: None) == BUILT_IMAGES["redis"]
    finally:
        engine.released.set()


def test_an_error_amid_a_pull_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = client()
    events = [{"status": "Downloading"}, {"error": "no space left on device"}]
    monkeypatch.setattr(engine, "pull", lambda *_, **__: iter(events))
    with pytest.raises(ImageUnavailable, match="no space left on device"):
        resolve(engine, "redis")


def test_an_engine_without_an_image_of_its_own_needs_a_name() -> None:
    with pytest.raises(ImageUnavailable, match=r"stateless.*HAMANAGER_IMAGE_STATELESS"):
        resolve(client(), "stateless")


def test_an_unknown_engine_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["oracle"]) == 2
    assert re.search("'oracle'.*mongodb, mysql, redis", capsys.readouterr().err)


def test_main_tells_each_engine_image_and_where_it_is_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = client({BUILT_IMAGES["mysql"], BUILT_IMAGES["haproxy"]}, {DEFAULT_IMAGES["redis"]})
    built: list[str] = []
    monkeypatch.setattr(docker, "from_env", lambda: engine)
    monkeypatch.setattr(images, "build_image", built.append)
    assert program.main(["mysql", "redis", "mongodb"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mongodb: hamanager/mongodb:debian (built in 0 s)",
        "mysql: hamanager/mysql:debian (present)",
        "redis: redis:8 (pulled in 0 s)",
        "haproxy: hamanager/haproxy:debian (present)",
    ]
    assert built == ["mongodb"]


def test_main_fails_with_one_sentence_when_no_engine_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> object:
        raise DockerException("connection refused")

    monkeypatch.setattr(docker, "from_env", refuse)
    assert program.main(["redis"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_outside_a_checkout_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "BUILD_SCRIPT", tmp_path / "build.sh")
    with pytest.raises(ImageUnavailable, match=r"--image or HAMANAGER_IMAGE_REDIS"):
        images.build_image("redis")


def test_a_failed_build_raises_the_last_sentence_of_the_script(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "build.sh"
    script.write_text("#!/bin/sh\necho details >&2\necho 'hamanager: no mirror.' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(images, "BUILD_SCRIPT", script)
    with pytest.raises(ImageUnavailable, match=r"^no mirror$"):
        images.build_image("redis")
    assert capfd.readouterr().err == "details\n"


def test_the_build_script_knows_every_engine() -> None:
    script = images.BUILD_SCRIPT.read_text()
    assert all(f"\n    {name})" in script for name in ENGINES)
    usage = subprocess.run([images.BUILD_SCRIPT], capture_output=True, text=True, check=False)
    assert usage.returncode == 1
    assert "usage" in usage.stderr
