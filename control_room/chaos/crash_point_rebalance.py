"""A rebalance on demand: a second consumer joins the dispatcher's group for a moment.

It delivers and commits nothing. While it is there, the partitions it is given wait; they go back when it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from control_room.stack.runtime import Endpoints
from services.common.kafka import make_consumer

_NAME: Final = "bruce-control-newcomer"
_SESSION_MS: Final = 6000
"""How long it counts as a member where this process is killed: the least that the brokers allow."""
_POLL_S: Final = 0.2


@contextmanager
def newcomer(endpoints: Endpoints) -> Iterator[Callable[[], None]]:
    """Joins, and leaves at the end; what it yields must be called often, or the group waits for the newcomer."""
    consumer = make_consumer(
        endpoints.kafka_settings(), _NAME, group_id=endpoints.kafka_group, session_timeout_ms=_SESSION_MS
    )
    consumer.subscribe([endpoints.kafka_topic])
    try:
        yield lambda: _poll(consumer.poll)
    finally:
        consumer.close()


def _poll(poll: Callable[[float], object]) -> None:
    poll(_POLL_S)
