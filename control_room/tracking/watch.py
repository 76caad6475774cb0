"""All collectors of one stack, and the snapshots made of what they have: at most four a second.

Each collector lives in a thread of its own and outlives the stack: taken down and started again, with other ports even,
it is found again by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from control_room.stack.runtime import Endpoints, Runtime
from control_room.tracking.allowance import Allowance
from control_room.tracking.arithmetic import Arithmetic
from control_room.tracking.collector import STALE_AFTER_S, Collector
from control_room.tracking.counts import CountsReader
from control_room.tracking.faults_view import FaultReader
from control_room.tracking.http_source import fetch_json
from control_room.tracking.kafka_view import KafkaReader
from control_room.tracking.ledger_tail import LedgerTail
from control_room.tracking.listing import Query
from control_room.tracking.log_tail import LogTail
from control_room.tracking.members import MemberReader, unchanged
from control_room.tracking.merchant import read_state
from control_room.tracking.pipeline import OutboxReader
from control_room.tracking.runs import RunReader, RunsReader, RunStanding
from control_room.tracking.snapshot import MerchantView, Pace, Snapshot

if TYPE_CHECKING:
    from control_room.tracking.feed import TransactionFeed

MIN_INTERVAL_S: Final = 0.25
"""Between two snapshots."""
PACE_SECONDS: Final = 60
_SAME_LOOK_S: Final = 0.05
"""Two ages of one look differ by what it takes to ask for them."""
RARE_S: Final = 5.0
"""How old what seldom changes in Kafka may be, while no broker comes or goes."""
WAKING: Final = frozenset({"stack", "transactions", "run", "runs", "faults"})
"""Parts that are cheap to look at: where one of them says something new, all that were calm are asked at once."""
NOTICED_S: Final = 1.0
"""How late these notice it at most."""
STATUS_PARTS: Final = ("stack", "members", "kafka", "outbox", "dispatcher", "merchant", "links")
"""What the verb `status` asks for."""

R = TypeVar("R")


class PerStack(Generic[R]):
    """A reader for where the stack answers now; made anew when that changes."""

    def __init__(self, runtime: Runtime, make: Callable[[Endpoints], R]) -> None:
        self._runtime = runtime
        self._make = make
        self._ends: Endpoints | None = None
        self._reader: R | None = None

    def now(self) -> R:
        """The reader. Raises NotRunningError where no stack was started."""
        ends = self._runtime.endpoints()
        if self._reader is None or ends != self._ends:
            if self._reader is not None and hasattr(self._reader, "close"):
                self._reader.close()
            self._ends, self._reader = ends, self._make(ends)
        return self._reader

    def made(self) -> R | None:
        """The reader of the last look; None before the first."""
        return self._reader


class Watch:
    """Gathers from `start` to `stop`. `snapshot` never waits for a source."""

    def __init__(
        self,
        runtime: Runtime,
        state_dir: Path,
        *,
        parts: Collection[str] | None = None,
        lasting: Callable[[str], bool] = lambda _: True,
        least_every_s: float = 0.0,
        run_dir: Path | None = None,
    ) -> None:
        """Gathers nothing yet.

        Args:
            runtime: the stack.
            state_dir: where its runs and its fault journal lie.
            parts: names of Snapshot's parts, all where not given.
            lasting: see FaultReader.
            least_every_s: no source is read more often than this.
            run_dir: the run to follow; the newest where not given.
        """
        self._runtime = runtime
        self._least_every_s = least_every_s
        self._run_dir = run_dir
        self._query = Query()
        self._logs = LogTail(runtime)
        self._allowance = Allowance()
        self._feed = PerStack(runtime, self._make_feed)
        collectors = self._collectors(runtime, state_dir, lasting)
        self._collectors_by_name = {each.name: each for each in collectors if parts is None or each.name in parts}
        self._pace = _PaceKeeper()
        self._last = Snapshot(runtime=runtime.name)
        self._next_s = 0.0
        self._lock = threading.Lock()

    def _collectors(self, runtime: Runtime, state_dir: Path, lasting: Callable[[str], bool]) -> list[Collector[Any]]:
        kafka = PerStack(runtime, lambda ends: KafkaReader(ends, rare_s=RARE_S))
        outbox = PerStack(runtime, lambda ends: OutboxReader(ends.postgres_conninfo))
        counts = PerStack(runtime, lambda ends: CountsReader(ends.postgres_conninfo))
        ledger = PerStack(runtime, lambda ends: LedgerTail(ends.merchant_url))
        run = PerStack(runtime, lambda ends: RunReader(state_dir / "runs", ends, self._run_dir))

        def collector(name: str, read: Callable[[], Any], every_s: float, **options: Any) -> Collector[Any]:
            if name in WAKING:
                options |= {"most_s": NOTICED_S, "woke": self._stir}
            every_s = max(every_s, self._least_every_s)
            return Collector(name, read, every_s, allowance=self._allowance, **options)

        return [
            collector("stack", runtime.endpoints, 0.5),
            collector("members", MemberReader(runtime).read, 2.0, alike=unchanged),
            collector("kafka", lambda: kafka.now().read(), 1.0),
            collector("outbox", lambda: outbox.now().read(), 1.0),
            collector("links", lambda: _links(runtime), 1.0),
            collector("dispatcher", lambda: fetch_json(runtime.endpoints().dispatcher_status_url), 0.5),
            collector("merchant", lambda: _merchant(runtime.endpoints().merchant_url), 1.0),
            collector("ledger", lambda: ledger.now().read(), 1.0),
            collector("counts", lambda: self._counted(counts), 1.0),
            collector("transactions", lambda: self._feed.now().read(), 0.5),
            collector("run", lambda: run.now().read(), 0.5),
            collector("runs", RunsReader(state_dir / "runs").read, 1.0),
            collector("faults", FaultReader(state_dir / "faults.jsonl", lasting).read, 0.5),
            collector("logs", self._logs.read, 0.25),
        ]

    def _counted(self, counts: PerStack[CountsReader]) -> Arithmetic | None:
        """Of all that lies in Postgres. While the newest run has a sum of its own nobody looks at this one, and to
        count reads three tables whole: it is None then."""
        run = self._collectors_by_name.get("run")
        standing: RunStanding | None = run.part().value if run is not None else None
        if standing is not None and (standing.arithmetic is not None or standing.summary.arithmetic is not None):
            return None
        return counts.now().read()

    def _make_feed(self, ends: Endpoints) -> TransactionFeed:
        from control_room.tracking.feed import TransactionFeed  # `status` needs no list, and no columns to hold it

        feed = TransactionFeed(ends.postgres_conninfo)
        feed.ask(self._query)
        return feed

    def start(self) -> None:
        """Starts every collector."""
        for collector in self._collectors_by_name.values():
            collector.start()

    def stop(self) -> None:
        """Ends them; returns at once, whatever hangs."""
        self._logs.stop()
        for collector in self._collectors_by_name.values():
            collector.stop()

    def _stir(self) -> None:
        for collector in self._collectors_by_name.values():
            collector.stir()

    def hurry(self, *names: str) -> None:
        """Has these parts (all where none is named) read again at once."""
        for name, collector in self._collectors_by_name.items():
            if not names or name in names:
                collector.hurry()

    def ask(self, query: Query) -> None:
        """What the list of transactions is to show from now on."""
        self._query = query
        feed = self._feed.made()
        if feed is not None:
            feed.ask(query)
        self.hurry("transactions")

    def snapshot(self) -> Snapshot:
        """Everything now; the same object again where the last one is younger than MIN_INTERVAL_S."""
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._next_s:
                self._next_s = now_s + MIN_INTERVAL_S
                self._last = self._taken(now_s)
            return self._last

    def _taken(self, now_s: float) -> Snapshot:
        parts: dict[str, Any] = {name: each.part() for name, each in self._collectors_by_name.items()}
        taken = replace(self._last, number=self._last.number + 1, taken_at_s=time.time(), **parts)
        return replace(taken, pace=self._pace.look(taken, now_s))


def _links(runtime: Runtime) -> dict[str, Any]:
    links = runtime.links()
    return {} if links is None else dict(links.state())


def _merchant(url: str) -> MerchantView:
    return MerchantView(*read_state(url))


class _PaceKeeper:
    """Turns counters into figures per second."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, float, float]] = {}
        """Of each counter: its value, when that was read, and the rate until then."""
        self._kept = {name: deque[float](maxlen=PACE_SECONDS) for name in Pace.__dataclass_fields__}
        self._next_s = 0.0
        self._pace = Pace()

    def look(self, snapshot: Snapshot, now_s: float) -> Pace:
        """The pace with `snapshot` as its newest, once a second."""
        if now_s < self._next_s:
            return self._pace
        self._next_s = now_s + 1.0
        for name, (count, age_s) in _counters(snapshot).items():
            if count is None:
                continue
            read_at_s = now_s - age_s
            before = self._before.get(name, (count, read_at_s, 0.0))
            between_s = read_at_s - before[1]
            if between_s > _SAME_LOOK_S:
                before = count, read_at_s, max(0.0, count - before[0]) / between_s
            elif age_s > STALE_AFTER_S:
                before = count, before[1], 0.0
            self._before[name] = before
            self._kept[name].append(before[2])
        self._pace = Pace(**{name: tuple(kept) for name, kept in self._kept.items()})
        return self._pace


def _counters(snapshot: Snapshot) -> dict[str, tuple[float | None, float]]:
    """Each counter, and how old it is."""
    kafka, merchant = snapshot.kafka.value, snapshot.merchant.value
    listing, standing = snapshot.transactions.value, snapshot.run.value
    sent = standing.arithmetic if standing is not None else None  # a record is made without the list
    partitions = kafka.partitions if kafka is not None else ()
    answers = dict(merchant.answers) if merchant is not None else {}
    taken = sum(count for answer, count in answers.items() if answer.startswith("2"))
    source = snapshot.transactions if listing is not None else snapshot.run
    return {
        "accepted": (listing.seen if listing is not None else None if sent is None else sent.accepted, source.age_s),
        "produced": (sum(each.end_offset or 0 for each in partitions) if partitions else None, snapshot.kafka.age_s),
        "consumed": (sum(each.committed or 0 for each in partitions) if partitions else None, snapshot.kafka.age_s),
        "delivered": (None if merchant is None else taken, snapshot.merchant.age_s),
        "failed": (None if merchant is None else sum(answers.values()) - taken, snapshot.merchant.age_s),
    }
