import http.client
import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import requests

from services.common.event import canonical_bytes
from services.common.postgres import Link
from services.common.schema import migrate, migrations
from services.ingestion_api.app import make_app
from services.ingestion_api.group_commit import UnavailableError
from services.ingestion_api.store import WRITER_OPTIONS
from tests.asgi_client import LOOP, AsgiClient
from tests.integration.fixtures_api import SECRETS, answers, counts, event, make_store, send
from tests.integration.fixtures_stores import free_port, service, until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_api"]


def post(client, document, body=None):
    body = canonical_bytes(document) if body is None else body
    return client.post(
        "/events", data=body, content_type="application/json", headers={"X-HMAC-Signature": SECRETS.sign(body)}
    )


def test_an_acknowledged_event_lies_in_both_tables_byte_for_byte(client, database, handed):
    sent = event()
    answer = post(client, sent)
    assert (answer.status_code, answer.json()["duplicate"]) == (201, False)
    assert answer.headers["X-Served-By"] == "api-1"
    canonical, amount, name, by = database.execute(
        "SELECT p.canonical, p.amount_inr, p.sender_name, p.accepted_by FROM payments p JOIN outbox_events o "
        "USING (transaction_id) WHERE p.transaction_id = %s AND o.created_at = p.accepted_at",
        [sent["Transaction ID"]],
    ).fetchone()
    assert (canonical, str(amount), name, by) == (canonical_bytes(sent), "1250.5", sent["Sender Name"], "api-1")
    until(lambda: [row.canonical for row in handed] == [canonical_bytes(sent)])


def test_the_same_event_again_is_a_duplicate_and_another_under_its_id_a_conflict(client, database):
    first = event()
    answers = [post(client, first), post(client, first), post(client, {**first, "Status": "FAILED"})]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert [answer.json().get("duplicate") for answer in answers] == [False, True, None]
    assert counts(database) == (1, 1)


