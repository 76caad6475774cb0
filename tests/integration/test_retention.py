"""Retention on a real Postgres: what was delivered long ago goes, whole, and nothing else does."""

import signal
import threading
import time

import psycopg
import pytest

from services.common import outbox, redeliveries
from services.common.postgres import Link
from services.outbox_publisher import batches, retention
from services.outbox_publisher.retention import START, Retention, prune
from tests.integration.fixtures_stores import free_port, service, until
from tests.integration.test_outbox_cost import Session

pytest_plugins = ["tests.integration.fixtures_stores"]
DAY_S = 86_400
TABLES = ("payments", "outbox_events", "deliveries", "delivery_attempts")

FILL = """
WITH paid AS (
    INSERT INTO payments SELECT gen_random_uuid(), now()::timestamp, 'a', 'a@b', 'b', 'c@d', 1, 'SUCCESS', 'x',
                                now() - make_interval(days => %(days)s) + n * interval '1 microsecond', 'api-1'
                           FROM generate_series(1, %(rows)s) AS n
    RETURNING transaction_id, accepted_at
), queued AS (
    INSERT INTO outbox_events (transaction_id, created_at, published_at, kafka_partition, kafka_offset)
    SELECT transaction_id, accepted_at, CASE WHEN %(published)s THEN accepted_at END, 0, 1 FROM paid
), tried AS (
    INSERT INTO delivery_attempts SELECT transaction_id, accepted_at, 1, 1, 1, 200, NULL, 'dispatcher', 0, 1
      FROM paid WHERE %(state)s::text IS NOT NULL
), delivered AS (
    INSERT INTO deliveries (transaction_id, state, round, attempt, attempts_total, delivered_at, updated_at, dispatcher)
    SELECT transaction_id, %(state)s, 1, 1, 1,
           CASE WHEN %(state)s = 'delivered' THEN now() - make_interval(days => %(delivered_days)s) END,
           accepted_at, 'dispatcher'
      FROM paid WHERE %(state)s::text IS NOT NULL
)
SELECT transaction_id::text FROM paid
"""


def fill(database, rows=1, *, days=40, published=True, state="delivered", delivered_days=None):
    """Payments accepted so many days ago; their ids."""
    given = {"rows": rows, "days": days, "published": published, "state": state}
    given["delivered_days"] = days if delivered_days is None else delivered_days
    return [row[0] for row in database.execute(FILL, given).fetchall()]


@pytest.fixture
def database(database):
    database.execute("TRUNCATE deliveries, delivery_attempts")
    database.execute("UPDATE retention SET pruned = 0, pruned_to = NULL")
    return database


@pytest.fixture
def connect(postgres_conninfo):
    """Makes connections as the publisher's own."""
    made = []

    def connection():
        made.append(psycopg.connect(postgres_conninfo, autocommit=True, options=outbox.SESSION_OPTIONS))
        return made[-1]

    yield connection
    for one in made:
        one.close()


def whole(database):
    """Ids by the number of tables that they stand in; of those that retention may take, four or none."""
    union = " UNION ALL ".join(f"SELECT DISTINCT transaction_id FROM {table}" for table in TABLES)
    query = f"SELECT transaction_id::text, count(*) FROM ({union}) AS every GROUP BY transaction_id"
    return dict(database.execute(query).fetchall())


def sweep(connection, *, limit=100, days=30):
    """A whole sweep; how many went with each batch."""
    place, gone = START, []
    while place is not None:
        done = prune(connection, after=place, limit=limit, retention_s=days * DAY_S)
        gone.append(done.payments)
        place = done.place
    return gone


def test_what_was_delivered_before_the_retention_goes_whole_and_is_noted(database, connect):
    fill(database, 5)
    kept = fill(database, 3, days=29)
    assert sum(sweep(connect())) == 5
    assert whole(database) == dict.fromkeys(kept, 4)
    pruned, days = database.execute(
        "SELECT pruned, extract(epoch FROM now() - pruned_to) / 86400 FROM retention"
    ).fetchone()
    assert (pruned, round(days)) == (5, 40)


