"""A merchant that is dead for long: asked at the probe rate, memory stays flat, the backlog comes back over a ramp."""

import time

import psutil

from tests.integration.fixtures_stores import until

pytest_plugins = ["tests.integration.fixtures_stores", "tests.integration.fixtures_dispatcher"]
DEAD_S = 8.0
PROBE_S = 0.5
RAMP_S = 2.0


def starts_between(merchant, begin_s, end_s):
    return sum(begin_s <= attempt.at_s < end_s for attempt in merchant.attempts)


def test_a_dead_merchant_costs_probes_and_the_backlog_comes_back_over_a_ramp(dispatcher, payments, merchant):
    merchant.answer = lambda transaction_id: 500
    settings = {"PROBE_INTERVAL_SECONDS": str(PROBE_S), "RAMP_SEC": str(RAMP_S), "MAX_IN_FLIGHT": "200"}
    with dispatcher(**settings) as running:
        running.assigned()
        ids = payments.publish(20)
        until(lambda: running.status()["paused"], what="the pause")
        until(lambda: not running.status()["in_flight"], what="the end of what was under way")
        ids += payments.publish(3000)
        process, paused_s = psutil.Process(running.pid), time.monotonic()
        memory_before = process.memory_info().rss
        until(lambda: time.monotonic() >= paused_s + DEAD_S, DEAD_S + 5, "a long outage")
        probes = starts_between(merchant, paused_s, time.monotonic())
        assert DEAD_S / PROBE_S - 3 <= probes <= DEAD_S / PROBE_S + 1
        assert process.memory_info().rss - memory_before < 8 * 1024 * 1024, "nothing is taken that cannot be delivered"
        assert running.status()["held"] < 1500

        merchant.answer = lambda transaction_id: 200
        until(lambda: merchant.delivered, what="the first success")
        risen_s = next(attempt.at_s for attempt in merchant.attempts if attempt.status == 200)
        until(lambda: set(merchant.delivered) == set(ids), 60, "every delivery")
        assert len(merchant.delivered) == len(ids), "nothing died, so nothing came twice"
        rates = [starts_between(merchant, risen_s + at / 2, risen_s + at / 2 + 0.5) for at in range(4)]
        assert rates[0] <= 40, f"a handful first: {rates}"
        assert rates[1] <= 130, f"then some more: {rates}"
        assert rates[1] > rates[0], f"and it grows: {rates}"
        assert max(rates[2:]) > 150, f"to the full rate: {rates}"
