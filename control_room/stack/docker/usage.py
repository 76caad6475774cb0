"""What containers cost: by the kernel's books where they can be read here, else by the engine's streams of figures.

A stream for each container that somebody has asked about, because a single question takes the engine a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import docker
import requests
from docker.errors import APIError, DockerException

from control_room.stack.docker import cgroups

_FIRST_WAIT_S: Final = 1.5
"""For the first figures of containers that were never asked about; the engine looks once a second."""
_FORGET_S: Final = 60.0
"""A stream that nobody asks about for so long is ended."""


@dataclass(slots=True)
class _Stream:
    cpu_s: float = 0.0
    memory_bytes: int = 0
    first: threading.Event = field(default_factory=threading.Event)
    ended: bool = False
    asked_s: float = field(default_factory=time.monotonic)


class Usage:
    """The newest figures of each container. Safe from several threads.

    Failure policy: open. A container whose figures cannot be had costs nothing to look at, and shows zeros.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()

    def of(self, client: docker.DockerClient, pids: Mapping[str, int]) -> dict[str, tuple[float, int]]:
        """CPU-seconds since each started, and its memory in bytes without the page cache that can be given back.

        Args:
            client: where they run.
            pids: the main process of each container, by the container's id.
        """
        read = {one: figures for one, pid in pids.items() if (figures := cgroups.figures(one, pid)) is not None}
        return read | self._streamed(client, [one for one in pids if one not in read])

    def _streamed(self, client: docker.DockerClient, container_ids: Iterable[str]) -> dict[str, tuple[float, int]]:
        wanted = {one: self._stream(client, one) for one in container_ids}
        until_s = time.monotonic() + _FIRST_WAIT_S
        for stream in wanted.values():
            stream.first.wait(max(0.0, until_s - time.monotonic()))
        return {one: (stream.cpu_s, stream.memory_bytes) for one, stream in wanted.items()}

    def _stream(self, client: docker.DockerClient, container_id: str) -> _Stream:
        with self._lock:
            known = self._streams.get(container_id)
            if known is not None and not known.ended:
                known.asked_s = time.monotonic()
                return known
            stream = self._streams[container_id] = _Stream()
        name = f"stats-{container_id[:12]}"
        threading.Thread(target=_follow, args=(client, container_id, stream), name=name, daemon=True).start()
        return stream


def _follow(client: docker.DockerClient, container_id: str, stream: _Stream) -> None:
    try:
        for seen in client.api.stats(container_id, decode=True, stream=True):
            if not _read(seen, stream) or time.monotonic() - stream.asked_s > _FORGET_S:
                return
    except (APIError, DockerException, requests.RequestException, ValueError):
        pass
    finally:
        stream.ended = True
        stream.first.set()


def _read(seen: dict[str, Any], stream: _Stream) -> bool:
    """Takes one look over; False where the container does not run any more."""
    memory = seen.get("memory_stats") or {}
    if "usage" not in memory:
        return False
    stream.cpu_s = seen["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    inside = memory.get("stats", {})
    reclaimable = inside.get("inactive_file", inside.get("total_inactive_file", 0))
    stream.memory_bytes = max(0, memory["usage"] - reclaimable)
    stream.first.set()
    return True
