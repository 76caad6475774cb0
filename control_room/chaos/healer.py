"""A fault for a time whose injector may go first: a process of its own heals it when the time is over.

`for_a_time` starts the process, and gives what the journal is to say of the faults; whoever applies them may end, or
die, between any two steps. The process needs no word of what was applied: what it heals are the open faults of the
state's journal that name it as their injector. Should it die itself, the next command heals them (see `overdue`).

Run as `python -m control_room.chaos.healer RUNTIME STATE UNTIL`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from control_room.chaos.errors import FaultError
from control_room.chaos.injection import HealRecord, heal
from control_room.chaos.journal import JOURNAL_NAME, journal_paths
from control_room.chaos.observe import START_TOLERANCE_S
from control_room.chaos.open_faults import OpenFault, open_faults
from control_room.chaos.overdue import injector
from control_room.stack.runtime import Runtime, StackError
from control_room.stack.select import open_runtime

LOOK_S: Final = 0.5
"""How often the process looks whether somebody healed its faults already: then it has nothing to wait for."""


@contextmanager
def for_a_time(runtime_name: str, state_dir: Path, for_s: float) -> Iterator[Mapping[str, Any]]:
    """Starts the process that heals after `for_s`; gives what `apply_faults` takes as `meant`.

    Where the block raises before anything was journalled, the process is ended again.

    Raises:
        FaultError: the process cannot be started.
    """
    until_s = time.time() + for_s
    argv = [sys.executable, "-m", "control_room.chaos.healer", runtime_name, str(state_dir), repr(until_s)]
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # closing the terminal must not keep a fault from being healed
        )
        who = {"pid": process.pid, "started_at": psutil.Process(process.pid).create_time()}
    except (OSError, psutil.Error) as error:
        raise FaultError(f"the process that would heal it after {for_s:g} s cannot be started: {error}") from error
    try:
        yield {"until": until_s, "injector": who}
    except BaseException:
        if not _own(state_dir, who):
            process.kill()
        raise
    finally:
        process.poll()


def heal_own(runtime: Runtime, state_dir: Path, who: Mapping[str, Any], until_s: float) -> list[HealRecord]:
    """Waits until `until_s` (Unix) and heals the open faults whose injector is `who`.

    Ends early once they were there and are all closed: somebody else healed them.

    Raises:
        FaultError: the journal cannot be trusted, or somebody else heals them at this moment.
        StackError: they cannot be healed, or there is no stack any more.
    """
    seen = False
    while time.time() < until_s:
        own = bool(_own(state_dir, who))
        if seen and not own:
            return []
        seen = seen or own
        # A process of its own that only waits; by the wall clock, for that is what the journal's moment is told in.
        time.sleep(min(LOOK_S, max(0.0, until_s - time.time())))
    numbers = {fault.number for fault in _own(state_dir, who)}
    return heal(runtime, journal_paths(state_dir), numbers=numbers) if numbers else []


def _own(state_dir: Path, who: Mapping[str, Any]) -> list[OpenFault]:
    return [fault for fault in open_faults(state_dir / JOURNAL_NAME) if _is(fault.injector, who)]


def _is(injector: Mapping[str, Any] | None, who: Mapping[str, Any]) -> bool:
    if injector is None or injector["pid"] != who["pid"]:
        return False
    # Each process reckons its start from the boot time as it knows it: not to the last digit the same.
    return bool(abs(injector["started_at"] - who["started_at"]) <= START_TOLERANCE_S)


def main(argv: Sequence[str]) -> int:
    """The process.

    Failure policy: closed. What it cannot heal stays open in the journal, overdue, and the next command tries again.
    """
    name, state, until = argv
    try:
        heal_own(open_runtime(name, Path(state)), Path(state), injector(), float(until))
    except (FaultError, StackError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
