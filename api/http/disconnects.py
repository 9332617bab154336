"""Work that is only done for as long as its client waits for it."""

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

T = TypeVar("T")

_LOOK_EVERY = 0.5
"""Seconds between two looks at whether the client is still connected."""


async def while_wanted(request: Request, work: Callable[[Event], T]) -> T:
    """What `work` returns, done in a thread; the event that it is given is set once the client has gone."""
    gone = Event()
    watching = asyncio.create_task(_watch(request, gone))
    working = asyncio.create_task(run_in_threadpool(work, gone))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        gone.set()
        await asyncio.wait([working])
        raise
    finally:
        watching.cancel()


async def _watch(request: Request, gone: Event) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_EVERY)
    gone.set()
