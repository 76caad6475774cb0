"""Evidence from a real Postgres: what is open, where it lies, and the attempts; the ledger comes over HTTP."""

import dataclasses
import json
import uuid

import pytest

from control_room.tracking.evidence import RunFollower, gather, open_ids_before, wait_for_drain
from control_room.tracking.evidence.kafka_claims import Witness, contradictions
from control_room.tracking.evidence.kafka_log import OpenRecords, PartitionLog
from control_room.tracking.evidence.stores_sql import StoreReader, compare_tables
from control_room.verify import Outcome, check
from services.outbox_publisher.retention import START, prune
from tests.unit.histories import History
from tests.unit.ledger_server import Ledger, serving

pytest_plugins = ["tests.integration.fixtures_stores"]

PAY = """
WITH paid AS (
    INSERT INTO payments
    VALUES (%(id)s, now()::timestamp, 'a', 'a@b', 'b', 'c@d', 1, 'SUCCESS', 'x', now(), 'ingestion-api-1')
)
INSERT INTO outbox_events (transaction_id, published_at, kafka_partition, kafka_offset)
SELECT %(id)s, p.at, p.partition, p.offset
  FROM (VALUES (true, now(), 1, 42), (false, NULL, NULL, NULL)) AS p (published, at, partition, "offset")
 WHERE p.published = %(published)s
"""
TRY = """
INSERT INTO deliveries VALUES (%(id)s, %(state)s, 1, 1, 1, 500, %(error)s, now(), NULL, now(), 'dispatcher');
"""
ATTEMPT = (
    "INSERT INTO delivery_attempts VALUES (%(id)s, now(), 1, %(attempt)s, 12.5, 500, NULL, 'dispatcher', 1, 42, now())"
)


@pytest.fixture
def rows(database):
    """Rows as the pipeline writes them."""
    database.execute("TRUNCATE deliveries, delivery_attempts")

    def pay(state=None, *, published=True, error=None):
        id_ = str(uuid.uuid4())
        database.execute(PAY, {"id": id_, "published": published})
        if state:
            database.execute(TRY, {"id": id_, "state": state, "error": error})
        return id_

    return pay


@pytest.fixture
def ledger():
    return Ledger(page_lines=1000)


@pytest.fixture
def endpoints(ledger, postgres_conninfo):
    with serving(ledger) as dead_postgres:
        yield dataclasses.replace(dead_postgres, postgres_conninfo=postgres_conninfo)


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "runs" / "run", ledger_from=0)
    history.drain = None
    history.stores = None
    return history


def begun(history):
    folder = history.write(manifest=False)
    for name in ("ledger.jsonl", "attempts.jsonl", "others.jsonl", "earlier.jsonl", "probes.jsonl"):
        (folder / name).unlink()
    return folder


def test_each_state_of_the_stores_is_told_apart(rows, database, postgres_conninfo):
    expected = {
        rows(published=False): "outbox",
        rows(): "in-kafka",
        rows("retrying"): "retrying",
        rows("requeued"): "requeued",
        rows("dead", error="410"): "dead",
        rows("delivered"): "delivered",
        str(uuid.uuid4()): "missing",
    }
    halved = rows()
    database.execute("DELETE FROM outbox_events WHERE transaction_id = %s", [halved])
    reader = StoreReader(postgres_conninfo)
    asked = [*expected, halved, "no-uuid"]
    assert {row.transaction_id: row.state for row in reader.rows(asked)} == {**expected, halved: "missing"}
    assert set(reader.without_rows(asked)) == {halved, *[id_ for id_, state in expected.items() if state == "missing"]}
    reader.close()


def test_ids_that_are_not_delivered_are_open_before_a_run(rows, endpoints):
    rows("delivered")
    opened = {rows(published=False), rows(), rows("retrying"), rows("requeued")}
    assert set(open_ids_before(endpoints)) == opened


