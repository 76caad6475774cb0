"""What Kafka says of itself: leaders, in-sync sets, end offsets, the dispatcher's committed offsets and its lag."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict, dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from control_room.stack.runtime import Endpoints
from control_room.tracking.group_members import Coordinator, Group, GroupMember, describe_group, find_coordinator
from control_room.tracking.kafka_wire import quorum_leader
from control_room.tracking.parts import SourceError
from services.common.bitmap import decode
from services.common.group_offsets import GroupOffsets
from services.common.kafka import make_admin

METADATA_TIMEOUT_S: Final = 1.5
ANSWER_TIMEOUT_S: Final = 1.2
"""For offsets, group and configuration, asked together after the metadata: both fit into a snapshot's 3 s."""
CONNECT_TIMEOUT_S: Final = 0.4
SECURED_TIMEOUT_S: Final = 1.0
"""The same where TLS and a log-in come first: some six answers of a broker that is not on this machine."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition of the topic."""

    number: int
    leader: int | None
    """The leader's broker id; None where there is none."""
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    end_offset: int | None
    """None where its leader did not tell in time."""
    committed: int | None
    """What the dispatcher's group has committed; None where it never did, or where nobody could tell."""
    lag: int | None
    """End offset minus committed; completed records beyond a gap count too, so it may exceed what is undelivered."""
    ahead: int | None = None
    """Of these, the records that the bitmap in the commit calls complete: they lie beyond a gap."""


@dataclass(frozen=True, slots=True)
class KafkaStatus:
    """The cluster and the topic, now."""

    brokers: tuple[int, ...]
    """Ids of the brokers that the cluster counts as alive."""
    controller: int | None
    """The leader of the controller quorum; None where nobody could tell."""
    topic: str
    topic_exists: bool
    min_in_sync: int
    partitions: tuple[PartitionStatus, ...]
    group: str
    notes: tuple[str, ...] = ()
    """What could not be read, in sentences."""
    group_state: str = ""
    """In Kafka's words, such as `Stable`; empty where nobody could tell."""
    members: tuple[GroupMember, ...] = ()
    """Of the group, as its coordinator tells them."""

    @property
    def lag(self) -> int | None:
        """The lag over all partitions; None where one of them is not known."""
        lags = [partition.lag for partition in self.partitions]
        return None if not lags or None in lags else sum(lag for lag in lags if lag is not None)

    def to_json(self) -> dict[str, Any]:
        """As JSON types, with the total lag."""
        return {**asdict(self), "lag": self.lag}


