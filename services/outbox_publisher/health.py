"""`/metrics` and `/healthz` of a process that serves no other HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

log = logging.getLogger(__name__)
BEAT_MAX_S: Final = 30.0
"""A loop that was silent for so long hangs: each of its waits is far shorter."""


class Heartbeat:
    """When the main loop last went round."""

    def __init__(self) -> None:
        self._beat_s = time.monotonic()

    def beat(self) -> None:
        """The loop is alive."""
        self._beat_s = time.monotonic()

    def alive(self) -> bool:
        """Whether it was, within BEAT_MAX_S."""
        return time.monotonic() - self._beat_s < BEAT_MAX_S


class _Server(ThreadingHTTPServer):
    """One that keeps quiet about callers that hang up in the middle."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Instead of the base's traceback on stderr."""
        del request
        log.debug("a scrape failed from=%s", client_address, exc_info=True)


def serve(host: str, port: int, alive: Callable[[], bool]) -> None:
    """Serves from a daemon thread.

    Raises:
        SystemExit: the port is taken; the message names it.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] == "/metrics":
                self._send(200, generate_latest(), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                good = alive()
                body = b'{"status": "alive"}' if good else b'{"status": "hangs"}'
                self._send(200 if good else 503, body, "application/json")
            else:
                self._send(404, b'{"error": "There is /metrics and /healthz here."}', "application/json")

        def _send(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Scrapes are not logged."""

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise SystemExit(f"METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
