"""The verdict line: its word follows from the evidence, and old or missing evidence is never green."""

from dataclasses import replace

import pytest

from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.assurance import Word, assure
from control_room.tracking.parts import Part
from control_room.tracking.runs import RunStanding
from tests.ui.moments import EMPTY, HEALTHY, LOST, PAUSED, UNACCOUNTED, UNKNOWN, run


@pytest.mark.parametrize(
    ("snapshot", "word"),
    [
        (HEALTHY, Word.FINE),
        (PAUSED, Word.BEHIND),
        (UNACCOUNTED, Word.ALARM),
        (LOST, Word.BROKEN),
        (UNKNOWN, Word.UNKNOWN),
        (EMPTY, Word.UNKNOWN),
        (replace(HEALTHY, run=replace(HEALTHY.run, age_s=6.0)), Word.UNKNOWN),
        (replace(HEALTHY, run=Part(None, "run.json cannot be read")), Word.UNKNOWN),
        (replace(HEALTHY, run=Part(None)), Word.FINE),
        (replace(HEALTHY, run=Part(None), counts=Part(None, "Postgres does not answer")), Word.UNKNOWN),
        (replace(HEALTHY, run=Part(None), counts=Part(Arithmetic(5, 5), "nothing came for 4 s", 4.0)), Word.UNKNOWN),
        (replace(HEALTHY, run=Part(None), counts=Part(Arithmetic(5, 3, unaccounted=2))), Word.ALARM),
    ],
)
def test_the_word_follows_from_the_evidence(snapshot, word):
    assert assure(snapshot).word is word


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        ("proven", Word.FINE),
        ("late", Word.BEHIND),
        ("invalid", Word.BROKEN),
        ("unknown", Word.UNKNOWN),
        ("?", Word.UNKNOWN),
    ],
)
def test_a_judged_run_is_told_by_its_verdict(verdict, word):
    judged = RunStanding(run(verdict, arithmetic=Arithmetic(3, 3)), Arithmetic(3, 3))
    assert assure(replace(HEALTHY, run=Part(judged))).word is word


def test_what_a_look_misses_for_a_moment_is_no_alarm_yet():
    moving = RunStanding(run(), Arithmetic(10, 8, unaccounted=2), 0.5)
    assert assure(replace(HEALTHY, run=Part(moving))).word is Word.BEHIND


def test_duplicates_are_told_while_the_run_goes_on():
    def told(twice):
        return assure(replace(HEALTHY, run=Part(RunStanding(run(), Arithmetic(10, 10), 0.0, twice)))).duplicated

    assert (told(0), told(3), told(None)) == (0, 3, None)


@pytest.mark.parametrize(
    ("stale", "word"),
    [
        (("dispatcher silent for 9 s",), Word.BEHIND),
        (("dispatcher silent for 9 s", "postgres silent for 2 s"), Word.UNKNOWN),
    ],
)
def test_a_silent_dispatcher_is_told_and_only_a_silent_store_or_ledger_blinds(stale, word):
    standing = RunStanding(run(), Arithmetic(10, 8, retrying=2, stale=stale))
    found = assure(replace(HEALTHY, run=Part(standing)))
    assert found.word is word
    assert stale[-1] in found.sentence
