"""Following a run and gathering its evidence, with every member but the merchant dead."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from control_room.stack.runtime import NotRunningError
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.evidence import RunFollower, gather, ledger_position, wait_for_drain
from control_room.tracking.evidence import follower as follower_module
from control_room.tracking.evidence.ledger_pages import LedgerPage
from control_room.tracking.evidence.operation_tail import ACKED
from control_room.tracking.evidence.standing import Standing
from control_room.tracking.parts import SourceError
from control_room.verify import Outcome, check
from tests.unit.histories import History, tid, write_chain
from tests.unit.ledger_server import Ledger, serving


@pytest.fixture
def ledger():
    ledger = Ledger()
    for number in range(100, 105):
        ledger.add(tid(number))
    return ledger


@pytest.fixture
def endpoints(ledger):
    with serving(ledger) as endpoints:
        yield endpoints


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "runs" / "run", ledger_from=5)


def begun(history):
    """The run's folder as the client leaves it: without drain, ledger copy and stores."""
    folder = history.write(manifest=False)
    for name in (
        "ledger.jsonl",
        "drain.json",
        "stores.jsonl",
        "attempts.jsonl",
        "others.jsonl",
        "earlier.jsonl",
        "probes.jsonl",
    ):
        (folder / name).unlink()
    return folder


def test_the_arithmetic_always_balances():
    arithmetic = Arithmetic.balanced(300, 280, {"outbox": 3, "kafka": 10})
    assert arithmetic.unaccounted == 7
    assert arithmetic.line() == "300 accepted = 280 delivered + 3 in outbox + 10 in Kafka + 7 unaccounted"


def test_the_ledgers_position_is_the_number_of_its_next_line(endpoints):
    assert ledger_position(endpoints) == 5


def test_a_dead_merchant_is_a_sentence(endpoints, ledger):
    ledger.down = True
    with pytest.raises(SourceError, match="answered 503"):
        ledger_position(endpoints)


def test_a_follower_counts_what_the_client_and_the_ledger_say(history, endpoints, ledger):
    for number in range(8):
        history.send(tid(number))
    folder = begun(history)
    for number in range(5):
        ledger.add(tid(number))
    ledger.add(tid(6), status=500)
    ledger.in_flight = [tid(7)]
    with RunFollower(endpoints, folder) as follower:
        arithmetic = follower.sample()
    assert (arithmetic.accepted, arithmetic.delivered, arithmetic.in_flight, arithmetic.unaccounted) == (8, 5, 1, 2)


def test_a_ledger_that_grows_while_it_is_read_is_not_called_unread_and_one_that_stays_unread_is(
    history, endpoints, monkeypatch
):
    now_s, told = 1000.0, (5, 5)
    monkeypatch.setattr(follower_module, "time", SimpleNamespace(monotonic=lambda: now_s))
    with RunFollower(endpoints, begun(history)) as follower:
        monkeypatch.setattr(follower._ledger, "page", lambda *_: LedgerPage(b"", *told))
        for line in range(10, 50, 10):
            now_s, told = now_s + 5.0, (line, line + 7)
            assert not [note for note in follower.sample().stale if "ledger" in note]
        now_s += 1.5
        assert "ledger read to line 40 of 47" in follower.sample().stale


def test_a_follower_reads_a_log_that_grows_and_a_line_that_is_not_complete_yet(history, endpoints, ledger):
    history.send(tid(0))
    folder = begun(history)
    log = folder / "operations.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    with RunFollower(endpoints, folder) as follower:
        follower.sample()
        assert not follower.client_ended
        with log.open("ab") as file:
            file.write(whole[-40:])
        assert follower.sample().accepted == 1
        assert follower.client_ended


def test_a_follower_counts_a_delivery_whose_acknowledgement_comes_later(history, endpoints, ledger):
    history.ended = False
    op = history.invoke(tid(0))
    folder = begun(history)
    ledger.add(tid(0))
    with RunFollower(endpoints, folder) as follower:
        assert follower.sample().accepted == 0
        history.ok(op)
        write_chain(folder / "operations.jsonl", history.operations)
        assert follower.sample().delivered == 1


