import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from services.common.kafka import make_consumer, make_producer
from services.common.lanes import Lanes
from services.common.lifecycle import StopFlag
from services.common.outbox import SESSION_OPTIONS, Report, mark_published
from services.common.postgres import Link
from services.common.schema import migrate_when_up
from services.common.settings import KafkaSettings
from services.outbox_publisher.cluster import Cluster
from services.outbox_publisher.courier import Courier
from services.outbox_publisher.leases import claim, release, release_own
from services.outbox_publisher.publisher import Publisher
from services.outbox_publisher.settings import PublisherSettings
from tests.integration.fixtures_stores import free_port, service, until

pytest_plugins = ["tests.integration.fixtures_stores"]

FILL = """
WITH paid AS (
    INSERT INTO payments SELECT gen_random_uuid(), now()::timestamp, 'a', 'a@b', 'b', 'c@d', 1, 'SUCCESS',
                                convert_to('body ' || n, 'utf8'), now() - make_interval(secs => %(age_s)s), 'api-1'
                           FROM generate_series(1, %(rows)s) AS n
    RETURNING transaction_id, accepted_at
)
INSERT INTO outbox_events (transaction_id, created_at, published_at)
SELECT transaction_id, accepted_at, CASE WHEN %(published)s THEN now() END FROM paid
"""


def fill(database, rows, *, age_s=60, published=False):
    database.execute(FILL, {"rows": rows, "age_s": age_s, "published": published})


def pending(database):
    return database.execute("SELECT count(*) FROM outbox_events WHERE published_at IS NULL").fetchone()[0]


def thread_priorities(pid):
    """The priority of every thread that is there still when it is asked: some end while a service starts."""
    found = []
    for path in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            found.append(os.getpriority(os.PRIO_PROCESS, int(path.name)))
    return found


@pytest.fixture
def run(postgres_conninfo):
    """Runs leases' functions as the publisher does: on a Link with its session options."""
    links = []

    def runner(work, **arguments):
        if not links:
            links.append(Link(postgres_conninfo, "tests", deadline_s=10.0, options=SESSION_OPTIONS))
        return links[0].run(lambda connection: work(connection, **arguments), until_s=time.monotonic() + 10)

    yield runner
    for link in links:
        link.close()


def take(run, member="one", limit=10, grace_s=5.0, lease_s=30.0):
    return run(claim, member=member, limit=limit, grace_s=grace_s, lease_s=lease_s)


def test_a_row_within_the_grace_is_left_to_the_api(database, run):
    fill(database, 3, age_s=0)
    assert take(run) == []
    assert len(take(run, grace_s=0)) == 3


def test_a_claimed_row_is_nobody_elses_until_its_lease_runs_out(database, run):
    fill(database, 5)
    assert len(take(run, lease_s=0.3)) == 5
    assert take(run, member="two") == []
    again = until(lambda: take(run, member="two"), what="the lease's end")
    assert all(row.taken_over for row in again)


def test_rows_and_leases_from_before_the_servers_clock_was_set_back_do_not_wait_for_that_time_to_come(database, run):
    fill(database, 2, age_s=-3600)
    assert len(take(run)) == 2
    database.execute("UPDATE outbox_events SET claimed_until = clock_timestamp() + interval '1 hour'")
    assert all(row.taken_over for row in take(run, member="two"))
    assert take(run, member="one") == [], "a lease that was just made holds"


def test_a_released_row_is_due_at_once_but_only_by_its_holder(database, run):
    fill(database, 1)
    [row] = take(run)
    assert run(release, member="two", ids=[row.transaction_id]) == 0
    assert take(run, member="two") == []
    assert run(release, member="one", ids=[row.transaction_id]) == 1
    assert [again.taken_over for again in take(run, member="two")] == [False]


def test_a_member_that_starts_again_gets_its_own_leases_back(database, run):
    fill(database, 2)
    take(run, member="one", limit=1)
    take(run, member="two", limit=1)
    assert run(release_own, member="one") == 1
    assert len(take(run, member="one")) == 1


def test_rows_locked_by_another_are_passed_over_not_waited_for(database, run, postgres_conninfo):
    fill(database, 5)
    with database.transaction():
        database.execute("SELECT 1 FROM outbox_events LIMIT 2 FOR UPDATE")
        assert len(take(run)) == 3


