"""The API's part for those who watch: all services again whenever something has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hamanager.api.views import ServiceView

TAGS: list[str | Enum] = ["services"]
LOOK_SECONDS = 0.5
ALIVE_SECONDS = 5.0
"""A comment is sent at least so often: who hears nothing for longer is cut off."""
LONGEST_SECONDS = 600.0
"""Then the watcher asks anew: a token that was revoked lets nobody watch on for ever."""


def add_events(app: FastAPI, views: Callable[[], Sequence[ServiceView]]) -> None:
    """The route."""
    app.state.ending = False

    @app.get(
        "/v1/events",
        tags=TAGS,
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events() -> StreamingResponse:
        """All services again whenever something has changed, as server-sent events."""
        stream = _stream(views, lambda: bool(app.state.ending))
        return StreamingResponse(stream, media_type="text/event-stream")


def end_events(app: FastAPI) -> None:
    """Let nobody watch on: the server is about to end."""
    app.state.ending = True


async def _stream(
    views: Callable[[], Sequence[ServiceView]], is_ending: Callable[[], bool]
) -> AsyncIterator[str]:
    told, said_at = "", 0.0
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LONGEST_SECONDS
    while loop.time() < ends_at and not is_ending():
        seen = await run_in_threadpool(views)
        shown = [view.model_dump(mode="json", by_alias=True) for view in seen]
        # When it was seen is no news.
        news = json.dumps([{**view, "at": 0} for view in shown])
        if news != told:
            told, said_at = news, loop.time()
            yield f"event: services\ndata: {json.dumps(shown)}\n\n"
        elif loop.time() - said_at > ALIVE_SECONDS:
            said_at = loop.time()
            yield ": alive\n\n"
        await asyncio.sleep(LOOK_SECONDS)
