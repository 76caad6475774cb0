"""Checking Postgres' word that an event is still to be delivered against Kafka itself.

An offset is covered by a commit (its offset or its bitmap) only after the outcome it stands for is recorded, and a
re-queue is recorded only after Kafka took it. So while an event is recorded as open, some record of it must be in the
topic that no commit covers. Where none is, nobody will deliver it. That may only worsen a verdict, from late to lost:

- `skipped`: published and never tried, and a commit covers its record;
- `vanished`: published and never tried, and its record is not in the topic;
- `nowhere`: retrying or re-queued, and every record of it is covered or gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from control_room.tracking.evidence.kafka_log import OpenRecords, PartitionLog, Partitions
from control_room.tracking.evidence.stores_sql import CHUNK_IDS, StoreReader, StoreRow

WAITING: Final = "in-kafka"
SKIPPED: Final = "skipped"
VANISHED: Final = "vanished"
NOWHERE: Final = "nowhere"
CLAIMS: Final = frozenset({WAITING, "retrying", "requeued"})
"""States that say: a record of it in Kafka is still to be worked on."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What Kafka said at one moment."""

    partitions: Partitions
    open: OpenRecords


def contradictions(claimants: Sequence[str], stores: StoreReader, witness: Witness) -> list[tuple[StoreRow, str]]:
    """The rows, with the state that Kafka shows, of ids that claim to be open and cannot be.

    Args:
        claimants: ids that were recorded as open *before* Kafka was asked. Postgres is asked once more here, after it:
            what was delivered in between is then recorded.
        stores: Postgres.
        witness: what Kafka said in between.

    Raises:
        SourceError: Postgres does not answer.
    """
    suspects = iter([transaction_id for transaction_id in claimants if transaction_id not in witness.open.by_id])
    found = []
    while chunk := list(islice(suspects, CHUNK_IDS)):
        for row in stores.rows(chunk):
            state = _state(row, witness) if row.state in CLAIMS else row.state
            if row.state in CLAIMS and state not in CLAIMS:
                found.append((row, state))
    return found


def _state(row: StoreRow, witness: Witness) -> str:
    """What Kafka shows of a row that claims to be open, and of which no uncovered record was read."""
    if row.state != WAITING:
        return NOWHERE if _all_read(witness) else row.state
    if row.partition is None or row.offset is None:
        return WAITING
    partition = witness.partitions.get(row.partition)
    if partition is None:
        return WAITING
    if partition.coverage.covers(row.offset) and row.offset < partition.end:
        return SKIPPED
    gone = row.offset >= partition.end or row.offset < partition.start or _all_read(witness)
    return VANISHED if gone and _in_full_sync(partition) else WAITING


def _all_read(witness: Witness) -> bool:
    return witness.open.complete and all(_in_full_sync(partition) for partition in witness.partitions.values())


def _in_full_sync(partition: PartitionLog) -> bool:
    """A leader that was elected a moment ago may know an end that is too low, until its followers are with it."""
    return partition.in_sync >= partition.replicas
