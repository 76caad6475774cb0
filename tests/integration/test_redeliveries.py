"""What an operator asks for arrives once more, signed anew, whatever dies; and nothing is asked for twice at once."""

import threading
import time
import uuid

import pytest
from standardwebhooks import Webhook

from control_room.replay.redelivery import redeliver, select_fitting, select_ids
from control_room.tracking.evidence.stores_sql import StoreReader
from control_room.tracking.feed import TransactionFeed
from control_room.tracking.filter import parse_filter
from control_room.tracking.parts import SourceError
from control_room.tracking.transactions import find_transaction, list_transactions
from services.common import redeliveries
from services.common.event import canonical_bytes
from services.common.redeliveries import Place, Redelivered
from services.common.signing import standard_webhooks_secret
from tests.integration.fixtures_stores import SECRET, free_port, service, until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_dispatcher"]
STATES = ("outbox", "in-kafka", "retrying", "requeued", "delivered", "dead")
CLAIM = {"limit": 10, "furthest_s": 300.0, "lease_s": 30.0}


@pytest.fixture
def db(database):
    database.execute("TRUNCATE deliveries, delivery_attempts, redeliveries RESTART IDENTITY")
    database.execute("UPDATE published_topic SET topic_id = 'one'")
    return database


def pay(db, state):
    """A payment that is where `state` says."""
    transaction_id = str(uuid.uuid4())
    db.execute(
        "INSERT INTO payments VALUES (%s, now(), 'Asha', 'a@b', 'Ravi', 'c@d', 3907.34, 'SUCCESS', %s,"
        " clock_timestamp() - interval '60 s', 'ingestion-api-2')",
        [transaction_id, canonical_bytes({"Transaction ID": transaction_id})],
    )
    published = state != "outbox"
    db.execute(
        "INSERT INTO outbox_events (transaction_id, created_at, published_at, kafka_partition, kafka_offset)"
        " VALUES (%s, now(), %s, 1, 5)",
        [transaction_id, "now" if published else None],
    )
    if state not in ("outbox", "in-kafka"):
        db.execute(
            "INSERT INTO deliveries VALUES (%s, %s, 1, 1, 1, 200, NULL, NULL, now(), now(), 'dispatcher')",
            [transaction_id, state],
        )
    return transaction_id


def ended(db):
    return db.execute("SELECT number, ended_as FROM redeliveries ORDER BY number").fetchall()


def test_only_what_has_ended_is_taken_and_the_rest_is_refused_with_a_sentence(postgres_conninfo, db):
    ids = {state: pay(db, state) for state in STATES}
    asked = redeliver(postgres_conninfo, [*ids.values(), str(uuid.uuid4())], "the merchant lost its disk")
    assert set(asked.numbers) == {ids["delivered"], ids["dead"]}
    assert sum("still on its way" in sentence for sentence in asked.refused) == 4
    assert sum("no accepted payment" in sentence for sentence in asked.refused) == 1
    reasons = db.execute("SELECT DISTINCT reason FROM redeliveries").fetchall()
    assert reasons == [("the merchant lost its disk",)]
    again = redeliver(postgres_conninfo, [ids["delivered"]], "")
    assert again.numbers == {}
    assert "is being redelivered already" in again.refused[0]


