"""Records a run while it goes on: its snapshots, into the run's folder, so that it can be looked at again.

Failure policy: open. Whatever goes wrong with the record is said once, in the log, and the run goes on without it.
Costs some 1 ms of processor time a second for the record itself, and what the watch's looks cost, one a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from control_room.chaos.catalogue import CATALOGUE
from control_room.stack.runtime import NotRunningError, Runtime
from control_room.tracking.record import RecordError, RecordWriter
from control_room.tracking.record.form import KEPT_PARTS
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.watch import Watch
from control_room.verify.files import MANIFEST, TRACKING

log = logging.getLogger(__name__)
EVERY_S: Final = 1.0
"""Between two snapshots of the record."""
_END_WAIT_S: Final = 2.0
"""How long the end of a run waits for a line that is being written."""


class Recording:
    """Records from `with` to `close`, in a thread of its own: the run never waits for it, but for the end of a line."""

    def __init__(
        self, runtime: Runtime, state_dir: Path, run_dir: Path, snapshots: Callable[[], Snapshot] | None = None
    ) -> None:
        """`snapshots`: where they come from; a watch of its own where not given."""
        self._runtime = runtime
        self._state_dir = state_dir
        self._run_dir = run_dir
        self._snapshots = snapshots
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)

    def __enter__(self) -> Recording:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Ends it."""
        self.close()

    def close(self) -> None:
        """Ends it; nothing is written any more when this returns. To be called before the run's files are sealed."""
        self._stop.set()
        if self._writing.acquire(timeout=_END_WAIT_S):  # a disk that hangs holds up no run
            self._writing.release()

    def _run(self) -> None:
        """Failure policy: open, see above."""
        try:
            if self._snapshots is not None:
                self._record(self._snapshots)
                return
            watch = Watch(
                self._runtime,
                self._state_dir,
                parts=KEPT_PARTS,
                lasting=lambda name: name not in CATALOGUE or CATALOGUE[name].lasting,
                least_every_s=EVERY_S,
                run_dir=self._run_dir,
            )
            watch.start()
            try:
                self._record(watch.snapshot)
            finally:
                watch.stop()
        except Exception as error:  # noqa: BLE001 - a run must not fail for its record
            sentence = error if isinstance(error, RecordError) else f"{type(error).__name__}: {error}"
            log.warning("the run goes on without its tracking record: %s", sentence)

    def _record(self, snapshots: Callable[[], Snapshot]) -> None:
        writer = RecordWriter(self._run_dir / TRACKING, stop=self._stop.is_set)
        try:
            while not self._stop.wait(EVERY_S):
                snapshot = snapshots()
                with self._writing:
                    # What is sealed is not touched: its record would no longer be what the manifest says.
                    sealed = (self._run_dir / MANIFEST).exists()
                    if snapshot.number and not sealed and not self._stop.is_set():
                        writer.take(snapshot)
        finally:
            writer.close()


def recorded(runtime: Runtime, state_dir: Path, run_dir: Path) -> AbstractContextManager[object]:
    """A Recording; nothing where no stack is up here to be looked at."""
    try:
        runtime.endpoints()
    except NotRunningError:
        return nullcontext()
    return Recording(runtime, state_dir, run_dir)
