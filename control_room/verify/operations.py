"""Reading the client's operation log into histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_room.verify.chained import records, shaped
from control_room.verify.files import OPERATIONS
from control_room.verify.history import Body, Histories, History
from control_room.verify.manifest import EvidenceError


@dataclass(slots=True)
class OperationLog:
    """The client's side of a run."""

    histories: Histories = field(default_factory=dict)
    operations: int = 0
    """Requests sent (invocations)."""
    answered: dict[str, int] = field(default_factory=dict)
    """Answers by kind: `201`, a 4xx status, or why there was none."""
    runs: set[str] = field(default_factory=set)
    """Run ids named by its `start` lines."""
    started_at: float = 0.0
    ended_at: float = 0.0
    ended: bool = False
    """Whether the log's last line is the client's own `end`. Without it the tail may be missing."""


def read_operations(run_dir: Path) -> OperationLog:
    """The operation log of a run.

    Raises:
        EvidenceError: a gap, a changed line, an answer to a request that was never sent, a request sent twice under
            one number, or an `end` that counts other requests than the log holds.
    """
    log = OperationLog()
    pending: dict[int, tuple[History, Body]] = {}
    with shaped(OPERATIONS):
        for record in records(run_dir / OPERATIONS):
            kind = record["k"]
            log.ended = False
            if kind == "invoke":
                _invoke(log, pending, record)
            elif kind in ("ok", "fail", "info"):
                _answer(log, pending, kind, record)
            elif kind == "start":
                log.runs.add(record["run"])
                log.started_at = log.started_at or float(record["at"])
            elif kind == "end":
                _end(log, record)
            else:
                raise EvidenceError(f"{OPERATIONS}: line {record['n'] + 1} is of an unknown kind {kind!r}")
    for _, body in pending.values():
        body.silences += 1
    return log


def _invoke(log: OperationLog, pending: dict[int, tuple[History, Body]], record: dict[str, Any]) -> None:
    operation, transaction_id, sha = record["op"], record["id"].lower(), bytes.fromhex(record["sha"])
    if operation in pending:
        raise EvidenceError(f"{OPERATIONS}: operation {operation} was invoked twice")
    history = log.histories.get(transaction_id)
    if history is None:
        history = log.histories[transaction_id] = History(sha)
    pending[operation] = (history, history if history.sha == sha else history.body(sha))
    log.operations += 1


def _answer(log: OperationLog, pending: dict[int, tuple[History, Body]], kind: str, record: dict[str, Any]) -> None:
    found = pending.pop(record["op"], None)
    if found is None:
        raise EvidenceError(f"{OPERATIONS}: operation {record['op']} was answered but not pending")
    history, body = found
    if kind == "ok":
        body.acks += 1
        history.accepted_at = history.accepted_at or float(record["at"])
        history.fresh = history.fresh or not record["dup"]
        words = str(record["status"])
    elif kind == "fail":
        body.refusals += 1
        words = str(record["status"])
    else:
        body.silences += 1
        words = str(record["why"])
    log.answered[words] = log.answered.get(words, 0) + 1


def _end(log: OperationLog, record: dict[str, Any]) -> None:
    if record["ops"] != log.operations:
        raise EvidenceError(f"{OPERATIONS}: its end counts {record['ops']} operations, but it holds {log.operations}")
    log.ended, log.ended_at = True, float(record["at"])
