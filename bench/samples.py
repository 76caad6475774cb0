"""What a stack looks like from minute to minute: memory, open files, the sizes of tables and what is dead in them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.old_rows import TABLES
from control_room.stack.runtime import Runtime

WATCHED: Final = (*TABLES, "published_batches", "redeliveries")
_TABLES: Final = """
SELECT s.relname, pg_relation_size(s.relid), pg_indexes_size(s.relid), s.n_live_tup, s.n_dead_tup, s.autovacuum_count
  FROM pg_stat_user_tables s WHERE s.relname = ANY (%s)
"""
_PRUNED: Final = "SELECT pruned FROM retention"
_INDEXES: Final = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = %s::regclass AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
"""


def sample(runtime: Runtime, connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """One look, some 50 ms."""
    members = {
        member.name: {
            "memory_mib": round(member.memory_bytes / 2**20, 1),
            "cpu_s": round(member.cpu_s, 2),
            "files": _open_files(member.pid),
            "restarts": member.restarts,
        }
        for member in runtime.status()
        if member.pid is not None
    }
    tables = {
        name: {
            "table_mib": round(table / 2**20, 2),
            "indexes_mib": round(indexes / 2**20, 2),
            "live": live,
            "dead": dead,
            "autovacuums": vacuums,
        }
        for name, table, indexes, live, dead, vacuums in connection.execute(_TABLES, [list(WATCHED)])
    }
    pruned = connection.execute(_PRUNED).fetchone()
    return {"members": members, "tables": tables, "pruned": pruned[0] if pruned else 0}


def _open_files(root: int | None) -> int:
    """Open files of a process and of all below it."""
    count, left = 0, [root]
    while left:
        pid = left.pop()
        with suppress(OSError):  # it ended meanwhile, or another user's
            count += sum(1 for _ in os.scandir(f"/proc/{pid}/fd"))
            for task in os.scandir(f"/proc/{pid}/task"):
                left += map(int, Path(task.path, "children").read_text(encoding="ascii").split())
    return count


def bloat(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """How much of each table is dead or free, and how full the leaves of its indexes are, in per cent.

    Reads all of them: not while something is measured. Without the extension pgstattuple there is nothing to tell.
    """
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
    except psycopg.Error as error:
        return {"unknown": str(error).strip()}
    found: dict[str, Any] = {}
    for name in WATCHED:
        row = connection.execute(
            "SELECT dead_tuple_percent, free_percent FROM pgstattuple(%s::regclass)", [name]
        ).fetchone()
        dead, free = row or (None, None)
        leaves = {}
        for (index,) in connection.execute(_INDEXES, [name]).fetchall():
            # An index without a leaf has no density: NaN, which JSON does not know.
            row = connection.execute("SELECT nullif(avg_leaf_density, 'NaN') FROM pgstatindex(%s)", [index]).fetchone()
            leaves[index] = row[0] if row else None
        found[name] = {"dead_percent": dead, "free_percent": free, "leaf_density_percent": leaves}
    return found
