"""The schema: numbered SQL files, applied in order, once, by whichever member starts first."""

from __future__ import annotations

import logging
from importlib import resources
from typing import Any, Final

import psycopg

log = logging.getLogger(__name__)
_LOCK_ID: Final = 0x6272756365
"""Any constant: the advisory lock that lets several starting members migrate at once."""


def migrations() -> list[tuple[int, str, str]]:
    """Number, name and text of each migration file, in order."""
    folder = resources.files("services.common") / "migrations"
    found = [
        (int(entry.name.split("_", 1)[0]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    ]
    return sorted(found)


def migrate(conninfo: str) -> list[str]:
    """Applies what is missing, each file in a transaction of its own; the names of the files applied.

    Several callers at once are safe: an advisory lock lets one work while the others wait, then find nothing to do.

    Raises:
        psycopg.Error: Postgres does not answer, or a file does not apply; nothing of that file stays.
    """
    applied: list[str] = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK_ID])
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations "
                "(number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for number, name, text in migrations():
                if _apply(connection, number, name, text):
                    applied.append(name)
                    log.info("migration applied name=%s", name)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK_ID])
    return applied


def _apply(connection: psycopg.Connection[Any], number: int, name: str, text: str) -> bool:
    with connection.transaction():
        known = connection.execute("SELECT 1 FROM schema_migrations WHERE number = %s", [number]).fetchone()
        if known:
            return False
        connection.execute(text.encode())
        connection.execute("INSERT INTO schema_migrations (number, name) VALUES (%s, %s)", [number, name])
        return True
