"""A soak: a rate that the stack holds easily, a merchant that fails, for as long as it takes to see what grows.

The load is a replay of the control room's own and the merchant is the merchant-server, so it ends with a verdict.
Payments that turn 30 days old at the rate at which new ones come keep retention at work all the time: what is pruned is
older than the run, so its evidence stays.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
import psycopg

from bench import old_rows, plot
from bench.command import bruce_control
from bench.made_run import make_source
from bench.measure import Say
from bench.samples import bloat, sample
from bench.soak_latency import by_minute
from bench.stack import Stack

RETENTION_DAYS: Final = 30
FAILURE_RATE: Final = 0.3
_SOURCE_ROWS: Final = 100_000
_TURNING_OLD_S: Final = 30.0
"""The first payment turns old so long after the filling has ended."""
_BEHIND_S: Final = 180.0
"""How much of what turned old retention may still have before it: it looks anew every minute."""
_VERIFY_S: Final = 1800
_PROVEN: Final = 0
_FIRST_SKIPPED: Final = 0.1
"""The share of the run that warms up: the start is what follows it."""
_EDGE: Final = 0.2
"""The share of the run that counts as its start, and as its end."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What is asked for."""

    minutes: float
    rate_per_s: float
    every_s: float = 10.0
    """Between two looks."""

    @property
    def payments(self) -> int:
        """How many are sent."""
        return round(60 * self.minutes * self.rate_per_s)


def settings() -> dict[str, str]:
    """What the stack of a soak is started with."""
    return {"FAILURE_RATE": str(FAILURE_RATE), "RETENTION_DAYS": str(RETENTION_DAYS)}


def soak(stack: Stack, state: Path, wanted: Soak, say: Say) -> dict[str, Any]:
    """Runs it and tells what was seen.

    Raises:
        psycopg.Error: Postgres was away while the tables were looked at.
        EvidenceError: the run's files are damaged.
    """
    conninfo = stack.runtime.endpoints().postgres_conninfo
    age_s = RETENTION_DAYS * 86_400 - _TURNING_OLD_S
    old_rows.fill(conninfo, wanted.payments, age_s=age_s, per_s=wanted.rate_per_s, say=say)
    source = make_source(state / "soak.csv", min(_SOURCE_ROWS, wanted.payments))
    with psycopg.connect(conninfo, autocommit=True) as connection:
        before = bloat(connection)
        looks = _while_it_runs(stack, _replay(state, source, wanted), wanted, connection, say)
        verdict = _verify(state, say)
        after = bloat(connection)
    run_dir = Path(verdict["folder"])
    latency = by_minute(run_dir)
    found = {
        "minutes": wanted.minutes, "rate_per_s": wanted.rate_per_s, "failure_rate": FAILURE_RATE,
        "verdict": {name: verdict[name] for name in ("verdict", "exit_code", "reasons", "notes", "arithmetic")},
        "duplicates": verdict["duplicates"], "bloat_before": before, "bloat_after": after,
        "latency_by_minute": latency, "looks": looks,
    }  # fmt: skip
    return {**found, "start_and_end": compared(looks, latency)}


