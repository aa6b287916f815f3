"""The change of the certificate authority, as far as it goes by itself: once everybody has been
told to trust the new one, it signs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hamanager.authority.authority import Authority
from hamanager.contracts.clock import Clock
from hamanager.errors import HamanagerError

log = logging.getLogger("hamanager")

SETTLE_SECONDS = 30.0
"""All managers look more often than that, and trust it from then on."""


class Succession:
    """Looked after once in a while."""

    def __init__(
        self, authority: Authority, clock: Clock, told_everybody: Callable[[], bool]
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._told_everybody = told_everybody
        self._seen: tuple[str, float] | None = None
        """Who is trusted, and since when that has been seen."""

    def look(self) -> None:
        """Let the new authority sign when it is time. Raises nothing."""
        try:
            trust = self._authority.known()
            if trust is None or trust.upcoming is None:
                self._seen = None
                return
            now = self._clock.monotonic()
            if self._seen is None or self._seen[0] != trust.bundle:
                self._seen = (trust.bundle, now)
            if now - self._seen[1] >= SETTLE_SECONDS and self._told_everybody():
                self._authority.sign_anew()
                log.info("the new certificate authority signs from now on")
        except HamanagerError as error:
            log.debug("the authority was not looked after: %s", error)
