"""The schema: numbered SQL files, applied in order, once, by whichever member starts first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

import psycopg

from services.common.lifecycle import StopFlag

log = logging.getLogger(__name__)
_LOCK_ID: Final = 0x6272756365
"""Any constant: the advisory lock that lets several starting members migrate at once."""

_RETRY_S: Final = 0.5


class SchemaError(RuntimeError):
    """Postgres answers, and a migration does not apply. The message says why."""


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


def migrate_when_up(conninfo: str, stop: StopFlag, on_try: Callable[[], None] = lambda: None) -> bool:
    """`migrate`, repeated until Postgres answers: members may start in any order. False where `stop` came first.

    `on_try` is called before each try: a sign that the member is alive and waits.

    Raises:
        SchemaError: Postgres answers, and a file does not apply.
    """
    waiting = False
    while not stop.is_set():
        on_try()
        try:
            migrate(conninfo)
        except psycopg.OperationalError as error:
            if not waiting:
                waiting = True
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("waiting for Postgres reason=%s", reason)
            stop.wait(_RETRY_S)
        except psycopg.Error as error:
            raise SchemaError(f"the schema cannot be brought up to date: {str(error).strip()}") from error
        else:
            return True
    return False


def _apply(connection: psycopg.Connection[Any], number: int, name: str, text: str) -> bool:
    with connection.transaction():
        known = connection.execute("SELECT 1 FROM schema_migrations WHERE number = %s", [number]).fetchone()
        if known:
            return False
        connection.execute(text.encode())
        connection.execute("INSERT INTO schema_migrations (number, name) VALUES (%s, %s)", [number, name])
        return True
