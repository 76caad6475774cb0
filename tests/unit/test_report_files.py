"""The reports that other programs read: junit.xml, attempts.csv, the tables' other formats, and two runs compared."""

import csv
import json
import shutil
import sys
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from control_room.cli.verdict_verbs import report
from control_room.reports import write_all
from control_room.reports.compare import compare
from control_room.reports.tables import Format, MissingExtraError
from tests.unit.histories import T0, History, tid

A = tid(0xA)
FORMULA = '=HYPERLINK("//x","y")'


def attempt(id_, **more):
    told = {"round": 1, "try": 1, "at": T0, "ms": 41.2, "status": 500, "error": None, "by": "dispatcher"}
    return {"k": "attempt", "id": id_, **told, "partition": 1, "offset": 42, "next": T0 + 2, **more}


def proven(folder):
    history = History(folder).accepted_and_delivered(1, 2)
    history.heal(history.fault("kill", "kafka-2"))
    history.attempts = [attempt(tid(1)), attempt(tid(1), **{"try": 2}, status=200, next=None)]
    return history


def broken(folder):
    history = History(folder).accepted_and_delivered(1)
    history.fault("freeze", "kafka-1", ok=False)
    history.send(A)
    history.store(A, "dead", error="410 Gone\x00\x07\ufffe")
    return history


def cases(folder):
    found = ET.parse(folder / "junit.xml").getroot().iter("testcase")
    return {case.get("name"): case.find("failure") for case in found}


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_proven_run_has_one_passing_case_per_class_of_violation_and_per_fault(tmp_path):
    folder = proven(tmp_path / "run").write()
    write_all(folder)
    found = cases(folder)
    assert {"proven", "no lost", "no phantom", "no leaked", "no stranded", "no corrupt", "no bad-signature"} <= set(
        found
    )
    assert "fault 1: kill kafka-2" in found
    assert not any(failure is not None for failure in found.values())


def test_what_was_lost_and_what_was_never_verified_fail_their_cases(tmp_path):
    folder = broken(tmp_path / "run").write()
    write_all(folder)
    failed = {name: failure for name, failure in cases(folder).items() if failure is not None}
    assert set(failed) == {"proven", "no lost", "fault 1: freeze kafka-1"}
    assert f"{A}: dead-lettered: 410 Gone" in failed["no lost"].text
    assert failed["proven"].get("type") == "invalid"
    suite = ET.parse(folder / "junit.xml").getroot()
    assert suite.get("failures") == "3"


def test_a_run_that_proves_nothing_passes_no_case_of_the_verdict(tmp_path):
    write_all(tmp_path)
    found = cases(tmp_path)
    assert found
    assert all(failure is not None and failure.get("type") == "unknown" for failure in found.values())


def test_attempts_csv_holds_each_recorded_attempt(tmp_path):
    folder = proven(tmp_path / "run").write()
    write_all(folder)
    first, second = read_csv(folder / "attempts.csv")
    assert (first["id"], first["try"], first["status"], first["ms"]) == (tid(1), "1", "500", "41.2")
    assert (second["try"], second["status"], second["next"]) == ("2", "200", "")


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    history = proven(tmp_path / "run")
    history.attempts = [attempt(FORMULA, error="@SUM(1)", by="+1"), attempt("\tx", error="-2+3", by="\r=1")]
    history.send(A)
    history.store(A, "dead", error="x\r=1+1")
    folder = history.write()
    write_all(folder)
    for name in ("attempts.csv", "deliveries.csv"):
        for row in read_csv(folder / name):
            assert None not in row.values(), "no cell breaks its row: what follows would be a cell of its own"
            assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_damaged_attempts_leave_a_table_of_columns_alone(tmp_path):
    folder = proven(tmp_path / "run").write()
    lines = (folder / "attempts.jsonl").read_bytes()
    (folder / "attempts.jsonl").write_bytes(lines.replace(b"41.2", b"41.3"))
    write_all(folder)
    assert read_csv(folder / "attempts.csv") == []
    assert "id,round,try" in (folder / "attempts.csv").read_text()


