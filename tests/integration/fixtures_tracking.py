"""A database of its own with the pipeline's tables, and payments in it that are wherever a test wants them."""

import os
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.common.schema import migrate

DATABASE = f"tracking_{os.getpid()}"


def server_conninfo(request):
    """Where a Postgres is: the scratch one that the environment names, else the session's stack."""
    if os.environ.get("POSTGRES_PASSWORD"):
        names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "DB"}
        return make_conninfo("", **{key: os.environ[f"POSTGRES_{name}"] for key, name in names.items()})
    return request.getfixturevalue("stack").endpoints().postgres_conninfo


@pytest.fixture(scope="module")
def conninfo(request):
    server = server_conninfo(request)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
        try:
            own = make_conninfo(server, dbname=DATABASE)
            migrate(own)
            yield own
        finally:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture
def db(conninfo):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("TRUNCATE payments, outbox_events, deliveries, delivery_attempts, redeliveries")
        yield connection


def pay(db, age_s=0.0, state="outbox", transaction_id=None, attempts=1, sender="Asha", error=None):
    """One payment in `state`, accepted `age_s` ago."""
    transaction_id = transaction_id or str(uuid.uuid4())
    db.execute(
        "INSERT INTO payments VALUES (%s, now(), %s, 'a@b', 'Ravi', 'c@d', 3907.34, 'SUCCESS', ''::bytea,"
        " clock_timestamp() - make_interval(secs => %s), 'ingestion-api-2')",
        [transaction_id, sender, age_s],
    )
    if state == "missing":
        return transaction_id
    published = state != "outbox"
    db.execute(
        "INSERT INTO outbox_events (transaction_id, created_at, published_at, published_by, kafka_partition,"
        " kafka_offset) VALUES (%s, clock_timestamp() - make_interval(secs => %s), %s, %s, %s, %s)",
        [transaction_id, age_s, "now" if published else None, "ingestion-api-2" if published else None,
         1 if published else None, 4411 if published else None],
    )  # fmt: skip
    if state in ("retrying", "requeued", "delivered", "dead"):
        db.execute(
            "INSERT INTO deliveries VALUES (%s, %s, 1, %s, %s, 500, %s, NULL, %s, now(), 'dispatcher')",
            [transaction_id, state, attempts, attempts, error, "now" if state == "delivered" else None],
        )
    return transaction_id