def test_one_id_from_many_threads_and_two_replicas_is_accepted_once(postgres_conninfo, database, client):
    other = make_store(postgres_conninfo, "api-2", deadline_s=2.0)
    other.start(LOOP)
    clients = [client, AsgiClient(make_app("api-2", SECRETS, other, lambda: True))]
    try:
        ids = [str(uuid.uuid4()) for _ in range(10)]
        with ThreadPoolExecutor(16) as pool:
            tries = [(clients[number % 2], event(ids[number // 20 % 10])) for number in range(200)]
            answers = list(pool.map(lambda one: post(*one), tries))
    finally:
        other.stop(5)
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(a.json()["transaction_id"] for a in answers if not a.json()["duplicate"]) == sorted(ids)
    assert counts(database) == (10, 10)


def test_groups_with_the_same_ids_in_any_order_do_not_deadlock(postgres_conninfo, database):
    writers = [
        make_store(postgres_conninfo, f"api-{n}", deadline_s=5.0)
        for n in range(3)
    ]  # fmt: skip
    clients = [AsgiClient(make_app("api", SECRETS, writer, lambda: True)) for writer in writers]
    ids = [str(uuid.uuid4()) for _ in range(30)]
    for writer in writers:
        writer.start(LOOP)
    try:
        with ThreadPoolExecutor(24) as pool:
            tries = [(clients[n % 3], event(ids[(n * 7) % 30 if n % 2 else 29 - n % 30])) for n in range(600)]
            assert {answer.status_code for answer in pool.map(lambda one: post(*one), tries)} == {201}
    finally:
        for writer in writers:
            writer.stop(5)


def test_a_silent_postgres_is_a_503_within_the_deadline_and_heals(postgres_link, database):
    link, conninfo = postgres_link
    store = make_store(conninfo, "api-1", deadline_s=1.0)
    client = AsgiClient(make_app("api-1", SECRETS, store, lambda: False))
    store.start(LOOP)
    try:
        assert post(client, event()).status_code == 201
        link.silence()
        started_s = time.monotonic()
        answer = post(client, event())
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - started_s < 1.5
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        link.heal()
        until(lambda: client.get("/readyz").status_code == 200)
        assert post(client, event()).status_code == 201
    finally:
        store.stop(5)


def test_a_connection_cut_between_requests_costs_no_request(postgres_link, database):
    link, conninfo = postgres_link
    store = make_store(conninfo, "api-1", deadline_s=2.0)
    client = AsgiClient(make_app("api-1", SECRETS, store, lambda: True))
    store.start(LOOP)
    try:
        for _ in range(5):
            assert post(client, event()).status_code == 201
            link.cut()
        assert counts(database)[0] == 5
    finally:
        store.stop(5)


def test_migrations_from_many_members_at_once_apply_once(postgres_conninfo):
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA fresh")
    fresh = postgres_conninfo + " options='-c search_path=fresh'"
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(migrate, [fresh] * 8))
    assert sorted(map(len, applied))[:7] == [0] * 7
    assert sum(applied, []) == [name for _, name, _ in migrations()]  # noqa: RUF017  # eight short lists
    with psycopg.connect(postgres_conninfo, autocommit=True) as connection:
        connection.execute("DROP SCHEMA fresh CASCADE")


def test_accepted_events_reach_kafka_without_the_publisher_and_are_marked(process, database):
    ids = [str(uuid.uuid4()) for _ in range(50)]
    assert {send(process.url, event(one)).status_code for one in ids} == {201}
    marked = "SELECT count(*) FROM outbox_events WHERE published_by = 'ingestion-api-1' AND kafka_offset >= 0"
    until(lambda: database.execute(marked).fetchone()[0] == 50, what="every row marked")
    metrics = requests.get(f"{process.url}/metrics", timeout=5).text
    assert "bruce_api_accepted_total 50.0" in metrics


def test_sigterm_under_load_answers_what_was_taken_and_leaves_in_order(process, database):
    accepted, stop = [], threading.Event()

    def load():
        with requests.Session() as session:
            while not stop.is_set():
                one = event()
                try:
                    if send(process.url, one, session).status_code == 201:
                        accepted.append(one["Transaction ID"])
                except requests.RequestException:
                    return

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: len(accepted) > 100)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    stop.set()
    for thread in threads:
        thread.join(10)
    stored = {str(row[0]) for row in database.execute("SELECT transaction_id FROM outbox_events").fetchall()}
    assert set(accepted) <= stored
    unpublished = database.execute("SELECT count(*) FROM outbox_events WHERE published_at IS NULL").fetchone()[0]
    assert unpublished == 0, "what was accepted was flushed to Kafka and marked on the way out"
    assert "Traceback" not in process.log_text()


def test_a_header_that_is_not_ascii_is_a_403(process):
    headers = {"X-HMAC-Signature": "ä".encode() * 32, "Content-Type": "application/json"}
    assert requests.post(f"{process.url}/events", data=b"{}", headers=headers, timeout=5).status_code == 403


def test_unknown_paths_and_methods_are_json_and_name_the_replica(process):
    for method, path, status in (("GET", "/nowhere", 404), ("GET", "/events", 405), ("DELETE", "/healthz", 405)):
        answer = requests.request(method, process.url + path, timeout=5)
        assert (answer.status_code, answer.headers["X-Served-By"]) == (status, "ingestion-api-1")
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/events", 415), ("POST", "/nowhere", 404), ("PUT", "/events", 405), ("POST", "/events", 413)],
)
def test_a_refusal_never_breaks_the_next_request_on_its_connection(process, method, path, status):
    """A body that nobody reads must not be taken for the next request, nor the connection be closed without a word."""
    caller = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    for _ in range(50):
        caller.request(method, path, b"x" * (100_000 if status == 413 else 5000), {"Content-Type": "text/plain"})
        answer = caller.getresponse()
        answer.read()
        assert answer.status == status
    caller.close()


def test_a_body_over_64_kib_is_a_413(process):
    headers = {"X-HMAC-Signature": "0" * 64, "Content-Type": "application/json"}
    assert requests.post(f"{process.url}/events", data=b"x" * 65537, headers=headers, timeout=5).status_code == 413


def test_a_port_that_is_taken_is_one_sentence(process, tmp_path):
    with service("services.ingestion_api", tmp_path, **{**process.environment, "MEMBER_NAME": "second"}) as second:
        assert second.wait(20) == 1
        assert "API_PORT" in second.log_text()
        assert "Traceback" not in second.log_text()


def test_with_kafka_away_events_are_accepted_as_fast_and_left_to_the_publisher(postgres_conninfo, database, tmp_path):
    port = free_port()
    environment = {
        "MEMBER_NAME": "ingestion-api-9",
        "API_PORT": str(port),
        "DATABASE_URL": postgres_conninfo,
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
    }
    url = f"http://127.0.0.1:{port}"
    with service("services.ingestion_api", tmp_path, **environment) as running:
        until(lambda: answers(url), what="the API")
        with requests.Session() as session:
            for _ in range(200):
                started_s = time.perf_counter()
                assert send(url, event(), session).status_code == 201
                assert time.perf_counter() - started_s < 2
        assert counts(database) == (200, 200)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        text = running.log_text()
        assert text.count("Kafka does not answer") == 1
        assert "Traceback" not in text


def test_a_missing_secret_and_a_wrong_number_are_named_at_start(tmp_path):
    with service(
        "services.ingestion_api", tmp_path, MEMBER_NAME="api", HMAC_SECRET="", GROUP_MAX_EVENTS="none"
    ) as running:
        assert running.wait(20) == 2
        text = running.log_text()
        assert "HMAC_SECRET" in text
        assert "GROUP_MAX_EVENTS" in text
        assert "Traceback" not in text


def test_a_schema_that_cannot_be_applied_is_one_sentence(postgres_conninfo, database, tmp_path):
    database.execute("CREATE SCHEMA occupied CREATE TABLE payments (id integer)")
    occupied = postgres_conninfo + " options='-c search_path=occupied'"
    with service("services.ingestion_api", tmp_path, MEMBER_NAME="api", DATABASE_URL=occupied) as running:
        assert running.wait(20) == 1
        assert "the schema cannot be brought up to date: relation" in running.log_text()
        assert "Traceback" not in running.log_text()
    database.execute("DROP SCHEMA occupied CASCADE")


def test_a_201_means_on_disk_whatever_the_databases_default_is(postgres_conninfo, database):
    [name] = database.execute("SELECT current_database()").fetchone()
    database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    writer = Link(postgres_conninfo, "tests", deadline_s=5.0, options=WRITER_OPTIONS)
    shown = writer.run(lambda one: one.execute("SHOW synchronous_commit").fetchone(), until_s=time.monotonic() + 5)
    writer.close()
    database.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
    assert shown == ("on",)


def test_a_stop_while_postgres_is_awaited_leaves_in_order(tmp_path):
    environment = {"MEMBER_NAME": "api", "POSTGRES_PORT": str(free_port()), "API_PORT": str(free_port())}
    with service("services.ingestion_api", tmp_path, **environment) as running:
        until(lambda: "waiting for Postgres" in running.log_text())
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(10) == 0


def test_a_store_that_is_not_there_is_unavailable_not_an_error(postgres_conninfo):
    gone = psycopg.conninfo.make_conninfo(postgres_conninfo, port=free_port())
    store = make_store(gone, "api", deadline_s=0.5)
    store.start(LOOP)
    with pytest.raises(UnavailableError):
        store.check()
    store.stop(5)
