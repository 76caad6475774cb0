"""Deleting runs: never one that is running, never what is no run, never by half."""

import os
import time

import pytest
from click.testing import CliRunner

from control_room.cli.runs_verb import runs
from control_room.replay.operation_log import OperationLog
from control_room.runs.folders import find_run
from control_room.runs.remove import QUIET_S, RemoveError, remove_run, size_of
from tests.unit.histories import History

LONG_AGO_S = time.time() - 10 * QUIET_S


def made(folder):
    run_dir = History(folder).accepted_and_delivered(1, 2).write()
    quieten(run_dir)
    return run_dir


def quieten(run_dir):
    for path in run_dir.iterdir():
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def test_a_run_is_deleted_whole_and_its_size_is_told_before_and_after(tmp_path):
    kept, gone = made(tmp_path / "a-1"), made(tmp_path / "b-1")
    size = size_of(gone)
    assert size.size_bytes == sum(path.stat().st_size for path in gone.iterdir()) > 0
    assert remove_run(tmp_path, gone) == size
    assert list(tmp_path.iterdir()) == [kept]


def test_a_run_whose_payments_are_being_sent_is_kept(tmp_path):
    run_dir = tmp_path / "a-1"
    run_dir.mkdir()
    (run_dir / "run.json").write_text("{}", encoding="utf-8")
    log = OperationLog(run_dir / "operations.jsonl", resume=False)
    quieten(run_dir)
    with pytest.raises(RemoveError, match="still running: its payments are being sent"):
        remove_run(tmp_path, run_dir)
    log.close()
    remove_run(tmp_path, run_dir)
    assert not run_dir.exists()


def test_a_run_that_is_being_judged_is_kept(tmp_path):
    run_dir = made(tmp_path / "a-1")
    (run_dir / "probes.jsonl").touch()
    with pytest.raises(RemoveError, match="still running"):
        remove_run(tmp_path, run_dir)
    assert find_run(tmp_path, "a-1") == run_dir


def test_what_is_no_run_of_the_folder_is_never_deleted(tmp_path):
    elsewhere, runs_dir = made(tmp_path / "elsewhere" / "a-1"), tmp_path / "runs"
    (runs_dir / "mine").mkdir(parents=True)
    (runs_dir / "link").symlink_to(elsewhere)
    for path in (elsewhere, runs_dir / "mine", runs_dir / "link", runs_dir, runs_dir / ".." / "elsewhere" / "a-1"):
        with pytest.raises(RemoveError, match="no run in"):
            remove_run(runs_dir, path)
    assert (elsewhere / "run.json").exists()


def call(*words):
    return CliRunner().invoke(runs, words)


def test_the_verb_lists_and_deletes_and_asks_first(tmp_path):
    run_dir = made(tmp_path / "runs" / "a-1")
    state = ("--state", str(tmp_path))
    assert "a-1" in call("list", *state).output
    refused = call("rm", "a-1", *state)
    assert refused.exit_code != 0
    assert "--yes" in refused.output
    assert run_dir.exists()
    done = call("rm", "a", *state, "--yes")
    assert done.exit_code == 0
    assert "deleted a-1" in done.output
    assert not run_dir.exists()
