"""Who is in a consumer group, and who holds which partition, as its coordinator tells it.

Asked in Kafka's own protocol (https://kafka.apache.org/protocol, FindCoordinator and DescribeGroups), not by the admin
client: its questions to a group's coordinator can end the whole process, see `group_offsets`. Both questions read only.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from control_room.tracking.kafka_wire import NO_PROPERTIES, answer_to
from control_room.tracking.parts import SourceError

_FIND_COORDINATOR: Final = (10, 0)
_DESCRIBE_GROUPS: Final = (15, 4)
"""Key and version; the last ones before lengths became variable, and the first that tells a static member's name."""
_NO_GROUP: Final = "Dead"


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One member of a group."""

    name: str
    """Its static name (`group.instance.id`), else the id that Kafka gave it."""
    client_id: str
    host: str
    partitions: tuple[int, ...]
    """Of the topic that was asked about; empty while the group rebalances."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group now."""

    state: str
    """In Kafka's words: `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Empty`, `Dead`."""
    members: tuple[GroupMember, ...]


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The broker that holds a group."""

    node_id: int
    host: str
    port: int


def find_coordinator(
    brokers: Sequence[tuple[str, int]], group: str, timeout_s: float, client: Mapping[str, str] = NO_PROPERTIES
) -> Coordinator:
    """Asks one broker after the other, each for at most `timeout_s`. Raises SourceError where none tells."""
    request = _request(_FIND_COORDINATOR, _text(group))
    why = "no broker listens"
    for host, port in brokers:
        try:
            answer = _Answer(answer_to(request, host, port, timeout_s, "the group", client))
            answer.skip(4)
            _check(answer.int16())
            return Coordinator(answer.int32(), answer.text(), answer.int32())
        except SourceError as error:
            why = str(error)
    raise SourceError(f"the coordinator of {group} is not known: {why}")


def describe_group(
    at: Coordinator, group: str, topic: str, timeout_s: float, client: Mapping[str, str] = NO_PROPERTIES
) -> Group:
    """The group, as its coordinator tells it; one that nobody has joined yet has no member.

    Raises:
        SourceError: no answer in time, or `at` does not hold the group any more.
    """
    body = struct.pack(">i", 1) + _text(group) + b"\x00"
    answer = _Answer(answer_to(_request(_DESCRIBE_GROUPS, body), at.host, at.port, timeout_s, "the group", client))
    answer.skip(4 + 4 + 4)  # correlation, throttle time, how many groups: the one that was asked about
    _check(answer.int16())
    answer.text()
    state = answer.text()
    answer.text()
    answer.text()
    return Group(state or _NO_GROUP, tuple(_member(answer, topic) for _ in range(answer.int32())))


def _member(answer: _Answer, topic: str) -> GroupMember:
    member_id, instance, client_id, host = answer.text(), answer.text(), answer.text(), answer.text()
    answer.bytes_()  # what it subscribed to
    return GroupMember(instance or member_id, client_id, host.lstrip("/"), _partitions(answer.bytes_(), topic))


def _partitions(assignment: bytes, topic: str) -> tuple[int, ...]:
    """The partitions of `topic` in a ConsumerProtocolAssignment; none while there is no assignment."""
    if not assignment:
        return ()
    found: list[int] = []
    answer = _Answer(assignment)
    answer.skip(2)
    for _ in range(answer.int32()):
        named = answer.text()
        numbers = [answer.int32() for _ in range(answer.int32())]
        found += numbers if named == topic else []
    return tuple(sorted(found))


def _check(error: int) -> None:
    if error:
        raise SourceError(f"the group cannot be described (Kafka error {error})")


def _request(kind: tuple[int, int], body: bytes) -> bytes:
    return struct.pack(">hhi", *kind, 1) + _text("control-room") + body


def _text(words: str) -> bytes:
    raw = words.encode()
    return struct.pack(">h", len(raw)) + raw


class _Answer:
    """Reads an answer from its begin on. Raises SourceError where it ends too soon."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def skip(self, count: int) -> None:
        self._take(count)

    def int16(self) -> int:
        return int.from_bytes(self._take(2), "big", signed=True)

    def int32(self) -> int:
        return int.from_bytes(self._take(4), "big", signed=True)

    def text(self) -> str:
        """Empty where there is none."""
        length = self.int16()
        return self._take(length).decode(errors="replace") if length > 0 else ""

    def bytes_(self) -> bytes:
        """Empty where there are none."""
        length = self.int32()
        return self._take(length) if length > 0 else b""

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._raw):
            raise SourceError("the broker's answer about the group is unreadable")
        taken, self._at = self._raw[self._at : end], end
        return taken
