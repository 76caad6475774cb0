"""`POST /webhook_listener`: draw the answer, examine the request, write it to the ledger, answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Any, Final

from aiohttp import web

from services.common.signing import Secrets
from services.merchant_server import metrics
from services.merchant_server.answers import Answering, json_response, reset
from services.merchant_server.behaviour import Answer, Behaviour
from services.merchant_server.examination import STALE, examine
from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.ledger import LedgerError

_LEDGER_STATUS: Final = {
    Answer.OK: 200,
    Answer.RESET_AFTER_LEDGER: 200,
    Answer.DRIP: 200,
    Answer.HUGE: 200,
    Answer.ERROR: 500,
    Answer.HANG: -1,
    Answer.RESET: 0,
    Answer.STALE: 401,
    Answer.RATE_LIMITED: 429,
    Answer.GONE: 410,
    Answer.REDIRECT: 301,
}
"""One that is missing here leaves no line: nothing of the request was read that a line could tell."""
_LEDGER_ANSWER: Final = {Answer.RESET_AFTER_LEDGER: "cut", Answer.DRIP: "drip"}
"""The line's `ans`, where a delivery is taken whose answer does not leave whole and at once."""


class WebhookListener:
    """The merchant's one endpoint. Its behaviour may be changed at any time; the next request follows it."""

    def __init__(self, commits: GroupCommit, secrets: Secrets, behaviour: Behaviour, random: Random) -> None:
        self._commits = commits
        self._secrets = secrets
        self._random = random
        self._answering = Answering()
        self.answers: Counter[Answer] = Counter()
        """How many deliveries got which answer since the start."""
        self.behave(behaviour)

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves now."""
        return self._behaviour

    def behave(self, behaviour: Behaviour) -> None:
        """From the next request on."""
        self._behaviour = behaviour
        self._since_s = time.monotonic()

    @property
    def hanging(self) -> int:
        """Requests whose answer is held back, or still being sent slowly, now."""
        return self._answering.held

    def drop_hanging(self) -> None:
        """Closes the connections of all of these, for a quick end."""
        self._answering.drop_held()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one delivery. One whose signature is stale is refused with 401, as Standard Webhooks asks for: it
        may be a replay, and where it was only a wrong clock it comes again.

        Failure policy: closed. A 200 leaves only after its ledger line is on disk; without the line it is a 503.
        """
        behaviour, answer = self._draw()
        if answer is Answer.RESET_BEFORE_BODY:
            self._count(answer)
            return reset(request)
        body = await request.read()
        record = examine(body, request.headers, self._secrets, time.time())
        if record["wh"] == STALE and answer.takes:
            answer = Answer.STALE
        record["status"] = _LEDGER_STATUS[answer]
        if answer in _LEDGER_ANSWER:
            record["ans"] = _LEDGER_ANSWER[answer]
        metrics.SIGNATURES.labels("hmac", record["hmac"]).inc()
        metrics.SIGNATURES.labels("webhook", record["wh"]).inc()
        if behaviour.latency_ms > 0:
            await self._delay(behaviour.latency_ms / 1000, record)
        self._count(answer)
        try:
            if answer.takes or self._commits.full:
                await self._commits.commit(record)
            else:
                self._commits.add(record)
        except LedgerError:
            metrics.UNWRITTEN.inc()
            error = b'{"error":"The ledger cannot be written; deliver again later."}'
            return json_response(503, error, {"Retry-After": "1"})
        return await self._answering.send(request, answer, behaviour)

    async def probe(self, request: web.Request) -> web.StreamResponse:
        """Answers as a delivery would be answered now, for whoever wants to see that. It is none: no line, no count."""
        behaviour, answer = self._draw()
        if answer is Answer.RESET_BEFORE_BODY:
            return reset(request)
        await request.read()
        if behaviour.latency_ms > 0:
            await asyncio.sleep(behaviour.latency_ms / 1000)
        return await self._answering.send(request, answer, behaviour)

    def _draw(self) -> tuple[Behaviour, Answer]:
        behaviour = self._behaviour
        return behaviour, behaviour.draw(self._random, time.monotonic() - self._since_s)

    def _count(self, answer: Answer) -> None:
        self.answers[answer] += 1
        metrics.BY_ANSWER[answer].inc()

    async def _delay(self, latency_s: float, record: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(latency_s)
        except asyncio.CancelledError:
            record["status"] = _LEDGER_STATUS[Answer.HANG]
            record.pop("ans", None)
            self._count(Answer.HANG)
            self._commits.add(record)
            raise
        record["at"] = round(time.time(), 6)
