"""Each class of the promise, produced from a history in real files."""

import pytest

from control_room.verify import Outcome, check
from tests.unit.histories import T0, History, sha, tid

A, B = tid(0xA), tid(0xB)


@pytest.fixture
def history(tmp_path):
    """One plain delivery, so that nothing is vacuous; a test adds what it is about."""
    return History(tmp_path / "run").accepted_and_delivered(1)


def judged(history):
    return check(history.write())


def classes(verdict):
    plain = ("delivered", "duplicated")
    return {name: count for name, count in verdict.classes.items() if count and name not in plain}


def test_everything_acknowledged_and_delivered_is_proven(history):
    history.accepted_and_delivered(2, 3)
    verdict = judged(history)
    assert (verdict.outcome, verdict.exit_code, verdict.reasons) == (Outcome.PROVEN, 0, ())
    assert verdict.arithmetic.line() == "3 accepted = 3 delivered + 0 unaccounted"
    assert classes(verdict) == {}


def test_an_acknowledged_id_that_never_reached_the_ledger_is_lost(history):
    history.send(A)
    history.deliver(A, status=500)
    history.deliver(A, status=-1, att="1.2")
    verdict = judged(history)
    assert (verdict.exit_code, classes(verdict)) == (10, {"lost": 1})
    assert verdict.arithmetic.unaccounted == 1


def test_a_dead_letter_is_lost_and_says_why(history):
    history.send(A)
    history.store(A, "dead", error="410 Gone")
    verdict = judged(history)
    assert verdict.exit_code == 10
    assert verdict.why[A].startswith("dead-lettered: 410 Gone; ")
    assert verdict.arithmetic.dead == 1


def test_what_postgres_calls_delivered_but_the_ledger_does_not_hold_is_lost(history):
    history.send(A)
    history.store(A, "delivered")
    history.drain["ended"] = "deadline"
    assert classes(judged(history)) == {"lost": 1}


def test_a_lost_id_is_explained_by_its_last_attempt(history):
    history.send(A)
    history.store(A, "retrying")
    for number, status in enumerate((500, None), 1):
        history.attempts.append(
            {
                "k": "attempt",
                "id": A,
                "round": 1,
                "try": number,
                "at": T0 + number,
                "ms": 1.0,
                "status": status,
                "error": "timeout" if status is None else None,
                "by": "dispatcher",
                "partition": 0,
                "offset": 1,
                "next": None,
            }
        )
    assert "; last attempt 1.2: timeout; " in judged(history).why[A]


def test_an_id_in_the_ledger_that_nobody_sent_is_a_phantom(history):
    history.deliver(A)
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"phantom": 1})


def test_an_attempt_to_deliver_what_nobody_sent_is_a_phantom_even_when_the_merchant_failed_it(history):
    history.deliver(A, status=500)
    assert classes(judged(history)) == {"phantom": 1}


def test_junk_that_the_merchant_turned_away_is_nobodys_delivery(history):
    history.deliver("", status=400, hmac="missing", wh="missing")
    verdict = judged(history)
    assert verdict.exit_code == 0
    assert "1 requests without a transaction id" in verdict.notes[0]


def test_an_accepted_delivery_without_a_transaction_id_is_a_phantom(history):
    history.deliver("", status=200)
    assert classes(judged(history)) == {"phantom": 1}


def test_a_rolled_back_event_that_was_delivered_is_a_phantom(history):
    history.send(A, "info")
    history.deliver(A)
    history.store(A, payment=False)
    assert classes(judged(history)) == {"phantom": 1}


def test_a_refused_id_that_was_delivered_is_leaked(history):
    history.send(A, "fail")
    history.deliver(A)
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"leaked": 1})


def test_a_conflict_beside_an_accepted_content_is_not_leaked(history):
    history.send(A, "ok", body="one")
    history.send(A, "fail", body="two")
    history.deliver(A, body="one")
    assert (judged(history).exit_code, classes(judged(history))) == (0, {})


def test_the_refused_content_delivered_in_place_of_the_accepted_one_is_corrupt(history):
    history.send(A, "ok", body="one")
    history.send(A, "fail", body="two")
    history.deliver(A, body="two")
    assert classes(judged(history)) == {"corrupt": 1}


def test_the_refused_content_delivered_beside_an_unanswered_one_is_corrupt(history):
    history.send(A, "info", body="one")
    history.send(A, "fail", body="two")
    history.deliver(A, body="two")
    assert classes(judged(history)) == {"corrupt": 1}