def test_a_follower_counts_what_arrived_more_than_once_as_the_verdict_does(history, endpoints, ledger):
    """Ids 0 and 1 of the run twice and thrice, 2 once, 3 twice but once as a failure; 100 is somebody else's."""
    for number in range(4):
        history.send(tid(number))
    folder = begun(history)
    for number in (0, 0, 1, 1, 1, 2, 3, 100, 100):
        ledger.add(tid(number))
    ledger.add(tid(3), status=500)
    with RunFollower(endpoints, folder) as follower:
        assert follower.sample().delivered == 4
        assert follower.standing.duplicated == 2
        ledger.add(tid(2))
        follower.sample()
        assert follower.standing.duplicated == 3


def test_a_duplicate_that_comes_in_the_look_of_its_first_answer_has_nobody_read_the_ledger_from_before(
    history, endpoints
):
    history.send(tid(0))
    history.send(tid(0), dup=True)
    with RunFollower(endpoints, begun(history)) as follower:
        assert follower.sample().accepted == 1
        assert list(follower.standing.open) == [tid(0)]
        assert not follower.standing.duplicates_acknowledged


def test_what_arrived_twice_before_its_sending_was_read_is_counted_once_it_is():
    standing = Standing()
    for _ in range(3):
        standing.deliver("a")
    assert standing.duplicated == 0
    standing.hear("a", 0)
    standing.hear("a", ACKED)
    assert standing.duplicated == 1


def test_a_follower_never_raises_for_dead_members_and_says_who_is_silent(history, endpoints, ledger):
    history.send(tid(0))
    folder = begun(history)
    ledger.down = True
    with RunFollower(endpoints, folder) as follower:
        arithmetic = follower.sample()
        assert (arithmetic.accepted, arithmetic.unaccounted) == (1, 1)
        assert follower.stale
        assert not follower.heard("merchant-server")
        assert not follower.heard("postgres")
        assert not follower.heard("dispatcher")


def test_each_look_is_kept_as_a_probe_and_a_second_following_goes_on(history, endpoints):
    folder = begun(history)
    for _ in range(2):
        with RunFollower(endpoints, folder) as follower:
            follower.sample()
    lines = [json.loads(line) for line in (folder / "probes.jsonl").read_text().splitlines()]
    assert [line["n"] for line in lines] == [0, 1]


def test_a_drain_of_acknowledged_ids_completes_without_postgres(history, endpoints, ledger):
    for number in range(20):
        history.send(tid(number))
        ledger.add(tid(number))
    folder = begun(history)
    seen = []
    outcome = wait_for_drain(endpoints, folder, 20, seen.append, linger_s=0)
    assert outcome.complete
    assert seen[-1].delivered == 20
    drain = json.loads((folder / "drain.json").read_text())
    assert (drain["ended"], drain["ledger_next"], drain["left"]) == ("complete", 25, {})


def test_a_drain_with_open_ids_ends_at_its_deadline_and_names_them(history, endpoints):
    history.send(tid(0))
    folder = begun(history)
    outcome = wait_for_drain(endpoints, folder, 0.1)
    assert (outcome.complete, outcome.left) == (False, 1)
    assert list(json.loads((folder / "drain.json").read_text())["left"]) == [tid(0)]


def test_an_unanswered_id_is_not_drained_while_postgres_cannot_be_asked(history, endpoints, ledger):
    history.send(tid(0))
    history.send(tid(1), "info")
    ledger.add(tid(0))
    assert not wait_for_drain(endpoints, begun(history), 0.1, linger_s=0).complete


def test_an_id_acknowledged_as_a_duplicate_is_found_in_the_ledger_before_the_run(history, endpoints, ledger):
    history.send(tid(100), "ok", dup=True)
    folder = begun(history)
    assert wait_for_drain(endpoints, folder, 20, linger_s=0).complete
    gather(endpoints, folder, patience_s=0)
    verdict = check(folder)
    assert (verdict.outcome, verdict.classes["earlier"]) == (Outcome.PROVEN, 1)


