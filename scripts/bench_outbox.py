"""Claiming and marking against old rows: does the queue slow down as published rows pile up?

    python -m scripts.bench_outbox [--rows 1000000] [--batch 500] [--rounds 40] [--json]

Starts a Postgres of its own in a temporary folder, with the project's settings (fsync on), and measures the publisher's
own statements, one batch per transaction: with no old row, with `--rows` rows published long ago, and with as many that
left the queue a moment ago and that no vacuum has seen, the worst that a queue can meet. stdout is the result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from control_room.stack.local import postgres
from control_room.stack.local.layout import Layout
from services.common.outbox import SESSION_OPTIONS, Report, mark_published
from services.common.postgres import Connection, Link
from services.common.schema import migrate
from services.outbox_publisher.leases import Claimed, claim

_USER: Final = "bruce"
_PASSWORD: Final = "only-for-this-run"  # noqa: S105  # a server that lives as long as the script
_START_S: Final = 30.0

_PENDING: Final = """
WITH paid AS (
    INSERT INTO payments
    SELECT gen_random_uuid(), now()::timestamp, 'Asha Rao', 'asha@okbank', 'Ravi Iyer', 'ravi@okbank', 1250.5,
           'SUCCESS', convert_to(repeat('x', 300), 'utf8'), now() - interval '1 minute', 'ingestion-api-1'
      FROM generate_series(1, %(rows)s)
    RETURNING transaction_id, accepted_at
)
INSERT INTO outbox_events (transaction_id, created_at) SELECT transaction_id, accepted_at FROM paid
"""
_LONG_AGO: Final = """
INSERT INTO outbox_events (transaction_id, created_at, published_at, published_by, kafka_partition, kafka_offset)
SELECT gen_random_uuid(), now() - interval '1 day', now() - interval '1 day', 'ingestion-api-1', n %% 3, n
  FROM generate_series(1, %(rows)s) AS n
"""
_JUST_LEFT: Final = (
    "INSERT INTO outbox_events (transaction_id, created_at) SELECT gen_random_uuid(), now() "
    "FROM generate_series(1, %(rows)s)",
    "UPDATE outbox_events SET published_at = now(), published_by = 'ingestion-api-1' WHERE published_at IS NULL",
)


@contextmanager
def server() -> Iterator[str]:
    """The connection string of a Postgres that lives inside the block."""
    folder = Path(tempfile.mkdtemp(prefix="bruce-bench-"))
    layout = Layout(folder)
    layout.prepare()
    installed = postgres.locate(layout, _narrate)
    try:
        installed.initialise(_USER, _PASSWORD, _narrate)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        account = installed.account
        who: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
        with (folder / "postgres.log").open("wb") as log:
            environ = postgres.environment(os.environ)
            process = subprocess.Popen(installed.command(port), stdout=log, stderr=log, cwd="/", env=environ, **who)
        try:
            until_s = time.monotonic() + _START_S
            while not postgres.answers(port):
                if process.poll() is not None or time.monotonic() > until_s:
                    raise SystemExit(f"Postgres does not start:\n{(folder / 'postgres.log').read_text()}")
                time.sleep(0.05)
            yield postgres.conninfo(port, _USER, _PASSWORD, "postgres")
        finally:
            process.terminate()
            process.wait()
    finally:
        postgres.forget(layout)
        shutil.rmtree(folder, ignore_errors=True)


class Queue:
    """The publisher's connection and its two statements, each timed by itself."""

    def __init__(self, link: Link, batch: int) -> None:
        self._link = link
        self._batch = batch

    def run(self, statement: str, rows: int) -> None:
        """One statement that prepares a case."""
        self._do(lambda connection: connection.execute(statement, {"rows": rows}))

    def measure(self, rounds: int) -> dict[str, float]:
        """Medians over `rounds` batches, after two that nobody counts."""
        times = [self._round() for _ in range(rounds + 2)][2:]
        claim_s, mark_s = (statistics.median(column) for column in zip(*times, strict=True))
        return {
            "claim_ms": round(claim_s * 1000, 2),
            "mark_ms": round(mark_s * 1000, 2),
            "rows_per_s": round(self._batch / (claim_s + mark_s)),
        }

    def _round(self) -> tuple[float, float]:
        self.run(_PENDING, self._batch)
        started_s = time.perf_counter()
        rows: list[Claimed] = self._do(partial(claim, member="bench", limit=self._batch, grace_s=5.0, lease_s=30.0))
        claimed_s = time.perf_counter()
        if len(rows) != self._batch:
            raise SystemExit(f"claimed {len(rows)} rows instead of {self._batch}")
        reports = [Report(row.transaction_id, 0, 1, time.time(), "bench") for row in rows]
        self._do(partial(mark_published, by="bench", reports=reports))
        return claimed_s - started_s, time.perf_counter() - claimed_s

    def _do(self, work: Callable[[Connection], Any]) -> Any:
        return self._link.run(work, until_s=time.monotonic() + 600)


def measure_all(conninfo: str, rows: int, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Each case's figures by its name."""
    migrate(conninfo)
    link = Link(conninfo, "bench", deadline_s=600, options=SESSION_OPTIONS)
    queue = Queue(link, batch)
    results = {}
    try:
        _narrate("measuring with no old row")
        results["no old rows"] = queue.measure(rounds)
        _narrate(f"writing {rows:,} rows that were published long ago")
        queue.run(_LONG_AGO, rows)
        results[f"{rows:,} published long ago"] = queue.measure(rounds)
        _narrate(f"sending {rows:,} rows through the queue, with autovacuum off")
        queue.run("ALTER TABLE outbox_events SET (autovacuum_enabled = false)", 0)
        for statement in _JUST_LEFT:
            queue.run(statement, rows)
        results[f"and {rows:,} published a moment ago, no vacuum yet"] = queue.measure(rounds)
    finally:
        link.close()
    return results


def _narrate(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="old rows (default: 1,000,000)")
    parser.add_argument("--batch", type=int, default=500, help="rows claimed and marked together (default: 500)")
    parser.add_argument("--rounds", type=int, default=40, help="batches per case; the median counts (default: 40)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    given = parser.parse_args()
    with server() as conninfo:
        results = measure_all(conninfo, given.rows, given.batch, given.rounds)
    if given.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
        return
    width = max(map(len, results))
    sys.stdout.write(f"{'outbox holds':<{width}}  {'claim':>9}  {'mark':>9}  {'both':>12}\n")
    for name, one in results.items():
        columns = f"{one['claim_ms']:>6.2f} ms  {one['mark_ms']:>6.2f} ms  {one['rows_per_s']:>6,.0f} rows/s"
        sys.stdout.write(f"{name:<{width}}  {columns}\n")


if __name__ == "__main__":
    main()
