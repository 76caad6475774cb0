"""What a fault on a member will hit now, in a sentence made from live state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

from control_room.chaos.live import LiveState
from control_room.stack.runtime import API_REPLICAS, BROKERS, FIRST_OF, alike

if TYPE_CHECKING:  # the client library would be loaded for a type
    from control_room.tracking.kafka_view import KafkaStatus


def consequence(member: str, live: LiveState) -> str:
    """What follows while `member` does nothing, as the rest of a sentence."""
    if member in BROKERS:
        return _broker(member, live.kafka, live.away)
    if alike(member) in API_REPLICAS:
        return _replica(member, live)
    if alike(member) in FIRST_OF.values() and (left := _others_up(member, live)):
        return f"{', '.join(left)} go{'es' * (len(left) == 1)} on and take{'s' * (len(left) == 1)} over its work"
    return _OTHERS[alike(member)](live)


def _broker(member: str, kafka: KafkaStatus | None, away: Collection[str]) -> str:
    """`leads 1 of 3 partitions, in-sync 3→2, minimum 2: writes go on`."""
    if kafka is None:
        return "Kafka tells nothing of its partitions now; payments are accepted and wait in the outbox"
    if not kafka.topic_exists:
        return f"topic {kafka.topic} does not exist yet"
    number = int(member.rsplit("-", 1)[1])
    leads = sum(partition.leader == number for partition in kafka.partitions)
    gone = {int(name.rsplit("-", 1)[1]) for name in away if name in BROKERS and name != member}
    followed = [set(partition.in_sync) - gone for partition in kafka.partitions if number in partition.in_sync]
    words = [f"leads {leads} of {len(kafka.partitions)} partitions"]
    left = [len(in_sync) - 1 for in_sync in followed]
    if left:
        words.append(f"in-sync {min(left) + 1}→{min(left)}")
        writes = "writes go on" if min(left) >= kafka.min_in_sync else "writes stop, payments wait in the outbox"
    else:
        writes = "it is in no in-sync set, so writes go on as they are"
    words.append(f"minimum {kafka.min_in_sync}")
    if kafka.controller == number:
        words.append("is the controller")
    living = len(set(kafka.brokers) - {number} - gone)
    if 2 * living <= len(BROKERS):
        writes = (
            f"only {living} of {len(BROKERS)} brokers left: no quorum, Kafka stands still, payments wait in the outbox"
        )
    return f"{', '.join(words)}: {writes}"


def _others_up(member: str, live: LiveState) -> list[str]:
    """Those that do the same work, and are up."""
    return [name for name in live.members if alike(name) == alike(member) and name != member and name not in live.away]


def _replica(member: str, live: LiveState) -> str:
    replicas = {*API_REPLICAS, *(name for name in live.members if alike(name) in API_REPLICAS)}
    up = sum(name in live.members and name not in live.away for name in replicas - {member})
    if up:
        return f"{up} of {len(replicas)} replicas go on answering; requests in it get no answer and are tried again"
    return "no other replica is up: nobody can pay until one is back"


def _postgres(live: LiveState) -> str:
    del live
    return "new payments get 503; deliveries go on up to a bounded backlog of unrecorded outcomes"


def _nginx(live: LiveState) -> str:
    del live
    return "no client gets in; what was accepted goes on being delivered"


def _publisher(live: LiveState) -> str:
    waiting = "" if live.outbox is None else f"{live.outbox.pending} rows wait in the outbox; "
    return f"{waiting}what the API does not hand to Kafka itself waits until it is back"


def _dispatcher(live: LiveState) -> str:
    status = live.dispatcher or {}
    counts = [f"{status[key]} {words}" for key, words in _DISPATCHER_COUNTS.items() if key in status]
    return (
        f"{', '.join(counts)}{': ' * bool(counts)}nothing is delivered until it is back; unrecorded ones may come twice"
    )


def _merchant(live: LiveState) -> str:
    del live
    return "every delivery fails: retries, then a re-queue and a pause with probes"


_DISPATCHER_COUNTS: Final = {"in_flight": "in flight", "retrying": "retrying", "parked": "parked"}
_OTHERS: Final[Mapping[str, Callable[[LiveState], str]]] = {
    "postgres": _postgres,
    "nginx": _nginx,
    "outbox-publisher": _publisher,
    "dispatcher": _dispatcher,
    "merchant-server": _merchant,
}
