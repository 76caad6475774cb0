"""A snapshot as JSON values, and back: what the tracking record keeps of it.

Kept: every part but the list of transactions and the lines of the ledger, which the run's own files tell better, and
the list of the other runs. Of the logs only what is loud is kept. The database's address is not, for it may hold a
password; nor is how Kafka lets us in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from control_room.tracking.log_tail import LogView
from control_room.tracking.member_logs import LogLine
from control_room.tracking.parts import Part
from control_room.tracking.snapshot import Pace, Snapshot

KEPT_PARTS: Final = (
    "stack",
    "members",
    "kafka",
    "outbox",
    "dispatcher",
    "merchant",
    "links",
    "ledger",
    "counts",
    "run",
    "faults",
    "logs",
)
"""In the order of the ages on a line."""
LOG_LINES: Final = 200
"""Of the logs, so many of the newest are kept per moment."""
NEW_LOG_LINES: Final = 20
"""And so many may come in with one snapshot."""
LOG_CHARS: Final = 500
_LOUD: Final = frozenset({"warning", "error", "critical"})
_LOUD_WORDS: Final = ("WARN", "ERROR", "FATAL", "PANIC")


class LoudLines:
    """The warnings and errors among the log lines of one snapshot after the other."""

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque(maxlen=LOG_LINES)
        self._seen = 0
        self._kept = 0
        self._view = LogView()

    def of(self, view: LogView) -> LogView:
        """What is kept of `view` and of those before it."""
        seen = view.dropped + len(view.lines)
        fresh = view.lines[max(0, self._seen - view.dropped) :] if seen != self._seen else ()
        self._seen = seen
        loud = [line for line in fresh if _is_loud(line)][-NEW_LOG_LINES:]
        if loud:
            self._lines.extend(_shortened(line) for line in loud)
            self._kept += len(loud)
            self._view = LogView(tuple(self._lines), self._kept - len(self._lines))
        return self._view


def _shortened(line: LogLine) -> LogLine:
    return LogLine(line.member, line.ts, line.level, line.text[:LOG_CHARS], line.raw[:LOG_CHARS])


def _is_loud(line: LogLine) -> bool:
    return line.level in _LOUD or (not line.level and any(word in line.raw for word in _LOUD_WORDS))


def kept(snapshot: Snapshot, loud: LoudLines) -> Snapshot:
    """`snapshot` with what the record keeps of it."""
    changes: dict[str, Any] = {"transactions": Part(None), "runs": Part(None)}
    if (stack := snapshot.stack).value is not None:
        changes["stack"] = replace(stack, value=replace(stack.value, postgres_conninfo="", kafka_client={}))
    if (ledger := snapshot.ledger).value is not None:
        changes["ledger"] = replace(ledger, value=replace(ledger.value, lines=()))
    if (logs := snapshot.logs).value is not None:
        changes["logs"] = replace(logs, value=loud.of(logs.value))
    return replace(snapshot, **changes)


def to_tree(snapshot: Snapshot) -> dict[str, Any]:
    """What `kept` gave, as JSON values without the ages."""
    parts = {name: getattr(snapshot, name) for name in KEPT_PARTS}
    told = {name: {"value": part.value, "error": part.error} for name, part in parts.items()}
    raw = orjson.dumps({"runtime": snapshot.runtime, "pace": snapshot.pace, "parts": told}, default=_plain)
    tree: dict[str, Any] = orjson.loads(raw)
    return tree


def ages_of(snapshot: Snapshot) -> list[float]:
    """How old each kept part is, in seconds."""
    return [round(getattr(snapshot, name).age_s, 1) for name in KEPT_PARTS]


def from_tree(tree: Mapping[str, Any], ages_s: list[float], at_s: float, number: int) -> Snapshot:
    """The snapshot again. Raises ValueError where the tree is none of this version's."""
    try:
        parts = {
            name: Part(_value(name, told["value"]), str(told["error"]), float(age_s))
            for (name, told), age_s in zip(((name, tree["parts"][name]) for name in KEPT_PARTS), ages_s, strict=True)
        }
        pace = Pace(**{name: tuple(values) for name, values in tree["pace"].items()})
        return Snapshot(number, at_s, str(tree["runtime"]), pace=pace, **parts)
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"not a snapshot of this version: {str(error).splitlines()[0]}") from error


def _value(name: str, told: Any) -> Any:
    return None if told is None else _adapters()[name].validate_python(told)


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    """How each part is read; what reads Kafka and Postgres is loaded for its types, when a record is opened."""
    from control_room.stack.runtime import Endpoints
    from control_room.tracking.arithmetic import Arithmetic
    from control_room.tracking.faults_view import FaultsView
    from control_room.tracking.kafka_view import KafkaStatus
    from control_room.tracking.ledger_tail import LedgerView
    from control_room.tracking.members import MemberView
    from control_room.tracking.pipeline import OutboxStatus
    from control_room.tracking.runs import RunStanding
    from control_room.tracking.snapshot import MerchantView

    kinds: dict[str, Any] = {
        "stack": Endpoints,
        "members": tuple[MemberView, ...],
        "kafka": KafkaStatus,
        "outbox": OutboxStatus,
        "dispatcher": dict[str, Any],
        "merchant": MerchantView,
        "links": dict[str, Any],
        "ledger": LedgerView,
        "counts": Arithmetic,
        "run": RunStanding,
        "faults": FaultsView,
        "logs": LogView,
    }
    return {name: TypeAdapter(kind) for name, kind in kinds.items()}


def _plain(value: Any) -> Any:
    """What orjson does not know by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in the tracking record")
