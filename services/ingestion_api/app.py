"""The HTTP face: `POST /events`, `/healthz`, `/readyz`, `/metrics`. What an answer says is decided here alone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException

from services.common.event import Event
from services.common.signing import Secrets
from services.ingestion_api import metrics
from services.ingestion_api.group_commit import UnavailableError
from services.ingestion_api.intake import RefusedError, error_body, receive
from services.ingestion_api.store import Outcome

log = logging.getLogger(__name__)
MEMBER_HEADER: Final = "X-Served-By"
RETRY_AFTER_S: Final = 1
_JSON: Final = "application/json"
_UNAVAILABLE: Final = error_body(
    "The event could not be stored in time. Send it again: the same id is never stored twice."
)
_UNFORESEEN: Final = error_body("Something went wrong. Send the event again: the same id is never stored twice.")
_CONFLICT: Final = error_body("Another event with this Transaction ID was accepted before.")


class Store(Protocol):
    """What the face needs of `GroupCommit`."""

    def submit(self, event: Event) -> Outcome:
        """Commits `event`. Raises UnavailableError or StoreError."""

    def check(self) -> None:
        """Raises UnavailableError where Postgres does not answer."""


def make_app(member: str, secrets: Secrets, store: Store, kafka_answers: Callable[[], bool]) -> Flask:
    """The Flask application of replica `member`."""
    app = Flask(__name__, static_folder=None)

    @app.post("/events")
    def events() -> Response:
        started_s = time.perf_counter()
        answer = _answer(request.environ, secrets, store)
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - started_s)
        return answer

    @app.get("/healthz")
    def healthz() -> Response:
        return Response(b'{"status": "alive"}', 200, content_type=_JSON)

    @app.get("/readyz")
    def readyz() -> Response:
        try:
            store.check()
            postgres = True
        except UnavailableError:
            postgres = False
        body = {"postgres": postgres, "kafka": kafka_answers(), "member": member}
        return Response(json.dumps(body), 200 if postgres else 503, content_type=_JSON)

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(generate_latest(), 200, content_type=CONTENT_TYPE_LATEST)

    app.register_error_handler(Exception, _on_error)
    app.wsgi_app = _signed_by(app.wsgi_app, member)  # type: ignore[method-assign]  # the way Flask documents
    return app


def _answer(environ: dict[str, Any], secrets: Secrets, store: Store) -> Response:
    transaction_id = ""
    try:
        event = receive(environ, secrets)
        transaction_id = event.transaction_id
        outcome = store.submit(event)
    except RefusedError as refused:
        answer = _refuse(refused.status, refused.body, refused.reason, transaction_id)
        if refused.status == 413:
            answer.headers["Connection"] = "close"  # the rest of the body is not read, and nobody shall wait for it
        return answer
    except UnavailableError as error:
        answer = _refuse(503, _UNAVAILABLE, str(error), transaction_id)
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer
    if outcome is Outcome.CONFLICT:
        return _refuse(409, _CONFLICT, "same id, other content", transaction_id)
    if outcome is Outcome.ACCEPTED:
        metrics.ACCEPTED.inc()
        body = '{"message": "Event accepted", "transaction_id": "%s", "duplicate": false}'
    else:
        metrics.DUPLICATES.inc()
        body = '{"message": "Event was accepted before", "transaction_id": "%s", "duplicate": true}'
    return Response(body % transaction_id, 201, content_type=_JSON)


def _refuse(status: int, body: bytes, reason: str, transaction_id: str) -> Response:
    metrics.REFUSED.labels(str(status)).inc()
    level = logging.WARNING if status >= 500 else logging.INFO
    log.log(level, "event refused status=%d reason=%s tid=%s", status, reason[:500], transaction_id or "-")
    return Response(body, status, content_type=_JSON)


def _on_error(error: Exception) -> Response:
    """404, 405 and their like as JSON; anything unforeseen as a 500 that tells nothing of the inside."""
    if isinstance(error, HTTPException) and error.code is not None:
        answer = Response(error_body(error.description or error.name), error.code, content_type=_JSON)
        if request.content_length:
            answer.headers["Connection"] = "close"  # as for a 413
        for name, value in error.get_headers():
            if name.lower() != "content-type":
                answer.headers[name] = value
        return answer
    metrics.REFUSED.labels("500").inc()
    log.error("a request failed", exc_info=error)
    return Response(_UNFORESEEN, 500, content_type=_JSON)


def _signed_by(wsgi_app: Callable[..., Iterable[bytes]], member: str) -> Callable[..., Iterable[bytes]]:
    """`wsgi_app`, with the replica's name on every answer, whoever made it."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((MEMBER_HEADER, member))
            return start_response(status, headers, exc_info)

        return wsgi_app(environ, start)

    return application
