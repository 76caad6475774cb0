"""The containers' logs as files, for whoever reads log files: what is new is fetched whenever they are asked for."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Final

import docker
import requests
from docker.errors import APIError

from control_room.stack.docker.engine import Container

_FETCH_EVERY_S: Final = 0.5
_FIRST_LINES: Final = 5_000
"""Of a container that was never asked before: its newest lines."""
_MAX_BYTES: Final = 20 * 2**20
"""Beyond it the file is put aside, as a rotated one, and a fresh one begun."""


class LogFiles:
    """One file per member under `folder`. Safe from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._fetched_s: dict[str, float] = {}

    def paths(self, client: docker.DockerClient, container: Container) -> list[Path]:
        """The member's files, oldest first, with what its container has said by now.

        Failure policy: open. An engine that does not answer leaves them as they were.
        """
        live = self._folder / f"{container.member}.log"
        with self._lock:
            if time.monotonic() - self._fetched_s.get(container.member, float("-inf")) >= _FETCH_EVERY_S:
                self._fetched_s[container.member] = time.monotonic()
                self._fetch(client, container, live)
        aside = live.with_suffix(".log.1")
        return [path for path in (aside, live) if path.exists()]

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
        self._folder.mkdir(parents=True, exist_ok=True)
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
