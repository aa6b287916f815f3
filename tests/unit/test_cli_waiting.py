"""Commands that wait, while the daemon is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from typer.testing import Result

from hamanager.api.client import Client, NoDaemonError
from hamanager.api.reach import AtSocket
from hamanager.cli import progress as waiting

Run = Callable[..., Result]


def test_a_daemon_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.0)
    answers = iter([httpx.ConnectError("away"), 404])
    waiting.wait_until_gone(answering(answers), "db", waiting.PlainDisplay(print))


def test_a_daemon_that_stays_away_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "DAEMON_GONE_SECONDS", 0.05)
    answers = iter(lambda: httpx.ReadError("gone"), None)
    with pytest.raises(NoDaemonError) as caught:
        waiting.wait_until_gone(answering(answers), "db", waiting.PlainDisplay(print))
    assert str(caught.value) == (
        "no hamanager daemon answers at the test; start one with `hamanager serve`; what was asked"
        " for is kept and goes on when it runs again"
    )


def answering(answers: Iterator[object]) -> Client:
    """A client of a daemon that fails so, or answers with that code."""

    def handle(request: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, httpx.TransportError):
            raise answer
        assert isinstance(answer, int)
        return httpx.Response(answer, json={"error": "there is none", "exit_code": 1})

    return Client(AtSocket("the test", httpx.MockTransport(handle)))
