"""What is searched for in the logs: words, or a regular expression that cannot hang the screen.

Expressions are those of the library `regex`, which are Python's and more: unlike Python's own it can be given a time,
and a person's expression over other people's text may take for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

LEVELS: Final = ("all", "info", "warning", "error")
"""From which level on lines are shown."""
LINE_S: Final = 0.05
"""What one line may take."""


class TooSlowError(Exception):
    """The expression takes too long on a line. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for. Made by `search_for`; the empty one finds nothing."""

    text: str = ""
    is_pattern: bool = False
    _compiled: Any = field(default=None, compare=False, repr=False)

    def __bool__(self) -> bool:
        """Whether there is anything to search for."""
        return bool(self.text)

    def __str__(self) -> str:
        """As it stands in a title: `/words`, or `/expression/`."""
        return f"/{self.text}/" if self.is_pattern else f"/{self.text}"

    def finds(self, line: str) -> bool:
        """Whether it is in the line, capital letters or not. Raises TooSlowError."""
        if self._compiled is None:
            return bool(self.text) and self.text.lower() in line.lower()
        try:
            return self._compiled.search(line, timeout=LINE_S) is not None
        except TimeoutError:
            raise TooSlowError(
                f"{self} takes too long on a line: write it without repetitions in repetitions"
            ) from None


def search_for(text: str, *, is_pattern: bool) -> Search:
    """A search. Raises ValueError with a sentence where `text` is no regular expression and should be one."""
    if not is_pattern or not text:
        return Search(text, is_pattern)
    import regex  # only when it is used

    try:
        return Search(text, is_pattern, regex.compile(text, regex.IGNORECASE))
    except regex.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
