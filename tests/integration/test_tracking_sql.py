"""Where each transaction is, read from a real Postgres: right, and as quick with a million old rows as with none."""

import os
import time
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from control_room.chaos.journal import Journals
from control_room.tracking import feed as feed_module
from control_room.tracking import transactions_sql
from control_room.tracking.counts import CountsReader
from control_room.tracking.feed import AT_ONCE, NEAR_S, OVERLAP_S, RUSH, WHOLE_EVERY_S, TransactionFeed
from control_room.tracking.filter import parse_filter
from control_room.tracking.listing import LATEST, Order, Query
from control_room.tracking.parts import SourceError
from control_room.tracking.pipeline import read_outbox
from control_room.tracking.timeline import timeline
from control_room.tracking.transactions import (
    AmbiguousIdError,
    TransactionRow,
    UnknownTransactionError,
    find_transaction,
    list_transactions,
)
from services.common.schema import migrate
from tests.integration.fixtures_stores import until
from tests.unit.member_processes import MerchantDouble, ProcessRuntime

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


def test_every_state_is_told_and_found(conninfo, db):
    states = ("outbox", "in-kafka", "retrying", "requeued", "delivered", "dead", "missing")
    ids = {state: pay(db, state=state, age_s=age_s) for age_s, state in enumerate(states)}
    page = list_transactions(conninfo)
    assert [row.state for row in page] == list(states)
    assert page.complete
    for state, transaction_id in ids.items():
        assert [row.transaction_id for row in list_transactions(conninfo, [state])] == [transaction_id]
    several = list_transactions(conninfo, ["dead", "outbox", "delivered"])
    assert [row.state for row in several] == ["outbox", "delivered", "dead"]
    row = page.rows[1].to_json()
    assert (row["amount_inr"], row["partition"], row["offset"]) == ("3907.34", 1, 4411)


def test_a_rows_fields_are_the_columns_of_the_statements_in_their_order(db):
    """Rows are made by position: two columns of one type that change places would be told as each other."""
    given = {"ids": [str(uuid.uuid4())], "low": uuid.UUID(int=0), "high": uuid.UUID(int=9), "limit": 1}
    for statement in (transactions_sql.BY_IDS, transactions_sql.BY_ID_RANGE):
        described = db.execute(statement, given).description
        assert tuple(column.name for column in described) == TransactionRow._fields


def test_newest_first_up_to_the_limit(conninfo, db):
    ids = [pay(db, age_s=age_s, state="delivered") for age_s in range(5)]
    assert [row.transaction_id for row in list_transactions(conninfo, limit=3)] == ids[:3]


@pytest.mark.parametrize("states", [[], ["retrying"]])
def test_filters_by_attempts_age_and_text(conninfo, db, states):
    old = pay(db, age_s=60, state="retrying", attempts=3, sender="100% Asha_", error="connection reset")
    pay(db, age_s=1, state="retrying", attempts=1, sender="Meera")
    for only in (
        {"min_attempts": 2},
        {"min_age_s": 30},
        {"text": "asha"},
        {"text": "100%"},
        {"text": "a_"},
        {"text": "RESET"},
        {"text": old[:8]},
    ):
        assert [row.transaction_id for row in list_transactions(conninfo, states, **only)] == [old], only
    assert len(list_transactions(conninfo, states, text="%' OR 1=1 --")) == 0
    assert len(list_transactions(conninfo, states, text="ravi")) == 2


def test_a_state_that_does_not_exist_is_named(conninfo):
    with pytest.raises(ValueError, match="there is no state lost; states are outbox"):
        list_transactions(conninfo, ["lost"])


def test_a_search_that_did_not_see_everything_says_so(conninfo, db):
    lost = pay(db, age_s=1000, state="in-kafka")
    for age_s in range(10):
        pay(db, age_s=age_s, state="delivered")
    page = list_transactions(conninfo, ["in-kafka"], look_back=5)
    assert not page.rows
    assert not page.complete
    assert [row.transaction_id for row in list_transactions(conninfo, ["in-kafka"], look_back=11)] == [lost]
    assert list_transactions(conninfo, ["in-kafka"], look_back=11).complete


