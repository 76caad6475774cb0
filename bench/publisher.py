"""The publisher: a process that sends events as fast as they are answered, or by the clock, and sends again."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
import uvloop

from bench.adapters import Target, make_adapter
from bench.load import Load, Published

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

_ANSWER_S: Final = 30.0
_AGAIN_S: Final = 0.2
_SLOWER_S: Final = 0.05
"""Before the next try where the system asked for less."""
_LEAD_S: Final = 0.2
"""Between the start of an open loop and its first event."""


class Publisher:
    """One load, seen from outside: `prepare`, `go`, then `result` when `running` has ended."""

    def __init__(self, target: Target, ids: Sequence[str], load: Load) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._acknowledged: Synchronized[int] = self._context.Value("q", 0)
        self._pipe, theirs = self._context.Pipe()
        arguments = (target, list(ids), load, self._acknowledged, theirs)
        self._process = self._context.Process(target=_main, args=arguments, daemon=True)

    def prepare(self) -> None:
        """Returns when every request is made and signed; nothing is sent yet."""
        self._process.start()
        self._pipe.recv()

    def go(self) -> None:
        """Sends."""
        self._pipe.send(None)

    @property
    def running(self) -> bool:
        """Whether requests are still on their way."""
        return self._process.is_alive() and not self._pipe.poll()

    @property
    def acknowledged(self) -> int:
        """Events that the system has taken."""
        return self._acknowledged.value

    def result(self) -> Published:
        """What was sent and answered. Raises EOFError where the process died."""
        found: Published = self._pipe.recv()
        self._process.join()
        return found

    def stop(self) -> None:
        """Ends it, whatever it does."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self, keep_body: bool) -> None:
        self._keep_body = keep_body
        self._parts: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.closed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Status and body of the answer."""
        assert self.transport is not None  # noqa: S101 - for mypy: exchanges begin after connection_made
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, part: bytes) -> None:
        if self._keep_body:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), b"".join(self._parts)
        self._parts.clear()
        if not self._parser.should_keep_alive():
            self.close()
        self._parser = httptools.HttpResponseParser(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    def close(self) -> None:
        """No more requests on this one."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()


class _Sending:
    """One load under way."""

    def __init__(self, target: Target, ids: Sequence[str], load: Load, acknowledged: Synchronized[int]) -> None:
        adapter = make_adapter(target)
        self._address = target.address
        self._load = load
        self._known_is_accepted = adapter.known_is_accepted
        self._acknowledged = acknowledged.get_obj()  # this process is its only writer
        self.places = [range(at, min(at + load.batch, len(ids))) for at in range(0, len(ids), load.batch)]
        self._requests = [adapter.request([(ids[i], i) for i in places]) for places in self.places]
        self.seen = Published.empty(len(ids))

    async def closed_loop(self) -> None:
        left: Iterator[int] = iter(range(len(self.places)))

        async def one_after_the_other() -> None:
            connection = None
            for number in left:
                connection = await self._until_answered(number, connection)

        await asyncio.gather(*(one_after_the_other() for _ in range(self._load.connections)))

    async def open_loop(self, rate_per_s: float) -> None:
        idle: list[_Connection | None] = [None] * self._load.connections
        free = asyncio.Semaphore(self._load.connections)
        running: set[asyncio.Task[None]] = set()
        began_s = time.monotonic() + _LEAD_S

        async def send(number: int) -> None:
            async with free:
                connection = idle.pop()
                try:
                    connection = await self._until_answered(number, connection)
                finally:
                    idle.append(connection)

        for number, places in enumerate(self.places):
            for i in places:
                self.seen.scheduled_s[i] = began_s + i / rate_per_s
            if (wait_s := self.seen.scheduled_s[places[-1]] - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.ensure_future(send(number))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)

    async def _until_answered(self, number: int, connection: _Connection | None) -> _Connection | None:
        """The connection, where it can be used again."""
        give_up_s = time.monotonic() + self._load.give_up_s
        while True:
            if connection is None or connection.closed:
                connection = await self._connect()
            if connection is not None:
                wait_s = await self._try(number, connection)
                if wait_s is None:
                    return connection
            else:
                self._count("refused")
                wait_s = _AGAIN_S
            if time.monotonic() > give_up_s:
                return connection
            await asyncio.sleep(wait_s)

    async def _connect(self) -> _Connection | None:
        keep_body = self._load.batch > 1
        try:
            _, made = await asyncio.get_running_loop().create_connection(lambda: _Connection(keep_body), *self._address)
        except OSError:
            return None
        return made

    async def _try(self, number: int, connection: _Connection) -> float | None:
        """Sends once; how long to wait before the next try, None where there is an answer."""
        seen, places = self.seen, self.places[number]
        now_s = time.monotonic()
        for i in places:
            if not seen.tries[i]:
                seen.sent_s[i] = now_s
                seen.scheduled_s[i] = seen.scheduled_s[i] or now_s
            seen.tries[i] += 1
        try:
            status, body = await asyncio.wait_for(connection.send(self._requests[number]), _ANSWER_S)
        except (OSError, TimeoutError):
            status, body = 0, b""
            connection.close()
        self._count(str(status))
        statuses = self._statuses(status, body, len(places))
        now_s = time.monotonic()
        for i, each in zip(places, statuses, strict=True):
            if not 200 <= seen.status[i] < 300:
                seen.answered_s[i], seen.status[i] = now_s, each
                self._acknowledged.value += self._accepted(each)
        if status == 429:
            return _SLOWER_S
        return _AGAIN_S if any(each == 0 or each >= 500 for each in statuses) else None

    @staticmethod
    def _statuses(status: int, body: bytes, count: int) -> list[int]:
        """The status of each event of a request."""
        if status != 207:
            return [status] * count
        results: list[dict[str, Any]] = json.loads(body)["results"]
        return [int(result["status"]) for result in results]

    def _accepted(self, status: int) -> bool:
        return 200 <= status < 300 or (status == 409 and self._known_is_accepted)

    def _count(self, answer: str) -> None:
        self.seen.answers[answer] = self.seen.answers.get(answer, 0) + 1


def _main(target: Target, ids: Sequence[str], load: Load, acknowledged: Synchronized[int], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    sending = _Sending(target, ids, load, acknowledged)
    pipe.send("prepared")
    pipe.recv()
    before_s = sum(os.times()[:2])
    uvloop.run(sending.closed_loop() if load.rate_per_s is None else sending.open_loop(load.rate_per_s))
    sending.seen.cpu_s = sum(os.times()[:2]) - before_s
    pipe.send(sending.seen)
