"""Each row of the table: how it is measured, and its limit. Stops whatever it started."""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.bench_ui.terminal import Terminal, cursor_lines

MANY: Final = 1_000_000
FEWER: Final = 100_000
RATE_PER_S: Final = 500
_STARTS: Final = 5
_PRESSES: Final = 60
_SETTLE_S: Final = 5.0
_FILL_S: Final = 300.0
_ANSWER_S: Final = 2.0
_F12: Final = "\x1b[24~"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    value: float | None
    """None: not measured."""
    limit: float
    unit: str
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it stays within its limit; None where it was not measured."""
        return None if self.value is None else self.value <= self.limit


Say = Callable[[str], None]


@contextmanager
def own_home() -> Iterator[Mapping[str, str]]:
    """An environment in which the control room remembers nothing from before, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="bruce-bench-ui-") as folder:
        yield {
            **os.environ,
            "XDG_STATE_HOME": f"{folder}/state",
            "XDG_CONFIG_HOME": f"{folder}/config",
            "BRUCE_BENCH": folder,
        }


def quantile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def first_paint(state: Path | None, say: Say) -> list[Row]:
    """From starting the program to the first screen with its tabs."""
    took: list[float] = []
    cpu: list[float] = []
    with own_home() as environ:
        chosen = state or Path(environ["BRUCE_BENCH"], "no-stack")
        for _ in range(_STARTS):
            command = [str(Path(sys.executable).with_name("bruce-control")), "--state", str(chosen)]
            with Terminal(command, environ) as terminal:
                at_s = terminal.wait_for(lambda text: "2 Transactions" in text, 0, 30)
                if at_s is None:
                    raise SystemExit(f"{' '.join(command)}: no screen within 30 s")
                took.append(at_s - terminal.started_s)
                cpu.append(terminal.cpu_s())
        say(f"first paint: {', '.join(f'{each:.2f}' for each in took)} s; CPU {statistics.median(cpu):.2f} s")
    where = "stack up" if state else "no stack"
    note = f"median of {_STARTS}, {where}; {statistics.median(cpu):.2f} s of CPU"
    return [Row("start to first paint", statistics.median(took), 0.8, "s", note)]


@contextmanager
def made_up_room(before: int, rate_per_s: float, *, probe: bool = False) -> Iterator[tuple[Terminal, Path]]:
    """The control room over made-up traffic, with its list drawn; and where its lags are written."""
    with own_home() as environ:
        folder = Path(environ["BRUCE_BENCH"])
        ready, lags = folder / "ready", folder / "lags"
        command = [sys.executable, "-m", "scripts.bench_ui.room", "--ready", str(ready)]
        command += ["--before", str(before), "--rate", f"{rate_per_s:g}", *(["--lags", str(lags)] if probe else [])]
        with Terminal(command, environ) as terminal:
            if terminal.wait_for(lambda text: "HTTP" in text and "▶" in text, 0, _FILL_S) is None:
                raise SystemExit(f"{' '.join(command)}: no list within {_FILL_S:.0f} s")
            time.sleep(_SETTLE_S)
            yield terminal, lags


def cpu_made_up(seconds: float, say: Say) -> list[Row]:
    """What the app takes where sources cost nothing: reading rows, holding and drawing them."""
    rows = []
    for name, rate, limit in (
        (f"CPU, {RATE_PER_S} events/s, made-up sources", RATE_PER_S, 0.20),
        ("CPU, idle, made-up sources", 0.0001, 0.03),
    ):
        with made_up_room(FEWER, rate) as (terminal, _):
            share = terminal.cpu_share(seconds)
        say(f"{name}: {share:.1%}")
        rows.append(Row(name, 100 * share, 100 * limit, "% of a core", f"{FEWER:,} held, over {seconds:.0f} s"))
    return rows


def under_load(before: int, seconds: float, say: Say) -> list[Row]:
    """Lag of the event loop, answers to keys and memory, with `before` transactions held and more coming."""
    with made_up_room(before, RATE_PER_S, probe=True) as (terminal, lags):
        _lags(terminal, lags)  # those of the start
        time.sleep(seconds)
        late_s = _lags(terminal, lags)
        rows = [
            Row(
                f"event-loop lag p99, {before:,} transactions",
                1000 * quantile(late_s, 0.99),
                30,
                "ms",
                f"{len(late_s):,} looks, worst {1000 * max(late_s):.0f} ms",
            )
        ]
        say(f"lag at {before:,}: p99 {1000 * quantile(late_s, 0.99):.1f} ms, worst {1000 * max(late_s):.0f} ms")
        if before >= MANY:
            rows += [_keys(terminal, say), _memory(terminal, say)]
    return rows


def _lags(terminal: Terminal, lags: Path) -> list[float]:
    """How late the event loop was since the last time it was asked."""
    terminal.press(_F12)
    until_s = time.monotonic() + 10
    while not lags.exists():
        if time.monotonic() > until_s:
            raise SystemExit("the control room does not tell how late its event loop was")
        time.sleep(0.01)
    found: list[float] = json.loads(lags.read_text())
    lags.unlink()
    return found


def _keys(terminal: Terminal, say: Say) -> Row:
    """From a key that moves the cursor to the cursor drawn in its new line."""
    took: list[float] = []
    missed = 0
    dice = random.Random(1)  # noqa: S311 - when to press, no secret
    top: int | None = None
    begin = terminal.written
    terminal.press("j")  # away from the top, or the first `g` would have nothing to draw
    terminal.wait_for(lambda text: bool(cursor_lines(text)), begin, _ANSWER_S)
    for number in range(2 * _PRESSES):
        key = "gj"[number % 2]
        begin, pressed_s = terminal.written, time.perf_counter()
        terminal.press(key)

        def moved(text: str, key: str = key, top: int | None = top) -> bool:
            lines = cursor_lines(text)
            return bool(lines) and (top is None or (lines[-1] == top) == (key == "g"))

        at_s = terminal.wait_for(moved, begin, _ANSWER_S)
        if number == 0:
            time.sleep(1)
            top = cursor_lines(terminal.since(begin))[-1]
        elif at_s is None:
            missed += 1
            took.append(_ANSWER_S)
        else:
            took.append(at_s - pressed_s)
        time.sleep(0.1 + 0.1 * dice.random())
    say(f"keys: median {1000 * statistics.median(took):.0f} ms, p95 {1000 * quantile(took, 0.95):.0f} ms")
    note = f"{len(took)} keys, median {1000 * statistics.median(took):.0f} ms" + (f", {missed} unseen" * bool(missed))
    return Row("key press to drawn answer p95, under that load", 1000 * quantile(took, 0.95), 60, "ms", note)


def _memory(terminal: Terminal, say: Say) -> Row:
    size = terminal.process.memory_info().rss / 2**20
    say(f"memory: {size:.0f} MiB")
    return Row(f"memory, {MANY:,} transactions", size, 600 / 1.048576, "MiB", "resident; the limit is 600 MB")


def as_json(rows: list[Row], machine: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON types."""
    told = [
        {"row": row.name, "measured": row.value, "limit": row.limit, "unit": row.unit, "holds": row.holds}
        | {"note": row.note}
        for row in rows
    ]
    return {"machine": dict(machine), "rows": told}
