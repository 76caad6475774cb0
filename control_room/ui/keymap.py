"""The keymap file: other keys for commands of the table. One that will not do is told, and changes nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from control_room.ui.commands import TABLE, Command, with_keys
from control_room.ui.settings import SettingError, config_dir, read_toml

_MODIFIERS: Final = ("ctrl+", "shift+", "alt+", "super+")


def keymap_path() -> Path:
    """The keymap file."""
    return config_dir() / "keymap.toml"


def read_keymap(path: Path) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """The table of commands with the file's keys, and what is wrong with the file.

    Failure policy: open. A file with anything wrong in it changes no key: half a keymap would surprise more than none.
    """
    try:
        return with_keys(keys_of(read_toml(path))), ()
    except SettingError as error:
        return TABLE, (str(error),)
    except ValueError as error:
        return TABLE, (f"{path.name}: {error}; no key was changed",)


def keys_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The keys of each command that `document` names, as the table has them. Raises ValueError: no key, no list."""
    found = {}
    for name, told in document.items():
        keys = [told] if isinstance(told, str) else told
        if not (isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys)):
            raise ValueError(f'{name} needs a key or a list of keys, such as {name} = ["ctrl+k", "f7"]')
        found[name] = ",".join(key_name(key) for key in keys)
    return found


def key_name(text: str) -> str:
    """The name of a key as Textual has it, of a name or of the character itself. Raises ValueError: no such key."""
    from textual.keys import KEY_NAME_REPLACEMENTS, Keys

    word = text.strip()
    modifiers = ""
    while (found := next((each for each in _MODIFIERS if word.startswith(each)), "")) and len(word) > len(found):
        modifiers, word = modifiers + found, word.removeprefix(found)
    if len(word) == 1 and word.isprintable():
        named = word if word.isalnum() else unicodedata.name(word, word).lower().replace("-", "_").replace(" ", "_")
        return modifiers + KEY_NAME_REPLACEMENTS.get(named, named)
    if word in {key.value for key in Keys} or _is_character(word):
        return modifiers + word
    raise ValueError(f"there is no key {text[:40]!r}: write a character, or a name such as enter, f7, ctrl+k, left")


def _is_character(word: str) -> bool:
    """Whether `word` is a character by its name, such as `question_mark` or `colon`."""
    from textual.keys import KEY_NAME_REPLACEMENTS

    if word in KEY_NAME_REPLACEMENTS.values():
        return True
    try:
        unicodedata.lookup(word.replace("_", " ").upper())
    except KeyError:
        return False
    return True