def test_marking_keeps_the_first_publishing_and_counts_the_second(database, run):
    fill(database, 2)
    first, second = (row.transaction_id for row in take(run))
    assert run(mark_published, by="api-1", reports=[Report(first, 1, 7, time.time(), "c")]) == (1, 0)
    both = [Report(second, 0, 3, time.time(), "c"), Report(first, 2, 9, time.time(), "c")]
    assert run(mark_published, by="publisher", reports=both) == (1, 1)
    assert run(mark_published, by="publisher", reports=both[:1]) == (0, 0), "a marking that is repeated counts nothing"
    columns = "published_by, kafka_partition, kafka_offset, republished"
    query = f"SELECT {columns} FROM outbox_events WHERE transaction_id = %s"
    assert database.execute(query, [first]).fetchone() == ("api-1", 1, 7, 1)
    assert database.execute(query, [second]).fetchone() == ("publisher", 0, 3, 0)


def test_a_million_published_rows_do_not_slow_the_queue(database, run):
    def cost_s():
        fill(database, 500)
        started_s = time.perf_counter()
        rows = take(run, limit=500)
        run(mark_published, by="one", reports=[Report(row.transaction_id, 0, 1, 0.0, "c") for row in rows])
        assert len(rows) == 500
        return time.perf_counter() - started_s

    before_s = min(cost_s() for _ in range(7))
    database.execute("ALTER TABLE payments SET UNLOGGED")
    database.execute(
        "INSERT INTO outbox_events (transaction_id, created_at, published_at) "
        "SELECT gen_random_uuid(), now() - interval '1 day', now() FROM generate_series(1, 1000000)"
    )
    after_s = min(cost_s() for _ in range(7))
    database.execute("ALTER TABLE payments SET LOGGED")
    assert after_s < 3 * before_s + 0.02, f"{before_s * 1000:.1f} ms with few rows, {after_s * 1000:.1f} ms with 1M"


def test_claiming_and_marking_are_quick_while_statistics_know_nothing_of_the_backlog(database, run, postgres_conninfo):
    database.execute("ALTER TABLE outbox_events SET (autovacuum_enabled = false)")
    database.execute("ANALYZE outbox_events")
    with psycopg.connect(postgres_conninfo) as filling:
        fill(filling, 100_000)
        database.execute("ANALYZE payments")  # as autovacuum may: it sees pages, and no row in them yet
    started_s = time.perf_counter()
    rows = take(run, limit=500)
    assert time.perf_counter() - started_s < 2, "it was 6 s where every payment was read for every claimed row"
    started_s = time.perf_counter()
    done = run(mark_published, by="one", reports=[Report(row.transaction_id, 0, 1, 0.0, "c") for row in rows])
    run(release, member="one", ids=[row.transaction_id for row in rows])
    took_s = time.perf_counter() - started_s
    database.execute("ALTER TABLE outbox_events RESET (autovacuum_enabled)")
    assert done == (500, 0)
    assert took_s < 0.5, "it was 4 s where the planner joined every id with every pending row"


def publisher(postgres_conninfo, kafka_settings, tmp_path, name="outbox-publisher", **changes):
    environment = {
        "MEMBER_NAME": name,
        "DATABASE_URL": postgres_conninfo,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC": kafka_settings.kafka_topic,
        "METRICS_PORT": str(free_port()),
        "OUTBOX_POLL_INTERVAL_SEC": "0.1",
        **changes,
    }
    return service("services.outbox_publisher", tmp_path, **environment)


def records(kafka_settings, count):
    """The newest `count` records of the topic, as (key, value, timestamp in ms)."""
    consumer = make_consumer(kafka_settings, "tests")
    topic = kafka_settings.kafka_topic
    consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in range(3)])
    ends = sum(consumer.get_watermark_offsets(TopicPartition(topic, part))[1] for part in range(3))
    found = []
    until(lambda: found.extend(consumer.consume(1000, 0.2)) or len(found) >= ends, what="reading the topic back")
    consumer.close()
    assert len(found) >= count
    return [(one.key().decode(), one.value(), one.timestamp()[1]) for one in found]


