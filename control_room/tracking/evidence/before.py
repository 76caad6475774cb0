"""What a run must know before its first request: whose ids are on their way already, and where the ledger stands."""

from __future__ import annotations

from collections.abc import Iterator

from control_room.stack.runtime import Endpoints
from control_room.tracking.evidence.ledger_pages import LedgerSource
from control_room.tracking.evidence.stores_sql import open_ids


def open_ids_before(endpoints: Endpoints) -> Iterator[str]:
    """Ids in Postgres that are not recorded as delivered, for before.jsonl.

    Read it to its end *before* asking `ledger_position`: an id that arrives between the two is then in both, which is
    harmless. The other way round it would be in neither, and look like a phantom.

    Raises:
        SourceError: Postgres does not answer.
    """
    return open_ids(endpoints.postgres_conninfo)


def ledger_position(endpoints: Endpoints) -> int:
    """The number of the ledger's next line: `ledger_from` of run.json. Raises SourceError."""
    source = LedgerSource(endpoints.merchant_url, timeout_s=5.0)
    try:
        return source.position()
    finally:
        source.close()
