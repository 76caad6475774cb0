"""What the settings say of TLS and logins reaches librdkafka and libpq: seen in the first bytes that leave."""

import os
import socket
import threading

import psycopg
import pytest
from confluent_kafka import KafkaException
from pydantic import ValidationError

from services.common.kafka import make_admin, make_consumer, make_producer
from services.common.settings import KafkaSettings, PostgresSettings, explain, load

TLS_HANDSHAKE = 0x16
POSTGRES_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
LOGIN = {"kafka_sasl_username": "bruce", "kafka_sasl_password": "a-password"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(("KAFKA_", "POSTGRES_", "DATABASE_URL")):
            monkeypatch.delenv(name)


class Ear:
    """A server that keeps what its first caller says first, and answers `answer`."""

    def __init__(self, answer=b""):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._heard = b""
        self._answer = answer
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        caller, _ = self._socket.accept()
        with caller:
            self._heard = caller.recv(64)
            caller.sendall(self._answer)

    def heard(self):
        self._thread.join(10)
        self._socket.close()
        assert self._heard, "nobody called"
        return self._heard


def client(kind, settings):
    if kind == "admin":
        return make_admin(settings, "test")
    return (make_producer if kind == "producer" else make_consumer)(settings, "test")


@pytest.mark.parametrize("kind", ["producer", "consumer", "admin"])
@pytest.mark.parametrize(("protocol", "encrypted"), [("PLAINTEXT", False), ("SSL", True), ("SASL_SSL", True)])
def test_each_kafka_client_speaks_as_it_is_told(kind, protocol, encrypted):
    ear = Ear()
    settings = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{ear.port}", kafka_security_protocol=protocol, **LOGIN)
    made = client(kind, settings)
    with pytest.raises(KafkaException):
        made.list_topics(timeout=1.0)
    assert (ear.heard()[0] == TLS_HANDSHAKE) is encrypted


def test_every_way_of_logging_in_is_known_to_the_client():
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        settings = KafkaSettings(kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism=mechanism, **LOGIN)
        assert settings.security["sasl.mechanism"] == mechanism
        make_producer(settings, "test")


def test_the_authorities_of_the_settings_are_those_that_are_read(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(KafkaException, match=r"ssl\.ca\.location"):
        make_producer(KafkaSettings(kafka_security_protocol="SSL", kafka_ssl_ca_location=file), "test")


def test_without_tls_or_a_login_nothing_of_them_is_passed_on(tmp_path):
    file = tmp_path / "ca.pem"
    file.touch()
    settings = KafkaSettings(kafka_ssl_ca_location=file, **LOGIN)
    assert settings.security == {"security.protocol": "PLAINTEXT"}
    assert "sasl.username" not in KafkaSettings(kafka_security_protocol="SSL", **LOGIN).security


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "set KAFKA_SASL_USERNAME, and KAFKA_SASL_PASSWORD or"),
        ({"kafka_security_protocol": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT', 'SSL'"),
        ({"kafka_ssl_ca_location": "/nowhere/ca.pem"}, "KAFKA_SSL_CA_LOCATION: Path does not point to a file"),
        ({"kafka_ssl_certificate_location": __file__}, "KAFKA_SSL_KEY_LOCATION go together"),
    ],
)
def test_half_a_login_stops_the_start_with_what_is_missing(given, sentence):
    with pytest.raises(ValidationError) as caught:
        KafkaSettings(**given)
    assert sentence in explain(caught.value)[0]


def test_a_refused_login_shows_no_password(monkeypatch, capsys):
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    with pytest.raises(SystemExit):
        load(KafkaSettings)
    assert "hunter2" not in capsys.readouterr().err


def test_the_password_for_kafka_may_stand_in_a_file(monkeypatch, tmp_path):
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "bruce")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(file))
    assert load(KafkaSettings).security["sasl.password"] == "hunter2"


def test_a_postgres_without_tls_is_left_where_tls_is_required():
    ear = Ear(answer=b"N")
    settings = PostgresSettings(postgres_host="127.0.0.1", postgres_port=ear.port, postgres_sslmode="require")
    with pytest.raises(psycopg.OperationalError, match="server does not support SSL, but SSL was required"):
        psycopg.connect(settings.conninfo)
    assert ear.heard() == POSTGRES_SSL_REQUEST


def test_files_for_postgres_are_passed_on_and_the_url_goes_before_them(tmp_path):
    file = tmp_path / "ca.pem"
    file.touch()
    tls = {"postgres_sslmode": "verify-full", "postgres_sslrootcert": file}
    found = psycopg.conninfo.conninfo_to_dict(PostgresSettings(**tls).conninfo)
    assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", str(file))
    url = "postgresql://u:p@host/db"
    found = psycopg.conninfo.conninfo_to_dict(PostgresSettings(database_url=url, **tls).conninfo)
    assert found["sslmode"] == "verify-full"
    found = psycopg.conninfo.conninfo_to_dict(PostgresSettings(database_url=f"{url}?sslmode=require", **tls).conninfo)
    assert found["sslmode"] == "require"
    assert "sslmode" not in psycopg.conninfo.conninfo_to_dict(PostgresSettings().conninfo)