@pytest.mark.parametrize(
    "given",
    [
        {"state": "retrying"},
        {"state": "requeued"},
        {"state": "dead"},
        {"state": None},
        {"state": None, "published": False},
        {"published": False},
        {"delivered_days": 29},
    ],
    ids=str,
)
def test_what_is_not_delivered_not_published_or_delivered_lately_never_goes(database, connect, given):
    kept = fill(database, 3, **given)
    gone = fill(database, 2)
    assert sum(sweep(connect())) == 2
    assert set(whole(database)) == set(kept)
    assert not set(gone) & set(whole(database))


@pytest.mark.parametrize("ended", [None, 29])
def test_what_is_or_was_lately_redelivered_stays(database, connect, ended):
    [kept], [gone] = fill(database), fill(database)
    assert [one.refusal for one in redeliveries.ask(database, [kept, gone], "asked for")] == ["", ""]
    end = "UPDATE redeliveries SET ended_as = 'delivered', ended_at = now() - make_interval(days => %s)"
    database.execute(f"{end} WHERE transaction_id = %s", [31, gone])
    if ended:
        database.execute(f"{end} WHERE transaction_id = %s", [ended, kept])
    assert sum(sweep(connect())) == 1
    assert database.execute("SELECT transaction_id::text FROM redeliveries").fetchall() == [(kept,)]


def test_batches_are_small_and_pass_over_what_must_stay(database, connect):
    fill(database, 40, state="retrying", days=50)
    fill(database, 40)
    assert sweep(connect(), limit=16) == [0, 0, 8, 16, 16, 0]


def test_a_payment_that_somebody_works_on_is_passed_over_not_waited_for(database, connect):
    busy = fill(database, 4)
    fill(database, 2)
    with database.transaction():
        database.execute("SELECT FROM outbox_events WHERE transaction_id = %s FOR UPDATE", [busy[0]])
        database.execute("SELECT FROM deliveries WHERE transaction_id = %s FOR UPDATE", [busy[1]])
        assert sum(sweep(connect())) == 4
    assert set(whole(database)) == set(busy[:2])


def test_of_two_publishers_one_prunes_and_the_other_does_not_wait(database, connect):
    fill(database, 10)
    one, other = connect(), connect()
    with one.transaction():
        assert prune(one, after=START, limit=5, retention_s=DAY_S).payments == 5
        assert prune(other, after=START, limit=5, retention_s=DAY_S) is None
    assert prune(other, after=START, limit=5, retention_s=DAY_S).payments == 5


def test_a_redelivery_that_is_asked_for_while_its_payment_is_pruned_is_refused_or_kept(database, connect):
    """Whoever locks first wins: never a redelivery without its payment."""
    pruner, asker = connect(), connect()
    [id_] = fill(database)
    answers = []
    with pruner.transaction():
        assert prune(pruner, after=START, limit=5, retention_s=DAY_S).payments == 1
        asking = threading.Thread(target=lambda: answers.extend(redeliveries.ask(asker, [id_], "asked for")))
        asking.start()
        until(lambda: waits_for_a_lock(database), what="the asker's wait")
    asking.join(30)
    assert [one.number for one in answers] == [None]
    [id_] = fill(database)
    with asker.transaction():
        assert redeliveries.ask(asker, [id_], "asked for")[0].number is not None
        assert prune(pruner, after=START, limit=5, retention_s=DAY_S).payments == 0
    assert prune(pruner, after=START, limit=5, retention_s=DAY_S).payments == 0


def waits_for_a_lock(database):
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return database.execute(query).fetchone()[0]


def test_a_batch_of_kafka_records_whose_payments_are_pruned_is_forgotten(database, connect):
    ids = fill(database, 2)
    database.execute(
        "INSERT INTO published_batches (cluster_id, kafka_partition, first_offset, last_offset, transaction_ids) "
        "VALUES ('c', 0, 1, 1, %s::uuid[])",
        [ids],
    )
    sweep(connect())
    assert batches.settle(database, 0, limit=100)[1] == 1


