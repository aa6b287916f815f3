"""Who asks for what is being done now."""

from __future__ import annotations

from contextvars import ContextVar

from hamanager.model.access import LOCAL, Caller

CALLER: ContextVar[Caller] = ContextVar("caller", default=LOCAL)
"""Set for the time of one request."""
