"""The steps of a scenario in its run's folder: seen from another terminal, and when the run is looked at again."""

import json
from functools import partial

import pytest

from control_room.tracking.steps import StepEvent, StepsReader, StepState, log_step, read_steps
from control_room.verify.files import EVIDENCE, STEPS

RUNNING, DONE, FAILED = StepState.RUNNING, StepState.DONE, StepState.FAILED


@pytest.fixture
def run_dir(tmp_path):
    document = {"format": 1, "scenario": "kill-two", "steps": ["kill kafka-2", "heal all"]}
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def states(steps):
    return [row.state for row in steps.rows]


def test_what_the_runner_writes_down_is_read_at_every_moment_of_it(run_dir):
    note = partial(log_step, run_dir)
    note(StepEvent(0, RUNNING, 10.0))
    assert states(read_steps(run_dir)) == ["running", "pending", "pending"]
    note(StepEvent(0, DONE, 12.0))
    note(StepEvent(1, RUNNING, 12.0))
    note(StepEvent(1, FAILED, 15.0, "not within 3 s"))
    told = read_steps(run_dir)
    assert (told.name, states(told), told.rows[1].why) == ("kill-two", ["done", "failed", "pending"], "not within 3 s")
    assert states(read_steps(run_dir, 12.5)) == ["done", "running", "pending"]
    assert (read_steps(run_dir, 12.5).going_on, told.going_on) == (True, False)


def test_a_line_that_is_cut_or_strange_tells_nothing_and_the_others_count(run_dir):
    note = partial(log_step, run_dir)
    note(StepEvent(0, RUNNING, 10.0))
    with (run_dir / STEPS).open("ab") as file:
        file.write(b'[]\n{"number": 1, "state": "flying", "at_s": 1, "why": ""}\n{"number": 0, "sta')
    assert states(read_steps(run_dir)) == ["running", "pending", "pending"]


def test_a_run_that_is_no_scenario_or_is_of_before_has_no_steps(run_dir, tmp_path_factory):
    assert read_steps(run_dir) is None
    note = partial(log_step, run_dir)
    note(StepEvent(0, RUNNING, 10.0))
    (run_dir / "run.json").write_text('{"format": 1}', encoding="utf-8")
    assert read_steps(run_dir) is None
    assert read_steps(tmp_path_factory.mktemp("none")) is None


def test_a_file_that_has_not_grown_is_not_read_again(run_dir):
    reader = StepsReader()
    assert reader.read(run_dir) is None
    note = partial(log_step, run_dir)
    note(StepEvent(0, RUNNING, 10.0))
    before = reader.read(run_dir)
    assert reader.read(run_dir) is before
    note(StepEvent(0, DONE, 11.0))
    assert states(reader.read(run_dir)) == ["done", "pending", "pending"]


def test_the_steps_are_no_evidence_for_their_last_line_comes_after_the_manifest():
    assert STEPS not in EVIDENCE


def test_a_step_that_cannot_be_written_down_does_not_end_the_run(tmp_path):
    log_step(tmp_path / "gone", StepEvent(0, RUNNING, 10.0))
    assert not (tmp_path / "gone").exists()
