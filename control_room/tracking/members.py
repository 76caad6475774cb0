"""The members with what each costs now: shares of a core from two looks, and how they went."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from control_room.stack.runtime import MemberStatus, Runtime

KEPT_LOOKS: Final = 60


@dataclass(frozen=True, slots=True)
class MemberView:
    """One member now."""

    status: MemberStatus
    cpu_share: float | None
    """Of one core, between the last two looks; None where there was only one of this process."""
    history: tuple[float, ...] = ()
    """Earlier shares, oldest first."""


def unchanged(before: Sequence[MemberView], now: Sequence[MemberView]) -> bool:
    """Whether they tell the same, but for what the members cost."""
    return [_without_costs(each) for each in before] == [_without_costs(each) for each in now]


def _without_costs(member: MemberView) -> MemberStatus:
    return replace(member.status, cpu_s=0.0, memory_bytes=0)


class MemberReader:
    """Looks at the members of one stack."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._before: dict[str, tuple[MemberStatus, float]] = {}
        self._shares: dict[str, deque[float]] = {}

    def read(self) -> tuple[MemberView, ...]:
        """All members, in order."""
        found = self._runtime.status()
        now_s = time.monotonic()
        return tuple(self._view(status, now_s) for status in found)

    def _view(self, status: MemberStatus, now_s: float) -> MemberView:
        before = self._before.get(status.name)
        self._before[status.name] = status, now_s
        history = self._shares.setdefault(status.name, deque(maxlen=KEPT_LOOKS))
        if before is None or before[0].pid != status.pid or status.pid is None or now_s <= before[1]:
            return MemberView(status, 0.0 if status.pid is None else None, tuple(history))
        share = max(0.0, status.cpu_s - before[0].cpu_s) / (now_s - before[1])
        history.append(share)
        return MemberView(status, share, tuple(history))
