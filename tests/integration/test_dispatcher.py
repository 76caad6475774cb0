"""A real dispatcher on real servers: nothing is lost, little comes twice, whatever dies."""

import asyncio
import json
import random
import signal
from collections import Counter

import pytest
from standardwebhooks import Webhook

from services.common.event import canonical_bytes
from services.common.signing import standard_webhooks_secret
from tests.integration.fixtures_stores import SECRET, free_port, until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_dispatcher"]


def states(database, ids):
    """How many of `ids` are in each state."""
    rows = database.execute(
        "SELECT state, count(*) FROM deliveries WHERE transaction_id = ANY(%s::uuid[]) GROUP BY state", [ids]
    )
    return dict(rows.fetchall())


async def hang():
    await asyncio.sleep(60)
    return 500


async def briefly():
    await asyncio.sleep(0.01)
    return 200


def test_a_kill_9_costs_nothing_and_what_was_complete_beyond_the_committed_offset_does_not_come_again(
    dispatcher, payments, merchant
):
    ids = payments.publish(600)
    stuck = set(ids[:3])
    merchant.answer = lambda transaction_id: hang() if transaction_id in stuck else 200
    with dispatcher(REQUEST_TIMEOUT_SEC="50") as first:
        until(lambda: len(merchant.delivered) == 597, what="all but the stuck ones")
        until(lambda: payments.uncommitted() == 3, what="the commit of all that was delivered")
        assert {tracker.base for tracker in payments.committed().values()} == {0}, "the stuck ones hold every partition"
        first.kill()
        first.wait()
    ids += payments.publish(60)
    merchant.answer = lambda transaction_id: 200
    with dispatcher() as second:
        until(lambda: set(merchant.delivered) == set(ids), what="every delivery")
        until(lambda: payments.uncommitted() == 0, what="the last commit")
        assert "bruce_dispatcher_skipped_total 597.0" in second.metrics()
    assert [one for one, times in Counter(merchant.delivered).items() if times > 1] == []


def test_what_arrives_is_what_was_published_and_the_standardwebhooks_library_verifies_it(
    dispatcher, payments, merchant
):
    ids = payments.publish(30)
    with dispatcher():
        until(lambda: len(merchant.delivered) == 30, what="the deliveries")
    library = Webhook(standard_webhooks_secret(SECRET))
    for attempt in merchant.attempts:
        library.verify(attempt.body, attempt.headers)
        assert attempt.body == canonical_bytes({"Transaction ID": attempt.transaction_id})
        assert json.loads(attempt.body)["Transaction ID"] == attempt.headers["webhook-id"]
    assert sorted(merchant.delivered) == sorted(ids)


def test_sigterm_finishes_and_commits_what_is_in_flight_and_leaves_with_0(dispatcher, payments, merchant, database):
    slow = asyncio.Event()

    async def later():
        await slow.wait()
        return 200

    ids = payments.publish(40)
    merchant.answer = lambda transaction_id: later()
    with dispatcher(REQUEST_TIMEOUT_SEC="20") as running:
        until(lambda: len(merchant.waiting) == 40, what="all attempts under way")
        running.send_signal(signal.SIGTERM)
        until(lambda: "draining" in running.log_text(), what="the drain")
        merchant._loop.call_soon_threadsafe(slow.set)
        assert running.wait(15) == 0
        assert "dispatcher stopped" in running.log_text()
        assert "Traceback" not in running.log_text()
    assert sorted(merchant.delivered) == sorted(ids)
    assert states(database, ids) == {"delivered": 40}
    assert payments.uncommitted() == 0