def test_two_contents_acknowledged_under_one_id_and_one_delivered_is_lost(history):
    history.send(A, "ok", body="one")
    history.send(A, "ok", body="two")
    history.deliver(A, body="one")
    verdict = judged(history)
    assert classes(verdict) == {"lost": 1}
    assert verdict.arithmetic.unaccounted == 1


def test_an_unanswered_id_that_is_stored_and_never_delivered_is_stranded(history):
    history.send(A, "info")
    history.store(A, "outbox")
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"stranded": 1})


def test_a_request_without_any_line_after_it_counts_as_unanswered(history):
    history.invoke(A)
    history.store(A, "outbox")
    assert classes(judged(history)) == {"stranded": 1}


def test_an_unanswered_id_that_was_never_stored_is_fine(history):
    history.send(A, "info")
    history.store(A, payment=False)
    assert (judged(history).exit_code, classes(judged(history))) == (0, {"unanswered": 1})


def test_an_unanswered_id_stored_after_the_drain_is_late_not_stranded(history):
    history.send(A, "info")
    history.store(A, "outbox", accepted_at=T0 + 1001)
    assert (judged(history).exit_code, classes(judged(history))) == (11, {"late": 1})


def test_an_unanswered_id_is_unknown_when_postgres_could_not_be_asked(history):
    history.send(A, "info")
    history.stores_complete = False
    assert (judged(history).exit_code, classes(judged(history))) == (12, {"unknown": 1})


def test_an_unanswered_id_that_the_stores_leave_out_is_unknown(history):
    history.send(A, "info")
    assert (judged(history).exit_code, classes(judged(history))) == (12, {"unknown": 1})


def test_an_unanswered_id_that_arrived_is_recovered(history):
    history.send(A, "info")
    history.deliver(A)
    assert (judged(history).exit_code, classes(judged(history))) == (0, {"recovered": 1})


def test_a_retry_that_was_acknowledged_makes_the_id_acknowledged(history):
    history.send(A, "info")
    history.send(A, "ok", dup=True)
    history.deliver(A)
    verdict = judged(history)
    assert (verdict.exit_code, classes(verdict), verdict.arithmetic.accepted) == (0, {}, 2)


def test_other_bytes_than_those_sent_are_corrupt(history):
    history.send(A)
    history.deliver(A, body="changed")
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"corrupt": 1})


@pytest.mark.parametrize("bad", [{"hmac": "bad"}, {"hmac": "missing"}, {"wh": "bad"}, {"wh": "missing"}])
def test_a_delivery_whose_signature_does_not_verify_is_a_violation(history, bad):
    history.send(A)
    history.deliver(A, **bad)
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"bad-signature": 1})


def test_an_id_that_others_sent_before_is_foreign(history):
    history.before.append(A.upper())
    history.deliver(A)
    history.others.append(B)
    history.deliver(B)
    assert (judged(history).exit_code, classes(judged(history))) == (0, {"foreign": 2})


def test_an_event_of_before_is_foreign_even_when_this_run_was_refused_the_same_id(history):
    history.before.append(A)
    history.send(A, "fail", body="mine")
    history.deliver(A, body="theirs")
    assert classes(judged(history)) == {"foreign": 1}


def test_a_duplicate_acknowledgement_of_what_the_merchant_had_before_the_run_is_fine(history):
    history.send(A, "ok", dup=True)
    history.earlier.append(earlier_line(A, "body"))
    verdict = judged(history)
    assert (verdict.exit_code, classes(verdict)) == (0, {"earlier": 1})
    assert verdict.arithmetic.delivered == 2


def test_faults_over_payments_that_had_all_arrived_before_prove_nothing(tmp_path):
    history = History(tmp_path / "run")
    history.send(A, "ok", dup=True)
    history.earlier.append(earlier_line(A, "body"))
    assert judged(history).exit_code == 0, "without a fault: sent twice, and there"
    history.fault()
    verdict = judged(history)
    assert verdict.exit_code == 12
    assert "Nothing new was accepted" in verdict.reasons[0]


@pytest.mark.parametrize(("dup", "body"), [(False, "body"), (True, "other")])
def test_an_earlier_delivery_excuses_neither_a_new_acknowledgement_nor_another_content(history, dup, body):
    history.send(A, "ok", dup=dup)
    history.earlier.append(earlier_line(A, body))
    assert classes(judged(history)) == {"lost": 1}


