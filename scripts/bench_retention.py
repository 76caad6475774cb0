"""What pruning costs: milliseconds and CPU for each batch of payments that were delivered long ago.

    python -m scripts.bench_retention [--rows 300000] [--young 300000] [--json]

Starts a Postgres of its own in a temporary folder, with the project's settings (fsync on), puts so many old payments
and so many younger ones into it, and prunes as the outbox-publisher does, without its rests. stdout is the result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.old_rows import fill
from bench.processes import tree_cpu_s
from scripts.bench_outbox import server
from services.common.outbox import SESSION_OPTIONS
from services.common.schema import migrate
from services.outbox_publisher.retention import MOST_ROWS, START, Place, prune

_DAY_S: Final = 86_400.0
_PER_S: Final = 1000.0


def measure(conninfo: str, rows: int, young: int) -> dict[str, Any]:
    """Figures of one sweep over `rows` old payments, `young` others beside them."""
    migrate(conninfo)
    for count, days in ((rows, 40), (young, 10)):
        fill(conninfo, count, age_s=days * _DAY_S, per_s=_PER_S, say=_say)
    with psycopg.connect(conninfo, autocommit=True, options=SESSION_OPTIONS) as connection:
        pids = {"postgres": _parent(connection.info.backend_pid)}
        before_s, began_s = tree_cpu_s(pids)["postgres"], time.monotonic()
        place: Place | None = START
        batches_s: list[float] = []
        while place is not None:
            at_s = time.monotonic()
            done = prune(connection, after=place, limit=MOST_ROWS, retention_s=30 * _DAY_S)
            if done is None:
                raise RuntimeError("somebody else prunes this Postgres")
            batches_s.append(time.monotonic() - at_s)
            place = done.place
        took_s, cpu_s = time.monotonic() - began_s, tree_cpu_s(pids)["postgres"] - before_s
        left = connection.execute("SELECT count(*) FROM payments").fetchone()
    if left != (young,):
        raise RuntimeError(f"{left} payments are left, not {young}")
    ordered = sorted(batches_s)
    return {
        "pruned": rows,
        "beside": young,
        "batch_ms": {
            "p50": round(1000 * statistics.median(ordered), 1),
            "p99": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 1),
        },
        "rows_per_s": round(rows / took_s),
        "postgres_cpu_s_per_1000": round(1000 * cpu_s / rows, 3),
    }


def _parent(pid: int) -> int:
    """The postmaster: the parent of every session."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return int(text[text.rindex(")") + 2 :].split()[1])


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000, help="old payments (default: 300,000)")
    parser.add_argument("--young", type=int, default=300_000, help="younger ones beside them (default: 300,000)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    given = parser.parse_args()
    with server() as conninfo:
        found = measure(conninfo, given.rows, given.young)
    if given.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    batch_ms = found["batch_ms"]
    sys.stdout.write(
        f"{found['pruned']:,} pruned, {found['beside']:,} beside them: a batch of {MOST_ROWS} in {batch_ms['p50']} ms "
        f"(p99 {batch_ms['p99']}), {found['rows_per_s']:,} a second without rests, "
        f"{found['postgres_cpu_s_per_1000']} CPU-seconds of Postgres per 1,000\n"
    )


if __name__ == "__main__":
    main()
