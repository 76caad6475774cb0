"""Kafka lost with everything in it, and made anew, while Postgres survives: a fault on all brokers at once.

It is over when the new cluster answers. What the dispatcher had not delivered is then nowhere but in Postgres.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import Fault
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence, member_status, wait_for
from control_room.stack.runtime import BROKERS, FreshKafka, Runtime, State, WipesKafka

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

KAFKA: Final = "kafka"
ANSWER_DEADLINE_S: Final = 90.0
"""For three brokers that start at once to form a cluster on a small, busy machine."""
_ASK_TIMEOUT_S: Final = 2.0


class WipeKafka(Fault):
    """All brokers' data deleted, a new cluster in their place.

    `facts`: `cluster_before`, the id of the cluster that is lost.
    """

    name = "wipe-kafka"
    summary = "kills all brokers, deletes all that they hold and starts them as a new cluster; Postgres survives"
    targets: ClassVar[tuple[str, ...]] = (KAFKA,)
    lasting = False

    _fresh: FreshKafka | None = None

    @classmethod
    def unavailable(cls, runtime: Runtime) -> str | None:
        """Not every runtime can."""
        return None if isinstance(runtime, WipesKafka) else f"the runtime {runtime.name} cannot make Kafka anew"

    def prepare(self, runtime: Runtime) -> None:
        """Remembers which cluster it is. Raises FaultError where Kafka does not tell."""
        cluster_id, _ = _asked(_client(runtime))
        if not cluster_id:
            raise FaultError("Kafka does not answer, so nobody could tell that another cluster is there afterwards")
        self.facts["cluster_before"] = cluster_id

    def preview(self, live: LiveState) -> str:
        """How much is lost, and what follows."""
        kafka = live.kafka
        ends = [] if kafka is None else [partition.end_offset or 0 for partition in kafka.partitions]
        held = f"{sum(ends)} records in {len(ends)} partitions are" if ends else "everything in it is"
        return (
            f"wipe-kafka: {held} gone for good, the dispatcher's offsets too; what was not delivered is published "
            "again from Postgres, and some of it may come twice"
        )

    def apply(self, runtime: Runtime) -> None:
        """Wipes it and starts the brokers."""
        if not isinstance(runtime, WipesKafka):
            raise FaultError(f"the runtime {runtime.name} cannot make Kafka anew")
        self._fresh = runtime.wipe_kafka()
        runtime.start(BROKERS)

    def evidence(self, runtime: Runtime) -> Evidence:
        """The brokers held nothing when they were started, and they answer as another cluster, all of them."""
        fresh, before = self._fresh, self.facts["cluster_before"]
        if fresh is None:
            return Evidence(False, {"wiped": False})
        client = _client(runtime)

        def look() -> Evidence:
            cluster_id, brokers = _asked(client)
            facts: dict[str, Any] = {
                "cluster_before": before,
                "cluster": cluster_id,
                "partitions_held": fresh.partitions_held,
                "brokers": brokers,
            }
            new = cluster_id == fresh.cluster_id != before
            return Evidence(new and fresh.partitions_held == 0 and brokers == len(BROKERS), facts)

        return wait_for(look, ANSWER_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Starts the brokers that are down: the fault, or whoever applied it, ended half-way."""
        down = [name for name in BROKERS if member_status(runtime, name).state in (State.STOPPED, State.CRASHED)]
        if down:
            runtime.start(down)

    def healed(self, runtime: Runtime) -> Evidence:
        """Waits until all brokers are one cluster."""
        client = _client(runtime)

        def look() -> Evidence:
            cluster_id, brokers = _asked(client)
            return Evidence(brokers == len(BROKERS), {"cluster": cluster_id, "brokers": brokers})

        return wait_for(look, ANSWER_DEADLINE_S)


def _client(runtime: Runtime) -> AdminClient:
    from services.common.kafka import make_admin  # when needed: the list of faults loads no client

    return make_admin(runtime.endpoints().kafka_settings(), "control-room")


def _asked(client: AdminClient) -> tuple[str, int]:
    """The cluster's id (empty where nobody answers), and how many brokers it counts."""
    from confluent_kafka import KafkaException  # as above

    from services.common.kafka import cluster_id_of

    try:
        found = client.list_topics(timeout=_ASK_TIMEOUT_S)
    except KafkaException:
        return "", 0
    return cluster_id_of(found), len(found.brokers)
