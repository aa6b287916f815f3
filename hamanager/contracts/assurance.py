"""Whether what is done may still be done: asked before each statement that changes something.

A manager that was suspended in the middle of a driver's call would go on with the call's other
statements when another one has long taken over. Whoever carries out a playbook says by
`assured_by` what has to hold; drivers and runtimes ask by `assure` before each statement, so that
at most one can be late. Elsewhere (tests, commands) there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("assurance", default=None)


def assure() -> None:
    """Nothing, as long as this manager may act.

    Raises:
        StaleVersionError: it may not any more; the statement must not be sent.
    """
    check = _check.get()
    if check is not None:
        check()


@contextmanager
def assured_by(check: Callable[[], None]) -> Iterator[None]:
    """What is done inside is done as long as `check` does not raise. Threads that are started
    inside have to be given the context (`contextvars.copy_context`)."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
