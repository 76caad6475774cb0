"""The HTTP face: `POST /events`, `POST /events/batch`, `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from werkzeug.exceptions import HTTPException

from services.common.signing import Secrets
from services.ingestion_api import metrics
from services.ingestion_api.answers import JSON, UNFORESEEN_BODY, Store, answer_batch, answer_event
from services.ingestion_api.group_commit import UnavailableError
from services.ingestion_api.intake import error_body

log = logging.getLogger(__name__)
MEMBER_HEADER: Final = "X-Served-By"


def make_app(member: str, secrets: Secrets, store: Store, kafka_answers: Callable[[], bool]) -> Flask:
    """The Flask application of replica `member`."""
    app = Flask(__name__, static_folder=None)

    @app.post("/events")
    def events() -> Response:
        started_s = time.perf_counter()
        answer = answer_event(request.environ, secrets, store)
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - started_s)
        return answer

    @app.post("/events/batch")
    def batch() -> Response:
        started_s = time.perf_counter()
        answer = answer_batch(request.environ, secrets, store)
        metrics.BATCH_SECONDS.observe(time.perf_counter() - started_s)
        return answer

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
    app.wsgi_app = _signed_by(app.wsgi_app, member)  # type: ignore[method-assign]  # the way Flask documents
    return app


def _on_error(error: Exception) -> Response:
    """404, 405 and their like as JSON; anything unforeseen as a 500 that tells nothing of the inside."""
    if isinstance(error, HTTPException) and error.code is not None:
        answer = Response(error_body(error.description or error.name), error.code, content_type=JSON)
        if request.content_length:
            answer.headers["Connection"] = "close"  # as for a 413
        for name, value in error.get_headers():
            if name.lower() != "content-type":
                answer.headers[name] = value
        return answer
    metrics.REFUSED.labels("500").inc()
    log.error("a request failed", exc_info=error)
    return Response(UNFORESEEN_BODY, 500, content_type=JSON)


def _signed_by(wsgi_app: Callable[..., Iterable[bytes]], member: str) -> Callable[..., Iterable[bytes]]:
    """`wsgi_app`, with the replica's name on every answer, whoever made it."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((MEMBER_HEADER, member))
            return start_response(status, headers, exc_info)

        return wsgi_app(environ, start)

    return application
