"""What `up` runs to its end on the way: initdb, the format of the brokers, the run that makes the class cache.

Each is noted on disk like a member, so that an `up` that is killed in the middle of one leaves nothing that the next
`up` or `down` would not find: it would write into the same folders, or live on unseen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from control_room.stack.local import launch, processes
from control_room.stack.local.layout import Layout, write_json
from control_room.stack.runtime import StackError

_MARK: Final = "errand-"
_GONE_S: Final = 5.0


@contextmanager
def running(
    run_dir: Path, name: str, argv: Sequence[str], *, env: Mapping[str, str], output: Path, **extra: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """The errand's process, printing into `output`; killed with all its children where the block leaves it running.

    Args:
        run_dir: where it is noted while it runs.
        name: what it is called among the errands of the stack.
        argv: its command.
        env: its whole environment.
        output: what it prints.
        extra: `uid` and `gid`, to run it as somebody else.
    """
    spec, note = run_dir / f"{_MARK}{name}.spec.json", run_dir / f"{_MARK}{name}.pid.json"
    write_json(spec, {"argv": list(argv), "env": dict(env), "cwd": "/", "record": str(note), **extra})
    with output.open("wb") as log:
        command = [sys.executable, "-I", "-S", launch.__file__, str(spec)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        _end(note)
        process.kill()
        process.wait()
        spec.unlink(missing_ok=True)


def run(
    run_dir: Path, name: str, argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float, **extra: Any
) -> tuple[int, list[str]]:
    """Runs an errand to its end: its exit status and the lines it printed.

    Raises:
        StackError: it took longer than `timeout_s`, and was killed.
    """
    output = run_dir / f"{_MARK}{name}.out"
    try:
        with running(run_dir, name, argv, env=env, output=output, **extra) as process:
            status = process.wait(timeout_s)
        return status, output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except subprocess.TimeoutExpired:
        raise StackError(f"{Path(argv[0]).name} ({name}) was not done after {timeout_s:.0f} s") from None
    finally:
        output.unlink(missing_ok=True)


def end_all(layout: Layout) -> list[str]:
    """Ends the errands that a killed `up` has left running; their names. Call it with the stack's lock held."""
    notes = sorted(layout.run_dir.glob(f"{_MARK}*.pid.json"))
    ended = [note.name.removeprefix(_MARK).removesuffix(".pid.json") for note in notes if _end(note)]
    for left in layout.run_dir.glob(f"{_MARK}*"):
        left.unlink(missing_ok=True)
    return ended


def _end(note: Path) -> bool:
    """Kills what is noted, with its children; whether there was anything to kill."""
    found = processes.read_note(note)
    root = found.process() if found else None
    everyone = processes.tree(root) if root else []
    processes.kill_all(everyone)
    processes.wait_gone(everyone, _GONE_S)
    note.unlink(missing_ok=True)
    return bool(everyone)
