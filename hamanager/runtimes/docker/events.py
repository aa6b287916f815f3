"""The engine's event stream, as hints that something happened to an instance."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from signal import SIGTERM
from typing import Any

from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from hamanager.contracts.runtime import ASKED_TO_END, RuntimeEvent
from hamanager.runtimes.docker.names import HOLDS_STOP, INSTANCE, SERVICE

WORDS: Mapping[str, str] = {
    "start": "started",
    "die": "exited",
    "destroy": "removed",
    "pause": "paused",
    "unpause": "unpaused",
    "oom": "oom",
}
SIGNALLED = "kill"
"""Any signal that the engine sent to a container's process 1, a stop's too."""
STOPPED_CHECK_SECONDS = 0.25
QUIET_SECONDS = 15.0
"""After so long without an event the stream is opened anew: a dead connection looks the same."""
LONGEST_PAUSE_SECONDS = 5.0


def follow(
    connect: Callable[[], DockerClient],
    filters: Mapping[str, Any],
    stopped: Callable[[], bool],
) -> Iterator[RuntimeEvent]:
    """Events as they come, until `stopped()`. A thread of its own reads the stream: a blocked
    read cannot be ended in a way that works for every kind of connection."""
    events: queue.SimpleQueue[RuntimeEvent] = queue.SimpleQueue()
    done = threading.Event()
    pump = threading.Thread(
        target=_pump, args=(connect, filters, events, done), name="docker-events", daemon=True
    )
    pump.start()
    try:
        while not stopped():
            try:
                event = events.get(timeout=STOPPED_CHECK_SECONDS)
            except queue.Empty:
                continue
            yield event
    finally:
        done.set()


def _pump(
    connect: Callable[[], DockerClient],
    filters: Mapping[str, Any],
    events: queue.SimpleQueue[RuntimeEvent],
    done: threading.Event,
) -> None:
    pause = 0.0
    while not done.wait(pause):
        pause = min(max(2 * pause, 0.1), LONGEST_PAUSE_SECONDS)
        try:
            for line in _lines(connect(), filters):
                pause = 0.0
                if done.is_set():
                    return
                event = _event(json.loads(line))
                if event is not None:
                    events.put(event)
        except (DockerException, RequestException, ValueError):
            continue  # quiet, gone or restarted: the loop observes every second anyhow


def _lines(client: DockerClient, filters: Mapping[str, Any]) -> Iterator[bytes]:
    """One JSON document each. Not `client.events()`, whose reads have no time-out."""
    api = client.api
    wanted = {"type": ["container"], "event": [*WORDS, SIGNALLED], **filters}
    with api.get(
        f"{api.base_url}/v{api.api_version}/events",
        params={"filters": json.dumps(wanted)},
        stream=True,
        timeout=(QUIET_SECONDS, QUIET_SECONDS),
    ) as response:
        response.raise_for_status()
        yield from response.iter_lines(chunk_size=None)


def _event(document: Mapping[str, Any]) -> RuntimeEvent | None:
    action, labels = document.get("Action", ""), document.get("Actor", {}).get("Attributes", {})
    word = WORDS.get(action)
    if action == SIGNALLED and labels.get("signal") == str(int(SIGTERM)) and HOLDS_STOP in labels:
        word = ASKED_TO_END  # the manager itself sends another signal
    if word is None or SERVICE not in labels or INSTANCE not in labels:
        return None
    return RuntimeEvent(labels[SERVICE], labels[INSTANCE], word)