def test_a_unique_beginning_of_an_id_finds_it(conninfo, db):
    first = pay(db, transaction_id="099ee548-0000-4000-8000-000000000001")
    second = pay(db, transaction_id="099ee549-0000-4000-8000-000000000001", state="delivered")
    assert find_transaction(conninfo, "099EE548").transaction_id == first
    assert find_transaction(conninfo, second).state == "delivered"
    assert find_transaction(conninfo, "099ee548-00").transaction_id == first
    with pytest.raises(AmbiguousIdError, match="fits several") as ambiguous:
        find_transaction(conninfo, "099e")
    assert ambiguous.value.candidates == [first, second]
    with pytest.raises(UnknownTransactionError, match="no accepted payment"):
        find_transaction(conninfo, "ffff")
    for wrong in ("099", "xyz12", "099ee548-0000-4000-8000-000000000001-00"):
        with pytest.raises(ValueError, match="32 hex digits"):
            find_transaction(conninfo, wrong)


def test_the_outbox_tells_depth_leases_and_oldest_age(conninfo, db):
    assert read_outbox(conninfo).oldest_age_s == 0
    pay(db, age_s=30)
    held = pay(db, age_s=5)
    pay(db, state="delivered", age_s=900)
    db.execute(
        "UPDATE outbox_events SET claimed_until = now() + '9 s', claimed_by = 'p' WHERE transaction_id = %s", [held]
    )
    status = read_outbox(conninfo)
    assert (status.pending, status.leased) == (2, 1)
    assert 29 < status.oldest_age_s < 40


def test_a_timeline_joins_postgres_the_ledger_and_the_faults(conninfo, db, tmp_path):
    transaction_id = pay(db, age_s=20, state="delivered")
    now_s = time.time()
    for ago_s, attempt, status, due_s in ((19, 1, 500, 17), (16.5, 2, 200, None)):
        db.execute(
            "INSERT INTO delivery_attempts VALUES (%s, to_timestamp(%s), 1, %s, 41, %s, NULL, 'dispatcher', 1, 4411,"
            " to_timestamp(%s))",
            [transaction_id, now_s - ago_s, attempt, status, due_s and now_s - due_s],
        )
    line = {"k": "req", "id": transaction_id, "hmac": "ok", "wh": "ok", "c": ""}
    ledger = [
        {"n": 0, "at": now_s - 900, "k": "start", "c": ""},
        {**line, "n": 1, "at": now_s - 18.9, "status": 500},
        {**line, "n": 2, "at": now_s - 16.4, "status": 200},
    ]
    journal = tmp_path / "faults.jsonl"
    apply = {"name": "kill", "target": "kafka-2", "at": now_s - 18, "expect": "", "before": {}}
    Journals.of([journal]).announce(apply)
    merchant = MerchantDouble(ledger=ledger)
    endpoints = ProcessRuntime([], merchant_url=merchant.url, conninfo=conninfo).endpoints()
    told = timeline(endpoints, transaction_id[:8], journal)
    merchant.close()
    kinds = [event.kind for event in told.events]
    assert kinds == ["accepted", "attempt", "ledger", "fault", "attempt", "ledger", "published", "delivered"]
    assert told.events[1].what == "500 in 41 ms, wait 2.0 s"
    assert told.notes == ()


