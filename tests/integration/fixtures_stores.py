"""A database and a topic of its own for each test module, on the servers that the `stack` fixture runs.

Without that fixture's stack: TEST_POSTGRES_CONNINFO and TEST_KAFKA_BOOTSTRAP name servers that already run.
"""

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services.common.kafka import ensure_topics, make_admin
from services.common.schema import migrate
from services.common.settings import KafkaSettings

SECRET = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).parents[2]


def until(condition, timeout_s=60.0, what="the condition"):
    """Waits for `condition` to be true and returns its value."""
    end_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end_s, f"{what} did not come true within {timeout_s:g} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def postgres_conninfo(request):
    """A migrated database of this module's own."""
    server = os.environ.get("TEST_POSTGRES_CONNINFO")
    if not server:
        server = request.getfixturevalue("stack").endpoints().postgres_conninfo
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    conninfo = make_conninfo("", **{**conninfo_to_dict(server), "dbname": name})
    migrate(conninfo)
    yield conninfo
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres_conninfo):
    """A connection to the module's database, its tables emptied first."""
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute("TRUNCATE payments, outbox_events, published_batches, redeliveries")
        yield connection


@pytest.fixture(scope="module")
def kafka_bootstrap(request):
    """The three brokers."""
    return os.environ.get("TEST_KAFKA_BOOTSTRAP") or request.getfixturevalue("stack").endpoints().kafka_bootstrap


@pytest.fixture(scope="module")
def kafka_settings(kafka_bootstrap):
    """Settings with a topic of this module's own."""
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap, kafka_topic=f"test-{uuid.uuid4().hex[:12]}")
    ensure_topics(settings, "tests")
    yield settings
    admin = make_admin(settings, "tests")
    for future in admin.delete_topics([settings.kafka_topic, settings.dead_topic]).values():
        future.result(20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def service(module, tmp_path, **environment):
    """A service as a process of its own; killed at the end if it still runs."""
    path = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    name = environment["MEMBER_NAME"]
    with (tmp_path / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**path, "HMAC_SECRET": SECRET, "LOG_FORMAT": "plain", **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    process.log_text = lambda: (tmp_path / f"{name}.log").read_text()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Link:
    """A TCP proxy: a link to a server that can be cut (refused) or fall silent."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self):
        """Nothing gets through any more, and nobody is told."""
        self._open.clear()

    def heal(self):
        self._open.set()

    def cut(self):
        """Every connection is gone; new ones are served."""
        for one in self._sockets:
            hang_up(one)
        self._sockets.clear()

    def close(self):
        self._closed = True
        self._server.close()
        self.cut()
        self._open.set()

    def _accept(self):
        while not self._closed:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
            except OSError:
                continue
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source, sink):
        try:
            while block := source.recv(65536):
                self._open.wait()
                sink.sendall(block)
        except OSError:
            pass
        hang_up(sink)


def hang_up(one):
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@pytest.fixture
def postgres_link(postgres_conninfo):
    """A proxied way to the module's Postgres: the link, and the conninfo that leads through it."""
    target = conninfo_to_dict(postgres_conninfo)
    link = Link(target.get("host", "127.0.0.1"), int(target.get("port", 5432)))
    yield link, make_conninfo(postgres_conninfo, host="127.0.0.1", port=link.port)
    link.close()
