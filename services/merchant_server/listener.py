"""`POST /webhook_listener`: examine the request, draw its answer, write it to the ledger, answer."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
import time
from random import Random
from typing import Any, Final

from aiohttp import web

from services.common.signing import Secrets
from services.merchant_server import metrics
from services.merchant_server.behaviour import Answer, Behaviour
from services.merchant_server.examination import examine
from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.ledger import LedgerError

log = logging.getLogger(__name__)
_LEDGER_STATUS: Final = {
    Answer.OK: 200,
    Answer.ERROR: 500,
    Answer.HANG: -1,
    Answer.RESET: 0,
    Answer.RATE_LIMITED: 429,
    Answer.GONE: 410,
}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST instead of FIN."""


class WebhookListener:
    """The merchant's one endpoint. `behaviour` may be replaced at any time; the next request follows it."""

    def __init__(self, commits: GroupCommit, secrets: Secrets, behaviour: Behaviour, random: Random) -> None:
        self.behaviour = behaviour
        self._commits = commits
        self._secrets = secrets
        self._random = random
        self._hanging: set[asyncio.Task[Any]] = set()

    @property
    def hanging(self) -> int:
        """Requests whose answer is held back now."""
        return len(self._hanging)

    def drop_hanging(self) -> None:
        """Closes the connections of all held-back requests, for a quick end."""
        for task in self._hanging:
            task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one delivery.

        Failure policy: closed. A 200 leaves only after its ledger line is on disk; without the line it is a 503.
        """
        body = await request.read()
        behaviour = self.behaviour
        answer = behaviour.draw(self._random)
        record = examine(body, request.headers, self._secrets, time.time())
        record["status"] = _LEDGER_STATUS[answer]
        metrics.SIGNATURES.labels("hmac", record["hmac"]).inc()
        metrics.SIGNATURES.labels("webhook", record["wh"]).inc()
        if behaviour.latency_ms > 0:
            await self._delay(behaviour.latency_ms / 1000, record)
        metrics.BY_ANSWER[answer].inc()
        try:
            if answer is Answer.OK or self._commits.full:
                await self._commits.commit(record)
            else:
                self._commits.add(record)
        except LedgerError:
            metrics.UNWRITTEN.inc()
            return _json(503, b'{"error":"The ledger cannot be written; deliver again later."}', {"Retry-After": "1"})
        return await self._answer(request, answer, behaviour)

    async def _answer(self, request: web.Request, answer: Answer, behaviour: Behaviour) -> web.StreamResponse:
        if answer is Answer.OK:
            return _json(200, b'{"status":"received"}')
        if answer is Answer.ERROR:
            return _json(500, b'{"error":"The merchant failed."}')
        if answer is Answer.HANG:
            return await self._hang(behaviour.hang_s)
        if answer is Answer.RATE_LIMITED:
            retry_after = str(math.ceil(behaviour.retry_after_s))
            return _json(429, b'{"error":"Too many requests."}', {"Retry-After": retry_after})
        if answer is Answer.GONE:
            return _json(410, b'{"error":"This endpoint is gone."}')
        _reset(request)
        return web.Response(status=500)

    async def _hang(self, hang_s: float) -> web.Response:
        """Holds the answer back until the caller hangs up (aiohttp then cancels the handler) or the time is over."""
        task = asyncio.current_task()
        if task is not None:
            self._hanging.add(task)
        metrics.HANGING.inc()
        try:
            await asyncio.sleep(hang_s)
        finally:
            metrics.HANGING.dec()
            if task is not None:
                self._hanging.discard(task)
        return _json(504, b'{"error":"The merchant took too long."}')

    async def _delay(self, latency_s: float, record: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(latency_s)
        except asyncio.CancelledError:
            record["status"] = _LEDGER_STATUS[Answer.HANG]
            metrics.BY_ANSWER[Answer.HANG].inc()
            self._commits.add(record)
            raise
        record["at"] = round(time.time(), 6)


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
