"""Child processes that can be interrupted, wherever the tests run."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """For `preexec_fn`: a test run in the background of a script ignores SIGINT, its children
    inherit that, and Python leaves an ignored SIGINT alone."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
