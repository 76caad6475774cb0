"""Who decides when the next request leaves: the answers (closed loop) or the clock (open loop).

What a request carries, one payment or a batch of them, is the sender's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

from control_room.replay.schedule import Schedule

_SLICE_S: Final = 0.1

Load = TypeVar("Load")
"""What one request carries."""


async def closed_loop(
    stream: Iterator[Load], send: Callable[[Load, float | None], Awaitable[None]], stop: asyncio.Event, concurrency: int
) -> None:
    """So many requests on their way at once; the next one leaves when one is answered. Raises what `send` raises."""

    async def one_after_the_other() -> None:
        # All take from one iterator; between two of its rows nobody waits, so it needs no lock.
        for load in stream:
            await send(load, None)
            if stop.is_set():
                return

    await _all({asyncio.ensure_future(one_after_the_other()) for _ in range(concurrency)})


async def open_loop(
    stream: Iterator[Load],
    send: Callable[[Load, float | None], Awaitable[None]],
    stop: asyncio.Event,
    schedule: Schedule,
    ask: Callable[[Load], object],
    max_in_flight: int,
) -> None:
    """Each request leaves when it is due, answers or not, as long as fewer than `max_in_flight` are on their way.

    Args:
        stream: what the requests carry.
        send: sends one of them, given when it was due.
        stop: set where the end is asked for.
        schedule: says when the request that was asked about last is due.
        ask: asks `schedule` about the payments of one request.
        max_in_flight: requests on their way at most.

    Raises what `send` raises.
    """
    began_s = time.monotonic()
    free = asyncio.Semaphore(max_in_flight)
    running: set[asyncio.Future[None]] = set()
    failed: list[BaseException] = []

    def ended(task: asyncio.Future[None]) -> None:
        running.discard(task)
        free.release()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failed.append(error)
            stop.set()

    try:
        for load in stream:
            ask(load)
            if not await _wait_until_due(began_s, schedule, stop):
                break
            due_s = began_s + schedule.latest_s
            await free.acquire()
            if stop.is_set():
                break
            task: asyncio.Future[None] = asyncio.ensure_future(send(load, due_s))
            running.add(task)
            task.add_done_callback(ended)
        if running:
            await asyncio.wait(running)
        await asyncio.sleep(0)  # lets the last done callbacks run
    finally:
        await _cancel(running)
    if failed:
        raise failed[0]


async def _wait_until_due(began_s: float, schedule: Schedule, stop: asyncio.Event) -> bool:
    """Whether the request was due before the end was asked for. When it is due may change meanwhile."""
    while not stop.is_set():
        wait_s = began_s + schedule.latest_s - time.monotonic()
        if wait_s <= 0:
            return True
        # Slices of sleep cost a third of waiting for the event with a time-out, and a stop may be noticed a bit late.
        await asyncio.sleep(min(wait_s, _SLICE_S))
    return False


async def _all(tasks: set[asyncio.Future[None]]) -> None:
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await _cancel(tasks)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _cancel(tasks: set[asyncio.Future[None]]) -> None:
    open_tasks = {task for task in tasks if not task.done()}
    for task in open_tasks:
        task.cancel()
    if open_tasks:
        await asyncio.wait(open_tasks)
