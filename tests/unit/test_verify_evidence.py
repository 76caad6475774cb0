"""What is damaged, missing or empty never ends in green."""

import json
import shutil

import pytest

from control_room.verify import Outcome, check, write_manifest
from control_room.verify.files import EVIDENCE
from tests.unit.histories import History, tid, write_chain

A = tid(0xA)


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1, 2, 3)
    history.fault()
    history.send(A, "info")
    history.store(A, payment=False)
    history.redeliver(tid(1), 1, ended=False)
    return history


def test_the_untouched_run_is_proven(history):
    assert check(history.write()).outcome is Outcome.PROVEN


EMPTY_HERE = {"before.jsonl", "others.jsonl", "earlier.jsonl", "attempts.jsonl"}
"""Files of that history without content: one that is cut to nothing cannot be told from itself."""


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (damage, name)
        for damage in ("truncated", "changed", "longer", "missing")
        for name in EVIDENCE
        if damage != "truncated" or name not in EMPTY_HERE
    ],
)
def test_a_damaged_file_makes_the_verdict_unknown_and_is_named(history, damage, name):
    path = history.write() / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-1])
    elif damage == "longer":
        path.write_bytes(content + b"\n")
    else:
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:] if content else b"x")
    assert not path.exists() or path.read_bytes() != content
    verdict = check(history.folder)
    assert verdict.exit_code == 12
    assert any(name in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (name, line)
        for name in ("operations.jsonl", "ledger.jsonl", "faults.jsonl", "stores.jsonl")
        for line in (0, 1, -1)
        # Evidence cut from the fault log's end is another test: it shows as a fault without evidence.
        if (name, line) != ("faults.jsonl", -1)
    ],
)
def test_a_line_taken_out_before_the_sealing_shows_as_a_gap(history, name, line):
    """The manifest is made after the damage: the chain alone must tell."""
    path = history.write() / name
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[line]
    path.write_bytes(b"".join(lines))
    write_manifest(history.folder)
    verdict = check(history.folder)
    assert verdict.exit_code in (10, 12)
    if name != "ledger.jsonl" or line != -1:
        assert verdict.exit_code == 12


def test_a_file_that_appears_later_makes_the_verdict_unknown(history):
    history.faults = []
    folder = history.write()
    write_chain(folder / "faults.jsonl", [])
    assert "faults.jsonl appeared" in check(folder).reasons[0]


def test_a_run_without_a_manifest_is_unknown(history):
    verdict = check(history.write(manifest=False))
    assert (verdict.exit_code, verdict.classes) == (12, {})
    assert "manifest.json is missing" in verdict.reasons[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format":1}',
        '{"format":9,"run":"x","files":{},"absent":[]}',
        '{"format":1,"run":"x","files":{},"absent":[]}',
        '{"format":1,"run":"x","files":[],"absent":[]}',
    ],
)
def test_a_manifest_that_is_none_is_unknown(history, content):
    (history.write() / "manifest.json").write_text(content)
    assert check(history.folder).exit_code == 12


def test_a_folder_that_does_not_exist_is_unknown(tmp_path):
    assert check(tmp_path / "nowhere").exit_code == 12


def test_nothing_accepted_is_unknown(tmp_path):
    history = History(tmp_path / "run")
    assert "Nothing was accepted" in check(history.write()).reasons[0]


def test_an_operation_log_without_an_end_is_unknown(history):
    history.ended = False
    verdict = check(history.write())
    assert verdict.exit_code == 12
    assert "has no end" in verdict.reasons[0]


def test_without_an_end_a_stranger_is_unknown_but_a_loss_stays_a_loss(history):
    history.ended = False
    history.deliver(tid(99))
    assert check(history.write()).exit_code == 12
    history.send(tid(98))
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"], verdict.classes["unknown"]) == (10, 1, 1)


def test_an_end_that_counts_other_operations_than_the_log_holds_is_unknown(history):
    history.ops += 1
    assert "end counts 5 operations" in check(history.write()).reasons[0]


def test_an_answer_to_nothing_is_unknown(history):
    history.ok(77)
    assert "operation 77 was answered" in check(history.write()).reasons[0]


def test_a_log_of_another_run_is_unknown(history):
    history.operations[0]["run"] = "run-2"
    assert "begun by run-2" in check(history.write()).reasons[0]


