"""What a member is asked before it counts as ready, and what is not asked."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from control_room.stack.local.readiness import Probes
from control_room.stack.runtime import API_REPLICAS
from services.common.settings import KafkaSettings
from tests.unit.member_processes import free_port


@contextmanager
def serving(status):
    """A server that answers everything with `status`; the port and the paths it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def probes(nginx, replicas):
    return Probes({"nginx": nginx, **dict(zip(API_REPLICAS, replicas, strict=True))}, KafkaSettings())


@pytest.mark.parametrize("members", [["nginx"], ["nginx", *API_REPLICAS]])
def test_nginx_is_not_asked_while_no_replica_talks(members):
    """A question that no replica takes counts as a failure of each: nginx would refuse payments when they are there."""
    with serving(200) as (port, asked):
        answers = probes(port, [free_port() for _ in API_REPLICAS]).ask(members)
    assert answers["nginx"] == "no API replica behind it"
    assert asked == []


@pytest.mark.parametrize("status", [200, 503])
def test_nginx_is_asked_as_soon_as_one_replica_talks(status):
    with serving(200) as (port, asked), serving(status) as (replica, _):
        answers = probes(port, [free_port(), replica, free_port()]).ask(["nginx"])
    assert answers == {"nginx": ""}
    assert asked == ["/readyz"]