def test_the_arithmetic_places_every_open_id(rows, history, endpoints, ledger):
    ids = [rows(published=False), rows(), rows("retrying"), rows("requeued"), rows("dead"), rows()]
    for id_ in ids:
        history.send(id_)
    silent = rows()
    history.send(silent, "info")
    history.send(str(uuid.uuid4()), "info")
    ledger.add(ids[5])
    ledger.in_flight = [ids[1]]
    with RunFollower(endpoints, begun(history)) as follower:
        arithmetic = follower.sample()
    assert dataclasses.asdict(arithmetic) | {"stale": ()} == {
        "accepted": 6,
        "delivered": 1,
        "outbox": 1,
        "kafka": 0,
        "in_flight": 1,
        "retrying": 1,
        "requeued": 1,
        "dead": 1,
        "unaccounted": 0,
        "unanswered": 1,
        "stale": (),
    }


def test_an_unanswered_id_holds_the_drain_up_exactly_when_it_is_stored(rows, history, endpoints, ledger):
    accepted, stored = rows("delivered"), rows()
    history.send(accepted)
    ledger.add(accepted)
    history.send(str(uuid.uuid4()), "info")
    folder = begun(history)
    assert wait_for_drain(endpoints, folder, 10, linger_s=0).complete
    gather(endpoints, folder, patience_s=1)
    assert (check(folder).outcome, check(folder).classes["unanswered"]) == (Outcome.PROVEN, 1)
    history.send(stored, "info")
    history.folder.joinpath("drain.json").unlink()
    folder = begun(history)
    assert not wait_for_drain(endpoints, folder, 0.5, linger_s=0).complete
    gather(endpoints, folder, patience_s=1)
    assert (check(folder).outcome, check(folder).classes["late"]) == (Outcome.LATE, 1)
    ledger.add(stored)
    assert wait_for_drain(endpoints, folder, 10, linger_s=0).complete
    gather(endpoints, folder, patience_s=1)
    assert (check(folder).outcome, check(folder).classes["recovered"]) == (Outcome.PROVEN, 1)


def test_a_delivered_id_without_its_rows_is_found_and_makes_the_run_invalid(rows, history, endpoints, ledger):
    plain, ghost = rows("delivered"), str(uuid.uuid4())
    for id_ in (plain, ghost):
        history.send(id_)
        ledger.add(id_)
    folder = begun(history)
    wait_for_drain(endpoints, folder, 10, linger_s=0)
    gathered = gather(endpoints, folder, patience_s=1)
    assert gathered.store_lines == 1
    assert (check(folder).exit_code, check(folder).classes["phantom"]) == (10, 1)


def test_a_delivered_id_that_retention_has_pruned_is_unknown_and_no_phantom(rows, history, endpoints, ledger, database):
    plain, pruned = rows("delivered"), rows("delivered")
    for id_ in (plain, pruned):
        history.send(id_)
        ledger.add(id_)
    folder = begun(history)
    wait_for_drain(endpoints, folder, 10, linger_s=0)
    database.execute("UPDATE deliveries SET delivered_at = now() - interval '31 days'")
    database.execute("UPDATE payments SET accepted_at = now() - interval '31 days' WHERE transaction_id = %s", [pruned])
    assert prune(database, after=START, limit=10, retention_s=30 * 86_400).payments == 1
    gather(endpoints, folder, patience_s=1)
    assert (check(folder).exit_code, check(folder).classes["unknown"]) == (12, 1)
    database.execute("UPDATE retention SET pruned_to = NULL")


