"""Crash points as a fault: seen by the exit code, disarmed when not reached, refused where there are none."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from control_room.chaos import crash_point
from control_room.chaos.catalogue import make
from control_room.chaos.errors import FaultError
from control_room.chaos.injection import apply_fault, heal_all, preview_fault
from control_room.chaos.journal import FaultJournal
from control_room.chaos.observe import answers
from control_room.chaos.open_faults import open_faults
from services.common.crash import POINTS, SETTING, arm_file
from tests.unit.member_processes import _SERVER, ProcessRuntime, wait_until

_MEMBER = """
import threading, time
from pathlib import Path
from services.common import crash
def work():
    while True:
        if Path(sys.argv[2]).exists():
            crash.point("dispatcher.before-commit")
        time.sleep(0.02)
threading.Thread(target=work, daemon=True).start()
"""
_COMMAND = _SERVER.replace("import socketserver, sys", f"import socketserver, sys{_MEMBER}")


class SupervisedRuntime(ProcessRuntime):
    """A dispatcher with crash points that reaches one of them while there is traffic, and is brought back."""

    def __init__(self, folder):
        self.folder = folder
        self.traffic = folder.parent / "traffic"
        self.ends = []
        self.closed = threading.Event()
        self.brings_back = True
        super().__init__(["dispatcher"])
        threading.Thread(target=self._supervise, daemon=True).start()

    def start(self, members):
        for member in members:
            command = [sys.executable, "-c", _COMMAND, str(self.ports[member]), str(self.traffic)]
            env = {**os.environ, SETTING: str(self.folder), "MEMBER_NAME": member}
            self.processes[member] = subprocess.Popen(command, env=env, start_new_session=True)

    def _supervise(self):
        while not self.closed.wait(0.02):
            code = self.processes["dispatcher"].poll()
            if code is not None and self.brings_back:
                self.ends.append(code)
                self.start(["dispatcher"])

    def _status(self, member):
        last = self.ends[-1] if self.ends else None
        return replace(super()._status(member), restarts=len(self.ends), exit_code=last)

    def crash_points(self):
        return self.folder

    def close(self):
        self.closed.set()
        super().close()


@pytest.fixture
def runtime(tmp_path):
    (tmp_path / "crash-points").mkdir()
    made = SupervisedRuntime(tmp_path / "crash-points")
    wait_until(lambda: answers(("127.0.0.1", made.ports["dispatcher"]), "dispatcher"))
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def at_commit(runtime, journal, **more):
    return apply_fault(runtime, "crash-point", "dispatcher", [journal], point="dispatcher.before-commit", **more)


def test_it_is_proven_by_the_points_own_exit_code_and_a_new_process(runtime, journal):
    pid = runtime.processes["dispatcher"].pid
    runtime.traffic.touch()
    record = at_commit(runtime, journal)
    assert record.evidence.ok, record.evidence
    assert record.evidence.facts["exit_code"] == POINTS["dispatcher.before-commit"].exit_code
    assert record.evidence.facts["new_process"]
    assert record.evidence.facts["pid"] != pid
    assert open_faults(journal) == []
    assert [line["k"] for line in FaultJournal(journal).records()] == ["apply", "evidence"]
    assert "dispatcher.before-commit" in record.expect


def test_a_point_that_is_not_reached_is_no_evidence_and_is_disarmed(runtime, journal):
    record = at_commit(runtime, journal, within="300 ms")
    assert not record.evidence.ok
    assert record.evidence.facts["reached"] is False
    assert list(runtime.folder.iterdir()) == []
    runtime.traffic.touch()
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert runtime.ends == []


def test_an_end_by_something_else_is_not_taken_for_the_point(runtime, journal):
    killer = threading.Timer(0.2, runtime.processes["dispatcher"].kill)
    killer.start()
    record = at_commit(runtime, journal, within=1.0)
    killer.join()
    wait_until(lambda: runtime.ends == [-9])
    assert not record.evidence.ok


def test_another_process_disarms_what_a_killed_injector_left(runtime, journal):
    fault = crash_point.CrashPoint.at("dispatcher", {"point": "dispatcher.before-commit"})
    fault.prepare(runtime)
    line = {"k": "apply", "fault": 1, "name": fault.name, "target": fault.target, "at": 1.0, "expect": ""}
    FaultJournal(journal).append({**line, "before": fault.facts})
    fault.apply(runtime)
    assert arm_file(runtime.folder, "dispatcher", "dispatcher.before-commit").exists()
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok
    assert list(runtime.folder.iterdir()) == []


def test_a_member_that_does_not_come_back_is_started_by_the_heal(runtime, journal, monkeypatch):
    monkeypatch.setattr(crash_point.CrashPoint, "evidence", lambda self, _: crash_point.Evidence(False))
    runtime.traffic.touch()
    runtime.brings_back = False
    at_commit(runtime, journal)
    wait_until(lambda: runtime.processes["dispatcher"].poll() is not None)
    (healed,) = heal_all(runtime, [journal])
    assert healed.evidence.ok


@pytest.mark.parametrize(
    ("target", "params", "words"),
    [
        ("dispatcher", {}, "takes `point`"),
        ("dispatcher", {"point": "dispatcher.somewhere"}, "there is no crash point dispatcher.somewhere"),
        (
            "dispatcher",
            {"point": "api.after-commit"},
            "dispatcher has no crash point api.after-commit; ingestion-api-1",
        ),
        ("kafka-1", {"point": "api.after-commit"}, "kafka-1 has no crash point"),
        ("dispatcher", {"point": ["api.after-commit"]}, "dispatcher must have one of the crash points"),
        ("dispatcher", {"point": []}, "it has 0"),
        ("dispatcher", {"point": "dispatcher.after-2xx", "mode": "x"}, "nothing else"),
        ("dispatcher", {"point": "dispatcher.after-2xx", "within": "soon"}, "within: 'soon' is not a duration"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(runtime, journal, target, params, words):
    with pytest.raises(FaultError, match=words):
        apply_fault(runtime, "crash-point", target, [journal], **params)
    assert not journal.exists()


def test_a_stack_without_crash_points_says_how_to_get_them(runtime, journal, monkeypatch):
    monkeypatch.setattr(runtime, "crash_points", lambda: None)
    with pytest.raises(FaultError, match="CRASH_POINTS=1 bruce-control up"):
        at_commit(runtime, journal)
    assert not journal.exists()


def test_a_point_is_armed_once_at_a_time(runtime, journal):
    arm_file(runtime.folder, "dispatcher", "dispatcher.before-commit").touch()
    with pytest.raises(FaultError, match="armed in dispatcher already"):
        at_commit(runtime, journal)


@pytest.mark.parametrize("point", [name for name in POINTS if name.startswith("dispatcher")])
def test_a_preview_says_where_it_dies_and_what_it_takes(runtime, point):
    said = preview_fault(runtime, "crash-point", "dispatcher", point=point)
    assert POINTS[point].where in said
    assert POINTS[point].reached in said


def test_members_of_different_kinds_can_be_armed_with_one_fault():
    points = ["publisher.after-claim", "api.before-produce"]
    for member, point in (("outbox-publisher", points[0]), ("ingestion-api-2", points[1])):
        assert make("crash-point", member, {"point": points}).facts["point"] == point
