"""Faults on real processes: what is said to have happened did happen."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from control_room.chaos import member_faults
from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import apply_fault, apply_faults, heal, heal_all, preview_fault
from control_room.chaos.journal import FaultJournal
from control_room.chaos.observe import answers, refuses
from control_room.chaos.open_faults import open_faults
from control_room.stack.links.names import NAMES
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, StackError, State
from tests.unit.member_processes import MerchantDouble, ProcessRuntime, wait_until


@pytest.fixture
def runtime():
    made = ProcessRuntime(["dispatcher", "kafka-2", "postgres"])
    for member, port in made.ports.items():
        wait_until(lambda member=member, port=port: answers(("127.0.0.1", port), member))
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def kinds(path):
    return [(record["k"], record["fault"], record.get("ok")) for record in FaultJournal(path).records()]


def test_a_kill_is_proven_by_pid_and_port_and_stays_open_until_healed(runtime, journal):
    pid = runtime.processes["dispatcher"].pid
    record = apply_fault(runtime, "kill", "dispatcher", [journal])
    assert record.evidence.ok
    assert record.evidence.facts["pid"] == pid
    assert record.evidence.facts["pid_gone"]
    assert record.evidence.facts["port_refused"]
    assert not psutil.pid_exists(pid)
    assert [fault.target for fault in open_faults(journal)] == ["dispatcher"]

    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert runtime.status()[0].state is State.RUNNING
    assert open_faults(journal) == []
    assert kinds(journal) == [("apply", 1, None), ("evidence", 1, True), ("heal", 1, True)]


def test_a_fault_is_on_disk_before_it_is_applied(runtime, journal, monkeypatch):
    seen = []
    monkeypatch.setattr(runtime, "kill", lambda members: seen.extend(kinds(journal)))
    monkeypatch.setattr(member_faults, "END_DEADLINE_S", 0.2)
    apply_fault(runtime, "kill", "dispatcher", [journal])
    assert seen == [("apply", 1, None)]


def test_a_kill_without_effect_is_no_evidence(runtime, journal, monkeypatch):
    monkeypatch.setattr(member_faults, "END_DEADLINE_S", 0.3)
    runtime.deaf.add("dispatcher")
    record = apply_fault(runtime, "kill", "dispatcher", [journal])
    assert not record.evidence.ok
    assert record.evidence.facts["pid_gone"] is False
    assert not open_faults(journal)[0].verified


def test_a_fault_that_the_runtime_refuses_is_a_sentence_and_stays_open(runtime, journal, monkeypatch):
    def refuse(members):
        raise StackError("the supervisor does not answer")

    monkeypatch.setattr(runtime, "kill", refuse)
    with pytest.raises(FaultError, match="kill dispatcher was not applied: the supervisor does not answer"):
        apply_fault(runtime, "kill", "dispatcher", [journal])
    assert kinds(journal) == [("apply", 1, None), ("evidence", 1, False)]
    assert len(open_faults(journal)) == 1


@pytest.mark.parametrize("member", ["dispatcher", "kafka-2", "postgres"])
def test_a_frozen_member_is_stopped_and_silent_though_its_port_still_connects(runtime, journal, member):
    record = apply_fault(runtime, "freeze", member, [journal])
    assert record.evidence.ok
    assert record.evidence.facts["processes_stopped"]
    assert record.evidence.facts["no_answer"]
    assert not refuses(("127.0.0.1", runtime.ports[member]))

    thawed = apply_fault(runtime, "thaw", member, [journal])
    assert thawed.evidence.ok
    assert thawed.closed == (1,)
    assert open_faults(journal) == []


def test_a_start_closes_the_kill_of_the_same_member_only(runtime, journal):
    apply_faults(runtime, "kill", ["dispatcher", "kafka-2"], [journal])
    started = apply_fault(runtime, "start", "kafka-2", [journal])
    assert started.evidence.ok
    assert started.evidence.facts["answers"]
    assert started.closed == (2,)
    assert [fault.target for fault in open_faults(journal)] == ["dispatcher"]


def test_a_crash_comes_back_by_itself_as_another_process(runtime, journal):
    pid = runtime.processes["dispatcher"].pid
    record = apply_fault(runtime, "crash", "dispatcher", [journal])
    assert record.evidence.ok
    assert record.evidence.facts["new_process"]
    assert record.evidence.facts["pid"] != pid
    assert open_faults(journal) == []


def test_a_restart_ends_a_freeze(runtime, journal):
    apply_fault(runtime, "freeze", "dispatcher", [journal])
    record = apply_fault(runtime, "restart", "dispatcher", [journal])
    assert record.evidence.ok
    assert record.closed == (1,)


def test_healing_a_frozen_member_that_was_killed_starts_it_once(runtime, journal):
    apply_fault(runtime, "freeze", "dispatcher", [journal])
    apply_fault(runtime, "kill", "dispatcher", [journal])
    healed = heal_all(runtime, [journal])
    assert [(each.fault.name, each.evidence.ok) for each in healed] == [("kill", True), ("freeze", True)]
    assert open_faults(journal) == []


def test_another_process_heals_what_a_killed_injector_left(runtime, journal):
    """The injector announces, freezes and is killed before it has seen or healed anything."""
    pid = runtime.processes["dispatcher"].pid
    injector = f"""