def test_two_publishers_bring_each_row_once_with_its_bytes_and_time(
    database, postgres_conninfo, kafka_settings, tmp_path
):
    with (
        publisher(postgres_conninfo, kafka_settings, tmp_path, "one", OUTBOX_BATCH_SIZE="100") as one,
        publisher(postgres_conninfo, kafka_settings, tmp_path, "two", OUTBOX_BATCH_SIZE="100") as two,
    ):
        for running in (one, two):
            until(lambda running=running: "publishing topic" in running.log_text(), what="the publishers")
        fill(database, 5000)
        until(lambda: pending(database) == 0, what="an empty outbox")
        for running in (one, two):
            running.send_signal(signal.SIGTERM)
        assert [one.wait(15), two.wait(15)] == [0, 0]
        assert "Traceback" not in one.log_text() + two.log_text()
    accepted_ms = "(extract(epoch FROM accepted_at) * 1000)::bigint"
    stored = database.execute(f"SELECT transaction_id::text, canonical, {accepted_ms} FROM payments").fetchall()
    sent = {key: (canonical, at_ms) for key, canonical, at_ms in stored}
    mine = [record for record in records(kafka_settings, 5000) if record[0] in sent]
    assert len(mine) == 5000
    assert {key: (value, at) for key, value, at in mine} == sent
    assert database.execute("SELECT sum(republished) FROM outbox_events").fetchone()[0] == 0
    assert database.execute("SELECT count(DISTINCT published_by) FROM outbox_events").fetchone()[0] == 2


def test_a_backlog_leaves_the_outbox_no_faster_than_its_pace(database, postgres_conninfo, kafka_settings, tmp_path):
    fill(database, 3000)
    pace = {"OUTBOX_BATCH_SIZE": "100", "OUTBOX_CATCH_UP_PER_SEC": "1000"}
    with publisher(postgres_conninfo, kafka_settings, tmp_path, **pace):
        until(lambda: pending(database) == 0, what="an empty outbox")
    took_s = "extract(epoch FROM max(published_at) - min(published_at))::float8"
    # 2.9 s for what follows the first batch; a delay of 0.2 s may be made up for.
    assert database.execute(f"SELECT {took_s} FROM outbox_events").fetchone()[0] > 2.6


def test_a_killed_publisher_gives_its_leases_back(database, run, postgres_conninfo, kafka_settings, tmp_path):
    fill(database, 100)
    assert len(take(run, member="killed", limit=100, lease_s=2.0)) == 100
    with publisher(postgres_conninfo, kafka_settings, tmp_path) as running:
        until(lambda: pending(database) == 0, what="the leases' end")
        until(lambda: "leases taken over" in running.log_text(), what="the word of it")


def test_the_sweep_steps_back_for_what_is_accepted_as_far_as_it_is_told(postgres_conninfo, kafka_settings, tmp_path):
    with publisher(postgres_conninfo, kafka_settings, tmp_path, OUTBOX_NICE="3") as running:
        until(lambda: "publishing topic" in running.log_text(), what="the publisher")
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        # Each thread has a priority of its own, librdkafka's too.
        priorities = thread_priorities(running.pid)
        assert len(priorities) > 1
        assert set(priorities) == {min(19, ours + 3)}


def test_analyzing_a_table_that_grows_reads_few_of_its_rows(database):
    fill(database, 5000)
    told = []
    database.add_notice_handler(lambda notice: told.append(notice.message_primary))
    database.execute("ANALYZE (VERBOSE) outbox_events")
    assert any(" 3000 rows in sample" in line for line in told), told


def test_a_publisher_killed_in_the_middle_loses_nothing(database, postgres_conninfo, kafka_settings, tmp_path):
    fill(database, 20_000)
    limits = {"OUTBOX_BATCH_SIZE": "50", "OUTBOX_LEASE_SEC": "2", "OUTBOX_TIMEOUT_SEC": "1"}
    with publisher(postgres_conninfo, kafka_settings, tmp_path, "first", **limits) as first:
        until(lambda: pending(database) < 20_000, what="the first batch")
        first.kill()
    with publisher(postgres_conninfo, kafka_settings, tmp_path, "second"):
        until(lambda: pending(database) == 0, what="an empty outbox")
    keys = {key for key, _, _ in records(kafka_settings, 20_000)}
    stored = {row[0] for row in database.execute("SELECT transaction_id::text FROM payments").fetchall()}
    assert stored <= keys


