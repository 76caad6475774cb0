"""A stack that the control room did not start: SASL_SSL on its Kafka, TLS before its Postgres, and its services.

The servers' own ports take nobody in without TLS; a certificate of the test's own authority vouches for them. The
Postgres at hand was built without TLS, so a terminator stands before it, as before many a managed one: it speaks
Postgres' own SSLRequest, and hangs up on whoever asks for less.
"""

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import trustme
from confluent_kafka import KafkaException
from cryptography.hazmat.primitives import serialization
from psycopg.conninfo import make_conninfo

from control_room.stack.local import environment, jars, java, postgres
from control_room.stack.local.kafka import new_cluster_id
from control_room.stack.local.layout import Layout
from services.common.kafka import make_admin
from services.common.settings import KafkaSettings
from tests.integration.fixtures_stores import ROOT, free_port, until

HOST = "127.0.0.1"
USER = "bruce"
PASSWORD = "not-to-be-printed-4711"
SECRET = "0123456789abcdef0123456789abcdef"
MECHANISM = "SCRAM-SHA-512"
_SSL_REQUEST = struct.pack(">ii", 8, 80877103)
_SERVER_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL_SSL
sasl.mechanism.inter.broker.protocol={mechanism}
sasl.enabled.mechanisms={mechanism}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{port}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required username="{user}" password="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
"""


class Secured:
    """Where that stack is, and what lets one in."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = folder / "ca.pem"
        self.keystore = folder / "server.pem"
        self.api = f"http://{HOST}:{free_port()}"
        self.members = {name: f"http://{HOST}:{free_port()}" for name in ("outbox-publisher", "dispatcher")}
        self.members |= {"merchant-server": f"http://{HOST}:{free_port()}", "ingestion-api-1": self.api}
        self.bootstrap = f"{HOST}:{free_port()}"
        self.postgres_port = 0
        ca = trustme.CA()
        ca.cert_pem.write_to_path(self.authority)
        issued = ca.issue_cert(HOST)
        key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        self.keystore.write_bytes(key.private_bytes(*form) + chain)  # PKCS#8: Java reads no other
        self.keystore.chmod(0o600)

    @property
    def kafka_client(self):
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.authority),
        }

    @property
    def postgres(self):
        return {
            "host": HOST,
            "port": self.postgres_port,
            "user": USER,
            "dbname": USER,
            "sslmode": "verify-full",
            "sslrootcert": str(self.authority),
        }

    @property
    def kafka_settings(self):
        return KafkaSettings(kafka_bootstrap_servers=self.bootstrap, kafka_client=json.dumps(self.kafka_client))


