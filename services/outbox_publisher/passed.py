"""Rows that the dispatcher has passed without a trace: what a broker acknowledged and did not keep.

The last net. Whatever loses a record that was acknowledged (a producer's id that another one has in a cluster made
anew, a mark of the old topic that came late), the row passes for published and no offset is missing. But the
dispatcher commits an offset only when the outcome of each record before it is in Postgres: a published row below it
has a delivery, or its record was never there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaException

from services.common.bitmap import topic_id_in
from services.common.group_offsets import GroupOffsets
from services.common.postgres import Connection
from services.outbox_publisher import batches
from services.outbox_publisher.cluster import Offsets, Seen

log = logging.getLogger(__name__)
INTERVAL_S: Final = 10.0
"""Between two looks. It is the last net, not the first."""
_ASK_TIMEOUT_S: Final = 1.0
"""The loop waits for it: with the group's coordinator away once in `INTERVAL_S`."""
_ROWS: Final = 2000
"""Per partition and look, and on from there at the next: what is retried and re-queued has its batches too."""

Run = Callable[[Callable[[Connection], Any]], Any]
"""Runs a statement's function on the publisher's connection. Raises psycopg.Error."""


class Passed:
    """Looks at what the group has committed, now and then. Not for several threads."""

    def __init__(self, offsets: GroupOffsets, run: Run) -> None:
        self._offsets = offsets
        self._run = run
        self._look_at_s = 0.0
        self._after: dict[int, int] = {}
        """How far the present sweep over a partition's batches has come."""

    def put_back(self, seen: Seen, gone_to: int) -> int:
        """How many rows are pending again; 0 where it is not time to look.

        Args:
            seen: what Kafka said a moment ago.
            gone_to: up to this number, batches are of a topic that has gone.

        Failure policy: closed. Without an answer, or with one that is not about the topic that is there now, nothing
        is put back: the next look tells.

        Raises:
            psycopg.Error: it is not known what was put back.
        """
        now_s = time.monotonic()
        if now_s < self._look_at_s or not seen.topic_id:
            return 0
        self._look_at_s = now_s + INTERVAL_S
        if not self._run(batches.newest):  # nothing is under way: Kafka need not be asked
            return 0
        committed = self._committed(seen)  # before the rows are read: what is below has its outcome in Postgres by then
        return sum(self._sweep(seen.cluster_id, number, offset, gone_to) for number, offset in committed.items())

    def _committed(self, seen: Seen) -> Offsets:
        """Of those partitions whose commit says that it is about the topic that was seen."""
        try:
            told = self._offsets.read(seen.partitions, _ASK_TIMEOUT_S)
        except KafkaException as error:
            log.debug("the group's commits are not known reason=%s", error)
            return {}
        now = [one for one in told if one.offset > 0 and topic_id_in(one.metadata) == seen.topic_id]
        return {one.partition: one.offset for one in now}

    def _sweep(self, cluster_id: str, partition: int, committed: int, gone_to: int) -> int:
        after = max(self._after.get(partition, 0), gone_to)
        work = partial(batches.put_back_passed, cluster_id=cluster_id, partition=partition, committed=committed)
        last, rows = self._run(partial(work, after=after, limit=_ROWS))
        self._after[partition] = last or 0
        return int(rows)
