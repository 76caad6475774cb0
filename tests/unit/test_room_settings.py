"""The control room's settings file: every value is explained, a wrong one is told, and nothing is lost by writing."""

import json

import pytest

from control_room.ui.settings import SETTINGS, SettingError, read_settings, setting_named, write_setting
from control_room.ui.themes import THEMES
from tests.unit.test_cli import bruce


def written(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_every_setting_has_its_default(tmp_path):
    found = read_settings(tmp_path / "settings.toml", {})
    assert found.problems == ()
    for each in SETTINGS:
        assert getattr(found, each.name) == each.default
        assert found.sources[each.name] == "default"
        assert each.parse(each.default) == each.default
        assert each.allowed


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    path = written(tmp_path, 'theme = "nord"\nmouse = false\n')
    found = read_settings(path, {"BRUCE_CONTROL_THEME": "dracula"})
    assert (found.theme, found.sources["theme"]) == ("dracula", "environment")
    assert (found.mouse, found.sources["mouse"]) == (False, "file")
    assert found.problems == ()


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ('theme = "nrod"', "theme", "nord"),
        ("theme = 3", "theme", "bruce-contrast"),
        ('start_view = "kafak"', "start_view", "kafka"),
        ('remember = "perhaps"', "remember", "true, false"),
        ("serve_port = 65536", "serve_port", "from 0 to 65535"),
        ("serve_port = true", "serve_port", "from 0 to 65535"),
        ("mouse = []", "mouse", "true, false"),
    ],
)
def test_a_wrong_value_is_told_with_the_allowed_ones_and_the_default_is_used(tmp_path, text, name, says):
    found = read_settings(written(tmp_path, text), {})
    assert getattr(found, name) == setting_named(name).default
    assert found.sources[name] == "default"
    (sentence,) = found.problems
    assert name in sentence
    assert says in sentence


def test_a_wrong_value_in_the_environment_leaves_the_file_s(tmp_path):
    found = read_settings(written(tmp_path, 'theme = "nord"'), {"BRUCE_CONTROL_THEME": "nothing"})
    assert found.theme == "nord"
    assert "BRUCE_CONTROL_THEME" in found.problems[0]
    assert "nord is used" in found.problems[0]


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path):
    (sentence,) = read_settings(written(tmp_path, 'thme = "nord"'), {}).problems
    assert "'thme'" in sentence
    for each in SETTINGS:
        assert each.name in sentence


@pytest.mark.parametrize("content", [b"theme = ", b"\xff\xfe", b"[[["])
def test_a_file_that_cannot_be_read_is_told_and_the_defaults_are_used(tmp_path, content):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    found = read_settings(path, {})
    assert found.theme == "textual-dark"
    assert "is no TOML file" in found.problems[0]
    with pytest.raises(SettingError, match="is no TOML file"):
        write_setting(path, "theme", "nord")
    assert path.read_bytes() == content


def test_what_is_written_is_read_again_and_comments_stay(tmp_path):
    path = tmp_path / "deep" / "settings.toml"
    write_setting(path, "theme", "nord")
    path.write_text("# mine\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    write_setting(path, "serve-port", "0")
    write_setting(path, "mouse", "off")
    found = read_settings(path, {})
    assert (found.theme, found.serve_port, found.mouse, found.problems) == ("nord", 0, False, ())
    write_setting(path, "theme", None)
    assert read_settings(path, {}).sources["theme"] == "default"
    assert path.read_text(encoding="utf-8").startswith("# mine\n")
    assert [each.name for each in path.parent.iterdir()] == ["settings.toml"]


def test_a_value_that_is_not_allowed_is_not_written(tmp_path):
    path = tmp_path / "settings.toml"
    for name, raw in (("theme", "nothing"), ("nothing", "1"), ("mouse", "2")):
        with pytest.raises(SettingError):
            write_setting(path, name, raw)
    assert not path.exists()


def test_ours_and_all_of_textual_s_themes_are_allowed():
    from textual.app import App

    assert set(App().available_themes) | {"bruce-contrast"} == set(THEMES)


def test_config_shows_sets_and_unsets_in_the_folder_that_xdg_names(tmp_path):
    told = json.loads(bruce(tmp_path, "config", "path", "--json", XDG_CONFIG_HOME=str(tmp_path / "cfg")).stdout)
    assert told["settings"] == str(tmp_path / "cfg" / "bruce-control" / "settings.toml")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "cfg")}
    assert bruce(tmp_path, "config", "set", "theme", "nord", **environ).returncode == 0
    shown = json.loads(bruce(tmp_path, "config", "--json", **environ).stdout)
    (theme,) = [row for row in shown["settings"] if row["name"] == "theme"]
    assert (theme["value"], theme["source"], theme["default"]) == ("nord", "file", "textual-dark")
    assert bruce(tmp_path, "config", "unset", "theme", **environ).returncode == 0
    text = " ".join(bruce(tmp_path, "config", **environ).stdout.split())  # lines are broken where they are long
    for each in SETTINGS:
        assert each.name in text
        assert each.help in text
        assert f"allowed: {each.allowed}" in text


def test_config_with_a_wrong_file_shows_everything_and_exits_with_2(tmp_path):
    folder = tmp_path / "bruce-control"
    folder.mkdir()
    (folder / "settings.toml").write_text('theme = "no"\n', encoding="utf-8")
    (folder / "keymap.toml").write_text('kill = "s"\n', encoding="utf-8")
    done = bruce(tmp_path, "config", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "theme cannot be 'no'; allowed: bruce-contrast" in done.stderr
    done = bruce(tmp_path, "config", "keys", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "key s is both" in done.stderr
    done = bruce(tmp_path, "config", "set", "theme", "no", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "allowed: bruce-contrast" in done.stderr
