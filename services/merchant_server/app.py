"""The merchant-server's HTTP surface: the listener, the ledger for reading, the admin page, health and metrics."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Final

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.merchant_server import metrics
from services.merchant_server.answers import MOVED_PATH
from services.merchant_server.behaviour import BehaviourError
from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.kept import KeptBehaviour
from services.merchant_server.ledger import LedgerError, LedgerFile
from services.merchant_server.ledger_reader import MAX_PAGE_LINES, read_page
from services.merchant_server.listener import WebhookListener

log = logging.getLogger(__name__)
MAX_BODY_BYTES: Final = 1024 * 1024
"""The API takes 64 KiB; its canonical bytes escape every non-ASCII letter and may be three times as long."""
DEFAULT_PAGE_LINES: Final = 10_000
NEXT_LINE_HEADER: Final = "X-Next-Line"
LEDGER_LINES_HEADER: Final = "X-Ledger-Lines"
_NDJSON: Final = "application/x-ndjson"
_STREAM_PAUSE_S: Final = 0.1
"""Between two chunks of a stream: a follower costs ten writes a second at most, whatever the load."""


class MerchantApp:
    """Routes and what they need. `stopping` ends the streams."""

    def __init__(
        self,
        ledger: LedgerFile,
        commits: GroupCommit,
        listener: WebhookListener,
        kept: KeptBehaviour,
        *,
        caller_timeout_s: float,
    ) -> None:
        self._ledger = ledger
        self._commits = commits
        self._listener = listener
        self._kept = kept
        self._caller_timeout_s = caller_timeout_s
        self._started_at_s = time.time()
        self.stopping = asyncio.Event()

    def make(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/webhook_listener", self._listener.handle)
        app.router.add_route("*", MOVED_PATH, self._moved)
        app.router.add_get("/ledger", self._page)
        app.router.add_get("/ledger/stream", self._stream)
        app.router.add_get("/admin/behaviour", self._get_behaviour)
        app.router.add_put("/admin/behaviour", self._put_behaviour)
        app.router.add_get("/admin/state", self._state)
        app.router.add_post("/admin/probe", self._listener.probe)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _moved(self, request: web.Request) -> web.Response:
        """Where a 301 points: a 200 that stands in no ledger, so whoever takes it for a delivery has lost one."""
        del request
        metrics.FOLLOWED.inc()
        return _json(200, {"status": "nothing was delivered here"})

    async def _page(self, request: web.Request) -> web.Response:
        first_line = _whole_number(request, "from", 0, 0, 2**62)
        max_lines = _whole_number(request, "limit", DEFAULT_PAGE_LINES, 0, MAX_PAGE_LINES)
        try:
            page = await asyncio.to_thread(read_page, self._ledger, first_line, max_lines)
        except (LedgerError, OSError) as error:
            return _json(500, {"error": f"The ledger cannot be read: {error}."})
        headers = {NEXT_LINE_HEADER: str(page.next_line), LEDGER_LINES_HEADER: str(self._ledger.synced.lines)}
        return web.Response(body=page.body, headers=headers, content_type=_NDJSON)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Lines from `from` on, then each new one as it is on disk, until the caller hangs up."""
        next_line = _whole_number(request, "from", 0, 0, 2**62)
        response = web.StreamResponse(headers={LEDGER_LINES_HEADER: str(self._ledger.synced.lines)})
        response.content_type = _NDJSON
        await response.prepare(request)
        while not self.stopping.is_set():
            page = await asyncio.to_thread(read_page, self._ledger, next_line, MAX_PAGE_LINES)
            if page.body:
                await response.write(page.body)
                next_line = page.next_line
            if next_line >= self._ledger.synced.lines:
                await self._commits.progressed()
                await asyncio.sleep(_STREAM_PAUSE_S)
        return response

    async def _get_behaviour(self, request: web.Request) -> web.Response:
        del request
        return _json(200, self._listener.behaviour.document())

    async def _put_behaviour(self, request: web.Request) -> web.Response:
        try:
            changes = orjson.loads(await request.read())
            changed = self._listener.behaviour.changed(changes, caller_timeout_s=self._caller_timeout_s)
        except orjson.JSONDecodeError as error:
            return _json(400, {"error": f"The body is not valid JSON: {error}.", "fields": {}})
        except BehaviourError as error:
            return _json(400, {"error": f"The behaviour cannot be changed so: {error}.", "fields": error.fields})
        try:
            self._kept.save(changed)
        except OSError as error:
            return _json(500, {"error": f"The behaviour cannot be kept over a restart: {error.strerror}."})
        self._listener.behave(changed)
        log.info("behaviour changed mode=%s failure_rate=%g", changed.mode, changed.failure_rate, extra=changes)
        return _json(200, changed.document())

    async def _state(self, request: web.Request) -> web.Response:
        del request
        synced = self._ledger.synced
        return _json(
            200,
            {
                "pid": os.getpid(),
                "started_at": self._started_at_s,
                "hanging": self._listener.hanging,
                "behaviour": self._listener.behaviour.document(),
                "answers": {answer.value: count for answer, count in self._listener.answers.items()},
                "ledger": {
                    "path": str(self._ledger.path),
                    "lines": synced.lines,
                    "bytes": synced.size_bytes,
                    "failure": self._commits.failure,
                    "dropped_lines": self._commits.dropped_lines,
                },
            },
        )

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return _json(200, {"status": "ok", "ledger": self._commits.failure or "ok"})

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _whole_number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise web.HTTPBadRequest(
            text=orjson.dumps({"error": f"{name} must be a whole number from {low} to {high}."}).decode(),
            content_type="application/json",
        )
    return int(text)


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
