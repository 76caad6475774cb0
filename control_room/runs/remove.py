"""Deleting a run: never one that something still writes to, and never half of one that others could take for whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from control_room.verify.files import OPERATIONS, RUN, VERDICT

QUIET_S: Final = 10.0
"""A run without a verdict that was written to within this time is being judged: every look of a drain is written."""


class RemoveError(Exception):
    """The run cannot be deleted. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Size:
    """What lies in a run's folder."""

    files: int
    size_bytes: int
    judged: bool
    """Whether it has a verdict; without one nothing can be proven about it later."""

    def __str__(self) -> str:
        """`14 files, 3.2 MiB`."""
        return f"{self.files} file{'s' * (self.files != 1)}, {self.size_bytes / 2**20:,.1f} MiB"


def size_of(run_dir: Path) -> Size:
    """How much would be lost. A file that goes meanwhile counts nothing."""
    sizes = [_bytes(path) for path in run_dir.rglob("*") if path.is_file()]
    return Size(len(sizes), sum(sizes), (run_dir / VERDICT).exists())


def remove_run(runs_dir: Path, run_dir: Path) -> Size:
    """Deletes the folder of a run of `runs_dir`, and tells how much that was.

    Its `run.json` goes first: from then on nobody takes the rest for a run.

    Raises:
        RemoveError: it is no run of that folder, it is still running, or it cannot be deleted.
    """
    if run_dir.is_symlink() or run_dir.resolve().parent != runs_dir.resolve() or not (run_dir / RUN).is_file():
        raise RemoveError(f"{run_dir} is no run in {runs_dir}; only those are deleted")
    if why := _in_use(run_dir):
        raise RemoveError(f"run {run_dir.name} is still running: {why}")
    size = size_of(run_dir)
    try:
        (run_dir / RUN).unlink()
        shutil.rmtree(run_dir)
    except OSError as error:
        raise RemoveError(
            f"run {run_dir.name} could not be deleted whole: {error.filename}: {error.strerror}"
        ) from error
    return size


def _in_use(run_dir: Path) -> str:
    if _is_locked(run_dir / OPERATIONS):
        return "its payments are being sent; end the replay first"
    newest_s = max((path.stat().st_mtime for path in run_dir.iterdir() if path.is_file()), default=0.0)
    if not (run_dir / VERDICT).exists() and time.time() - newest_s < QUIET_S:
        return f"something was written to it within the last {QUIET_S:g} s; wait until it is judged"
    return ""


def _is_locked(log: Path) -> bool:
    """Whoever sends holds a lock on the operation log; it goes with the process."""
    try:
        descriptor = os.open(log, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
