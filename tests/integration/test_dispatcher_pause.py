"""Pause and probe against a merchant that is down: what an operator reads, and what the merchant sees."""

import re
from itertools import pairwise

from tests.integration.fixtures_stores import until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_dispatcher"]
PROBE_INTERVAL_S = 0.5


def test_a_dead_merchant_sees_one_probe_per_interval_and_its_first_answer_ends_the_pause(
    dispatcher, payments, merchant
):
    merchant.answer = lambda transaction_id: 500
    with dispatcher() as running:
        running.assigned()
        members = payments.members()
        ids = payments.publish(60)
        until(lambda: running.status()["paused"], what="the pause")
        log = running.log_text()
        tid = re.search(
            r"✗ WEBHOOK DELIVERY FAILED PERMANENTLY tid=(\S+) url=(\S+) attempts=3 - RE-QUEUING AND PAUSING CONSUMER\n",
            log,
        )
        assert tid
        assert tid[2] == merchant.url
        assert f"Consumer paused (3 partitions). Waiting 5 minutes before resuming. tid={tid[1]}\n" in log
        assert re.search(r"Retrying webhook delivery tid=\S+ attempt=2/3 after 0\.1s backoff \(exponential\)\n", log)
        until(lambda: running.status()["in_flight"] == 0, what="the attempts that were under way")
        before = len(merchant.attempts)
        until(lambda: len(merchant.attempts) >= before + 5, what="five probes")
        probes = merchant.attempts[before : before + 5]
        gaps_s = [later.at_s - sooner.at_s for sooner, later in pairwise(probes)]
        assert min(gaps_s) > PROBE_INTERVAL_S * 0.8
        more = payments.publish(60)
        until(lambda: len(merchant.attempts) >= before + 7, what="two more probes")
        held = running.status()["held"]
        assert held <= 60, "no new work is taken in a pause"
        assert payments.members() == members, "it is still the same member of its group"
        merchant.answer = lambda transaction_id: 200
        until(lambda: set(merchant.delivered) == {*ids, *more}, what="every delivery")
        until(lambda: payments.uncommitted() == 0, what="the last commit")
        log = running.log_text()
        first = merchant.delivered[0]
        assert re.search(rf"Consumer resumed after [\d.]+ seconds tid={first}\n", log)
        assert log.count("Consumer paused") == log.count("Consumer resumed") == 1
        assert f"✓ WEBHOOK DELIVERED SUCCESSFULLY tid={first} url={merchant.url} status=200\n" in log
        assert payments.members() == members
        assert log.count("partitions assigned") == 1


def test_with_nothing_in_memory_a_probe_comes_from_kafka(dispatcher, payments, merchant):
    merchant.answer = lambda transaction_id: 503
    with dispatcher(MAX_RETRIES="1", RETRY_BACKOFF_SEC="3") as running:
        running.assigned()
        ids = payments.publish(1)
        until(lambda: running.status()["paused"], what="the pause")
        until(lambda: running.status()["requeuing"] == 0, what="the re-queue")
        merchant.answer = lambda transaction_id: 200
        ids += payments.publish(20)
        until(lambda: set(merchant.delivered) == set(ids), 40, "every delivery")
        assert not running.status()["paused"]


def test_with_probe_interval_0_the_merchant_is_left_alone_for_the_whole_pause(dispatcher, payments, merchant):
    merchant.answer = lambda transaction_id: 500
    with dispatcher(PROBE_INTERVAL_SECONDS="0", RETRY_PAUSE_SECONDS="3", MAX_RETRIES="1") as running:
        running.assigned()
        ids = payments.publish(20)
        until(lambda: running.status()["paused"], what="the pause")
        until(lambda: running.status()["in_flight"] == 0, what="the attempts that were under way")
        merchant.answer = lambda transaction_id: 200
        last_failed_s = merchant.attempts[-1].at_s
        until(lambda: set(merchant.delivered) == set(ids), what="every delivery")
        first_tried = next(attempt for attempt in merchant.attempts if attempt.status == 200)
        assert first_tried.at_s - last_failed_s > 2.5
        # Never earlier; up to a tenth later, so that several dispatchers do not come back in step.
        resumed = re.compile(r"Consumer resumed after 3(\.[0-4])? seconds")
        until(lambda: resumed.search(running.log_text()), what="the word of the resumption")
        assert "Waiting 3 seconds before resuming" in running.log_text()
