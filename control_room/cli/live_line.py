"""One line on stderr that is always the newest: redrawn on a terminal, said now and then where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SAY_EVERY_S: Final = 5.0
BAR_WIDTH: Final = 24


class LiveLine:
    """`show` replaces the line, `say` prints a sentence above it. Use as a context manager; any thread may call."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._said = ""
        self._next_s = 0.0

    def __enter__(self) -> LiveLine:
        """Itself, started."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Takes the line away."""
        if self._console.is_terminal:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Prints a sentence."""
        self._console.print(Text(sentence))

    def show(self, text: str, done: float | None = None) -> None:
        """Replaces the line; `done` from 0 to 1 puts a bar before it."""
        if self._console.is_terminal:
            self._live.update(_drawn(text, done), refresh=True)
            return
        now_s = time.monotonic()
        if now_s >= self._next_s and text != self._said:
            self._next_s, self._said = now_s + SAY_EVERY_S, text
            self._console.print(Text(text))


def _drawn(text: str, done: float | None) -> RenderableType:
    words = Text(text, overflow="fold")
    if done is None:
        return words
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=1.0, completed=min(1.0, max(0.0, done)), width=BAR_WIDTH), words)
    return line