def test_a_ledger_copy_that_begins_later_than_the_run_is_unknown(history):
    folder = history.write()
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**document, "ledger_from": 6}))
    write_manifest(folder)
    assert "begins at line 7" in check(folder).reasons[0]


def test_a_ledger_copy_shorter_than_what_the_drain_had_read_is_unknown(history):
    history.drain["ledger_next"] = 11
    assert "ledger.jsonl ends before line 10" in check(history.write()).reasons[0]


def test_a_ledger_that_lost_synced_lines_is_unknown(history):
    history.drain["ledger_shrank"] = True
    assert check(history.write()).exit_code == 12


def test_a_killed_merchant_that_goes_on_without_a_new_start_is_unknown(history):
    history.fault("kill", "merchant-server")
    history.accepted_and_delivered(9)
    assert "without a new start" in check(history.write()).reasons[0]
    history.ledger.insert(-1, {"k": "start", "pid": 1, "at": history.ledger[-1]["at"] - 0.5})
    assert check(history.write()).exit_code == 0


@pytest.mark.parametrize("evidence", [{"ok": False}, {"evidence": False}])
def test_a_fault_without_verified_effect_is_unknown_healed_or_not(history, evidence):
    number = history.fault("freeze", "kafka-1", **evidence)
    assert "has no evidence" in check(history.write()).reasons[0]
    history.heal(number)
    assert check(history.write()).exit_code == 12


def test_a_planned_fault_that_never_fired_is_unknown(history):
    history.settings["faults_planned"] = 2
    assert "2 faults were planned" in check(history.write()).reasons[0]


def test_evidence_of_a_fault_that_was_never_announced_is_unknown(history):
    history.heal(9)
    assert check(history.write()).exit_code == 12


def test_a_damaged_fault_log_does_not_hide_a_loss(history):
    history.send(tid(50))
    folder = history.write()
    (folder / "faults.jsonl").write_bytes(b"")
    assert check(folder).exit_code == 10


def test_a_run_that_nobody_drained_is_unknown_and_its_open_ids_are_no_losses(history):
    history.drain = None
    history.send(tid(50))
    verdict = check(history.write())
    assert (verdict.exit_code, verdict.classes["lost"]) == (12, 0)


@pytest.mark.parametrize("name", ["run.json", "operations.jsonl", "ledger.jsonl"])
def test_a_run_sealed_without_a_required_file_is_unknown(history, name):
    folder = history.write()
    (folder / name).unlink()
    if name != "run.json":
        write_manifest(folder)
    verdict = check(folder)
    assert verdict.exit_code == 12
    assert name in verdict.reasons[0]


def test_a_crash_of_the_checker_is_unknown(history, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr("control_room.verify.judge.read_ledger", broken)
    verdict = check(history.write())
    assert verdict.exit_code == 12
    assert "RuntimeError: boom" in verdict.reasons[0]


@pytest.mark.parametrize(
    "record",
    [
        {"k": "invoke"},
        {"k": "invoke", "op": 50, "id": None, "sha": "00"},
        {"k": "invoke", "op": 50, "id": "x", "sha": "zz"},
        {"k": "?"},
        {},
        {"k": "ok", "op": []},
    ],
)
def test_a_line_of_the_wrong_shape_is_unknown_and_names_the_file(history, record):
    history.operations.append(record)
    verdict = check(history.write())
    assert verdict.exit_code == 12
    assert "operations.jsonl" in verdict.reasons[0]


def test_the_same_verdict_comes_from_a_copy_of_the_folder(history, tmp_path):
    folder = history.write()
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert check(copy).to_json() == check(folder).to_json()


def test_the_verdict_names_the_hash_of_each_input(history):
    verdict = check(history.write())
    listed = json.loads((history.folder / "manifest.json").read_text())["files"]
    assert {name: entry["sha256"] for name, entry in listed.items()}.items() <= verdict.inputs.items()
    assert "manifest.json" in verdict.inputs


def test_without_the_stores_a_run_whose_ids_all_had_an_answer_is_proven_and_says_what_was_not_looked_up(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.stores = None
    verdict = check(history.write())
    assert verdict.exit_code == 0
    assert "Postgres could not be asked" in verdict.notes[0]
