"""Whom the manager tells of what happens: commands on its machine, and webhooks.

Each hook has a thread and a queue of its own: one that hangs, fails or is slow delays neither
another one nor anything that the manager does. What is told comes from the history and from what
was seen last, after the fact; nothing waits for it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx
from tenacity import (
    RetryError,
    Retrying,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
)

from hamanager.daemon.events import Event
from hamanager.daemon.hook_file import Format, Hook
from hamanager.errors import HamanagerError

log = logging.getLogger("hamanager")

WAITING = 1_000
"""Events that wait for one hook; further ones are left out, which the log says."""
LONGEST_PAUSE_SECONDS = 30.0
STOP_SECONDS = 2.0
TOLD_CHARACTERS = 200


class _FailedError(HamanagerError):
    """One try did not succeed."""


@dataclass(frozen=True)
class Message:
    """One event as a hook gets it."""

    body: bytes
    headers: Mapping[str, str]


def message(event: Event, hook: Hook, secret: str, now: float) -> Message:
    """In the hook's format; signed where it has a secret: HMAC-SHA256 of `TIME.BODY`, so that
    neither can be changed, and an old message not be sent again later. Pure."""
    if hook.format is Format.SLACK:
        told: object = {"text": event.sentence}
    else:
        told = event.model_dump(mode="json")
    body = json.dumps(told).encode()
    headers = {"Content-Type": "application/json", "X-Hamanager-Event": event.event}
    if secret:
        moment = str(int(now))
        signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
        headers |= {
            "X-Hamanager-Timestamp": moment,
            "X-Hamanager-Signature": f"sha256={signed.hexdigest()}",
        }
    return Message(body, headers)


class Teller:
    """Tells one hook, in a thread of its own."""

    def __init__(
        self,
        hook: Hook,
        now: Callable[[], float] = time.time,
        client: httpx.Client | None = None,
    ) -> None:
        """`now` gives seconds since the epoch."""
        self.hook = hook
        self._now = now
        self._client = client or httpx.Client(timeout=hook.timeout_seconds, follow_redirects=False)
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"hook-{hook.name}", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell no more: what has not been told by now is not."""
        self._stopping.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(STOP_SECONDS)
        self._client.close()

    def tell(self, event: Event) -> None:
        """Soon; returns at once."""
        if not self.hook.hears(event.event, event.service):
            return
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            log.warning("hook %s: too much waits for it: %s is left out", self.hook.name, event)

    def _run(self) -> None:
        while not self._stopping.is_set():
            event = self._queue.get()
            if event is None:
                return
            try:
                self.carry_out(event)
            except HamanagerError as error:
                log.warning("hook %s: %s: %s", self.hook.name, event.event, error)
            except Exception:
                log.exception("hook %s failed unexpectedly", self.hook.name)

    def carry_out(self, event: Event) -> None:
        """Tell it now, as often as it takes and is allowed.

        Raises:
            HamanagerError: it did not succeed.
        """
        hook = self.hook
        tries = Retrying(
            stop=stop_after_attempt(hook.tries) | stop_when_event_set(self._stopping),
            wait=wait_exponential(max=LONGEST_PAUSE_SECONDS),
            sleep=self._pause,
            retry=lambda state: (
                state.outcome is not None and isinstance(state.outcome.exception(), _FailedError)
            ),
        )
        try:
            tries(self._once, event)
        except RetryError as error:
            why = error.last_attempt.exception()
            raise HamanagerError(f"not told in {hook.tries} tries: {why}") from None

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _once(self, event: Event) -> None:
        told = message(event, self.hook, self.hook.secret(), self._now())
        if self.hook.url:
            self._post(told)
        else:
            self._call(event, told)

    def _post(self, told: Message) -> None:
        try:
            answer = self._client.post(self.hook.url, content=told.body, headers=dict(told.headers))
        except httpx.HTTPError as error:
            # Without the address: a webhook's is a secret in itself.
            raise _FailedError(f"no answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise _FailedError(f"it answered {answer.status_code}")

    def _call(self, event: Event, told: Message) -> None:
        known = {"HAMANAGER_EVENT": event.event, "HAMANAGER_SERVICE": event.service}
        try:
            process = subprocess.Popen(
                self.hook.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**_plain_environment(), **known},
                start_new_session=True,
            )
        except OSError as error:
            raise _FailedError(f"{self.hook.command[0]}: {error.strerror}") from None
        try:
            _, errors = process.communicate(told.body, self.hook.timeout_seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)
            raise _FailedError(
                f"it had not ended after {self.hook.timeout_seconds:g} s and was killed"
            ) from None
        if process.returncode:
            text = errors.decode(errors="replace").strip()[-TOLD_CHARACTERS:]
            raise _FailedError(f"it ended with {process.returncode}: {text}")


def _plain_environment() -> dict[str, str]:
    """Without what the manager alone has to know."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HAMANAGER_")}
