"""The HTTP face: `POST /events` and `POST /events/batch` in the event loop, the rest by Flask in threads beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from a2wsgi import WSGIMiddleware
from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException

from services.common.batch import MAX_BATCH_BYTES
from services.common.event import MAX_BODY_BYTES
from services.common.metrics import LoopHistogram
from services.common.signing import Secrets
from services.ingestion_api import metrics
from services.ingestion_api.answers import JSON, Answer, Store, answer_batch, answer_event, refused, unforeseen
from services.ingestion_api.group_commit import UnavailableError
from services.ingestion_api.refusal import RefusedError, error_body
from services.ingestion_api.request import Receive, Request, Scope, Send, read_request

MEMBER_HEADER: Final = "X-Served-By"
_PAGE_THREADS: Final = 4
_JSON_TYPE: Final = (b"content-type", JSON.encode())
_POST_ONLY: Final = Answer(405, error_body("The method is not allowed here: POST."), ((b"allow", b"POST"),))

Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3.0 application."""
Take = Callable[[Scope, Receive], Awaitable[Answer]]
"""Takes the event or the batch in a request."""


def make_app(member: str, secrets: Secrets, store: Store, kafka_answers: Callable[[], bool]) -> Application:
    """The ASGI application of replica `member`.

    Events do not pass through Flask: a thread for each request, woken by the loop, then by the writer, cost more than
    all that is done with the event (docs/performance.md).
    """
    takers: Mapping[str, Take] = {
        "/events": _taker(answer_event, MAX_BODY_BYTES, metrics.REQUEST_SECONDS, secrets, store),
        "/events/batch": _taker(answer_batch, MAX_BATCH_BYTES, metrics.BATCH_SECONDS, secrets, store),
    }
    flask: Any = _pages(member, store, kafka_answers)  # a2wsgi has types of its own for what WSGI is
    pages: Any = WSGIMiddleware(flask, workers=_PAGE_THREADS)
    signature = (MEMBER_HEADER.lower().encode(), member.encode())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        take = takers.get(scope["path"]) if scope["type"] == "http" else None
        if take is None:
            await pages(scope, receive, _signed(send, signature))
            return
        status, body, more = await take(scope, receive) if scope["method"] == "POST" else _POST_ONLY
        headers = [_JSON_TYPE, (b"content-length", b"%d" % len(body)), *more, signature]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def _taker(
    answer: Callable[[Request, Secrets, Store], Awaitable[Answer]],
    limit_bytes: int,
    seconds: LoopHistogram,
    secrets: Secrets,
    store: Store,
) -> Take:
    async def take(scope: Scope, receive: Receive) -> Answer:
        started_s = time.perf_counter()
        try:
            return await answer(await read_request(scope, receive, limit_bytes), secrets, store)
        except RefusedError as error:
            return refused(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an answer and the log the rest
            return unforeseen(error)
        finally:
            seconds.observe(time.perf_counter() - started_s)

    return take


def _signed(send: Send, signature: tuple[bytes, bytes]) -> Send:
    """`send`, with the replica's name on the answer."""

    async def sign(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], signature]
        await send(message)

    return sign


def _pages(member: str, store: Store, kafka_answers: Callable[[], bool]) -> Flask:
    """`/healthz`, `/readyz`, `/metrics`, and what is said to whoever asks for anything else."""
    app = Flask(__name__, static_folder=None)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response(b'{"status": "alive"}', 200, content_type=JSON)

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            store.check()
            postgres = True
        except UnavailableError:
            postgres = False
        body = {"postgres": postgres, "kafka": kafka_answers(), "member": member}
        return Response(json.dumps(body), 200 if postgres else 503, content_type=JSON)

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(generate_latest(), 200, content_type=CONTENT_TYPE_LATEST)

    app.register_error_handler(Exception, _on_error)
    return app


def _on_error(error: Exception) -> Response:
    """404, 405 and their like as JSON; anything unforeseen as a 500 that tells nothing of the inside."""
    if isinstance(error, HTTPException) and error.code is not None:
        answer = Response(error_body(error.description or error.name), error.code, content_type=JSON)
        for name, value in error.get_headers():
            if name.lower() != "content-type":
                answer.headers[name] = value
        return answer
    status, body, _ = unforeseen(error)
    return Response(body, status, content_type=JSON)
