"""The rows that only a stack that is up can tell: idle cost, cost under its own traffic, what its throughput loses."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from scripts.bench_ui.measures import RATE_PER_S, Row, Say, own_home
from scripts.bench_ui.taken import taken
from scripts.bench_ui.terminal import Terminal

_SETTLE_S: Final = 15.0
"""Until what a start costs is over: collectors that looked for the first time, caches."""
_EVENTS: Final = 800_000
"""Of the load beside which it watches: six to nine minutes."""
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
    """Of the closed loop's deliveries a second."""
    bench = [_program(), "bench", "--state", str(state), "--events", str(_EVENTS), "--warm-up", "1000"]
    with own_home() as environ, Terminal(_room(state), environ) as terminal:
        terminal.press("2")
        time.sleep(_SETTLE_S)  # what a start costs is not what watching costs; nothing tells when it is over
        share, note = taken(terminal, bench, state / "runs", say)
    return Row("taken from the pipeline's throughput", 100 * max(0.0, share), 5.0, "%", note)


def _program() -> str:
    return str(Path(sys.executable).with_name("bruce-control"))


def _room(state: Path) -> list[str]:
    return [_program(), "--state", str(state)]
