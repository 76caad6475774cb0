"""What containers cost, asked of the engine: one look at each, all side by side.

`one-shot`: without it the engine takes a second for an answer, because it looks twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import docker
import requests
from docker.errors import APIError, DockerException

_HOLDS_S: Final = 1.0
"""Figures that are not older than this serve again: many ask at the same moment."""
_AT_ONCE: Final = 8


class Usage:
    """The newest figures of each container. Safe from several threads.

    Failure policy: open. A container whose figures cannot be had costs nothing to look at, and shows zeros.
    """

    def __init__(self) -> None:
        self._figures: dict[str, tuple[float, int]] = {}
        self._asked_s = float("-inf")
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, "stats")

    def of(self, client: docker.DockerClient, container_ids: Iterable[str]) -> dict[str, tuple[float, int]]:
        """CPU-seconds since each started, and its memory in bytes without the page cache that can be given back."""
        wanted = list(container_ids)
        with self._lock:
            if time.monotonic() - self._asked_s >= _HOLDS_S or not self._figures.keys() >= set(wanted):
                found = self._pool.map(lambda one: _look(client, one), wanted)
                self._figures = dict(zip(wanted, found, strict=True))
                self._asked_s = time.monotonic()
            return {one: self._figures[one] for one in wanted}


def _look(client: docker.DockerClient, container_id: str) -> tuple[float, int]:
    try:
        seen = client.api.stats(container_id, stream=False, one_shot=True)
        memory, cpu_ns = seen["memory_stats"], seen["cpu_stats"]["cpu_usage"]["total_usage"]
        inside = memory.get("stats", {})
        reclaimable = inside.get("inactive_file", inside.get("total_inactive_file", 0))
        return cpu_ns / 1e9, max(0, memory["usage"] - reclaimable)
    except (APIError, DockerException, requests.RequestException, ValueError, KeyError):
        return 0.0, 0