def test_lists_stay_quick_over_a_million_rows(conninfo, db):
    """Plans, not luck: no list may read a table through. TRACKING_ROWS=1000000 makes it a measurement."""
    rows = int(os.environ.get("TRACKING_ROWS", "30000"))
    db.execute("SET synchronous_commit = off")
    db.execute(
        "INSERT INTO payments SELECT gen_random_uuid(), now(), 's', 'a@b', 'r', 'c@d', 1, 'SUCCESS', '',"
        " now() - (g || 's')::interval, 'ingestion-api-1' FROM generate_series(1, %s) g",
        [rows],
    )
    db.execute(
        "INSERT INTO outbox_events (transaction_id, published_at, kafka_partition, kafka_offset)"
        " SELECT transaction_id, now(), 0, 1 FROM payments"
    )
    db.execute(
        "INSERT INTO deliveries"
        " SELECT transaction_id, 'delivered', 1, 1, 1, 200, NULL, NULL, now(), now(), 'd' FROM payments"
    )
    db.execute("ANALYZE payments, outbox_events, deliveries")
    given = {"states": None, "min_attempts": 0, "min_age_s": 0, "pattern": None, "prefix": "", "limit": 50}
    given |= {"look_back": 2000, "low": "0" * 32, "high": "0" * 31 + "f"}
    for name in ("BY_PAYMENT", "BY_OUTBOX", "BY_DELIVERY", "BY_ID_RANGE"):
        plan = "\n".join(row[0] for row in db.execute("EXPLAIN " + getattr(transactions_sql, name), given).fetchall())
        assert "Seq Scan" not in plan, f"{name}\n{plan}"
    for states in ([], ["outbox"], ["retrying", "dead"], ["delivered"]):
        assert seconds(lambda states=states: list_transactions(conninfo, states)) < 1
    # These two go through the whole look-back, as nothing fits: the dearest there is.
    assert seconds(lambda: list_transactions(conninfo, ["in-kafka"])) < 8
    assert seconds(lambda: list_transactions(conninfo, text="nobody")) < 8


