"""Live state for previews: read when a sentence needs it, kept for the other sentences of the same moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from control_room.stack.runtime import MemberStatus, Runtime, State
from control_room.tracking.http_source import fetch_json
from control_room.tracking.merchant import read_behaviour
from control_room.tracking.parts import SourceError

if TYPE_CHECKING:
    from control_room.tracking.kafka_view import KafkaStatus
    from control_room.tracking.pipeline import OutboxStatus

T = TypeVar("T")


class LiveState:
    """What the members say now; None for each that does not tell: a preview then says less, and the fault goes on."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._endpoints = runtime.endpoints()
        self.hit: set[str] = set()
        """Members that a fault of the same moment takes away: the next sentence counts without them."""

    @cached_property
    def members(self) -> dict[str, MemberStatus]:
        """All members by name."""
        return {member.name: member for member in self._runtime.status()}

    @property
    def away(self) -> set[str]:
        """Members that do nothing now, and those about to be hit. Kafka's own metadata lags behind by seconds."""
        working = (State.RUNNING, State.STARTING)
        return self.hit | {name for name, member in self.members.items() if member.state not in working}

    @cached_property
    def kafka(self) -> KafkaStatus | None:
        """The cluster."""
        from control_room.tracking.kafka_view import KafkaReader  # when asked: the list of faults loads no client

        return _told(KafkaReader(self._endpoints).read)

    @cached_property
    def outbox(self) -> OutboxStatus | None:
        """What waits in the outbox."""
        from control_room.tracking.pipeline import read_outbox  # when asked, as above

        return _told(lambda: read_outbox(self._endpoints.postgres_conninfo))

    @cached_property
    def dispatcher(self) -> dict[str, Any] | None:
        """The dispatcher's own words."""
        return _told(lambda: fetch_json(self._endpoints.dispatcher_status_url, 1.0))

    @cached_property
    def merchant(self) -> dict[str, Any] | None:
        """The merchant's behaviour."""
        return _told(lambda: read_behaviour(self._endpoints.merchant_url))


def _told(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except SourceError:
        return None
