"""Rows whose records are gone from Kafka are found and put back, whatever else was ever published or delivered."""

import threading
import time
import uuid
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.common.outbox import SESSION_OPTIONS, Report, mark_published
from services.common.postgres import Link
from services.common.schema import migrate, migrations
from services.outbox_publisher import batches

pytest_plugins = ["tests.integration.fixtures_stores"]

FILL = """
INSERT INTO outbox_events (transaction_id) SELECT gen_random_uuid() FROM generate_series(1, %s)
RETURNING transaction_id::text
"""
DELIVERY = """
INSERT INTO deliveries (transaction_id, state, round, attempt, attempts_total, updated_at, dispatcher)
SELECT unnest(%s::uuid[]), %s, 1, 1, 1, now(), 'dispatcher'
"""
OLD_DELIVERED = """
WITH old AS (
    INSERT INTO outbox_events (transaction_id, created_at, published_at, kafka_partition, kafka_offset)
    SELECT gen_random_uuid(), now() - interval '1 day', now(), 0, n FROM generate_series(1, %(rows)s) AS n
    RETURNING transaction_id
)
INSERT INTO deliveries (transaction_id, state, round, attempt, attempts_total, updated_at, dispatcher)
SELECT transaction_id, 'delivered', 1, 1, 1, now(), 'd' FROM old
"""


class Outbox:
    """The publisher's session, and what tests do to the rows."""

    def __init__(self, conninfo, database):
        self._conninfo = conninfo
        self._database = database
        self._link = Link(conninfo, "tests", deadline_s=30.0, options=SESSION_OPTIONS)

    def run(self, work, *arguments, **named):
        return self._link.run(lambda one: work(one, *arguments, **named), until_s=time.monotonic() + 30)

    def publish(self, rows, *, cluster="old", partition=0, first=0):
        """Rows that lie in Kafka from offset `first` on; their ids in this order."""
        ids = [row[0] for row in self._database.execute(FILL, [rows]).fetchall()]
        self.mark(ids, cluster=cluster, partition=partition, first=first)
        return ids

    def mark(self, ids, *, cluster, partition=0, first=0):
        reports = [Report(one, partition, first + number, time.time(), cluster) for number, one in enumerate(ids)]
        return self.run(mark_published, by="api-1", reports=reports)

    def outcome(self, ids, state):
        self._database.execute(DELIVERY, [ids, state])

    def pending(self):
        query = "SELECT transaction_id::text FROM outbox_events WHERE published_at IS NULL"
        return {row[0] for row in self._database.execute(query).fetchall()}

    def batches(self):
        query = "SELECT cluster_id, cardinality(transaction_ids) FROM published_batches ORDER BY number"
        return self._database.execute(query).fetchall()

    def put_back(self, cluster="new", limit=2000):
        done, rows = batches.PutBack(1, 0), 0
        while done.batches:
            done = self.run(batches.put_back_of_gone_logs, cluster, limit=limit)
            rows += done.rows
        return rows

    def beyond(self, end, **changes):
        given = {"partition": 0, "end": end, "newest": self.run(batches.newest), "limit": 2000, **changes}
        return self.run(batches.put_back_beyond, "old", **given)

    def below(self, start, **changes):
        given = {"partition": 0, "start": start, "newest": self.run(batches.newest), "limit": 2000, **changes}
        return self.run(batches.put_back_below, "old", **given)

    def passed(self, committed, **changes):
        given = {"partition": 0, "committed": committed, "after": 0, "limit": 2000, **changes}
        return self.run(batches.put_back_passed, "old", **given)

    def close(self):
        self._link.close()


@pytest.fixture
def outbox(postgres_conninfo, database):
    database.execute("TRUNCATE deliveries")
    made = Outbox(postgres_conninfo, database)
    yield made
    made.close()


def test_what_lay_in_a_cluster_that_is_gone_is_pending_again_unless_it_arrived(outbox):
    never_tried, retrying, requeued, delivered, dead = (outbox.publish(4) for _ in range(5))
    kept = outbox.publish(4, cluster="new")
    for ids, state in ((retrying, "retrying"), (requeued, "requeued"), (delivered, "delivered"), (dead, "dead")):
        outbox.outcome(ids, state)
    assert outbox.put_back() == 12
    assert outbox.pending() == {*never_tried, *retrying, *requeued}
    assert outbox.pending().isdisjoint(kept)
    assert outbox.batches() == [("new", 4)]


