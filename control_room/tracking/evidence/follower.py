"""Following a run: the operation log, the ledger, Postgres and the dispatcher, put together into the arithmetic.

Cheap with many ids: the log and the ledger are read from where the last look ended, and Postgres is asked about open
ids alone, the newest first and no more than a bound per look.

Failure policy: open, towards members. One that is dead costs its own figures, which are then marked stale; no look
raises for it. Nothing here decides a verdict.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from control_room.stack.runtime import Endpoints, StackError
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.evidence.ledger_pages import LedgerPage, LedgerSource
from control_room.tracking.evidence.operation_tail import EARLIER, NEW, SILENT, OperationTail
from control_room.tracking.evidence.probe_log import ProbeLog
from control_room.tracking.evidence.run_document import ledger_from
from control_room.tracking.evidence.standing import ABSENT, UNASKED, Standing
from control_room.tracking.evidence.stores_sql import CHUNK_IDS, StoreReader, StoreRow
from control_room.tracking.http_source import fetch_json
from control_room.tracking.parts import SourceError
from control_room.verify.files import OPERATIONS
from control_room.verify.stores import PENDING

log = logging.getLogger(__name__)
LOOK_BUDGET_S: Final = 1.0
"""How long one look may read the ledger; a ledger that grew by more is caught up with over several looks."""
ASKED_PER_LOOK: Final = 2_000
"""Open ids that Postgres is asked about again per look; with more open they take turns."""
_SHOWN_STALE_AFTER_S: Final = 1.0
DELIVERED_STATE: Final = "delivered"
"""Postgres' word for it: the pipeline's own, which no verdict rests on."""


class RunFollower:
    """Follows one run. `sample` is one look; not for several threads."""

    def __init__(
        self,
        endpoints: Endpoints,
        run_dir: Path,
        *,
        record: bool = True,
        where: Callable[[], Endpoints] | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
            endpoints: where everything answers.
            run_dir: the run's folder.
            record: whether each look is appended to probes.jsonl.
            where: asked again while the dispatcher is silent: a container that was started again may answer at
                another port.

        Raises:
            SourceError: run.json is missing or unreadable.
        """
        self._ledger = LedgerSource(endpoints.merchant_url)
        self._stores = StoreReader(endpoints.postgres_conninfo, deadline_s=2.0)
        self._status_url = endpoints.dispatcher_status_url
        self._where = where
        self._tail = OperationTail(run_dir / OPERATIONS)
        self._probes = ProbeLog(run_dir) if record else None
        self._turn: deque[str] = deque()
        self._silent_since: dict[str, float] = {}
        self._first_line = ledger_from(run_dir)
        self._earlier_line = 0
        self.next_line = self._first_line
        """The first line of the ledger that was not read yet."""
        self.ledger_lines = self._first_line
        """How many lines the ledger had at the last look."""
        self.ledger_shrank = False
        """Whether the ledger ever had fewer lines than before."""
        self._behind: tuple[int, float] | None = None
        """An end of the ledger that was not reached by reading, and when that was first seen."""
        self.standing = Standing()
        self.in_flight: frozenset[str] = frozenset()

    @property
    def client_ended(self) -> bool:
        """Whether the operation log has its end."""
        return self._tail.ended

    @property
    def stale(self) -> bool:
        """Whether some source did not answer at the last look."""
        return bool(self._silent_since)

    def heard(self, source: str) -> bool:
        """Whether a source (`postgres`, `merchant-server`, `dispatcher`) answered at the last look."""
        return source not in self._silent_since

    def sample(self, *, client_gone: bool = False) -> Arithmetic:
        """One look: the arithmetic now.

        Args:
            client_gone: nothing more will come from the client, so sends without a line after them had no answer, and
                every id without an answer is asked about.
        """
        fresh = self._read_operations(client_gone)
        self._read_ledger(fresh)
        for transaction_id in fresh:
            self.standing.hear(transaction_id, NEW)
        self._read_earlier()
        self._ask_postgres(every_silent=client_gone)
        self._ask_dispatcher()
        # Last, so that what Postgres or the dispatcher let go of meanwhile is found in the ledger and not missed twice.
        self._read_ledger({})
        arithmetic = self._sum()
        if self._probes is not None:
            self._probes.append(arithmetic)
        return arithmetic

    def close(self) -> None:
        """Closes connections and the probe log."""
        self._ledger.close()
        self._stores.close()
        if self._probes is not None:
            self._probes.close()

    def __enter__(self) -> RunFollower:
        """The follower itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Closes it."""
        self.close()

    def _read_operations(self, client_gone: bool) -> dict[str, None]:
        """Hears what is news in the log; but for ids that were answered as new, nearly all, which it gives back."""
        fresh: dict[str, None] = {}
        for transaction_id, flags in self._tail.news():
            if flags == NEW:
                fresh[transaction_id] = None
                continue
            if transaction_id in fresh:  # in their order: heard of as a duplicate alone it might be from before the run
                del fresh[transaction_id]
                self.standing.hear(transaction_id, NEW)
            self.standing.hear(transaction_id, flags)
        if client_gone:
            for transaction_id in self._tail.unanswered():
                self.standing.hear(transaction_id, SILENT)
        return fresh

    def _read_ledger(self, fresh: dict[str, None]) -> None:
        if not self._ledger.exists:
            return  # then Postgres' word is taken, see `_place`
        self.next_line = self._pages(self.next_line, None, lambda ids: self.standing.deliver_all(ids, fresh))

    def _read_earlier(self) -> None:
        """Looks for deliveries before the run, but only when an open id makes that a possibility."""
        if not self._ledger.exists:
            return
        stored_silent = any(place != ABSENT for place in self.standing.silent.values())
        if self._earlier_line < self._first_line and (self.standing.duplicates_acknowledged or stored_silent):
            self._earlier_line = self._pages(self._earlier_line, self._first_line, self._deliver_earlier)

    def _deliver_earlier(self, transaction_ids: Sequence[str]) -> None:
        for transaction_id in transaction_ids:
            self.standing.deliver(transaction_id, EARLIER)

    def _pages(self, line: int, end: int | None, deliver: Callable[[Sequence[str]], None]) -> int:
        """Reads pages from `line` on, to `end` or the ledger's end, within the budget; the first line not read."""
        until_s = time.monotonic() + LOOK_BUDGET_S
        try:
            while end is None or line < end:
                page = self._ledger.page(line) if end is None else self._ledger.page(line, min(end - line, CHUNK_IDS))
                self._note_size(page)
                deliver(page.delivered_ids())
                line = page.next_line
                if not page.body or page.next_line >= page.total_lines or time.monotonic() > until_s:
                    break
        except SourceError as error:
            self._silence("merchant-server", error)
        else:
            self._silent_since.pop("merchant-server", None)
        return line

    def _note_size(self, page: LedgerPage) -> None:
        self.ledger_shrank |= page.total_lines < self.ledger_lines
        self.ledger_lines = page.total_lines

    def _ask_postgres(self, *, every_silent: bool) -> None:
        standing = self.standing
        ids = self._next_open()
        ids += list(standing.silent) if every_silent else list(itertools.islice(standing.silent, CHUNK_IDS))
        try:
            for begin in range(0, len(ids), CHUNK_IDS):
                self._place(self._stores.rows(ids[begin : begin + CHUNK_IDS]))
        except SourceError as error:
            self._silence("postgres", error)
        else:
            if ids:
                self._silent_since.pop("postgres", None)

    def _next_open(self) -> list[str]:
        """Whom to ask about: all while they are few; else those never asked, and some of the others in turn."""
        opened = self.standing.open
        if len(opened) <= ASKED_PER_LOOK:
            return list(opened)
        fresh = (transaction_id for transaction_id, place in opened.items() if place == UNASKED)
        chosen = list(itertools.islice(fresh, CHUNK_IDS))
        if not self._turn:
            self._turn.extend(opened)
        again = 0
        while self._turn and again < ASKED_PER_LOOK:
            transaction_id = self._turn.popleft()
            if opened.get(transaction_id, UNASKED) != UNASKED:
                chosen.append(transaction_id)
                again += 1
        return chosen

    def _place(self, rows: Sequence[StoreRow]) -> None:
        for row in rows:
            place = PENDING.get(row.state, row.state) if row.payment else ABSENT
            if place == DELIVERED_STATE and not self._ledger.exists:
                self.standing.deliver(row.transaction_id)
            for places in (self.standing.open, self.standing.silent):
                if row.transaction_id in places:
                    places[row.transaction_id] = place

    def _ask_dispatcher(self) -> None:
        try:
            status: dict[str, Any] = fetch_json(self._status_url)
        except SourceError as error:
            self._silence("dispatcher", error)
            self.in_flight = frozenset()
            self._look_for_dispatcher()
        else:
            self._silent_since.pop("dispatcher", None)
            found = status.get("in_flight_ids")
            self.in_flight = frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def _look_for_dispatcher(self) -> None:
        if self._where is not None:
            with contextlib.suppress(StackError):  # failure policy: open, it stays silent until the next look
                self._status_url = self._where().dispatcher_status_url

    def _silence(self, source: str, error: SourceError) -> None:
        if source not in self._silent_since:
            self._silent_since[source] = time.monotonic()
            log.info("source silent name=%s reason=%s", source, error)

    def _sum(self) -> Arithmetic:
        standing = self.standing
        places = Counter(standing.open.values())
        for transaction_id in self.in_flight & standing.open.keys():
            places[standing.open[transaction_id]] -= 1
            places["in_flight"] += 1
        now = time.monotonic()
        stale = [
            f"{source} silent for {now - since:.0f} s"
            for source, since in sorted(self._silent_since.items())
            if now - since >= _SHOWN_STALE_AFTER_S
        ]
        if not self._ledger.exists:
            stale.append("no ledger to read: delivered is what Postgres recorded")
        if self._behind_for_s(now) >= _SHOWN_STALE_AFTER_S:
            stale.append(f"ledger read to line {self.next_line} of {self.ledger_lines}")
        return Arithmetic.balanced(
            standing.accepted,
            standing.delivered,
            {name: places[name] for name in ("outbox", "kafka", "in_flight", "retrying", "requeued", "dead")},
            unanswered=sum(place != ABSENT for place in standing.silent.values()),
            stale=tuple(stale),
        )

    def _behind_for_s(self, now_s: float) -> float:
        """How long the reading has not reached an end of the ledger. Lines that come while it is read are no delay."""
        if self._behind is None or self.next_line >= self._behind[0]:
            self._behind = (self.ledger_lines, now_s) if self.next_line < self.ledger_lines else None
        return 0.0 if self._behind is None else now_s - self._behind[1]