def test_at_the_deadline_an_id_still_on_its_way_is_late(history):
    history.send(A)
    history.store(A, "requeued")
    history.drain["ended"] = "deadline"
    verdict = judged(history)
    assert (verdict.exit_code, classes(verdict), verdict.arithmetic.requeued) == (11, {"late": 1}, 1)


def test_at_the_deadline_an_id_accounted_for_nowhere_is_lost(history):
    history.send(A)
    history.store(A, "missing")
    history.drain["ended"] = "deadline"
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"lost": 1})


@pytest.mark.parametrize("state", ["skipped", "vanished", "delivered", "dead", "something-new"])
def test_at_the_deadline_only_a_known_waiting_place_makes_an_id_late(history, state):
    history.send(A)
    history.store(A, state)
    history.drain["ended"] = "deadline"
    assert (judged(history).exit_code, classes(judged(history))) == (10, {"lost": 1})


def test_a_deadline_is_never_green_even_when_all_arrived_by_then(history):
    history.drain["ended"] = "deadline"
    assert judged(history).exit_code == 11


def test_a_refused_id_that_was_not_delivered_is_fine(history):
    history.send(A, "fail")
    assert (judged(history).exit_code, classes(judged(history))) == (0, {"refused": 1})


def test_ids_are_compared_in_lower_case(history):
    history.send(A.upper())
    history.deliver(A)
    assert judged(history).exit_code == 0


def test_invalid_beats_unknown(history):
    history.send(A)
    history.fault(evidence=False)
    verdict = judged(history)
    assert verdict.exit_code == 10
    assert len(verdict.reasons) == 2


def earlier_line(id_, body):
    return {
        "k": "earlier",
        "id": id_,
        "line": 3,
        "at": T0 - 100,
        "sha": sha(body + id_),
        "status": 200,
        "hmac": "ok",
        "wh": "ok",
    }


def test_a_redelivery_that_is_recorded_as_delivered_and_not_in_the_ledger_is_a_violation(tmp_path):
    history, one, other = History(tmp_path / "run"), tid(0xA), tid(0xB)
    for number, each in enumerate((one, other), 7):
        history.send(each)
        history.deliver(each, src=f"0@{number}")
        history.redeliver(each, number)
    history.deliver(one, src="1@9", red="7")
    verdict = check(history.write())
    assert verdict.exit_code == 10
    assert verdict.reasons == (f"1 redelivery is recorded as delivered and not in the ledger: number 8 of {other}.",)
    history.deliver(other, src="1@10", red="8")
    assert check(history.write()).exit_code == 0


def test_a_dead_lettered_one_that_was_redelivered_counts_as_delivered(tmp_path):
    history, one = History(tmp_path / "run"), tid(0xA)
    history.send(one)
    history.store(one, "dead", error="the value is not a JSON object")
    history.redeliver(one, 7)
    history.deliver(one, src="1@9", red="7")
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["delivered"], verdict.classes["duplicated"]) == (0, 1, 0)
    assert verdict.arithmetic.dead == verdict.arithmetic.unaccounted == 0


def pruned(history, *, to, dup=False):
    """An id that was delivered, and whose payment is gone by the time Postgres is asked."""
    history.send(A, dup=dup)
    history.deliver(A)
    history.store(A, "missing", payment=False, outbox="missing", partition=None, offset=None)
    history.pruned_to = to
    return judged(history)


def test_a_payment_that_may_have_been_pruned_since_is_unknown_and_neither_lost_nor_a_phantom(history):
    verdict = pruned(history, to=T0 + 60)
    assert (verdict.exit_code, classes(verdict)) == (12, {"unknown": 1})
    assert "pruned for its age" in verdict.why[A]


@pytest.mark.parametrize("to", [None, T0 - 3600], ids=["nothing pruned", "pruned up to an hour before the run"])
def test_a_payment_that_retention_cannot_have_taken_stays_a_phantom(history, to):
    assert classes(pruned(history, to=to)) == {"phantom": 1}


def test_a_payment_of_before_the_run_may_have_been_pruned_whenever_anything_was(history):
    assert classes(pruned(history, to=T0 - 3600, dup=True)) == {"unknown": 1}


def test_an_acknowledged_id_that_never_arrived_is_lost_whatever_was_pruned(history):
    history.send(A)
    history.store(A, "missing", payment=False)
    history.pruned_to = T0 + 3600
    assert classes(judged(history)) == {"lost": 1}
