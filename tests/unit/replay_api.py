"""A stand-in for `POST /events` over real HTTP that answers as each test tells it."""

import asyncio
import json
from contextlib import asynccontextmanager

from aiohttp import web


class Api:
    """`script` maps a transaction id (or None for all) to the answers its tries get, in order; then 201.

    `batch_script` holds the answers that whole batches get, in order; then each event of one gets its own.
    """

    def __init__(self):
        self.script = {}
        self.batch_script = []
        self.batches = []
        self.requests = []
        self.on_request = lambda document: None
        self.headers = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.latency_s = 0.0
        self.connections = lambda: 0

    def ids(self):
        return [document["Transaction ID"] for document, _ in self.requests]

    async def handle(self, request):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request):
        body = await request.read()
        document = json.loads(body)
        self.on_request(document)
        self.requests.append((document, body))
        self.headers.append(dict(request.headers))
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        answers = self.script.get(document["Transaction ID"]) or self.script.get(None)
        answer = answers.pop(0) if answers else 201
        if answer == "reset":
            request.transport.abort()
            return web.Response()
        if answer == "hang":
            await asyncio.sleep(60)
        if answer == "garbage":
            return web.Response(status=201, text="fine")
        if isinstance(answer, dict):
            return web.json_response(answer, status=201)
        if answer == 201:
            found = {"message": "accepted", "transaction_id": document["Transaction ID"].lower(), "duplicate": False}
            return web.json_response(found, status=201, headers={"X-Served-By": "ingestion-api-2"})
        headers = {"Retry-After": "0"} if answer == 503 else {}
        return web.json_response({"error": f"No: {answer}."}, status=answer, headers=headers)

    async def handle_batch(self, request):
        body = await request.read()
        documents = json.loads(body)
        self.batches.append((documents, body, request.headers.get("X-HMAC-Signature")))
        for document in documents:
            self.on_request(document)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        answer = self.batch_script.pop(0) if self.batch_script else 207
        if answer == "reset":
            request.transport.abort()
            return web.Response()
        if answer == "hang":
            await asyncio.sleep(60)
        if answer not in (201, 207):
            headers = {"Retry-After": "0"} if answer == 503 else {}
            return web.json_response({"error": f"No: {answer}."}, status=answer, headers=headers)
        results = [self._result(document["Transaction ID"]) for document in documents]
        return web.json_response({"results": results}, status=answer, headers={"X-Served-By": "ingestion-api-2"})

    def _result(self, transaction_id):
        answers = self.script.get(transaction_id)
        answer = answers.pop(0) if answers else 201
        if isinstance(answer, dict):
            return answer
        if answer == 201:
            return {"status": 201, "transaction_id": transaction_id.lower(), "duplicate": False}
        return {"status": answer, "transaction_id": transaction_id.lower(), "error": f"No: {answer}."}


@asynccontextmanager
async def serving(api):
    app = web.Application()
    app.router.add_post("/events", api.handle)
    app.router.add_post("/events/batch", api.handle_batch)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.connections = lambda: len(runner.server.connections)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