def test_json_lines_hold_what_the_csv_holds_and_leave_the_evidence_alone(tmp_path):
    folder = proven(tmp_path / "run").write()
    evidence = (folder / "attempts.jsonl").read_bytes()
    write_all(folder, [Format.JSONL])
    found = [json.loads(line) for line in (folder / "deliveries.jsonl").read_text().splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in read_csv(folder / "deliveries.csv")]
    assert list(found[0]) == list(read_csv(folder / "deliveries.csv")[0])
    assert isinstance(found[0]["accepted_at"], float)
    assert (folder / "attempts.jsonl").read_bytes() == evidence


def test_parquet_holds_what_the_csv_holds(tmp_path):
    from pyarrow import parquet

    folder = proven(tmp_path / "run").write()
    write_all(folder, [Format.PARQUET])
    assert parquet.read_table(folder / "deliveries.parquet").column("id").to_pylist() == [tid(1), tid(2)]
    assert parquet.read_table(folder / "attempts.parquet").column("status").to_pylist() == [500, 200]


def test_without_pyarrow_a_sentence_says_what_to_install_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    folder = proven(tmp_path / "run").write()
    with pytest.raises(MissingExtraError, match=r"pip install 'bruce-control\[parquet\]'"):
        write_all(folder, [Format.PARQUET])
    assert not (folder / "report.html").exists()
    found = CliRunner().invoke(report, [str(folder), "--format", "parquet"])
    assert found.exit_code == 1
    assert "bruce-control[parquet]" in found.output


def test_every_report_of_a_copied_folder_has_the_same_bytes(tmp_path):
    folder = broken(tmp_path / "run").write()
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    names = [path.name for path in write_all(folder, [Format.JSONL])]
    write_all(copy, [Format.JSONL])
    assert {"report.html", "report.md", "junit.xml", "deliveries.csv", "attempts.csv"} <= set(names)
    for name in names:
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_verb_says_where_each_report_is(tmp_path):
    folder = proven(tmp_path / "run").write()
    found = CliRunner().invoke(report, [str(folder)])
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[0] == str(folder / "report.html")
    told = json.loads(CliRunner().invoke(report, [str(folder), "--json"]).output)
    assert told["report"] == str(folder / "report.html")
    assert str(folder / "attempts.csv") in told["files"]


def test_a_comparison_shows_verdicts_counts_and_the_settings_that_differ(tmp_path):
    one, other = proven(tmp_path / "one"), broken(tmp_path / "other")
    other.run = other.operations[0]["run"] = "run-2"
    other.settings = {"settings": {"rate": 70}}
    found = compare(one.write(), other.write())
    rows = {row.name: row for row in found.rows}
    assert (found.a, found.b) == ("run-1", "run-2")
    assert (rows["verdict"].a, rows["verdict"].b) == ("proven", "invalid")
    assert (rows["ids: lost"].a, rows["ids: lost"].b, rows["ids: lost"].change) == (0, 1, "+1")
    assert (rows["arithmetic: delivered"].a, rows["arithmetic: delivered"].change) == (2, "-50.0 %")
    assert [(row.name, row.a, row.b) for row in found.settings] == [("settings.rate", "50", "70")]


def test_the_verb_compares_in_markdown_and_json_and_writes_nothing(tmp_path):
    one, other = proven(tmp_path / "one").write(), broken(tmp_path / "other").write()
    before = sorted(path.name for path in one.iterdir())
    text = CliRunner().invoke(report, ["--compare", str(one), str(other)]).output
    assert len({len(line) for line in text.split("\n\n")[0].splitlines()}) == 1
    assert "| verdict " in text
    found = json.loads(CliRunner().invoke(report, ["--compare", str(one), str(other), "--json"]).output)
    assert {"name": "verdict", "a": "proven", "b": "invalid", "unit": ""} in found["rows"]
    assert sorted(path.name for path in one.iterdir()) == before


def test_a_comparison_takes_no_third_run(tmp_path):
    found = CliRunner().invoke(report, [str(tmp_path), "--compare", "a", "b"])
    assert found.exit_code == 2
    assert "--compare" in found.output
