"""What each member costs while something runs: CPU and memory, watched from a process of its own.

A look takes some 50 ms of Python. In the client's own process it would stand in the way of its requests, and show as
latency that no user has: at 200/s it made 13 ms of the 99th percentile into 80.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from control_room.stack.runtime import MemberStatus, Runtime, State
from control_room.stack.select import open_runtime

LINKS: Final = "(links)"
SAMPLE_EVERY_S: Final = 2.0
_STEP_BACK: Final = 5
"""As far as the API does: looking must not take the processor from what is measured."""


@dataclass(slots=True)
class Costs:
    """What was seen from the first look to the last."""

    first: dict[str, MemberStatus] = field(default_factory=dict)
    last: dict[str, MemberStatus] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)

    def see(self, members: Iterable[MemberStatus]) -> None:
        """Takes one look."""
        for member in members:
            self.first.setdefault(member.name, member)
            self.last[member.name] = member
            peak = self.peak_memory_bytes.get(member.name, 0)
            self.peak_memory_bytes[member.name] = max(peak, member.memory_bytes)

    def cpu_s(self) -> dict[str, float]:
        """CPU-seconds of each member between first and last; from its start on where it was started anew meanwhile."""
        used = {}
        for name, last in self.last.items():
            first = self.first[name]
            before = first.cpu_s if first.started_at_s == last.started_at_s else 0.0
            used[name] = max(0.0, last.cpu_s - before)
        return used


class Meter:
    """Watches the members of one stack, from `start` to `stop`."""

    def __init__(self, runtime_name: str, state_dir: Path) -> None:
        # Spawned, not forked: the parent has threads.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(runtime_name, state_dir, theirs), daemon=True)
        self._costs = Costs()

    def start(self) -> None:
        """Returns after the first look."""
        self._process.start()
        self._pipe.recv()

    def stop(self) -> None:
        """Takes the last look."""
        self._pipe.send(None)
        self._costs = self._pipe.recv()
        self._process.join()

    @property
    def cpu_s(self) -> dict[str, float]:
        """CPU-seconds of each member, once stopped."""
        return self._costs.cpu_s()

    @property
    def peak_memory_bytes(self) -> dict[str, int]:
        """The most memory that was seen of each member, once stopped."""
        return self._costs.peak_memory_bytes


def _watch(runtime_name: str, state_dir: Path, pipe: Connection) -> None:
    """In the child: looks until it is told to stop, or its parent is gone."""
    os.nice(_STEP_BACK)
    runtime = open_runtime(runtime_name, state_dir, os.environ)
    costs = Costs()
    costs.see(_look(runtime))
    pipe.send(None)
    while not pipe.poll(SAMPLE_EVERY_S):
        costs.see(_look(runtime))
    try:
        pipe.recv()
    except EOFError:
        return
    costs.see(_look(runtime))
    pipe.send(costs)


def _look(runtime: Runtime) -> list[MemberStatus]:
    """The members, and the proxy of the links where there is one: it is none of them, and costs too."""
    links = runtime.links()
    if links is None:
        return runtime.status()
    told = links.state()
    proxy = MemberStatus(
        LINKS,
        State.RUNNING,
        ready=True,
        pid=told["pid"],
        started_at_s=told["started_at"],
        cpu_s=told["cpu_s"],
        memory_bytes=told["peak_memory_bytes"],
    )
    return [*runtime.status(), proxy]
