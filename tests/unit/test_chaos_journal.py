"""The fault journal holds under several writers, torn tails and tampering."""

import os
import subprocess
import sys
import time

import pytest

from control_room.chaos.errors import JournalError
from control_room.chaos.journal import OPEN_RUN_AGE_S, FaultJournal, Journals, journal_paths
from control_room.chaos.open_faults import still_open
from services.common.chain import read_chain

APPLY = {"name": "kill", "target": "kafka-2", "at": 1.0, "expect": "", "before": {}}


def test_the_lines_are_the_format_of_a_run(tmp_path):
    journals = Journals.of([tmp_path / "faults.jsonl"])
    journals.announce(APPLY)
    journals.note(1, {"k": "evidence", "at": 2.0, "ok": True, "facts": {"pid": 1}})
    with journals.state.path.open("rb") as lines:
        apply, evidence = read_chain(lines)
    assert list(apply)[:3] == ["n", "k", "fault"]
    assert apply["name"] == "kill"
    assert {key: evidence[key] for key in ("n", "k", "fault", "ok", "facts")} == {
        "n": 1, "k": "evidence", "fault": 1, "ok": True, "facts": {"pid": 1},
    }  # fmt: skip


def test_several_processes_append_at_once_and_the_chain_stays_whole(tmp_path):
    path = tmp_path / "faults.jsonl"
    writer = f"""
from pathlib import Path
from control_room.chaos.journal import Journals
for _ in range(20):
    Journals.of([Path({str(path)!r})]).announce({APPLY!r})
"""
    writers = [subprocess.Popen([sys.executable, "-c", writer]) for _ in range(4)]
    assert [process.wait() for process in writers] == [0] * 4
    with path.open("rb") as lines:
        records = list(read_chain(lines))
    assert [record["fault"] for record in records] == list(range(1, 81))


def test_a_torn_last_line_is_cut_off_and_the_chain_goes_on(tmp_path):
    path = tmp_path / "faults.jsonl"
    journals = Journals.of([path])
    journals.announce(APPLY)
    journals.announce(APPLY)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [record["fault"] for record in journals.state.records()] == [1]
    assert journals.announce(APPLY) == 2
    assert path.read_bytes() == whole


def test_a_changed_line_stops_new_faults(tmp_path):
    path = tmp_path / "faults.jsonl"
    journals = Journals.of([path])
    journals.announce(APPLY)
    journals.announce(APPLY)
    path.write_bytes(path.read_bytes().replace(b"kafka-2", b"kafka-3", 1))
    with pytest.raises(JournalError, match=r"damaged .line 1 does not match its checksum.; move it away"):
        journals.announce(APPLY)


def test_a_damaged_run_journal_does_not_keep_a_heal_out_of_the_state_journal(tmp_path):
    state, run = tmp_path / "faults.jsonl", tmp_path / "run" / "faults.jsonl"
    journals = Journals.of([state, run])
    journals.announce(APPLY)
    run.write_bytes(run.read_bytes().replace(b"kafka-2", b"kafka-3"))
    with pytest.raises(JournalError):
        journals.note(1, {"k": "heal", "at": 1.0, "ok": True, "facts": {}})
    assert still_open(FaultJournal(state).records()) == []


def test_numbers_never_repeat_in_any_of_the_journals(tmp_path):
    run = tmp_path / "run" / "faults.jsonl"
    Journals.of([tmp_path / "a.jsonl", run]).announce(APPLY)
    assert Journals.of([tmp_path / "fresh.jsonl", run]).announce(APPLY) == 2


def test_a_journal_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be written"):
        FaultJournal(tmp_path / "file" / "faults.jsonl").append({"k": "apply"})


def test_an_open_run_is_one_without_a_manifest_that_was_written_to_lately(tmp_path):
    for name in ("open", "closed", "given-up"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    (tmp_path / "runs" / "closed" / "manifest.json").write_text("{}")
    long_ago = time.time() - OPEN_RUN_AGE_S - 60
    os.utime(tmp_path / "runs" / "given-up" / "run.json", (long_ago, long_ago))
    (tmp_path / "runs" / "not-a-run").mkdir()
    named = tmp_path / "elsewhere"
    assert journal_paths(tmp_path, [named]) == [
        tmp_path / "faults.jsonl", named / "faults.jsonl", tmp_path / "runs" / "open" / "faults.jsonl",
    ]  # fmt: skip


def test_a_fault_that_failed_half_way_stays_open_and_a_finished_one_does_not():
    apply = {"k": "apply", "fault": 1, **APPLY}
    assert [fault.number for fault in still_open([apply])] == [1]
    crash = {**apply, "name": "crash"}
    seen = {"k": "evidence", "fault": 1, "ok": True}
    assert still_open([crash, seen]) == []
    assert len(still_open([crash, {**seen, "ok": False}])) == 1
    assert still_open([apply, seen])[0].verified
    assert len(still_open([apply, seen, {"k": "heal", "fault": 1, "ok": False}])) == 1
