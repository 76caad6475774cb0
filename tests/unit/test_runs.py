"""Which run is meant, and how a replay is told."""

import os

import pytest

from control_room.cli.replay_text import answers, done, end_sentences, live_text, to_json
from control_room.replay.progress import Tally
from control_room.runs.folders import NoRunError, find_run


def make_run(runs, name, age_s=0):
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    stamp = 1_700_000_000 - age_s
    os.utime(folder / "run.json", (stamp, stamp))
    return folder


def test_without_a_name_the_newest_run_is_meant(tmp_path):
    make_run(tmp_path, "20260101-000000-aaaa", age_s=0)
    make_run(tmp_path, "20260102-000000-bbbb", age_s=60)
    assert find_run(tmp_path).name == "20260101-000000-aaaa"


def test_a_run_is_found_by_its_id_the_beginning_of_it_or_its_folder(tmp_path):
    wanted = make_run(tmp_path, "20260101-000000-aaaa")
    make_run(tmp_path, "20260102-000000-bbbb")
    assert find_run(tmp_path, "20260101-000000-aaaa") == wanted
    assert find_run(tmp_path, "20260101") == wanted
    assert find_run(tmp_path / "elsewhere", str(wanted)) == wanted


@pytest.mark.parametrize("given", [None, "2026", "x/y", "../20260101-000000-aaaa"])
def test_a_run_that_is_not_there_or_not_the_only_one_is_a_sentence(tmp_path, given):
    if given == "2026":
        make_run(tmp_path, "20260101-000000-aaaa")
        make_run(tmp_path, "20260102-000000-bbbb")
    with pytest.raises(NoRunError, match="run"):
        find_run(tmp_path, given)


def a_tally():
    tally = Tally("r", expected=10)
    tally.payments, tally.accepted, tally.gave_up = 9, 7, 1
    tally.refused[409] = 1
    tally.unanswered["timeout"] = 2
    return tally


def test_answers_are_counted_by_status_and_by_reason_where_there_was_none():
    assert answers(a_tally().snapshot()) == {"201": 7, "409": 1, "timeout": 2}


def test_progress_counts_what_is_answered_or_given_up():
    assert done(a_tally().snapshot()) == pytest.approx(0.9)
    assert done(Tally("r").snapshot()) is None
    assert live_text(a_tally().snapshot()).startswith("8 of 10")


def test_the_end_of_a_replay_says_where_the_run_is_and_what_to_do_next(tmp_path):
    sentences = end_sentences(a_tally().snapshot(ended=True), tmp_path / "20260101-000000-aaaa")
    assert "bruce-control verify 20260101-000000-aaaa" in sentences[-1]
    assert any("replay --resume" in sentence for sentence in sentences)
    assert to_json(a_tally().snapshot(), tmp_path)["answers"]["201"] == 7
