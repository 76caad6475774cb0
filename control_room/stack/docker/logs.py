"""The containers' logs as files, for whoever reads log files.

What is new is fetched when they are asked for, and from then on as long as this process lives: whoever follows a file
asks for its name once.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import docker
import requests
from docker.errors import APIError

from control_room.stack.docker.engine import Container
from control_room.stack.runtime import StackError

_FETCH_EVERY_S: Final = 1.0
_FIRST_LINES: Final = 5_000
"""Of a container that was never asked before: its newest lines."""
_MAX_BYTES: Final = 20 * 2**20
"""Beyond it the file is put aside, as a rotated one, and a fresh one begun."""


class LogFiles:
    """One file per member under `folder`. Safe from several threads, and from several processes over one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._fetched_s: dict[str, float] = {}
        self._following = False

    def follow(self, client: docker.DockerClient, find: Callable[[], Mapping[str, Container]]) -> None:
        """Goes on fetching for every member that was asked for; `find` tells which containers there are by now."""
        with self._lock:
            if self._following:
                return
            self._following = True
        threading.Thread(target=self._fetch_for_ever, args=(client, find), name="docker-logs", daemon=True).start()

    def _fetch_for_ever(self, client: docker.DockerClient, find: Callable[[], Mapping[str, Container]]) -> None:
        """Failure policy: open. While the engine does not answer the files stay as they are."""
        while True:
            time.sleep(_FETCH_EVERY_S)
            try:
                found = find()
            except StackError:
                continue
            for member in list(self._fetched_s):
                if member in found:
                    self.paths(client, found[member])

    def paths(self, client: docker.DockerClient, container: Container) -> list[Path]:
        """The member's files, oldest first, with what its container has said by now.

        Failure policy: open. An engine that does not answer leaves them as they were.
        """
        live = self._folder / f"{container.member}.log"
        with self._lock:
            if time.monotonic() - self._fetched_s.get(container.member, float("-inf")) >= _FETCH_EVERY_S:
                self._fetched_s[container.member] = time.monotonic()
                with self._alone():
                    live.touch()  # whoever follows a member that has said nothing yet needs a file too
                    self._fetch(client, container, live)
        aside = live.with_suffix(".log.1")
        return [path for path in (aside, live) if path.exists()]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process fetches meanwhile: each would add the same lines."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _fetch(self, client: docker.DockerClient, container: Container, live: Path) -> None:
        mark = live.with_suffix(".since")
        since, seen = _read_mark(mark, container.id)
        try:
            if since:
                said = client.api.logs(container.id, timestamps=True, since=since)
            else:
                said = client.api.logs(container.id, timestamps=True, tail=_FIRST_LINES)
        except (APIError, requests.RequestException):
            return
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if " " in line]
        fresh = [line for line in lines if line.split(" ", 1)[0] > seen]
        if not fresh:
            return
        with live.open("a", encoding="utf-8") as file:
            file.writelines(line.split(" ", 1)[1] + "\n" for line in fresh)
        newest = fresh[-1].split(" ", 1)[0]
        mark.write_text(f"{container.id} {newest}\n", encoding="utf-8")
        if live.stat().st_size > _MAX_BYTES:
            live.replace(live.with_suffix(".log.1"))


def _read_mark(mark: Path, container_id: str) -> tuple[float, str]:
    """Unix time to ask from, and the stamp of the last line that was kept. A new container begins anew."""
    try:
        kept_id, stamp = mark.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return 0, ""
    if kept_id != container_id:
        return 0, ""
    return datetime.fromisoformat(stamp.split(".")[0] + "+00:00").timestamp(), stamp
