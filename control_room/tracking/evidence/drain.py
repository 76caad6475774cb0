"""Waiting until everything a run's client was promised has arrived, or a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from control_room.stack.runtime import Endpoints
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.evidence.follower import RunFollower
from control_room.tracking.evidence.run_document import run_document
from control_room.tracking.evidence.standing import ABSENT
from control_room.verify.durable import write_whole
from control_room.verify.files import DRAIN, FORMAT, MANIFEST

POLL_S: Final = 0.25
LINGER_S: Final = 2.0
"""How long everything must have arrived before the drain is complete: late duplicates, and requests that are still
being stored although their client was gone, show within it."""
_LEFT_SHOWN: Final = 100

Progress = Callable[[Arithmetic], None]


@dataclass(frozen=True, slots=True)
class DrainOutcome:
    """How waiting ended."""

    complete: bool
    """False: the deadline came first."""
    waited_s: float
    arithmetic: Arithmetic
    left: int
    """Ids that did not arrive: acknowledged ones, and stored ones without an answer."""


def wait_for_drain(
    endpoints: Endpoints,
    run_dir: Path,
    deadline_s: float,
    on_progress: Progress | None = None,
    *,
    linger_s: float = LINGER_S,
    follower: RunFollower | None = None,
) -> DrainOutcome:
    """Waits for the deliveries of a run whose client has ended, and writes drain.json.

    Complete means: every acknowledged id is in the ledger, and Postgres knows of no payment that got no answer and did
    not arrive; for `linger_s`. Members may be dead meanwhile; they are waited for.

    Args:
        deadline_s: seconds to wait at most.
        on_progress: called after each look.
        follower: one that has followed the run so far; else one is made, and closed at the end.

    Raises:
        SourceError: `run_dir` is not the folder of a run.
        OSError: it cannot be written to.
    """
    run = run_document(run_dir)["run"]
    (run_dir / MANIFEST).unlink(missing_ok=True)  # the evidence is no longer complete, and must not look so
    following = follower or RunFollower(endpoints, run_dir)
    started_at, started_s = time.time(), time.monotonic()
    try:
        complete, arithmetic = _wait(following, started_s + deadline_s, linger_s, on_progress)
        outcome = DrainOutcome(complete, time.monotonic() - started_s, arithmetic, len(_left(following)))
        document = _document(following, outcome, run=run, started_at=started_at, deadline_s=deadline_s)
    finally:
        if follower is None:
            following.close()
    write_whole(run_dir / DRAIN, orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return outcome


def _wait(
    follower: RunFollower, until_s: float, linger_s: float, on_progress: Progress | None
) -> tuple[bool, Arithmetic]:
    drained_since_s: float | None = None
    while True:
        looked_s = time.monotonic()
        arithmetic = follower.sample(client_gone=True)
        if on_progress is not None:
            on_progress(arithmetic)
        now_s = time.monotonic()
        if not is_drained(follower):
            drained_since_s = None
        elif drained_since_s is None:
            drained_since_s = now_s
        if drained_since_s is not None and now_s - drained_since_s >= linger_s:
            return True, arithmetic
        if now_s >= until_s:
            return False, arithmetic
        # Looking is work for Postgres: with many open ids it takes at most a quarter of the time.
        time.sleep(max(POLL_S, min(3 * (now_s - looked_s), until_s - now_s)))


def is_drained(follower: RunFollower) -> bool:
    """Whether nothing is open at the last look, and the sources that say so did answer."""
    if not follower.heard("merchant-server") or follower.next_line < follower.ledger_lines or _left(follower):
        return False
    return not follower.standing.silent or follower.heard("postgres")


def _left(follower: RunFollower) -> dict[str, str]:
    standing = follower.standing
    stranded = {id_: f"no answer, {place}" for id_, place in standing.silent.items() if place != ABSENT}
    return {**standing.open, **stranded}


def _document(
    follower: RunFollower, outcome: DrainOutcome, *, run: str, started_at: float, deadline_s: float
) -> dict[str, Any]:
    left = _left(follower)
    shown = list(left)[:_LEFT_SHOWN]
    return {
        "format": FORMAT,
        "run": run,
        "ended": "complete" if outcome.complete else "deadline",
        "started_at": round(started_at, 6),
        "ended_at": round(time.time(), 6),
        "deadline_s": deadline_s,
        "ledger_next": follower.next_line,
        "ledger_shrank": follower.ledger_shrank,
        "arithmetic": outcome.arithmetic.to_json(),
        "left_count": len(left),
        "left": {transaction_id: left[transaction_id] for transaction_id in shown},
    }
