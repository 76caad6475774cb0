"""What watching takes from the pipeline, measured within one run of the closed loop.

The control room watches for a while and is held still (SIGSTOP) for a while, in fours of windows: with, without,
without, with. A machine that is quicker in one minute than in the next differs by more than is looked for; within half
a minute it differs less, and by the order its drift cancels.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import psutil

from control_room.verify.files import LEDGER
from scripts.bench_ui.measures import Say
from scripts.bench_ui.terminal import Terminal

_BEGINS_S: Final = 10.0
"""Until the bench is at its pace."""
_ORDER: Final = (True, False, False, True)
_COUNTED_S: Final = 8.0
"""Of each window."""
_SETTLES_S: Final = 2.0
"""What is left out before that."""
_CATCHES_UP_S: Final = 10.0
"""The same, where the room goes on after it was held still: what was missed is read then, looks being up to 3 s apart,
and that is not what watching costs."""
_FEWEST: Final = 4


@dataclass(frozen=True, slots=True)
class Window:
    """What counts of one window."""

    watched: bool
    begin_s: float
    end_s: float
    """Unix time."""
    busy_s: float
    """Processor time of the whole machine, without what it waited for."""
    room_s: float
    """Of that, the control room's."""
    deliveries: int = 0

    @property
    def per_s(self) -> float:
        """Deliveries a second."""
        return self.deliveries / (self.end_s - self.begin_s)

    @property
    def per_busy_s(self) -> float:
        """Deliveries a second of processor time: says less of the disk and of who else is on the machine."""
        return self.deliveries / self.busy_s


def taken(terminal: Terminal, bench: Sequence[str], runs: Path, say: Say) -> tuple[float, str]:
    """What part of the deliveries a second is missing while the room in `terminal` watches, and how that was measured.

    Args:
        terminal: where the room is open on the stack.
        bench: the command that loads it, for some minutes.
        runs: the folder in which that leaves its run.
        say: told of each window.
    """
    before = set(runs.iterdir()) if runs.exists() else set()
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(bench, stdout=subprocess.DEVNULL, stderr=said) as load:
            try:
                windows = _windows(terminal, load, say)
            except BaseException:
                load.terminate()  # else leaving would wait for the rest of it
                raise
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    if load.returncode:
        raise SystemExit(f"{' '.join(bench)} failed: {words[-500:]}")
    fours = fours_of(windows, _deliveries(max(set(runs.iterdir()) - before) / LEDGER))
    if len(fours) < _FEWEST:
        raise SystemExit(f"{len(fours)} fours of windows are too few; at least {_FEWEST} are needed")
    by_rate = [[each.per_s for each in four] for four in fours]
    say(f"of each four, in per cent: {', '.join(f'{100 * each:.1f}' for each in losses(by_rate))}")
    share, error = lost(by_rate)
    cpu_share, cpu_error = lost([[each.per_busy_s for each in four] for four in fours])
    watched = [each for four in fours for each in four if each.watched]
    still = [each for four in fours for each in four if not each.watched]
    used = sum(each.room_s for each in watched) / sum(each.end_s - each.begin_s for each in watched)
    beside, alone = (statistics.mean(each.per_s for each in these) for these in (watched, still))
    note = f"{alone:.0f}/s held still, {beside:.0f}/s watched, standard error {100 * error:.1f} %; by the processor "
    note += f"time of a delivery {100 * cpu_share:.1f} %, standard error {100 * cpu_error:.1f} %; the room itself uses "
    note += f"{used:.1%} of a core; {len(fours)} fours of windows of {_COUNTED_S:.0f} s"
    say(f"taken: {note}")
    return share, note


def _windows(terminal: Terminal, load: subprocess.Popen[bytes], say: Say) -> list[Window]:
    """Holds the control room still and lets it go on by turns, until the load ends."""
    found: list[Window] = []
    time.sleep(_BEGINS_S)  # a length of time, as the windows are: nothing is waited for
    try:
        while load.poll() is None:
            watched = _ORDER[len(found) % len(_ORDER)]
            (terminal.process.resume if watched else terminal.process.suspend)()
            missed = watched and bool(found) and not found[-1].watched
            # Lengths of time by which the measurement is defined, no condition: first what is left out, for nothing
            # tells that the pipeline has settled, then what counts.
            time.sleep(_CATCHES_UP_S if missed else _SETTLES_S)
            begin_s, busy_s, room_s = time.time(), _busy_s(), terminal.cpu_s()
            time.sleep(_COUNTED_S)
            found.append(Window(watched, begin_s, time.time(), _busy_s() - busy_s, terminal.cpu_s() - room_s))
            used = found[-1].room_s / (found[-1].end_s - begin_s)
            say(f"{'watched' if watched else 'held still'}: the room uses {used:.1%} of a core")
    finally:
        terminal.process.resume()
    return found


def _busy_s() -> float:
    times = psutil.cpu_times()
    # Not every system tells all of these; a guest's time stands in the user's too.
    idle = sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "steal", "guest", "guest_nice"))
    return float(sum(times) - idle)


def _deliveries(ledger: Path) -> list[float]:
    """When each was (Unix), ascending."""
    with ledger.open("rb") as lines:
        records = map(orjson.loads, lines)
        return sorted(each["at"] for each in records if each["k"] == "req" and 200 <= each["status"] < 300)


def fours_of(windows: Sequence[Window], delivered_at_s: Sequence[float]) -> list[list[Window]]:
    """Whole fours, in their order, that ended before the load did."""
    ends_s = delivered_at_s[-1] if delivered_at_s else 0.0
    counted = [_counted(each, delivered_at_s) for each in windows if each.end_s < ends_s]
    return [counted[at : at + len(_ORDER)] for at in range(0, len(counted) - len(_ORDER) + 1, len(_ORDER))]


def _counted(window: Window, delivered_at_s: Sequence[float]) -> Window:
    count = bisect_right(delivered_at_s, window.end_s) - bisect_right(delivered_at_s, window.begin_s)
    return Window(window.watched, window.begin_s, window.end_s, window.busy_s, window.room_s, count)


def losses(fours: list[list[float]]) -> list[float]:
    """What part the windows with it have less than those without, of each four."""
    return [1 - (four[0] + four[3]) / (four[1] + four[2]) for four in fours]


def lost(fours: list[list[float]]) -> tuple[float, float]:
    """Mean and standard error of these."""
    found = losses(fours)
    return statistics.mean(found), statistics.stdev(found) / len(found) ** 0.5