def test_two_who_ask_at_the_same_moment_ask_once(postgres_conninfo, db):
    ids = [pay(db, "delivered") for _ in range(50)]
    found, ready = [], threading.Barrier(4)

    def ask(chosen):
        ready.wait()
        found.append(redeliver(postgres_conninfo, chosen, "").numbers)

    threads = [threading.Thread(target=ask, args=[ids[::step]]) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(one for numbers in found for one in numbers) == sorted(ids)


def test_a_filter_chooses_what_can_be_redelivered_and_counts_the_rest(postgres_conninfo, db):
    ids = {state: pay(db, state) for state in STATES}
    chosen = select_fitting(postgres_conninfo, parse_filter("asha"))
    assert set(chosen.ids) == {ids["delivered"], ids["dead"]}
    assert (chosen.states, chosen.on_their_way, chosen.complete) == ({"delivered": 1, "dead": 1}, 4, True)
    assert select_fitting(postgres_conninfo, parse_filter("state:dead")).ids == (ids["dead"],)
    named = select_ids(postgres_conninfo, [ids["dead"], ids["dead"][:8], ids["outbox"]])
    assert named.ids == (ids["dead"],)
    assert "still on its way (outbox)" in named.refused[0]


def test_a_lease_holds_until_it_runs_out_and_a_mark_keeps_the_first_place(db):
    number = redeliveries.ask(db, [pay(db, "delivered")], "")[0].number
    assert [due.number for due in redeliveries.claim(db, "one", **CLAIM | {"lease_s": 0.3})] == [number]
    assert redeliveries.claim(db, "two", **CLAIM) == []
    [due] = until(lambda: redeliveries.claim(db, "two", **CLAIM), what="the lease's end")
    assert due.taken_over
    assert redeliveries.release(db, "one", [number]) == 0, "it is somebody else's by now"
    assert redeliveries.mark_published(db, "two", [Redelivered(number, 2, 9, time.time())]) == 1
    assert redeliveries.mark_published(db, "one", [Redelivered(number, 1, 4, time.time())]) == 0
    assert redeliveries.last_places(db, limit=9) == [Place(number, 2, 9)]


def test_what_went_to_a_topic_or_an_offset_that_is_gone_goes_out_again(db):
    number = redeliveries.ask(db, [pay(db, "delivered")], "")[0].number
    for put_back in (
        lambda: redeliveries.put_back(db, "another", limit=9),
        lambda: redeliveries.put_these_back(db, [Place(number, 2, 9)]),
    ):
        assert len(redeliveries.claim(db, "one", **CLAIM)) == 1
        redeliveries.mark_published(db, "one", [Redelivered(number, 2, 9, time.time())])
        assert redeliveries.put_back(db, "one", limit=9) == 0
        assert redeliveries.put_these_back(db, [Place(number, 2, 8)]) == 0
        assert redeliveries.claim(db, "one", **CLAIM) == []
        assert put_back() == 1
    assert len(redeliveries.claim(db, "one", **CLAIM)) == 1


def test_a_dead_lettered_one_is_where_its_redelivery_is(postgres_conninfo, db):
    one = pay(db, "dead")
    feed, stores = TransactionFeed(postgres_conninfo), StoreReader(postgres_conninfo)

    def places():
        listed = {row.state for row in feed.read().rows}
        assert listed == {find_transaction(postgres_conninfo, one).state} == {stores.rows([one])[0].state}
        assert [row.transaction_id for row in list_transactions(postgres_conninfo, listed)] == [one]
        return listed.pop()

    try:
        assert places() == "dead"
        number = redeliveries.ask(db, [one], "")[0].number
        assert places() == "outbox"
        redeliveries.claim(db, "one", **CLAIM)
        redeliveries.mark_published(db, "one", [Redelivered(number, 2, 9, time.time())])
        assert places() == "in-kafka"
        assert (stores.rows([one])[0].partition, stores.rows([one])[0].offset) == (2, 9)
    finally:
        feed.close()
        stores.close()


@pytest.fixture
def publisher(postgres_conninfo, payments, tmp_path):
    """`publisher(NAME=value, …)`: a running outbox-publisher on the test's topic."""

    def run(**changes):
        environment = {
            "MEMBER_NAME": "outbox-publisher",
            "DATABASE_URL": postgres_conninfo,
            "KAFKA_BOOTSTRAP_SERVERS": payments.settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC": payments.settings.kafka_topic,
            "METRICS_PORT": str(free_port()),
            "OUTBOX_LEASE_SEC": "10",
            "OUTBOX_TIMEOUT_SEC": "5",
            **changes,
        }
        return service("services.outbox_publisher", tmp_path, **environment)

    return run


def test_redeliveries_arrive_signed_anew_under_their_ids_though_publisher_and_dispatcher_are_killed(
    postgres_conninfo, db, publisher, dispatcher, merchant
):
    """Both are killed with `kill -9` while work is under way, and the merchant refuses some at first: re-queues too."""
    ids = [pay(db, "delivered") for _ in range(200)] + [pay(db, "dead")]
    refused = set(ids[:20])
    merchant.answer = lambda transaction_id: 500 if transaction_id in refused else 200
    assert len(redeliver(postgres_conninfo, ids, "asked").numbers) == len(ids)
    with publisher() as first:
        until(lambda: db.execute("SELECT count(*) > 0 FROM redeliveries WHERE published_at IS NOT NULL").fetchone()[0])
        first.kill()
        first.wait()
    with publisher(), dispatcher(MAX_RETRIES="2") as hit:
        until(lambda: any(a.headers["x-bruce-attempt"].startswith("2.") for a in merchant.attempts), what="a re-queue")
        hit.kill()
        hit.wait()
        refused.clear()
        with dispatcher(MAX_RETRIES="2"):
            until(lambda: all(end == "delivered" for _, end in ended(db)), what="every redelivery's end")
    assert set(merchant.delivered) == set(ids)
    numbers = {str(number): str(one) for number, one in db.execute("SELECT number, transaction_id FROM redeliveries")}
    for attempt in merchant.attempts:
        assert numbers[attempt.headers["x-bruce-redelivery"]] == attempt.transaction_id
        Webhook(standard_webhooks_secret(SECRET)).verify(attempt.body, attempt.headers)
        assert attempt.body == canonical_bytes({"Transaction ID": attempt.transaction_id})
    assert {find_transaction(postgres_conninfo, one).state for one in ids} == {"delivered"}
    tried = db.execute("SELECT count(*) FROM attempts WHERE redelivery IS NULL").fetchone()[0]
    assert tried == 0


def test_without_postgres_nothing_is_asked_for_and_a_sentence_says_so(db):
    with pytest.raises(SourceError, match="Postgres does not take the redelivery"):
        redeliver("host=127.0.0.1 port=1 user=x dbname=x", [str(uuid.uuid4())], "")
    assert ended(db) == []
