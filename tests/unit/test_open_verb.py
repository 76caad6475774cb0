"""`open` says which runs there are where the one that is meant is not, and needs a terminal."""

import json
import os

import pytest

from control_room.cli.context import Stop
from control_room.cli.main import cli


@pytest.fixture
def state(tmp_path):
    for number, name in enumerate(("20261126-093530-10b2", "20261126-120308-beef")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"format": 1, "run": name}))
        os.utime(folder / "run.json", (number, number))
    return tmp_path


def said(*arguments):
    """Its exit code and its sentence."""
    with pytest.raises(Stop) as stopped:
        cli.main(["open", *map(str, arguments)], standalone_mode=False)
    return stopped.value.code, str(stopped.value)


def test_an_unknown_run_is_a_sentence_with_the_names_that_are_there(state):
    code, text = said("nonsense", "--state", state)
    assert code == 2
    assert text.index("20261126-120308-beef") < text.index("20261126-093530-10b2")
    assert "nonsense is neither a run's folder" in text


def test_several_that_begin_so_are_named(state):
    code, text = said("2026", "--state", state)
    assert (code, text.startswith("2 runs begin with 2026")) == (2, True)


def test_where_there_is_no_run_it_says_how_to_make_one(tmp_path):
    for arguments in ((), ("20261126",)):
        code, text = said(*arguments, "--state", tmp_path)
        assert code == 2
        assert str(tmp_path) in text


def test_without_a_terminal_it_names_what_works_without_for_the_newest_run(state):
    code, text = said("--state", state)
    assert (code, "bruce-control report 20261126-120308-beef" in text) == (2, True)
