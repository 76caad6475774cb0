"""What a command is: one thing that a person can have done, by a key, by its name, or on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that a person can have done."""

    id: str
    key: str
    """As Textual names keys, several with commas between; others may come from a keymap."""
    title: str
    """Two or three words, for footer and palette."""
    help: str
    """A sentence."""
    view: str = ""
    """The view in which it works; empty: everywhere."""
    cli: str = ""
    """The same as a command line, where there is one."""
    footer: bool = False
    changes: bool = False
    """Whether it changes anything beyond the screen: not done where the control room only reads."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Each of its keys."""
        return tuple(self.key.split(","))

    @property
    def shown_key(self) -> str:
        """The first key as a person reads it."""
        return _SHOWN.get(self.keys[0], self.keys[0])

    @property
    def shown_keys(self) -> str:
        """All of them as a person reads them."""
        return " ".join(_SHOWN.get(key, key) for key in self.keys)


_SHOWN: Final = {
    "question_mark": "?",
    "exclamation_mark": "!",
    "slash": "/",
    "colon": ":",
    "enter": "enter",
    "escape": "esc",
    "space": "space",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "left": "←",
    "right": "→",
    "shift+left": "shift+←",
    "shift+right": "shift+→",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "up": "↑",
    "down": "↓",
    "pageup": "pgup",
    "pagedown": "pgdn",
}
