"""The fault journal: chained lines, on disk before a fault is applied (docs/run-files.md, "faults.jsonl").

The state folder has one journal for everything, `faults.jsonl`; each run that is open has one of its own beside it.
Several injectors may write at once: each append takes a lock, reads the chain's end again and continues it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from control_room.chaos.errors import JournalError
from services.common.chain import ChainError, ChainWriter, read_chain

log = logging.getLogger(__name__)
JOURNAL_NAME: Final = "faults.jsonl"
MANIFEST_NAME: Final = "manifest.json"
OPEN_RUN_AGE_S: Final = 3600.0
"""A run without a manifest in whose folder nothing was written for so long was given up."""
_LOCK_WAIT_S: Final = 10.0
_LOCK_POLL_S: Final = 0.01


class FaultJournal:
    """One fault journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: dict[str, Any]) -> int:
        """Writes one line and returns once it is on disk; its number.

        A torn last line (an injector died while it wrote) is cut off first: what it announced was never applied, and
        evidence that never reached the disk must not count.

        Raises:
            JournalError: the file cannot be written, its lock is held, or its chain is broken.

        Failure policy: closed. What cannot be journalled is not applied.
        """
        with self.locked() as appending:
            return appending(record)

    @contextmanager
    def locked(self) -> Iterator[Callable[[dict[str, Any]], int]]:
        """The right to append several lines in a row, with nobody else's between them. Raises as `append`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                _lock(file, self.path)
                writer = _continue(file, self.path)
                yield lambda record: _append(file, writer, record)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be written: {error.strerror}") from error

    def records(self) -> list[dict[str, Any]]:
        """All lines so far, without a torn last one; none where there is no file yet.

        Raises:
            JournalError: the file cannot be read, or its chain is broken.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            return list(read_chain(content[: content.rfind(b"\n") + 1].splitlines(keepends=True)))
        except ChainError as error:
            raise _broken(self.path, error) from error


def _lock(file: BinaryIO, path: Path) -> None:
    """Takes the lock of the open file (not of the process: threads exclude each other too)."""
    until_s = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise JournalError(f"{path} is locked by another program for {_LOCK_WAIT_S:g} s") from None
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _continue(file: BinaryIO, path: Path) -> ChainWriter:
    """A writer for the file's next line; cuts off a torn last one."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    writer = ChainWriter()
    try:
        for record in read_chain(content[:whole].splitlines(keepends=True)):
            writer.next_n, writer.last_c = record["n"] + 1, record["c"]
    except ChainError as error:
        raise _broken(path, error) from error
    if whole < len(content):
        log.warning("torn last line cut off path=%s bytes=%d", path, len(content) - whole)
        file.truncate(whole)
    return writer


def _append(file: BinaryIO, writer: ChainWriter, record: dict[str, Any]) -> int:
    number = writer.next_n
    file.write(writer.line(record))
    file.flush()
    os.fsync(file.fileno())
    return number


def _broken(path: Path, error: ChainError) -> JournalError:
    return JournalError(f"the fault journal {path} is damaged ({error}); move it away to go on")


@dataclass(frozen=True, slots=True)
class Journals:
    """The state's journal, and those of the runs that are open: a fault goes into all of them under one number."""

    state: FaultJournal
    runs: tuple[FaultJournal, ...] = ()

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Journals:
        """The first path is the state's journal, the others are runs'; double ones count once."""
        unique = list(dict.fromkeys(path.resolve() for path in paths))
        if not unique:
            raise JournalError("a fault needs a journal: none was given")
        return cls(FaultJournal(unique[0]), tuple(FaultJournal(path) for path in unique[1:]))

    def announce(self, record: dict[str, Any]) -> int:
        """Journals an `apply` line everywhere, under the next free number, which is returned.

        Raises:
            JournalError: one of the journals cannot take it; then it must not be applied.
        """
        with self.state.locked() as append:
            used = [known["fault"] for journal in (self.state, *self.runs) for known in journal.records()]
            number = max(used, default=0) + 1
            line = {"k": "apply", "fault": number, **record}
            append({**line, "runs": [str(journal.path) for journal in self.runs]})
            for journal in self.runs:
                journal.append(line)
        return number

    def note(self, fault: int, record: dict[str, Any]) -> None:
        """Journals what became of `fault`, in the state's journal and in each run's that was told of it.

        A run that has its manifest is closed: nothing is added to it. Raises JournalError after all were tried.
        """
        line = {"k": record["k"], "fault": fault, **record}
        failures = []
        for journal in (self.state, *self._told_of(fault)):
            try:
                journal.append(line)
            except JournalError as error:
                failures.append(str(error))
        if failures:
            raise JournalError("; ".join(failures))

    def _told_of(self, fault: int) -> list[FaultJournal]:
        paths = {journal.path for journal in self.runs}
        for record in self.state.records():
            if record["k"] == "apply" and record["fault"] == fault:
                paths.update(Path(path) for path in record.get("runs", ()))
        return [journal for path in sorted(paths) if _takes_notes_on(fault, journal := FaultJournal(path))]


def _takes_notes_on(fault: int, journal: FaultJournal) -> bool:
    """Whether a run's journal was told of `fault` and is still open. A damaged one says so when it is appended to."""
    if not journal.path.exists() or (journal.path.parent / MANIFEST_NAME).exists():
        return False
    try:
        return any(record["fault"] == fault for record in journal.records())
    except JournalError:
        return True


def journal_paths(state_dir: Path, run_dirs: Sequence[Path] = ()) -> list[Path]:
    """The journals that a fault applied now belongs into: the state's, those of `run_dirs`, those of open runs.

    A run is open from its `run.json` until its `manifest.json`, as long as something was written to it within the last
    hour.
    """
    found = [state_dir / JOURNAL_NAME, *(run_dir / JOURNAL_NAME for run_dir in run_dirs)]
    for marker in sorted((state_dir / "runs").glob("*/run.json")):
        if _is_open(marker.parent):
            found.append(marker.parent / JOURNAL_NAME)
    return list(dict.fromkeys(path.resolve() for path in found))


def _is_open(run_dir: Path) -> bool:
    if (run_dir / MANIFEST_NAME).exists():
        return False
    written_at_s = max((path.stat().st_mtime for path in run_dir.iterdir() if path.is_file()), default=0.0)
    return time.time() - written_at_s < OPEN_RUN_AGE_S
