"""What the control room is doing: each action in a thread of its own, with progress, a cancel and its error.

Not Textual's workers: those share a small pool with everything else, and a program waits for them at its end. These
threads are daemons, so that quitting never waits for something that is stuck. Views look at the jobs; nobody calls back
from a thread into the screen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

KEPT: Final = 100
KEPT_LINES: Final = 200


class CancelledError(Exception):
    """The person who started the job does not want it any more."""


@dataclass(slots=True)
class Job:
    """One action. Its fields are written by its thread and read by the screen; each is replaced whole."""

    number: int
    title: str
    command: str
    """The same on a command line."""
    began_at_s: float = field(default_factory=time.time)
    ended_at_s: float | None = None
    lines: tuple[str, ...] = ()
    """What it told, oldest first."""
    progress: str = ""
    """The newest figure, replaced and not kept."""
    share: float | None = None
    """Done, from 0 to 1, where that is known."""
    error: str = ""
    result: Any = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    on_cancel: Callable[[], None] | None = None
    """Ends what it is waiting for."""

    @property
    def state(self) -> str:
        """`running`, `cancelling`, `done`, `failed` or `cancelled`."""
        if self.ended_at_s is None:
            return "cancelling" if self.cancelled.is_set() else "running"
        if self.error:
            return "failed"
        return "cancelled" if self.cancelled.is_set() else "done"

    def tell(self, sentence: str) -> None:
        """Adds a sentence. Raises CancelledError where the job was cancelled: the next step does not begin."""
        self.lines = (*self.lines, sentence)[-KEPT_LINES:]
        self.check()

    def show(self, text: str, share: float | None = None) -> None:
        """Replaces the progress. Raises as `tell`."""
        self.progress, self.share = text, share
        self.check()

    def check(self) -> None:
        """Raises CancelledError where the job was cancelled."""
        if self.cancelled.is_set() and self.on_cancel is None:
            raise CancelledError

    def cancel(self) -> None:
        """Asks it to end; returns at once."""
        self.cancelled.set()
        if self.on_cancel is not None:
            threading.Thread(target=self.on_cancel, name=f"cancel-{self.number}", daemon=True).start()


Work = Callable[[Job], Any]
Then = Callable[[Job], object]


class Jobs:
    """All jobs, newest last. Called from the screen's thread alone."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._waiting: list[tuple[Job, Then]] = []
        self._number = 0

    def start(self, title: str, command: str, work: Work, then: Then = lambda _: None) -> Job:
        """Starts `work`; `then` is called by `settle` once it ended, however it did."""
        self._number += 1
        job = Job(self._number, title, command)
        self._jobs = [*self._jobs, job][-KEPT:]
        self._waiting.append((job, then))
        threading.Thread(target=_run, args=(job, work), name=f"job-{job.number}", daemon=True).start()
        return job

    def note(self, title: str, sentence: str) -> None:
        """Something that went wrong without anybody having asked for it: told among the actions."""
        self._number += 1
        job = Job(self._number, title, "", error=sentence)
        job.ended_at_s = job.began_at_s
        self._jobs = [*self._jobs, job][-KEPT:]

    def settle(self) -> None:
        """Calls what waits for jobs that have ended since the last call."""
        ended = [(job, then) for job, then in self._waiting if job.ended_at_s is not None]
        self._waiting = [(job, then) for job, then in self._waiting if job.ended_at_s is None]
        for job, then in ended:
            then(job)

    @property
    def all(self) -> Sequence[Job]:
        """Oldest first."""
        return self._jobs

    @property
    def running(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self._jobs if job.ended_at_s is None]


def _run(job: Job, work: Work) -> None:
    """Failure policy: open. Whatever an action raises is shown with it, and the control room goes on."""
    try:
        job.result = work(job)
    except CancelledError:
        job.lines = (*job.lines, "cancelled")
    except Exception as error:  # noqa: BLE001 - shown in the activity pane, whatever it is
        known = str(error).strip()
        job.error = known if known else type(error).__name__
    finally:
        job.ended_at_s = time.time()
