"""What a verdict is written down as, and what a person is told."""

import csv
import json

import pytest

from control_room.verify import check, summary, write_verdict
from control_room.verify.output import COLUMNS, safe_cell
from tests.unit.histories import T0, History, tid

A = tid(0xA)


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "run").accepted_and_delivered(1)


def rows(folder):
    with (folder / "deliveries.csv").open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_each_id_has_one_line_with_what_became_of_it(history):
    history.send(A)
    for attempt, status in enumerate((500, -1, 200, 200), 1):
        history.deliver(A, status=status, att=f"1.{attempt}")
    folder = history.write()
    write_verdict(folder, check(folder))
    found = rows(folder)
    assert len(found) == 2
    assert tuple(found[A]) == COLUMNS
    assert found[A] | {"accepted_at": "", "delivered_at": ""} == {
        "id": A,
        "accepted_at": "",
        "delivered_at": "",
        "attempts": "4",
        "rounds": "1",
        "answers": "500 -1 200 200",
        "duplicates": "1",
        "cause": "redelivered after the answer was lost",
        "class": "delivered",
        "why": "",
    }
    assert float(found[A]["delivered_at"]) > float(found[A]["accepted_at"]) > T0


def test_verdict_json_holds_what_the_document_promises(history):
    folder = history.write()
    history.fault()
    write_verdict(history.write(), check(folder))
    document = json.loads((folder / "verdict.json").read_text())
    assert (document["format"], document["run"], document["verdict"], document["exit_code"]) == (
        1,
        "run-1",
        "proven",
        0,
    )
    assert document["reasons"] == []
    assert document["arithmetic"]["accepted"] == 1
    assert document["classes"]["lost"] == 0
    assert document["faults"][0]["facts"] == {"pid": 812, "pid_gone": True}
    assert len(document["inputs"]["ledger.jsonl"]) == 64


def test_a_verdict_on_damaged_evidence_is_written_without_rows(history):
    folder = history.write()
    (folder / "ledger.jsonl").unlink()
    write_verdict(folder, check(folder))
    assert rows(folder) == {}
    assert json.loads((folder / "verdict.json").read_text())["exit_code"] == 12


def test_writing_a_verdict_leaves_no_scratch_file_and_changes_no_evidence(history):
    folder = history.write()
    write_verdict(folder, check(folder))
    write_verdict(folder, check(folder))
    assert check(folder).exit_code == 0
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1 200", "@x", "\tx", "\rx"])
def test_no_cell_is_taken_for_a_formula(text):
    assert safe_cell(text) == "'" + text


def test_a_hostile_id_in_the_ledger_is_harmless_in_the_csv(history):
    history.deliver('=HYPERLINK("x")')
    folder = history.write()
    write_verdict(folder, check(folder))
    assert '\'=hyperlink("x")' in rows(folder)


def test_the_summary_names_the_arithmetic_the_faults_the_reasons_and_what_to_do(history):
    history.fault("kill", "kafka-2")
    history.send(A)
    text = summary(check(history.write()), "runs/run-1")
    assert "INVALID" in text
    assert "2 accepted = 1 delivered + 1 unaccounted" in text
    assert "kill kafka-2: verified (pid=812, pid_gone=True)" in text
    assert "reason: 1 LOST." in text
    assert f"next: bruce-control event {A}" in text
