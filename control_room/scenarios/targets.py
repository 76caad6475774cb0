"""Whom a step hits: members and links by name, or members by what they are at that moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from control_room.chaos.errors import FaultError
from control_room.stack.links.names import NAMES as LINK_NAMES
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS, Runtime
from control_room.tracking.kafka_view import KafkaReader, KafkaStatus
from control_room.tracking.parts import SourceError

Choose = Callable[[Runtime, Random], list[str]]


def _broker(number: int | None) -> list[str]:
    if number is None or not 1 <= number <= len(BROKERS):
        raise FaultError("Kafka does not tell which broker that is now")
    return [BROKERS[number - 1]]


def _kafka(runtime: Runtime) -> KafkaStatus:
    try:
        return KafkaReader(runtime.endpoints()).read()
    except SourceError as error:
        raise FaultError(f"Kafka does not tell who is who: {error}") from error


def _leader(runtime: Runtime, random: Random) -> list[str]:
    del random
    partitions = _kafka(runtime).partitions
    return _broker(partitions[0].leader if partitions else None)


def _controller(runtime: Runtime, random: Random) -> list[str]:
    del random
    return _broker(_kafka(runtime).controller)


def _coordinator(runtime: Runtime, random: Random) -> list[str]:
    del random
    try:
        return _broker(KafkaReader(runtime.endpoints()).group_coordinator())
    except SourceError as error:
        raise FaultError(f"Kafka does not tell who coordinates the dispatcher's group: {error}") from error


SYMBOLS: Final[Mapping[str, Choose]] = {
    "any-broker": lambda _, random: [random.choice(BROKERS)],
    "two-brokers": lambda _, random: sorted(random.sample(BROKERS, 2)),
    "all-brokers": lambda *_: list(BROKERS),
    "leader": _leader,
    "controller": _controller,
    "group-coordinator": _coordinator,
    "any-replica": lambda _, random: [random.choice(API_REPLICAS)],
    "all-replicas": lambda *_: list(API_REPLICAS),
    "any-member": lambda _, random: [random.choice(MEMBERS)],
    "everything": lambda *_: list(MEMBERS),
}
"""Names for members that are chosen when the step comes; chance follows the run's seed."""
FIXED: Final[Mapping[str, int]] = {"two-brokers": 2, "all-brokers": 3, "all-replicas": 3, "everything": len(MEMBERS)}
"""How many members a name stands for where it is not one."""


def known(name: str) -> bool:
    """Whether a step may name it."""
    return name in MEMBERS or name in SYMBOLS or name in LINK_NAMES


def count(names: list[str]) -> int:
    """How many members these are."""
    return sum(FIXED.get(name, 1) for name in names)


def resolve(names: list[str], runtime: Runtime, random: Random) -> list[str]:
    """The members that `names` are now, each once. Raises FaultError where Kafka does not tell."""
    found: list[str] = []
    for name in names:
        found += SYMBOLS[name](runtime, random) if name in SYMBOLS else [name]
    return list(dict.fromkeys(found))
