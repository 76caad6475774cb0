"""The keymap file: it changes what it names, or it changes nothing and says why."""

import pytest

from control_room.ui.commands import TABLE, command_for
from control_room.ui.csv_tree import CsvTree
from control_room.ui.dialogs import Choose, ChooseSome, Page
from control_room.ui.file_picker import FilePicker
from control_room.ui.keymap import key_name, read_keymap
from control_room.ui.widget_commands import FIXED, widget_keys
from control_room.ui.widgets.line_list import LineList


def keymap(tmp_path, text):
    path = tmp_path / "keymap.toml"
    path.write_text(text, encoding="utf-8")
    return read_keymap(path)


def test_without_a_file_the_table_is_as_it_is(tmp_path):
    assert read_keymap(tmp_path / "keymap.toml") == (TABLE, ())


def test_a_command_gets_the_keys_of_the_file_and_no_other(tmp_path):
    table, problems = keymap(tmp_path, 'kill = ["ctrl+k", "%"]\nhelp = "f1"\n')
    assert problems == ()
    for key in ("ctrl+k", "percent_sign"):
        assert command_for(key, "stack", table).id == "kill"
    assert command_for("K", "stack", table) is None
    assert command_for("f1", "logs", table).id == "help"
    assert command_for("question_mark", "logs", table) is None


def test_two_commands_can_change_places(tmp_path):
    table, problems = keymap(tmp_path, 'stop = "S"\nstart = "s"\n')
    assert problems == ()
    assert command_for("S", "stack", table).id == "stop"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('kill = "s"', "key s is both stop and kill in the view Stack"),
        ('heal = ["H", "enter"]', "key enter is both"),
        ('kil = "ctrl+k"', "there is no command kil; the commands are help, "),
        ('kill = "hyperspace"', "there is no key 'hyperspace'"),
        ('kill = "j"', "key j cannot be kill: it moves within lists"),
        ('list_down = "k"', "key k is both list_up and list_down in lists and dialogs"),
        ('list_mark = "tab"', "key tab cannot be list_mark"),
        ('list_mark = "H"', "key H cannot be heal: it moves within lists"),
        ("kill = 3", "kill needs a key or a list of keys"),
        ("kill = []", "kill needs a key or a list of keys"),
        ("[kill]", "kill needs a key or a list of keys"),
        ("kill = ", "is no TOML file"),
    ],
)
def test_a_file_that_will_not_do_changes_nothing_and_says_why(tmp_path, text, says):
    table, (sentence,) = keymap(tmp_path, 'quit = "f10"\n' + text)
    assert table == TABLE
    assert says in sentence
    assert "keymap.toml" in sentence


def test_every_key_of_the_table_is_a_key_and_none_of_them_moves():
    of_lists = {key for command in TABLE if command.view == "list" for key in command.keys}
    for command in TABLE:
        for key in command.keys:
            assert key_name(key) == key
            assert key not in FIXED
            assert command.view == "list" or key not in of_lists


@pytest.mark.parametrize(
    ("written", "name"),
    [("?", "question_mark"), ("/", "slash"), ("ctrl+k", "ctrl+k"), ("f12", "f12"), ("ä", "ä"), ("+", "plus")],
)
def test_a_key_is_written_as_its_character_or_its_name(written, name):
    assert key_name(written) == name


@pytest.mark.parametrize("widget", [LineList, Choose, ChooseSome, Page, FilePicker, CsvTree])
def test_the_keys_of_widgets_are_those_of_the_table(widget):
    table = {each.id: each for each in TABLE}
    named = [binding for binding in widget.BINDINGS if binding.id]
    assert named or widget in (Choose, ChooseSome)  # these have those of the box they share
    for binding in named:
        assert table[binding.id].key == binding.key


def test_the_keys_that_move_can_be_others_and_the_old_ones_are_free_then(tmp_path):
    table, problems = keymap(tmp_path, 'list_down = ["down", "t"]\nlist_up = ["up", "b"]\nkill = "j"\n')
    assert problems == ()
    assert command_for("j", "stack", table).id == "kill"
    assert widget_keys(table) == {"list_down": "down,t", "list_up": "up,b"}
    assert widget_keys(TABLE) == {}