class KafkaReader:
    """Asks one cluster; keeps its connections for the next question. Calls from several threads take turns."""

    def __init__(self, endpoints: Endpoints, *, rare_s: float = 0.0) -> None:
        """`rare_s`: for how long the controller, the group's members and the topic's settings need not be asked anew.

        As soon as a broker comes or goes they are.
        """
        self._topic = endpoints.kafka_topic
        self._group = endpoints.kafka_group
        self._bootstrap = endpoints.kafka_bootstrap
        self._settings = endpoints.kafka_settings()
        self._let_in = endpoints.kafka_client
        self._connect_s = SECURED_TIMEOUT_S if self._let_in else CONNECT_TIMEOUT_S
        self._admin: AdminClient | None = None
        self._offsets = GroupOffsets(self._settings, "control-room", self._group)
        self._coordinator: Coordinator | None = None
        self._rare = _Rare(rare_s)
        self._sure = False
        """Whether a broker answered at the last look: then no port is tried first, for that costs a broker 0.8 ms."""
        self._lock = threading.Lock()

    def read(self) -> KafkaStatus:
        """The cluster as its brokers tell it, within about 3 s.

        Raises:
            SourceError: no broker answers.
        """
        with self._lock:
            brokers = addresses(self._bootstrap) if self._sure else listening(self._bootstrap)
            self._sure = False
            if not brokers:
                raise SourceError("no broker answers: none of the ports listens")
            try:
                status = self._read(brokers)
            except KafkaException as error:
                raise SourceError(f"no broker answers: {error.args[0].str()}") from error
            self._sure = True
            return status

    def group_coordinator(self) -> int:
        """The broker that holds the dispatcher's group. Raises SourceError where Kafka does not tell."""
        return find_coordinator(listening(self._bootstrap), self._group, METADATA_TIMEOUT_S, self._let_in).node_id

    def _read(self, brokers: list[tuple[str, int]]) -> KafkaStatus:
        admin = self._client()
        metadata = admin.list_topics(self._topic, timeout=METADATA_TIMEOUT_S)
        admin.poll(0)  # hands librdkafka's log lines to their silent logger instead of queueing them for ever
        topic = metadata.topics.get(self._topic)
        known = topic is not None and topic.error is None
        found = topic.partitions if topic is not None and known else {}
        notes: list[str] = []
        rare = self._rare
        rare.forget_where_changed((sorted(metadata.brokers), sorted(found)))
        asked = self._ask(admin, sorted(found), settings=rare.min_in_sync is None) if found else None
        if rare.controller is None:
            rare.controller = self._controller(brokers, notes)
        commits = {} if asked is None else self._commits(sorted(found), asked.until_s, notes)
        if rare.group is None:
            rare.group = self._group_now(brokers, notes)
        ends, told = ({}, None) if asked is None else asked.told(notes)
        rare.min_in_sync = told or rare.min_in_sync
        committed = {number: commit.offset for number, commit in commits.items()}
        partitions = tuple(
            PartitionStatus(
                number,
                found[number].leader if found[number].leader >= 0 else None,
                tuple(found[number].replicas),
                tuple(sorted(found[number].isrs)),
                ends.get(number),
                committed.get(number),
                _lag(ends.get(number), committed, number),
                commits[number].ahead if number in commits else None,
            )
            for number in sorted(found)
        )
        return KafkaStatus(
            tuple(sorted(metadata.brokers)),
            rare.controller,
            self._topic,
            known,
            rare.min_in_sync or self._settings.kafka_min_insync_replicas,
            partitions,
            self._group,
            tuple(notes),
            rare.group.state if rare.group is not None else "",
            rare.group.members if rare.group is not None else (),
        )

    def _ask(self, admin: AdminClient, numbers: list[int], *, settings: bool) -> _Asked:
        """Sends the questions about offsets and, where wanted, settings, at once."""
        latest = {
            TopicPartition(self._topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call] # theirs
            for number in numbers
        }
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        return _Asked(
            time.monotonic() + ANSWER_TIMEOUT_S,
            admin.list_offsets(latest, request_timeout=ANSWER_TIMEOUT_S),
            admin.describe_configs([resource], request_timeout=ANSWER_TIMEOUT_S)[resource] if settings else None,
        )

    def _commits(self, numbers: list[int], until_s: float, notes: list[str]) -> dict[int, _Commit]:
        """Failure policy: open, as for the others."""
        try:
            told = self._offsets.read(numbers, max(0.01, until_s - time.monotonic()))
        except KafkaException as error:
            notes.append(f"the offsets of the dispatcher's group: {error.args[0].str()}")
            return {}
        return {each.partition: _commit(each) for each in told}

    def _group_now(self, brokers: list[tuple[str, int]], notes: list[str]) -> Group | None:
        """Failure policy: open, as for the others. A coordinator that tells nothing is looked for anew."""
        try:
            if self._coordinator is None:
                self._coordinator = find_coordinator(brokers, self._group, self._connect_s, self._let_in)
            return describe_group(self._coordinator, self._group, self._topic, self._connect_s, self._let_in)
        except SourceError as error:
            self._coordinator = None
            notes.append(f"the group's members: {error}")
            return None

    def _controller(self, brokers: Iterable[tuple[str, int]], notes: list[str]) -> int | None:
        """Asks one broker after the other; a frozen one costs its time-out once."""
        reason = ""
        for host, port in brokers:
            try:
                return quorum_leader(host, port, self._connect_s, self._let_in)
            except SourceError as error:
                reason = str(error)
        notes.append(f"the controller: {reason}")
        return None

    def _client(self) -> AdminClient:
        if self._admin is None:
            hush_client()
            self._admin = make_admin(self._settings, "control-room")
        return self._admin