def _replay(state: Path, source: Path, wanted: Soak) -> list[str]:
    repeat = -(-wanted.payments // min(_SOURCE_ROWS, wanted.payments))
    rate = ["--rate", str(wanted.rate_per_s), "--repeat", str(repeat), "--max", str(wanted.payments)]
    return bruce_control("replay", str(source), "--state", str(state), *rate, "--ids", "fresh", "--json")


def _while_it_runs(
    stack: Stack, command: list[str], wanted: Soak, connection: psycopg.Connection[Any], say: Say
) -> list[dict[str, Any]]:
    looks: list[dict[str, Any]] = []
    began_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                at_s = time.monotonic() - began_s
                looks.append({"at_s": round(at_s, 1), **sample(stack.runtime, connection)})
                if len(looks) % 6 == 1:
                    say(f"{at_s / 60:.1f} of {wanted.minutes:g} min: {_told(looks[-1])}")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(wanted.every_s)
        finally:
            process.terminate()  # of a soak that is broken off; else it has ended, and this does nothing
    say(f"the replay ended with exit code {process.returncode}")
    return looks


def _told(look: Mapping[str, Any]) -> str:
    memory = sum(member["memory_mib"] for member in look["members"].values())
    files = sum(member["files"] for member in look["members"].values())
    dead = sum(table["dead"] for table in look["tables"].values())
    return f"{memory:.0f} MiB, {files} open files, {dead:,} dead rows, {look['pruned']:,} pruned"


def _verify(state: Path, say: Say) -> dict[str, Any]:
    say("waiting for the drain, and for the verdict")
    command = bruce_control("verify", "--state", str(state), "--json", "--deadline", str(_VERIFY_S))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def compared(looks: list[dict[str, Any]], latency: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Each figure's median over the first fifth, after a tenth for warming up, and over the last fifth."""
    figures: dict[str, list[float | None]] = {}
    for name in looks[-1]["members"] if looks else ():
        for kind in ("memory_mib", "files"):
            figures[f"{kind} {name}"] = [look["members"].get(name, {}).get(kind) for look in looks]
    for name in looks[-1]["tables"] if looks else ():
        figures[f"mib {name}"] = [_size(look, name) for look in looks]
        figures[f"dead {name}"] = [look["tables"].get(name, {}).get("dead") for look in looks]
    whole = latency[:-1] or latency  # the last minute is no whole one
    for kind in ("accept_ms", "first_try_ms"):
        for quantile in ("p50", "p99"):
            figures[f"{kind} {quantile}"] = [minute[kind][quantile] for minute in whole]
    return {name: _edges(values) for name, values in figures.items()}


def _size(look: Mapping[str, Any], table: str) -> float:
    found = look["tables"].get(table, {"table_mib": 0.0, "indexes_mib": 0.0})
    return float(found["table_mib"] + found["indexes_mib"])


def _edges(values: list[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    if not known:
        return {"start": None, "end": None}
    first = int(_FIRST_SKIPPED * len(known))
    length = max(1, int(_EDGE * len(known)))
    return {"start": round(median(known[first : first + length]), 1), "end": round(median(known[-length:]), 1)}


def plots(found: Mapping[str, Any]) -> dict[str, str]:
    """The drawings, by file name."""
    looks, latency = found["looks"], found["latency_by_minute"]

    def curves(names: Iterable[str], of: Callable[[Mapping[str, Any], str], float]) -> dict[str, plot.Curve]:
        return {name: [(look["at_s"] / 60, of(look, name)) for look in looks] for name in names}

    names = list(looks[-1]["members"])
    memory = curves(names, lambda look, name: look["members"].get(name, {}).get("memory_mib", 0.0))
    files = curves(names, lambda look, name: look["members"].get(name, {}).get("files", 0))
    sizes = curves(old_rows.TABLES, _size)
    dead = curves(old_rows.TABLES, lambda look, name: look["tables"][name]["dead"])
    times = {
        f"{words} {quantile}": [
            (minute["minute"] + 0.5, minute[kind][quantile]) for minute in latency if minute[kind][quantile] is not None
        ]
        for kind, words in (("accept_ms", "accepted"), ("first_try_ms", "delivered, first try"))
        for quantile in ("p50", "p99")
    }
    return {
        "soak-memory.svg": plot.svg("Memory of each member", "MiB", memory),
        "soak-files.svg": plot.svg("Open files of each member", "number", files),
        "soak-tables.svg": plot.svg("Tables with their indexes", "MiB", sizes),
        "soak-dead-rows.svg": plot.svg("Rows that wait for a vacuum", "number", dead),
        "soak-latency.svg": plot.svg("Latency by the minute", "ms", times),
    }


def tell(found: Mapping[str, Any]) -> list[str]:
    """The comparison in lines, and the verdict."""
    lines = [f"verdict: {found['verdict']['verdict']} {' '.join(found['verdict']['reasons'])}".rstrip()]
    lines.append(f"pruned: {found['looks'][-1]['pruned']:,}, {max(0, behind(found)):,} behind what turned old")
    for name, edges in found["start_and_end"].items():
        start, end = edges["start"], edges["end"]
        if start is not None and end is not None:
            lines.append(f"{name}: {start:g} at the start, {end:g} at the end")
    return lines


def behind(found: Mapping[str, Any]) -> int:
    """How many payments had turned old at the last look and were not pruned; fewer than none where it was quicker."""
    last = found["looks"][-1]
    turned_old = min(
        round(found["rate_per_s"] * max(0.0, last["at_s"] - _TURNING_OLD_S)),
        round(60 * found["minutes"] * found["rate_per_s"]),
    )
    return int(turned_old - last["pruned"])


def is_good(found: Mapping[str, Any]) -> bool:
    """Whether the verdict is proven and retention kept pace."""
    if behind(found) > _BEHIND_S * found["rate_per_s"]:
        return False
    return bool(found["verdict"]["exit_code"] == _PROVEN)
