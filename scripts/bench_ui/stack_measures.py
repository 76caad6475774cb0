"""The rows that only a stack that is up can tell: idle cost, cost under its own traffic, what its throughput loses."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.bench_ui.measures import RATE_PER_S, Row, Say, own_home
from scripts.bench_ui.terminal import Terminal

_SETTLE_S: Final = 15.0
"""Until what a start costs is over: collectors that looked for the first time, caches."""
_EVENTS: Final = 15_000
"""A quarter of a minute: shorter runs differ among themselves by more than what is looked for."""
_WARM_UP: Final = 1_000
_ORDER: Final = (False, True, True, False) * 3
"""Without, with, with, without, …: a machine that grows slower meanwhile favours neither. Six of each: one run differs
from the next by as much as is looked for."""
_BENCH_S: Final = 600.0
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
    """Of the closed loop's deliveries a second, with and without the control room beside it."""
    found: dict[bool, list[_Loop]] = {True: [], False: []}
    _loop(state, None)  # the brokers' code is compiled by then
    for watched in _ORDER:
        if watched:
            with own_home() as environ, Terminal(_room(state), environ) as terminal:
                terminal.press("2")
                time.sleep(_SETTLE_S)
                found[watched].append(_loop(state, terminal))
        else:
            found[watched].append(_loop(state, None))
        last = found[watched][-1]
        say(f"{'watched' if watched else 'alone'}: {last.delivered_per_s:.0f}/s, {last.cpu_ms:.2f} ms of CPU an event")
    alone, beside = (statistics.median(each.delivered_per_s for each in found[watched]) for watched in (False, True))
    cpu_alone, cpu_beside = (statistics.median(each.cpu_ms for each in found[watched]) for watched in (False, True))
    runs = len(found[True])
    note = (
        f"{alone:.0f}/s alone, {beside:.0f}/s watched; medians of {runs} runs of {_EVENTS:,}; by the CPU of an event "
    )
    note += (
        f"({cpu_alone:.2f} ms alone, {cpu_beside:.2f} ms with all that watching costs) {1 - cpu_alone / cpu_beside:.1%}"
    )
    return Row("taken from the pipeline's throughput", 100 * max(0.0, 1 - beside / alone), 5.0, "%", note)


@dataclass(frozen=True, slots=True)
class _Loop:
    """A closed loop."""

    delivered_per_s: float
    cpu_ms: float
    """Of an event: of the stack, the client and, where there is one, the control room."""


def _loop(state: Path, room: Terminal | None) -> _Loop:
    began_s = room.cpu_s() if room is not None else 0.0
    command = [_program(), "bench", "--state", str(state), "--events", str(_EVENTS), "--warm-up", str(_WARM_UP)]
    command += ["--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=_BENCH_S)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")
    told = json.loads(done.stdout)
    cpu_ms = told["cpu_s_per_1000_events"]["total"] + told["client_cpu_s_per_1000_events"]
    watching_ms = 0.0 if room is None else 1000 * (room.cpu_s() - began_s) / (_EVENTS + _WARM_UP)
    return _Loop(float(told["delivered_per_s"]), cpu_ms + watching_ms)


def _program() -> str:
    return str(Path(sys.executable).with_name("bruce-control"))


def _room(state: Path) -> list[str]:
    return [_program(), "--state", str(state)]
