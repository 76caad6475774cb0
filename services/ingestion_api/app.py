"""The HTTP face: `POST /events`, `POST /events/batch`, `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest
from werkzeug.exceptions import HTTPException

from services.common.signing import Secrets
from services.ingestion_api import metrics
from services.ingestion_api.answers import JSON, Answer, Store, answer_batch, answer_event, unforeseen
from services.ingestion_api.group_commit import UnavailableError
from services.ingestion_api.intake import error_body

MEMBER_HEADER: Final = "X-Served-By"
_LINES: Final = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}

Application = Callable[..., Iterable[bytes]]
"""A WSGI application."""
Take = Callable[[dict[str, Any]], Answer]
"""Takes the event or the batch in a request."""


def make_app(member: str, secrets: Secrets, store: Store, kafka_answers: Callable[[], bool]) -> Flask:
    """The Flask application of replica `member`."""
    app = Flask(__name__, static_folder=None)
    takers = {
        "/events": _timed(answer_event, metrics.REQUEST_SECONDS, secrets, store),
        "/events/batch": _timed(answer_batch, metrics.BATCH_SECONDS, secrets, store),
    }
    for path, take in takers.items():
        app.add_url_rule(path, path, partial(_view, take), methods=["POST"])

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
    application = _signed_by(_past_flask(app.wsgi_app, takers), member)
    app.wsgi_app = application  # type: ignore[method-assign]  # the way Flask documents
    return app


def _timed(answer: Callable[..., Answer], seconds: Histogram, secrets: Secrets, store: Store) -> Take:
    def take(environ: dict[str, Any]) -> Answer:
        started_s = time.perf_counter()
        try:
            return answer(environ, secrets, store)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets an answer and the log the rest
            return unforeseen(error)
        finally:
            seconds.observe(time.perf_counter() - started_s)

    return take


def _view(take: Take) -> Response:
    status, body, headers = take(request.environ)
    return Response(body, status, headers, content_type=JSON)


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
    status, body, _ = unforeseen(error)
    return Response(body, status, content_type=JSON)


def _past_flask(wsgi_app: Application, takers: Mapping[str, Take]) -> Application:
    """`wsgi_app`, past which requests for `takers` go straight.

    Flask's own share (contexts, routing, request and answer objects) is twice what is done with an event. It knows
    these paths all the same: whatever comes to them that is not a plain POST is its business.
    """

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        take = takers.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None
        if take is None:
            return wsgi_app(environ, start_response)
        status, body, headers = take(environ)
        length = ("Content-Length", str(len(body)))
        start_response(_LINES[status], [("Content-Type", JSON), length, *headers])
        return [body]

    return application


def _signed_by(wsgi_app: Application, member: str) -> Application:
    """`wsgi_app`, with the replica's name on every answer, whoever made it."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((MEMBER_HEADER, member))
            return start_response(status, headers, exc_info)

        return wsgi_app(environ, start)

    return application
