"""The list of transactions while payments arrive: what is seen at once, what in its turn, and that nothing is missed.

On a real Postgres: what commits late, and where rows lie, is its own doing.
"""

import uuid

import psycopg
import pytest

from control_room.tracking import feed as feed_module
from control_room.tracking import transactions_sql
from control_room.tracking.feed import AT_ONCE, NEAR_S, OVERLAP_S, RUSH, WHOLE_EVERY_S, TransactionFeed
from control_room.tracking.filter import parse_filter
from control_room.tracking.listing import LATEST, Order, Query
from control_room.tracking.parts import SourceError
from control_room.tracking.rush import Rush, Stretch
from control_room.tracking.transactions import list_transactions
from tests.integration.fixtures_stores import until
from tests.integration.fixtures_tracking import pay

pytest_plugins = ["tests.integration.fixtures_tracking"]


@pytest.fixture
def feed(conninfo, db):
    """Over tables that were empty at its first look."""
    found = TransactionFeed(conninfo)
    assert found.read().held == 0
    yield found
    found.close()


def rush(db, count, state="delivered"):
    """So many payments at once, the first one the oldest; their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    db.execute(
        "INSERT INTO payments SELECT id, now(), 'Asha', 'a@b', 'Ravi', 'c@d', 1, 'SUCCESS', ''::bytea,"
        " clock_timestamp() - make_interval(secs => (%s - nr) * 2e-6), 'ingestion-api-1'"
        " FROM unnest(%s::uuid[]) WITH ORDINALITY AS t (id, nr)",
        [count, ids],
    )
    db.execute(
        "INSERT INTO deliveries SELECT id, %s::text, 1, 1, 1, 200, NULL, NULL, now(), now(), 'dispatcher'"
        " FROM unnest(%s::uuid[]) id",
        [state, ids],
    )
    return ids


def all_read(feed):
    """The listing once nothing waits for its turn any more, and the rows that changed meanwhile."""
    changed = []

    def done():
        seen = feed.read()
        changed.extend(row.transaction_id for row in seen.changed)
        return seen.unread == 0 and seen

    return until(done, 10 * OVERLAP_S, "everything in the list"), changed


def test_in_a_rush_the_newest_are_seen_at_once_and_the_others_when_none_can_come_late(feed, db):
    ids = rush(db, RUSH + 1)
    seen = feed.read()
    assert [row.transaction_id for row in seen.changed] == ids[-AT_ONCE:]
    assert (seen.seen, seen.unread) == (len(ids), len(ids) - AT_ONCE)
    newer = pay(db, state="delivered")
    seen, changed = all_read(feed)
    assert sorted(changed) == sorted([*ids[:-AT_ONCE], newer]), "each once"
    assert seen.held == len(seen.rows) == seen.seen == len(ids) + 1
    assert [row.transaction_id for row in seen.rows] == [newer, *ids[::-1]]
    assert feed.read().changed == ()


def test_a_rush_that_lasts_shows_what_is_not_delivered_and_tells_how_many_wait(feed, db, monkeypatch):
    monkeypatch.setattr(feed_module, "DONE_PER_S", 0)
    stuck = pay(db, age_s=5, state="retrying", attempts=2)
    ids = [stuck, *rush(db, RUSH + 1)]
    feed.read()
    ids += rush(db, RUSH + 1)
    seen = feed.read()
    changed = {row.transaction_id for row in seen.changed}
    assert (stuck in changed, len(changed)) == (True, 1 + AT_ONCE)
    assert (seen.oldest_open.transaction_id, seen.held + seen.unread) == (stuck, len(ids))
    seen, _ = all_read(feed)
    assert sorted(row.transaction_id for row in seen.rows) == sorted(ids), "each once"
    accepted = [row.accepted_at_s for row in seen.rows]
    assert accepted == sorted(accepted, reverse=True)
    assert seen.seen == len(ids)


@pytest.mark.parametrize("state", ["delivered", "retrying"])
def test_a_payment_of_a_rush_that_commits_late_is_in_the_list_once(feed, db, conninfo, state):
    with psycopg.connect(conninfo) as slow:
        late = pay(slow, age_s=0.01, state=state)  # not committed yet, and older than most of the others
        ids = [late, *rush(db, RUSH + 1)]
        assert feed.read().seen == len(ids) - 1
    seen, changed = all_read(feed)
    assert sorted(row.transaction_id for row in seen.rows) == sorted(ids)
    assert (changed.count(late), seen.seen, seen.open) == (1, len(ids), state == "retrying")


def test_a_payment_that_commits_behind_the_beginning_of_a_rush_is_in_the_list_once(feed, db, conninfo):
    with psycopg.connect(conninfo) as slow:
        late = pay(slow, age_s=OVERLAP_S - 1, state="delivered")
        before = pay(db, state="delivered")
        feed.read()
        ids = [late, before, *rush(db, RUSH + 1)]
        feed.read()
    seen = until(lambda: (seen := feed.read()).held == len(ids) and seen, 2 * WHOLE_EVERY_S, "all in the list")
    assert sorted(row.transaction_id for row in seen.rows) == sorted(ids)
    assert (seen.seen, seen.unread) == (len(ids), 0)


def test_what_is_not_delivered_in_a_rush_is_seen_a_look_later_and_once(feed, db):
    ids = rush(db, 2 * RUSH, state="retrying")
    assert feed.read().open == AT_ONCE
    seen = feed.read()
    assert (seen.open, seen.unread) == (len(ids), 0)
    assert feed.read().changed == ()
    db.execute("UPDATE deliveries SET state = 'delivered', delivered_at = now()")
    seen, changed = all_read(feed)
    assert sorted(changed) == sorted(ids)
    assert sorted(row.transaction_id for row in seen.rows) == sorted(ids)
    assert seen.open == 0


def test_of_a_rush_that_outgrows_what_may_wait_the_oldest_are_let_go(conninfo, db, monkeypatch):
    monkeypatch.setattr(feed_module, "CATCH_UP", 2 * RUSH)
    feed = TransactionFeed(conninfo)
    feed.read()
    ids = []
    for _ in range(4):
        ids += rush(db, RUSH + 1)
        feed.read()
    seen, _ = all_read(feed)
    held = [row.transaction_id for row in seen.rows][::-1]
    assert len(held) < len(ids)
    assert set(ids[-2 * RUSH :]) <= set(held)
    assert (len(set(held)), seen.seen) == (len(held), len(ids))
    feed.close()


def test_a_stretch_that_is_in_the_list_whole_ends_without_a_question(conninfo, db):
    ids = rush(db, 5, state="retrying")
    waiting = Rush(late_s=0.0, most=100)
    waiting.add(Stretch(0.0, 1e11, len(ids), 0))
    asked = waiting.ask(db)
    assert (sorted(asked.open_ids), waiting.unread) == (sorted(ids), len(ids))
    waiting.listed(list_transactions(conninfo, ["retrying"]).rows)
    waiting.settle(asked)
    assert waiting.unread == 0
    nobody = None  # a question would fail
    turn = waiting.next(nobody, 100, ())
    waiting.read(turn)
    assert (turn.ids, waiting.spans(0.0)) == ([], [])


def test_where_deliveries_lie_in_the_table_decides_nothing(db):
    delivered, stuck = rush(db, 20), rush(db, 3, state="retrying")
    waiting = pay(db, state="in-kafka")
    for page in (0, 10_000_000):
        given = {"begin_s": 0.0, "end_s": 1e11, "first": f"({page},0)"}
        count, ids = db.execute(transactions_sql.OPEN_WITHIN, given).fetchone()
        assert (count, sorted(ids.split(","))) == (len(delivered) + 4, sorted([*stuck, waiting]))


def test_what_waits_for_its_look_outlives_a_postgres_that_does_not_answer(feed, db):
    ids = rush(db, 2 * RUSH)
    feed.read()
    db.execute("ALTER TABLE payments RENAME COLUMN amount_inr TO elsewhere")
    try:
        until(lambda: not answers(feed), 2 * OVERLAP_S, "the look that wants the rows")
    finally:
        db.execute("ALTER TABLE payments RENAME COLUMN elsewhere TO amount_inr")
    seen, _ = all_read(feed)
    assert {row.transaction_id for row in seen.rows} == set(ids)
    assert seen.seen == len(ids)


def test_what_a_look_that_failed_half_way_has_read_is_told_by_the_next(conninfo, db):
    class Failing(TransactionFeed):
        fails = False

        def _bring(self, connection, ids, *, unmet=False):
            if unmet and self.fails:
                raise psycopg.OperationalError("the connection is gone")
            super()._bring(connection, ids, unmet=unmet)

    feed = Failing(conninfo)
    feed.read()
    ids = rush(db, RUSH + 1)
    feed.fails = True
    assert not answers(feed)
    feed.fails = False
    seen = feed.read()
    assert [row.transaction_id for row in seen.changed] == ids[-AT_ONCE:]
    assert (seen.seen, seen.unread) == (len(ids), len(ids) - AT_ONCE)
    feed.close()


def answers(feed):
    try:
        feed.read()
    except SourceError:
        return False
    return True


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
