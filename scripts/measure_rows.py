"""What one payment takes in Postgres: bytes of each table with its indexes, and bytes of WAL.

    python -m scripts.measure_rows [--payments 20000] [--json]

Starts a Postgres of its own in a temporary folder, with the project's settings, and sends made-up payments through the
services' own statements: accepted in groups, marked published, delivered at the first attempt. stdout is the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

import psycopg

from dataset.generate import rows as made_up
from scripts.bench_outbox import server
from services.common.event import COLUMNS, Event, validate
from services.common.outbox import SESSION_OPTIONS, Report, mark_published
from services.common.schema import migrate
from services.dispatcher.outcome import WRITE, Outcome, parameters
from services.ingestion_api.store import commit_group

GROUP: Final = 16
"""Payments in one commit of a busy replica."""
BATCH: Final = 500
"""Rows marked, and outcomes written, together."""
AFTER_CHECKPOINT: Final = 1000
"""The first payments after a checkpoint: each page that they are the first to touch goes to the WAL as a whole."""
TABLES: Final = ("payments", "outbox_events", "deliveries", "delivery_attempts", "published_batches")


def events(count: int) -> Iterator[Event]:
    """Payments as the dataset has them, under ids of chance: the generator's own would repeat with its seed."""
    for row in made_up(count, 1):
        yield validate({**dict(zip(COLUMNS, row, strict=True)), "Transaction ID": str(uuid4())})


def measure(conninfo: str, count: int) -> dict[str, Any]:
    """Bytes per payment."""
    migrate(conninfo)
    with psycopg.connect(conninfo, autocommit=True, options=SESSION_OPTIONS) as connection:
        connection.execute("CHECKPOINT")
        given = list(events(count))
        steps = _send(connection, given)
        sizes = {table: round(_size(connection, table) / count) for table in TABLES}
        connection.execute("CHECKPOINT")
        after = _send(connection, list(events(AFTER_CHECKPOINT)))
    body = round(sum(len(event.canonical) for event in given) / count)
    return {"payments": count, "body": body, "tables": sizes, "wal": steps, "wal after a checkpoint": after}


def _send(connection: psycopg.Connection[Any], given: Sequence[Event]) -> dict[str, int]:
    """Bytes of WAL per payment, by step."""
    steps = {}
    for name, work in (("accepted", _accept), ("marked", _mark), ("delivered", _deliver)):
        before = _wal(connection)
        work(connection, given)
        steps[name] = round((_wal(connection) - before) / len(given))
    return steps


def _groups(given: Sequence[Event], size: int) -> Iterator[Sequence[Event]]:
    return (given[place : place + size] for place in range(0, len(given), size))


def _accept(connection: psycopg.Connection[Any], given: Sequence[Event]) -> None:
    for group in _groups(given, GROUP):
        commit_group(connection, group, "ingestion-api-1")


def _mark(connection: psycopg.Connection[Any], given: Sequence[Event]) -> None:
    for number, group in enumerate(_groups(given, BATCH)):
        reports = [
            Report(event.transaction_id, number % 3, number * BATCH + place, time.time(), "cluster")
            for place, event in enumerate(group)
        ]
        mark_published(connection, "ingestion-api-1", reports)


def _deliver(connection: psycopg.Connection[Any], given: Sequence[Event]) -> None:
    for group in _groups(given, BATCH):
        now_s = time.time()
        outcomes = [
            Outcome(event.transaction_id, "delivered", 1, 1, 1, 0, place, now_s, now_s - 0.02, 20.0, 200, None, None)
            for place, event in enumerate(group)
        ]
        connection.execute(WRITE, parameters(outcomes, "dispatcher"))


def _wal(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0]) if row else 0


def _size(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute("SELECT pg_total_relation_size(%s::regclass)", [table]).fetchone()
    return int(row[0]) if row else 0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--payments", type=int, default=20_000, help="how many are sent through (default: 20,000)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    given = parser.parse_args()
    with server() as conninfo:
        found = measure(conninfo, given.payments)
    if given.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    sys.stdout.write(f"body {found['body']} bytes\n")
    for kind in ("tables", "wal", "wal after a checkpoint"):
        for name, size in {**found[kind], "all": sum(found[kind].values())}.items():
            sys.stdout.write(f"{kind:<22} {name:<18} {size:>6} bytes\n")


if __name__ == "__main__":
    main()