def test_attempts_are_exported_as_the_dispatcher_recorded_them(rows, history, endpoints, ledger, database):
    id_, other = rows("retrying"), rows("retrying")
    history.send(id_)
    for attempt in (1, 2):
        database.execute(ATTEMPT, {"id": id_, "attempt": attempt})
    database.execute(ATTEMPT, {"id": other, "attempt": 1})
    folder = begun(history)
    wait_for_drain(endpoints, folder, 0, linger_s=0)
    assert gather(endpoints, folder, patience_s=1).attempts == 2
    lines = [json.loads(line) for line in (folder / "attempts.jsonl").read_text().splitlines()]
    assert [(line["id"], line["round"], line["try"], line["ms"], line["status"]) for line in lines] == [
        (id_, 1, 1, 12.5, 500),
        (id_, 1, 2, 12.5, 500),
    ]
    verdict = check(folder)
    assert verdict.exit_code == 11
    assert "; last attempt 1.2: 500; " in verdict.why[id_]


def witness(*, committed=None, end=50, in_sync=3, open_ids=(), complete=True):
    partition = PartitionLog(1, 0, end, committed, "", 3, in_sync)
    return Witness({1: partition}, OpenRecords({id_: [(1, 42, 1)] for id_ in open_ids}, len(open_ids), complete))


@pytest.mark.parametrize(
    ("state", "kafka", "shown"),
    [
        (None, {"committed": 43}, "skipped"),
        (None, {"committed": 42, "end": 42}, "vanished"),
        (None, {"committed": 42}, "vanished"),
        (None, {"committed": 42, "complete": False}, None),
        (None, {"committed": 42, "end": 42, "in_sync": 2}, None),
        (None, {"committed": 42, "open": True}, None),
        ("requeued", {"committed": 43}, "nowhere"),
        ("retrying", {"committed": 43}, "nowhere"),
        ("requeued", {"committed": 43, "open": True}, None),
        ("requeued", {"committed": 43, "complete": False}, None),
        ("requeued", {"committed": 43, "in_sync": 2}, None),
        ("delivered", {"committed": 43}, None),
    ],
)
def test_a_claim_to_be_open_that_kafka_contradicts_is_no_excuse(rows, postgres_conninfo, state, kafka, shown):
    id_ = rows(state)
    opened = [id_] if kafka.pop("open", False) else []
    reader = StoreReader(postgres_conninfo)
    found = contradictions([id_], reader, witness(open_ids=opened, **kafka))
    reader.close()
    assert [(row.transaction_id, state) for row, state in found] == ([(id_, shown)] if shown else [])


def test_tables_that_are_torn_are_told_with_ids(rows, database, postgres_conninfo):
    rows("delivered")
    unpublishable, orphan = rows(), rows()
    assert compare_tables(postgres_conninfo, 10).torn == ()
    database.execute("DELETE FROM outbox_events WHERE transaction_id = %s", [unpublishable])
    database.execute("DELETE FROM payments WHERE transaction_id = %s", [orphan])
    found = compare_tables(postgres_conninfo, 10)
    assert (found.payments, found.outbox) == (2, 2)
    assert set(found.torn) == {(unpublishable, "outbox_events"), (orphan, "payments")}


def test_a_row_that_the_publisher_passed_over_is_told_and_one_that_it_may_yet_take_is_not(
    rows, database, postgres_conninfo
):
    passed = rows(published=False)
    leased = rows(published=False)
    database.execute("UPDATE outbox_events SET created_at = now() - interval '60 s'")
    database.execute(
        "UPDATE outbox_events SET claimed_until = now() + interval '9 s' WHERE transaction_id = %s", [leased]
    )
    by_the_api = rows()
    database.execute(
        "UPDATE outbox_events SET published_by = 'ingestion-api-1' WHERE transaction_id = %s", [by_the_api]
    )
    assert compare_tables(postgres_conninfo, 10).passed_over == ()
    by_the_publisher = rows()
    database.execute(
        "UPDATE outbox_events SET published_by = 'outbox-publisher' WHERE transaction_id = %s", [by_the_publisher]
    )
    rows(published=False)
    [(id_, after_s)] = compare_tables(postgres_conninfo, 10).passed_over
    assert id_ == passed
    assert 55 < after_s < 65
