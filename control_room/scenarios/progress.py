"""How far a scenario is, step by step: told by its runner, kept for whoever draws it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

CLOSING: Final = "send the rest, heal, drain, give the verdict"
"""What comes after the last step, in the words of one."""


class StepState(StrEnum):
    """How a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A step before it failed."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step began or ended."""

    number: int
    """From 0; the one after the last step is the closing."""
    state: StepState
    at_s: float
    """Unix time."""
    why: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step as it stands."""

    number: int
    words: str
    state: StepState = StepState.PENDING
    began_at_s: float | None = None
    ended_at_s: float | None = None
    why: str = ""


class StepBoard:
    """All steps of one scenario. `note` is called by the runner's thread; `rows` is replaced, never changed."""

    def __init__(self, name: str, steps: Sequence[str]) -> None:
        """`steps`: in words, without the closing."""
        self.name = name
        self.rows: tuple[StepRow, ...] = tuple(StepRow(*each) for each in enumerate([*steps, CLOSING]))

    def note(self, event: StepEvent) -> None:
        """Takes over what happened."""
        self.rows = tuple(self._after(row, event) for row in self.rows)

    def end(self, why: str) -> None:
        """The runner is gone, with `why` where that was an error: what was running has failed, the rest is skipped."""
        now_s = time.time()
        for row in self.rows:
            if row.state is StepState.RUNNING:
                self.note(StepEvent(row.number, StepState.FAILED, now_s, why))
        self.rows = tuple(
            replace(row, state=StepState.SKIPPED) if row.state is StepState.PENDING else row for row in self.rows
        )

    def _after(self, row: StepRow, event: StepEvent) -> StepRow:
        closing = len(self.rows) - 1
        if row.number != event.number:
            passed_over = event.state is StepState.FAILED and event.number < row.number < closing
            return replace(row, state=StepState.SKIPPED) if passed_over else row
        if event.state is StepState.RUNNING:
            return replace(row, state=event.state, began_at_s=event.at_s)
        return replace(row, state=event.state, ended_at_s=event.at_s, why=event.why)
