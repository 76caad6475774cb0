"""The themes of the control room: Textual's own, and one of ours for bad light and bad eyes."""

from __future__ import annotations

from typing import Final

from textual.theme import BUILTIN_THEMES, Theme

CONTRAST: Final = Theme(
    name="bruce-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    accent="#00ffff",
    warning="#ffff00",
    error="#ff6060",
    success="#00ff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#101010",
    dark=True,
)
"""White, yellow and cyan on black."""
THEMES: Final = (CONTRAST.name, *sorted(BUILTIN_THEMES))
"""The names of all, ours first."""
