"""What the files of a run tell of each of its transactions, with the times at which it happened.

Read once, whole; what was so at a moment is then a matter of leaving out what came later (`as_of`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from control_room.tracking.record.sendings import Sendings
from control_room.tracking.timeline import Attempt, Redelivery
from control_room.verify.files import ATTEMPTS, LEDGER, OPERATIONS, REDELIVERIES, STORES
from services.common.chain import ChainError, read_chain

MAX_IDS: Final = 200_000
"""Transactions that are read: some 250 MB. Of a longer run the first ones are told."""


@dataclass(slots=True)
class Delivery:
    """One line of the ledger."""

    n: int
    at: float
    """Unix time."""
    status: int
    hmac: str
    wh: str
    src: str
    att: str
    by: str
    red: str = ""
    """The redelivery's number."""

    @property
    def taken(self) -> bool:
        """Whether the merchant took it."""
        return 200 <= self.status < 300


@dataclass(slots=True)
class Life:
    """One transaction."""

    transaction_id: str
    row: int
    """The line of the source; 0 where this run did not send it."""
    sends: list[tuple[float, str, str]] = field(default_factory=list)
    """When (Unix), `sent` or `answered`, and in words."""
    accepted_at_s: float | None = None
    """The first 201."""
    accepted_by: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    redeliveries: list[Redelivery] = field(default_factory=list)
    at_last: str = ""
    """Its state at the end, where the stores were asked about it."""

    @property
    def begins_at_s(self) -> float | None:
        """From when on it is known to be accepted: its 201, else the first sign of it in the pipeline."""
        if self.accepted_at_s is not None:
            return self.accepted_at_s
        signs = [each.started_at_s for each in self.attempts] + [each.at for each in self.deliveries]
        return min(signs, default=None)

    @property
    def delivered_at_s(self) -> float | None:
        """When the merchant first took it."""
        if self.deliveries:
            return min((each.at for each in self.deliveries if each.taken), default=None)
        taken = [each.ended_at_s for each in self.attempts if each.status is not None and 200 <= each.status < 300]
        return min(taken, default=None)


@dataclass(frozen=True, slots=True)
class Lives:
    """All transactions of a run."""

    by_id: dict[str, Life]
    """In the order in which they were accepted."""
    notes: tuple[str, ...]
    """What could not be read, in sentences."""
    begins_at_s: float | None
    ends_at_s: float | None
    """First and last time that any file tells (Unix)."""
    sendings: Sendings
    """Its requests, those of transactions beyond MAX_IDS too."""


def read_lives(run_dir: Path) -> Lives:
    """Everything that the files tell. Failure policy: open, what cannot be read is said in `notes`."""
    notes: list[str] = []
    lives: dict[str, Life] = {}
    times: list[float] = []
    sendings = _read_operations(run_dir, lives, times, notes)
    _read_ledger(run_dir, lives, times, notes)
    for record in sound_records(run_dir / ATTEMPTS, notes):
        life = lives.get(record["id"])
        if life is not None:
            life.attempts.append(_attempt(record))
    for record in sound_records(run_dir / REDELIVERIES, notes):
        if record["k"] == "redelivery" and record["id"] in lives:
            lives[record["id"]].redeliveries.append(_redelivery(record))
    for record in sound_records(run_dir / STORES, notes):
        if record["k"] == "store" and record["id"] in lives:
            lives[record["id"]].at_last = str(record.get("state", ""))
    if not (run_dir / LEDGER).exists():
        notes.append("this run was not verified: its folder holds no ledger and no attempts, so no delivery is known")
    for life in lives.values():
        life.attempts.sort(key=lambda attempt: attempt.started_at_s)
    known = [life for life in lives.values() if life.begins_at_s is not None]
    known.sort(key=lambda life: life.begins_at_s or 0.0)
    return Lives(
        {life.transaction_id: life for life in known},
        tuple(notes),
        min(times, default=None),
        max(times, default=None),
        sendings,
    )


def _read_operations(run_dir: Path, lives: dict[str, Life], times: list[float], notes: list[str]) -> Sendings:
    pending: dict[int, Life] = {}
    sendings = Sendings()
    passed_over = False
    for record in sound_records(run_dir / OPERATIONS, notes):
        kind, at_s = record["k"], float(record["at"])
        _span(times, at_s)
        if kind == "invoke":
            transaction_id = record["id"].lower()
            life = lives.get(transaction_id)
            full = len(lives) >= MAX_IDS
            # Of one that is passed over a second request can be told by its number alone.
            sendings.add(record, new=life is None and (not full or record["try"] == 1))
            if life is None:
                if full:
                    passed_over = True
                    continue
                life = lives[transaction_id] = Life(transaction_id, int(record["row"]))
            pending[record["op"]] = life
            life.sends.append((at_s, "sent", f"try {record['try']}"))
            continue
        sendings.add(record, new=False)
        if kind in ("ok", "fail", "info") and record["op"] in pending:
            _answer(pending.pop(record["op"]), kind, record)
    if passed_over:
        notes.append(f"only the first {MAX_IDS:,} transactions of this run are shown")
    return sendings


def _answer(life: Life, kind: str, record: dict[str, Any]) -> None:
    at_s, by = float(record["at"]), str(record.get("by", ""))
    if kind == "ok":
        again = ", as a duplicate" if record.get("dup") else ""
        life.sends.append((at_s, "answered", f"201 by {by}{again}"))
        if life.accepted_at_s is None:
            life.accepted_at_s, life.accepted_by = at_s, by
    else:
        words = str(record["status"]) if kind == "fail" else f"no answer: {record['why']}"
        life.sends.append((at_s, "answered", words))


def _read_ledger(run_dir: Path, lives: dict[str, Life], times: list[float], notes: list[str]) -> None:
    for record in sound_records(run_dir / LEDGER, notes, trust_first=True):
        if record["k"] != "req":
            continue
        life = lives.get(record["id"].lower())
        if life is not None:
            _span(times, float(record["at"]))
            words = (str(record.get(key) or "") for key in ("hmac", "wh", "src", "att", "by", "red"))
            life.deliveries.append(Delivery(record["n"], float(record["at"]), int(record["status"]), *words))


def _attempt(record: dict[str, Any]) -> Attempt:
    return Attempt(
        float(record["at"]),
        record["round"],
        record["try"],
        float(record["ms"] or 0.0),
        record["status"],
        record["error"],
        record["by"],
        record["partition"],
        record["offset"],
        record["next"],
        record.get("red"),
    )


def _redelivery(record: dict[str, Any]) -> Redelivery:
    return Redelivery(
        record["number"],
        float(record["at"]),
        str(record["reason"]),
        str(record["before"]),
        record["published"],
        record["by"],
        record["partition"],
        record["offset"],
        record["ended"],
        record["as"],
    )


def _span(times: list[float], at_s: float) -> None:
    """Keeps the first and the last time alone."""
    if not times:
        times += [at_s, at_s]
    times[0], times[1] = min(times[0], at_s), max(times[1], at_s)


def sound_records(path: Path, notes: list[str], *, trust_first: bool = False) -> Iterator[dict[str, Any]]:
    """The sound lines of a chained file: a torn last one, or all after a damaged one, are left out with a note."""
    try:
        with path.open("rb", buffering=1 << 20) as file:
            yield from read_chain(file, trust_first=trust_first)
    except FileNotFoundError:
        return
    except (OSError, ChainError) as error:
        notes.append(f"{path.name} is readable only in part: {error}")
