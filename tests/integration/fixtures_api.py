"""The ingestion-api for integration tests: events, requests, and replicas as processes of their own."""

import uuid
from contextlib import contextmanager

import pytest
import requests

from services.common.event import canonical_bytes
from services.common.postgres import Link
from services.common.signing import Secrets
from services.ingestion_api.app import make_app
from services.ingestion_api.group_commit import GroupCommit
from services.ingestion_api.pace import Pace
from tests.asgi_client import LOOP, AsgiClient
from tests.integration.fixtures_stores import SECRET, free_port, service, until

SECRETS = Secrets.parse(SECRET)


def event(transaction_id=None, **changes):
    return {
        "Transaction ID": transaction_id or str(uuid.uuid4()),
        "Timestamp": "2024-01-31 10:00:00",
        "Sender Name": "Zoë, \"Z\" 'Iyer' \\ {}",
        "Sender UPI ID": "zoe@okbank",
        "Receiver Name": "आरव NULL",
        "Receiver UPI ID": "aarav@okbank",
        "Amount (INR)": 1250.5,
        "Status": "SUCCESS",
        **changes,
    }


def make_store(conninfo, member, *, deadline_s, after_commit=lambda rows: None):
    link = Link(conninfo, "tests", deadline_s=deadline_s)
    return GroupCommit(link, member, deadline_s=deadline_s, max_events=100, after_commit=after_commit, pace=Pace(0))


def counts(database):
    return database.execute("SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM outbox_events)").fetchone()


def answers(url):
    try:
        return requests.get(f"{url}/readyz", timeout=5).ok
    except requests.ConnectionError:
        return False


def send(url, document, session=requests):
    body = canonical_bytes(document)
    headers = {"X-HMAC-Signature": SECRETS.sign(body), "Content-Type": "application/json"}
    return session.post(f"{url}/events", data=body, headers=headers, timeout=10)


def send_batch(url, documents, session=requests, timeout_s=10):
    body = canonical_bytes(documents)
    headers = {"X-HMAC-Signature": SECRETS.sign(body), "Content-Type": "application/json"}
    return session.post(f"{url}/events/batch", data=body, headers=headers, timeout=timeout_s)


@contextmanager
def replica(tmp_path, conninfo, kafka_settings, member="ingestion-api-1", port=None, **more):
    """The real process, ready, with `more` in its environment; `url` leads to it."""
    port = port or free_port()
    environment = {
        "MEMBER_NAME": member,
        "API_PORT": str(port),
        "DATABASE_URL": conninfo,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC": kafka_settings.kafka_topic,
        **more,
    }
    with service("services.ingestion_api", tmp_path, **environment) as running:
        running.url = f"http://127.0.0.1:{port}"
        running.port = port
        running.environment = environment
        until(lambda: answers(running.url), what="the API")
        yield running


@pytest.fixture
def process(postgres_conninfo, kafka_settings, database, tmp_path):
    with replica(tmp_path, postgres_conninfo, kafka_settings) as running:
        yield running


@pytest.fixture
def handed():
    """The rows that a replica in this process has handed over after their commit."""
    return []


@pytest.fixture
def store(postgres_conninfo, database, handed):
    """A replica's writer in this process."""
    made = make_store(postgres_conninfo, "api-1", deadline_s=2.0, after_commit=handed.extend)
    made.start(LOOP)
    yield made
    made.stop(5)


@pytest.fixture
def client(store):
    """A client of a replica in this process."""
    return AsgiClient(make_app("api-1", SECRETS, store, lambda: True))
