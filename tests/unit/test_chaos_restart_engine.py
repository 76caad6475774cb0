"""Restarting the engine as a fault: only where the user has said how, with evidence that everybody came back anew."""

import pytest

from control_room.chaos import restart_engine
from control_room.chaos.errors import FaultError, UnavailableError
from control_room.chaos.injection import apply_fault
from control_room.stack.docker import DockerRuntime, engine
from control_room.stack.runtime import StackError
from tests.unit.member_processes import ProcessRuntime


class WithEngine(ProcessRuntime):
    """Its engine ends some of its members, which come back."""

    allowed = True
    hit = ("kafka-1", "dispatcher")

    def engine_restart_unavailable(self):
        return None if self.allowed else "others use it"

    def restart_engine(self):
        self.kill(self.hit)
        self.start(self.hit)


@pytest.fixture
def runtime(monkeypatch):
    monkeypatch.setattr(restart_engine, "BACK_DEADLINE_S", 0.5)
    monkeypatch.setattr(restart_engine, "_LOOK_EVERY_S", 0.1)
    made = WithEngine(["kafka-1", "dispatcher"])
    yield made
    made.close()


def test_everybody_who_ran_is_seen_to_have_begun_anew(runtime, tmp_path):
    record = apply_fault(runtime, "restart-engine", "engine", [tmp_path / "faults.jsonl"])
    assert record.evidence.ok, record.evidence.facts
    assert record.evidence.facts["restarted"] == 2
    assert "all 2 members" in record.expect


def test_a_member_that_was_not_restarted_is_named(runtime, tmp_path):
    runtime.hit = ("kafka-1",)
    record = apply_fault(runtime, "restart-engine", "engine", [tmp_path / "faults.jsonl"])
    assert not record.evidence.ok
    assert record.evidence.facts["not_restarted"] == ["dispatcher"]


def test_it_is_there_only_where_the_engine_may_be_restarted(runtime, tmp_path):
    runtime.allowed = False
    with pytest.raises(UnavailableError, match="others use it"):
        apply_fault(runtime, "restart-engine", "engine", [tmp_path / "faults.jsonl"])
    runtime.allowed = True
    runtime.kill(["kafka-1", "dispatcher"])
    with pytest.raises(FaultError, match="no member runs"):
        apply_fault(runtime, "restart-engine", "engine", [tmp_path / "faults.jsonl"])


def test_on_docker_the_user_says_so_by_naming_the_command(tmp_path):
    assert "BRUCE_ENGINE_RESTART" in DockerRuntime(tmp_path, {}).engine_restart_unavailable()
    asked = {"BRUCE_ENGINE_RESTART": "sudo systemctl restart docker"}
    assert DockerRuntime(tmp_path, asked).engine_restart_unavailable() is None


def test_a_command_that_does_not_restart_it_is_told_with_what_it_said():
    with pytest.raises(StackError, match=r"ended with 2: .*no-such-folder"):
        engine.restart(None, "ls /no-such-folder")
    with pytest.raises(StackError, match="does not restart the engine"):
        engine.restart(None, "/no/such/program")
