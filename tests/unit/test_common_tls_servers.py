"""Kafka's and Postgres's clients finish a TLS handshake with a server that is who it says, and with no other one."""

import os
import shutil
import socket
import ssl
import subprocess
import threading

import psycopg
import pytest
from confluent_kafka import KafkaException

from services.common.kafka import make_admin
from services.common.settings import KafkaSettings, PostgresSettings

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make certificates with")
POSTGRES_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_authority(folder):
    """The certificate of an authority of its own, with which `folder` can vouch for others."""
    folder.mkdir()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=an authority",
            "-keyout", folder / "ca.key", "-out", folder / "ca.crt")  # fmt: skip
    return folder / "ca.crt"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A folder with an authority, and a server's certificate for localhost from it."""
    folder = tmp_path_factory.mktemp("tls") / "authority"
    make_authority(folder)
    (folder / "extensions").write_text("subjectAltName=DNS:localhost\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", folder / "server.key", "-out", folder / "server.csr")  # fmt: skip
    openssl("x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", folder / "extensions",
            "-out", folder / "server.crt")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def another_authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("tls") / "another")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(("KAFKA_", "POSTGRES_", "DATABASE_URL")):
            monkeypatch.delenv(name)


class TlsServer:
    """Offers TLS to whoever calls, and counts those who had the handshake end well and said something after it."""

    def __init__(self, folder, *, asks_first=b""):
        """`asks_first`: what a caller must say in the open before it gets its TLS."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self._asks_first = asks_first
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.trusted = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                try:
                    if self._asks_first:
                        assert caller.recv(len(self._asks_first)) == self._asks_first
                        caller.sendall(b"S")
                    with self._context.wrap_socket(caller, server_side=True) as secured:
                        self.trusted += bool(secured.recv(1))
                except OSError:
                    continue  # who did not trust us hangs up

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


def ask_kafka(host, port, authority):
    settings = KafkaSettings(
        kafka_bootstrap_servers=f"{host}:{port}", kafka_security_protocol="SSL", kafka_ssl_ca_location=authority
    )
    with pytest.raises(KafkaException):  # it is no Kafka: what counts is how far it is trusted
        make_admin(settings, "test").list_topics(timeout=1.5)


def ask_postgres(host, port, authority):
    settings = PostgresSettings(
        postgres_host=host, postgres_port=port, postgres_sslmode="verify-full", postgres_sslrootcert=authority
    )
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(settings.conninfo)
    return str(refused.value)


def test_kafka_is_told_apart_by_authority_and_by_name(authority, another_authority):
    with TlsServer(authority) as server:
        ask_kafka("localhost", server.port, another_authority)
        ask_kafka("127.0.0.1", server.port, authority / "ca.crt")
        assert server.trusted == 0
        ask_kafka("localhost", server.port, authority / "ca.crt")
        assert server.trusted > 0


def test_postgres_is_told_apart_by_authority_and_by_name(authority, another_authority):
    with TlsServer(authority, asks_first=POSTGRES_SSL_REQUEST) as server:
        assert "certificate verify failed" in ask_postgres("localhost", server.port, another_authority)
        assert "does not match host name" in ask_postgres("127.0.0.1", server.port, authority / "ca.crt")
        assert server.trusted == 0
        ask_postgres("localhost", server.port, authority / "ca.crt")
        assert server.trusted == 1