def test_a_report_of_the_old_cluster_that_is_marked_late_hides_no_row(outbox):
    """An API replica that could not mark before the wipe, and does so when all the rest was put back long ago."""
    ids = outbox.publish(3)
    assert outbox.put_back() == 3
    outbox.mark(ids[:2], cluster="old")
    assert outbox.pending() == set(ids[2:])
    assert outbox.put_back() == 2
    assert outbox.pending() == set(ids)


def test_a_row_that_went_to_the_new_cluster_stays_published(outbox):
    ids = outbox.publish(3)
    outbox.put_back()
    outbox.mark(ids, cluster="new")
    assert outbox.put_back() == 0
    assert outbox.pending() == set()


def test_publishers_that_put_back_at_once_put_each_row_back_once(outbox, postgres_conninfo, database):
    for first in range(0, 5000, 50):
        outbox.publish(50, first=first)
    others = [Outbox(postgres_conninfo, database) for _ in range(3)]
    counts = []
    threads = [threading.Thread(target=lambda one=one: counts.append(one.put_back(limit=200))) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for one in others:
        one.close()
    assert sum(counts) == 5000
    assert database.execute("SELECT max(republished), count(*) FROM outbox_events").fetchone() == (1, 5000)
    assert outbox.batches() == []


def test_each_statement_is_bounded_and_takes_one_batch_at_least(outbox):
    for _ in range(4):
        outbox.publish(30)
    assert outbox.run(batches.put_back_of_gone_logs, "new", limit=1) == (1, 30)
    assert outbox.run(batches.put_back_of_gone_logs, "new", limit=31) == (2, 60)


def test_batches_are_forgotten_when_all_of_them_arrived_and_thinned_before(outbox):
    whole, most, some = outbox.publish(10), outbox.publish(10), outbox.publish(10)
    outbox.outcome([*whole[:9], *most[:8], *some[:3]], "delivered")
    outbox.outcome(whole[9:], "dead")
    last, forgotten = outbox.run(batches.settle, 0, limit=2000)
    assert forgotten == 1
    assert outbox.batches() == [("old", 2), ("old", 10)]
    assert outbox.run(batches.settle, last, limit=2000) == (None, 0)
    assert outbox.put_back() == 9


def test_offsets_that_the_log_does_not_reach_are_published_again(outbox):
    ids = outbox.publish(10)
    other = outbox.publish(10, partition=1)
    outbox.outcome(ids[8:9], "delivered")
    outbox.outcome(ids[9:], "requeued")
    assert outbox.beyond(10) == (0, 0)
    assert outbox.beyond(6) == (1, 3), "6, 7 and the re-queued 9; 8 has arrived"
    assert outbox.pending() == {ids[6], ids[7], ids[9]}
    assert outbox.pending().isdisjoint(other)
    assert outbox.beyond(6) == (0, 0)
    assert outbox.put_back() == 16, "what the log still holds is still watched"


def test_what_was_marked_after_the_end_was_asked_for_is_not_taken_for_lost(outbox):
    outbox.publish(5)
    newest = outbox.run(batches.newest)
    outbox.publish(5, first=5)
    assert outbox.beyond(5, newest=newest) == (0, 0)


def test_retention_costs_only_what_was_never_tried(outbox):
    """One that is re-queued again and again lies further on: its first record may go."""
    ids = outbox.publish(10)
    outbox.outcome(ids[:2], "requeued")
    assert outbox.below(4) == (1, 2)
    assert outbox.pending() == {ids[2], ids[3]}
    assert outbox.below(4) == (0, 0)


def test_what_the_dispatcher_has_passed_without_a_trace_is_published_again(outbox):
    ids = outbox.publish(10)
    outbox.publish(10, partition=1)
    outbox.publish(10, cluster="new")
    for number, state in enumerate(("delivered", "retrying", "requeued", "dead")):
        outbox.outcome(ids[number : number + 1], state)
    assert outbox.passed(7)[1] == 3
    assert outbox.pending() == {*ids[4:7]}, "7, 8 and 9 are not passed yet"
    assert outbox.passed(7)[1] == 0
    outbox.mark(ids[4:7], cluster="old", first=10)
    assert outbox.passed(10)[1] == 3
    assert outbox.pending() == {*ids[7:]}, "what was put back lies further on now"


def test_the_sweep_over_what_was_passed_goes_on_where_it_ended_and_past_the_topic_that_has_gone(outbox):
    gone_to = outbox.publish(30) and outbox.run(batches.newest)
    for first in (0, 30, 60):
        outbox.publish(30, first=first)
    looked = []
    after = gone_to
    while after is not None:
        after, rows = outbox.passed(90, after=after, limit=1)
        looked.append(rows)
    assert looked == [30, 30, 30, 0]
    assert len(outbox.pending()) == 90


def test_delivered_rows_cost_nothing(outbox, database):
    def cost_s():
        ids = [outbox.publish(50, first=first) for first in range(0, 2000, 50)]
        started_s = time.perf_counter()
        outbox.run(batches.settle, 0, limit=2000)
        outbox.beyond(1990)
        assert outbox.passed(0) == (None, 0)
        assert outbox.put_back() == 1990
        took_s = time.perf_counter() - started_s
        outbox.mark([one for some in ids for one in some], cluster="new")
        database.execute("TRUNCATE published_batches")
        return took_s

    before_s = min(cost_s() for _ in range(3))
    database.execute(OLD_DELIVERED, {"rows": 500_000})
    after_s = min(cost_s() for _ in range(3))
    assert after_s < 3 * before_s + 0.1, f"{before_s * 1000:.0f} ms with few rows, {after_s * 1000:.0f} ms with many"


@contextmanager
def older_database(conninfo):
    """A database as it was before there were batches."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        older = make_conninfo(conninfo, dbname=name)
        try:
            with psycopg.connect(older, autocommit=True) as connection:
                connection.execute(
                    "CREATE TABLE schema_migrations "
                    "(number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
                )
                _, first, text = migrations()[0]
                connection.execute(text.encode())
                connection.execute("INSERT INTO schema_migrations VALUES (1, %s)", [first])
                yield older, connection
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_full_database_is_brought_up_to_date_at_once_and_its_open_rows_are_entered_later(postgres_conninfo):
    files = "SELECT pg_relation_filenode('outbox_events'), pg_relation_filenode('deliveries')"
    with older_database(postgres_conninfo) as (conninfo, connection):
        connection.execute(OLD_DELIVERED, {"rows": 300_000})
        connection.execute(OLD_DELIVERED.replace("'delivered'", "'requeued'"), {"rows": 20})
        connection.execute(
            "INSERT INTO outbox_events (transaction_id, published_at, kafka_partition, kafka_offset) "
            "SELECT gen_random_uuid(), now(), 1, n FROM generate_series(1, 30) AS n"
        )
        before = connection.execute(files).fetchone()
        started_s = time.perf_counter()
        migrate(conninfo)
        took_s = time.perf_counter() - started_s
        assert connection.execute(files).fetchone() == before, "a table was rewritten"
        assert took_s < 2.0
        one = Outbox(conninfo, connection)
        while not one.run(batches.backfill, "first", limit=20_000):
            pass
        assert sum(count for _, count in one.batches()) == 50
        assert {cluster for cluster, _ in one.batches()} == {"first"}
        assert one.put_back("second") == 50
        one.close()


def test_rows_from_before_went_to_the_cluster_that_answered_first_whoever_enters_them(outbox, database):
    database.execute(
        "UPDATE published_batches_backfill SET done = false, cluster_id = NULL, next_id = %s", [uuid.UUID(int=0)]
    )
    ids = outbox.publish(10)
    database.execute("TRUNCATE published_batches")
    enter = partial(outbox.run, batches.backfill, limit=4)
    assert enter("first") is False
    while not enter("second"):
        pass
    assert {cluster for cluster, _ in outbox.batches()} == {"first"}
    assert outbox.put_back("second") == len(ids)
