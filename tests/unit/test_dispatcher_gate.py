"""The gate in front of the merchant, told the time by the test."""

from itertools import pairwise

import pytest

from services.dispatcher.gate import (
    EVIDENCE_ATTEMPTS,
    EVIDENCE_MAX_AGE_S,
    RAMP_DOUBLINGS,
    RAMP_START,
    RAMP_STEP,
    RAMP_STEP_BACK,
    Gate,
    Paused,
    Phase,
    Resumed,
)


class Ticket:
    def __init__(self):
        self.ramp = 0


def gate(*, pause_s=300.0, probe_interval_s=5.0, full=1000, ramp_s=0.0):
    return Gate(
        pause_s=pause_s,
        probe_interval_s=probe_interval_s,
        evidence_s=2.0,
        full=full,
        ramp_s=ramp_s,
        quick_s=0.25,
        chance=lambda: 0.0,
    )


def paused_at(now_s, **settings):
    made = gate(**settings)
    assert made.exhausted(Ticket(), "culprit", now_s) == Paused(None)
    assert made.phase is Phase.PAUSED
    return made


def admitted(made, tickets, now_s=300.0):
    return [ticket for ticket in tickets if made.admit(ticket, now_s)]


def test_nothing_is_attempted_in_a_pause():
    assert not paused_at(100.0).admit(Ticket(), 100.0)


def test_one_probe_leaves_per_interval():
    made = paused_at(100.0)
    assert not made.probe_due(104.9)
    assert made.probe_due(105.0)
    made.probe_sent(105.0)
    assert [now_s for now_s in (105.1, 109.9, 110.0) if made.probe_due(now_s)] == [110.0]


def test_the_first_success_anywhere_ends_the_pause():
    made = paused_at(100.0)
    assert made.succeeded(Ticket(), "winner", started_s=99.0, now_s=103.5) == Resumed(3.5, "winner")
    assert made.phase is Phase.RAMP


def test_a_pause_without_a_success_ends_after_its_whole_length():
    made = paused_at(100.0)
    assert made.tick(399.9) is None
    assert made.tick(400.0) == Resumed(300.0, "culprit")


def test_with_probe_interval_0_the_whole_pause_is_waited():
    made = paused_at(100.0, probe_interval_s=0)
    assert not made.probe_due(399.0)
    assert made.wake_s == 400.0
    made.hold_off(120.0)
    assert not made.probe_due(399.0)
    assert made.tick(400.0) == Resumed(300.0, "culprit")


def test_a_second_exhausted_round_does_not_prolong_the_pause():
    made = paused_at(100.0)
    assert made.exhausted(Ticket(), "another", 200.0) is None
    assert made.paused_until_s == 400.0


def test_while_deliveries_succeed_a_pause_ends_as_it_starts():
    made = gate()
    made.succeeded(Ticket(), "recent", started_s=99.0, now_s=99.5)
    assert made.exhausted(Ticket(), "unlucky", 100.0) == Paused("recent")
    assert made.phase is Phase.OPEN
    assert made.admit(Ticket(), 100.0)


def fail(made, times):
    for _ in range(times):
        made.failed(answered=True)


def test_a_success_that_began_long_ago_is_no_evidence_however_late_it_came_back():
    made = gate()
    made.succeeded(Ticket(), "slow", started_s=100.0 - EVIDENCE_MAX_AGE_S - 0.1, now_s=99.9)
    assert made.exhausted(Ticket(), "culprit", 100.0) == Paused(None)


def test_a_merchant_that_mostly_fails_few_attempts_is_slow_and_not_paused():
    made = gate()
    made.succeeded(Ticket(), "one of the last", started_s=90.0, now_s=90.1)
    fail(made, EVIDENCE_ATTEMPTS - 1)
    assert made.exhausted(Ticket(), "unlucky", 100.0) == Paused("one of the last")


def test_a_merchant_that_died_is_paused_after_as_many_failures_in_a_row():
    made = gate()
    made.succeeded(Ticket(), "the last", started_s=90.0, now_s=90.1)
    fail(made, EVIDENCE_ATTEMPTS)
    assert made.exhausted(Ticket(), "culprit", 100.0) == Paused(None)


def test_many_failures_within_a_moment_of_a_success_are_a_merchant_that_answers():
    made = gate()
    made.succeeded(Ticket(), "recent", started_s=99.0, now_s=99.1)
    fail(made, 10 * EVIDENCE_ATTEMPTS)
    assert made.exhausted(Ticket(), "unlucky", 100.0) == Paused("recent")