@dataclass(frozen=True, slots=True)
class _Asked:
    """Questions on their way."""

    until_s: float
    ends: Mapping[TopicPartition, Future[Any]]
    config: Future[Any] | None

    def told(self, notes: list[str]) -> tuple[dict[int, int], int | None]:
        """End offsets and min.insync.replicas."""
        ends: dict[int, int] = {}
        for partition, future in self.ends.items():
            told = _result(future, self.until_s, f"the end of partition {partition.partition}", notes)
            if told is not None and told.offset >= 0:  # below: its leader did not say
                ends[partition.partition] = told.offset
        told = None
        if self.config is not None:
            told = _result(self.config, self.until_s, "the topic's settings", notes)
        return ends, None if told is None else int(told["min.insync.replicas"].value)


class _Rare:
    """What seldom changes, and takes a connection or a broker's time to ask for.

    What nobody could tell is asked for at each look.
    """

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self.controller: int | None = None
        self.group: Group | None = None
        self.min_in_sync: int | None = None
        self._seen: Any = None
        self._until_s = 0.0

    def forget_where_changed(self, seen: Any) -> None:
        """Forgets what is too old, and all of it where `seen`, the brokers and partitions, is other than before."""
        now_s = time.monotonic()
        if seen != self._seen or now_s >= self._until_s:
            self.controller = self.group = self.min_in_sync = None
            self._seen, self._until_s = seen, now_s + self._kept_s


@dataclass(frozen=True, slots=True)
class _Commit:
    """What the group committed for a partition."""

    offset: int | None
    """None where it never did."""
    ahead: int


def _commit(told: TopicPartition) -> _Commit:
    if told.offset < 0:
        return _Commit(None, 0)
    # The bitmap begins at a whole byte, so bits below the committed offset may be set too.
    bits = int.from_bytes(decode(told.metadata), "little") >> (told.offset & 7)
    return _Commit(told.offset, bits.bit_count())


def _lag(end: int | None, committed: Mapping[int, int | None], number: int) -> int | None:
    if end is None or number not in committed:
        return None
    return max(0, end - (committed[number] or 0))


def _result(future: Future[Any], until_s: float, what: str, notes: list[str]) -> Any:
    """What `future` told by `until_s`, or None and a note. Failure policy: open, one figure is missing."""
    try:
        return future.result(max(0.01, until_s - time.monotonic()))
    except FutureTimeout:
        notes.append(f"{what}: no answer in time")
    except KafkaException as error:
        notes.append(f"{what}: {error.args[0].str()}")
    return None


def hush_client() -> None:
    """Keeps librdkafka's log lines to itself: without a handler of its own, Python prints them over the screen."""
    quiet = logging.getLogger("librdkafka")
    quiet.propagate = False
    quiet.addHandler(logging.NullHandler())


def addresses(bootstrap: str) -> list[tuple[str, int]]:
    """Host and port of each bootstrap address."""
    parts = [address.rsplit(":", 1) for address in bootstrap.split(",")]
    return [(host, int(port)) for host, port in parts]


def listening(bootstrap: str) -> list[tuple[str, int]]:
    """The bootstrap addresses that accept a connection: a refusal is quick, where librdkafka waits in hope."""
    found = []
    for address in addresses(bootstrap):
        try:
            socket.create_connection(address, CONNECT_TIMEOUT_S).close()
        except OSError:
            continue
        found.append(address)
    return found
