"""`POST /events/batch` with a real Postgres, and the real Kafka where the hand-over is meant."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from services.common import crash
from services.common.event import canonical_bytes
from services.ingestion_api.app import make_app
from tests.asgi_client import LOOP, AsgiClient
from tests.integration.fixtures_api import SECRETS, counts, event, make_store, replica, send_batch
from tests.integration.fixtures_stores import until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_api"]


def post(client, documents, path="/events/batch"):
    body = canonical_bytes(documents)
    headers = {"X-HMAC-Signature": SECRETS.sign(body)}
    return client.post(path, data=body, content_type="application/json", headers=headers)


def statuses(answer):
    return [result["status"] for result in answer.json()["results"]]


def test_each_event_of_a_batch_lies_in_both_tables_byte_for_byte_in_one_transaction(client, database, handed):
    sent = [event() for _ in range(500)]
    answer = post(client, sent)
    assert answer.status_code == 201
    assert [one["transaction_id"] for one in answer.json()["results"]] == [one["Transaction ID"] for one in sent]
    rows = dict(
        database.execute(
            "SELECT transaction_id::text, canonical FROM payments JOIN outbox_events USING (transaction_id)"
        )
    )
    assert rows == {one["Transaction ID"]: canonical_bytes(one) for one in sent}
    assert database.execute("SELECT count(DISTINCT xmin::text) FROM payments").fetchone() == (1,)
    until(lambda: {row.canonical for row in handed} == set(rows.values()))


def test_each_event_has_the_outcome_that_it_has_alone(client, database):
    first, second, third = event(), event(), event()
    assert post(client, first, "/events").status_code == 201
    batch = [
        first,
        second,
        {**first, "Status": "FAILED"},
        {**third, "Amount (INR)": -1},
        second,
        {**second, "Status": "FAILED"},
    ]
    answer = post(client, batch)
    assert answer.status_code == 207
    assert statuses(answer) == [201, 201, 409, 400, 201, 409]
    assert [result.get("duplicate") for result in answer.json()["results"]] == [True, False, None, None, True, None]
    assert list(answer.json()["results"][3]["fields"]) == ["Amount (INR)"]
    assert counts(database) == (2, 2)
    assert post(client, third, "/events").json()["duplicate"] is False


def test_a_batch_sent_again_writes_nothing_and_is_acknowledged_again(client, database, handed):
    batch = [event() for _ in range(50)]
    assert post(client, batch).status_code == 201
    again = post(client, batch)
    assert again.status_code == 201
    assert {result["duplicate"] for result in again.json()["results"]} == {True}
    assert counts(database) == (50, 50)
    until(lambda: len(handed) == 50)


def test_overlapping_batches_from_two_replicas_accept_each_id_once_and_do_not_deadlock(
    postgres_conninfo, database, client
):
    other = make_store(postgres_conninfo, "api-2", deadline_s=5.0)
    other.start(LOOP)
    clients = [client, AsgiClient(make_app("api-2", SECRETS, other, lambda: True))]
    documents = [event() for _ in range(120)]
    try:
        batches = [documents[start : start + 60][:: 1 if start % 2 else -1] for start in range(60)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda one: post(clients[one[0] % 2], one[1]), enumerate(batches)))
    finally:
        other.stop(5)
    results = [result for answer in found for result in answer.json()["results"]]
    assert {result["status"] for result in results} == {201}
    accepted = [result["transaction_id"] for result in results if not result["duplicate"]]
    assert sorted(accepted) == sorted(one["Transaction ID"] for one in documents[:119])
    assert counts(database) == (119, 119)


def test_an_event_that_postgres_alone_refuses_sinks_no_neighbour(client, database):
    database.execute("ALTER TABLE payments ADD CONSTRAINT unlucky CHECK (amount_inr <> 13)")
    try:
        batch = [event(), event(**{"Amount (INR)": 13}), event()]
        assert statuses(post(client, batch)) == [201, 500, 201]
        assert counts(database) == (2, 2)
    finally:
        database.execute("ALTER TABLE payments DROP CONSTRAINT unlucky")


def test_a_silent_postgres_is_a_503_for_the_batch_and_the_same_batch_heals_it(postgres_link, database):
    link, conninfo = postgres_link
    store = make_store(conninfo, "api-1", deadline_s=1.0)
    client = AsgiClient(make_app("api-1", SECRETS, store, lambda: False))
    store.start(LOOP)
    batch = [event() for _ in range(20)]
    try:
        link.silence()
        answer = post(client, batch)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        link.heal()
        until(lambda: client.get("/readyz").status_code == 200)
        assert post(client, batch).status_code == 201
        assert counts(database) == (20, 20)
    finally:
        store.stop(5)


def test_a_batch_reaches_kafka_without_the_publisher_and_is_marked(process, database):
    batch = [event() for _ in range(300)]
    assert send_batch(process.url, batch).status_code == 201
    marked = "SELECT count(*) FROM outbox_events WHERE published_by = 'ingestion-api-1' AND kafka_offset >= 0"
    until(lambda: database.execute(marked).fetchone()[0] == 300, what="every row marked")
    metrics = requests.get(f"{process.url}/metrics", timeout=5).text
    assert "bruce_api_accepted_total 300.0" in metrics
    assert "bruce_api_batch_events_sum 300.0" in metrics


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 3_000_000])
def test_a_batch_over_1_mib_is_a_413_with_its_limit(process, size):
    headers = {"X-HMAC-Signature": "0" * 64, "Content-Type": "application/json"}
    answer = requests.post(f"{process.url}/events/batch", data=b" " * size, headers=headers, timeout=5)
    assert answer.status_code == 413
    assert "1048576 bytes" in answer.json()["error"]


@pytest.mark.parametrize("point", ["api.after-commit", "api.before-produce"])
def test_a_replica_that_dies_after_commit_has_stored_the_whole_batch(
    postgres_conninfo, kafka_settings, database, tmp_path, point
):
    """Before the answer or after it: sent again, every event is told as stored, and none is stored twice."""
    points = tmp_path / "points"
    points.mkdir()
    batch = [event() for _ in range(40)]
    with replica(tmp_path, postgres_conninfo, kafka_settings, CRASH_POINTS=str(points)) as dying:
        crash.arm_file(points, "ingestion-api-1", point).touch()
        if point == "api.after-commit":
            with pytest.raises(requests.ConnectionError):
                send_batch(dying.url, batch)
        else:
            assert send_batch(dying.url, batch).status_code == 201
        assert dying.wait(10) == crash.POINTS[point].exit_code
        assert counts(database) == (40, 40)
    with replica(tmp_path, postgres_conninfo, kafka_settings, member="ingestion-api-2") as other:
        again = send_batch(other.url, batch)
        assert {result["duplicate"] for result in again.json()["results"]} == {True}
        assert counts(database) == (40, 40)
