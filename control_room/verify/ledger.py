"""Reading the copy of the merchant's ledger into the histories, and who else's ids it may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_room.verify.chained import records, shaped
from control_room.verify.files import BEFORE, EARLIER, LEDGER, OTHERS
from control_room.verify.history import Arrival, Histories, History
from control_room.verify.manifest import EvidenceError

GOOD_SIGNATURE = "ok"


@dataclass(slots=True)
class LedgerWindow:
    """What the merchant wrote while the run was on."""

    strangers: Histories = field(default_factory=dict)
    """Ids that this run's client never sent."""
    starts: list[float] = field(default_factory=list)
    """When the merchant-server (re)started, Unix seconds."""
    requests: int = 0
    junk: int = 0
    """Requests without a transaction id that the merchant turned away: nobody's delivery."""
    first_line: int = 0
    next_line: int = 0
    """The number after the last line; equals `first_line` where there is none."""
    last_at: float = 0.0
    """Unix seconds of the last request."""


def read_ledger(run_dir: Path, histories: Histories, *, begins_at: int) -> LedgerWindow:
    """Adds each line of the ledger copy to its history.

    Args:
        begins_at: the line that the run recorded before its first request; the copy must start there.

    Raises:
        EvidenceError: a gap, a changed line, or a copy that starts elsewhere.
    """
    window = LedgerWindow(first_line=begins_at, next_line=begins_at)
    rounds: dict[str, int] = {}
    known = histories.get
    with shaped(LEDGER):
        for record in records(run_dir / LEDGER, trust_first=True):
            number = record["n"]
            if number != window.next_line:
                raise EvidenceError(f"{LEDGER} begins at line {number}; the run began at line {begins_at}")
            window.next_line = number + 1
            kind = record["k"]
            if kind == "start":
                window.starts.append(float(record["at"]))
                continue
            if kind != "req":
                raise EvidenceError(f"{LEDGER}: line {number} is of an unknown kind {kind!r}")
            history = known(record["id"].lower()) or _stranger(window, record)
            if history is not None:
                _add(history, record, rounds)
            window.requests += 1
            window.last_at = record["at"]
    return window


def is_delivery(status: int) -> bool:
    """Whether this answer of the merchant acknowledges the delivery."""
    return 200 <= status < 300


def _stranger(window: LedgerWindow, record: dict[str, Any]) -> History | None:
    transaction_id = record["id"].lower()
    if not transaction_id and not is_delivery(record["status"]):
        window.junk += 1
        return None
    history = window.strangers.get(transaction_id)
    if history is None:
        history = window.strangers[transaction_id] = History()
        history.sent = False
    return history


def _add(history: History, record: dict[str, Any], rounds: dict[str, int]) -> None:
    status, attempt = record["status"], record["att"] or ""
    history.answers = f"{history.answers} {status}" if history.answers else _word(status)
    number = rounds.get(attempt)
    if number is None:
        number = rounds[attempt] = round_of(attempt)
    history.rounds = max(history.rounds, number)
    if not is_delivery(status):
        return
    if record["hmac"] != GOOD_SIGNATURE or record["wh"] != GOOD_SIGNATURE:
        history.bad_signature = True
    answer = record.get("ans") or ""
    again = str(record.get("red") or "")
    arrival = Arrival(float(record["at"]), record["src"] or "", attempt, record["by"] or "", answer, again)
    history.arrive(arrival, bytes.fromhex(record["sha"]))


_WORDS: dict[int, str] = {}


def _word(status: int) -> str:
    """The status as text, one string for all histories that begin with it."""
    return _WORDS.setdefault(status, str(status)) if -1 <= status < 1000 else str(status)


def round_of(attempt: str) -> int:
    """The round in `round.attempt`; 0 where it holds none."""
    number = attempt.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


@dataclass(slots=True)
class Outside:
    """Ids that belong to somebody else, from the run's own records of them."""

    before: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    earlier: dict[str, set[bytes]] = field(default_factory=dict)
    """Ids with a well signed 2xx line before the run's part of the ledger, with the SHA-256 of the bytes delivered."""

    def knows(self, transaction_id: str) -> bool:
        """Whether the id was somebody else's."""
        return transaction_id in self.before or transaction_id in self.others or transaction_id in self.earlier


def read_outside(run_dir: Path) -> Outside:
    """The ids of others. Raises EvidenceError where a file of them is damaged."""
    outside = Outside()
    with shaped(BEFORE):
        outside.before.update(record["id"].lower() for record in records(run_dir / BEFORE) if "id" in record)
    with shaped(OTHERS):
        outside.others.update(record["id"].lower() for record in records(run_dir / OTHERS) if "id" in record)
    with shaped(EARLIER):
        for record in records(run_dir / EARLIER):
            signed = record["hmac"] == GOOD_SIGNATURE and record["wh"] == GOOD_SIGNATURE
            if is_delivery(record["status"]) and signed:
                outside.earlier.setdefault(record["id"].lower(), set()).add(bytes.fromhex(record["sha"]))
    return outside
