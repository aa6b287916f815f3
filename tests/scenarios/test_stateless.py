"""A service without data behind the proxy: even shares, failures nobody notices, drains."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from hamanager.chaos.sandbox import Sandbox, wait_for
from tests.support.www import PORT, SLOW_SECONDS, make_image

NEW = ("create", "other", "--engine", "stateless")
INTERVAL_SECONDS = 1.5
"""The proxy's health check: two failures, 0.5 s apart, and the time-out of one."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        image = make_image(made.docker)
        try:
            made.command(
                *("create", "www", "--engine", "stateless", "--image", image),
                *("--port", str(PORT), "--health", "/", "--instances", "3"),
            )
            yield made
        finally:
            made.close_services()
            made.docker.images.remove(image, force=True)


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    sandbox.wait_for_state("www", "running", 60)
    return sandbox.command("url", "www").strip()


class Visitors:
    """Requests all the time, each on a connection of its own."""

    def __init__(self, url: str, path: str = "", number: int = 2, pause: float = 0.02) -> None:
        self._url, self._pause = url + path, pause
        self._stopping = threading.Event()
        self.answers: list[tuple[float, str]] = []
        self.failures: list[tuple[float, str]] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                answer = httpx.get(self._url, timeout=10, trust_env=False)
                answer.raise_for_status()
                self.answers.append((began, answer.text.strip()))
            except httpx.HTTPError as error:
                self.failures.append((began, str(error)))
            time.sleep(self._pause)

    def after(self, moment: float) -> list[tuple[float, str]]:
        """Requests that began after it and failed."""
        return [failure for failure in self.failures if failure[0] > moment]


def test_requests_are_spread_evenly(url: str) -> None:
    with httpx.Client(trust_env=False) as client:
        count = Counter(client.get(url).text for _ in range(300))
    assert len(count) == 3
    assert all(95 <= number <= 105 for number in count.values()), count


def test_instance_killed_and_requests_go_to_the_others(sandbox: Sandbox, url: str) -> None:
    with Visitors(url) as visitors:
        time.sleep(0.5)
        sandbox.container("www.1").kill()
        killed = time.monotonic()
        wait_for("it to be back", 30, lambda: sandbox.ask("info", "www")["state"] == "running")
        time.sleep(0.5)
    assert visitors.after(killed + INTERVAL_SECONDS) == []
    assert len(visitors.failures) <= 2, "no more than what it was serving"


def test_instance_that_hangs_gets_no_requests_and_is_restarted(sandbox: Sandbox, url: str) -> None:
    sandbox.container("www.2").pause()
    hung = time.monotonic()
    with Visitors(url) as visitors:
        time.sleep(4)
    assert visitors.after(hung + INTERVAL_SECONDS + 1) == []
    with contextlib.suppress(Exception):
        sandbox.container("www.2").unpause()
    sandbox.wait_for_state("www", "running", 60)


def test_manager_away_and_requests_go_on(sandbox: Sandbox, url: str) -> None:
    sandbox.kill_daemon()
    try:
        with Visitors(url) as visitors:
            time.sleep(0.5)
            sandbox.container("www.0").kill()
            killed = time.monotonic()
            time.sleep(2.5)
        assert visitors.after(killed + INTERVAL_SECONDS) == []
        assert len(visitors.failures) <= 2
    finally:
        sandbox.start_daemon()
    sandbox.wait_for_state("www", "running", 60)


def test_scaled_down_no_request_fails(sandbox: Sandbox, url: str) -> None:
    """Those that are under way end where they began."""
    with Visitors(url, "slow", number=4) as slow, Visitors(url) as quick:
        time.sleep(SLOW_SECONDS / 2)
        sandbox.command("scale", "www:instances=1", "--timeout", "60")
        time.sleep(0.5)
    assert slow.failures == []
    assert quick.failures == []
    assert len(slow.answers) >= 4
    assert [i["name"] for i in sandbox.ask("info", "www")["instances"]] == ["www.0"]


def test_scaled_up_and_restarted_no_request_fails(sandbox: Sandbox, url: str) -> None:
    with Visitors(url) as visitors:
        sandbox.command("scale", "www=2", "--timeout", "60")
        sandbox.command("restart", "www.0", "--timeout", "60")
        sandbox.command("scale", "www:memory=128M", "--timeout", "60")
    assert visitors.failures == []
    assert len({answer for _, answer in visitors.answers}) >= 2


@pytest.mark.long
def test_another_image_and_no_request_fails(sandbox: Sandbox, url: str) -> None:
    present = sandbox.ask("info", "www")["image"]
    recipe = io.BytesIO(f"FROM {present}\nLABEL upgrade=next\n".encode())
    image, _ = sandbox.docker.images.build(fileobj=recipe, tag="hamanager-test-www:2", rm=True)
    try:
        with Visitors(url) as visitors:
            told = sandbox.command("upgrade", "www", "--image", "hamanager-test-www:2")
        assert "one instance after the other" in told
        assert visitors.failures == []
        after = sandbox.ask("info", "www")
        assert after["upgrade"] is None
        assert {i["image_id"] for i in after["instances"]} == {image.id}
        sandbox.command("upgrade", "www", "--image", present)
    finally:
        sandbox.docker.images.remove("hamanager-test-www:2", force=True)


def test_what_a_service_without_data_refuses(sandbox: Sandbox) -> None:
    for words in (
        ("switchover", "www"),
        ("set", "www", "--durability", "strict"),
        ("failover", "www", "--to", "www.0", "--force"),
        (*NEW, "--port", "80"),
        ("create", "other", "--engine", "mysql", "--port", "80"),
        (*NEW, "--image", "i", "--port", "8", "--health", "x"),
        (*NEW, "--image", "i", "--port", "80000"),
    ):
        done = sandbox.run(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert done.stderr.count("\n") == 1


def test_info_tells_of_each_instance(sandbox: Sandbox, url: str) -> None:
    info = sandbox.command("info", "www")
    assert "type: stateless" in info
    assert "www.0:" in info
    assert f"url: {url}" in info
    env = sandbox.command("env", "www")
    assert f"HAMANAGER_WWW_HTTP_URL={url}" in env
    assert "LOGIN" not in env