import os, signal, sys
from pathlib import Path
from control_room.chaos.journal import Journals
Journals.of([Path({str(journal)!r})]).announce(
    {{"name": "freeze", "target": "dispatcher", "at": 1.0, "expect": "", "before": {{"pid": {pid}}}}})
os.kill({pid}, signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", injector], check=False)
    assert ended.returncode == -signal.SIGKILL
    runtime.frozen.add("dispatcher")
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert psutil.Process(pid).status() != psutil.STATUS_STOPPED


def test_a_fault_that_would_do_nothing_is_refused_and_not_journalled(runtime, journal):
    apply_fault(runtime, "kill", "dispatcher", [journal])
    before = kinds(journal)
    with pytest.raises(FaultError, match="stopped already"):
        apply_fault(runtime, "kill", "dispatcher", [journal])
    with pytest.raises(FaultError, match="running already"):
        apply_fault(runtime, "start", "kafka-2", [journal])
    with pytest.raises(FaultError, match="running already"):
        apply_fault(runtime, "thaw", "kafka-2", [journal])
    assert kinds(journal) == before


@pytest.mark.parametrize(
    ("name", "target", "params", "words"),
    [
        ("explode", "dispatcher", {}, "there is no fault explode"),
        ("kill", "kafka-9", {}, "kill cannot hit kafka-9"),
        ("kill", "dispatcher", {"mode": "gone"}, "takes no parameters"),
        ("merchant", "merchant-server", {}, "nothing to change"),
        ("merchant", "merchant-server", {"mode": "angry"}, "there is no mode angry"),
        ("merchant", "merchant-server", {"failure_rate": 7}, "from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(runtime, journal, name, target, params, words):
    with pytest.raises(FaultError, match=words):
        apply_fault(runtime, name, target, [journal], **params)
    assert not journal.exists()


def test_a_fault_goes_into_the_run_journal_under_the_same_number(runtime, tmp_path, journal):
    run = tmp_path / "runs" / "r1" / "faults.jsonl"
    apply_fault(runtime, "kill", "kafka-2", [journal])
    apply_fault(runtime, "kill", "dispatcher", [journal, run])
    heal_all(runtime, [journal])
    assert kinds(run) == [("apply", 2, None), ("evidence", 2, True), ("heal", 2, True)]
    assert len(kinds(journal)) == 6


def test_a_run_with_its_manifest_is_not_written_to_any_more(runtime, tmp_path, journal):
    run = tmp_path / "runs" / "r1" / "faults.jsonl"
    apply_fault(runtime, "kill", "dispatcher", [journal, run])
    (run.parent / "manifest.json").write_text("{}")
    size = run.stat().st_size
    heal_all(runtime, [journal])
    assert run.stat().st_size == size
    assert open_faults(journal) == []


def test_heal_takes_numbers_and_targets(runtime, journal):
    apply_faults(runtime, "kill", ["dispatcher", "kafka-2", "postgres"], [journal])
    assert [each.fault.number for each in heal(runtime, [journal], numbers=[2])] == [2]
    assert [each.fault.target for each in heal(runtime, [journal], targets=["postgres"])] == ["postgres"]
    with pytest.raises(FaultError, match="fault 7 is not open"):
        heal(runtime, [journal], numbers=[7])
    assert [fault.target for fault in open_faults(journal)] == ["dispatcher"]


def test_all_are_undone_before_the_first_is_waited_for(runtime, journal, monkeypatch):
    """Three brokers answer only together: a heal that waits for each in turn never ends."""
    apply_faults(runtime, "kill", ["dispatcher", "kafka-2"], [journal])
    order = []
    start = runtime.start
    monkeypatch.setattr(runtime, "start", lambda members: (order.append(("start", *members)), start(members)))
    healed = member_faults.MemberFault.healed
    monkeypatch.setattr(
        member_faults.MemberFault, "healed", lambda self, rt: (order.append(("see", self.target)), healed(self, rt))[1]
    )
    heal_all(runtime, [journal])
    assert [step[0] for step in order] == ["start", "start", "see", "see"]


def test_every_fault_is_declared_with_words_and_targets():
    assert set(CATALOGUE) == {
        "kill",
        "crash",
        "stop",
        "disk-full",
        "clock-step",
        "start",
        "restart",
        "freeze",
        "thaw",
        "isolate",
        "crash-point",
        "wipe-kafka",
        "restart-engine",
        "link",
        "merchant",
    }
    for name, kind in CATALOGUE.items():
        assert kind.summary
        few = {"merchant": ("merchant-server",), "crash-point": (*API_REPLICAS, "outbox-publisher", "dispatcher")}
        few["link"] = NAMES
        few["wipe-kafka"] = ("kafka",)
        few["restart-engine"] = ("engine",)
        few["disk-full"] = ("postgres", *BROKERS, "merchant-server")
        few["clock-step"] = tuple(member for member in MEMBERS if member != "nginx")
        assert kind.targets == few.get(name, MEMBERS)


def test_a_preview_says_what_it_can_when_nothing_else_answers(runtime):
    assert preview_fault(runtime, "kill", "kafka-2").startswith("kill kafka-2: Kafka tells nothing")
    assert preview_fault(runtime, "freeze", "dispatcher").startswith("freeze dispatcher: nothing is delivered")
    assert os.getpid()  # nothing was hit


class TestMerchant:
    @pytest.fixture
    def merchant(self):
        made = MerchantDouble()
        yield made
        made.close()

    @pytest.fixture
    def runtime(self, merchant):
        made = ProcessRuntime([], merchant_url=merchant.url)
        yield made
        made.close()

    def test_behaviour_reads_back_and_its_heal_restores_what_was_before(self, runtime, merchant, journal):
        record = apply_fault(runtime, "merchant", "merchant-server", [journal], failure_rate=0.0, mode="outage")
        assert record.evidence.ok
        assert record.expect == "merchant: failure_rate 0.7 → 0.0, mode normal → outage: every delivery gets a 500"
        assert merchant.behaviour["mode"] == "outage"
        heal_all(runtime, [journal])
        assert merchant.behaviour == {"mode": "normal", "failure_rate": 0.7, "latency_ms": 0.0}

    @pytest.mark.parametrize("first", [1, 2])
    def test_changes_over_one_another_end_at_the_original_in_any_order(self, runtime, merchant, journal, first):
        apply_fault(runtime, "merchant", "merchant-server", [journal], failure_rate=0.1)
        apply_fault(runtime, "merchant", "merchant-server", [journal], failure_rate=0.9, mode="silent")
        heal(runtime, [journal], numbers=[first])
        assert merchant.behaviour["failure_rate"] == (0.9 if first == 1 else 0.1)
        assert merchant.behaviour["mode"] == ("silent" if first == 1 else "normal")
        assert all(each.evidence.ok for each in heal_all(runtime, [journal]))
        assert merchant.behaviour == {"mode": "normal", "failure_rate": 0.7, "latency_ms": 0.0}

    def test_changes_over_one_another_healed_together_end_at_the_original(self, runtime, merchant, journal):
        for rate in (0.1, 0.5, 0.9):
            apply_fault(runtime, "merchant", "merchant-server", [journal], failure_rate=rate)
        assert all(each.evidence.ok for each in heal_all(runtime, [journal]))
        assert merchant.behaviour["failure_rate"] == 0.7

    def test_a_dead_merchant_cannot_change_its_behaviour_and_nothing_is_journalled(self, journal):
        runtime = ProcessRuntime([])
        with pytest.raises(FaultError, match="does not tell how it behaves"):
            apply_fault(runtime, "merchant", "merchant-server", [journal], mode="gone")
        assert not journal.exists()


def test_a_demo_and_a_person_inject_at_once(runtime, journal):
    failures = []

    def inject(member):
        try:
            apply_fault(runtime, "kill", member, [journal])
            apply_fault(runtime, "start", member, [journal])
        except FaultError as error:
            failures.append(error)

    threads = [threading.Thread(target=inject, args=[member]) for member in runtime.ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert open_faults(journal) == []
    assert sorted({number for _, number, _ in kinds(journal)}) == [1, 2, 3, 4, 5, 6]
