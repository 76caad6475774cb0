"""A merchant's ledger and a dispatcher's status over real HTTP, for tests that need no merchant."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from control_room.stack.runtime import Endpoints
from services.common.chain import ChainWriter
from tests.unit.histories import T0, sha


class Ledger:
    """Chained lines that grow; `page_lines` keeps pages small."""

    def __init__(self, page_lines=3):
        self.writer = ChainWriter()
        self.lines = []
        self.page_lines = page_lines
        self.in_flight = []
        self.down = False

    def add(self, id_, status=200, body="body"):
        record = {
            "k": "req",
            "id": id_,
            "at": T0 + len(self.lines),
            "sha": sha(body + id_),
            "hmac": "ok",
            "wh": "ok",
            "status": status,
            "src": "0@1",
            "att": "1.1",
            "by": "dispatcher",
        }
        self.lines.append(self.writer.line(record))

    def answer(self, path):
        parts = urlsplit(path)
        if parts.path == "/status":
            return json.dumps({"in_flight": len(self.in_flight), "in_flight_ids": self.in_flight}).encode(), {}
        query = parse_qs(parts.query)
        first = int(query["from"][0])
        page = self.lines[first : first + min(int(query["limit"][0]), self.page_lines)]
        headers = {"X-Next-Line": str(first + len(page)), "X-Ledger-Lines": str(len(self.lines))}
        return b"".join(page), headers


@contextmanager
def serving(ledger):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body, headers = (b"", {}) if ledger.down else ledger.answer(self.path)
            self.send_response(503 if ledger.down else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield Endpoints(
            api_url="",
            replica_urls={},
            merchant_url=url,
            webhook_url="",
            kafka_bootstrap="127.0.0.1:1",
            kafka_ports={},
            kafka_topic="payment-webhooks",
            kafka_group="bruce-dispatcher",
            postgres_conninfo="host=127.0.0.1 port=1 user=nobody dbname=none connect_timeout=1",
            metrics_urls={},
            dispatcher_status_url=f"{url}/status",
            ports={},
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
