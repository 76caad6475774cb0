"""A runtime for tests of faults: members are real child processes, so that pids and ports tell the truth."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psutil

from control_room.stack.runtime import Endpoints, MemberStatus, State

_SERVER = """
import socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        if self.request.recv(65536):
            self.request.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ProcessRuntime:
    """Implements the runtime protocol for some members; the rest count as never started."""

    name = "fake"

    def __init__(self, members, merchant_url="http://127.0.0.1:9", conninfo="host=127.0.0.1 port=9 connect_timeout=2"):
        self.ports = {member: free_port() for member in members}
        self.processes = {}
        self.frozen = set()
        self.deaf = set()
        """Members whose kill does nothing: a fault without an effect."""
        self._merchant_url = merchant_url
        self._conninfo = conninfo
        self.start(members)

    def start(self, members):
        for member in members:
            command = [sys.executable, "-c", _SERVER, str(self.ports[member])]
            self.processes[member] = subprocess.Popen(command, start_new_session=True)

    def _signal(self, members, number):
        for member in members:
            if member not in self.deaf:
                self.processes[member].send_signal(number)

    def kill(self, members):
        self._signal(members, signal.SIGKILL)
        for member in members:
            if member not in self.deaf:
                self.processes[member].wait()
            self.frozen.discard(member)

    def stop(self, members):
        self.kill(members)

    def crash(self, members):
        self.kill(members)
        threading.Timer(0.2, self.start, [members]).start()

    def freeze(self, members):
        self._signal(members, signal.SIGSTOP)
        self.frozen.update(members)

    def thaw(self, members):
        self._signal(members, signal.SIGCONT)
        self.frozen.difference_update(members)

    def restart(self, members):
        self.kill(members)
        self.start(members)

    def status(self):
        return [self._status(member) for member in self.ports]

    def _status(self, member):
        process = self.processes[member]
        try:
            started_at_s = psutil.Process(process.pid).create_time()
        except psutil.NoSuchProcess:
            started_at_s = None
        if started_at_s is None or process.poll() is not None:
            return MemberStatus(member, State.STOPPED, False)
        state = State.FROZEN if member in self.frozen else State.RUNNING
        return MemberStatus(member, state, True, pid=process.pid, started_at_s=started_at_s)

    def links(self):
        return None

    def endpoints(self):
        nowhere = "http://127.0.0.1:9"
        return Endpoints(
            api_url=nowhere,
            replica_urls={},
            merchant_url=self._merchant_url,
            webhook_url=nowhere,
            kafka_bootstrap="127.0.0.1:9",
            kafka_ports={},
            kafka_topic="payment-webhooks",
            kafka_group="bruce-dispatcher",
            postgres_conninfo=self._conninfo,
            metrics_urls={},
            dispatcher_status_url=nowhere,
            ports=self.ports,
        )

    def close(self):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


class MerchantDouble:
    """Speaks the merchant's admin and ledger pages, and answers probes in the modes normal, outage and silent."""

    def __init__(self, behaviour=None, ledger=()):
        self.behaviour = dict(behaviour or {"mode": "normal", "failure_rate": 0.7, "latency_ms": 0.0})
        self.ledger = list(ledger)
        self.questions = 0
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(merchant):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            merchant.questions += 1
            url = urlsplit(self.path)
            if url.path == "/ledger":
                asked = {key: int(value[0]) for key, value in parse_qs(url.query).items()}
                lines = merchant.ledger[asked["from"] : asked["from"] + asked["limit"]]
                self._reply(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            elif url.path == "/admin/state":
                self._reply(json.dumps({"behaviour": merchant.behaviour, "answers": {}, "started_at": 1.0}).encode())
            else:
                self._reply(json.dumps(merchant.behaviour).encode())

        def do_PUT(self):
            merchant.behaviour.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._reply(b"{}")

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if merchant.behaviour["mode"] == "silent":
                merchant.closing.wait()
                return
            failing = merchant.behaviour["mode"] == "outage" or merchant.behaviour["failure_rate"] > 0
            self._reply(b"{}", 500 if failing else 200)

        def _reply(self, body, status=200):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def wait_until(condition, deadline_s=10.0):
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.02)
