"""What one command costs: time, processor time, and the most memory that it ever held."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

_LOOK_S: Final = 0.02
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command that has ended."""

    exit_code: int
    took_s: float
    cpu_s: float
    """User and system time."""
    peak_mib: float
    said: str
    """What it wrote to stdout."""


def bruce_control(*arguments: str) -> list[str]:
    """The command line of one verb, by this Python."""
    return [sys.executable, "-m", "control_room.cli", *arguments]


def cost_of(command: Sequence[str], environ: Mapping[str, str]) -> Cost:
    """Runs `command` to its end.

    The peak is the kernel's own high-water mark, read until the end: what wait4 tells counts the memory of the process
    that it was forked from.
    """
    began_s, peak_kb = time.monotonic(), 0
    with subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        output = cast("IO[bytes]", process.stdout)  # a pipe was asked for
        os.set_blocking(output.fileno(), False)
        parts = []
        while True:
            peak_kb = max(peak_kb, _peak_kb(process.pid))
            parts.append(output.read() or b"")
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(_LOOK_S)  # the high-water mark cannot be waited for
        took_s = time.monotonic() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        parts.append(output.read() or b"")
    said = b"".join(parts).decode(errors="replace")
    cpu_s = used.ru_utime + used.ru_stime
    return Cost(process.returncode, round(took_s, 2), round(cpu_s, 2), round(peak_kb / 1024, 1), said)


def _peak_kb(pid: int) -> int:
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return 0
    return int(found[1]) if found else 0
