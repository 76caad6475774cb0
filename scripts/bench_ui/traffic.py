"""Made-up traffic behind the real collectors: a Postgres double that answers the feed's statements.

Everything from the feed on is the control room's own: rows read, held, put in order, published, drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from control_room.stack.runtime import MEMBERS, Endpoints, MemberStatus, State
from control_room.tracking import transactions_sql as sql
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.collector import Collector
from control_room.tracking.faults_view import FaultsView
from control_room.tracking.feed import OVERLAP_S, TransactionFeed
from control_room.tracking.kafka_view import KafkaStatus, PartitionStatus
from control_room.tracking.members import MemberView
from control_room.tracking.pipeline import OutboxStatus
from control_room.tracking.snapshot import MerchantView
from control_room.tracking.transactions import TransactionRow
from control_room.tracking.watch import Watch

_SPREAD: Final = 0x9E3779B97F4A7C15
_BIAS: Final = 1 << 40
_NAMES: Final = 800
_LET_GO_EVERY: Final = 10_000


class Payments:
    """Payment number n is accepted n / rate seconds after the start; its age decides where it is."""

    def __init__(self, rate_per_s: float, before: int) -> None:
        """`before`: so many were accepted before the start."""
        self.began_at_s = time.time()
        self._rate_per_s = rate_per_s
        self._before = before

    def accepted_at_s(self, number: int) -> float:
        """Unix. Those from before came at 500 a second."""
        return self.began_at_s + number / (self._rate_per_s if number >= 0 else 500.0)

    def newest(self) -> int:
        """The number of the newest."""
        return int((time.time() - self.began_at_s) * self._rate_per_s)

    def numbers_within(self, begin_s: float, end_s: float, limit: int = 1 << 30) -> Iterator[int]:
        """Of those accepted after `begin_s` and not after `end_s` (Unix), newest first."""
        left = limit
        for number in range(self.newest(), -self._before, -1):
            at_s = self.accepted_at_s(number)
            if at_s <= begin_s or left <= 0:
                return
            if at_s <= end_s:
                left -= 1
                yield number

    def row(self, number: int) -> TransactionRow:
        """What Postgres would tell of it now: one of twenty is refused once, and tried again after five seconds."""
        accepted_at_s = self.accepted_at_s(number)
        age_s = time.time() - accepted_at_s
        refused = number % 20 == 0
        arrives_s = 5.0 if refused else 0.3
        tried = age_s > 0.3
        delivered = age_s > arrives_s
        state = "delivered" if delivered else "retrying" if tried else "in-kafka" if age_s > 0.05 else "outbox"
        return TransactionRow(
            transaction_id=id_of(number),
            amount_inr=Decimal(1000 + number * 37 % 900_000).scaleb(-2),
            status="SUCCESS",
            sender_name=f"Sender {number % _NAMES}",
            receiver_name=f"Receiver {number % (_NAMES // 2)}",
            accepted_at_s=accepted_at_s,
            accepted_by=f"ingestion-api-{number % 3 + 1}",
            state=state,
            published_at_s=accepted_at_s + 0.05 if state != "outbox" else None,
            published_by=f"ingestion-api-{number % 3 + 1}" if state != "outbox" else None,
            partition=number % 3,
            offset=number + _BIAS,
            republished=0,
            round=int(tried),
            attempt=int(tried) + (refused and delivered),
            attempts_total=int(tried) + (refused and delivered),
            last_status=200 if delivered else 500 if tried else None,
            last_error=None,
            next_due_at_s=accepted_at_s + 5.0 if state == "retrying" else None,
            delivered_at_s=accepted_at_s + arrives_s if delivered else None,
            age_s=age_s,
        )


def id_of(number: int) -> str:
    """An id that looks like any other, and tells the number."""
    digits = f"{number * _SPREAD & 2**64 - 1:016x}{number + _BIAS:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _text(numbers: Iterable[int]) -> str:
    return ",".join(map(id_of, numbers))


class PostgresDouble:
    """A connection that knows the feed's statements alone."""

    closed = False

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._found: list[Any] = []

    def __enter__(self) -> PostgresDouble:
        """As a cursor."""
        return self

    def __exit__(self, *told: object) -> None:
        """As a cursor."""

    def cursor(self, **options: object) -> PostgresDouble:
        """Itself."""
        del options
        return self

    def execute(self, statement: bytes, given: dict[str, Any]) -> Any:
        """Answers it."""
        within = self._payments.numbers_within
        if statement == sql.ARRIVED.encode():
            fresh = list(within(given["since_s"], time.time(), given["limit"]))
            late = within(given["late_s"], given["late_end_s"], given["limit"])
            ends_s = [self._payments.accepted_at_s(number) for number in (*fresh[-1:], *fresh[:1])]
            self._found = [(_text(late), len(fresh), *(ends_s or (None, None)), _text(fresh[: given["newest"]]), 0)]
        elif statement == sql.OPEN_WITHIN.encode():
            numbers = list(within(given["begin_s"], given["end_s"]))
            is_open = (each for each in numbers if self._payments.row(each).state != "delivered")
            self._found = [(len(numbers), _text(is_open))]
        elif statement == sql.IDS_WITHIN.encode():
            numbers = list(within(given["after_s"], given["end_s"]))[::-1][: given["limit"]]
            self._found = [(id_of(each), self._payments.accepted_at_s(each)) for each in numbers]
        elif statement == sql.BY_IDS.encode():
            ids = [each for each in given["ids"].strip("{}").split(",") if each]
            self._found = [self._payments.row(int(each.replace("-", "")[16:], 16) - _BIAS) for each in ids]
        elif statement in (sql.OPEN_IDS.encode(), sql.REDELIVERED_IDS.encode()):
            return []
        else:
            raise ValueError(f"the double does not know this statement: {statement[:80]!r}")
        return self

    def fetchone(self) -> Any:
        """The one row that was found."""
        return self._found[0]

    def fetchall(self) -> list[Any]:
        """What was found."""
        return self._found

    def close(self) -> None:
        """Nothing is open."""


