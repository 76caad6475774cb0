"""A fault never outlives its injector by accident."""

import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

from control_room.chaos.healer import for_a_time, heal_own
from control_room.chaos.injection import apply_fault, heal
from control_room.chaos.observe import same_process
from control_room.chaos.open_faults import OpenFault, open_faults
from control_room.chaos.overdue import LATE_S, heal_overdue, injector, is_overdue
from control_room.durations import seconds
from tests.unit.member_processes import ProcessRuntime, wait_until


@pytest.fixture
def runtime():
    made = ProcessRuntime(["dispatcher"])
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "faults.jsonl"


def an_injector_that_died():
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = {"pid": gone.pid, "started_at": psutil.Process(gone.pid).create_time()}
    gone.communicate(b"\n")
    return who


def test_what_a_dead_injector_has_broken_is_healed_by_the_next_command(runtime, journal):
    apply_fault(runtime, "freeze", "dispatcher", [journal], meant={"injector": an_injector_that_died()})
    (healed,) = heal_overdue(runtime, [journal])
    assert healed.evidence.ok
    assert open_faults(journal) == []


def test_what_a_living_injector_has_broken_is_left_to_it(runtime, journal):
    apply_fault(runtime, "freeze", "dispatcher", [journal], meant={"injector": injector()})
    assert heal_overdue(runtime, [journal]) == []
    assert len(open_faults(journal)) == 1


def test_a_fault_whose_time_is_over_is_healed_whoever_applied_it(runtime, journal):
    until = time.time() + 0.3
    apply_fault(runtime, "freeze", "dispatcher", [journal], meant={"until": until})
    wait_until(lambda: time.time() > until)
    assert [record.fault.name for record in heal_overdue(runtime, [journal])] == ["freeze"]


@pytest.mark.parametrize(("late_s", "overdue"), [(-1, False), (0.5, False), (LATE_S + 1, True)])
def test_an_injector_that_lives_has_a_while_to_heal_what_is_due(late_s, overdue):
    fault = OpenFault(1, "kill", "kafka-2", 0.0, "", True, until_s=1000.0, injector=injector())
    assert is_overdue(fault, 1000.0 + late_s) is overdue
    assert is_overdue(replace(fault, injector=an_injector_that_died()), 1000.0 + late_s)


def test_what_a_person_broke_without_a_time_stays_until_that_person_heals_it(runtime, journal):
    apply_fault(runtime, "freeze", "dispatcher", [journal])
    assert heal_overdue(runtime, [journal]) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("500 ms", 0.5), ("3s", 3.0), ("2 m", 120.0), ("7", 7.0), ("0.5s", 0.5)]
)
def test_durations_are_read_as_people_write_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "3 h", "-1s", "1e3 s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="500 ms, 3 s or 2 m"):
        seconds(text)


def test_a_fault_for_a_time_is_healed_by_a_process_that_knows_the_journal_alone(runtime, tmp_path):
    who, until = injector(), time.time() + 0.3
    apply_fault(runtime, "freeze", "dispatcher", [tmp_path / "faults.jsonl"], meant={"until": until, "injector": who})
    (healed,) = heal_own(runtime, tmp_path, who, until)
    assert healed.evidence.ok
    assert time.time() >= until
    assert open_faults(tmp_path / "faults.jsonl") == []


def test_faults_of_others_are_not_healed_with_it(runtime, tmp_path):
    apply_fault(runtime, "freeze", "dispatcher", [tmp_path / "faults.jsonl"])
    assert heal_own(runtime, tmp_path, injector(), time.time()) == []
    assert len(open_faults(tmp_path / "faults.jsonl")) == 1


def test_what_somebody_healed_before_its_time_is_not_waited_for(runtime, tmp_path):
    who, journal = injector(), tmp_path / "faults.jsonl"
    record = apply_fault(runtime, "freeze", "dispatcher", [journal], meant={"injector": who})
    healer = threading.Timer(0.7, heal, [runtime, [journal]], {"numbers": {record.number}})
    healer.start()
    assert heal_own(runtime, tmp_path, who, time.time() + 600) == []


def test_the_process_that_heals_outlives_whoever_applied_the_fault(tmp_path):
    """The applier dies by `kill -9` between the journal and the effect, as it could at any moment."""
    words = (
        "import os, signal; from pathlib import Path; from control_room.chaos.healer import for_a_time\n"
        f"with for_a_time('local', Path({str(tmp_path)!r}), 30.0) as meant:\n"
        "    print(meant['injector']['pid'], meant['injector']['started_at'], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, check=False)
    pid, started_at = said.stdout.split()
    process = same_process(int(pid), float(started_at))
    assert said.returncode == -9
    assert process is not None
    process.kill()


def test_a_fault_that_could_not_be_applied_leaves_no_process_behind(tmp_path):
    with pytest.raises(RuntimeError, match="refused"), for_a_time("local", tmp_path, 60.0) as meant:
        who = meant["injector"]
        raise RuntimeError("refused")
    wait_until(lambda: same_process(who["pid"], who["started_at"]) is None)
