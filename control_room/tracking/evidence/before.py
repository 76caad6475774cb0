"""What a run must know before its first request: whose ids are on their way, and where ledger and topic stand."""

from __future__ import annotations

from collections.abc import Iterator

from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence.kafka_log import KafkaLog
from control_room.tracking.evidence.ledger_pages import LedgerSource
from control_room.tracking.evidence.stores_sql import open_ids
from control_room.tracking.parts import SourceError


def open_ids_before(endpoints: Endpoints) -> Iterator[str]:
    """Ids in Postgres that are not recorded as delivered, for before.jsonl.

    Read it to its end *before* asking `ledger_position`: an id that arrives between the two is then in both, which is
    harmless. The other way round it would be in neither, and look like a phantom.

    Raises:
        SourceError: Postgres does not answer.
    """
    return open_ids(endpoints.postgres_conninfo)


def ledger_position(endpoints: Endpoints) -> int:
    """The number of the ledger's next line: `ledger_from` of run.json; 0 where none is kept. Raises SourceError."""
    source = LedgerSource(endpoints.merchant_url, timeout_s=5.0)
    if not source.exists:
        return 0
    try:
        return source.position()
    finally:
        source.close()


def topic_id(endpoints: Endpoints) -> str | None:
    """The id that the topic got when it was made: `topic_id` of run.json; None where Kafka does not tell.

    Failure policy: open. A run may begin while Kafka is away; then nobody can say later whether it was made anew.
    """
    try:
        return KafkaLog(endpoints).topic_id()
    except SourceError:
        return None