def test_a_merchant_that_fails_70_per_cent_of_the_time_is_slow_and_not_stuck(dispatcher, payments, merchant, database):
    luck = random.Random(7)
    merchant.answer = lambda transaction_id: 200 if luck.random() < 0.3 else 500
    ids = payments.publish(300)
    with dispatcher(RETRY_BACKOFF_SEC="0.05"):
        until(lambda: set(merchant.delivered) == set(ids), 40, "every delivery")
        until(lambda: payments.uncommitted() == 0, what="the last commit")
        until(lambda: states(database, ids) == {"delivered": 300}, what="every record")
    assert len(merchant.delivered) == 300, "nothing died, so nothing came twice"
    recorded = database.execute(
        "SELECT count(*), max(round) FROM attempts WHERE transaction_id = ANY(%s::uuid[])", [ids]
    ).fetchone()
    assert recorded[0] == len(merchant.attempts), "every attempt is on record"
    assert recorded[1] > 1, "some went through Kafka again"


def test_an_unreadable_record_is_set_aside_with_its_reason_and_stops_nobody(dispatcher, payments, merchant, database):
    known = "4d3db980-1c2e-4f5a-9b7d-0a1b2c3d4e5f"
    payments.put(b"no uuid", b"{}", headers=[("origin", b"elsewhere")])
    payments.put(None, None)
    payments.put(known.encode(), b"not json")
    payments.put(known.encode(), b'"' + b"x" * 1_040_000 + b'"')
    ids = payments.publish(6)
    with dispatcher():
        until(lambda: sorted(merchant.delivered) == sorted(ids), what="the readable ones")
        until(lambda: payments.uncommitted() == 0, what="their commit")
    found = {dict(one.headers())["source"].decode().split("@")[1]: one for one in payments.dead_letters(4)}
    reasons = {offset: dict(one.headers())["reason"].decode() for offset, one in found.items()}
    assert reasons == {
        "0": "the key is not a transaction id",
        "1": "the key is not a transaction id",
        "2": "the value is not a JSON object",
        "3": "the value is larger than 524288 bytes",
    }
    assert (found["0"].key(), found["0"].value(), found["0"].headers()[0]) == (
        b"no uuid",
        b"{}",
        ("origin", b"elsewhere"),
    )
    assert dict(found["3"].headers())["cut"].startswith(b"key of 36 bytes, value of 1040002 bytes")
    assert states(database, [known]) == {"dead": 1}
    assert len(merchant.attempts) == 6


@pytest.mark.parametrize("outage", ["cut", "silent"])
def test_a_postgres_outage_stops_deliveries_at_the_bound_and_not_before(
    dispatcher, payments, merchant, database, postgres_link, outage
):
    link, conninfo = postgres_link
    target = link._target
    with dispatcher(DATABASE_URL=conninfo, MAX_UNRECORDED="100", MAX_IN_FLIGHT="10") as running:
        running.assigned()
        if outage == "cut":
            link._target = ("127.0.0.1", free_port())
            link.cut()
        else:
            link.silence()
        ids = payments.publish(400)
        until(lambda: (seen := running.status())["unrecorded"] >= 100 and not seen["in_flight"], what="the bound")
        assert 100 <= len(merchant.delivered) <= 110
        assert payments.uncommitted() == 400, "nothing is committed that is not recorded"
        link._target = target
        link.heal()
        until(lambda: payments.uncommitted() == 0, what="the commit of everything")
        assert sorted(merchant.delivered) == sorted(ids), "no delivery was made again"
        assert states(database, ids) == {"delivered": 400}


def test_partitions_that_move_to_a_new_dispatcher_bring_nothing_twice(dispatcher, payments, merchant):
    merchant.answer = lambda transaction_id: briefly()
    with dispatcher(MEMBER_NAME="one", MAX_IN_FLIGHT="20") as one:
        one.assigned()
        ids = payments.publish(9000)
        until(lambda: merchant.delivered, what="the first one's work")
        with dispatcher(MEMBER_NAME="two", MAX_IN_FLIGHT="20") as two:
            two.assigned(1)
            assert len(merchant.delivered) < 9000, "they moved under load"
            until(lambda: payments.uncommitted() == 0, 40, "the commit of everything")
            assert "Traceback" not in one.log_text() + two.log_text()
    assert sorted(merchant.delivered) == sorted(ids)


