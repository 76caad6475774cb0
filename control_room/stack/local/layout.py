"""Where everything of a local stack lies: paths under its state folder, and the short ones that sockets need."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_room.stack.runtime import RECORDS, StackError

_MAX_SOCKET_BYTES: Final = 90
"""Of the 107 that a unix socket's path may have; supervisord binds under a longer name first (`.` and its pid)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one stack. Nothing is made here but by `prepare`."""

    state: Path
    """The state folder, absolute."""

    @property
    def key(self) -> str:
        """A short name for this state folder, for what must lie elsewhere."""
        return hashlib.sha256(os.fsencode(self.state)).hexdigest()[:12]

    @property
    def record_file(self) -> Path:
        """Ports, ids and what the running stack was started with."""
        return self.state / RECORDS["local"]

    @property
    def lock_file(self) -> Path:
        """Held while `up` or `down` works."""
        return self.state / "lock"

    @property
    def secrets_dir(self) -> Path:
        """HMAC_SECRET and the Postgres password."""
        return self.state / "secrets"

    @property
    def run_dir(self) -> Path:
        """What each member is started with, and its pid with its start mark."""
        return self.state / "run"

    @property
    def logs_dir(self) -> Path:
        """One file per member, and their rotated ones."""
        return self.state / "logs"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration: no secret stands in it."""
        return self.run_dir / "supervisord.conf"

    @property
    def supervisor_log(self) -> Path:
        """supervisord's own log: every start and end of a member."""
        return self.logs_dir / "supervisord.log"

    @property
    def supervisor_output(self) -> Path:
        """What supervisord says where it cannot log: why it does not start."""
        return self.logs_dir / "supervisord.out"

    @property
    def supervisor_socket(self) -> Path:
        """supervisord's XML-RPC socket, under a private folder of a short name where the state folder's is long."""
        near = self.run_dir / "supervisor.sock"
        if len(os.fsencode(near)) <= _MAX_SOCKET_BYTES:
            return near
        return Path(tempfile.gettempdir()) / f"bruce-{os.geteuid()}-{self.key}" / "supervisor.sock"

    @property
    def links_socket(self) -> Path:
        """Where the proxy of the links is told what to do; beside supervisord's."""
        return self.supervisor_socket.with_name("links.sock")

    @property
    def links_plan(self) -> Path:
        """The doors of the links, for their proxy."""
        return self.run_dir / "links.json"

    @property
    def links_modes(self) -> Path:
        """What the doors were last told to do."""
        return self.run_dir / "links.modes.json"

    @property
    def kafka_dir(self) -> Path:
        """One folder per broker."""
        return self.state / "kafka"

    @property
    def nginx_dir(self) -> Path:
        """nginx's configuration and temporary files."""
        return self.state / "nginx"

    @property
    def crash_dir(self) -> Path:
        """Where crash points are armed."""
        return self.state / "crash-points"

    @property
    def ledger_file(self) -> Path:
        """The merchant's ledger."""
        return self.state / "merchant" / "ledger.jsonl"

    def spec_file(self, member: str) -> Path:
        """What `launch` starts `member` with; holds secrets."""
        return self.run_dir / f"{member}.spec.json"

    def pid_file(self, member: str) -> Path:
        """The pid and start mark that `launch` wrote."""
        return self.run_dir / f"{member}.pid.json"

    def log_file(self, member: str) -> Path:
        """The live log of `member`."""
        return self.logs_dir / f"{member}.log"

    def prepare(self) -> None:
        """Makes the folders, for the owner alone.

        Raises:
            StackError: the state folder cannot be made, or the socket's folder belongs to somebody else.
        """
        try:
            folders = (self.secrets_dir, self.run_dir, self.logs_dir, self.kafka_dir, self.nginx_dir)
            for folder in (self.state, *folders, self.ledger_file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.state.chmod(0o700)
        except OSError as error:
            raise StackError(
                f"cannot use {self.state} as the state folder: {error.strerror}; choose another with --state"
            ) from error
        socket_dir = self.supervisor_socket.parent
        if socket_dir != self.run_dir:
            _private_folder(socket_dir)


def _private_folder(folder: Path) -> None:
    """A folder in a place where everybody may write: ours alone, or refused (somebody may have put it there first)."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StackError(f"{folder} belongs to somebody else; remove it, or choose a shorter --state folder")


def write_private(path: Path, text: str) -> None:
    """Replaces `path` in one step by a file that only its owner may read."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replaces `path` by `value`, readable by its owner alone."""
    write_private(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None where there is none (missing, cut or not an object)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
