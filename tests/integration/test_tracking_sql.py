"""Where each transaction is, read from a real Postgres: right, and as quick with a million old rows as with none."""

import os
import time
import uuid

import pytest

from control_room.chaos.journal import Journals
from control_room.tracking import transactions_sql
from control_room.tracking.counts import CountsReader
from control_room.tracking.pipeline import read_outbox
from control_room.tracking.timeline import timeline
from control_room.tracking.transactions import (
    AmbiguousIdError,
    TransactionRow,
    UnknownTransactionError,
    find_transaction,
    list_transactions,
)
from tests.integration.fixtures_tracking import pay
from tests.unit.member_processes import MerchantDouble, ProcessRuntime

pytest_plugins = ["tests.integration.fixtures_tracking"]


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
