"""What processes cost: CPU-seconds of whole trees, those that ended meanwhile included, and of the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_STOLEN: Final = 7
"""The place of stolen time in a line of /proc/stat."""
_BUSY_FIELDS: Final = 8
_IDLE: Final = (3, 4)
_LOOK_S: Final = 2.0


def tree_cpu_s(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU-seconds of each root's tree so far, its own children that it has waited for included; by the same names."""
    seen = {
        int(entry.name): stat for entry in os.scandir("/proc") if entry.name.isdigit() and (stat := _stat(entry.path))
    }
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in seen.items():
        children.setdefault(parent, []).append(pid)
    found = {}
    for name, root in roots.items():
        total, left = 0, [root]
        while left:
            pid = left.pop()
            total += seen[pid][1] if pid in seen else 0
            left += children.get(pid, [])
        found[name] = total / _TICK
    return found


def tree_memory_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """The resident memory of each root process itself, by the same names; 0 where it is gone."""
    return {name: _resident_bytes(pid) for name, pid in roots.items()}


def _stat(folder: str) -> tuple[int, int] | None:
    """The parent, and the ticks of a process and of the children it waited for."""
    try:
        text = Path(folder, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), sum(map(int, fields[11:15]))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def machine_cpu_s() -> tuple[float, float]:
    """Busy and stolen CPU-seconds of the machine since it started."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        ticks = [int(text) for text in file.readline().split()[1:]]
    busy = sum(ticks[:_BUSY_FIELDS]) - sum(ticks[place] for place in _IDLE)
    return busy / _TICK, ticks[_STOLEN] / _TICK


def settle(limit_s: float, share: float = 0.25) -> float:
    """Waits until less than `share` of one core is busy, `limit_s` at most; the share that was busy last.

    On a machine that others use it says how much they took, and what that makes of the figures.
    """
    until_s = time.monotonic() + limit_s
    while True:
        before_s = machine_cpu_s()[0]
        time.sleep(_LOOK_S)  # the window over which the use of the processor is told
        used = (machine_cpu_s()[0] - before_s) / _LOOK_S
        if used < share or time.monotonic() > until_s:
            return round(used, 2)