def test_an_earlier_delivery_does_not_drain_an_id_that_the_api_called_new(history, endpoints):
    history.send(tid(100))
    assert not wait_for_drain(endpoints, begun(history), 0.1, linger_s=0).complete


def test_gathered_evidence_copies_the_runs_lines_untouched(history, endpoints, ledger):
    for number in range(10):
        history.send(tid(number))
        ledger.add(tid(number))
    folder = begun(history)
    wait_for_drain(endpoints, folder, 20, linger_s=0)
    gathered = gather(endpoints, folder, patience_s=0)
    assert (folder / "ledger.jsonl").read_bytes() == b"".join(ledger.lines[5:])
    assert gathered.ledger_lines == 10
    silent = ["redeliveries.jsonl", "stores.jsonl", "attempts.jsonl", "crosscheck.jsonl"]
    assert [gap.split()[0] for gap in gathered.gaps] == silent
    assert check(folder).outcome is Outcome.PROVEN


def test_evidence_without_postgres_is_unknown_where_an_id_had_no_answer(history, endpoints, ledger):
    history.send(tid(0))
    history.send(tid(1), "info")
    ledger.add(tid(0))
    folder = begun(history)
    wait_for_drain(endpoints, folder, 0.1, linger_s=0)
    gather(endpoints, folder, patience_s=0)
    assert check(folder).exit_code == 12


def test_evidence_without_the_ledger_is_unknown(history, endpoints, ledger):
    history.send(tid(0))
    folder = begun(history)
    ledger.down = True
    wait_for_drain(endpoints, folder, 0.1, linger_s=0)
    gathered = gather(endpoints, folder, patience_s=0)
    assert "ledger.jsonl could not be copied" in " ".join(gathered.gaps)
    assert "ledger.jsonl is missing" in check(folder).reasons[0]


def test_a_ledger_that_lost_lines_since_the_run_began_is_not_copied(history, endpoints, ledger):
    history.send(tid(0))
    folder = begun(history)
    del ledger.lines[2:]
    wait_for_drain(endpoints, folder, 0.1, linger_s=0)
    gathered = gather(endpoints, folder, patience_s=0)
    assert "has 2 lines, but the run began at line 5" in " ".join(gathered.gaps)
    assert json.loads((folder / "drain.json").read_text())["ledger_shrank"] is True
    assert check(folder).exit_code == 12


def test_ids_of_another_run_and_of_before_are_foreign_but_a_strangers_are_phantoms(
    history, endpoints, ledger, tmp_path
):
    other = History(tmp_path / "runs" / "other", run="run-2")
    other.send(tid(50))
    begun(other)
    history.send(tid(0))
    history.before.append(tid(60))
    for number in (0, 50, 60, 100):
        ledger.add(tid(number))
    folder = begun(history)
    wait_for_drain(endpoints, folder, 20, linger_s=0)
    gather(endpoints, folder, patience_s=0)
    verdict = check(folder)
    assert (verdict.exit_code, verdict.classes["foreign"]) == (0, 3)
    ledger.add(tid(77))
    gather(endpoints, folder, patience_s=0)
    assert check(folder).classes["phantom"] == 1


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path, endpoints):
    with pytest.raises(SourceError, match="not the folder of a run"):
        wait_for_drain(endpoints, tmp_path, 1)


def test_a_dispatcher_that_came_back_at_another_address_is_found_again(history, endpoints, ledger):
    history.send(tid(7))
    folder = begun(history)
    ledger.in_flight = [tid(7)]
    left = replace(endpoints, dispatcher_status_url="http://127.0.0.1:1/status")
    with RunFollower(left, folder, where=lambda: endpoints) as follower:
        follower.sample()
        assert not follower.heard("dispatcher")
        assert follower.sample().in_flight == 1
        assert follower.heard("dispatcher")


def test_a_follower_goes_on_while_nobody_can_say_where_the_dispatcher_is(history, endpoints, ledger):
    def nowhere():
        raise NotRunningError("no engine answers")

    left = replace(endpoints, dispatcher_status_url="http://127.0.0.1:1/status")
    with RunFollower(left, begun(history), where=nowhere) as follower:
        assert follower.sample().accepted == 0
        assert not follower.heard("dispatcher")