def test_with_kafka_away_it_says_so_once_claims_nothing_and_leaves_in_order(
    database, postgres_conninfo, kafka_settings
):
    """The publisher's own loop: its process would wait for Kafka before the first sweep."""
    away = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", kafka_topic="away")
    settings = PublisherSettings(member_name="tests", outbox_poll_interval_sec=0.05, outbox_timeout_sec=1)
    link = Link(postgres_conninfo, "tests", deadline_s=2.0, options=SESSION_OPTIONS)
    courier = Courier(
        lambda on_error: make_producer(away, "tests", error_cb=on_error, message_timeout_ms=1000), "away", Lanes(3)
    )
    fill(database, 10)
    worker = Publisher(settings, link, courier, Cluster(away, "tests"), StopFlag())
    until(lambda: worker.step() or not courier.open, what="noticing that Kafka is away")
    steps, end_s = 0, time.monotonic() + 2.5
    while time.monotonic() < end_s:
        worker.step()
        steps += 1
    assert steps < 100, "no busy loop"
    worker.drain(3.0)
    held = database.execute("SELECT count(*) FROM outbox_events WHERE claimed_until IS NOT NULL").fetchone()[0]
    assert held == 0
    assert pending(database) == 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("away", ["Postgres", "Kafka"])
def test_a_stop_while_a_server_is_awaited_leaves_in_order(postgres_conninfo, kafka_settings, tmp_path, away, number):
    nobody = f"127.0.0.1:{free_port()}"
    change = {
        "Postgres": {"DATABASE_URL": f"postgresql://bruce@{nobody}/bruce"},
        "Kafka": {"KAFKA_BOOTSTRAP_SERVERS": nobody},
    }[away]
    with publisher(postgres_conninfo, kafka_settings, tmp_path, **change) as running:
        until(lambda: f"waiting for {away}" in running.log_text(), what="the wait")
        running.send_signal(number)
        assert running.wait(10) == 0
        assert running.log_text().count(f"waiting for {away}") == 1
        assert "Traceback" not in running.log_text()


def test_a_publisher_that_waits_for_postgres_is_alive():
    beats = []
    stop = StopFlag()
    assert not migrate_when_up(
        f"host=127.0.0.1 port={free_port()}", stop, lambda: beats.append(1) or (len(beats) == 3 and stop.set())
    )
    assert len(beats) == 3


def test_a_cut_connection_to_postgres_costs_nothing(database, postgres_link, kafka_settings, tmp_path):
    link, conninfo = postgres_link
    with publisher(conninfo, kafka_settings, tmp_path, OUTBOX_BATCH_SIZE="20") as running:
        until(lambda: "publishing topic" in running.log_text(), what="the publisher")
        fill(database, 3000)
        stop = threading.Event()
        cutter = threading.Thread(target=lambda: [link.cut() for _ in range(5) if not stop.wait(0.2)])
        cutter.start()
        until(lambda: pending(database) == 0, what="an empty outbox")
        stop.set()
        cutter.join()
        running.send_signal(signal.SIGINT)
        assert running.wait(15) == 0
        assert "Traceback" not in running.log_text()


def test_a_topic_made_wrong_and_a_lease_too_short_are_named(postgres_conninfo, kafka_settings, tmp_path):
    wrong = {"KAFKA_MIN_INSYNC_REPLICAS": "1"}
    with publisher(postgres_conninfo, kafka_settings, tmp_path, "wrong", **wrong) as running:
        assert running.wait(30) == 1
        assert "min.insync.replicas is 2, must be 1" in running.log_text()
    with publisher(postgres_conninfo, kafka_settings, tmp_path, "few", KAFKA_TOPIC_PARTITIONS="4") as running:
        assert running.wait(30) == 1
        assert "3 partitions, must be at least 4 (KAFKA_TOPIC_PARTITIONS)" in running.log_text()
    with publisher(postgres_conninfo, kafka_settings, tmp_path, "short", OUTBOX_LEASE_SEC="5") as running:
        assert running.wait(30) == 2
        assert "OUTBOX_LEASE_SEC" in running.log_text()
        assert "Traceback" not in running.log_text()
