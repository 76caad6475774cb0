"""Now and then: does Kafka still hold what was published? Rows whose records are gone are put back, and go out again.

Gone are all records of another cluster than the one that answers (Kafka was made anew), those of a topic that was
deleted and made again, and those at offsets that their partition does not have: beyond its end (an unclean loss) or
below its start (retention). Never there were those that the dispatcher has passed without a trace
(`services.outbox_publisher.passed`). Topics that are missing are made on the way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from services.common import redeliveries
from services.outbox_publisher import batches, metrics
from services.outbox_publisher.batches import PutBack
from services.outbox_publisher.cluster import Cluster, Seen
from services.outbox_publisher.courier import Courier
from services.outbox_publisher.passed import Passed, Run

log = logging.getLogger(__name__)
INTERVAL_S: Final = 2.0
"""Between two looks: how late the rows of a Kafka that was made anew set out again."""
_AWAY_INTERVAL_S: Final = 5.0
"""Likewise while no broker answers: the loop waits for each look."""
_SLICE_S: Final = 0.3
"""How long one look may write: publishing and marking go on in between."""
_ROWS: Final = 2000
"""Per statement: well below the deadline of one on a slow disk."""
_STALE_S: Final = 5.0
"""An answer older than this decides nothing: the process may have been frozen since, and the cluster be another."""


class Inspection:
    """The publisher's looks at Kafka. Not for several threads."""

    def __init__(self, cluster: Cluster, courier: Courier, passed: Passed, run: Run) -> None:
        self._cluster = cluster
        self._courier = courier
        self._passed = passed
        self._run = run
        self._look_at_s = 0.0
        self._looked_s = 0.0
        self._settled_to = 0
        self._backfilled = False
        self._topic_id = ""
        self._gone_to = 0
        """Up to this number, batches are of a topic that has gone."""
        self._rows: dict[str, int] = {}
        """Rows put back and not told yet, by reason."""

    def look(self) -> None:
        """Looks where it is time to. Raises psycopg.Error, TopicError."""
        if time.monotonic() < self._look_at_s:
            return
        seen = self._cluster.look()
        self._looked_s = time.monotonic()
        self._look_at_s = self._looked_s + (_AWAY_INTERVAL_S if seen is None else INTERVAL_S)
        if seen is None:
            return
        if not seen.complete:
            # Without the topics nothing can be sent, nor can anything be said of offsets: at the next look.
            self._look_at_s = self._looked_s + INTERVAL_S / 2
            log.warning("topics are missing, making them cluster=%s", seen.cluster_id)
            if not self._cluster.make_topics():
                return
        before = self._courier.cluster_id
        if seen.cluster_id != before:
            if before:
                log.warning(
                    "Kafka was made anew: another cluster answers cluster=%s before=%s", seen.cluster_id, before
                )
            self._courier.belong_to(seen.cluster_id)
        self._compare(seen)

    def _compare(self, seen: Seen) -> None:
        until_s = time.monotonic() + _SLICE_S
        if seen.topic_id and seen.topic_id != self._topic_id:
            self._gone_to = self._run(partial(batches.note_topic, topic_id=seen.topic_id))
            self._topic_id = seen.topic_id
        gone = partial(batches.put_back_of_gone_logs, cluster_id=seen.cluster_id, gone_to=self._gone_to)
        done = self._put_back("log", until_s, gone)
        done = done and self._compare_redeliveries(seen, until_s) and self._compare_offsets(seen, until_s)
        if not done:
            self._look_at_s = 0.0  # more is to be put back: go on in the next round
            return
        self._settle(until_s)
        self._note("passed", self._passed.put_back(seen, self._gone_to))  # after the settling: less is left to look at
        self._tell(seen.cluster_id)
        if not self._backfilled:
            self._backfilled = bool(self._run(partial(batches.backfill, cluster_id=seen.cluster_id, limit=_ROWS)))
            self._look_at_s = self._look_at_s if self._backfilled else time.monotonic() + _SLICE_S

    def _compare_redeliveries(self, seen: Seen, until_s: float) -> bool:
        """Puts back those that went to a topic that is gone (at each look: one may be marked after the topic was made
        anew), and those that lie beyond the end of their partition. False where more is left than time."""
        while self._topic_id:
            rows = self._run(partial(redeliveries.put_back, topic_id=self._topic_id, limit=_ROWS))
            self._tell_redeliveries(rows)
            if rows < _ROWS:
                break
            if time.monotonic() > until_s:
                return False
        places = self._run(partial(redeliveries.last_places, limit=_ROWS))  # before the ends: see `put_back_beyond`
        if places:
            _, ends = self._cluster.bounds(seen.partitions)
            gone = [place for place in places if place.offset >= ends.get(place.partition, place.offset + 1)]
            if gone:
                self._tell_redeliveries(self._run(partial(redeliveries.put_these_back, places=gone)))
        return True

    def _tell_redeliveries(self, rows: int) -> None:
        if rows:
            metrics.PUT_BACK.labels("redelivery").inc(rows)
            log.warning("redeliveries whose record is gone from Kafka are published again rows=%d", rows)

    def _compare_offsets(self, seen: Seen, until_s: float) -> bool:
        newest = self._run(batches.newest)  # before the ends: see `put_back_beyond`
        if not newest:
            return True
        starts, ends = self._cluster.bounds(seen.partitions)
        self._looked_s = time.monotonic()
        looks = [partial(batches.put_back_beyond, partition=partition, end=end) for partition, end in ends.items()] + [
            partial(batches.put_back_below, partition=partition, start=start) for partition, start in starts.items()
        ]
        return all(
            self._put_back("offset", until_s, partial(look, cluster_id=seen.cluster_id, newest=newest))
            for look in looks
        )

    def _put_back(self, reason: str, until_s: float, work: Callable[..., PutBack]) -> bool:
        """Repeats `work` until nothing is left; False where its time is over before."""
        while True:
            now_s = time.monotonic()
            if now_s - self._looked_s > _STALE_S:
                return False
            done = self._run(partial(work, limit=_ROWS))
            self._note(reason, done.rows)
            if not done.batches:
                return True
            if time.monotonic() > until_s:
                return False

    def _note(self, reason: str, rows: int) -> None:
        if rows:
            metrics.PUT_BACK.labels(reason).inc(rows)
            self._rows[reason] = self._rows.get(reason, 0) + rows

    def _tell(self, cluster_id: str) -> None:
        for reason, rows in self._rows.items():
            log.warning(_WORDS[reason], rows, cluster_id)
        self._rows.clear()

    def _settle(self, until_s: float) -> None:
        """Forgets what is delivered: as long as that gets on, else a little with each look."""
        while True:
            last, forgotten = self._run(partial(batches.settle, after=self._settled_to, limit=_ROWS))
            self._settled_to = last or 0
            if not forgotten or last is None or time.monotonic() > until_s:
                return


_WORDS: Final = {
    "log": "rows published to a Kafka or topic that is gone, and not delivered, are published again rows=%d cluster=%s",
    "offset": "rows whose record is gone from Kafka, and not delivered, are published again rows=%d cluster=%s",
    "passed": "rows that the dispatcher has passed without a trace are published again rows=%d cluster=%s",
}
