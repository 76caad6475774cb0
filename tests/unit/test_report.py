"""The report: all that a reader needs, from the run's files alone."""

import shutil
from array import array

import pytest

from control_room.reports import write_report
from control_room.reports.contents import gather_contents
from control_room.reports.figures import Figures, figures
from control_room.verify import check
from tests.unit.histories import T0, History, tid

A = tid(0xA)


def made(history):
    return write_report(history.write()).read_text()


def test_a_report_holds_verdict_faults_classes_duplicates_latency_settings_and_hashes(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1, 2)
    history.heal(history.fault("kill", "kafka-2"))
    history.send(A)
    history.deliver(A, att="1.1")
    history.deliver(A, att="1.2")
    text = made(history)
    assert text.startswith("# Run run-1: PROVEN\n")
    assert "`3 accepted = 3 delivered + 0 unaccounted`" in text
    assert '| 1 | kill kafka-2 | it ends | verified | {"pid": 812, "pid_gone": true} | yes |' in text
    assert "| redelivered after the answer was lost | 1 |" in text
    assert "| p99 | 1.00 s |" in text
    assert '| settings | {"rate": 50} |' in text
    assert "| drain: complete |" in text
    assert check(history.folder).inputs["ledger.jsonl"] in text


def test_a_report_explains_what_was_lost(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.send(A)
    history.store(A, "dead", error="410 | <b>Gone</b>")
    text = made(history)
    assert f"- `{A}`: dead-lettered: 410 \\| &lt;b>Gone&lt;/b>" in text


def test_a_report_on_damaged_evidence_says_so(tmp_path):
    folder = History(tmp_path / "run").accepted_and_delivered(1).write()
    (folder / "ledger.jsonl").unlink()
    text = write_report(folder).read_text()
    assert "UNKNOWN" in text
    assert "ledger.jsonl is missing" in text


def test_a_report_on_an_empty_folder_is_still_a_report(tmp_path):
    assert "UNKNOWN" in write_report(tmp_path).read_text()


def test_the_same_report_comes_from_a_copy_of_the_folder(tmp_path):
    folder = History(tmp_path / "run").accepted_and_delivered(1).write()
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert write_report(copy).read_text() == write_report(folder).read_text()


def test_writing_a_report_changes_no_verdict(tmp_path):
    folder = History(tmp_path / "run").accepted_and_delivered(1).write()
    before = check(folder)
    write_report(folder)
    assert check(folder).to_json() == before.to_json()


def test_quantiles_are_nearest_ranks():
    found = Figures(array("d", range(1, 101)), array("d"), array("d"), 0, 0, 0)
    assert [found.quantile(share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert figures(()).quantile(0.5) is None


def test_the_longest_gap_and_the_recovery_after_a_fault():
    found = Figures(array("d"), array("d"), array("d", [T0, T0 + 1, T0 + 5]), 0, 0, 0)
    assert found.longest_gap() == (T0 + 1, 4.0)
    assert found.first_delivery_after(T0 + 2) == 3.0
    assert found.first_delivery_after(T0 + 9) is None


def test_the_backlog_rises_with_each_201_and_falls_with_each_first_delivery(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.send(A)
    number = history.fault("kill", "dispatcher")
    history.send(tid(0xB))
    history.heal(number)
    history.deliver(A)
    history.deliver(tid(0xB), src="0@9")
    (recovery,) = gather_contents(history.write()).recoveries()
    assert (recovery.level, recovery.peak) == (1, 2)
    assert recovery.first_delivery_s == 1.0
    assert recovery.drained_s == pytest.approx(1.0, abs=1.0)


def test_a_backlog_that_is_never_worked_off_is_never_back(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.heal(history.fault("kill", "dispatcher"))
    history.send(A)
    history.store(A, "dead")
    (recovery,) = gather_contents(history.write()).recoveries()
    assert recovery.drained_s == 0.0, "it was at its level when the fault ended, before the loss"
    history = History(tmp_path / "other").accepted_and_delivered(1)
    number = history.fault("kill", "dispatcher")
    history.send(A)
    history.store(A, "dead")
    history.heal(number)
    (recovery,) = gather_contents(history.write()).recoveries()
    assert recovery.drained_s is None


def test_markdown_from_files_makes_no_link_no_image_and_no_html(tmp_path):
    history = History(tmp_path / "run").accepted_and_delivered(1)
    history.fault("![x](//x/y.png)<img>\u202e", "[y](javascript:z)")
    text = made(history)
    assert "![" not in text
    assert "[y]" not in text.replace("\\[", "")
    assert "<img" not in text
    assert "\u202e" not in text
