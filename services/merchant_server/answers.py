"""Putting an answer on the wire, in order or not. Knows nothing of ledgers: what is owed to one is on disk by now."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from aiohttp import web

from services.merchant_server import metrics
from services.merchant_server.behaviour import Answer, Behaviour

MOVED_PATH: Final = "/webhook_listener/moved"
"""Where a 301 points."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST instead of FIN."""
_DRIPPING: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
"""Short, because each of its bytes costs a write of its own."""
_HUGE_CHUNK: Final = b"x" * 16 * 1024
_PLAIN: Final = {
    Answer.OK: (200, b'{"status":"received"}'),
    Answer.ERROR: (500, b'{"error":"The merchant failed."}'),
    Answer.STALE: (401, b'{"error":"The signature is too old, or from the future: check the clocks."}'),
    Answer.GONE: (410, b'{"error":"This endpoint is gone."}'),
}


class Answering:
    """Sends answers, and knows which of them take their time."""

    def __init__(self) -> None:
        self._held: set[asyncio.Task[Any]] = set()

    @property
    def held(self) -> int:
        """Requests whose answer is held back, or still being sent slowly, now."""
        return len(self._held)

    def drop_held(self) -> None:
        """Closes the connections of all of these, for a quick end."""
        for task in self._held:
            task.cancel()

    async def send(self, request: web.Request, answer: Answer, behaviour: Behaviour) -> web.StreamResponse:
        """Does to `request` what `answer` says; the response is what is left to do for the HTTP server."""
        if answer in _PLAIN:
            return json_response(*_PLAIN[answer])
        if answer is Answer.HANG:
            return await self._hang(behaviour.hang_s)
        if answer is Answer.RATE_LIMITED:
            retry_after = str(math.ceil(behaviour.retry_after_s))
            return json_response(429, b'{"error":"Too many requests."}', {"Retry-After": retry_after})
        if answer is Answer.REDIRECT:
            return json_response(301, b'{"error":"This endpoint has moved."}', {"Location": MOVED_PATH})
        if answer is Answer.DRIP:
            return await self._drip(request, behaviour.drip_s)
        if answer is Answer.HUGE:
            return await self._flood(request, behaviour.huge_bytes)
        return reset(request)

    async def _hang(self, hang_s: float) -> web.Response:
        """Holds the answer back until the caller hangs up (aiohttp then cancels the handler) or the time is over."""
        with self._holding():
            await asyncio.sleep(hang_s)
        return json_response(504, b'{"error":"The merchant took too long."}')

    async def _drip(self, request: web.Request, drip_s: float) -> web.Response:
        """Past the HTTP server, which would send the head in one piece; this fools whoever waits for each byte anew."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        with self._holding():
            for number in range(len(_DRIPPING)):
                await asyncio.sleep(began_s + drip_s * number / (len(_DRIPPING) - 1) - clock())
                if request.transport is None or request.transport.is_closing():
                    break
                request.transport.write(_DRIPPING[number : number + 1])
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    async def _flood(self, request: web.Request, size_bytes: int) -> web.StreamResponse:
        """Without a length that would warn the caller; a caller that stops reading stops the sending."""
        response = web.StreamResponse()
        response.content_type = "application/octet-stream"
        left = size_bytes
        with self._holding(), suppress(ConnectionError):  # a caller that has enough hangs up: that is what it is for
            await response.prepare(request)
            while left > 0:
                await response.write(_HUGE_CHUNK[:left])
                left -= len(_HUGE_CHUNK)
        return response

    @contextmanager
    def _holding(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._held.add(task)
        metrics.HANGING.inc()
        try:
            yield
        finally:
            metrics.HANGING.dec()
            self._held.discard(task)


def json_response(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    """An answer as it should be."""
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def reset(request: web.Request) -> web.Response:
    """Resets the connection; the response that is returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response(status=500)
