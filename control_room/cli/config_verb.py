"""`config`: the control room's settings and keys."""

from __future__ import annotations

import os
import textwrap
from typing import Any, Final

import click

from control_room import exit_codes
from control_room.cli.context import Stop, json_option, print_json

_WIDTH: Final = 80


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def config(ctx: click.Context, as_json: bool) -> int:
    """The control room's settings: each with its value, where that comes from, and what is allowed.

    An environment variable BRUCE_CONTROL_<NAME> wins over the file, the file over the default. The services' settings
    are others: docs/settings.md.
    """
    if ctx.invoked_subcommand is not None:
        return exit_codes.FINE
    from control_room.ui.settings import SETTINGS, read_settings, settings_path, shown

    found = read_settings(settings_path(), os.environ)
    rows: list[dict[str, Any]] = [
        {
            "name": each.name,
            "value": getattr(found, each.name),
            "source": found.sources[each.name],
            "default": each.default,
            "allowed": each.allowed,
            "variable": each.variable,
            "help": each.help,
        }
        for each in SETTINGS
    ]
    if as_json:
        print_json({"path": str(settings_path()), "settings": rows, "problems": found.problems})
    else:
        for row in rows:
            click.echo(f"{row['name']:<12} {shown(row['value']):<16} {row['source']}")
            for text in (row["help"], f"allowed: {row['allowed']}"):
                click.echo(_wrapped(text))
            click.echo()
    return _told(found.problems)


def _wrapped(text: str) -> str:
    indent = " " * 13
    # A value such as solarized-dark stays whole: it is there to be copied.
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _told(problems: tuple[str, ...]) -> int:
    for sentence in problems:
        click.echo(f"bruce-control: {sentence}", err=True)
    return exit_codes.USAGE if problems else exit_codes.FINE


@config.command()
@json_option
def path(as_json: bool) -> None:
    """Where the files are: the settings, then the keymap. Neither needs to exist."""
    from control_room.ui.keymap import keymap_path
    from control_room.ui.settings import settings_path

    if as_json:
        print_json({"settings": str(settings_path()), "keymap": str(keymap_path())})
    else:
        click.echo(f"{settings_path()}\n{keymap_path()}")


@config.command()
@json_option
def keys(as_json: bool) -> int:
    """The commands with their keys, as the keymap file makes them.

    A line of that file is `command = "key"`, or `command = ["key", "key"]`: kill = "ctrl+k".
    """
    from control_room.ui.commands import TABLE
    from control_room.ui.keymap import keymap_path, read_keymap

    table, problems = read_keymap(keymap_path())
    if as_json:
        rows = [
            {"command": each.id, "view": each.view, "keys": each.keys, "default": plain.keys, "help": each.help}
            for each, plain in zip(table, TABLE, strict=True)
        ]
        print_json({"path": str(keymap_path()), "commands": rows, "problems": problems})
    else:
        for each, plain in zip(table, TABLE, strict=True):
            source = "default" if each.key == plain.key else "file"
            click.echo(f"{each.id:<17} {each.shown_keys:<10} {source:<8} {each.view or 'everywhere':<13} {each.help}")
    return _told(problems)


@config.command(name="set")
@click.argument("name")
@click.argument("value")
def set_(name: str, value: str) -> None:
    """Write one setting into the file; what else stands there stays."""
    _write(name, value)


@config.command()
@click.argument("name")
def unset(name: str) -> None:
    """Take one setting out of the file: its default holds again."""
    _write(name, None)


def _write(name: str, raw: str | None) -> None:
    from control_room.ui.settings import SettingError, setting_named, settings_path, shown, write_setting

    try:
        value = write_setting(settings_path(), name, raw)
        setting = setting_named(name)
    except SettingError as error:
        raise Stop(str(error), exit_codes.USAGE) from error
    click.echo(f"{setting.name} is {shown(value)} from the next start on", err=True)
    if os.environ.get(setting.variable):
        click.echo(f"but {setting.variable} is set in the environment, and wins", err=True)
