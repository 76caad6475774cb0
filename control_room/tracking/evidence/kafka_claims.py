"""Checking Postgres' word that an event still waits in Kafka against Kafka itself.

An offset is committed only after the outcome it stands for is recorded. So an event that is recorded as published and
never tried, at an offset that the dispatcher's group has passed, waits for nobody: it was skipped. One at or beyond the
end of its partition is not there at all: it vanished. Either may only worsen a verdict, from late to lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from control_room.tracking.evidence.stores_sql import StoreReader, StoreRow
from control_room.tracking.kafka_view import KafkaReader, PartitionStatus
from control_room.tracking.parts import SourceError

WAITING: Final = "in-kafka"
SKIPPED: Final = "skipped"
VANISHED: Final = "vanished"

Contradictions = dict[str, str]
"""By id: the state that Kafka shows instead of `in-kafka`."""


def contradictions(rows: Iterable[StoreRow], stores: StoreReader, kafka: Callable[[], KafkaReader]) -> Contradictions:
    """Those of `rows` that claim to wait in Kafka and cannot.

    Kafka is asked after Postgres, and Postgres once more after Kafka: what was delivered in between is then recorded.

    Failure policy: open. Kafka that does not answer contradicts nothing; the ids stay late, which is never green.

    Raises:
        SourceError: Postgres does not answer.
    """
    waiting = [row.transaction_id for row in rows if row.state == WAITING]
    if not waiting:
        return {}
    try:
        partitions = {partition.number: partition for partition in kafka().read().partitions}
    except SourceError:
        return {}
    found = {}
    for row in stores.rows(waiting):
        if row.state == WAITING and row.partition is not None and row.offset is not None:
            state = _state(partitions.get(row.partition), row.offset)
            if state != WAITING:
                found[row.transaction_id] = state
    return found


def _state(partition: PartitionStatus | None, offset: int) -> str:
    if partition is None:
        return WAITING
    if partition.end_offset is not None and offset >= partition.end_offset:
        return VANISHED
    if partition.committed is not None and offset < partition.committed:
        return SKIPPED
    return WAITING