def test_an_older_success_never_replaces_newer_evidence():
    made = gate()
    made.succeeded(Ticket(), "new", started_s=99.0, now_s=99.1)
    made.succeeded(Ticket(), "old", started_s=90.0, now_s=99.9)
    assert made.exhausted(Ticket(), "unlucky", 100.0) == Paused("new")


def test_a_probe_respects_the_silence_that_the_merchant_asked_for_until_it_answers_well():
    made = paused_at(100.0)
    made.hold_off(130.0)
    made.hold_off(110.0)
    assert not made.probe_due(129.0)
    assert made.wake_s == 130.0
    assert made.probe_due(130.0)
    made.succeeded(Ticket(), "winner", 131.0, 131.5)
    fail(made, EVIDENCE_ATTEMPTS)
    made.exhausted(Ticket(), "culprit", 140.0)
    assert made.probe_due(145.0)


def test_after_a_pause_the_herd_comes_back_over_a_ramp():
    made = paused_at(0.0)
    made.tick(300.0)
    crowd = [Ticket() for _ in range(100)]
    inside = admitted(made, crowd)
    assert len(inside) == RAMP_START
    assert made.vacancies(300.0) == 0
    assert made.admit(inside[0], 300.0), "a transaction keeps its slot between its attempts"
    made.succeeded(inside[0], "id", 301.0, 301.1)
    assert made.vacancies(300.0) == RAMP_STEP + 1
    assert len(admitted(made, crowd[50:])) == RAMP_STEP + 1


def test_a_merchant_still_dead_after_a_full_pause_sees_a_handful_and_the_next_pause():
    made = paused_at(0.0)
    made.tick(300.0)
    inside = admitted(made, [Ticket() for _ in range(100)])
    assert made.exhausted(inside[0], "culprit", 310.0) == Paused(None)
    assert not admitted(made, inside, 310.0)


def test_a_slot_is_given_back_once_and_only_in_its_own_ramp():
    made = paused_at(0.0)
    made.tick(300.0)
    inside = admitted(made, [Ticket() for _ in range(RAMP_START)])
    made.leave(inside[0])
    made.leave(inside[0])
    assert made.vacancies(300.0) == 1
    made.exhausted(inside[1], "culprit", 310.0)
    made.tick(610.0)
    admitted(made, [Ticket() for _ in range(RAMP_START)])
    made.leave(inside[2])
    assert made.vacancies(300.0) == 0


def test_the_ramp_ends_in_full_work():
    made = paused_at(0.0, full=20)
    made.tick(300.0)
    for number in range(5):
        made.succeeded(Ticket(), "id", 301.0 + number, 301.5 + number)
    assert made.phase is Phase.OPEN
    assert made.vacancies(301.0) is None
    assert len(admitted(made, [Ticket() for _ in range(500)])) == 500


def test_a_pause_of_no_length_is_over_at_the_next_look():
    made = paused_at(100.0, pause_s=0.0)
    assert made.tick(100.0) == Resumed(0.0, "culprit")


def work_through_a_ramp(made, merchant_s, until_s, step_s=0.01):
    """A merchant that answers everything well after `merchant_s`, and an endless crowd: when each request began."""
    began, open_requests, now_s = [], [], 0.0
    while now_s < until_s:
        for answered_s, ticket in [entry for entry in open_requests if entry[0] <= now_s]:
            made.succeeded(ticket, "id", answered_s - merchant_s, now_s)
        open_requests = [entry for entry in open_requests if entry[0] > now_s]
        for ticket in admitted(made, [Ticket() for _ in range(50)], now_s):
            began.append(now_s)
            open_requests.append((now_s + merchant_s, ticket))
        now_s += step_s
    return began


def per_stretch(began, length_s, stretches):
    return [sum(at <= one < at + length_s for one in began) for at in (n * length_s for n in range(stretches))]


@pytest.mark.parametrize("merchant_s", [0.001, 0.05])
def test_however_fast_the_merchant_answers_its_load_grows_over_the_whole_ramp(merchant_s):
    made = paused_at(-300.0, ramp_s=2.0)
    made.tick(0.0)
    rates = per_stretch(work_through_a_ramp(made, merchant_s, 2.6), 0.5, 5)
    assert rates[0] <= RAMP_START * 4
    assert all(2.5 <= after / before <= 5 for before, after in pairwise(rates[:4])), (
        f"it doubles twice in 0.5 s: {rates}"
    )
    assert rates[4] >= 50 * 50, "after the ramp everything is let through"


def test_a_slow_merchant_is_never_asked_faster_than_it_answers_well():
    made = paused_at(-300.0, ramp_s=2.0)
    made.tick(0.0)
    began = work_through_a_ramp(made, 1.0, 2.0)
    assert sum(one < 1.0 for one in began) == RAMP_START
    assert sum(one < 2.0 for one in began) <= RAMP_START * (2 + RAMP_STEP)