def test_a_publisher_that_is_killed_while_it_prunes_leaves_payments_whole_and_the_next_goes_on(
    database, postgres_conninfo, kafka_settings, tmp_path
):
    ids = fill(database, 30)
    kept = fill(database, 3, state="retrying")
    environment = {
        "MEMBER_NAME": "outbox-publisher", "DATABASE_URL": postgres_conninfo, "RETENTION_DAYS": "30",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers, "KAFKA_TOPIC": kafka_settings.kafka_topic,
        "POSTGRES_DEADLINE_SEC": "60",
    }  # fmt: skip
    with psycopg.connect(postgres_conninfo) as holder:
        # It stands still in the middle of its deleting, for it finds this payment locked.
        holder.execute("SELECT FROM payments WHERE transaction_id = %s FOR UPDATE", [ids[15]])
        port = str(free_port())
        with service("services.outbox_publisher", tmp_path, METRICS_PORT=port, **environment) as process:
            until(lambda: waits_for_a_lock(database), what="the pruning")
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert whole(database) == dict.fromkeys(ids + kept, 4), "nobody sees what is not committed"
    until(lambda: not backends(database), what="the end of the dead publisher's session")
    assert whole(database) == dict.fromkeys(ids + kept, 4)
    port = str(free_port())
    with service("services.outbox_publisher", tmp_path, METRICS_PORT=port, **environment):
        until(lambda: whole(database) == dict.fromkeys(kept, 4), what="the second publisher's pruning")


def backends(database):
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'outbox-publisher'"
    return database.execute(query + " AND datname = current_database()").fetchone()[0]


def test_pruning_rests_between_batches_and_0_days_keep_everything(database, postgres_conninfo):
    fill(database, 1200)
    link = Link(postgres_conninfo, "tests", deadline_s=10.0, options=outbox.SESSION_OPTIONS)
    took = []

    def run(work):
        began_s = time.monotonic()
        done = link.run(work, until_s=time.monotonic() + 10)
        took.append(time.monotonic() - began_s)
        return done

    Retention(0, run).look()
    assert not took
    pruning = Retention(30 * DAY_S, run)
    began_s = time.monotonic()
    while len(whole(database)):
        pruning.look()
        time.sleep(min(0.02, pruning.due_in_s))  # between two looks, as the publisher's loop
    spent_s = time.monotonic() - began_s
    link.close()
    assert len(took) >= 3, "no batch takes more than 500"
    assert sum(took[:-1]) <= 1.1 * retention.SHARE * spent_s + 0.01


@pytest.mark.parametrize("statistics", ["fresh", "of a short table"])
def test_finding_and_pruning_a_batch_costs_no_more_where_many_are_younger(postgres_conninfo, database, statistics):
    """Reads in blocks, of the statements as they are prepared: nothing but the batch, by indexes."""
    with psycopg.connect(
        postgres_conninfo, autocommit=True, options=f"{outbox.SESSION_OPTIONS} -c plan_cache_mode=force_generic_plan"
    ) as connection:
        session = Session(connection)
        costs = []
        for _ in range(2):
            fill(database, 100)
            costs.append(explained_batch(session, connection, 100))
            if statistics == "of a short table":
                database.execute("ANALYZE payments, outbox_events, deliveries, delivery_attempts")
            fill(database, 100_000, days=1)
            if statistics == "fresh":
                database.execute("ANALYZE payments, outbox_events, deliveries, delivery_attempts")
        few, many = costs
        for before, after in zip(few, many, strict=True):
            scans = {node.get("Relation Name") for node in after if node["Node Type"] == "Seq Scan"}
            assert not scans & set(TABLES)
            assert blocks(after) < 2 * blocks(before) + 800, "younger payments were read"
        assert "payments_accepted_at" in {node.get("Index Name") for node in many[0]}


def explained_batch(session, connection, limit):
    looked = session.explain(retention._LOOK, [30.0 * DAY_S, *START, limit])
    ids = [row[1] for row in connection.execute(retention._LOOK, [30.0 * DAY_S, *START, limit]).fetchall()]
    assert len(ids) == limit
    given = [ids, 30.0 * DAY_S]
    return looked, session.explain(retention._LOCK, given), session.explain(retention._PRUNE, given)


def blocks(plan):
    return plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"]
