"""The rows that only a stack that is up can tell: idle cost, cost under its own traffic, what its throughput loses."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from pathlib import Path
from typing import Final

import orjson

from control_room.verify.files import LEDGER
from scripts.bench_ui.measures import RATE_PER_S, Row, Say, own_home
from scripts.bench_ui.terminal import Terminal

_SETTLE_S: Final = 15.0
"""Until what a start costs is over: collectors that looked for the first time, caches."""
_EVENTS: Final = 400_000
"""Some four minutes."""
_WARM_UP: Final = 1_000
_BEGINS_S: Final = 10.0
"""Until the bench is at its pace."""
_ORDER: Final = (True, False, False, True)
_WINDOW_S: Final = 8.0
_LEFT_OUT_S: Final = 3.0
"""Of each window: what it missed while it was held still it reads at once, and that is not what watching costs."""
_FEWEST: Final = 4
LEFT_OUT: Final = "left out: no stack is up at --state"


def is_up(state: Path) -> bool:
    """Whether a stack runs there, every member ready."""
    done = subprocess.run([_program(), "status", "--state", str(state)], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def left_out() -> list[Row]:
    """The rows, not measured."""
    return [
        Row("CPU, idle, stack up", None, 3.0, "% of a core", LEFT_OUT),
        Row(f"CPU, {RATE_PER_S} events/s through the stack", None, 20.0, "% of a core", LEFT_OUT),
        Row("taken from the pipeline's throughput", None, 5.0, "%", LEFT_OUT),
    ]


def stack_rows(state: Path, seconds: float, say: Say) -> list[Row]:
    """The rows, measured on the stack at `state`, which stays up."""
    return [_idle(state, seconds, say), _flowing(state, seconds, say), _taken(state, say)]


def _idle(state: Path, seconds: float, say: Say) -> Row:
    with own_home() as environ, Terminal(_room(state), environ) as terminal:
        terminal.press("2")
        time.sleep(_SETTLE_S)
        share = terminal.cpu_share(seconds)
    say(f"idle, stack up: {share:.1%}")
    return Row("CPU, idle, stack up", 100 * share, 3.0, "% of a core", f"over {seconds:.0f} s")


def _flowing(state: Path, seconds: float, say: Say) -> Row:
    replay = [_program(), "replay", "--state", str(state), "--rate", str(RATE_PER_S), "--repeat", "1000"]
    replay += ["--max", str(int(RATE_PER_S * (seconds + _SETTLE_S + 5))), "--ids", "fresh"]
    with own_home() as environ, Terminal(_room(state), environ) as terminal:
        terminal.press("2")
        time.sleep(_SETTLE_S)
        with subprocess.Popen(replay, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sending:
            time.sleep(5)
            share = terminal.cpu_share(seconds)
            went_on = sending.poll() is None
            sending.terminate()
    if not went_on:
        return Row(f"CPU, {RATE_PER_S} events/s through the stack", None, 20.0, "% of a core", "the replay ended early")
    say(f"{RATE_PER_S} events/s through the stack: {share:.1%}")
    note = f"over {seconds:.0f} s, Transactions view"
    return Row(f"CPU, {RATE_PER_S} events/s through the stack", 100 * share, 20.0, "% of a core", note)


def _taken(state: Path, say: Say) -> Row:
    """Of the closed loop's deliveries a second, while the control room watches it and while that is held still.

    One run, in fours of windows: with, without, without, with. A machine that is quicker at one minute than at the next
    differs by more than is looked for; within half a minute it differs less, and by the order its drift cancels.
    """
    with own_home() as environ, Terminal(_room(state), environ) as terminal:
        terminal.press("2")
        time.sleep(_SETTLE_S)
        before = _runs(state)
        command = [_program(), "bench", "--state", str(state), "--events", str(_EVENTS), "--warm-up", str(_WARM_UP)]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as bench:
                windows = _windows(terminal, bench, say)
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
        if bench.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {words[-500:]}")
    delivered_at_s = _deliveries(max(_runs(state) - before) / LEDGER)
    rates = [(watched, _rate(delivered_at_s, begin_s, end_s)) for watched, begin_s, end_s, _ in windows]
    fours = [rates[at : at + len(_ORDER)] for at in range(0, len(rates) - len(_ORDER) + 1, len(_ORDER))]
    fours = [four for four in fours if all(rate > 0 for _, rate in four)]  # the last ones are after the load's end
    if len(fours) < _FEWEST:
        raise SystemExit(f"{len(fours)} fours of windows are too few; at least {_FEWEST} are needed")
    taken = [1 - _mean(four, watched=True) / _mean(four, watched=False) for four in fours]
    error = statistics.stdev(taken) / len(taken) ** 0.5
    used = statistics.mean(share for watched, _, _, share in windows if watched)
    alone, beside = (statistics.mean(_mean(four, watched=watched) for four in fours) for watched in (False, True))
    note = f"{alone:.0f}/s held still, {beside:.0f}/s watched; {len(fours)} fours of windows of {_WINDOW_S:.0f} s, "
    note += f"standard error {100 * error:.1f} %; it uses {used:.1%} of a core meanwhile"
    say(f"taken: {statistics.mean(taken):.1%}, standard error {error:.1%}")
    return Row("taken from the pipeline's throughput", 100 * max(0.0, statistics.mean(taken)), 5.0, "%", note)


_Window = tuple[bool, float, float, float]
"""Whether it was watched, from when to when it counts (Unix), and what the room used of a core in all of it."""


def _windows(terminal: Terminal, bench: subprocess.Popen[bytes], say: Say) -> list[_Window]:
    """Holds the control room still and lets it go on by turns, until the bench ends."""
    found: list[_Window] = []
    time.sleep(_BEGINS_S)
    try:
        while bench.poll() is None:
            watched = _ORDER[len(found) % len(_ORDER)]
            (terminal.process.resume if watched else terminal.process.suspend)()
            began_s, used_s = time.time(), terminal.cpu_s()
            time.sleep(_WINDOW_S)
            share = (terminal.cpu_s() - used_s) / (time.time() - began_s)
            found.append((watched, began_s + _LEFT_OUT_S, time.time(), share))
            say(f"{'watched' if watched else 'held still'}: {share:.1%} of a core")
    finally:
        terminal.process.resume()
    return found


def _deliveries(ledger: Path) -> list[float]:
    """When each was (Unix), ascending."""
    with ledger.open("rb") as lines:
        records = map(orjson.loads, lines)
        return sorted(each["at"] for each in records if each["k"] == "req" and 200 <= each["status"] < 300)


def _rate(delivered_at_s: list[float], begin_s: float, end_s: float) -> float:
    """Deliveries a second between two moments; 0 where the last one is before their end."""
    if not delivered_at_s or delivered_at_s[-1] < end_s:
        return 0.0
    return (bisect_right(delivered_at_s, end_s) - bisect_right(delivered_at_s, begin_s)) / (end_s - begin_s)


def _mean(four: list[tuple[bool, float]], *, watched: bool) -> float:
    return statistics.mean(rate for with_it, rate in four if with_it is watched)


def _runs(state: Path) -> set[Path]:
    return set((state / "runs").iterdir()) if (state / "runs").exists() else set()


def _program() -> str:
    return str(Path(sys.executable).with_name("bruce-control"))


def _room(state: Path) -> list[str]:
    return [_program(), "--state", str(state)]