def test_a_second_dispatcher_shares_the_work_and_its_death_loses_nothing(dispatcher, payments, merchant):
    merchant.answer = lambda transaction_id: briefly()
    with dispatcher(MEMBER_NAME="one", MAX_IN_FLIGHT="20") as one:
        one.assigned()
        ids = payments.publish(1000)
        with dispatcher(MEMBER_NAME="two", MAX_IN_FLIGHT="20") as two:
            two.assigned(1)
            until(lambda: sorted(map(len, payments.members().values())) == [1, 2], what="a shared group")
            ids += payments.publish(500)
            until(lambda: two.status()["in_flight"], what="the second one's work")
            two.kill()
            two.wait()
            one.assigned()
        until(lambda: payments.uncommitted() == 0, 30, "the commit of everything")
        assert one.poll() is None, one.log_text()
        assert "Traceback" not in one.log_text() + two.log_text()
    assert set(merchant.delivered) == set(ids)
    assert len(merchant.delivered) < 1500 + 500, "what comes again is what was in hand when the assignment changed"


def test_a_zombie_that_wakes_up_after_its_partitions_moved_takes_back_nothing_that_its_heir_committed(
    dispatcher, payments, merchant
):
    merchant.answer = lambda transaction_id: briefly()
    committed = {}

    def all_done(ids):
        for partition, tracker in payments.committed().items():
            assert tracker.base >= committed.get(partition, 0), "a commit went back"
            committed[partition] = tracker.base
        return set(merchant.delivered) == set(ids) and payments.uncommitted() == 0

    with dispatcher(MEMBER_NAME="one", MAX_IN_FLIGHT="20") as one:
        one.assigned()
        ids = payments.publish(600)
        until(lambda: len(merchant.delivered) > 60, what="work of the first one")
        one.send_signal(signal.SIGSTOP)
        with dispatcher(MEMBER_NAME="two", MAX_IN_FLIGHT="20") as two:
            two.assigned()
            ids += payments.publish(100)
            until(lambda: all_done(ids), 40, "everything, by the heir alone")
            before = len(merchant.delivered)
            one.send_signal(signal.SIGCONT)
            until(lambda: one.poll() is not None or one.status()["assigned"], 30, "the zombie's new place, or its end")
            ids += payments.publish(300)
            until(lambda: all_done(ids), 40, "everything, with the zombie awake")
            assert "Traceback" not in one.log_text() + two.log_text()
    again = len(merchant.delivered) - before - 300
    assert again <= 20, (
        "at most what the zombie had in flight came again, and nothing by the partitions' way back to it"
    )


def test_a_dispatcher_that_is_fenced_ends_with_1_and_says_why(dispatcher, payments, merchant):
    with dispatcher() as first:
        first.assigned()
        with dispatcher(MEMBER_NAME="dispatcher", GROUP_SESSION_TIMEOUT_SEC="7") as second:
            second.assigned()
            assert first.wait(20) == 1
            ids = payments.publish(5)
            until(lambda: sorted(merchant.delivered) == sorted(ids), what="the deliveries")
        assert "Kafka refuses this consumer for good" in first.log_text()
        assert "Traceback" not in first.log_text()


def test_sigterm_is_heard_while_the_servers_are_still_waited_for(dispatcher):
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}", "MEMBER_NAME": "early"}
    with dispatcher(**nowhere) as running:
        until(lambda: "waiting for Postgres and Kafka" in running.log_text(), what="the wait")
        running.send_signal(signal.SIGTERM)
        assert running.wait(3) == 0
        assert "Traceback" not in running.log_text()


def test_a_topic_that_cannot_keep_the_promise_ends_the_start_with_1(dispatcher):
    with dispatcher(KAFKA_MIN_INSYNC_REPLICAS="1") as running:
        assert running.wait(20) == 1
        assert "min.insync.replicas is 2, must be 1" in running.log_text()
        assert "Traceback" not in running.log_text()
