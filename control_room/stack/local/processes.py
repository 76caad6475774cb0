"""Processes that are ours: known by pid *and* start mark, so that one that got a pid later is never signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import psutil

from control_room.stack.local.layout import read_json

_STOP_ROUNDS: Final = 5
"""How often a tree is walked again for children that were born while it was being stopped."""
MEMORY_EVERY_S: Final = 15.0
"""How old a figure of memory may be that is asked for again and again."""
MEMORY_SAME_S: Final = 120.0
"""How old it may be where as much of the process is resident as was then."""
SAME_BYTES: Final = 1 << 20
SAME_PART: Final = 20
"""What counts as much: so many bytes more or less, or that part of it, whichever is more."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A process as `launch` noted it on disk."""

    pid: int
    mark: str

    def process(self) -> psutil.Process | None:
        """The living process that was noted, or None: gone, a zombie, or the pid is another's now."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE or not _same(process, self.mark):
                return None
        except psutil.Error:
            return None
        return process


def read_note(path: Path) -> Noted | None:
    """What `launch` noted in `path`, or None where there is no readable note."""
    found = read_json(path)
    if found is None or not isinstance(found.get("pid"), int) or not isinstance(found.get("mark"), str):
        return None
    return Noted(found["pid"], found["mark"])


def _same(process: psutil.Process, mark: str) -> bool:
    if mark.startswith("time:"):
        return abs(process.create_time() - float(mark[5:])) < 2.0
    return start_mark(process.pid) == mark


def start_mark(pid: int) -> str | None:
    """The mark of a running process as `launch.start_mark` makes it, where the kernel shows it."""
    try:
        return f"{_boot_id()}:{_stat_of(pid)[19].decode()}"
    except OSError:
        return None


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat_of(pid: int) -> list[bytes]:
    """What the kernel tells of a process in one line, from its state on. Raises OSError: gone, or no /proc here."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - of hundreds, four times as quick
        return file.read(4096).rpartition(b")")[2].split()


def tree(root: psutil.Process) -> list[psutil.Process]:
    """The process, its descendants, and what else is in its process group (orphans of it); the root first."""
    found = {root.pid: root}
    with contextlib.suppress(psutil.Error):
        for child in root.children(recursive=True):
            found[child.pid] = child
    for other in group(root.pid):
        found.setdefault(other.pid, other)
    return list(found.values())


def group(pgid: int) -> list[psutil.Process]:
    """The living processes of process group `pgid`."""
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == pgid:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
    return members


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Sends a signal to each; one that is gone meanwhile is no error (psutil checks the start time itself)."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def freeze_tree(root: psutil.Process) -> list[psutil.Process]:
    """SIGSTOP to the whole tree, walked until no new child turns up; every process that was stopped."""
    stopped: dict[int, psutil.Process] = {}
    for _ in range(_STOP_ROUNDS):
        fresh = [process for process in tree(root) if process.pid not in stopped]
        if not fresh:
            break
        send(fresh, signal.SIGSTOP)
        stopped.update((process.pid, process) for process in fresh)
    return list(stopped.values())


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each, the last first: a parent sees no child's death that it could answer with a new one."""
    send(reversed(list(processes)), signal.SIGKILL)


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Waits until they have ended; those that are still there after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while True:
        left = [process for process in left if not is_gone(process)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended (a zombie has: only its parent's look is missing)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_frozen(process: psutil.Process) -> bool:
    """Whether the process is held by SIGSTOP."""
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used and holds."""

    cpu_s: float
    memory_bytes: int


class Families:
    """Who descends from whom and who is in which group, read once: looking at eleven trees reads /proc once."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._groups: dict[int, list[int]] = {}
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                parent, group = _kin(pid)
                self._children.setdefault(parent, []).append(pid)
                self._groups.setdefault(group, []).append(pid)

    def tree(self, root: psutil.Process) -> list[psutil.Process]:
        """As `tree`, at the moment of the reading."""
        pids = [root.pid, *self._groups.get(root.pid, ())]
        for pid in pids:
            pids.extend(self._children.get(pid, ()))
        found = [root]
        for pid in dict.fromkeys(pids):
            with contextlib.suppress(psutil.Error):
                found += [psutil.Process(pid)] if pid != root.pid else []
        return found


def _kin(pid: int) -> tuple[int, int]:
    """Parent and group. Of every process of the machine: psutil's way takes ten times as long."""
    try:
        fields = _stat_of(pid)
    except FileNotFoundError:  # gone, or a system without /proc
        return psutil.Process(pid).ppid(), os.getpgid(pid)
    return int(fields[1]), int(fields[2])


@dataclass(frozen=True, slots=True)
class _Remembered:
    """The memory of a process when it was asked."""

    at_s: float
    told: int
    resident: int

    def holds(self, now_s: float, process: psutil.Process) -> bool:
        """Whether it need not be asked again."""
        age_s = now_s - self.at_s
        if age_s < MEMORY_EVERY_S:
            return True
        other_bytes = abs(process.memory_info().rss - self.resident)
        return age_s < MEMORY_SAME_S and other_bytes < max(SAME_BYTES, self.resident // SAME_PART)


class Memories:
    """The memory of processes, each asked again where it may be another. Threads may share it: at worst two ask.

    For the proportional set size the kernel walks through all pages of a process, and holds up whatever it wants to map
    meanwhile: ten milliseconds for a broker. How much is resident it tells at once.
    """

    def __init__(self) -> None:
        self._known: dict[psutil.Process, _Remembered] = {}

    def of(self, process: psutil.Process) -> int:
        """In bytes. Raises psutil.Error where the process is gone."""
        now_s = time.monotonic()
        known = self._known.get(process)
        if known is None or not known.holds(now_s, process):
            still = [(each, told) for each, told in list(self._known.items()) if now_s - told.at_s < 2 * MEMORY_SAME_S]
            known = _Remembered(now_s, memory(process), process.memory_info().rss)
            self._known = {**dict(still), process: known}
        return known.told


def usage(root: psutil.Process, families: Families | None = None, memories: Memories | None = None) -> Usage:
    """CPU-seconds and memory of the tree. Processes that end meanwhile are left out.

    `families`: where several trees are looked at in one moment; `memories`: where they are looked at again and again.
    """
    cpu_s, memory_bytes = 0.0, 0
    for process in (families or Families()).tree(root):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_s += times.user + times.system
            memory_bytes += memories.of(process) if memories is not None else memory(process)
    return Usage(cpu_s, memory_bytes)


def memory(process: psutil.Process) -> int:
    """Proportional set size in bytes where the kernel tells it, else resident size."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return int(process.memory_info().rss)