def test_the_gate_names_the_moment_at_which_time_lets_the_next_one_through():
    made = paused_at(-300.0, ramp_s=2.0)
    made.tick(0.0)
    began_all, now_s = 0, 0.0
    while made.wake_s < 1.9:
        inside = admitted(made, [Ticket() for _ in range(100)], now_s)
        assert inside, "woken, and nothing was let through"
        began_all += len(inside)
        for ticket in inside:
            made.succeeded(ticket, "id", now_s, now_s)
        assert not admitted(made, [Ticket()], made.wake_s - 0.001)
        now_s = made.wake_s
    assert began_all >= RAMP_START * 2 ** (RAMP_DOUBLINGS * 0.9)


def test_a_ramp_that_a_new_pause_cut_short_begins_anew():
    made = paused_at(-300.0, ramp_s=2.0)
    made.tick(0.0)
    inside = work_through_a_ramp(made, 0.001, 1.5)
    assert len(inside) > 10 * RAMP_START
    fail(made, EVIDENCE_ATTEMPTS)
    assert made.exhausted(Ticket(), "culprit", 10.0) == Paused(None)
    made.succeeded(Ticket(), "probe", 15.0, 15.0)
    assert len(admitted(made, [Ticket() for _ in range(100)], 15.0)) == RAMP_START


def test_calm_operation_knows_no_ramp():
    made = gate(ramp_s=2.0)
    assert len(admitted(made, [Ticket() for _ in range(5000)])) == 5000
    made.succeeded(Ticket(), "recent", 299.0, 299.5)
    made.exhausted(Ticket(), "unlucky", 300.0)
    assert len(admitted(made, [Ticket() for _ in range(5000)])) == 5000, "a pause that ended as it began"


def test_a_merchant_that_answers_too_late_under_the_ramps_load_is_asked_less_again():
    made = paused_at(0.0)
    made.tick(300.0)
    inside = admitted(made, [Ticket() for _ in range(RAMP_START)])
    for ticket in inside:
        made.succeeded(ticket, "id", 300.4, 300.5)
    grown = made.vacancies(301.0)
    assert grown > RAMP_START
    made.failed(answered=True)
    assert made.vacancies(301.0) == grown, "a merchant that says no has the time to say it"
    made.failed(answered=False)
    assert made.vacancies(301.0) == grown - RAMP_STEP_BACK
    for _ in range(100):
        made.failed(answered=False)
    assert made.vacancies(301.0) == RAMP_START, "and never less than at the beginning"


def answered(made, tickets, took_s, now_s):
    for ticket in tickets:
        made.succeeded(ticket, "id", now_s - took_s, now_s)


def test_answers_that_come_ever_later_are_no_reason_to_ask_for_more():
    made = paused_at(0.0)
    made.tick(300.0)
    inside = admitted(made, [Ticket() for _ in range(RAMP_START)])
    answered(made, inside[:1], took_s=0.01, now_s=300.1)
    inside = inside[1:] + admitted(made, [Ticket() for _ in range(100)], 300.1)
    assert len(inside) == RAMP_START + RAMP_STEP
    answered(made, inside[:5], took_s=0.3, now_s=300.3)
    assert made.vacancies(300.3) == 5, "they give back their slots, and no more"


def test_a_merchant_that_was_always_slow_gets_all_of_its_work_at_once_in_the_end():
    made = paused_at(0.0)
    made.tick(300.0)
    now_s = 300.0
    for _ in range(12):
        inside = admitted(made, [Ticket() for _ in range(2000)])
        now_s += 2.0
        answered(made, inside, took_s=2.0, now_s=now_s)
    assert made.phase is Phase.OPEN


def test_a_ramp_that_holds_nobody_back_comes_to_its_end_however_slow_the_merchant_has_become():
    made = paused_at(0.0, full=100)
    made.tick(300.0)
    took_s = [0.01] + [0.9] * 40
    for number, one_s in enumerate(took_s):
        answered(made, admitted(made, [Ticket()], 300.0 + number), one_s, 300.0 + number + one_s)
    assert made.phase is Phase.OPEN


def test_slots_that_nobody_wanted_are_not_saved_up_for_a_herd():
    """In the first seconds the clock holds back: what succeeds then says nothing of how many the merchant can bear."""
    made = paused_at(0.0, ramp_s=2.0)
    made.tick(300.0)
    for number in range(100):
        one = Ticket()
        assert made.admit(one, 301.0)
        answered(made, [one], took_s=0.001, now_s=301.0 + number / 1000)
    assert len(admitted(made, [Ticket() for _ in range(1000)], 302.5)) == RAMP_START
