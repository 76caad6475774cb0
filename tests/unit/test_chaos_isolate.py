"""Taking a member off its network as a fault: only where the runtime can, with evidence that it lives and is silent."""

import pytest

from control_room.chaos import isolate
from control_room.chaos.errors import FaultError, UnavailableError
from control_room.chaos.injection import apply_fault, heal_all
from control_room.chaos.observe import Evidence, answers, wait_for
from control_room.chaos.open_faults import open_faults
from tests.unit.member_processes import ProcessRuntime


class Isolating(ProcessRuntime):
    """A process that is stopped is as silent as one without a network, and lives."""

    def __init__(self, members):
        super().__init__(members)
        self.off = set()
        self.leaks = False

    def isolate(self, member):
        self.off.add(member)
        if not self.leaks:
            self.freeze([member])

    def rejoin(self, member):
        self.off.discard(member)
        self.thaw([member])

    def is_isolated(self, member):
        return member in self.off


@pytest.fixture
def runtime(monkeypatch):
    monkeypatch.setattr(isolate, "END_DEADLINE_S", 1.0)
    made = Isolating(["kafka-2", "dispatcher"])
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def test_an_isolated_member_lives_and_is_silent_and_answers_when_healed(runtime, journal):
    record = apply_fault(runtime, "isolate", "dispatcher", [journal])
    assert record.evidence.ok
    facts = record.evidence.facts
    assert (facts["networks"], facts["process_lives"], facts["no_answer"]) == (0, True, True)
    assert record.expect.startswith("isolate dispatcher: it lives, and is silent to all: ")
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert healed.evidence.facts["answers"]
    assert open_faults(journal) == []


def test_a_member_that_still_answers_was_not_seen_to_be_isolated(runtime, journal):
    runtime.leaks = True
    address = "127.0.0.1", runtime.ports["kafka-2"]
    assert wait_for(lambda: Evidence(answers(address, "kafka-2")), 10).ok
    assert not apply_fault(runtime, "isolate", "kafka-2", [journal]).evidence.ok


def test_a_member_whose_process_has_ended_is_no_member_that_lives(runtime, journal):
    runtime.freeze = runtime.kill
    assert not apply_fault(runtime, "isolate", "kafka-2", [journal]).evidence.ok


def test_a_member_is_not_isolated_twice(runtime, journal):
    apply_fault(runtime, "isolate", "kafka-2", [journal])
    with pytest.raises(FaultError, match="off its network already"):
        apply_fault(runtime, "isolate", "kafka-2", [journal])


def test_a_runtime_that_cannot_says_so_and_what_to_do_instead(journal):
    runtime = ProcessRuntime(["kafka-2"])
    with pytest.raises(UnavailableError, match="up --links"):
        apply_fault(runtime, "isolate", "kafka-2", [journal])
    runtime.close()
