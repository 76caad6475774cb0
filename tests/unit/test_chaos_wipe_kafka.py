"""Wiping Kafka as a fault: only where the runtime can, with evidence that the cluster is another one and was empty."""

import pytest

from control_room.chaos import wipe_kafka
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import apply_fault, heal_all
from control_room.chaos.open_faults import open_faults
from control_room.stack.runtime import BROKERS, FreshKafka, StackError
from tests.unit.member_processes import ProcessRuntime


class Wiping(ProcessRuntime):
    """Its brokers are real processes; which cluster they are is what the test says."""

    cluster_id = "old"
    left = 0
    interrupted = False

    def wipe_kafka(self):
        self.kill(BROKERS)
        if self.interrupted:
            raise StackError("cannot format kafka-2: no space left on device")
        self.cluster_id = "new"
        return FreshKafka("new", self.left)


@pytest.fixture
def runtime(monkeypatch):
    made = Wiping(BROKERS)
    monkeypatch.setattr(wipe_kafka, "ANSWER_DEADLINE_S", 0.3)
    monkeypatch.setattr(wipe_kafka, "_client", lambda runtime: runtime)
    monkeypatch.setattr(wipe_kafka, "_asked", lambda runtime: (runtime.cluster_id, sum(_alive(runtime))))
    yield made
    made.close()


def _alive(runtime):
    return [process.poll() is None for process in runtime.processes.values()]


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def test_a_wipe_is_seen_by_the_new_cluster_and_over_with_its_evidence(runtime, journal):
    record = apply_fault(runtime, "wipe-kafka", "kafka", [journal])
    assert record.evidence.ok
    facts = record.evidence.facts
    assert (facts["cluster_before"], facts["cluster"], facts["partitions_held"], facts["brokers"]) == (
        "old",
        "new",
        0,
        3,
    )
    assert "published again from Postgres" in record.expect
    assert open_faults(journal) == []


def test_partitions_that_are_still_there_are_no_wipe(runtime, journal):
    runtime.left = 2
    assert not apply_fault(runtime, "wipe-kafka", "kafka", [journal]).evidence.ok


def test_a_runtime_that_cannot_says_so_before_anything_is_hit(journal):
    plain = ProcessRuntime(["kafka-1"])
    with pytest.raises(FaultError, match="not available here: the runtime fake"):
        apply_fault(plain, "wipe-kafka", "kafka", [journal])
    assert _alive(plain) == [True]
    plain.close()


def test_without_a_cluster_to_lose_nothing_is_hit(runtime, journal):
    runtime.cluster_id = ""
    with pytest.raises(FaultError, match="Kafka does not answer"):
        apply_fault(runtime, "wipe-kafka", "kafka", [journal])
    assert all(_alive(runtime))


def test_a_wipe_that_ended_half_way_stays_open_and_its_heal_starts_the_brokers(runtime, journal):
    runtime.interrupted = True
    with pytest.raises(FaultError, match="no space left"):
        apply_fault(runtime, "wipe-kafka", "kafka", [journal])
    assert not any(_alive(runtime))
    [healed] = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert all(_alive(runtime))
    assert open_faults(journal) == []
