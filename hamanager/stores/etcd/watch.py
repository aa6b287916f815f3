"""One watch on all keys of the installation, for all who wait.

A watch does not tell of a member that hangs or is cut off: it is simply silent. So it is not
believed for longer than `SILENCE_SECONDS` without a word; then another member is asked for what
has happened since, or the same one when it still answers for a majority.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hamanager.errors import StoreError
from hamanager.stores.etcd.gateway import CompactedError, Gateway
from hamanager.stores.etcd.wire import Json, b64, end_of, number, revision, text_of

log = logging.getLogger(__name__)

SILENCE_SECONDS = 1.5
"""Where several managers run, each writes its session once a second."""
PAUSE_SECONDS = 0.2
"""Between two tries when no member can be watched."""
MOST_KEYS = 10_000
"""So many changed keys are remembered."""


class Watch:
    """Begins with the first one that waits."""

    def __init__(
        self, gateway: Gateway, prefix: str, question: Json, newest: Callable[[], int]
    ) -> None:
        """`question` is what a member answers with the store's version, for a majority; `newest`
        asks any of them, and refuses an older copy of the store."""
        self._gateway, self._prefix, self._question = gateway, prefix, question
        self._newest = newest
        self._member = 0
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._floor = 0
        """What has changed until then is not known."""
        self._position = 0
        """What has changed until then is known."""
        self._changes: dict[str, int] = {}
        self._trouble = ""
        """Why nothing can be watched now."""

    def wait(self, prefix: str, after: int, timeout_seconds: float) -> int:
        """Wait until a key that begins so has been changed later than `after`."""
        deadline = time.monotonic() + timeout_seconds
        if self._thread is None or after > self._position:
            newest = self._newest()
            if newest < after:
                return newest
            self._begin(after)
        with self._news:
            while True:
                if self._closed.is_set():
                    raise StoreError(f"the store {self._gateway.address} was closed")
                if after < self._floor or self._has_changed(prefix, after):
                    return self._position
                left = deadline - time.monotonic()
                if left <= 0:
                    if self._trouble:
                        raise StoreError(self._trouble)
                    return max(after, self._position)
                self._news.wait(left)

    def close(self) -> None:
        """End it; whoever waits is told."""
        self._closed.set()
        with self._news:
            self._news.notify_all()

    def _has_changed(self, prefix: str, after: int) -> bool:
        whole = self._prefix + prefix
        return any(
            version > after for key, version in self._changes.items() if key.startswith(whole)
        )

    # --- The thread ----------------------------------------------------------------------------

    def _begin(self, after: int) -> None:
        with self._news:
            if self._thread is None:
                self._floor = self._position = after
                self._thread = threading.Thread(target=self._run, name="etcd watch", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._catch_up()
                self._follow()
            except CompactedError as error:
                log.info("%s: all who wait look again", error)
                self._forget()
            except StoreError as error:
                log.info("nothing can be watched: %s", error)
                self._tell(str(error))
                self._member += 1
                self._closed.wait(PAUSE_SECONDS)
            except Exception:
                if not self._closed.is_set():
                    log.exception("the watch failed and is begun anew")
                    self._tell("the watch failed")
                    self._member += 1
                    self._closed.wait(PAUSE_SECONDS)

    def _catch_up(self) -> None:
        """See whether this member answers for a majority, and the store is where it was left."""
        if revision(self._gateway.ask_one(self._member, "kv/range", self._question)) < (
            self._position
        ):
            self._forget()

    def _follow(self) -> None:
        """Hear what one member tells, until it is silent."""
        create = {
            "key": b64(self._prefix),
            "range_end": b64(end_of(self._prefix)),
            "start_revision": self._position + 1,
        }
        with self._gateway.stream(
            self._member, "watch", {"create_request": create}, SILENCE_SECONDS
        ) as told:
            for answer in told:
                if self._closed.is_set():
                    return
                if answer.get("canceled"):
                    if number(answer, "compact_revision"):
                        raise CompactedError("etcd has let go of what had changed meanwhile")
                    raise StoreError(f"the watch was ended: {answer.get('cancel_reason', '')}")
                self._hear(answer)

    def _hear(self, answer: Json) -> None:
        with self._news:
            self._trouble = ""
            for event in answer.get("events", ()):
                version = number(event, "kv", "mod_revision")
                self._changes[text_of(event["kv"]["key"])] = version
                # All changes of one version come in one answer.
                self._position = max(self._position, version)
            if len(self._changes) > MOST_KEYS:
                self._floor = self._position
                self._changes.clear()
            self._news.notify_all()

    def _forget(self) -> None:
        newest = self._newest()
        with self._news:
            self._floor = self._position = newest
            self._changes.clear()
            self._news.notify_all()

    def _tell(self, trouble: str) -> None:
        with self._news:
            self._trouble = trouble
            self._news.notify_all()