def seconds(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started


def rush(db, count, state="delivered"):
    """So many payments at once, the first one the oldest; their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    db.execute(
        "INSERT INTO payments SELECT id, now(), 'Asha', 'a@b', 'Ravi', 'c@d', 1, 'SUCCESS', ''::bytea,"
        " clock_timestamp() - make_interval(secs => (%s - nr) * 1e-4), 'ingestion-api-1'"
        " FROM unnest(%s::uuid[]) WITH ORDINALITY AS t (id, nr)",
        [count, ids],
    )
    db.execute(
        "INSERT INTO deliveries SELECT id, %s::text, 1, 1, 1, 200, NULL, NULL, now(), now(), 'dispatcher'"
        " FROM unnest(%s::uuid[]) id",
        [state, ids],
    )
    return ids


def test_in_a_rush_the_newest_are_seen_at_once_and_all_others_a_look_later(conninfo, db):
    feed = TransactionFeed(conninfo)
    feed.read()
    ids = rush(db, RUSH + 1)
    seen = feed.read()
    assert [row.transaction_id for row in seen.changed] == ids[-AT_ONCE:]
    assert seen.seen == len(ids)
    newer = pay(db, state="delivered")
    seen = feed.read()
    assert [row.transaction_id for row in seen.changed] == [*ids[:-AT_ONCE], newer]
    assert seen.held == len(seen.rows) == seen.seen == len(ids) + 1
    assert [row.transaction_id for row in seen.rows] == [newer, *ids[::-1]]
    assert feed.read().changed == ()
    feed.close()


def test_a_rush_that_lasts_shows_what_is_not_delivered_and_tells_how_many_wait(conninfo, db, monkeypatch):
    monkeypatch.setattr(feed_module, "DONE_PER_S", 0)
    feed = TransactionFeed(conninfo)
    feed.read()
    stuck = pay(db, age_s=5, state="retrying", attempts=2)
    ids = [stuck, *rush(db, RUSH + 1)]
    feed.read()
    ids += rush(db, RUSH + 1)
    seen = feed.read()
    changed = {row.transaction_id for row in seen.changed}
    assert (stuck in changed, len(changed)) == (True, 1 + AT_ONCE)
    assert (seen.oldest_open.transaction_id, seen.held + seen.unread) == (stuck, len(ids))
    seen = until(lambda: (seen := feed.read()).unread == 0 and seen, what="the calm in which the others are read")
    assert sorted(row.transaction_id for row in seen.rows) == sorted(ids), "each once"
    accepted = [row.accepted_at_s for row in seen.rows]
    assert accepted == sorted(accepted, reverse=True)
    assert seen.seen == len(ids)
    feed.close()


def test_what_waits_for_its_look_outlives_a_postgres_that_does_not_answer(conninfo, db):
    feed = TransactionFeed(conninfo)
    feed.read()
    ids = rush(db, 2 * RUSH)
    feed.read()
    db.execute("ALTER TABLE payments RENAME COLUMN amount_inr TO elsewhere")
    try:
        with pytest.raises(SourceError):
            feed.read()
    finally:
        db.execute("ALTER TABLE payments RENAME COLUMN elsewhere TO amount_inr")
    seen = feed.read()
    assert {row.transaction_id for row in seen.rows} == set(ids)
    assert seen.seen == len(ids)
    feed.close()


def test_the_living_list_sees_what_arrives_what_changes_and_what_commits_late(conninfo, db):
    old = pay(db, age_s=900, state="retrying", attempts=4)
    pay(db, age_s=30, state="delivered")
    feed = TransactionFeed(conninfo)
    first = feed.read()
    assert len(first.rows) == first.held == 2
    assert (first.open, first.oldest_open.transaction_id, first.seen) == (1, old, 0)
    with psycopg.connect(conninfo) as slow:
        late = pay(slow, age_s=NEAR_S / 2, state="in-kafka")  # not committed yet, and older than the next one
        new = pay(db, state="outbox")
        assert [row.transaction_id for row in feed.read().changed] == [new]
    again = feed.read()
    assert [row.transaction_id for row in again.changed] == [late]
    assert again.seen == 2
    db.execute("UPDATE deliveries SET state = 'delivered', delivered_at = now() WHERE transaction_id = %s", [old])
    done = feed.read()
    assert [(row.transaction_id, row.state) for row in done.changed] == [(old, "delivered")]
    assert done.oldest_open.transaction_id == late
    assert feed.read().changed == ()
    feed.ask(Query(parse_filter("state:open"), Order.OLDEST_OPEN))
    assert [row.transaction_id for row in feed.read().rows] == [late, new]
    feed.close()


def test_the_latency_is_of_the_latest_deliveries_whatever_the_list_shows(conninfo, db):
    stuck = pay(db, age_s=900, state="retrying", attempts=4)
    for _ in range(LATEST + 1):
        pay(db, age_s=2, state="delivered")
    feed = TransactionFeed(conninfo)
    feed.ask(Query(parse_filter("state:dead")))
    first = feed.read()
    assert (len(first.rows), len(first.latencies_s)) == (0, LATEST)
    assert all(1.9 < latency_s < 60 for latency_s in first.latencies_s)
    db.execute("UPDATE deliveries SET state = 'delivered', delivered_at = now() WHERE transaction_id = %s", [stuck])
    then = feed.read()
    assert len(then.latencies_s) == LATEST
    assert max(then.latencies_s) > 899
    feed.close()


def test_a_payment_that_commits_seconds_behind_newer_ones_is_in_the_living_list_once(conninfo, db):
    feed = TransactionFeed(conninfo)
    feed.read()
    with psycopg.connect(conninfo) as slow:
        late = pay(slow, age_s=OVERLAP_S - 1, state="delivered")
        new = pay(db, state="delivered")
        assert [row.transaction_id for row in feed.read().changed] == [new]
    found = until(lambda: (seen := feed.read()).changed and seen, 2 * WHOLE_EVERY_S, "the late one in the list")
    assert [row.transaction_id for row in found.changed] == [late]
    assert [row.transaction_id for row in found.rows] == [new, late]
    feed.close()


def test_every_payment_in_postgres_is_counted_in_one_place(conninfo, db):
    for state in ("outbox", "in-kafka", "in-kafka", "retrying", "requeued", "delivered", "dead"):
        pay(db, state=state)
    found = CountsReader(conninfo).read().to_json()
    assert found == {
        "accepted": 7,
        "delivered": 1,
        "outbox": 1,
        "kafka": 2,
        "in_flight": 0,
        "retrying": 1,
        "requeued": 1,
        "dead": 1,
        "unaccounted": 0,
    }
