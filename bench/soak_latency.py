"""Latency from minute to minute of a run, from its own evidence: the operation log and the merchant's ledger."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from control_room.verify.chained import records
from control_room.verify.files import LEDGER, OPERATIONS

_FIRST_TRY = "1.1"


def by_minute(run_dir: Path) -> list[dict[str, Any]]:
    """For each minute since the first payment was due: how many, and p50 and p99 in ms of two latencies.

    `accept_ms`: from when a payment should have left to its 201. `first_try_ms`: from the same moment to the merchant's
    2xx, of those that it took at the first try: what the failing of others costs the healthy.

    Raises:
        EvidenceError: a file is damaged.
    """
    due_at: dict[str, float] = {}
    open_: dict[int, float] = {}
    accept_s: dict[int, list[float]] = defaultdict(list)
    first_s: dict[int, list[float]] = defaultdict(list)
    began_at = 0.0
    for record in records(run_dir / OPERATIONS):
        if record["k"] == "invoke":
            began_at = began_at or record["due"]
            due_at.setdefault(record["id"], record["due"])
            open_[record["op"]] = due_at[record["id"]]
        elif record["k"] in ("ok", "fail", "info"):
            due_s = open_.pop(record["op"])
            if record["k"] == "ok":
                accept_s[_minute(due_s, began_at)].append(record["at"] - due_s)
    for record in records(run_dir / LEDGER, trust_first=True):
        if record["k"] == "req" and record["status"] == 200 and record["att"] == _FIRST_TRY:
            due = due_at.pop(record["id"].lower(), None)
            if due is not None:
                first_s[_minute(due, began_at)].append(record["at"] - due)
    return [
        {"minute": minute, "accepted": len(accept_s[minute]), "accept_ms": _quantiles(accept_s[minute]),
         "first_try_ms": _quantiles(first_s.get(minute, []))}
        for minute in sorted(accept_s)
    ]  # fmt: skip


def _minute(at: float, began_at: float) -> int:
    return int((at - began_at) // 60)


def _quantiles(values_s: list[float]) -> dict[str, float | None]:
    ordered = sorted(values_s)
    if not ordered:
        return {"p50": None, "p99": None}
    places = {"p50": 0.5, "p99": 0.99}
    return {name: round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) for name, q in places.items()}