class TlsDoor:
    """TLS before a Postgres: takes the SSLRequest, and nothing else, for a beginning."""

    def __init__(self, certificate, target_port):
        self._target = (HOST, target_port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._server = socket.create_server((HOST, 0))
        self.port = self._server.getsockname()[1]
        self.refused = 0
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for one in (self._server, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            if near.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) != _SSL_REQUEST:
                self.refused += 1
                near.close()
                return
            near.sendall(b"S")
            near = self._context.wrap_socket(near, server_side=True)
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        self._open += [near, far]
        threading.Thread(target=_carry, args=(far, near), daemon=True).start()
        _carry(near, far)


def _carry(source, sink):
    with suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def process(command, log, **options):
    """Runs it; its output goes to `log`. Killed at the end."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def kafka(stack):
    """One broker that nobody enters without TLS and a password."""
    home = stack.folder / "kafka"
    home.mkdir()
    properties = home / "server.properties"
    values = {"mechanism": MECHANISM, "user": USER, "password": PASSWORD, "keystore": stack.keystore}
    values |= {"authority": stack.authority, "data": home / "data", "controller": free_port()}
    properties.write_text(_SERVER_PROPERTIES.format(port=stack.bootstrap.split(":")[1], **values))
    found = jars.provide(jars.cache_dir(os.environ), os.environ, print)
    base = [java.find(os.environ).executable, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    base += [f"-Dlog4j2.configurationFile={ROOT}/compose/kafka/log4j2.properties", "-cp", ":".join(map(str, found))]
    user = f"{MECHANISM}=[name={USER},password={PASSWORD}]"
    form = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", properties, "--add-scram", user]
    done = subprocess.run([*base, *form], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    log = stack.folder / "kafka.log"
    with process([*base, "kafka.Kafka", properties], log) as running:

        def answers():
            assert running.poll() is None, log.read_text()[-3000:]
            return len(make_admin(stack.kafka_settings, "tests").list_topics(timeout=2).brokers) == 1

        until(lambda: _quietly(answers), what="the broker")
        yield


@contextmanager
def database(stack):
    """Postgres, with TLS before it."""
    layout = Layout(stack.folder / "postgres-state")
    layout.prepare()
    place, port = postgres.locate(layout, print), free_port()
    place.initialise(USER, PASSWORD, print)
    who = {} if place.account is None else {"user": place.account.uid, "group": place.account.gid, "extra_groups": []}
    env = postgres.environment(environment.system(os.environ))
    try:
        with process(place.command(port), stack.folder / "postgres.log", env=env, cwd="/", **who):
            until(lambda: postgres.answers(port), what="Postgres")
            postgres.ensure_database(postgres.conninfo(port, USER, PASSWORD, "postgres"), USER)
            door = stack.postgres_door = TlsDoor(stack.keystore, port)
            stack.postgres_port = door.port
            try:
                yield
            finally:
                door.close()
    finally:
        postgres.forget(layout)


@contextmanager
def service(stack, name, **settings):
    """One of Bruce's services, let in as the control room is; ready."""
    conninfo = make_conninfo("", password=PASSWORD, **stack.postgres)
    own = {"MEMBER_NAME": name, "HMAC_SECRET": SECRET, "LOG_FORMAT": "plain", "DATABASE_URL": conninfo}
    own |= {"KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap, "KAFKA_CLIENT": json.dumps(stack.kafka_client)}
    own |= {"KAFKA_REPLICATION_FACTOR": "1", "KAFKA_MIN_INSYNC_REPLICAS": "1"}
    module = "ingestion_api" if name.startswith("ingestion-api") else name.replace("-", "_")
    env = {**environment.system(os.environ), **own, **settings}
    log = stack.folder / f"{name}.log"
    with process([sys.executable, "-m", f"services.{module}"], log, cwd=ROOT, env=env) as running:
        (stack.folder / f"{name}.pid").write_text(str(running.pid))

        def answers():
            assert running.poll() is None, log.read_text()[-3000:]
            path = "/status" if name == "dispatcher" else "/healthz"
            answer = requests.get(f"{stack.members[name]}{path}", timeout=2)
            return answer.ok and (name != "dispatcher" or answer.json()["assigned"])

        until(lambda: _quietly(answers), what=name)
        yield


def _quietly(look):
    try:
        return look()
    except (KafkaException, requests.RequestException):
        return False


def port_of(url):
    return url.rsplit(":", 1)[1]


@pytest.fixture(scope="module")
def secured():
    """The stack, up; everything of it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bruce-elsewhere-") as folder, ExitStack() as running:
        stack = Secured(Path(folder))
        running.enter_context(database(stack))
        running.enter_context(kafka(stack))
        ports = SimpleNamespace(**{name.replace("-", "_"): port_of(url) for name, url in stack.members.items()})
        merchant = {"MERCHANT_PORT": ports.merchant_server, "LEDGER_PATH": str(stack.folder / "ledger.jsonl")}
        running.enter_context(service(stack, "merchant-server", FAILURE_RATE="0.2", **merchant))
        running.enter_context(service(stack, "ingestion-api-1", API_PORT=ports.ingestion_api_1))
        running.enter_context(service(stack, "outbox-publisher", METRICS_PORT=ports.outbox_publisher))
        webhook = f"{stack.members['merchant-server']}/webhook_listener"
        quick = {"RETRY_BACKOFF_SEC": "0.2", "REQUEST_TIMEOUT_SEC": "1", "PROBE_INTERVAL_SECONDS": "1"}
        dispatcher = {"WEBHOOK_URL": webhook, "METRICS_PORT": ports.dispatcher}
        running.enter_context(service(stack, "dispatcher", **dispatcher, **quick))
        yield stack
