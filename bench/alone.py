"""Rows that do not need the table's stack: the control room's own client and checker, and how long `up` takes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.by_turns import measure_by_turns, tell_by_turns
from bench.command import Cost, bruce_control, cost_of
from bench.made_run import make_run, make_source
from bench.measure import Say
from bench.stack import running_stack
from bench.taker import Taker

ROWS: Final = 1_000_000
OLD_ROWS: Final = 5_000_000
RECEIVER_PORT: Final = 9099
_STARTS: Final = 3
_SECRET: Final = "a-secret-of-the-bench-alone-0123456789"  # noqa: S105  # of an API that takes everything


@dataclass(frozen=True, slots=True)
class Alone:
    """What such a row may use."""

    state: Path
    """A state folder in which no stack runs."""
    rows: int
    """Payments of a replay, transactions of a run."""
    say: Say
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the services, for the row of old rows."""
    old_rows: int = OLD_ROWS
    receiver_port: int = RECEIVER_PORT


@dataclass(frozen=True, slots=True)
class AloneRow:
    """One row of the table that is measured without its stack."""

    name: str
    title: str
    must: str
    measure: Callable[[Alone], dict[str, Any]]
    tell: Callable[[Mapping[str, Any]], str]
    """The figures in a few words, to be read against `must`."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bruce-bench-") as name:
        yield Path(name)


def _replay(alone: Alone) -> dict[str, Any]:
    """A replay one by one and one in batches, into an API that answers at once."""
    rows, say = alone.rows, alone.say
    with _folder() as folder, Taker() as taker:
        say(f"making {rows:,} payments")
        source = make_source(folder / "payments.csv", rows)
        found = {}
        for name, options in (("one by one", ()), ("in batches of 100", ("--batch", "100"))):
            command = bruce_control(
                "replay", str(source), "--state", str(folder), "--url", taker.url, "--json", *options
            )
            cost = cost_of(command, {**os.environ, "HMAC_SECRET": _SECRET})
            found[name] = {**_costs(cost), "cpu_us_per_event": round(1e6 * cost.cpu_s / rows, 1)}
            say(f"{name}: {found[name]}")
    return {"rows": rows, "by_way": found}


def _check(alone: Alone) -> dict[str, Any]:
    """`check` and `report` of a proven run."""
    rows, say = alone.rows, alone.say
    with _folder() as folder:
        say(f"making the files of a run of {rows:,}")
        run = make_run(folder / "runs", make_source(folder / "payments.csv", rows))
        size_mib = round(sum(path.stat().st_size for path in run.iterdir()) / 2**20)
        found: dict[str, Any] = {"transactions": rows, "files_mib": size_mib}
        for verb in ("check", "report"):
            cost = cost_of(bruce_control(verb, str(run), "--json"), os.environ)
            found[verb] = _costs(cost)
            say(f"{verb}: {found[verb]}")
    return found


def _up(alone: Alone) -> dict[str, Any]:
    """Stacks made anew, one after the other; the first warms what is cached and is not counted."""
    times = []
    for _ in range(1 + _STARTS):
        with running_stack(alone.state, None, {}, lambda _: None) as stack:
            times.append(stack.up_s)
        alone.say(f"up: {times[-1]} s")
    return {"first_s": times[0], "warm_s": times[1:], "median_s": median(times[1:])}


def _old_rows(alone: Alone) -> dict[str, Any]:
    return measure_by_turns(alone.state, alone.receiver_port, alone.settings, alone.old_rows, alone.say)


def _costs(cost: Cost) -> dict[str, Any]:
    found = {"exit_code": cost.exit_code, "took_s": cost.took_s, "cpu_s": cost.cpu_s, "peak_mib": cost.peak_mib}
    return found if cost.exit_code == 0 else {**found, "said": cost.said[-2000:]}


def _tell_replay(found: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {one['peak_mib']:.0f} MiB, {one['cpu_us_per_event']:.0f} us per event, exit code {one['exit_code']}"
        for name, one in found["by_way"].items()
    )


def _tell_check(found: Mapping[str, Any]) -> str:
    parts = ((verb, found[verb]) for verb in ("check", "report"))
    return "; ".join(
        f"{verb} {one['took_s']:.0f} s, {one['peak_mib']:.0f} MiB, exit code {one['exit_code']}" for verb, one in parts
    )


def _tell_up(found: Mapping[str, Any]) -> str:
    return f"{found['median_s']:.1f} s"


ALONE: Final = (
    AloneRow("old-rows", "with 5,000,000 old rows in Postgres", "10 % slower", _old_rows, tell_by_turns),
    AloneRow("up", "`up` with warm caches until ready", "20 s", _up, _tell_up),
    AloneRow("replay", "replay of 1,000,000 rows", "100 MB, 150 us per event", _replay, _tell_replay),
    AloneRow("check", "check and report of 1,000,000", "60 s, 1 GB", _check, _tell_check),
)