class Feed(TransactionFeed):
    """The real one, with a Postgres that is made up."""

    def __init__(self, payments: Payments, before: int) -> None:
        super().__init__("")
        self._double = PostgresDouble(payments)
        for number in range(-before, 0):
            row = payments.row(number)
            self.held.put(row)
            if number % _LET_GO_EVERY == 0:
                self.held.let_go(row.accepted_at_s - OVERLAP_S)

    def _connected(self) -> Any:
        return self._double


class Room:
    """What Watch asks a runtime for."""

    name = "made up"

    def endpoints(self) -> Endpoints:
        """No address: nothing is connected to."""
        return Endpoints("", {}, "", "", "", {}, "payment-webhooks", "bruce-dispatcher", "", {}, "", {})


class MadeUpWatch(Watch):
    """The real one: its threads, its rhythm, its snapshots. What the collectors read is made up."""

    def __init__(self, rate_per_s: float, before: int) -> None:
        self._payments = Payments(rate_per_s, before)
        self._rate_per_s = rate_per_s
        self._rows = Feed(self._payments, before)
        super().__init__(cast(Any, Room()), Path())

    def _make_feed(self, ends: Endpoints) -> TransactionFeed:
        del ends
        return self._rows

    def _collectors(self, *given: Any) -> list[Collector[Any]]:
        runtime = given[0]
        read: dict[str, tuple[Callable[[], Any], float]] = {
            "stack": (runtime.endpoints, 0.5),
            "members": (self._members, 2.0),
            "kafka": (self._kafka, 1.0),
            "outbox": (lambda: OutboxStatus(0, 0, 0.0), 1.0),
            "links": (dict, 1.0),
            "dispatcher": (lambda: {"paused": False, "in_flight": 3}, 0.5),
            "merchant": (lambda: MerchantView({"mode": "normal"}, {"200": self._count(), "500": 7}), 1.0),
            "counts": (lambda: Arithmetic(self._count(), self._count()), 1.0),
            "transactions": (lambda: self._feed.now().read(), 0.5),
            "faults": (FaultsView, 0.5),
        }
        return [Collector(name, *each) for name, each in read.items()]

    def _count(self) -> int:
        return max(0, self._payments.newest())

    def _members(self) -> tuple[MemberView, ...]:
        share = (time.time() % 10) / 20 if self._rate_per_s >= 1 else 0.0
        began_at_s = self._payments.began_at_s
        status = MemberStatus("", State.RUNNING, True, pid=100, started_at_s=began_at_s, cpu_s=1.0, memory_bytes=2**26)
        return tuple(MemberView(replace(status, name=name), share, (share,) * 30) for name in MEMBERS)

    def _kafka(self) -> KafkaStatus:
        end = self._count() // 3
        partitions = [PartitionStatus(number, number + 1, (1, 2, 3), (1, 2, 3), end, end, 0, 0) for number in range(3)]
        return KafkaStatus((1, 2, 3), 1, "payment-webhooks", True, 2, tuple(partitions), "bruce-dispatcher")
