"""What is still to be done before partitions may be somebody else's. Used by the loop alone.

The group waits for a member that gives partitions up (KIP-429: the others get them in the rebalance after its answer).
In that time what it has begun for them ends, or their new owner would make those requests a second time.
"""

from __future__ import annotations

from collections.abc import Callable

from services.dispatcher.recorder import Recorder


class Revocation:
    """One revocation under way: first the requests of those partitions end, then their outcomes are recorded."""

    def __init__(self, recorder: Recorder, then: Callable[[], None]) -> None:
        """`then` is called once, when all is recorded."""
        self._recorder = recorder
        self._then = then
        self._recorded_at: int | None = None

    def over(self, under_way: bool) -> bool:
        """Looks again; `under_way`: whether a request or a re-queue of those partitions has not ended yet."""
        if self._recorded_at is None:
            if under_way:
                return False
            self._recorded_at = self._recorder.added
        if self._recorder.recorded < self._recorded_at:
            return False
        self._then()
        return True
