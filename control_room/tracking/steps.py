"""How far a scenario is, step by step: told by its runner, kept for whoever draws it.

The runner writes it down in the run's folder too, so that a scenario is seen from another terminal, and when its run is
looked at again. No evidence: the verdict's own step ends after the manifest is made.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from control_room.tracking.documents import document_of
from control_room.verify.files import RUN, STEPS

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


@dataclass(frozen=True, slots=True)
class Steps:
    """All steps of a scenario at one moment."""

    name: str
    rows: tuple[StepRow, ...]

    @property
    def going_on(self) -> bool:
        """Whether one of them runs."""
        return any(row.state is StepState.RUNNING for row in self.rows)


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


def log_step(run_dir: Path, event: StepEvent) -> None:
    """Writes the event into the run's folder, as a line.

    Failure policy: open. It is no evidence: a disk that is full must not end a run that can still be judged.
    """
    with contextlib.suppress(OSError), (run_dir / STEPS).open("ab") as file:
        file.write(orjson.dumps(asdict(event)) + b"\n")


class StepsReader:
    """Reads the steps of runs; a file that has not grown is not read again."""

    def __init__(self) -> None:
        self._known: tuple[Path, int, Steps | None] | None = None

    def read(self, run_dir: Path) -> Steps | None:
        """As `read_steps`, the same object again while nothing has happened."""
        size = _size(run_dir / STEPS)
        if self._known is None or self._known[:2] != (run_dir, size):
            self._known = run_dir, size, read_steps(run_dir) if size else None
        return self._known[2]


def read_steps(run_dir: Path, until_s: float = float("inf")) -> Steps | None:
    """How the steps of a run stood at `until_s` (Unix); None where it was no scenario, or nobody wrote them down.

    Failure policy: open. A line that cannot be read tells nothing.
    """
    run = document_of(run_dir / RUN)
    words = run.get("steps")
    if not isinstance(words, list) or not _size(run_dir / STEPS):
        return None
    board = StepBoard(str(run.get("scenario", "?")), [str(each) for each in words])
    for line in (run_dir / STEPS).read_bytes().splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = orjson.loads(line)
            event = StepEvent(int(told["number"]), StepState(told["state"]), float(told["at_s"]), str(told["why"]))
            if event.at_s <= until_s:
                board.note(event)
    return Steps(board.name, board.rows)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
