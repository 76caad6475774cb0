"""Why a transaction came twice, told from the ledger's own fields and the fault log."""

import pytest

from control_room.verify import check
from control_room.verify.duplicates import Cause
from tests.unit.histories import History, tid

A = tid(0xA)


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "run")
    history.send(A)
    return history


def cause(history):
    verdict = check(history.write())
    assert verdict.exit_code == 0
    assert verdict.classes["duplicated"] == 1
    assert verdict.classes["delivered"] == 1
    return verdict.duplicates


def test_a_later_attempt_of_the_same_record_means_the_answer_was_lost(history):
    history.deliver(A, att="1.1")
    history.deliver(A, att="1.2")
    assert cause(history) == {"answer-lost": 1}


def test_a_2xx_that_the_merchant_cut_off_was_lost_whatever_else_happened(history):
    history.deliver(A, ans="cut")
    history.fault("kill", "dispatcher")
    history.deliver(A)
    assert cause(history) == {"answer-lost": 1}


def test_a_2xx_that_dripped_may_have_been_waited_for_and_proves_nothing(history):
    history.deliver(A, ans="drip")
    history.deliver(A)
    assert cause(history) == {"unexplained": 1}


@pytest.mark.parametrize("name", ["kill", "crash", "freeze", "restart"])
def test_the_same_attempt_again_after_a_dispatcher_fault_means_it_ended_before_its_commit(history, name):
    history.deliver(A)
    history.fault(name, "dispatcher")
    history.deliver(A)
    assert cause(history) == {"dispatcher-ended": 1}


def test_a_dispatcher_fault_at_another_time_explains_nothing(history):
    history.deliver(A)
    history.deliver(A)
    history.clock += 60
    history.fault("kill", "dispatcher")
    assert cause(history) == {"unexplained": 1}


def test_a_fault_on_the_dispatchers_link_does_not_end_the_dispatcher(history):
    history.deliver(A)
    history.fault("link", "dispatcher:merchant-server")
    history.deliver(A)
    assert cause(history) == {"unexplained": 1}


@pytest.mark.parametrize(("late", "source"), [("1.1", "0@1"), ("1.3", "1@7")])
def test_an_earlier_attempt_after_a_later_one_was_kept_by_the_faulted_link_to_the_merchant(history, late, source):
    history.deliver(A, att="2.1", src="0@1")
    history.fault("link", "dispatcher:merchant-server")
    history.deliver(A, att=late, src=source)
    assert cause(history) == {"arrived-late": 1}


@pytest.mark.parametrize(("after_s", "found"), [(0.6, "arrived-late"), (2.5, "unexplained")])
def test_an_earlier_attempt_right_after_a_later_one_waited_at_the_merchant(history, after_s, found):
    """Much later it may be a dispatcher that ended by itself and began again: nobody knows why."""
    at_s = history.tick()
    history.fault("link", "dispatcher:postgres")
    history.deliver(A, att="1.2", at=at_s)
    history.deliver(A, att="1.1", at=at_s + after_s)
    assert cause(history) == {found: 1}


@pytest.mark.parametrize("target", ["dispatcher:kafka", "dispatcher:kafka-2"])
def test_the_same_record_again_after_a_fault_on_the_dispatchers_link_to_kafka_means_partitions_moved(history, target):
    history.deliver(A)
    history.fault("link", target)
    history.deliver(A)
    assert cause(history) == {"partitions-moved": 1}


def test_the_same_record_again_after_a_broker_fault_means_partitions_moved(history):
    history.deliver(A)
    history.fault("kill", "kafka-2")
    history.deliver(A)
    assert cause(history) == {"partitions-moved": 1}


@pytest.mark.parametrize(("after_s", "found"), [(3.0, "partitions-moved"), (20.0, "unexplained")])
def test_what_is_delivered_before_a_new_kafka_was_noticed_is_read_again(history, after_s, found):
    at_s = history.tick()
    history.fault("wipe-kafka", "kafka", at=at_s)
    history.deliver(A, at=at_s + after_s)
    history.deliver(A, at=at_s + after_s + 6.0)
    assert cause(history) == {found: 1}


def test_another_record_in_the_first_round_means_it_was_published_twice(history):
    history.deliver(A, src="0@1")
    history.deliver(A, src="2@9")
    assert cause(history) == {"published-twice": 1}


def test_a_later_round_means_it_was_requeued_although_delivered(history):
    history.deliver(A, src="0@1", att="1.3")
    history.deliver(A, src="2@9", att="2.1")
    assert cause(history) == {"requeued-although-delivered": 1}


def test_two_records_of_the_same_later_round_mean_it_was_requeued_twice(history):
    history.deliver(A, src="0@5", att="2.1")
    history.deliver(A, src="2@9", att="2.1")
    assert cause(history) == {"requeued-twice": 1}


@pytest.mark.parametrize("blank", [{"src": ""}, {"att": ""}, {"att": "x.y"}, {"src": None, "att": None, "by": None}])
def test_a_delivery_without_its_headers_is_unexplained(history, blank):
    history.deliver(A)
    history.deliver(A, **blank)
    assert cause(history) == {"unexplained": 1}


def test_each_delivery_beyond_the_first_has_a_cause_of_its_own(history):
    for attempt in ("1.1", "1.2", "1.3"):
        history.deliver(A, att=attempt)
    history.deliver(A, src="1@1")
    assert cause(history) == {"answer-lost": 2, "published-twice": 1}


def test_a_delivery_that_an_operator_asked_for_is_told_as_such_and_the_verdict_says_how_many(history):
    history.deliver(A, src="0@1")
    history.redeliver(A, 7)
    history.deliver(A, src="1@9", red="7")
    history.redeliver(A, 8, ended=False)
    history.deliver(A, src="2@9", red="8", att="2.1")
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.duplicates) == (0, {"redelivered-by-operator": 2})
    assert "2 redeliveries were asked for by an operator; 1 had not arrived." in verdict.notes
    assert [row.causes for row in verdict.deliveries] == [(Cause.REDELIVERED_BY_OPERATOR,)]


def test_what_comes_twice_of_one_redelivery_has_the_pipelines_own_cause(history):
    history.deliver(A, src="0@1")
    history.redeliver(A, 7)
    history.deliver(A, src="1@9", red="7")
    history.deliver(A, src="2@4", red="7")
    history.deliver(A, src="0@1", att="1.2")
    assert cause(history) == {"redelivered-by-operator": 1, "published-twice": 1, "answer-lost": 1}


def test_an_original_that_arrives_behind_its_redelivery_is_not_unexplained(history):
    """A dead-lettered one was redelivered, and the record that nobody waited for any more came after all."""
    history.redeliver(A, 7)
    history.deliver(A, src="1@9", red="7")
    history.deliver(A, src="0@1", att="2.1")
    assert cause(history) == {"redelivered-by-operator": 1}


@pytest.mark.parametrize("number", ["8", "x", "7 "])
def test_a_redelivery_that_nobody_asked_for_explains_nothing(history, number):
    """A pipeline that calls its own repetitions redeliveries must not be believed."""
    history.redeliver(A, 7, ended=False)
    history.redeliver(tid(0xB), 8, ended=False)
    history.deliver(A, src="0@1")
    history.deliver(A, src="1@9", red=number)
    assert cause(history) == {"unexplained": 1}
